package sdk

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ses"
	v1types "github.com/aws/aws-sdk-go-v2/service/ses/types"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"
	"github.com/aws/aws-sdk-go-v2/service/sesv2/types"
)

func (p *place) account(t *testing.T) *sesv2.GetAccountOutput {
	t.Helper()
	out, err := p.v2.GetAccount(t.Context(), &sesv2.GetAccountInput{})
	check(t, err)
	return out
}

func account(t *testing.T, l *lab) {
	p, ctx := l.place(t), t.Context()
	got := p.account(t)
	if !got.SendingEnabled || !got.ProductionAccessEnabled || *got.EnforcementStatus != "HEALTHY" || got.DedicatedIpAutoWarmupEnabled || got.Details != nil || got.VdmAttributes != nil {
		t.Errorf("new account: %+v", got)
	}
	same(t, "suppression", got.SuppressionAttributes, types.SuppressionAttributes{SuppressedReasons: []types.SuppressionListReason{"BOUNCE", "COMPLAINT"}})
	same(t, "quota", got.SendQuota, types.SendQuota{Max24HourSend: -1, MaxSendRate: -1})

	p.send(t, email("a@example.net", "b@example.net"))
	p.send(t, email("c@example.net"))
	if n := p.account(t).SendQuota.SentLast24Hours; n != 3 {
		t.Errorf("%v recipients in the last 24 hours, want 3", n)
	}
	quota, err := p.v1.GetSendQuota(ctx, &ses.GetSendQuotaInput{})
	check(t, err)
	if quota.SentLast24Hours != 3 || quota.Max24HourSend != -1 {
		t.Errorf("v1: %+v", quota)
	}
	bounce := p.send(t, email("bounce@simulator.amazonses.com"))
	p.records(t, bounce, 2)
	stats, err := p.v1.GetSendStatistics(ctx, &ses.GetSendStatisticsInput{})
	check(t, err)
	var attempts, bounces int64
	for _, point := range stats.SendDataPoints {
		attempts, bounces = attempts+point.DeliveryAttempts, bounces+point.Bounces
		if point.Timestamp.Minute()%15 != 0 || point.Timestamp.Second() != 0 {
			t.Errorf("point at %s", point.Timestamp)
		}
	}
	if attempts != 3 || bounces != 1 {
		t.Errorf("%d attempts, %d bounces", attempts, bounces)
	}

	_, err = p.v2.PutAccountSuppressionAttributes(ctx, &sesv2.PutAccountSuppressionAttributesInput{SuppressedReasons: []types.SuppressionListReason{"BOUNCE"},
		ValidationAttributes: &types.SuppressionValidationAttributes{ConditionThreshold: &types.SuppressionConditionThreshold{ConditionThresholdEnabled: "DISABLED"}}})
	check(t, err)
	_, err = p.v2.PutAccountVdmAttributes(ctx, &sesv2.PutAccountVdmAttributesInput{VdmAttributes: &types.VdmAttributes{VdmEnabled: "ENABLED", DashboardAttributes: &types.DashboardAttributes{EngagementMetrics: "DISABLED"}}})
	check(t, err)
	_, err = p.v2.PutAccountDetails(ctx, &sesv2.PutAccountDetailsInput{MailType: "TRANSACTIONAL", WebsiteURL: aws.String("https://example.com"), ContactLanguage: "EN", AdditionalContactEmailAddresses: []string{"ops@example.com"}})
	check(t, err)
	_, err = p.v2.PutAccountDedicatedIpWarmupAttributes(ctx, &sesv2.PutAccountDedicatedIpWarmupAttributesInput{AutoWarmupEnabled: true})
	check(t, err)
	got = p.account(t)
	same(t, "reasons", got.SuppressionAttributes.SuppressedReasons, []string{"BOUNCE"})
	same(t, "validation", got.SuppressionAttributes.ValidationAttributes.ConditionThreshold, types.SuppressionConditionThreshold{ConditionThresholdEnabled: "DISABLED"})
	same(t, "vdm", got.VdmAttributes, types.VdmAttributes{VdmEnabled: "ENABLED", DashboardAttributes: &types.DashboardAttributes{EngagementMetrics: "DISABLED"}})
	if d := got.Details; d == nil || d.MailType != "TRANSACTIONAL" || *d.WebsiteURL != "https://example.com" || d.ContactLanguage != "EN" || len(d.AdditionalContactEmailAddresses) != 1 || !got.DedicatedIpAutoWarmupEnabled {
		t.Errorf("details: %+v", got.Details)
	}
	_, err = p.v2.PutAccountSuppressionAttributes(ctx, &sesv2.PutAccountSuppressionAttributesInput{})
	check(t, err)
	same(t, "no reasons", p.account(t).SuppressionAttributes.SuppressedReasons, []string{})
	_, err = p.v2.PutAccountSuppressionAttributes(ctx, &sesv2.PutAccountSuppressionAttributesInput{SuppressedReasons: []types.SuppressionListReason{"ANGER"}})
	wantError[*types.BadRequestException](t, err, "1 validation error detected: Value at 'suppressedReasons' failed to satisfy constraint: Member must satisfy constraint: [Member must satisfy enum value set: [BOUNCE, COMPLAINT]]")
}

// accountSending: a paused account sends nothing, by either version.
func accountSending(t *testing.T, l *lab) {
	p, ctx := l.place(t), t.Context()
	_, err := p.v2.PutAccountSendingAttributes(ctx, &sesv2.PutAccountSendingAttributesInput{})
	check(t, err)
	v1, err := p.v1.GetAccountSendingEnabled(ctx, &ses.GetAccountSendingEnabledInput{})
	check(t, err)
	if v1.Enabled || p.account(t).SendingEnabled {
		t.Error("the account is not paused")
	}
	_, err = p.v2.SendEmail(ctx, email("x@example.net"))
	wantError[*types.SendingPausedException](t, err, "Account sending is disabled.")
	_, err = p.v1.SendRawEmail(ctx, &ses.SendRawEmailInput{RawMessage: &v1types.RawMessage{Data: []byte("From: a@example.com\r\nTo: x@example.net\r\n\r\nhi\r\n")}})
	wantError[*v1types.AccountSendingPausedException](t, err, "Account sending is disabled.")
	_, err = p.v1.UpdateAccountSendingEnabled(ctx, &ses.UpdateAccountSendingEnabledInput{Enabled: true})
	check(t, err)
	p.send(t, email("x@example.net"))
}

func pools(t *testing.T, l *lab) {
	p, ctx := l.place(t), t.Context()
	create := func(name string, mode types.ScalingMode) error {
		_, err := p.v2.CreateDedicatedIpPool(ctx, &sesv2.CreateDedicatedIpPoolInput{PoolName: &name, ScalingMode: mode})
		return err
	}
	check(t, create("b", ""))
	check(t, create("a", "MANAGED"))
	wantError[*types.AlreadyExistsException](t, create("a", ""), "The pool <a> already exists.")
	wantError[*types.BadRequestException](t, create("c", "HUGE"), "The ScalingMode parameter is invalid.")
	got, err := p.v2.GetDedicatedIpPool(ctx, &sesv2.GetDedicatedIpPoolInput{PoolName: aws.String("b")})
	check(t, err)
	same(t, "pool", got.DedicatedIpPool, types.DedicatedIpPool{PoolName: aws.String("b"), ScalingMode: "STANDARD"})
	var names []string
	list := sesv2.NewListDedicatedIpPoolsPaginator(p.v2, &sesv2.ListDedicatedIpPoolsInput{PageSize: aws.Int32(1)})
	for list.HasMorePages() {
		page, err := list.NextPage(ctx)
		check(t, err)
		names = append(names, page.DedicatedIpPools...)
	}
	same(t, "pools", names, []string{"a", "b"})
	ips, err := p.v2.GetDedicatedIps(ctx, &sesv2.GetDedicatedIpsInput{PoolName: aws.String("a")})
	check(t, err)
	same(t, "addresses", ips.DedicatedIps, []types.DedicatedIp{})

	// A configuration set can name a pool that exists.
	p.set(t, "s")
	put := func(pool string) error {
		_, err := p.v2.PutConfigurationSetDeliveryOptions(ctx, &sesv2.PutConfigurationSetDeliveryOptionsInput{ConfigurationSetName: aws.String("s"), SendingPoolName: &pool})
		return err
	}
	check(t, put("a"))
	same(t, "delivery", p.getSet(t, "s").DeliveryOptions, types.DeliveryOptions{TlsPolicy: "OPTIONAL", SendingPoolName: aws.String("a")})
	in := email("x@example.net")
	in.ConfigurationSetName = aws.String("s")
	p.send(t, in)

	scale := func(name string, mode types.ScalingMode) error {
		_, err := p.v2.PutDedicatedIpPoolScalingAttributes(ctx, &sesv2.PutDedicatedIpPoolScalingAttributesInput{PoolName: &name, ScalingMode: mode})
		return err
	}
	check(t, scale("b", "MANAGED"))
	wantError[*types.BadRequestException](t, scale("b", "STANDARD"), "The pool <b> is managed and cannot be made a standard pool.")
	wantError[*types.NotFoundException](t, scale("x", "MANAGED"), "The requested pool <x> does not exist.")
	_, err = p.v2.DeleteDedicatedIpPool(ctx, &sesv2.DeleteDedicatedIpPoolInput{PoolName: aws.String("a")})
	check(t, err)
	_, err = p.v2.DeleteDedicatedIpPool(ctx, &sesv2.DeleteDedicatedIpPoolInput{PoolName: aws.String("a")})
	wantError[*types.NotFoundException](t, err, "The requested pool <a> does not exist.")
	wantError[*types.BadRequestException](t, put("a"), "SendingPool <a> doesn't exist")
	for i := range 49 {
		check(t, create(fmt.Sprint("n", i), ""))
	}
	wantError[*types.LimitExceededException](t, create("more", ""), "A maximum of 50 dedicated IP pools is allowed.")
}

func resourceTags(t *testing.T, l *lab) {
	p, ctx := l.place(t), t.Context()
	p.set(t, "s")
	_, err := p.v2.CreateDedicatedIpPool(ctx, &sesv2.CreateDedicatedIpPoolInput{PoolName: aws.String("pool")})
	check(t, err)
	tag := func(k, v string) types.Tag { return types.Tag{Key: &k, Value: &v} }
	list := func(arn string) []types.Tag {
		t.Helper()
		out, err := p.v2.ListTagsForResource(ctx, &sesv2.ListTagsForResourceInput{ResourceArn: &arn})
		check(t, err)
		return out.Tags
	}
	for _, resource := range []string{"configuration-set/s", "identity/example.com", "dedicated-ip-pool/pool"} {
		arn := p.arn("ses", resource)
		same(t, "no tags", list(arn), []types.Tag{})
		_, err := p.v2.TagResource(ctx, &sesv2.TagResourceInput{ResourceArn: &arn, Tags: []types.Tag{tag("a", "1"), tag("b", "")}})
		check(t, err)
		_, err = p.v2.TagResource(ctx, &sesv2.TagResourceInput{ResourceArn: &arn, Tags: []types.Tag{tag("c", "3"), tag("a", "2")}})
		check(t, err)
		same(t, resource, list(arn), []types.Tag{tag("a", "2"), tag("b", ""), tag("c", "3")})
		_, err = p.v2.UntagResource(ctx, &sesv2.UntagResourceInput{ResourceArn: &arn, TagKeys: []string{"b", "x"}})
		check(t, err)
		same(t, resource, list(arn), []types.Tag{tag("a", "2"), tag("c", "3")})
	}
	same(t, "in the set", p.getSet(t, "s").Tags, []types.Tag{tag("a", "2"), tag("c", "3")})

	refuse := func(resource string, tags ...types.Tag) error {
		_, err := p.v2.TagResource(ctx, &sesv2.TagResourceInput{ResourceArn: aws.String(p.arn("ses", resource)), Tags: tags})
		return err
	}
	wantError[*types.NotFoundException](t, refuse("configuration-set/x", tag("a", "1")), "No ConfigurationSet present with name: x")
	wantError[*types.NotFoundException](t, refuse("identity/x.example", tag("a", "1")), "No EmailIdentity present with name: x.example")
	wantError[*types.NotFoundException](t, refuse("moon/x", tag("a", "1")), "Resource ARN was not found.")
	_, err = p.v2.ListTagsForResource(ctx, &sesv2.ListTagsForResourceInput{ResourceArn: aws.String("arn:aws:ses:other-region-1:000000000000:configuration-set/s")})
	wantError[*types.NotFoundException](t, err, "Resource ARN was not found.")
	wantError[*types.BadRequestException](t, refuse("configuration-set/s", tag("", "1")), "A tag key must have 1 to 128 characters.")
	wantError[*types.BadRequestException](t, refuse("configuration-set/s", tag("k", strings.Repeat("v", 257))), "The value of tag k cannot exceed 256 characters.")
	wantError[*types.BadRequestException](t, refuse("configuration-set/s", tag("k", "1"), tag("k", "2")), "The tag key k is given twice.")
	var many []types.Tag
	for i := range 48 {
		many = append(many, tag(fmt.Sprint("k", i), ""))
	}
	check(t, refuse("configuration-set/s", many...))
	wantError[*types.BadRequestException](t, refuse("configuration-set/s", tag("last", "")), "A resource can have at most 50 tags.")
	if n := len(p.getSet(t, "s").Tags); n != 50 {
		t.Errorf("%d tags", n)
	}
}

// unimplemented operations say so at once, with their name, and are not retried
// as a fault of the server.
func unimplemented(t *testing.T, l *lab) {
	p, ctx := l.place(t), t.Context()
	_, err := p.v1.SetIdentityFeedbackForwardingEnabled(ctx, &ses.SetIdentityFeedbackForwardingEnabledInput{Identity: aws.String("example.com")})
	if err == nil || !strings.Contains(err.Error(), "SetIdentityFeedbackForwardingEnabled") || !strings.Contains(err.Error(), "StatusCode: 4") {
		t.Errorf("v1: %v", err)
	}
	_, err = p.v2.GetMessageInsights(ctx, &sesv2.GetMessageInsightsInput{MessageId: aws.String("x")})
	if err == nil || !strings.Contains(err.Error(), "GetMessageInsights") || !strings.Contains(err.Error(), "StatusCode: 4") {
		t.Errorf("v2: %v", err)
	}
}
