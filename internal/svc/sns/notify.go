package sns

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
	"github.com/sestina-mail/sestina/internal/work"
)

// laneConcurrency is how many deliveries to one subscription are under way at a
// time.
const laneConcurrency = 32

// holdFor is how long a lane rests whose deliveries cannot be tried; what ends
// the reason wakes the lane.
const holdFor = time.Minute

// Kind is the kind of work that delivers to subscriptions, for the engine.
func (s *Service) Kind() work.Kind {
	return work.Kind{
		Kind: store.KindNotification, Name: "notification", Handler: notifier{s},
		Concurrency: s.concurrency,
		Backoff:     work.Exponential(time.Second, 10*time.Minute),
	}
}

// concurrency is the number of workers in a lane. Large fan-outs go one after
// the other; workers of a throttled subscription wait at most a second each for
// their turn.
func (s *Service) concurrency(lane string) int {
	if strings.HasPrefix(lane, fanOutLane) {
		return 1
	}
	id, err := sestina.ParseID(lane)
	if err != nil {
		return 1
	}
	if sub := s.subs.get(id); sub != nil {
		if t := s.policyOf(sub).Throttle; t != nil {
			return min(t.MaxReceivesPerSecond, laneConcurrency)
		}
	}
	return laneConcurrency
}

// policyOf is the delivery policy that applies to a subscription.
func (s *Service) policyOf(sub *Subscription) subPolicy {
	var topic topicPolicy
	if t := s.topics.Get(sub.scope, sub.TopicName); t != nil {
		topic = t.delivery
	}
	return sub.delivery.under(topic)
}

// A notifier is the work.Handler of store.KindNotification.
type notifier struct{ s *Service }

// Work implements work.Handler.
func (n notifier) Work(ctx context.Context, _ string, units []store.Unit) []work.Result {
	results := make([]work.Result, 0, len(units))
	for _, u := range units {
		if ctx.Err() != nil {
			break // those without a result are given back
		}
		if r, ok := n.s.work(ctx, u); ok {
			results = append(results, r)
		}
	}
	return results
}

// A job is one attempt at one unit.
type job struct {
	unit store.Unit
	payload
	renewed bool // the payload is to be written with the result
	sub     *Subscription
	message *message
}

// work makes an attempt at a unit. It reports false when the attempt was cut off
// because the program stops.
func (s *Service) work(ctx context.Context, u store.Unit) (work.Result, bool) {
	j := &job{unit: u}
	if len(u.Payload) > 0 {
		if err := json.Unmarshal(u.Payload, &j.payload); err != nil {
			return work.Result{Unit: u, Verdict: work.Dead, Answer: "the unit's payload cannot be read"}, true
		}
	}
	if j.Ended {
		j.payload.Ended, j.Start, j.Base, j.renewed = false, s.Clock.Now(), u.Attempts, true
	}
	if j.Start.IsZero() {
		j.Start = u.ID.Time()
	}
	if j.Base > u.Attempts {
		j.Base = 0
	}
	if j.Purpose == purposeFanOut {
		return s.continueFanOut(ctx, j), true
	}
	if r := s.prepare(ctx, j); r != nil {
		r.Untried = true
		return *r, true
	}
	out, ok := s.attempt(ctx, j)
	if !ok {
		return work.Result{}, false
	}
	r := s.conclude(ctx, j, out)
	s.logAttempt(ctx, j, out, r.Verdict)
	return r, true
}

// logAttempt writes one record for an attempt that was made. The endpoint and
// its answer are in the timeline, not in the log: they may hold secrets.
func (s *Service) logAttempt(ctx context.Context, j *job, out outcome, v work.Verdict) {
	if !out.busy.IsZero() || out.held || !s.Logger.Enabled(ctx, slog.LevelInfo) {
		return
	}
	attrs := []slog.Attr{
		slog.String("unit", j.unit.ID.String()), slog.String("subscription", j.sub.ID.String()), slog.String("protocol", j.sub.Protocol),
		slog.String("type", j.message.Type), slog.Int("attempt", j.unit.Attempts+1), slog.Bool("delivered", out.ok),
		slog.Bool("final", v != work.Retry), slog.Duration("took", out.took),
	}
	if !j.unit.MessageID.IsZero() {
		attrs = append(attrs, slog.String("message", sestina.MessageID(j.unit.MessageID, j.unit.Scope.Region)))
	}
	s.Logger.LogAttrs(ctx, slog.LevelInfo, "notification", attrs...)
}

// prepare finds what the attempt needs, or says how the unit ends without one.
func (s *Service) prepare(ctx context.Context, j *job) *work.Result {
	var err error
	if j.sub, err = s.subs.lookup(ctx, j.unit.Scope, j.unit.Target); err != nil {
		return &work.Result{Unit: j.unit, Verdict: work.Busy} // the store's fault burns no attempt
	}
	if j.sub == nil || j.sub.State == deleted && j.Purpose == purposeNotify {
		r := j.giveUp("the subscription was deleted before this message was delivered")
		return &r
	}
	if j.message, err = s.readEnvelope(ctx, j.unit.Envelope); errors.Is(err, store.ErrNotFound) {
		r := j.giveUp("the message was deleted before it was delivered")
		return &r
	} else if err != nil {
		s.Logger.Error("read a topic's message", "unit", j.unit.ID, "error", err)
		if errors.Is(err, store.ErrUnavailable) {
			return &work.Result{Unit: j.unit, Verdict: work.Busy}
		}
		return &work.Result{Unit: j.unit, Verdict: work.Retry, Answer: "the message could not be read"}
	}
	switch {
	case j.message.Type == typeConfirmation && j.sub.State != pending,
		j.message.Type == typeUnsubscribed && j.sub.State != deleted:
		return &work.Result{Unit: j.unit, Verdict: work.Done, Answer: "not sent: the subscription was changed meanwhile"}
	case j.Purpose == purposeNotify && j.sub.State == pending:
		return &work.Result{Unit: j.unit, Verdict: work.Hold, Due: s.Clock.Now().Add(holdFor), Answer: "the subscription is not confirmed"}
	case s.expired(j):
		// Without an attempt: an endpoint that is down must not keep what is too
		// old waiting for its turn to be probed.
		r := s.end(ctx, j, fmt.Sprintf("not delivered within %s; last answer: %s", s.horizon(j), j.unit.Answer))
		return &r
	}
	return nil
}

// horizon is how long a unit is tried when no delivery policy says it.
func (s *Service) horizon(j *job) time.Duration {
	if j.Purpose == purposeConfirm {
		return s.TokenLifetime
	}
	return s.Horizon
}

// retries is the policy that counts the unit's retries, or nil when it is tried
// until the horizon.
func (s *Service) retries(j *job) *retryPolicy {
	if !j.sub.isHTTP() {
		return nil
	}
	return s.policyOf(j.sub).Retry
}

func (s *Service) expired(j *job) bool {
	return s.retries(j) == nil && s.Clock.Since(j.Start) >= s.horizon(j)
}

// An outcome is what came of one attempt.
type outcome struct {
	ok      bool
	busy    time.Time // not tried: a shared limit; look again then
	held    bool      // not tried: there is nobody to hand it to
	final   bool      // refused for good
	fault   bool      // the endpoint as a whole fails
	answer  string
	due     time.Time // earliest next attempt, or zero
	took    time.Duration
	effects store.Effects
}

// attempt delivers by the subscription's protocol.
func (s *Service) attempt(ctx context.Context, j *job) (outcome, bool) {
	var out outcome
	var err error
	switch {
	case j.sub.isHTTP():
		out, err = s.deliverHTTP(ctx, j)
	case j.sub.isEmail():
		out, err = s.deliverMail(ctx, j)
	case j.sub.Protocol == protocolFirehose:
		out, err = s.deliverRecord(ctx, j)
	case j.sub.Protocol == protocolSQS: // only what was redriven
		out, err = s.deliverQueue(ctx, j)
	default:
		out = outcome{final: true, answer: "the protocol " + j.sub.Protocol + " is unknown"}
	}
	if ctx.Err() != nil && !out.ok {
		return out, false
	}
	if errors.Is(err, store.ErrUnavailable) {
		return outcome{busy: s.Clock.Now().Add(time.Second)}, true
	}
	if err != nil {
		s.Logger.Error("deliver a topic's message", "unit", j.unit.ID, "subscription", j.sub.ID, "error", err)
		out = outcome{answer: "internal error"}
	}
	return out, true
}

// conclude makes a result of an outcome.
func (s *Service) conclude(ctx context.Context, j *job, out outcome) work.Result {
	r := work.Result{Unit: j.unit, Answer: out.answer, Took: out.took, LaneFault: out.fault, Due: out.due}
	if j.renewed {
		r.Payload = j.payload.encode()
	}
	now := s.Clock.Now()
	switch {
	case out.ok:
		r.Verdict, r.Effects = work.Done, out.effects
		return r
	case !out.busy.IsZero():
		return work.Result{Unit: j.unit, Verdict: work.Busy, Due: out.busy}
	case out.held:
		return work.Result{Unit: j.unit, Verdict: work.Hold, Due: now.Add(holdFor), Answer: out.answer}
	case out.final:
		end := s.end(ctx, j, out.answer)
		end.Took = out.took
		return end
	}
	r.Verdict = work.Retry
	p := s.retries(j)
	if p == nil {
		return r // until prepare finds that it is too old
	}
	// A policy counts for each message alone: no breaker, no backoff but its own.
	tried := j.unit.Attempts - j.Base
	wait, more := p.delay(tried)
	if !more {
		end := s.end(ctx, j, fmt.Sprintf("%s; given up after %d attempts", out.answer, tried+1))
		end.Took = out.took
		return end
	}
	r.LaneFault, r.Due = false, now.Add(wait)
	return r
}

// end ends a unit that could not be delivered: to the dead-letter queue of the
// subscription, else as a dead letter.
func (s *Service) end(ctx context.Context, j *job, reason string) work.Result {
	if j.Purpose != purposeNotify || j.sub.redrive == "" {
		return j.giveUp(reason)
	}
	body, attrs, err := s.endpointForm(ctx, j)
	if err != nil {
		return work.Result{Unit: j.unit, Verdict: work.Retry, Answer: reason}
	}
	row, answer, err := s.deadLetterRow(j.sub, j.message, body, attrs, reason, s.Clock.Now())
	if err != nil {
		return j.giveUp(answer)
	}
	return work.Result{
		Unit: j.unit, Verdict: work.Done, Answer: answer,
		Effects: store.Effects{Queued: []store.QueueMessage{row}},
	}
}

// giveUp makes a dead letter of a unit. Messages about the subscription itself
// are not kept.
func (j *job) giveUp(reason string) work.Result {
	if j.Purpose == purposeConfirm {
		return work.Result{Unit: j.unit, Verdict: work.Done, Answer: "given up: " + reason}
	}
	p := j.payload
	p.Ended = true
	return work.Result{Unit: j.unit, Verdict: work.Dead, Answer: reason, Payload: p.encode()}
}

// endpointForm is what the endpoint would have received, for a dead-letter
// queue; attributes go along with raw messages.
func (s *Service) endpointForm(ctx context.Context, j *job) ([]byte, []attribute, error) {
	if j.sub.raw() {
		attrs := j.message.Attributes
		return []byte(j.message.text(j.sub.Protocol)), attrs[:min(len(attrs), maxQueueAttributes)], nil
	}
	fs, err := s.fields(ctx, j.message, j.sub)
	if err != nil {
		return nil, nil, err
	}
	if j.sub.isHTTP() {
		return prettyJSON(fs), nil, nil
	}
	return compactJSON(fs), nil, nil
}

// continueFanOut serves the next subscriptions of a large topic.
func (s *Service) continueFanOut(ctx context.Context, j *job) work.Result {
	u := j.unit
	m, err := s.readEnvelope(ctx, u.Envelope)
	if errors.Is(err, store.ErrNotFound) {
		return work.Result{Unit: u, Verdict: work.Dead, Answer: "the message was deleted before it was published to all subscriptions"}
	}
	if err != nil {
		s.Logger.Error("read a topic's message", "unit", u.ID, "error", err)
		return work.Result{Unit: u, Verdict: work.Retry, Answer: "the message could not be read"}
	}
	if gone, err := s.topicGone(ctx, u.Scope, m, j.Topic); err != nil {
		return work.Result{Unit: u, Verdict: work.Busy} // the store does not answer
	} else if gone {
		r := j.giveUp(fmt.Sprintf("the topic was deleted when the message was published to %d subscriptions", j.Count))
		r.Untried = true
		return r
	}
	c, err := s.fanOutChunk(ctx, u.Scope, j.Topic, u.Envelope, m, origin{u.MessageID, u.EventID, u.Envelope}, j.After)
	if err != nil {
		s.Logger.Error("publish a topic's message", "unit", u.ID, "error", err)
		return work.Result{Unit: u, Verdict: work.Retry, Answer: "internal error"}
	}
	p := j.payload
	p.After, p.Count = c.last, p.Count+c.served
	r := work.Result{Unit: u, Verdict: work.Continue, Payload: p.encode(), Effects: c.effects}
	if !c.more {
		r.Verdict, r.Answer = work.Done, fmt.Sprintf("published to %d subscriptions", p.Count)
	}
	return r
}

// topicGone reports whether the topic that m was published to is not there any
// more. Another one of its name is not it.
func (s *Service) topicGone(ctx context.Context, scope sestina.Scope, m *message, id sestina.ID) (bool, error) {
	arn, err := sestina.ParseARN(m.TopicARN)
	if err != nil {
		return false, err
	}
	t, err := s.topic(ctx, scope, arn.Resource)
	return t == nil || t.ID != id, err
}

// deliverQueue puts a message into the subscribed queue.
func (s *Service) deliverQueue(ctx context.Context, j *job) (outcome, error) {
	body, attrs, err := s.queueForm(ctx, j.message, j.sub)
	if err != nil {
		return outcome{}, err
	}
	row, fault := s.queueRow(j.sub.Endpoint, j.message, body, attrs, s.Clock.Now())
	if fault != nil {
		return outcome{final: true, answer: fault.Error()}, nil
	}
	return outcome{ok: true, answer: "queued in " + j.sub.Endpoint, effects: store.Effects{Queued: []store.QueueMessage{row}}}, nil
}

// deliverRecord puts a message into the subscribed delivery stream.
func (s *Service) deliverRecord(ctx context.Context, j *job) (outcome, error) {
	if s.Streams == nil {
		return outcome{held: true, answer: "there is no delivery stream service"}, nil
	}
	var record []byte
	if j.sub.raw() {
		record = []byte(j.message.text(protocolFirehose))
	} else {
		fs, err := s.fields(ctx, j.message, j.sub)
		if err != nil {
			return outcome{}, err
		}
		record = compactJSON(fs)
	}
	effects, err := s.Streams.Put(ctx, j.sub.Endpoint, append(record, '\n'))
	var refused *sestina.Error
	if errors.As(err, &refused) {
		return outcome{final: refused.Code == "ResourceNotFoundException", answer: refused.Message}, nil
	}
	if err != nil {
		return outcome{}, err
	}
	return outcome{ok: true, answer: "put into " + j.sub.Endpoint, effects: effects}, nil
}
