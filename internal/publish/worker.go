package publish

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sestina-mail/sestina/internal/clock"
	"github.com/sestina-mail/sestina/internal/event"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
	"github.com/sestina-mail/sestina/internal/work"
)

// DefaultHorizon is how long a publication is tried before it becomes a dead
// letter.
const DefaultHorizon = 72 * time.Hour

// holdFor is how long a disabled destination's lane rests before it is looked
// at again; enabling one wakes its lane at once.
const holdFor = time.Minute

// A Worker publishes due publications. It is the work.Handler of
// store.KindPublication.
type Worker struct {
	Store        store.Store
	Sets         *store.Documents[sestina.ConfigurationSet]
	Destinations map[sestina.DestinationKind]Destination
	Clock        *clock.Clock
	Horizon      time.Duration // 0 means DefaultHorizon
}

// Work publishes units of one event destination.
func (w *Worker) Work(ctx context.Context, _ string, units []store.Unit) []work.Result {
	results := make([]work.Result, 0, len(units))
	var items []Item
	var dest *sestina.EventDestination
	for _, u := range units {
		d, it, res := w.prepare(ctx, u)
		if res != nil {
			results = append(results, *res)
			continue
		}
		dest, items = d, append(items, it) // one lane is one destination
	}
	if len(items) == 0 {
		return results
	}
	kind := w.Destinations[dest.Kind]
	took := clock.Stopwatch()
	outcomes := kind.Publish(ctx, *dest, items)
	for i, out := range outcomes {
		results = append(results, w.result(items[i].Unit, out, took()))
	}
	return results
}

// prepare loads what a unit needs, or says how it ends without an attempt.
func (w *Worker) prepare(ctx context.Context, u store.Unit) (*sestina.EventDestination, Item, *work.Result) {
	it := Item{Unit: u}
	var err error
	if it.Message, err = w.Store.Message(ctx, u.Scope, u.MessageID); err != nil {
		return nil, it, lost(u, "message", err)
	}
	set := w.Sets.Get(u.Scope, it.Message.ConfigurationSet)
	dest := findDestination(set, u.Target)
	switch {
	case dest == nil:
		return nil, it, &work.Result{Unit: u, Verdict: work.Dead, Answer: "the event destination was deleted before this event was published"}
	case w.expired(u):
		return nil, it, &work.Result{Unit: u, Verdict: work.Dead, Answer: fmt.Sprintf("not published within %s; last answer: %s", w.horizon(), u.Answer)}
	case !dest.Enabled, w.Destinations[dest.Kind] == nil:
		return nil, it, &work.Result{Unit: u, Verdict: work.Hold, Due: w.Clock.Now().Add(holdFor)}
	}
	if it.Event, err = w.Store.Event(ctx, u.EventID); err != nil {
		return nil, it, lost(u, "event", err)
	}
	it.Record, err = event.Record(it.Event.Type, it.Message.Mail, it.Event.LateTags, it.Event.Object)
	if err != nil {
		return nil, it, &work.Result{Unit: u, Verdict: work.Dead, Answer: err.Error()}
	}
	return dest, it, nil
}

// lost ends a unit whose message or event is gone, and retries one that could
// not be read.
func lost(u store.Unit, what string, err error) *work.Result {
	if errors.Is(err, store.ErrNotFound) {
		return &work.Result{Unit: u, Verdict: work.Dead, Answer: "the " + what + " was deleted before this event was published"}
	}
	return &work.Result{Unit: u, Verdict: work.Retry, Answer: "could not read the " + what}
}

func findDestination(set *sestina.ConfigurationSet, id sestina.ID) *sestina.EventDestination {
	if set == nil {
		return nil
	}
	for i := range set.Destinations {
		if set.Destinations[i].ID == id {
			return &set.Destinations[i]
		}
	}
	return nil
}

func (w *Worker) horizon() time.Duration {
	if w.Horizon > 0 {
		return w.Horizon
	}
	return DefaultHorizon
}

func (w *Worker) expired(u store.Unit) bool { return w.Clock.Since(u.ID.Time()) > w.horizon() }

func (w *Worker) result(u store.Unit, out Outcome, took time.Duration) work.Result {
	r := work.Result{Unit: u, Answer: out.Answer, Took: took, Effects: out.Effects, Due: out.Due}
	switch out.Fault {
	case NoFault:
		r.Verdict = work.Done
	case More:
		r.Verdict, r.Payload = work.Continue, out.Payload
	case Refused, Gone:
		r.Verdict = work.Dead
	case Unreachable:
		r.Verdict, r.LaneFault = work.Retry, true
	default: // Misconfigured
		r.Verdict = work.Retry
	}
	return r
}
