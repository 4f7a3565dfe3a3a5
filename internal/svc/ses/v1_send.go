package ses

import (
	"context"

	"github.com/sestina-mail/sestina/internal/awsapi/ses"
	"github.com/sestina-mail/sestina/internal/message"
	"github.com/sestina-mail/sestina/internal/sestina"
)

// maxMessageV1 is the largest message of API version 1, in bytes.
// ses-guide:quotas
const maxMessageV1 = 10 << 20

func fromV1MessageTags(in []ses.MessageTag) []sestina.Tag {
	var out []sestina.Tag
	for _, t := range in {
		out = append(out, sestina.Tag{Name: str(t.Name), Value: str(t.Value)})
	}
	return out
}

func v1Content(c *ses.Content) *message.Content {
	if c == nil {
		return nil
	}
	return &message.Content{Data: str(c.Data), Charset: str(c.Charset)}
}

func (s *Service) v1SendEmail(ctx context.Context, in *ses.SendEmailInput) (*ses.SendEmailOutput, error) {
	sub := submission(ctx, "SendEmail", maxMessageV1)
	sub.ConfigurationSet, sub.Tags = str(in.ConfigurationSetName), fromV1MessageTags(in.Tags)
	sub.Source, sub.ReturnPath = *in.Source, str(in.ReturnPath)
	d := in.Destination
	sub.Destinations = recipients(d.ToAddresses, d.CcAddresses, d.BccAddresses)
	f, err := envelopeHeaders(sub.Source, in.ReplyToAddresses, d.ToAddresses, d.CcAddresses)
	if err != nil {
		return nil, err
	}
	f.Subject = message.Content{Data: str(in.Message.Subject.Data), Charset: str(in.Message.Subject.Charset)}
	f.Text, f.HTML = v1Content(in.Message.Body.Text), v1Content(in.Message.Body.Html)
	sub.Formatted = f
	id, err := s.Door.Accept(ctx, sub)
	if err != nil {
		return nil, err
	}
	return &ses.SendEmailOutput{MessageId: new(id)}, nil
}

func (s *Service) v1SendRawEmail(ctx context.Context, in *ses.SendRawEmailInput) (*ses.SendRawEmailOutput, error) {
	sub := submission(ctx, "SendRawEmail", maxMessageV1)
	sub.ConfigurationSet, sub.Tags = str(in.ConfigurationSetName), fromV1MessageTags(in.Tags)
	sub.Source = str(in.Source)
	if len(in.Destinations) > 0 {
		sub.Destinations = in.Destinations
	}
	sub.Raw = notNil(in.RawMessage.Data)
	id, err := s.Door.Accept(ctx, sub)
	if err != nil {
		return nil, err
	}
	return &ses.SendRawEmailOutput{MessageId: new(id)}, nil
}
