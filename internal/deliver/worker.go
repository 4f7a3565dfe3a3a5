package deliver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/sestina-mail/sestina/internal/bounce"
	"github.com/sestina-mail/sestina/internal/clock"
	"github.com/sestina-mail/sestina/internal/event"
	"github.com/sestina-mail/sestina/internal/message"
	"github.com/sestina-mail/sestina/internal/prepare"
	"github.com/sestina-mail/sestina/internal/publish"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
	"github.com/sestina-mail/sestina/internal/work"
)

// A Source is what a Worker reads of the store.
type Source interface {
	store.Mail
	UnitsOfMessage(ctx context.Context, s sestina.Scope, message sestina.ID) ([]store.Unit, error)
	OpenBody(ctx context.Context, id sestina.ID) (io.ReadCloser, error)
}

// A Preparer looks at a message before its first delivery. Rejected means that
// nothing of it may be delivered. An error is no verdict: ask again later.
type Preparer interface {
	Prepare(ctx context.Context, m *store.Message) (rejected bool, err error)
}

// Options configure a Worker. All members without a default are required.
type Options struct {
	Store     Source
	Sets      *store.Documents[sestina.ConfigurationSet]
	Outbox    *publish.Outbox
	Reporter  *bounce.Reporter
	Clock     *clock.Clock
	Logger    *slog.Logger // nil means slog.Default
	Prepare   Preparer     // nil prepares nothing
	Schedule  Schedule     // zero means ServeSchedule
	Transport Transport    // for every domain but SimulatorDomain
	Simulator Transport    // nil means a Simulator
}

// A Worker delivers mail. It is the work.Handler of store.KindDelivery; Kind
// describes it to the engine. It may be used concurrently.
type Worker struct{ o Options }

// New returns a Worker.
func New(o Options) *Worker {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if len(o.Schedule.Steps) == 0 {
		o.Schedule = ServeSchedule()
	}
	if o.Schedule.Window <= 0 {
		o.Schedule.Window = DefaultWindow
	}
	if o.Simulator == nil {
		o.Simulator = &Simulator{Clock: o.Clock}
	}
	return &Worker{o: o}
}

// maxProbe is the longest wait between two probes of a host that does not
// serve: what expires meanwhile is bounced that late at most.
const maxProbe = 5 * time.Minute

// Kind describes deliveries to the work engine. The breaker of a lane probes by
// the retry schedule, but at least every five minutes.
func (w *Worker) Kind() work.Kind {
	return work.Kind{
		Kind: store.KindDelivery, Name: "delivery", Handler: w,
		Batch:       func(lane string) int { return w.transport(lane).Limits().Batch },
		Concurrency: func(lane string) int { return w.transport(lane).Limits().Concurrency },
		Backoff:     func(n int) time.Duration { return min(w.o.Schedule.Delay(n), maxProbe) },
	}
}

func (w *Worker) transport(lane string) Transport {
	if LaneDomain(lane) == SimulatorDomain {
		return w.o.Simulator
	}
	return w.o.Transport
}

// Work implements work.Handler. A unit that was not tried because ctx ended has
// no result.
func (w *Worker) Work(ctx context.Context, lane string, units []store.Unit) []work.Result {
	results := make([]work.Result, 0, len(units))
	for _, u := range units {
		if ctx.Err() != nil {
			break
		}
		took := clock.Stopwatch()
		r, ok := w.deliver(ctx, lane, u)
		if !ok {
			continue
		}
		r.Unit, r.Took = u, took()
		results = append(results, r)
	}
	return results
}

// busyRest is how long a lane rests that found all connections in use.
const busyRest = 250 * time.Millisecond

// An attempt is what is known while a unit is worked on.
type attempt struct {
	unit    store.Unit
	lane    string
	payload Payload
	message store.Message
	set     *sestina.ConfigurationSet
	expires time.Time
	window  time.Duration
	custom  bool // MaxDeliverySeconds decides
}

// deliver works on one unit. The plan: read what it is about; end it when its
// time is over; have the message looked at; hand it over; settle every
// recipient that got an answer.
func (w *Worker) deliver(ctx context.Context, lane string, u store.Unit) (work.Result, bool) {
	a := &attempt{unit: u, lane: lane}
	var err error
	if a.payload, err = DecodePayload(u.Payload); err != nil {
		w.o.Logger.Error("a delivery cannot be read", "unit", u.ID, "message", u.MessageID, "error", err)
		return work.Result{Verdict: work.Dead, Answer: "the delivery cannot be read: " + err.Error()}, true
	}
	a.message, err = w.o.Store.Message(ctx, u.Scope, u.MessageID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return work.Result{Verdict: work.Dead, Answer: "the message was deleted"}, true
	case err != nil:
		return w.later(ctx, a, "read message", err)
	}
	if a.set, err = w.set(ctx, &a.message); err != nil {
		return w.later(ctx, a, "read configuration set", err)
	}
	a.expires, a.window, a.custom = w.o.Schedule.expiry(a.message.ID.Time(), a.set)
	// What was never tried (everything stood still for hours) gets one attempt,
	// unless the sender said until when it makes sense.
	if now := w.o.Clock.Now(); !now.Before(a.expires) && (u.Attempts > 0 || a.custom) {
		return w.expire(ctx, a, now)
	}
	if w.o.Prepare != nil {
		rejected, err := w.o.Prepare.Prepare(ctx, &a.message)
		switch {
		case err != nil:
			return w.ownFault(ctx, a, "prepare the message", err)
		case rejected:
			return w.reject(ctx, a)
		}
	}
	rep, err := w.transport(lane).Deliver(ctx, Job{
		Message: &a.message, From: EnvelopeSender(&a.message), Recipients: a.payload.Recipients,
		RequireTLS: a.set != nil && a.set.Delivery != nil && a.set.Delivery.TLSPolicy == "REQUIRE",
		Open: func(ctx context.Context) (io.ReadCloser, error) {
			return w.o.Store.OpenBody(ctx, a.message.ID)
		},
	})
	if err != nil {
		return w.ownFault(ctx, a, "send the message", err)
	}
	switch {
	case rep.Busy:
		return work.Result{Verdict: work.Busy, Due: w.o.Clock.Now().Add(busyRest)}, true
	case len(rep.Outcomes) == 0:
		return work.Result{}, false
	}
	return w.settle(ctx, a, rep)
}

// EnvelopeSender returns the MAIL FROM address of a message: its return path,
// else the address it is from. "" when neither is an address.
func EnvelopeSender(m *store.Message) string {
	for _, s := range []string{m.ReturnPath, m.Source} {
		if s == "" {
			continue
		}
		if a, err := message.ParseAddress(s); err == nil {
			return a.Addr()
		}
	}
	return ""
}

// settle turns a report into events and says what is left to do.
func (w *Worker) settle(ctx context.Context, a *attempt, rep Report) (work.Result, bool) {
	now := w.o.Clock.Now()
	final, deferred, untried := sortOut(a.payload.Recipients, rep.Outcomes)
	r := work.Result{Verdict: work.Done, Answer: answer(rep.Outcomes), LaneFault: rep.LaneFault}
	happened := w.o.Reporter.Events(&a.message, final, a.expires)
	switch {
	case len(deferred) > 0 && !now.Before(a.expires):
		// The one late attempt failed too.
		happened = append(happened, w.o.Reporter.Expired(&a.message, deferred, a.window, a.custom, now)...)
		deferred = nil
	case len(deferred) > 0:
		happened = append(happened, w.o.Reporter.Events(&a.message, deferred, a.expires)...)
	}
	switch {
	case len(deferred) > 0:
		r.Verdict, r.Due = work.Retry, w.due(a, now)
		r.Payload = a.rest(deferred, untried).Encode()
	case len(untried) > 0:
		r.Verdict = work.Continue
		r.Payload = a.rest(nil, untried).Encode()
	}
	if err := w.add(&r.Effects, a, happened); err != nil {
		return w.later(ctx, a, "write down what happened", err)
	}
	w.log(ctx, a, r.Verdict, "recipients", len(a.payload.Recipients), "settled", len(final), "deferred", len(deferred), "answer", lastCode(rep.Outcomes))
	return r, true
}

// sortOut sorts outcomes by whether they end a recipient's delivery, and finds
// the recipients without one.
func sortOut(recipients []string, outcomes []bounce.Outcome) (final, deferred []bounce.Outcome, untried []string) {
	tried := make(map[string]int, len(outcomes))
	for _, o := range outcomes {
		tried[o.Recipient]++
		if o.Kind == bounce.Deferred {
			deferred = append(deferred, o)
		} else {
			final = append(final, o)
		}
	}
	for _, r := range recipients {
		if tried[r] == 0 {
			untried = append(untried, r)
			continue
		}
		tried[r]--
	}
	return final, deferred, untried
}

// rest returns the payload of what is left: recipients in their old order, with
// the newest outcome of each.
func (a *attempt) rest(deferred []bounce.Outcome, untried []string) Payload {
	var p Payload
	for _, o := range deferred {
		p.Recipients = append(p.Recipients, o.Recipient)
		p.Last = append(p.Last, o)
	}
	for _, r := range untried {
		p.Recipients = append(p.Recipients, r)
		if i := slices.IndexFunc(a.payload.Last, func(o bounce.Outcome) bool { return o.Recipient == r }); i >= 0 {
			p.Last = append(p.Last, a.payload.Last[i])
		}
	}
	return p
}

// expire ends a unit whose time is over with bounces that say what was last
// said.
func (w *Worker) expire(ctx context.Context, a *attempt, now time.Time) (work.Result, bool) {
	last := make([]bounce.Outcome, len(a.payload.Recipients))
	for i, to := range a.payload.Recipients {
		last[i] = bounce.Outcome{Recipient: to, Kind: bounce.Failed}
		if j := slices.IndexFunc(a.payload.Last, func(o bounce.Outcome) bool { return o.Recipient == to }); j >= 0 {
			last[i] = a.payload.Last[j]
		}
	}
	r := work.Result{Verdict: work.Done, Answer: "gave up: the time for delivery is over"}
	if err := w.add(&r.Effects, a, w.o.Reporter.Expired(&a.message, last, a.window, a.custom, now)); err != nil {
		return w.later(ctx, a, "write down what happened", err)
	}
	w.log(ctx, a, r.Verdict, "recipients", len(last), "answer", "expired")
	return r, true
}

// reject ends a unit of a message that must not be delivered. The message has
// one Reject event: that of its delivery with the smallest id.
func (w *Worker) reject(ctx context.Context, a *attempt) (work.Result, bool) {
	units, err := w.o.Store.UnitsOfMessage(ctx, a.unit.Scope, a.unit.MessageID)
	if err != nil {
		return w.later(ctx, a, "read the deliveries of the message", err)
	}
	leads := true
	for _, u := range units {
		if u.Kind == store.KindDelivery && string(u.ID[:]) < string(a.unit.ID[:]) {
			leads = false
		}
	}
	r := work.Result{Verdict: work.Done, Answer: "rejected: bad content"}
	if leads {
		now := w.o.Clock.Now()
		err := w.o.Outbox.Add(&r.Effects, &a.message, sestina.Reject, now, event.Reject{Reason: prepare.ReasonBadContent}, nil)
		if err != nil {
			return w.later(ctx, a, "write down what happened", err)
		}
	}
	w.log(ctx, a, r.Verdict, "recipients", len(a.payload.Recipients), "answer", "rejected")
	return r, true
}

// ownFault ends an attempt that failed before anybody was asked: it is tried
// again by the schedule, without an event.
func (w *Worker) ownFault(ctx context.Context, a *attempt, doing string, err error) (work.Result, bool) {
	if ctx.Err() != nil {
		return work.Result{}, false
	}
	if errors.Is(err, store.ErrUnavailable) {
		return w.later(ctx, a, doing, err)
	}
	if errors.Is(err, store.ErrNotFound) {
		// Everything may have been emptied since the message was read.
		if _, err := w.o.Store.Message(ctx, a.unit.Scope, a.unit.MessageID); errors.Is(err, store.ErrNotFound) {
			return work.Result{Verdict: work.Dead, Answer: "the message was deleted"}, true
		}
	}
	w.o.Logger.Error("delivery failed by our own fault", "doing", doing, "unit", a.unit.ID, "message", a.unit.MessageID, "error", err)
	now := w.o.Clock.Now()
	if !now.Before(a.expires) {
		return w.expire(ctx, a, now)
	}
	return work.Result{Verdict: work.Retry, Due: w.due(a, now), Answer: "internal error: could not " + doing}, true
}

// later gives a unit back because the store does not answer: nothing can be
// written now.
func (w *Worker) later(ctx context.Context, a *attempt, doing string, err error) (work.Result, bool) {
	if ctx.Err() != nil {
		return work.Result{}, false
	}
	w.o.Logger.Warn("delivery waits", "doing", doing, "unit", a.unit.ID, "message", a.unit.MessageID, "error", err)
	return work.Result{Verdict: work.Busy}, true
}

// due returns when the unit is tried again after an attempt that ended now.
func (w *Worker) due(a *attempt, now time.Time) time.Time {
	due := now.Add(w.o.Schedule.Delay(a.unit.Attempts + 1))
	if due.After(a.expires) {
		return a.expires
	}
	return due
}

func (w *Worker) add(e *store.Effects, a *attempt, happened []bounce.Happening) error {
	for _, h := range happened {
		if err := w.o.Outbox.Add(e, &a.message, h.Type, h.At, h.Object, h.LateTags); err != nil {
			return fmt.Errorf("add %s: %w", h.Type, err)
		}
	}
	return nil
}

func (w *Worker) log(ctx context.Context, a *attempt, v work.Verdict, args ...any) {
	result := "done"
	if v != work.Done {
		result = "goes on"
	}
	w.o.Logger.DebugContext(ctx, "delivery attempt", append([]any{
		"message", a.unit.MessageID, "unit", a.unit.ID, "set", a.message.ConfigurationSet,
		"domain", LaneDomain(a.lane), "attempt", a.unit.Attempts + 1, "result", result,
	}, args...)...)
}

// answer joins the different replies, for the timeline.
func answer(outcomes []bounce.Outcome) string {
	var replies []string
	for i := range outcomes {
		if s := outcomes[i].Reply(); !slices.Contains(replies, s) {
			replies = append(replies, s)
		}
	}
	s := strings.Join(replies, " | ")
	if len(s) > store.MaxAnswer {
		s = strings.ToValidUTF8(s[:store.MaxAnswer], "")
	}
	return s
}

// lastCode is what is logged of the replies: no text, which may name
// recipients.
func lastCode(outcomes []bounce.Outcome) string {
	o := outcomes[len(outcomes)-1]
	return fmt.Sprintf("%d %s", o.Code, o.Enhanced)
}
