package sns

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/sestina-mail/sestina/internal/publish"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// What SES publishes to topics. ses-events 7.1
const (
	eventSubject = "Amazon SES Email Event Notification"
	testMessage  = "Successfully validated SNS topic for Amazon SES event publishing."
)

// Destination returns the event destination kind SNS: topics of this service.
func (s *Service) Destination() publish.Destination { return destination{s} }

// A destination publishes sending events to topics. What arrives at subscribed
// queues is committed with the publication's end, so it is there exactly once;
// other subscriptions get a unit of work each, likewise.
type destination struct{ s *Service }

// Check implements publish.Destination. Its effects publish the message by which
// SES tells that the topic can be published to.
func (d destination) Check(ctx context.Context, scope sestina.Scope, e sestina.EventDestination) (store.Effects, error) {
	notFound := sestina.SESErrorf("InvalidSNSDestination", "BadRequestException", "SNS topic <%s> not found.", e.TopicARN)
	arn, err := sestina.ParseARN(e.TopicARN)
	if err != nil || arn.Partition != "aws" || arn.Service != "sns" || arn.Scope() != scope || strings.Contains(arn.Resource, ":") {
		return store.Effects{}, notFound
	}
	t, err := d.s.topic(ctx, scope, arn.Resource)
	if err != nil {
		return store.Effects{}, err
	}
	if t == nil {
		return store.Effects{}, notFound
	}
	if t.FIFO {
		return store.Effects{}, sestina.SESErrorf("InvalidSNSDestination", "BadRequestException", "SNS topic <%s> is a FIFO topic. FIFO topics are not supported.", e.TopicARN)
	}
	now := d.s.Clock.Now()
	c, err := d.s.fanOut(ctx, scope, t, &message{
		Type: typeNotification, TopicARN: e.TopicARN, MessageID: sestina.DerivedUUID(d.s.IDs.New(now), "sns"), At: now,
		Message: testMessage, SignatureVersion: t.signatureVersion(),
	}, origin{})
	return c.effects, err
}

// Publish implements publish.Destination.
func (d destination) Publish(ctx context.Context, e sestina.EventDestination, items []publish.Item) []publish.Outcome {
	out := make([]publish.Outcome, len(items))
	for i, it := range items {
		o, err := d.publish(ctx, e, it)
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				d.s.Logger.Error("publish an event to a topic", "publication", it.Unit.ID, "topic", e.TopicARN, "error", err)
			}
			o = publish.Outcome{Fault: publish.Misconfigured, Answer: "internal error"}
		}
		out[i] = o
	}
	return out
}

func (d destination) publish(ctx context.Context, e sestina.EventDestination, it publish.Item) (publish.Outcome, error) {
	scope := it.Unit.Scope
	arn, err := sestina.ParseARN(e.TopicARN)
	if err != nil {
		return publish.Outcome{Fault: publish.Gone, Answer: "the destination names no topic"}, nil
	}
	t, err := d.s.topic(ctx, scope, arn.Resource)
	if err != nil {
		return publish.Outcome{}, err
	}
	if t == nil {
		return publish.Outcome{Fault: publish.Gone, Answer: fmt.Sprintf("the topic %s was deleted before this event was published", e.TopicARN)}, nil
	}
	subject := eventSubject
	m := &message{
		Type: typeNotification, TopicARN: e.TopicARN, MessageID: sestina.DerivedUUID(it.Unit.ID, "sns"), At: d.s.Clock.Now(),
		Subject: &subject, Message: strings.ToValidUTF8(string(it.Record), "\uFFFD") + "\n", SignatureVersion: t.signatureVersion(),
	}
	c, err := d.s.fanOut(ctx, scope, t, m, origin{it.Unit.MessageID, it.Unit.EventID, it.Unit.ID})
	if err != nil {
		return publish.Outcome{}, err
	}
	return publish.Outcome{Effects: c.effects, Answer: c.answer(m)}, nil
}

// answer is what the timeline says of a publication.
func (c chunk) answer(m *message) string {
	more := ""
	if c.more {
		more = " and more"
	}
	text := fmt.Sprintf("published as %s to %d%s subscriptions", m.MessageID, c.served, more)
	if c.filtered > 0 {
		text += fmt.Sprintf("; %d filtered it out", c.filtered)
	}
	return text
}
