package sns

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// fanOutChunk is how many subscriptions are served in one transaction. What is
// more follows as a unit of work.
const fanOutChunk = 500

// fanOutLane begins the name of the lane in which a topic's large fan-outs wait.
const fanOutLane = "fan-out/"

// An origin says what email a published message is about; zero for none.
type origin struct {
	message sestina.ID
	event   sestina.ID
	// publication is the unit that brought the event here. The envelope has its
	// id, so that a timeline finds what followed from a publication.
	publication sestina.ID
}

// A chunk is what publishing a message to some subscriptions comes to.
type chunk struct {
	effects  store.Effects
	served   int        // subscriptions that get it
	filtered int        // subscriptions whose filter policy does not match
	last     sestina.ID // the last subscription looked at
	more     bool       // there are more behind last
}

// fanOut publishes m to a topic: the effects hold an envelope if one is needed,
// a unit of work per subscription, and the rows of embedded queues. Of more than
// fanOutChunk subscriptions the rest follows in a unit of its own, which the
// same effects hold. So the message is published as soon as they are committed.
func (s *Service) fanOut(ctx context.Context, scope sestina.Scope, t *Topic, m *message, o origin) (chunk, error) {
	now := s.Clock.Now()
	id := o.publication
	if id.IsZero() {
		id = s.IDs.New(now)
	}
	c, err := s.fanOutChunk(ctx, scope, t.ID, id, m, o, sestina.ID{})
	if err != nil {
		return chunk{}, err
	}
	if c.more {
		c.effects.Units = append(c.effects.Units, store.Unit{
			ID: s.IDs.New(now), Scope: scope, Kind: store.KindNotification, Lane: fanOutLane + t.ID.String(), Due: now,
			MessageID: o.message, EventID: o.event, Envelope: id,
			Payload: payload{Purpose: purposeFanOut, Topic: t.ID, After: c.last, Count: c.served}.encode(),
		})
	}
	for _, u := range c.effects.Units {
		if u.State != store.Done { // a queue's unit is done and needs no envelope
			c.effects.Envelopes = append(c.effects.Envelopes, s.envelope(scope, id, m))
			break
		}
	}
	return c, nil
}

// fanOutChunk serves the next subscriptions of a topic behind after.
func (s *Service) fanOutChunk(ctx context.Context, scope sestina.Scope, topic, envelope sestina.ID, m *message, o origin, after sestina.ID) (chunk, error) {
	var c chunk
	subs, more := s.subs.page(topic, after, fanOutChunk)
	c.more, c.last = more, after
	for _, sub := range subs {
		c.last = sub.ID
		if sub.State != confirmed {
			continue
		}
		if !sub.filter.matches(m) {
			c.filtered++
			continue
		}
		c.served++
		now := s.Clock.Now()
		u := store.Unit{
			ID: s.IDs.New(now), Scope: scope, Kind: store.KindNotification, Lane: sub.ID.String(), Due: now,
			MessageID: o.message, EventID: o.event, Target: sub.ID, Envelope: envelope,
		}
		if sub.Protocol != protocolSQS {
			c.effects.Units = append(c.effects.Units, u)
			continue
		}
		if err := s.enqueue(ctx, &c.effects, m, sub, u, now); err != nil {
			return chunk{}, err
		}
	}
	return c, nil
}

// enqueue adds the row of a queue, and for the timeline a unit that is done. If
// the queue cannot take the message it goes to the dead-letter queue, else the
// unit is a dead letter.
func (s *Service) enqueue(ctx context.Context, e *store.Effects, m *message, sub *Subscription, u store.Unit, now time.Time) error {
	body, attrs, err := s.queueForm(ctx, m, sub)
	if err != nil {
		return err
	}
	u.State, u.FinishedAt, u.Attempts = store.Done, now, 1
	row, fault := s.queueRow(sub.Endpoint, m, body, attrs, now)
	u.Answer = "queued in " + sub.Endpoint
	if fault != nil {
		reason := fault.Error()
		row, u.Answer, fault = s.deadLetterRow(sub, m, body, attrs, reason, now)
	}
	if fault != nil {
		u.State, u.Payload = store.Dead, payload{Ended: true}.encode()
	} else {
		e.Queued = append(e.Queued, row)
		if u.MessageID.IsZero() {
			return nil // there is no timeline that it would be on
		}
	}
	e.Units = append(e.Units, u)
	return nil
}

// queueForm returns body and attributes of a message to a subscribed queue.
func (s *Service) queueForm(ctx context.Context, m *message, sub *Subscription) ([]byte, []attribute, error) {
	if sub.raw() {
		return []byte(m.text(sub.Protocol)), m.Attributes, nil
	}
	fs, err := s.fields(ctx, m, sub)
	if err != nil {
		return nil, nil, err
	}
	return compactJSON(fs), nil, nil
}

// queueRow returns the row that puts a body into a queue.
func (s *Service) queueRow(queue string, m *message, body []byte, attrs []attribute, now time.Time) (store.QueueMessage, error) {
	if s.Queues == nil {
		return store.QueueMessage{}, fmt.Errorf("queue %s cannot be reached: there is no queue service", queue)
	}
	qa, err := queueAttributes(attrs)
	if err != nil {
		return store.QueueMessage{}, err
	}
	group, dedup := m.GroupID, m.DedupID
	return s.Queues.QueueMessage(queue, body, qa, group, dedup, now)
}

// deadLetterRow returns the row for the subscription's dead-letter queue and the
// answer that says what happened to the message, for the given reason.
func (s *Service) deadLetterRow(sub *Subscription, m *message, body []byte, attrs []attribute, reason string, now time.Time) (store.QueueMessage, string, error) {
	if sub.redrive == "" {
		return store.QueueMessage{}, reason, errNoDeadLetterQueue
	}
	dl := m
	if m.GroupID == "" { // in case the queue is a FIFO queue
		dl = &message{GroupID: sub.ID.String(), DedupID: m.MessageID}
	}
	row, err := s.queueRow(sub.redrive, dl, body, attrs, now)
	if err != nil {
		return store.QueueMessage{}, fmt.Sprintf("%s; not moved to %s: %v", reason, sub.redrive, err), err
	}
	return row, fmt.Sprintf("%s; moved to %s", reason, sub.redrive), nil
}

var errNoDeadLetterQueue = fmt.Errorf("the subscription has no dead-letter queue")

// dedupOf is the deduplication id of a message whose publisher left it to the
// topic: a hash of its body.
func dedupOf(body string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(body))) }
