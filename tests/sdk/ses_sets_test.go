package sdk

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ses"
	v1types "github.com/aws/aws-sdk-go-v2/service/ses/types"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"
	"github.com/aws/aws-sdk-go-v2/service/sesv2/types"
)

func setsV2(t *testing.T, l *lab) {
	p, ctx := l.place(t), t.Context()
	for i := range 7 {
		p.set(t, fmt.Sprintf("set-%d", i))
	}
	_, err := p.v2.CreateConfigurationSet(ctx, &sesv2.CreateConfigurationSetInput{ConfigurationSetName: aws.String("set-3")})
	wantError[*types.AlreadyExistsException](t, err, "Configuration set <set-3> already exists.")

	var pages [][]string
	list := sesv2.NewListConfigurationSetsPaginator(p.v2, &sesv2.ListConfigurationSetsInput{PageSize: aws.Int32(3)})
	for list.HasMorePages() {
		page, err := list.NextPage(ctx)
		check(t, err)
		pages = append(pages, page.ConfigurationSets)
	}
	same(t, "pages", pages, [][]string{{"set-0", "set-1", "set-2"}, {"set-3", "set-4", "set-5"}, {"set-6"}})
	_, err = p.v2.ListConfigurationSets(ctx, &sesv2.ListConfigurationSetsInput{NextToken: aws.String("%%%")})
	wantError[*types.BadRequestException](t, err, "The token provided is not valid.")

	_, err = p.v2.DeleteConfigurationSet(ctx, &sesv2.DeleteConfigurationSetInput{ConfigurationSetName: aws.String("set-3")})
	check(t, err)
	_, err = p.v2.GetConfigurationSet(ctx, &sesv2.GetConfigurationSetInput{ConfigurationSetName: aws.String("set-3")})
	wantError[*types.NotFoundException](t, err, "Configuration set <set-3> does not exist.")
	_, err = p.v2.DeleteConfigurationSet(ctx, &sesv2.DeleteConfigurationSetInput{ConfigurationSetName: aws.String("set-3")})
	wantError[*types.NotFoundException](t, err, "Configuration set <set-3> does not exist.")
}

func setsV1(t *testing.T, l *lab) {
	p, ctx := l.place(t), t.Context()
	create := func(name string) error {
		_, err := p.v1.CreateConfigurationSet(ctx, &ses.CreateConfigurationSetInput{ConfigurationSet: &v1types.ConfigurationSet{Name: &name}})
		return err
	}
	for i := range 5 {
		check(t, create(fmt.Sprintf("set-%d", i)))
	}
	wantError[*v1types.ConfigurationSetAlreadyExistsException](t, create("set-1"), "Configuration set <set-1> already exists.")

	var names []string
	in := &ses.ListConfigurationSetsInput{MaxItems: aws.Int32(2)}
	for calls := 0; ; calls++ {
		out, err := p.v1.ListConfigurationSets(ctx, in)
		check(t, err)
		for _, s := range out.ConfigurationSets {
			names = append(names, *s.Name)
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			if calls != 2 {
				t.Errorf("5 sets came in %d pages of 2", calls+1)
			}
			break
		}
	}
	same(t, "sets", names, []string{"set-0", "set-1", "set-2", "set-3", "set-4"})

	got, err := p.v1.DescribeConfigurationSet(ctx, &ses.DescribeConfigurationSetInput{ConfigurationSetName: aws.String("set-0")})
	check(t, err)
	if *got.ConfigurationSet.Name != "set-0" || got.EventDestinations != nil || got.TrackingOptions != nil || got.DeliveryOptions != nil || got.ReputationOptions != nil {
		t.Errorf("nothing was asked for: %+v", got)
	}
	_, err = p.v1.DeleteConfigurationSet(ctx, &ses.DeleteConfigurationSetInput{ConfigurationSetName: aws.String("set-0")})
	check(t, err)
	_, err = p.v1.DescribeConfigurationSet(ctx, &ses.DescribeConfigurationSetInput{ConfigurationSetName: aws.String("set-0")})
	wantError[*v1types.ConfigurationSetDoesNotExistException](t, err, "Configuration set <set-0> does not exist.")
	_, err = p.v1.DeleteConfigurationSet(ctx, &ses.DeleteConfigurationSetInput{ConfigurationSetName: aws.String("set-0")})
	wantError[*v1types.ConfigurationSetDoesNotExistException](t, err, "Configuration set <set-0> does not exist.")
}

func setNames(t *testing.T, l *lab) {
	p, ctx := l.place(t), t.Context()
	long := strings.Repeat("x", 65)
	for _, good := range []string{"a", "A_b-9", strings.Repeat("x", 64)} {
		p.set(t, good)
	}
	for name, text := range map[string]string{
		"a b":  "Invalid configuration set name <a b>: only alphanumeric ASCII characters, '_', and '-' are allowed.",
		"a.b":  "Invalid configuration set name <a.b>: only alphanumeric ASCII characters, '_', and '-' are allowed.",
		"näme": "Invalid configuration set name <näme>: only alphanumeric ASCII characters, '_', and '-' are allowed.",
		long:   "Configuration set name cannot exceed 64 characters.",
	} {
		_, err := p.v2.CreateConfigurationSet(ctx, &sesv2.CreateConfigurationSetInput{ConfigurationSetName: &name})
		wantError[*types.BadRequestException](t, err, text)
		_, err = p.v1.CreateConfigurationSet(ctx, &ses.CreateConfigurationSetInput{ConfigurationSet: &v1types.ConfigurationSet{Name: &name}})
		wantError[*v1types.InvalidConfigurationSetException](t, err, text)
	}
}

// call sends a signed request that is not what this version of the SDK sends.
func (p *place) call(t *testing.T, method, path, body string, out any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, p.HTTP+path, bytes.NewReader([]byte(body)))
	check(t, err)
	req.Header.Set("Content-Type", "application/json")
	key, err := credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "any", "").Retrieve(t.Context())
	check(t, err)
	check(t, v4.NewSigner().SignHTTP(t.Context(), key, req, strings.Repeat("0", 64), "ses", p.region, time.Now()))
	resp, err := http.DefaultClient.Do(req)
	check(t, err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	check(t, err)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s %s", method, path, resp.Status, data)
	}
	check(t, json.Unmarshal(data, out))
}

// listsPosted: older clients GET the two lists, newer ones POST them.
func listsPosted(t *testing.T, l *lab) {
	p := l.place(t)
	p.set(t, "a")
	p.set(t, "b")
	for _, c := range []struct{ method, path, body string }{
		{"GET", "/v2/email/configuration-sets?PageSize=1", ""},
		{"POST", "/v2/email/list-configuration-sets", `{"PageSize":1}`},
	} {
		var sets struct {
			ConfigurationSets []string
			NextToken         string
		}
		p.call(t, c.method, c.path, c.body, &sets)
		if fmt.Sprint(sets.ConfigurationSets) != "[a]" || sets.NextToken == "" {
			t.Errorf("%s %s: %+v", c.method, c.path, sets)
		}
	}
	for _, c := range []struct{ method, path, body string }{{"GET", "/v2/email/identities", ""}, {"POST", "/v2/email/list-identities", `{}`}} {
		var ids struct {
			EmailIdentities []struct{ IdentityName string }
		}
		p.call(t, c.method, c.path, c.body, &ids)
		if len(ids.EmailIdentities) != 1 || ids.EmailIdentities[0].IdentityName != "example.com" {
			t.Errorf("%s %s: %+v", c.method, c.path, ids)
		}
	}
}

func (p *place) getSet(t *testing.T, name string) *sesv2.GetConfigurationSetOutput {
	t.Helper()
	out, err := p.v2.GetConfigurationSet(t.Context(), &sesv2.GetConfigurationSetInput{ConfigurationSetName: &name})
	check(t, err)
	return out
}

// optionDefaults: a new set has the documented defaults and no other group.
func optionDefaults(t *testing.T, l *lab) {
	p := l.place(t)
	p.set(t, "fresh")
	got := p.getSet(t, "fresh")
	same(t, "delivery", got.DeliveryOptions, types.DeliveryOptions{TlsPolicy: "OPTIONAL"})
	same(t, "reputation", got.ReputationOptions, types.ReputationOptions{})
	same(t, "sending", got.SendingOptions, types.SendingOptions{SendingEnabled: true})
	same(t, "tags", got.Tags, []types.Tag{})
	if got.TrackingOptions != nil || got.SuppressionOptions != nil || got.VdmOptions != nil || got.ArchivingOptions != nil || got.MessageSecurityOptions != nil {
		t.Errorf("groups that nobody set: %+v", got)
	}
}

const archive = "mailmanager-archive/a-0123456789abcdefghijklmnop"

// optionsV2: what Create… and Put… store is returned, and an empty Put resets.
func optionsV2(t *testing.T, l *lab) {
	p, ctx := l.placeIn(t, "eu-north-1"), t.Context() // archive ARNs need a real region
	delivery := &types.DeliveryOptions{TlsPolicy: "REQUIRE", SendingPoolName: aws.String("ses-shared-pool"), MaxDeliverySeconds: aws.Int64(300)}
	tracking := &types.TrackingOptions{CustomRedirectDomain: aws.String("click.example.com"), HttpsPolicy: "REQUIRE_OPEN_ONLY"}
	suppression := &types.SuppressionOptions{
		SuppressedReasons: []types.SuppressionListReason{"COMPLAINT"}, SuppressionScope: "ACCOUNT",
		ValidationOptions: &types.SuppressionValidationOptions{ConditionThreshold: &types.SuppressionConditionThreshold{
			ConditionThresholdEnabled: "ENABLED", OverallConfidenceThreshold: &types.SuppressionConfidenceThreshold{ConfidenceVerdictThreshold: "HIGH"}}},
	}
	vdm := &types.VdmOptions{DashboardOptions: &types.DashboardOptions{EngagementMetrics: "ENABLED"}, GuardianOptions: &types.GuardianOptions{OptimizedSharedDelivery: "DISABLED"}}
	archiving := &types.ArchivingOptions{ArchiveArn: aws.String(p.arn("ses", archive))}
	security := &types.MessageSecurityOptions{SigningScheme: &types.SigningSchemeMemberDefaultScheme{}}
	all := func(name string) {
		t.Helper()
		got := p.getSet(t, name)
		same(t, "delivery", got.DeliveryOptions, delivery)
		same(t, "tracking", got.TrackingOptions, tracking)
		same(t, "suppression", got.SuppressionOptions, suppression)
		same(t, "vdm", got.VdmOptions, vdm)
		same(t, "archiving", got.ArchivingOptions, archiving)
		same(t, "security", got.MessageSecurityOptions, security)
		same(t, "reputation", got.ReputationOptions, types.ReputationOptions{ReputationMetricsEnabled: true})
		same(t, "sending", got.SendingOptions, types.SendingOptions{})
	}
	_, err := p.v2.CreateConfigurationSet(ctx, &sesv2.CreateConfigurationSetInput{
		ConfigurationSetName: aws.String("created"), DeliveryOptions: delivery, TrackingOptions: tracking, SuppressionOptions: suppression, VdmOptions: vdm,
		ArchivingOptions: archiving, MessageSecurityOptions: security, ReputationOptions: &types.ReputationOptions{ReputationMetricsEnabled: true},
		SendingOptions: &types.SendingOptions{}, Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("news")}},
	})
	check(t, err)
	all("created")
	same(t, "tags", p.getSet(t, "created").Tags, []types.Tag{{Key: aws.String("team"), Value: aws.String("news")}})

	name := aws.String("put")
	p.set(t, *name)
	put := func(_ any, err error) { t.Helper(); check(t, err) }
	put(p.v2.PutConfigurationSetDeliveryOptions(ctx, &sesv2.PutConfigurationSetDeliveryOptionsInput{ConfigurationSetName: name, TlsPolicy: "REQUIRE", SendingPoolName: delivery.SendingPoolName, MaxDeliverySeconds: delivery.MaxDeliverySeconds}))
	put(p.v2.PutConfigurationSetTrackingOptions(ctx, &sesv2.PutConfigurationSetTrackingOptionsInput{ConfigurationSetName: name, CustomRedirectDomain: tracking.CustomRedirectDomain, HttpsPolicy: tracking.HttpsPolicy}))
	put(p.v2.PutConfigurationSetSuppressionOptions(ctx, &sesv2.PutConfigurationSetSuppressionOptionsInput{ConfigurationSetName: name, SuppressedReasons: suppression.SuppressedReasons, SuppressionScope: suppression.SuppressionScope, ValidationOptions: suppression.ValidationOptions}))
	put(p.v2.PutConfigurationSetVdmOptions(ctx, &sesv2.PutConfigurationSetVdmOptionsInput{ConfigurationSetName: name, VdmOptions: vdm}))
	put(p.v2.PutConfigurationSetArchivingOptions(ctx, &sesv2.PutConfigurationSetArchivingOptionsInput{ConfigurationSetName: name, ArchiveArn: archiving.ArchiveArn}))
	put(p.v2.UpdateConfigurationSet(ctx, &sesv2.UpdateConfigurationSetInput{ConfigurationSetName: name, MessageSecurityOptions: security}))
	put(p.v2.PutConfigurationSetReputationOptions(ctx, &sesv2.PutConfigurationSetReputationOptionsInput{ConfigurationSetName: name, ReputationMetricsEnabled: true}))
	put(p.v2.PutConfigurationSetSendingOptions(ctx, &sesv2.PutConfigurationSetSendingOptionsInput{ConfigurationSetName: name}))
	all(*name)
	smime := &types.MessageSecurityOptions{SigningScheme: &types.SigningSchemeMemberSmimeScheme{Value: types.SmimeSigningScheme{SignatureFormat: types.SignatureFormat("").Values()[0]}}}
	put(p.v2.UpdateConfigurationSet(ctx, &sesv2.UpdateConfigurationSetInput{ConfigurationSetName: name, MessageSecurityOptions: smime}))
	same(t, "security", p.getSet(t, *name).MessageSecurityOptions, smime)

	// An empty body resets a group.
	put(p.v2.PutConfigurationSetDeliveryOptions(ctx, &sesv2.PutConfigurationSetDeliveryOptionsInput{ConfigurationSetName: name}))
	put(p.v2.PutConfigurationSetTrackingOptions(ctx, &sesv2.PutConfigurationSetTrackingOptionsInput{ConfigurationSetName: name}))
	put(p.v2.PutConfigurationSetSuppressionOptions(ctx, &sesv2.PutConfigurationSetSuppressionOptionsInput{ConfigurationSetName: name}))
	put(p.v2.PutConfigurationSetVdmOptions(ctx, &sesv2.PutConfigurationSetVdmOptionsInput{ConfigurationSetName: name}))
	put(p.v2.PutConfigurationSetArchivingOptions(ctx, &sesv2.PutConfigurationSetArchivingOptionsInput{ConfigurationSetName: name}))
	put(p.v2.PutConfigurationSetReputationOptions(ctx, &sesv2.PutConfigurationSetReputationOptionsInput{ConfigurationSetName: name}))
	got := p.getSet(t, *name)
	same(t, "delivery", got.DeliveryOptions, types.DeliveryOptions{TlsPolicy: "OPTIONAL"})
	if got.TrackingOptions != nil || got.SuppressionOptions != nil || got.VdmOptions != nil || got.ArchivingOptions != nil || got.ReputationOptions.ReputationMetricsEnabled {
		t.Errorf("after empty Puts: %+v", got)
	}
	// An empty list is stored: it means no suppression at all.
	put(p.v2.PutConfigurationSetSuppressionOptions(ctx, &sesv2.PutConfigurationSetSuppressionOptionsInput{ConfigurationSetName: name, SuppressedReasons: []types.SuppressionListReason{}}))
	if s := p.getSet(t, *name).SuppressionOptions; s == nil || s.SuppressedReasons == nil || len(s.SuppressedReasons) != 0 {
		t.Errorf("an empty list of reasons: %+v", s)
	}
	// Sending on again is a fresh start of the reputation figures.
	put(p.v2.PutConfigurationSetSendingOptions(ctx, &sesv2.PutConfigurationSetSendingOptionsInput{ConfigurationSetName: name, SendingEnabled: true}))
	got = p.getSet(t, *name)
	if s := got.ReputationOptions.LastFreshStart; s == nil || time.Since(*s) > time.Hour || !got.SendingOptions.SendingEnabled {
		t.Errorf("after sending was enabled again: %+v", got.ReputationOptions)
	}
}

// optionTexts are the refusals of option groups. ses-guide:configuration-sets
func optionTexts(t *testing.T, l *lab) {
	p, ctx := l.place(t), t.Context()
	name := aws.String("texts")
	p.set(t, *name)
	const one = "1 validation error detected: Value at '%s' failed to satisfy constraint: Member must %s"
	enum := func(path, values string) string {
		return fmt.Sprintf(one, path, "satisfy enum value set: ["+values+"]")
	}
	refused := func(text string) func(any, error) {
		return func(_ any, err error) { t.Helper(); wantError[*types.BadRequestException](t, err, text) }
	}
	tracking := func(in sesv2.PutConfigurationSetTrackingOptionsInput) (any, error) {
		in.ConfigurationSetName = name
		return p.v2.PutConfigurationSetTrackingOptions(ctx, &in)
	}
	refused("CustomRedirectDomain must be specified.")(tracking(sesv2.PutConfigurationSetTrackingOptionsInput{HttpsPolicy: "REQUIRE"}))
	refused("Domain <other.example.org> is not verified under this account.")(tracking(sesv2.PutConfigurationSetTrackingOptionsInput{CustomRedirectDomain: aws.String("other.example.org")}))
	refused(enum("httpsPolicy", "OPTIONAL, REQUIRE, REQUIRE_OPEN_ONLY"))(tracking(sesv2.PutConfigurationSetTrackingOptionsInput{CustomRedirectDomain: aws.String("example.com"), HttpsPolicy: "MAYBE"}))

	delivery := func(in sesv2.PutConfigurationSetDeliveryOptionsInput) (any, error) {
		in.ConfigurationSetName = name
		return p.v2.PutConfigurationSetDeliveryOptions(ctx, &in)
	}
	refused(enum("tlsPolicy", "OPTIONAL, REQUIRE"))(delivery(sesv2.PutConfigurationSetDeliveryOptionsInput{TlsPolicy: "MAYBE"}))
	refused("sendingPoolName can't be blank.")(delivery(sesv2.PutConfigurationSetDeliveryOptionsInput{SendingPoolName: aws.String(" ")}))
	refused("SendingPool <nope> doesn't exist")(delivery(sesv2.PutConfigurationSetDeliveryOptionsInput{SendingPoolName: aws.String("nope")}))
	refused(fmt.Sprintf(one, "maxDeliverySeconds", "have value greater than or equal to 300"))(delivery(sesv2.PutConfigurationSetDeliveryOptionsInput{MaxDeliverySeconds: aws.Int64(299)}))
	refused(fmt.Sprintf(one, "maxDeliverySeconds", "have value greater than or equal to 300"))(delivery(sesv2.PutConfigurationSetDeliveryOptionsInput{MaxDeliverySeconds: aws.Int64(0)}))
	refused(fmt.Sprintf(one, "maxDeliverySeconds", "have value less than or equal to 50400"))(delivery(sesv2.PutConfigurationSetDeliveryOptionsInput{MaxDeliverySeconds: aws.Int64(50401)}))

	refused(enum("vdmOptions.dashboardOptions.engagementMetrics", "ENABLED, DISABLED"))(p.v2.PutConfigurationSetVdmOptions(ctx, &sesv2.PutConfigurationSetVdmOptionsInput{
		ConfigurationSetName: name, VdmOptions: &types.VdmOptions{DashboardOptions: &types.DashboardOptions{EngagementMetrics: "ON"}}}))
	refused(enum("vdmOptions.guardianOptions.optimizedSharedDelivery", "ENABLED, DISABLED"))(p.v2.PutConfigurationSetVdmOptions(ctx, &sesv2.PutConfigurationSetVdmOptionsInput{
		ConfigurationSetName: name, VdmOptions: &types.VdmOptions{GuardianOptions: &types.GuardianOptions{OptimizedSharedDelivery: "ON"}}}))
	refused("Reason ANGER is invalid, must be one of [BOUNCE, COMPLAINT].")(p.v2.PutConfigurationSetSuppressionOptions(ctx, &sesv2.PutConfigurationSetSuppressionOptionsInput{
		ConfigurationSetName: name, SuppressedReasons: []types.SuppressionListReason{"BOUNCE", "ANGER"}}))
	refused("SuppressionScope and SuppressedReasons must be specified together.")(p.v2.PutConfigurationSetSuppressionOptions(ctx, &sesv2.PutConfigurationSetSuppressionOptionsInput{
		ConfigurationSetName: name, SuppressionScope: "TENANT"}))

	create := func(in sesv2.CreateConfigurationSetInput) (any, error) {
		in.ConfigurationSetName = aws.String("never")
		return p.v2.CreateConfigurationSet(ctx, &in)
	}
	refused(enum("trackingOptions.httpsPolicy", "OPTIONAL, REQUIRE, REQUIRE_OPEN_ONLY"))(create(sesv2.CreateConfigurationSetInput{
		TrackingOptions: &types.TrackingOptions{CustomRedirectDomain: aws.String("example.com"), HttpsPolicy: "MAYBE"}}))
	refused(enum("deliveryOptions.tlsPolicy", "OPTIONAL, REQUIRE"))(create(sesv2.CreateConfigurationSetInput{DeliveryOptions: &types.DeliveryOptions{TlsPolicy: "MAYBE"}}))
	refused(fmt.Sprintf(one, "suppressionOptions.suppressedReasons", "satisfy constraint: [Member must satisfy enum value set: [BOUNCE, COMPLAINT]]"))(create(sesv2.CreateConfigurationSetInput{
		SuppressionOptions: &types.SuppressionOptions{SuppressedReasons: []types.SuppressionListReason{"ANGER"}}}))
	_, err := p.v2.GetConfigurationSet(ctx, &sesv2.GetConfigurationSetInput{ConfigurationSetName: aws.String("never")})
	wantError[*types.NotFoundException](t, err, "Configuration set <never> does not exist.")

	// Every option operation names a missing set.
	name = aws.String("missing")
	missing := func(_ any, err error) {
		t.Helper()
		wantError[*types.NotFoundException](t, err, "Configuration set <missing> does not exist.")
	}
	missing(tracking(sesv2.PutConfigurationSetTrackingOptionsInput{}))
	missing(delivery(sesv2.PutConfigurationSetDeliveryOptionsInput{}))
	missing(p.v2.PutConfigurationSetReputationOptions(ctx, &sesv2.PutConfigurationSetReputationOptionsInput{ConfigurationSetName: name}))
	missing(p.v2.PutConfigurationSetSendingOptions(ctx, &sesv2.PutConfigurationSetSendingOptionsInput{ConfigurationSetName: name}))
	missing(p.v2.PutConfigurationSetSuppressionOptions(ctx, &sesv2.PutConfigurationSetSuppressionOptionsInput{ConfigurationSetName: name}))
	missing(p.v2.PutConfigurationSetVdmOptions(ctx, &sesv2.PutConfigurationSetVdmOptionsInput{ConfigurationSetName: name}))
	missing(p.v2.PutConfigurationSetArchivingOptions(ctx, &sesv2.PutConfigurationSetArchivingOptionsInput{ConfigurationSetName: name}))
	missing(p.v2.UpdateConfigurationSet(ctx, &sesv2.UpdateConfigurationSetInput{ConfigurationSetName: name}))
}

var allAttributes = []v1types.ConfigurationSetAttribute{"eventDestinations", "trackingOptions", "deliveryOptions", "reputationOptions"}

func (p *place) describe(t *testing.T, name string) *ses.DescribeConfigurationSetOutput {
	t.Helper()
	out, err := p.v1.DescribeConfigurationSet(t.Context(), &ses.DescribeConfigurationSetInput{ConfigurationSetName: &name, ConfigurationSetAttributeNames: allAttributes})
	check(t, err)
	return out
}

func optionsV1(t *testing.T, l *lab) {
	p, ctx := l.place(t), t.Context()
	name := aws.String("v1")
	p.set(t, *name)
	got := p.describe(t, *name)
	same(t, "delivery", got.DeliveryOptions, v1types.DeliveryOptions{TlsPolicy: "Optional"})
	same(t, "reputation", got.ReputationOptions, v1types.ReputationOptions{SendingEnabled: true})
	if got.TrackingOptions != nil || got.EventDestinations == nil || len(got.EventDestinations) != 0 {
		t.Errorf("fresh set: %+v", got)
	}
	domain := &v1types.TrackingOptions{CustomRedirectDomain: aws.String("example.com")}
	_, err := p.v1.CreateConfigurationSetTrackingOptions(ctx, &ses.CreateConfigurationSetTrackingOptionsInput{ConfigurationSetName: name, TrackingOptions: domain})
	check(t, err)
	_, err = p.v1.PutConfigurationSetDeliveryOptions(ctx, &ses.PutConfigurationSetDeliveryOptionsInput{ConfigurationSetName: name, DeliveryOptions: &v1types.DeliveryOptions{TlsPolicy: "Require"}})
	check(t, err)
	_, err = p.v1.UpdateConfigurationSetReputationMetricsEnabled(ctx, &ses.UpdateConfigurationSetReputationMetricsEnabledInput{ConfigurationSetName: name, Enabled: true})
	check(t, err)
	_, err = p.v1.UpdateConfigurationSetSendingEnabled(ctx, &ses.UpdateConfigurationSetSendingEnabledInput{ConfigurationSetName: name, Enabled: false})
	check(t, err)
	got = p.describe(t, *name)
	same(t, "delivery", got.DeliveryOptions, v1types.DeliveryOptions{TlsPolicy: "Require"})
	same(t, "reputation", got.ReputationOptions, v1types.ReputationOptions{ReputationMetricsEnabled: true})
	same(t, "tracking", got.TrackingOptions, domain)
	same(t, "delivery in v2", p.getSet(t, *name).DeliveryOptions, types.DeliveryOptions{TlsPolicy: "REQUIRE"})

	// v1 changes the TLS policy and leaves what it does not know.
	_, err = p.v2.PutConfigurationSetDeliveryOptions(ctx, &sesv2.PutConfigurationSetDeliveryOptionsInput{ConfigurationSetName: name, MaxDeliverySeconds: aws.Int64(600)})
	check(t, err)
	_, err = p.v1.PutConfigurationSetDeliveryOptions(ctx, &ses.PutConfigurationSetDeliveryOptionsInput{ConfigurationSetName: name, DeliveryOptions: &v1types.DeliveryOptions{TlsPolicy: "Require"}})
	check(t, err)
	same(t, "delivery in v2", p.getSet(t, *name).DeliveryOptions, types.DeliveryOptions{TlsPolicy: "REQUIRE", MaxDeliverySeconds: aws.Int64(600)})

	_, err = p.v1.UpdateConfigurationSetTrackingOptions(ctx, &ses.UpdateConfigurationSetTrackingOptionsInput{ConfigurationSetName: name, TrackingOptions: &v1types.TrackingOptions{CustomRedirectDomain: aws.String("x.example.com")}})
	check(t, err)
	if d := *p.describe(t, *name).TrackingOptions.CustomRedirectDomain; d != "x.example.com" {
		t.Errorf("updated tracking domain %s", d)
	}
	_, err = p.v1.DeleteConfigurationSetTrackingOptions(ctx, &ses.DeleteConfigurationSetTrackingOptionsInput{ConfigurationSetName: name})
	check(t, err)
	if o := p.describe(t, *name).TrackingOptions; o != nil {
		t.Errorf("deleted tracking options: %+v", o)
	}
}

func optionTextsV1(t *testing.T, l *lab) {
	p, ctx := l.place(t), t.Context()
	name := aws.String("v1")
	p.set(t, *name)
	create := func(domain *string) error {
		_, err := p.v1.CreateConfigurationSetTrackingOptions(ctx, &ses.CreateConfigurationSetTrackingOptionsInput{
			ConfigurationSetName: name, TrackingOptions: &v1types.TrackingOptions{CustomRedirectDomain: domain}})
		return err
	}
	update := func() error {
		_, err := p.v1.UpdateConfigurationSetTrackingOptions(ctx, &ses.UpdateConfigurationSetTrackingOptionsInput{
			ConfigurationSetName: name, TrackingOptions: &v1types.TrackingOptions{CustomRedirectDomain: aws.String("example.com")}})
		return err
	}
	wantError[*v1types.InvalidTrackingOptionsException](t, create(aws.String("")), "At least one field of TrackingOptions must contain a value.")
	wantError[*v1types.InvalidTrackingOptionsException](t, create(aws.String("nope.example.org")), "Domain <nope.example.org> is not verified under this account.")
	wantError[*v1types.TrackingOptionsDoesNotExistException](t, update(), "There are no tracking options for configuration set <v1>")
	_, err := p.v1.DeleteConfigurationSetTrackingOptions(ctx, &ses.DeleteConfigurationSetTrackingOptionsInput{ConfigurationSetName: name})
	wantError[*v1types.TrackingOptionsDoesNotExistException](t, err, "There are no tracking options for configuration set <v1>")
	check(t, create(aws.String("example.com")))
	wantError[*v1types.TrackingOptionsAlreadyExistsException](t, create(aws.String("example.com")), "Configuration set <v1> already has tracking options.")

	name = aws.String("missing")
	const text = "Configuration set <missing> does not exist."
	wantError[*v1types.ConfigurationSetDoesNotExistException](t, create(aws.String("example.com")), text)
	wantError[*v1types.ConfigurationSetDoesNotExistException](t, update(), text)
	_, err = p.v1.PutConfigurationSetDeliveryOptions(ctx, &ses.PutConfigurationSetDeliveryOptionsInput{ConfigurationSetName: name})
	wantError[*v1types.ConfigurationSetDoesNotExistException](t, err, text)
	_, err = p.v1.UpdateConfigurationSetReputationMetricsEnabled(ctx, &ses.UpdateConfigurationSetReputationMetricsEnabledInput{ConfigurationSetName: name})
	wantError[*v1types.ConfigurationSetDoesNotExistException](t, err, text)
	_, err = p.v1.UpdateConfigurationSetSendingEnabled(ctx, &ses.UpdateConfigurationSetSendingEnabledInput{ConfigurationSetName: name})
	wantError[*v1types.ConfigurationSetDoesNotExistException](t, err, text)
}
