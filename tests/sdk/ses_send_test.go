package sdk

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/smtp"
	"net/textproto"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ses"
	v1types "github.com/aws/aws-sdk-go-v2/service/ses/types"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"
	"github.com/aws/aws-sdk-go-v2/service/sesv2/types"

	"github.com/sestina-mail/sestina/tests/harness"
)

// setOf returns the configuration set that a message was sent with, "" for none.
func (l *lab) setOf(t *testing.T, id string) string {
	t.Helper()
	if v := l.sent(t, id).Mail.Tags["ses:configuration-set"]; len(v) == 1 {
		return v[0]
	}
	return ""
}

// precedence: what an API parameter says beats the header; tags of the two are
// never merged.
func precedence(t *testing.T, l *lab) {
	p, ctx := l.place(t), t.Context()
	for _, name := range []string{"by-parameter", "by-header"} {
		p.set(t, name)
	}
	const message = "From: a@example.com\nTo: x@example.net\nX-SES-CONFIGURATION-SET: by-header\nX-Ses-Message-Tags: from=header, only=header\nX-SES-MESSAGE-TAGS: second=ignored\n\nhi\n"
	user := func(id string) map[string][]string {
		got := map[string][]string{}
		for k, v := range p.sent(t, id).Mail.Tags {
			if !strings.HasPrefix(k, "ses:") {
				got[k] = v
			}
		}
		return got
	}
	header := p.send(t, rawEmail(message))
	same(t, "header tags", user(header), map[string][]string{"from": {"header"}, "only": {"header"}})
	if s := p.setOf(t, header); s != "by-header" {
		t.Errorf("set %q by header", s)
	}
	in := rawEmail(message)
	in.ConfigurationSetName, in.EmailTags = aws.String("by-parameter"), tags("from", "api", "twice", "1", "twice", "2")
	both := p.send(t, in)
	same(t, "API tags", user(both), map[string][]string{"from": {"api"}, "twice": {"1", "2"}})
	if s := p.setOf(t, both); s != "by-parameter" {
		t.Errorf("set %q by parameter", s)
	}
	// API tags win even over a header that could not be read.
	in = rawEmail(strings.Replace(message, "from=header", "b a d", 1))
	in.EmailTags = tags("a", "b")
	same(t, "API tags", user(p.send(t, in)), map[string][]string{"a": {"b"}})

	v1, err := p.v1.SendRawEmail(ctx, &ses.SendRawEmailInput{RawMessage: &v1types.RawMessage{Data: []byte(strings.ReplaceAll(message, "\n", "\r\n"))},
		ConfigurationSetName: aws.String("by-parameter"), Tags: []v1types.MessageTag{{Name: aws.String("v"), Value: aws.String("1")}}})
	check(t, err)
	same(t, "v1 tags", user(*v1.MessageId), map[string][]string{"v": {"1"}})
	if s := p.setOf(t, *v1.MessageId); s != "by-parameter" {
		t.Errorf("set %q by v1 parameter", s)
	}
}

// defaultSet: an identity's configuration set is used when the send names none,
// the address's before its domain's.
func defaultSet(t *testing.T, l *lab) {
	p, ctx := l.place(t), t.Context()
	for _, name := range []string{"of-domain", "of-address", "explicit"} {
		p.set(t, name)
	}
	p.identity(t, "vip@example.com")
	assign := func(identity, set string) {
		_, err := p.v2.PutEmailIdentityConfigurationSetAttributes(ctx, &sesv2.PutEmailIdentityConfigurationSetAttributesInput{EmailIdentity: &identity, ConfigurationSetName: &set})
		check(t, err)
	}
	assign("example.com", "of-domain")
	assign("vip@example.com", "of-address")
	from := func(address, set string) *sesv2.SendEmailInput {
		in := email("x@example.net")
		in.FromEmailAddress = &address
		if set != "" {
			in.ConfigurationSetName = &set
		}
		return in
	}
	for _, c := range []struct{ address, set, want string }{
		{"a@example.com", "", "of-domain"}, {"a@sub.example.com", "", "of-domain"}, {"VIP <vip@example.com>", "", "of-address"},
		{"vip+label@example.com", "", "of-address"}, {"vip@example.com", "explicit", "explicit"},
	} {
		if got := p.setOf(t, p.send(t, from(c.address, c.set))); got != c.want {
			t.Errorf("from %s with set %q: sent with %q, want %q", c.address, c.set, got, c.want)
		}
	}
	_, err := p.v2.DeleteConfigurationSet(ctx, &sesv2.DeleteConfigurationSetInput{ConfigurationSetName: aws.String("of-domain")})
	check(t, err)
	_, err = p.v2.SendEmail(ctx, from("a@example.com", ""))
	wantError[*types.BadRequestException](t, err, "Configuration set <of-domain> does not exist.")
	_, err = p.v1.SendEmail(ctx, v1Email("a@example.com", "x@example.net"))
	wantError[*v1types.ConfigurationSetDoesNotExistException](t, err, "Configuration set <of-domain> does not exist.")
}

func v1Email(from string, to ...string) *ses.SendEmailInput {
	return &ses.SendEmailInput{Source: &from, Destination: &v1types.Destination{ToAddresses: to},
		Message: &v1types.Message{Subject: &v1types.Content{Data: aws.String("Spring list")}, Body: &v1types.Body{Text: &v1types.Content{Data: aws.String("hello")}}}}
}

// badTags are tags and the refusals of them, with the two spaces that SES writes.
var badTags = []struct{ name, value, text string }{
	{"a b", "x", "Invalid tag name <a b>: only alphanumeric ASCII characters, '_',  '-' are allowed."},
	{"a.b", "x y", "Invalid tag name <a.b>: only alphanumeric ASCII characters, '_',  '-' are allowed."}, // the name first
	{"ses:source-ip", "x", "Invalid tag name <ses:source-ip>: only alphanumeric ASCII characters, '_',  '-' are allowed."},
	{"a", "x y", "Invalid tag value <x y>: only alphanumeric ASCII characters, '_',  '-' , '.', '@' are allowed."},
	{"a", "é", "Invalid tag value <é>: only alphanumeric ASCII characters, '_',  '-' , '.', '@' are allowed."},
	{strings.Repeat("n", 256), "x", "Tag name cannot exceed 255 characters."},
	{"a", strings.Repeat("v", 256), "Tag value cannot exceed 255 characters."},
	{"", "x", "The tag name must be specified."},
	{"a", "", "The tag value must be specified."},
}

func tagTexts(t *testing.T, l *lab) {
	p, ctx := l.place(t), t.Context()
	for _, c := range badTags {
		in := email("x@example.net")
		in.EmailTags = tags("good", "1", c.name, c.value)
		_, err := p.v2.SendEmail(ctx, in)
		wantError[*types.BadRequestException](t, err, c.text)
		v1 := v1Email("a@example.com", "x@example.net")
		v1.Tags = []v1types.MessageTag{{Name: &c.name, Value: &c.value}}
		_, err = p.v1.SendEmail(ctx, v1)
		wantFault(t, err, "InvalidParameterValue", c.text)
		if strings.ContainsAny(c.value, "é") {
			continue // not for a header
		}
		_, err = p.v2.SendEmail(ctx, rawEmail("From: a@example.com\nTo: x@example.net\nX-SES-MESSAGE-TAGS: good=1, "+c.name+"="+c.value+"\n\nhi\n"))
		wantError[*types.BadRequestException](t, err, c.text)
	}
	in := email("x@example.net")
	in.EmailTags = tags("ses:feedback-id-a", "one", "ses:feedback-id-b", "two", "mail", "a.b@c-d_e")
	got := p.sent(t, p.send(t, in)).Mail.Tags
	same(t, "feedback ids", [][]string{got["ses:feedback-id-a"], got["ses:feedback-id-b"], got["mail"]}, [][]string{{"one"}, {"two"}, {"a.b@c-d_e"}})

	in.EmailTags = nil
	for i := range 50 {
		in.EmailTags = append(in.EmailTags, tags(fmt.Sprint("t", i), "x")...)
	}
	p.send(t, in)
	in.EmailTags = append(in.EmailTags, tags("more", "x")...)
	_, err := p.v2.SendEmail(ctx, in)
	wantError[*types.BadRequestException](t, err, "Tag count exceeds 50.")
}

// orderOfChecks takes one fault after the other out of a send that has all of
// them: tags, configuration set, paused account, paused set, identity.
func orderOfChecks(t *testing.T, l *lab) {
	p, ctx := l.place(t), t.Context()
	p.set(t, "paused")
	_, err := p.v2.PutConfigurationSetSendingOptions(ctx, &sesv2.PutConfigurationSetSendingOptionsInput{ConfigurationSetName: aws.String("paused")})
	check(t, err)
	_, err = p.v2.PutAccountSendingAttributes(ctx, &sesv2.PutAccountSendingAttributesInput{})
	check(t, err)
	in := email("x@example.net")
	in.FromEmailAddress, in.ConfigurationSetName, in.EmailTags = aws.String("a@unverified.example"), aws.String("missing"), tags("a b", "x")
	send := func() error { _, err := p.v2.SendEmail(ctx, in); return err }

	wantError[*types.BadRequestException](t, send(), badTags[0].text)
	in.EmailTags = nil
	wantError[*types.NotFoundException](t, send(), "Configuration set <missing> does not exist.")
	in.ConfigurationSetName = aws.String("paused")
	wantError[*types.SendingPausedException](t, send(), "Account sending is disabled.")
	_, err = p.v2.PutAccountSendingAttributes(ctx, &sesv2.PutAccountSendingAttributesInput{SendingEnabled: true})
	check(t, err)
	wantError[*types.SendingPausedException](t, send(), "Sending is paused for configuration set paused")
	_, err = p.v2.PutConfigurationSetSendingOptions(ctx, &sesv2.PutConfigurationSetSendingOptionsInput{ConfigurationSetName: aws.String("paused"), SendingEnabled: true})
	check(t, err)
	wantError[*types.MessageRejected](t, send(), "Email address is not verified. The following identities failed the check in region "+strings.ToUpper(p.region)+": a@unverified.example")
	in.FromEmailAddress = aws.String("a@example.com")
	check(t, send())
}

func autoTags(t *testing.T, l *lab) {
	p, ctx := l.place(t), t.Context()
	p.set(t, "s")
	in := email("x@example.net")
	in.ConfigurationSetName, in.FromEmailAddress = aws.String("s"), aws.String("Ana <ana@News.Example.com>")
	id := p.send(t, in)
	want := map[string][]string{
		"ses:operation": {"SendEmail"}, "ses:configuration-set": {"s"}, "ses:source-ip": {"127.0.0.1"}, "ses:from-domain": {"news.example.com"}, "ses:caller-identity": {"root"},
	}
	records := p.records(t, id, 2)
	same(t, "tags of Send", records[0].Mail.Tags, want)
	want["ses:outgoing-ip"], want["ses:outgoing-tls-version"] = []string{"127.0.0.1"}, []string{"TLSv1.3"}
	same(t, "tags of Delivery", records[1].Mail.Tags, want)
	if m := records[0].Mail; m.SourceArn != p.arn("ses", "identity/example.com") || m.SendingAccountID != "000000000000" || m.Source != "Ana <ana@News.Example.com>" || m.MessageID != id {
		t.Errorf("mail: %+v", m)
	}

	// Over TLS, which the same port takes, the record says which version.
	ca, err := os.ReadFile(filepath.Join(l.Dir, "ca.pem"))
	check(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer transport.CloseIdleConnections()
	secure, err := p.v2.SendEmail(ctx, email("x@example.net"), func(o *sesv2.Options) {
		o.BaseEndpoint, o.HTTPClient = aws.String(strings.Replace(l.HTTP, "http:", "https:", 1)), &http.Client{Transport: transport}
	})
	check(t, err)
	same(t, "TLS version", p.sent(t, *secure.MessageId).Mail.Tags["ses:source-tls-version"], []string{"TLSv1.3"})

	operation := func(id, want string) {
		t.Helper()
		tags := p.sent(t, id).Mail.Tags
		if got := tags["ses:operation"]; len(got) != 1 || got[0] != want {
			t.Errorf("ses:operation %v, want %s", got, want)
		}
		if ip, err := netip.ParseAddr(strings.Join(tags["ses:source-ip"], "")); err != nil || !ip.IsLoopback() {
			t.Errorf("ses:source-ip %v", tags["ses:source-ip"])
		}
	}
	const raw = "From: a@example.com\nTo: x@example.net\n\nhi\n"
	operation(p.send(t, rawEmail(raw)), "SendEmail")
	v1, err := p.v1.SendEmail(ctx, v1Email("a@example.com", "x@example.net"))
	check(t, err)
	operation(*v1.MessageId, "SendEmail")
	rawV1, err := p.v1.SendRawEmail(ctx, &ses.SendRawEmailInput{RawMessage: &v1types.RawMessage{Data: []byte(raw)}})
	check(t, err)
	operation(*rawV1.MessageId, "SendRawEmail")
}

func unknownSet(t *testing.T, l *lab) {
	p, ctx := l.place(t), t.Context()
	in := email("x@example.net")
	in.ConfigurationSetName = aws.String("nope")
	_, err := p.v2.SendEmail(ctx, in)
	wantError[*types.NotFoundException](t, err, "Configuration set <nope> does not exist.")
	v1 := v1Email("a@example.com", "x@example.net")
	v1.ConfigurationSetName = aws.String("nope")
	_, err = p.v1.SendEmail(ctx, v1)
	wantError[*v1types.ConfigurationSetDoesNotExistException](t, err, "Configuration set <nope> does not exist.")
	const raw = "From: a@example.com\nTo: x@example.net\nX-SES-CONFIGURATION-SET: nope\n\nhi\n"
	_, err = p.v2.SendEmail(ctx, rawEmail(raw))
	wantError[*types.NotFoundException](t, err, "Configuration set <nope> does not exist.")
	_, err = p.v1.SendRawEmail(ctx, &ses.SendRawEmailInput{RawMessage: &v1types.RawMessage{Data: []byte(raw)}})
	wantError[*v1types.ConfigurationSetDoesNotExistException](t, err, "Configuration set <nope> does not exist.")
}

// answer returns the server's answer in an SMTP error.
func answer(err error) string {
	var reply *textproto.Error
	if !errors.As(err, &reply) {
		return fmt.Sprint(err)
	}
	return fmt.Sprint(reply.Code, " ", reply.Msg)
}

// smtpTexts are the answers to DATA that clients look at.
func smtpTexts(t *testing.T, l *lab) {
	l.placeIn(t, "us-east-1") // SMTP's region
	for message, want := range map[string]string{
		"From: a@example.com\nX-SES-CONFIGURATION-SET: nope\n\nhi\n":        "554 Transaction failed: Configuration set <nope> does not exist.",
		"From: a@example.com\nX-SES-MESSAGE-TAGS: a b=c\n\nhi\n":            "554 Transaction failed: Invalid tag name <a b>: only alphanumeric ASCII characters, '_',  '-' are allowed.",
		"From: b@unverified.example\n\nhi\n":                                "554 Message rejected: Email address is not verified. The following identities failed the check in region US-EAST-1: b@unverified.example",
		"To: x@example.net\n\nhi\n":                                         "554 Transaction failed: Missing required header 'From'.",
		"From: a@example.com\nSubject: one\nSubject: two\n\nhi\n":           "554 Transaction failed: Duplicate header 'Subject'.",
		"From: a@example.com, c@other.example\nSender: d@x.example\n\nhi\n": "554 Message rejected: Email address is not verified. The following identities failed the check in region US-EAST-1: c@other.example, d@x.example",
	} {
		_, err := harness.SMTPSend(l.SMTP, "a@example.com", []string{"x@example.net"}, message)
		if got := answer(err); got != want {
			t.Errorf("%q:\n got %s\nwant %s", message, got, want)
		}
	}
	_, err := harness.SMTPSend(l.SMTP, "e@unverified.example", []string{"x@example.net"}, "From: a@example.com\n\nhi\n")
	if got := answer(err); !strings.HasSuffix(got, "in region US-EAST-1: e@unverified.example") {
		t.Errorf("unverified MAIL FROM: %s", got)
	}
	id, err := harness.SMTPSend(l.SMTP, "a@example.com", []string{"x@example.net", "hidden@example.net"}, "From: Ana <a@example.com>\nTo: x@example.net\n\nhi\n")
	check(t, err)
	m := l.sent(t, id).Mail
	if m.Source != "a@example.com" || m.Tags["ses:operation"][0] != "SendSmtpEmail" || m.Tags["ses:caller-identity"][0] != "root" {
		t.Errorf("mail: %+v", m)
	}
	same(t, "destination", m.Destination, []string{"x@example.net", "hidden@example.net"})
}

// smtpSize: a message of more than 40 MB is refused as soon as its size is
// known.
func smtpSize(t *testing.T, l *lab) {
	c, err := smtp.Dial(l.SMTP)
	check(t, err)
	defer c.Close()
	if ok, size := c.Extension("SIZE"); !ok || size != "41943040" {
		t.Errorf("SIZE %t %s", ok, size)
	}
	check(t, c.Text.PrintfLine("MAIL FROM:<a@example.com> SIZE=41943041"))
	if _, _, err = c.Text.ReadResponse(250); !strings.HasPrefix(answer(err), "552 ") {
		t.Errorf("answer %s", answer(err))
	}
}

func addresses(n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("r%d@example.net", i))
	}
	return out
}

func recipientLimit(t *testing.T, l *lab) {
	p, ctx := l.place(t), t.Context()
	all := addresses(51)
	in := email()
	in.Destination = &types.Destination{ToAddresses: all[:20], CcAddresses: all[20:40], BccAddresses: all[40:50]}
	same(t, "destination", p.sent(t, p.send(t, in)).Mail.Destination, all[:50])
	const text = "Recipient count exceeds 50."
	in.Destination.BccAddresses = all[40:]
	_, err := p.v2.SendEmail(ctx, in)
	wantError[*types.BadRequestException](t, err, text)
	_, err = p.v1.SendEmail(ctx, v1Email("a@example.com", all...))
	wantFault(t, err, "InvalidParameterValue", text)
	raw := []byte("From: a@example.com\r\nTo: " + strings.Join(all, ",\r\n ") + "\r\n\r\nhi\r\n")
	_, err = p.v1.SendRawEmail(ctx, &ses.SendRawEmailInput{RawMessage: &v1types.RawMessage{Data: raw}})
	wantFault(t, err, "InvalidParameterValue", text)
	// Explicit recipients replace those of the headers.
	out, err := p.v1.SendRawEmail(ctx, &ses.SendRawEmailInput{RawMessage: &v1types.RawMessage{Data: raw}, Destinations: []string{"Only <only@example.net>"}})
	check(t, err)
	same(t, "destination", p.sent(t, *out.MessageId).Mail.Destination, []string{"only@example.net"})
	_, err = p.v2.SendEmail(ctx, email())
	wantError[*types.BadRequestException](t, err, "The message has no recipients: give at least one To, Cc or Bcc address.")
	_, err = p.v2.SendEmail(ctx, rawEmail("From: a@example.com\n\nhi\n"))
	wantError[*types.BadRequestException](t, err, "The message has no recipients: give at least one To, Cc or Bcc address.")
	if _, err = p.v2.SendEmail(ctx, email("no-address")); err == nil {
		t.Error("a recipient that is no address was accepted")
	} else {
		wantError[*types.BadRequestException](t, err, "Missing final '@domain'")
	}
}

func unverified(t *testing.T, l *lab) {
	p, ctx := l.place(t), t.Context()
	p.identity(t, "Only@Example.org")
	prefix := "Email address is not verified. The following identities failed the check in region " + strings.ToUpper(p.region) + ": "
	from := func(address string) error {
		in := email("x@example.net")
		in.FromEmailAddress = &address
		_, err := p.v2.SendEmail(ctx, in)
		return err
	}
	check(t, from("Only@Example.org"))
	check(t, from("any@sub.sub.Example.COM"))
	wantError[*types.MessageRejected](t, from("Somebody <only@example.org>"), prefix+"only@example.org") // addresses compare with case
	wantError[*types.MessageRejected](t, from("x@notexample.com"), prefix+"x@notexample.com")
	in := email("x@example.net")
	in.FeedbackForwardingEmailAddress = aws.String("f@other.example")
	_, err := p.v2.SendEmail(ctx, in)
	wantError[*types.MessageRejected](t, err, prefix+"f@other.example")
	v1 := v1Email("a@other.example", "x@example.net")
	v1.ReturnPath = aws.String("r@third.example")
	_, err = p.v1.SendEmail(ctx, v1)
	wantError[*v1types.MessageRejected](t, err, prefix+"a@other.example, r@third.example")
	_, err = p.v1.SendRawEmail(ctx, &ses.SendRawEmailInput{Source: aws.String("a@example.com"),
		RawMessage: &v1types.RawMessage{Data: []byte("From: b@other.example\r\nTo: x@example.net\r\n\r\nhi\r\n")}})
	wantError[*v1types.MessageRejected](t, err, prefix+"b@other.example")
}

func pausedSet(t *testing.T, l *lab) {
	p, ctx := l.place(t), t.Context()
	p.set(t, "s")
	pause := func(enabled bool) {
		_, err := p.v1.UpdateConfigurationSetSendingEnabled(ctx, &ses.UpdateConfigurationSetSendingEnabledInput{ConfigurationSetName: aws.String("s"), Enabled: enabled})
		check(t, err)
	}
	pause(false)
	in, v1 := email("x@example.net"), v1Email("a@example.com", "x@example.net")
	in.ConfigurationSetName, v1.ConfigurationSetName = aws.String("s"), aws.String("s")
	_, err := p.v2.SendEmail(ctx, in)
	wantError[*types.SendingPausedException](t, err, "Sending is paused for configuration set s")
	_, err = p.v1.SendEmail(ctx, v1)
	wantError[*v1types.ConfigurationSetSendingPausedException](t, err, "Sending is paused for configuration set s")
	p.send(t, email("x@example.net")) // others go on
	pause(true)
	p.send(t, in)
}

// separateRegions: the same names in two regions are different things.
func separateRegions(t *testing.T, l *lab) {
	one, two := l.place(t), l.place(t)
	q1, q2 := one.topic(t, "events"), two.topic(t, "events")
	one.set(t, "s")
	if _, err := two.v2.GetConfigurationSet(t.Context(), &sesv2.GetConfigurationSetInput{ConfigurationSetName: aws.String("s")}); err == nil {
		t.Error("a set is seen from another region")
	}
	two.set(t, "s")
	q1.publishTo(t, "s", "d", "SEND")
	q2.publishTo(t, "s", "d", "SEND")
	in := email("x@example.net")
	in.ConfigurationSetName = aws.String("s")
	id1, id2 := one.send(t, in), two.send(t, in)
	if got := q1.next(t, 1)[0]; !strings.Contains(got, id1) || !strings.Contains(got, one.arn("ses", "identity/example.com")) {
		t.Errorf("first region: %s", got)
	}
	if got := q2.next(t, 1)[0]; !strings.Contains(got, id2) {
		t.Errorf("second region: %s", got)
	}
	one.identity(t, "only-here.example")
	in.FromEmailAddress = aws.String("a@only-here.example")
	one.send(t, in)
	_, err := two.v2.SendEmail(t.Context(), in)
	wantError[*types.MessageRejected](t, err, "Email address is not verified. The following identities failed the check in region "+strings.ToUpper(two.region)+": a@only-here.example")
}

var messageID = regexp.MustCompile(`^0[0-9a-f]{15}-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}-000000$`)

func messageIDs(t *testing.T, l *lab) {
	for region, mark := range map[string]string{"us-west-2": "0101", "eu-west-1": "0102", "eu-central-1": "0107", "us-east-2": "010f"} {
		p := l.placeIn(t, region)
		seen := map[string]bool{}
		for range 3 {
			id := p.send(t, email("x@example.net"))
			if !messageID.MatchString(id) || len(id) != 60 || !strings.HasPrefix(id, mark) || seen[id] {
				t.Errorf("message id %s in %s", id, region)
			}
			seen[id] = true
			if raw := p.raw(t, id); !strings.Contains(raw, "\r\nMessage-ID: <"+id+"@"+region+".amazonses.com>\r\n") {
				t.Errorf("Message-ID in %s:\n%s", region, raw)
			}
		}
	}
}

func sizeV1(t *testing.T, l *lab) {
	p, ctx := l.place(t), t.Context()
	head := "From: a@example.com\r\nTo: x@example.net\r\nSubject: big\r\n\r\n"
	raw := []byte(head + strings.Repeat(strings.Repeat("x", 62)+"\r\n", 10<<20/64))
	raw = append(raw[:10<<20-2:10<<20-2], "\r\n"...)
	send := func(data []byte) error {
		_, err := p.v1.SendRawEmail(ctx, &ses.SendRawEmailInput{RawMessage: &v1types.RawMessage{Data: data}})
		return err
	}
	check(t, send(raw))
	wantFault(t, send(append(raw, '\n')), "InvalidParameterValue", "Message length is more than 10485760 bytes long: '10485761'.")
	v1 := v1Email("a@example.com", "x@example.net")
	v1.Message.Body.Text.Data = aws.String(strings.Repeat("x", 10<<20))
	if _, err := p.v1.SendEmail(ctx, v1); err == nil || !strings.Contains(err.Error(), "Message length is more than 10485760 bytes long") {
		t.Errorf("a text of 10 MB: %v", err)
	}
}

func sizeV2(t *testing.T, l *lab) {
	p, ctx := l.place(t), t.Context()
	in := email("x@example.net")
	attach := func(n int) {
		in.Content.Simple.Attachments = []types.Attachment{{FileName: aws.String("a.bin"), RawContent: make([]byte, n)}}
	}
	attach(28 << 20) // about 38 MB as base64
	id := p.send(t, in)
	if n := len(p.raw(t, id)); n < 38<<20 || n > 40<<20 {
		t.Errorf("the message has %d bytes", n)
	}
	attach(31 << 20)
	_, err := p.v2.SendEmail(ctx, in)
	if err == nil || !strings.Contains(err.Error(), "BadRequestException") || !strings.Contains(err.Error(), "Message length is more than 41943040 bytes long") {
		t.Errorf("more than 40 MB: %v", err)
	}
}
