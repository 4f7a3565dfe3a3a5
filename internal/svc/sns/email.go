package sns

import (
	"context"
	"errors"
	"mime"
	"net/url"

	"github.com/sestina-mail/sestina/internal/sestina"
)

// deliverMail sends a message to the subscribed mailbox.
func (s *Service) deliverMail(ctx context.Context, j *job) (outcome, error) {
	if s.Mailer == nil {
		return outcome{held: true, answer: "sending email to subscribers is not configured"}, nil
	}
	m, err := s.mail(ctx, j)
	if err != nil {
		return outcome{}, err
	}
	effects, err := s.Mailer.Compose(ctx, m)
	var refused *sestina.Error
	if errors.As(err, &refused) {
		return outcome{answer: refused.Message}, nil
	}
	if err != nil {
		return outcome{}, err
	}
	return outcome{ok: true, answer: "handed over to be sent by email", effects: effects}, nil
}

// mail makes the email of a message.
func (s *Service) mail(ctx context.Context, j *job) (Mail, error) {
	m := Mail{Scope: j.sub.scope, From: s.sender(j.sub), To: j.sub.Endpoint, Subject: "AWS Notification Message"}
	switch {
	case j.message.Type == typeConfirmation:
		m.Subject = "AWS Notification - Subscription Confirmation"
	case j.message.Type == typeUnsubscribed:
		m.Subject = "AWS Notification - Unsubscribe Confirmation"
	case j.message.Subject != nil:
		m.Subject = *j.message.Subject
	}
	if j.sub.Protocol == protocolEmailJSON {
		fs, err := s.fields(ctx, j.message, j.sub)
		m.Text = string(compactJSON(fs))
		return m, err
	}
	query := func(pairs ...string) string {
		q := url.Values{}
		for i := 0; i < len(pairs); i += 2 {
			q.Set(pairs[i], pairs[i+1])
		}
		return q.Encode()
	}
	if j.Purpose == purposeConfirm {
		link := s.PublicURL + confirmationPath + "?" + query("TopicArn", j.message.TopicARN, "Token", j.message.Token, "Endpoint", j.sub.Endpoint)
		m.Text = "Someone asked for the messages of this topic to be sent to you:\n" + j.message.TopicARN +
			"\n\nTo confirm this subscription, open this page:\n" + link +
			"\n\nIf you did not ask for it, ignore this email and nothing will be sent to you.\n"
		return m, nil
	}
	link := s.PublicURL + unsubscribePath + "?" + query("SubscriptionArn", j.sub.ARN(), "Endpoint", j.sub.Endpoint)
	m.Text = j.message.text(protocolEmail) + "\n\n--\n" +
		"If you wish to stop receiving notifications from this topic, open this page:\n" + link +
		"\n\nPlease do not reply directly to this email.\n"
	return m, nil
}

// sender is the From of a subscription's mail: the topic's display name before
// the configured address.
func (s *Service) sender(sub *Subscription) string {
	name := "AWS Notifications"
	if t := s.topics.Get(sub.scope, sub.TopicName); t != nil && t.Attributes["DisplayName"] != "" {
		name = t.Attributes["DisplayName"]
	}
	return mime.QEncoding.Encode("utf-8", quoteName(name)) + " <" + s.MailFrom + ">"
}

// quoteName quotes a display name of ASCII that is more than plain words.
// rfc5322#3.2.5
func quoteName(name string) string {
	for i := range len(name) {
		c := name[i]
		if c >= 0x80 {
			return name // becomes an encoded word
		}
		if c != ' ' && !onlyNameBytes(name[i:i+1]) {
			return quote(name)
		}
	}
	return name
}
