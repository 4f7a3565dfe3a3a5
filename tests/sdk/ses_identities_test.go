package sdk

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ses"
	v1types "github.com/aws/aws-sdk-go-v2/service/ses/types"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"
	"github.com/aws/aws-sdk-go-v2/service/sesv2/types"
)

func (p *place) getIdentity(t *testing.T, name string) *sesv2.GetEmailIdentityOutput {
	t.Helper()
	out, err := p.v2.GetEmailIdentity(t.Context(), &sesv2.GetEmailIdentityInput{EmailIdentity: &name})
	check(t, err)
	return out
}

var dkimToken = regexp.MustCompile(`^[a-z0-9]{32}$`)

func identitiesV2(t *testing.T, l *lab) {
	p, ctx := l.place(t), t.Context()
	p.set(t, "default")
	made, err := p.v2.CreateEmailIdentity(ctx, &sesv2.CreateEmailIdentityInput{
		EmailIdentity: aws.String("Shop.Example.ORG"), ConfigurationSetName: aws.String("default"), Tags: []types.Tag{{Key: aws.String("k"), Value: aws.String("v")}}})
	check(t, err)
	d := made.DkimAttributes
	if made.IdentityType != "DOMAIN" || !made.VerifiedForSendingStatus || !d.SigningEnabled || d.Status != "SUCCESS" || d.SigningAttributesOrigin != "AWS_SES" ||
		d.CurrentSigningKeyLength != "RSA_2048_BIT" || len(d.Tokens) != 3 {
		t.Errorf("created: %+v %+v", made, d)
	}
	for _, token := range d.Tokens {
		if !dkimToken.MatchString(token) {
			t.Errorf("DKIM token %q", token)
		}
	}
	got := p.getIdentity(t, "shop.example.org") // domains compare without case
	same(t, "DKIM", got.DkimAttributes, d)
	if *got.ConfigurationSetName != "default" || !got.FeedbackForwardingStatus || got.VerificationStatus != "SUCCESS" || got.MailFromAttributes.BehaviorOnMxFailure != "USE_DEFAULT_VALUE" ||
		len(got.Policies) != 0 || *got.Tags[0].Key != "k" {
		t.Errorf("identity: %+v", got)
	}
	address, err := p.v2.CreateEmailIdentity(ctx, &sesv2.CreateEmailIdentityInput{EmailIdentity: aws.String("Ana@Example.net")})
	check(t, err)
	if address.IdentityType != "EMAIL_ADDRESS" || !address.VerifiedForSendingStatus || address.DkimAttributes.SigningEnabled || address.DkimAttributes.Status != "NOT_STARTED" {
		t.Errorf("address: %+v %+v", address, address.DkimAttributes)
	}

	var names []string
	list := sesv2.NewListEmailIdentitiesPaginator(p.v2, &sesv2.ListEmailIdentitiesInput{PageSize: aws.Int32(2)})
	for list.HasMorePages() {
		page, err := list.NextPage(ctx)
		check(t, err)
		for _, i := range page.EmailIdentities {
			if !i.SendingEnabled || i.VerificationStatus != "SUCCESS" || (i.IdentityType == "DOMAIN") == strings.Contains(*i.IdentityName, "@") {
				t.Errorf("listed: %+v", i)
			}
			names = append(names, *i.IdentityName)
		}
	}
	same(t, "identities", names, []string{"Ana@Example.net", "example.com", "shop.example.org"})

	name := aws.String("shop.example.org")
	_, err = p.v2.PutEmailIdentityConfigurationSetAttributes(ctx, &sesv2.PutEmailIdentityConfigurationSetAttributesInput{EmailIdentity: name})
	check(t, err)
	_, err = p.v2.PutEmailIdentityFeedbackAttributes(ctx, &sesv2.PutEmailIdentityFeedbackAttributesInput{EmailIdentity: name})
	check(t, err)
	_, err = p.v2.PutEmailIdentityDkimAttributes(ctx, &sesv2.PutEmailIdentityDkimAttributesInput{EmailIdentity: name})
	check(t, err)
	got = p.getIdentity(t, *name)
	if got.ConfigurationSetName != nil || got.FeedbackForwardingStatus || got.DkimAttributes.SigningEnabled {
		t.Errorf("after empty Puts: %+v", got)
	}
	_, err = p.v2.DeleteEmailIdentity(ctx, &sesv2.DeleteEmailIdentityInput{EmailIdentity: name})
	check(t, err)
	_, err = p.v2.GetEmailIdentity(ctx, &sesv2.GetEmailIdentityInput{EmailIdentity: name})
	wantError[*types.NotFoundException](t, err, "Email identity shop.example.org does not exist.")
}

func identitiesV1(t *testing.T, l *lab) {
	p, ctx := l.place(t), t.Context()
	domain, err := p.v1.VerifyDomainIdentity(ctx, &ses.VerifyDomainIdentityInput{Domain: aws.String("one.example.org")})
	check(t, err)
	again, err := p.v1.VerifyDomainIdentity(ctx, &ses.VerifyDomainIdentityInput{Domain: aws.String("one.example.org")})
	check(t, err)
	if *domain.VerificationToken == "" || *again.VerificationToken != *domain.VerificationToken {
		t.Errorf("verification tokens %q, then %q", *domain.VerificationToken, *again.VerificationToken)
	}
	keys, err := p.v1.VerifyDomainDkim(ctx, &ses.VerifyDomainDkimInput{Domain: aws.String("one.example.org")})
	check(t, err)
	same(t, "tokens", keys.DkimTokens, p.getIdentity(t, "one.example.org").DkimAttributes.Tokens)
	_, err = p.v1.VerifyEmailIdentity(ctx, &ses.VerifyEmailIdentityInput{EmailAddress: aws.String("ana@example.net")})
	check(t, err)
	_, err = p.v1.VerifyEmailAddress(ctx, &ses.VerifyEmailAddressInput{EmailAddress: aws.String("bob@example.net")})
	check(t, err)
	_, err = p.v1.VerifyEmailIdentity(ctx, &ses.VerifyEmailIdentityInput{EmailAddress: aws.String("example.net")})
	wantFault(t, err, "InvalidParameterValue", "Invalid email address<example.net>.")
	_, err = p.v1.VerifyDomainIdentity(ctx, &ses.VerifyDomainIdentityInput{Domain: aws.String("ana@example.net")})
	wantFault(t, err, "InvalidParameterValue", "Invalid domain name ana@example.net.")

	list := func(kind v1types.IdentityType) (names []string) {
		for in := (&ses.ListIdentitiesInput{IdentityType: kind, MaxItems: aws.Int32(1)}); ; {
			out, err := p.v1.ListIdentities(ctx, in)
			check(t, err)
			names = append(names, out.Identities...)
			if in.NextToken = out.NextToken; in.NextToken == nil {
				return names
			}
		}
	}
	same(t, "all", list(""), []string{"ana@example.net", "bob@example.net", "example.com", "one.example.org"})
	same(t, "domains", list("Domain"), []string{"example.com", "one.example.org"})
	same(t, "addresses", list("EmailAddress"), []string{"ana@example.net", "bob@example.net"})
	verified, err := p.v1.ListVerifiedEmailAddresses(ctx, &ses.ListVerifiedEmailAddressesInput{})
	check(t, err)
	same(t, "verified", verified.VerifiedEmailAddresses, []string{"ana@example.net", "bob@example.net"})

	asked := []string{"one.example.org", "ana@example.net", "nobody@example.net"}
	status, err := p.v1.GetIdentityVerificationAttributes(ctx, &ses.GetIdentityVerificationAttributesInput{Identities: asked})
	check(t, err)
	same(t, "verification", status.VerificationAttributes, map[string]v1types.IdentityVerificationAttributes{
		"one.example.org": {VerificationStatus: "Success", VerificationToken: domain.VerificationToken}, "ana@example.net": {VerificationStatus: "Success"}})
	signing, err := p.v1.GetIdentityDkimAttributes(ctx, &ses.GetIdentityDkimAttributesInput{Identities: asked})
	check(t, err)
	if a := signing.DkimAttributes; len(a) != 2 || !a["one.example.org"].DkimEnabled || a["one.example.org"].DkimVerificationStatus != "Success" || a["ana@example.net"].DkimVerificationStatus != "NotStarted" {
		t.Errorf("DKIM: %+v", a)
	}
	_, err = p.v1.SetIdentityDkimEnabled(ctx, &ses.SetIdentityDkimEnabledInput{Identity: aws.String("one.example.org"), DkimEnabled: false})
	check(t, err)
	if p.getIdentity(t, "one.example.org").DkimAttributes.SigningEnabled {
		t.Error("DKIM is still on")
	}
	_, err = p.v1.DeleteIdentity(ctx, &ses.DeleteIdentityInput{Identity: aws.String("one.example.org")})
	check(t, err)
	_, err = p.v1.DeleteIdentity(ctx, &ses.DeleteIdentityInput{Identity: aws.String("one.example.org")}) // no fault in v1
	check(t, err)
	_, err = p.v1.DeleteVerifiedEmailAddress(ctx, &ses.DeleteVerifiedEmailAddressInput{EmailAddress: aws.String("bob@example.net")})
	check(t, err)
	same(t, "left", list(""), []string{"ana@example.net", "example.com"})
}

func identityErrors(t *testing.T, l *lab) {
	p, ctx := l.place(t), t.Context()
	create := func(name string) error {
		_, err := p.v2.CreateEmailIdentity(ctx, &sesv2.CreateEmailIdentityInput{EmailIdentity: &name})
		return err
	}
	wantError[*types.AlreadyExistsException](t, create("example.com"), "Email identity example.com already exist.")
	wantError[*types.AlreadyExistsException](t, create("EXAMPLE.com"), "Email identity example.com already exist.")
	for _, bad := range []string{"no_dots", "a..b.example", "-x-.example"} {
		wantError[*types.BadRequestException](t, create(bad), "Invalid email address or domain name <"+bad+">.")
	}
	_, err := p.v2.CreateEmailIdentity(ctx, &sesv2.CreateEmailIdentityInput{EmailIdentity: aws.String("x.example.org"), ConfigurationSetName: aws.String("missing")})
	wantError[*types.NotFoundException](t, err, "Configuration set <missing> does not exist.")
	_, err = p.v2.PutEmailIdentityConfigurationSetAttributes(ctx, &sesv2.PutEmailIdentityConfigurationSetAttributesInput{EmailIdentity: aws.String("example.com"), ConfigurationSetName: aws.String("missing")})
	wantError[*types.NotFoundException](t, err, "Configuration set <missing> does not exist.")

	missing := func(_ any, err error) {
		t.Helper()
		wantError[*types.NotFoundException](t, err, "Email identity nobody.example does not exist.")
	}
	name := aws.String("nobody.example")
	missing(p.v2.GetEmailIdentity(ctx, &sesv2.GetEmailIdentityInput{EmailIdentity: name}))
	missing(p.v2.DeleteEmailIdentity(ctx, &sesv2.DeleteEmailIdentityInput{EmailIdentity: name}))
	missing(p.v2.PutEmailIdentityConfigurationSetAttributes(ctx, &sesv2.PutEmailIdentityConfigurationSetAttributesInput{EmailIdentity: name}))
	missing(p.v2.PutEmailIdentityDkimAttributes(ctx, &sesv2.PutEmailIdentityDkimAttributesInput{EmailIdentity: name}))
	missing(p.v2.PutEmailIdentityDkimSigningAttributes(ctx, &sesv2.PutEmailIdentityDkimSigningAttributesInput{EmailIdentity: name, SigningAttributesOrigin: "AWS_SES"}))
	missing(p.v2.PutEmailIdentityFeedbackAttributes(ctx, &sesv2.PutEmailIdentityFeedbackAttributesInput{EmailIdentity: name}))
	missing(p.v2.PutEmailIdentityMailFromAttributes(ctx, &sesv2.PutEmailIdentityMailFromAttributesInput{EmailIdentity: name}))
	missing(p.v2.GetEmailIdentityPolicies(ctx, &sesv2.GetEmailIdentityPoliciesInput{EmailIdentity: name}))
}

func policy(sid string) string {
	return `{"Version":"2012-10-17","Statement":[{"Sid":"` + sid + `","Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"ses:SendEmail","Resource":"*"}]}`
}

func policies(t *testing.T, l *lab) {
	p, ctx := l.place(t), t.Context()
	id := aws.String("example.com")
	create := func(name, text string) error {
		_, err := p.v2.CreateEmailIdentityPolicy(ctx, &sesv2.CreateEmailIdentityPolicyInput{EmailIdentity: id, PolicyName: &name, Policy: &text})
		return err
	}
	check(t, create("first", policy("one")))
	wantError[*types.AlreadyExistsException](t, create("first", policy("two")), "Policy first already exists for identity example.com.")
	_, err := p.v2.UpdateEmailIdentityPolicy(ctx, &sesv2.UpdateEmailIdentityPolicyInput{EmailIdentity: id, PolicyName: aws.String("first"), Policy: aws.String(policy("three"))})
	check(t, err)
	_, err = p.v2.UpdateEmailIdentityPolicy(ctx, &sesv2.UpdateEmailIdentityPolicyInput{EmailIdentity: id, PolicyName: aws.String("none"), Policy: aws.String(policy("three"))})
	wantError[*types.NotFoundException](t, err, "Policy none does not exist for identity example.com.")
	_, err = p.v1.PutIdentityPolicy(ctx, &ses.PutIdentityPolicyInput{Identity: id, PolicyName: aws.String("second"), Policy: aws.String(policy("four"))})
	check(t, err)
	same(t, "v2", p.getIdentity(t, *id).Policies, map[string]string{"first": policy("three"), "second": policy("four")})
	got, err := p.v1.GetIdentityPolicies(ctx, &ses.GetIdentityPoliciesInput{Identity: id, PolicyNames: []string{"second", "none"}})
	check(t, err)
	same(t, "v1", got.Policies, map[string]string{"second": policy("four")})
	names, err := p.v1.ListIdentityPolicies(ctx, &ses.ListIdentityPoliciesInput{Identity: id})
	check(t, err)
	same(t, "names", names.PolicyNames, []string{"first", "second"})

	for text, want := range map[string]string{
		"{": "The policy is not valid JSON.", `{"Statement":[]}`: "The policy has no statement.",
		strings.Replace(policy("x"), "Allow", "Perhaps", 1): "Each statement needs an Effect of Allow or Deny.",
		strings.Replace(policy("x"), "Action", "Reply", 1):  "Each statement needs Principal, Action and Resource.",
		policy(strings.Repeat("x", 4096)):                   "The policy exceeds 4 KB.",
	} {
		wantError[*types.BadRequestException](t, create("bad", text), want)
		_, err := p.v1.PutIdentityPolicy(ctx, &ses.PutIdentityPolicyInput{Identity: id, PolicyName: aws.String("bad"), Policy: &text})
		wantError[*v1types.InvalidPolicyException](t, err, want)
	}
	wantError[*types.BadRequestException](t, create("a b", policy("x")), "Invalid policy name <a b>: 1 to 64 alphanumeric ASCII characters, '_' and '-'.")
	for i := range 18 {
		check(t, create(fmt.Sprint("p", i), policy("x")))
	}
	wantError[*types.LimitExceededException](t, create("twentyfirst", policy("x")), "An identity can have at most 20 policies.")
	_, err = p.v2.DeleteEmailIdentityPolicy(ctx, &sesv2.DeleteEmailIdentityPolicyInput{EmailIdentity: id, PolicyName: aws.String("first")})
	check(t, err)
	_, err = p.v1.DeleteIdentityPolicy(ctx, &ses.DeleteIdentityPolicyInput{Identity: id, PolicyName: aws.String("first")}) // gone: no fault
	check(t, err)
	all, err := p.v2.GetEmailIdentityPolicies(ctx, &sesv2.GetEmailIdentityPoliciesInput{EmailIdentity: id})
	check(t, err)
	if _, ok := all.Policies["first"]; ok || len(all.Policies) != 19 {
		t.Errorf("%d policies are left", len(all.Policies))
	}
}

func mailFrom(t *testing.T, l *lab) {
	p, ctx := l.place(t), t.Context()
	id := aws.String("example.com")
	_, err := p.v2.PutEmailIdentityMailFromAttributes(ctx, &sesv2.PutEmailIdentityMailFromAttributesInput{EmailIdentity: id, MailFromDomain: aws.String("Mail.example.com"), BehaviorOnMxFailure: "REJECT_MESSAGE"})
	check(t, err)
	same(t, "v2", p.getIdentity(t, *id).MailFromAttributes, types.MailFromAttributes{MailFromDomain: aws.String("mail.example.com"), MailFromDomainStatus: "SUCCESS", BehaviorOnMxFailure: "REJECT_MESSAGE"})
	get := func() v1types.IdentityMailFromDomainAttributes {
		out, err := p.v1.GetIdentityMailFromDomainAttributes(ctx, &ses.GetIdentityMailFromDomainAttributesInput{Identities: []string{*id}})
		check(t, err)
		return out.MailFromDomainAttributes[*id]
	}
	same(t, "v1", get(), v1types.IdentityMailFromDomainAttributes{MailFromDomain: aws.String("mail.example.com"), MailFromDomainStatus: "Success", BehaviorOnMXFailure: "RejectMessage"})
	_, err = p.v1.SetIdentityMailFromDomain(ctx, &ses.SetIdentityMailFromDomainInput{Identity: id, MailFromDomain: aws.String("bounce.example.com")})
	check(t, err)
	same(t, "v1 default", get(), v1types.IdentityMailFromDomainAttributes{MailFromDomain: aws.String("bounce.example.com"), MailFromDomainStatus: "Success", BehaviorOnMXFailure: "UseDefaultValue"})
	for _, bad := range []string{"example.com", "mail.example.org", "notexample.com"} {
		_, err = p.v2.PutEmailIdentityMailFromAttributes(ctx, &sesv2.PutEmailIdentityMailFromAttributesInput{EmailIdentity: id, MailFromDomain: &bad})
		wantError[*types.BadRequestException](t, err, "Provided MAIL-FROM domain <"+bad+"> is not subdomain of the domain of the identity <example.com>.")
	}
	_, err = p.v1.SetIdentityMailFromDomain(ctx, &ses.SetIdentityMailFromDomainInput{Identity: id})
	check(t, err)
	same(t, "cleared", p.getIdentity(t, *id).MailFromAttributes, types.MailFromAttributes{BehaviorOnMxFailure: "USE_DEFAULT_VALUE"})
}

func dkim(t *testing.T, l *lab) {
	p, ctx := l.place(t), t.Context()
	id := aws.String("example.com")
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	check(t, err)
	own := aws.String(base64.StdEncoding.EncodeToString(x509.MarshalPKCS1PrivateKey(key)))
	put := func(in sesv2.PutEmailIdentityDkimSigningAttributesInput) (*sesv2.PutEmailIdentityDkimSigningAttributesOutput, error) {
		in.EmailIdentity = id
		return p.v2.PutEmailIdentityDkimSigningAttributes(ctx, &in)
	}
	out, err := put(sesv2.PutEmailIdentityDkimSigningAttributesInput{SigningAttributesOrigin: "EXTERNAL", SigningAttributes: &types.DkimSigningAttributes{DomainSigningSelector: aws.String("sel"), DomainSigningPrivateKey: own}})
	check(t, err)
	same(t, "selector", out.DkimTokens, []string{"sel"})
	d := p.getIdentity(t, *id).DkimAttributes
	if d.SigningAttributesOrigin != "EXTERNAL" || d.CurrentSigningKeyLength != "" || len(d.Tokens) != 1 {
		t.Errorf("own key: %+v", d)
	}
	_, err = put(sesv2.PutEmailIdentityDkimSigningAttributesInput{SigningAttributesOrigin: "EXTERNAL"})
	wantError[*types.BadRequestException](t, err, "SigningAttributes with DomainSigningSelector and DomainSigningPrivateKey are required when the origin is EXTERNAL.")
	_, err = put(sesv2.PutEmailIdentityDkimSigningAttributesInput{SigningAttributesOrigin: "EXTERNAL", SigningAttributes: &types.DkimSigningAttributes{DomainSigningPrivateKey: own}})
	wantError[*types.BadRequestException](t, err, "DomainSigningSelector and DomainSigningPrivateKey must be given together.")
	_, err = put(sesv2.PutEmailIdentityDkimSigningAttributesInput{SigningAttributesOrigin: "EXTERNAL", SigningAttributes: &types.DkimSigningAttributes{DomainSigningSelector: aws.String("sel"), DomainSigningPrivateKey: aws.String("bm8ga2V5")}})
	wantError[*types.BadRequestException](t, err, "DomainSigningPrivateKey must be an RSA private key of 1024 to 2048 bits in PKCS #1 or PKCS #8 form, base64 encoded.")
	out, err = put(sesv2.PutEmailIdentityDkimSigningAttributesInput{SigningAttributesOrigin: "AWS_SES", SigningAttributes: &types.DkimSigningAttributes{NextSigningKeyLength: "RSA_1024_BIT"}})
	check(t, err)
	d = p.getIdentity(t, *id).DkimAttributes
	if len(out.DkimTokens) != 3 || d.SigningAttributesOrigin != "AWS_SES" || d.NextSigningKeyLength != "RSA_1024_BIT" {
		t.Errorf("easy DKIM again: %+v", d)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	check(t, err)
	_, err = p.v2.CreateEmailIdentity(ctx, &sesv2.CreateEmailIdentityInput{EmailIdentity: aws.String("own.example.org"),
		DkimSigningAttributes: &types.DkimSigningAttributes{DomainSigningSelector: aws.String("sel"), DomainSigningPrivateKey: aws.String(base64.StdEncoding.EncodeToString(pkcs8))}})
	check(t, err)
	if o := p.getIdentity(t, "own.example.org").DkimAttributes.SigningAttributesOrigin; o != "EXTERNAL" {
		t.Errorf("origin %s", o)
	}
}
