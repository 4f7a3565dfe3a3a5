package ses

import (
	"context"

	"github.com/sestina-mail/sestina/internal/accept"
	"github.com/sestina-mail/sestina/internal/awsapi/sesv2"
	"github.com/sestina-mail/sestina/internal/awswire"
	"github.com/sestina-mail/sestina/internal/message"
	"github.com/sestina-mail/sestina/internal/sestina"
)

// maxMessageV2 is the largest message of API version 2 and SMTP, in bytes.
// ses-guide:quotas
const maxMessageV2 = 40 << 20

// maxHeaders is the most extra headers of a formatted message.
// ses-model:MessageHeaderList
const maxHeaders = 15

// submission starts a submission from what every call has.
func submission(ctx context.Context, operation string, maxBytes int64) accept.Submission {
	c := awswire.CallFrom(ctx)
	user := c.UserName
	if user == "" {
		user = "root" // the account itself
	}
	return accept.Submission{
		Scope: c.Scope, Operation: operation, UserName: user, SourceIP: c.SourceIP, TLSVersion: c.TLSVersion, MaxBytes: maxBytes,
	}
}

func (s *Service) v2SendEmail(ctx context.Context, in *sesv2.SendEmailInput) (*sesv2.SendEmailOutput, error) {
	sub := submission(ctx, "SendEmail", maxMessageV2)
	sub.ConfigurationSet = str(in.ConfigurationSetName)
	sub.ReturnPath = str(in.FeedbackForwardingEmailAddress)
	sub.Source = str(in.FromEmailAddress)
	for _, t := range in.EmailTags {
		sub.Tags = append(sub.Tags, sestina.Tag{Name: str(t.Name), Value: str(t.Value)})
	}
	var to, cc, bcc []string
	if d := in.Destination; d != nil {
		to, cc, bcc = d.ToAddresses, d.CcAddresses, d.BccAddresses
		sub.Destinations = recipients(to, cc, bcc)
	}
	c := in.Content
	switch n := countSet(c.Simple != nil, c.Raw != nil, c.Template != nil); {
	case n != 1:
		return nil, invalid("Exactly one of Simple, Raw and Template content must be given, not %d.", n)
	case c.Template != nil:
		return nil, invalid("Template content is not supported by this version: send Simple or Raw content.")
	case in.ListManagementOptions != nil:
		return nil, invalid("ListManagementOptions are not supported by this version.")
	case c.Raw != nil:
		sub.Raw = notNil(c.Raw.Data)
	default:
		f, err := formatted(sub.Source, in.ReplyToAddresses, to, cc, c.Simple)
		if err != nil {
			return nil, err
		}
		sub.Formatted = f
	}
	id, err := s.Door.Accept(ctx, sub)
	if err != nil {
		return nil, err
	}
	return &sesv2.SendEmailOutput{MessageId: new(id)}, nil
}

func countSet(set ...bool) (n int) {
	for _, b := range set {
		if b {
			n++
		}
	}
	return n
}

// notNil makes empty raw data different from no raw data.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// recipients joins the three lists. It is nil when all are empty: then the
// headers of a raw message name the recipients.
func recipients(lists ...[]string) []string {
	var out []string
	for _, l := range lists {
		out = append(out, l...)
	}
	return out
}

func formatted(source string, replyTo, to, cc []string, in *sesv2.Message) (*message.Simple, error) {
	f, err := envelopeHeaders(source, replyTo, to, cc)
	if err != nil {
		return nil, err
	}
	f.Subject = message.Content{Data: str(in.Subject.Data), Charset: str(in.Subject.Charset)}
	f.Text, f.HTML = v2Content(in.Body.Text), v2Content(in.Body.Html)
	if len(in.Headers) > maxHeaders {
		return nil, invalid("A message can have at most %d extra headers.", maxHeaders)
	}
	for _, h := range in.Headers {
		f.Headers = append(f.Headers, message.Field{Name: str(h.Name), Value: str(h.Value)})
	}
	for _, a := range in.Attachments {
		f.Attachments = append(f.Attachments, message.Attachment{
			FileName: str(a.FileName), ContentType: str(a.ContentType), ContentID: str(a.ContentId), Description: str(a.ContentDescription),
			Disposition: str(a.ContentDisposition), TransferEncoding: str(a.ContentTransferEncoding), Data: a.RawContent,
		})
	}
	return f, nil
}

func v2Content(c *sesv2.Content) *message.Content {
	if c == nil {
		return nil
	}
	return &message.Content{Data: str(c.Data), Charset: str(c.Charset)}
}

// envelopeHeaders parses the addresses of a formatted message.
func envelopeHeaders(source string, replyTo, to, cc []string) (*message.Simple, error) {
	if source == "" {
		return nil, invalid("Missing required header 'From'.")
	}
	f := &message.Simple{}
	var err error
	if f.From, err = message.ParseAddress(source); err != nil {
		return nil, err
	}
	for _, x := range []struct {
		in  []string
		out *[]message.Address
	}{{replyTo, &f.ReplyTo}, {to, &f.To}, {cc, &f.Cc}} {
		for _, a := range x.in {
			p, err := message.ParseAddress(a)
			if err != nil {
				return nil, err
			}
			*x.out = append(*x.out, p)
		}
	}
	return f, nil
}
