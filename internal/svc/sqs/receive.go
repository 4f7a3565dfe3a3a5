package sqs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sestina-mail/sestina/internal/awsapi/sqs"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// A receipt is the answer to a receive: messages and when they were taken.
type receipt struct {
	messages []store.QueueMessage
	at       time.Time
}

// A receiveRequest is a checked ReceiveMessage.
type receiveRequest struct {
	max        int
	visibility time.Duration
	wait       time.Duration
	attempt    string // ReceiveRequestAttemptId, or ""
}

func checkReceive(q queue, in *sqs.ReceiveMessageInput) (receiveRequest, error) {
	r := receiveRequest{max: 1, visibility: seconds(q.VisibilityTimeout), wait: seconds(q.ReceiveMessageWaitTimeSeconds)}
	if n := in.MaxNumberOfMessages; n != nil {
		if *n < 1 || *n > maxBatch {
			return r, invalidValue(*n, "MaxNumberOfMessages", "Must be between 1 and 10, if provided.")
		}
		r.max = int(*n)
	}
	if n := in.WaitTimeSeconds; n != nil {
		if *n < 0 || *n > maxWait {
			return r, invalidValue(*n, "WaitTimeSeconds", "Must be >= 0 and <= 20, if provided.")
		}
		r.wait = seconds(int(*n))
	}
	if n := in.VisibilityTimeout; n != nil {
		if *n < 0 || seconds(int(*n)) > maxVisibility {
			return r, invalidValue(*n, "VisibilityTimeout", "Must be >= 0 and <= 43200, if provided.")
		}
		r.visibility = seconds(int(*n))
	}
	if id := in.ReceiveRequestAttemptId; id != nil {
		if !q.FIFO {
			return r, invalidValue(*id, "ReceiveRequestAttemptId", reasonQueueType)
		}
		r.attempt = *id
		return r, checkIdentifier("ReceiveRequestAttemptId", *id)
	}
	return r, nil
}

// receive takes messages, waiting for them as long as the request says. It
// takes nothing for a client that went away, and gives back what it took while
// the client left.
func (s *Service) receive(ctx context.Context, q queue, r receiveRequest) (receipt, error) {
	if got, ok, err := s.repeat(ctx, q, r); ok || err != nil {
		return got, err
	}
	deadline := s.clock.Now().Add(r.wait)
	id, pass := q.ID, false
	s.polls.enter(id)
	defer func() { s.polls.leave(id, pass) }()
	for {
		mark := s.polls.seen(id)
		if err := ctx.Err(); err != nil {
			pass = true
			return receipt{}, err
		}
		got, err := s.take(ctx, q, r)
		if pass = err != nil || len(got.messages) > 0; pass {
			return got, err
		}
		until, err := s.nextLook(ctx, q, deadline)
		if err != nil || !s.clock.Now().Before(deadline) {
			return receipt{at: got.at}, err
		}
		if !s.polls.wait(ctx, s.clock, id, mark, until) {
			pass = ctx.Err() != nil
			return receipt{}, ctx.Err()
		}
		if q, err = s.again(ctx, q); err != nil {
			pass = true
			return receipt{}, err
		}
	}
}

// again reads the queue anew after a wait: it may have been changed, or
// deleted.
func (s *Service) again(ctx context.Context, q queue) (queue, error) {
	now, err := s.byName(ctx, q.scope, q.name)
	if err == nil && now.ID != q.ID {
		err = errNoQueue()
	}
	return now, err
}

// nextLook returns when to look again if nothing is signalled: when the next
// hidden message becomes visible, at the latest at the deadline.
func (s *Service) nextLook(ctx context.Context, q queue, deadline time.Time) (time.Time, error) {
	now := s.clock.Now()
	until := deadline
	if s.shared && now.Add(sharedInterval).Before(until) {
		until = now.Add(sharedInterval)
	}
	next, err := s.store.NextVisible(ctx, q.ID, now)
	switch {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return until, fmt.Errorf("find the next visible message of queue %q of %s: %w", q.name, q.scope, err)
	case next.Before(until):
		until = next
	}
	return until, nil
}

// take receives what is visible now.
func (s *Service) take(ctx context.Context, q queue, r receiveRequest) (receipt, error) {
	now := s.clock.Now()
	room, err := s.room(ctx, q, now)
	if err != nil || room == 0 {
		return receipt{at: now}, err
	}
	cmd := &store.ReceiveQueued{Queue: q.ID, Max: min(r.max, room), Now: now, Visibility: r.visibility, FIFO: q.FIFO}
	s.deadLetters(q, cmd)
	if err := s.store.Do(ctx, cmd); err != nil {
		return receipt{}, fmt.Errorf("receive from queue %q of %s: %w", q.name, q.scope, err)
	}
	s.flight.add(q.ID, len(cmd.Messages))
	got := receipt{messages: cmd.Messages, at: now}
	if err := ctx.Err(); err != nil && len(got.messages) > 0 {
		return receipt{}, errors.Join(err, s.giveBack(ctx, q, got))
	}
	s.attempts.remember(q.ID, r.attempt, got, now)
	return got, nil
}

// giveBack makes messages visible again that nobody will see the receipt of.
func (s *Service) giveBack(ctx context.Context, q queue, got receipt) error {
	cmd := hide(q, got, s.clock.Now(), 0)
	if err := s.store.Do(context.WithoutCancel(ctx), cmd); err != nil {
		return fmt.Errorf("give %d messages back to queue %q of %s: %w", len(got.messages), q.name, q.scope, err)
	}
	s.polls.signal(q.ID)
	return nil
}

func hide(q queue, got receipt, now time.Time, visibility time.Duration) *store.HideQueued {
	cmd := &store.HideQueued{Queue: q.ID, Now: now}
	for _, m := range got.messages {
		cmd.Receipts = append(cmd.Receipts, store.Receipt{ID: m.ID, Receipt: m.Receipt})
		cmd.Until = append(cmd.Until, now.Add(visibility))
	}
	return cmd
}

// repeat answers a receive that repeats an earlier one by its
// ReceiveRequestAttemptId: with the same messages and receipt handles, hidden
// anew, as long as none of them was deleted or came back meanwhile.
// sqs-guide:using-receiverequestattemptid-request-parameter
func (s *Service) repeat(ctx context.Context, q queue, r receiveRequest) (receipt, bool, error) {
	now := s.clock.Now()
	got, ok := s.attempts.recall(q.ID, r.attempt, now)
	if !ok {
		return receipt{}, false, nil
	}
	cmd := hide(q, got, now, r.visibility)
	if err := s.store.Do(ctx, cmd); err != nil {
		return receipt{}, false, fmt.Errorf("repeat a receive from queue %q of %s: %w", q.name, q.scope, err)
	}
	if slices.Contains(cmd.InFlight, false) {
		s.attempts.forget(q.ID, r.attempt)
		return receipt{}, false, nil
	}
	return got, true, nil
}

// ---- in flight ----------------------------------------------------------------

// flight bounds the messages in flight without counting them at every receive:
// after a count, that many may be taken before the next one. The zero value is
// ready.
type flight struct {
	mu   sync.Mutex
	room map[sestina.ID]int
}

func (f *flight) left(id sestina.ID) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.room[id]
}

func (f *flight) set(id sestina.ID, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.room == nil {
		f.room = map[sestina.ID]int{}
	}
	f.room[id] = n
}

func (f *flight) add(id sestina.ID, taken int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n, ok := f.room[id]; ok {
		f.room[id] = max(n-taken, 0)
	}
}

func (f *flight) forget(id sestina.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.room, id)
}

// room returns how many messages may be taken now. A standard queue at its
// limit answers OverLimit, a FIFO queue nothing. sqs-guide:quotas-messages
func (s *Service) room(ctx context.Context, q queue, now time.Time) (int, error) {
	if n := s.flight.left(q.ID); n > 0 {
		return n, nil
	}
	_, inFlight, _, err := s.counts(ctx, q.ID, now)
	if err != nil {
		return 0, err
	}
	n := max(s.maxInFlight-inFlight, 0)
	s.flight.set(q.ID, n)
	if n == 0 && !q.FIFO {
		return 0, sestina.Errorf("OverLimit", "The maximum number of in flight messages is reached.")
	}
	return n, nil
}

// ---- attempts -------------------------------------------------------------------

// attempts remember what was answered to receives with an attempt id, for five
// minutes. The zero value is ready.
type attempts struct {
	mu    sync.Mutex
	byKey map[attemptKey]receipt
	order []attemptKey // oldest first
}

type attemptKey struct {
	queue sestina.ID
	id    string
}

// maxAttempts bounds the memory; the oldest are forgotten first.
const maxAttempts = 10_000

func (a *attempts) remember(queue sestina.ID, id string, got receipt, now time.Time) {
	if id == "" || len(got.messages) == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.byKey == nil {
		a.byKey = map[attemptKey]receipt{}
	}
	for len(a.order) > 0 && (len(a.order) >= maxAttempts || now.Sub(a.byKey[a.order[0]].at) >= attemptWindow) {
		delete(a.byKey, a.order[0])
		a.order = a.order[1:]
	}
	key := attemptKey{queue, id}
	a.drop(key)
	a.byKey[key] = got
	a.order = append(a.order, key)
}

func (a *attempts) recall(queue sestina.ID, id string, now time.Time) (receipt, bool) {
	if id == "" {
		return receipt{}, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	got, ok := a.byKey[attemptKey{queue, id}]
	return got, ok && now.Sub(got.at) < attemptWindow
}

func (a *attempts) forget(queue sestina.ID, id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.drop(attemptKey{queue, id})
}

// drop forgets an attempt; a.mu is held.
func (a *attempts) drop(key attemptKey) {
	if _, ok := a.byKey[key]; !ok {
		return
	}
	i := slices.Index(a.order, key)
	a.order = slices.Delete(a.order, i, i+1)
	delete(a.byKey, key)
}

// ---- what a receiver sees -----------------------------------------------------

// systemAttributes are the names that a receive can ask for.
var systemAttributes = []string{
	"SenderId", "SentTimestamp", "ApproximateReceiveCount", "ApproximateFirstReceiveTimestamp", "SequenceNumber",
	"MessageDeduplicationId", "MessageGroupId", "AWSTraceHeader", "DeadLetterQueueSourceArn",
}

// checkSystemNames checks the names of system attributes to be returned.
func checkSystemNames(names []string) error {
	for _, n := range names {
		if n != "All" && !slices.Contains(systemAttributes, n) {
			return unknownAttribute(n)
		}
	}
	return nil
}

// show returns a message as a receiver gets it: with the system attributes
// named in system, and the message attributes that fit user.
func show(q queue, m *store.QueueMessage, at time.Time, system, user []string) (sqs.Message, error) {
	attrs, trace, err := decodeAttributes(m.Attributes)
	if err != nil {
		return sqs.Message{}, fmt.Errorf("message %s: %w", m.ID, err)
	}
	h := handle{queue: q.ID, receipt: store.Receipt{ID: m.ID, Receipt: m.Receipt}, received: at}
	out := sqs.Message{
		MessageId: new(m.MessageID), ReceiptHandle: new(h.String()),
		Body: new(string(m.Body)), MD5OfBody: bodyDigest(string(m.Body)),
	}
	for name, v := range systemValues(q, m, trace) {
		if v == "" || !slices.Contains(system, name) && !slices.Contains(system, "All") {
			continue
		}
		if out.Attributes == nil {
			out.Attributes = map[string]string{}
		}
		out.Attributes[name] = v
	}
	attrs = slices.DeleteFunc(attrs, func(a Attribute) bool { return !wanted(a.Name, user) })
	out.MD5OfMessageAttributes = attributeDigest(attrs)
	for _, a := range attrs {
		if out.MessageAttributes == nil {
			out.MessageAttributes = map[string]sqs.MessageAttributeValue{}
		}
		v := sqs.MessageAttributeValue{DataType: new(a.DataType)}
		if a.binary() {
			v.BinaryValue = a.BinaryValue
		} else {
			v.StringValue = new(a.StringValue)
		}
		out.MessageAttributes[a.Name] = v
	}
	return out, nil
}

func systemValues(q queue, m *store.QueueMessage, trace string) map[string]string {
	v := map[string]string{
		"SenderId":                         m.Sender,
		"SentTimestamp":                    strconv.FormatInt(m.SentAt.UnixMilli(), 10),
		"ApproximateReceiveCount":          strconv.Itoa(m.Receives),
		"ApproximateFirstReceiveTimestamp": strconv.FormatInt(m.FirstReceived.UnixMilli(), 10),
		"MessageGroupId":                   m.GroupID,
		"MessageDeduplicationId":           m.DedupID,
		"AWSTraceHeader":                   trace,
		"DeadLetterQueueSourceArn":         m.SourceQueue,
	}
	if q.FIFO {
		v["SequenceNumber"] = sequenceNumber(m.Seq)
	}
	return v
}

// wanted reports whether a message attribute fits the names asked for: itself,
// All, .* or the beginning of its name followed by .*
func wanted(name string, names []string) bool {
	for _, n := range names {
		prefix, wildcard := strings.CutSuffix(n, ".*")
		if n == "All" || n == name || wildcard && strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
