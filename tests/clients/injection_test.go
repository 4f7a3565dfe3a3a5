package clients

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"
	"github.com/aws/aws-sdk-go-v2/service/sesv2/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/sestina-mail/sestina/tests/harness"
)

// TestSMTPSmuggling: only <CR><LF>.<CR><LF> ends a message, so what stands
// behind any other form is never a message of its own.
func TestSMTPSmuggling(t *testing.T) {
	t.Parallel()
	hook := harness.NewHook(t)
	d := newDesk(t, nil, hook)
	const smuggled = "MAIL FROM:<a@example.com>\r\nRCPT TO:<victim@example.net>\r\nDATA\r\n" +
		"From: a@example.com\r\nTo: victim@example.net\r\nSubject: smuggled\r\nX-SES-CONFIGURATION-SET: spring\r\n\r\nhello\r\n.\r\n"
	for i, end := range []string{"\n.\n", "\r.\r", "\n.\r\n", "\r\n.\n", "\r\n.\r", "\r.\r\n", "\r\r\n.\r\n\n", "\n\n.\r\n", "\x00.\r\n", "\r\n\x00.\r\n", "\r\n.\x00\r\n", "\r\n..\r\n", "\r\n. \r\n"} {
		t.Run(fmt.Sprintf("%q", end), func(t *testing.T) {
			c, err := net.DialTimeout("tcp", d.SMTP, 10*time.Second)
			check(t, err)
			defer c.Close()
			_, err = fmt.Fprintf(c, "EHLO client.example\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<lena@example.net>\r\nDATA\r\n")
			check(t, err)
			waitFor(t, c, "354")
			_, err = fmt.Fprintf(c, "From: a@example.com\r\nTo: lena@example.net\r\nSubject: carrier-%d\r\n\r\nhello%s%s", i, end, smuggled)
			check(t, err)
			_, err = io.WriteString(c, "\r\n.\r\nQUIT\r\n")
			check(t, err)
			check(t, c.SetReadDeadline(time.Now().Add(20*time.Second)))
			_, err = io.ReadAll(c) // until the server closed: all is decided
			if err != nil && strings.Contains(err.Error(), "timeout") {
				t.Errorf("the conversation does not end: %v", err)
			}
			if got := ownMessages(t, d.Instance, "recipient=victim@example.net"); len(got) != 0 {
				t.Errorf("smuggled: %+v", got)
			}
		})
	}
	// The same bytes behind a proper end are a message: the probe would notice.
	c, err := net.DialTimeout("tcp", d.SMTP, 10*time.Second)
	check(t, err)
	defer c.Close()
	_, err = fmt.Fprintf(c, "EHLO client.example\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<lena@example.net>\r\nDATA\r\nFrom: a@example.com\r\nSubject: x\r\n\r\nhello\r\n.\r\n%sQUIT\r\n", smuggled)
	check(t, err)
	waitFor(t, c, "221")
	if got := ownMessages(t, d.Instance, "recipient=victim@example.net"); len(got) != 1 {
		t.Errorf("a second message on one connection: %+v, want one", got)
	}
	unharmed(t, d.Instance)
}

const breaks = "x\r\nX-Injected: yes\r\nBcc: victim@example.net\r\n\r\ninjected body"

// TestHeaderInjection: line breaks in whatever becomes a header are refused or
// made harmless; none begins a header, a recipient or a body.
func TestHeaderInjection(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil, harness.NewHook(t))
	for _, sep := range []string{"\r\n", "\n", "\r", "\u2028", "\x00", "\x0b", "\u0085"} {
		bad := strings.ReplaceAll(breaks, "\r\n", sep)
		for name, change := range map[string]func(*sesv2.SendEmailInput){
			"subject":      func(in *sesv2.SendEmailInput) { in.Content.Simple.Subject.Data = aws.String(bad) },
			"from":         func(in *sesv2.SendEmailInput) { in.FromEmailAddress = aws.String("a@example.com" + bad) },
			"display name": func(in *sesv2.SendEmailInput) { in.FromEmailAddress = aws.String(`"` + bad + `" <a@example.com>`) },
			"to":           func(in *sesv2.SendEmailInput) { in.Destination.ToAddresses = []string{"b@example.net" + bad} },
			"name of to":   func(in *sesv2.SendEmailInput) { in.Destination.ToAddresses = []string{bad + " <b@example.net>"} },
			"reply to":     func(in *sesv2.SendEmailInput) { in.ReplyToAddresses = []string{bad + " <r@example.com>"} },
			"feedback":     func(in *sesv2.SendEmailInput) { in.FeedbackForwardingEmailAddress = aws.String("f@example.com" + bad) },
			"tag": func(in *sesv2.SendEmailInput) {
				in.EmailTags = []types.MessageTag{{Name: aws.String("n"), Value: aws.String(bad)}}
			},
			"tag name": func(in *sesv2.SendEmailInput) {
				in.EmailTags = []types.MessageTag{{Name: aws.String(bad), Value: aws.String("v")}}
			},
			"header": func(in *sesv2.SendEmailInput) {
				in.Content.Simple.Headers = []types.MessageHeader{{Name: aws.String("X-Order"), Value: aws.String(bad)}}
			},
			"header name": func(in *sesv2.SendEmailInput) {
				in.Content.Simple.Headers = []types.MessageHeader{{Name: aws.String("X-Order" + bad), Value: aws.String("v")}}
			},
			"charset": func(in *sesv2.SendEmailInput) { in.Content.Simple.Body.Text.Charset = aws.String("UTF-8" + bad) },
			"attachment name": func(in *sesv2.SendEmailInput) {
				in.Content.Simple.Attachments = []types.Attachment{{FileName: aws.String(bad + ".txt"), RawContent: []byte("x")}}
			},
			"attachment type": func(in *sesv2.SendEmailInput) {
				in.Content.Simple.Attachments = []types.Attachment{{FileName: aws.String("a.txt"), ContentType: aws.String("text/plain" + bad), RawContent: []byte("x")}}
			},
			"content id": func(in *sesv2.SendEmailInput) {
				in.Content.Simple.Attachments = []types.Attachment{{FileName: aws.String("a.txt"), ContentId: aws.String(bad), RawContent: []byte("x")}}
			},
			"configuration set": func(in *sesv2.SendEmailInput) { in.ConfigurationSetName = aws.String("spring" + bad) },
		} {
			in := &sesv2.SendEmailInput{
				FromEmailAddress: aws.String("a@example.com"), Destination: &types.Destination{ToAddresses: []string{"b@example.net"}},
				Content: &types.EmailContent{Simple: &types.Message{
					Subject: &types.Content{Data: aws.String("x")}, Body: &types.Body{Text: &types.Content{Data: aws.String("x")}},
				}},
			}
			change(in)
			out, err := d.ses.SendEmail(t.Context(), in)
			if err != nil {
				if s := statusOf(err); s < 400 || s >= 500 {
					t.Errorf("%s with %q: %v", name, sep, err)
				}
				continue
			}
			notInjected(t, d, fmt.Sprintf("%s with %q", name, sep), *out.MessageId)
		}
	}
	smtpInjection(t, d)
	if got := ownMessages(t, d.Instance, "recipient=victim@example.net"); len(got) != 0 {
		t.Errorf("a recipient was injected: %+v", got)
	}
	unharmed(t, d.Instance)
}

// smtpInjection tries the same where only SMTP has a way in.
func smtpInjection(t *testing.T, d *desk) {
	for _, from := range []string{"a@example.com>\nRCPT TO:<victim@example.net", "a@example.com> SIZE=1\rRCPT TO:<victim@example.net", "\"a\nb\"@example.com"} {
		if id, err := harness.SMTPSend(d.SMTP, from, []string{"b@example.net"}, "From: a@example.com\nSubject: x\n\nx\n"); err == nil {
			notInjected(t, d, fmt.Sprintf("MAIL FROM:<%s>", from), id)
		}
	}
	for _, tag := range []string{"n=v\rX-Injected: yes", "n=v\x00X-Injected: yes", "n=v,\x0bX-Injected: yes"} {
		if id, err := harness.SMTPSend(d.SMTP, "a@example.com", []string{"b@example.net"},
			"From: a@example.com\nSubject: x\nX-SES-MESSAGE-TAGS: "+tag+"\n\nx\n"); err == nil {
			notInjected(t, d, fmt.Sprintf("tags %q", tag), id)
		}
	}
	// What SNS sends on must not be splittable either.
	_, err := d.sns.Publish(t.Context(), &sns.PublishInput{TopicArn: aws.String(d.topic), Message: aws.String("x"), Subject: aws.String(breaks)})
	if s := statusOf(err); s != 400 {
		t.Errorf("a subject with line breaks published to a topic: %v, want status 400", err)
	}
}

// notInjected asserts that no line of the captured message is what was smuggled
// into one of its values.
func notInjected(t *testing.T, d *desk, what, id string) {
	t.Helper()
	raw := string(d.Own(t.Context(), "GET", "messages/"+id+"/raw", ""))
	for _, line := range strings.FieldsFunc(raw, func(r rune) bool { return r == '\r' || r == '\n' }) {
		if strings.HasPrefix(line, "X-Injected") || strings.HasPrefix(line, "Bcc:") || strings.HasPrefix(line, "injected body") {
			t.Errorf("%s: the message has the line %q:\n%q", what, line, raw)
		}
	}
}

// statusOf is the HTTP status of an SDK error, 0 for none.
func statusOf(err error) int {
	var e interface{ HTTPStatusCode() int }
	if errors.As(err, &e) {
		return e.HTTPStatusCode()
	}
	return 0
}
