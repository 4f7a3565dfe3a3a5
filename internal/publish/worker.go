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
// store.KindPublication. It may be used concurrently.
type Worker struct {
	Store        store.Store
	Sets         *store.Documents[sestina.ConfigurationSet]
	Destinations map[sestina.DestinationKind]Destination
	Clock        *clock.Clock
	Horizon      time.Duration // 0 means DefaultHorizon
}

// A job is one publication on its way through the Worker.
type job struct {
	Item
	progress progress
	changed  bool // progress has to be stored
}

// Work publishes units of one event destination.
func (w *Worker) Work(ctx context.Context, _ string, units []store.Unit) []work.Result {
	results := make([]work.Result, 0, len(units))
	jobs := make([]*job, 0, len(units))
	var dest *sestina.EventDestination
	var last store.Message
	for _, u := range units {
		j := &job{Item: Item{Unit: u, Message: last}}
		d, res := w.prepare(ctx, j)
		last = j.Message
		if res != nil {
			res.Untried = true
			results = append(results, *res)
			continue
		}
		dest, jobs = d, append(jobs, j) // one lane is one destination
	}
	if len(jobs) == 0 {
		return results
	}
	items := make([]Item, len(jobs))
	for i, j := range jobs {
		items[i] = j.Item
	}
	took := clock.Stopwatch()
	outcomes := w.Destinations[dest.Kind].Publish(ctx, *dest, items)
	for i, j := range jobs[:min(len(jobs), len(outcomes))] { // the engine keeps units without a result
		results = append(results, j.result(outcomes[i], took()))
	}
	return results
}

// prepare loads what a publication needs, or says how it goes on without an
// attempt. j.Message may hold the message of the unit before: two events of one
// message often stand side by side.
func (w *Worker) prepare(ctx context.Context, j *job) (*sestina.EventDestination, *work.Result) {
	u := j.Unit
	var err error
	if j.Message.ID != u.MessageID {
		if j.Message, err = w.Store.Message(ctx, u.Scope, u.MessageID); err != nil {
			return nil, j.lost("message", err)
		}
	}
	if j.progress, err = decodeProgress(u.Payload); err != nil {
		return nil, j.dead(err.Error())
	}
	j.begin(w.Clock.Now())
	dest := findDestination(w.Sets.Get(u.Scope, j.Message.ConfigurationSet), u.Target)
	if dest == nil { // another node may just have made it
		set, err := w.Sets.Refresh(ctx, u.Scope, j.Message.ConfigurationSet)
		if err != nil {
			return nil, &work.Result{Unit: u, Verdict: work.Busy}
		}
		dest = findDestination(set, u.Target)
	}
	switch {
	case dest == nil:
		return nil, j.dead("the event destination was deleted before this event was published")
	case w.Clock.Since(j.progress.Start) > w.horizon():
		// Without an attempt: a destination that is down must not keep what is
		// too old waiting for its turn to be probed.
		return nil, j.dead(fmt.Sprintf("not published within %s; last answer: %s", w.horizon(), u.Answer))
	case !dest.Enabled, w.Destinations[dest.Kind] == nil:
		return nil, &work.Result{Unit: u, Verdict: work.Hold, Due: w.Clock.Now().Add(holdFor)}
	}
	if j.Event, err = w.Store.Event(ctx, u.EventID); err != nil {
		return nil, j.lost("event", err)
	}
	j.Record, err = event.Record(j.Event.Type, j.Message.Mail, j.Event.LateTags, j.Event.Object)
	if err != nil {
		return nil, j.dead(err.Error())
	}
	j.Progress = j.progress.More
	return dest, nil
}

// begin starts the publication's horizon: when it was made, or, for a dead
// letter that was redriven, now.
func (j *job) begin(now time.Time) {
	p := &j.progress
	switch {
	case p.Ended:
		p.Ended, p.Start, j.changed = false, now, true
	case p.Start.IsZero():
		p.Start = j.Unit.ID.Time()
	}
}

// lost ends a publication whose message or event is gone. One that could not be
// read is given back: that says nothing about the destination.
func (j *job) lost(what string, err error) *work.Result {
	if errors.Is(err, store.ErrNotFound) {
		return j.dead("the " + what + " was deleted before this event was published")
	}
	return &work.Result{Unit: j.Unit, Verdict: work.Busy}
}

// dead ends a publication as a dead letter, without an attempt.
func (j *job) dead(answer string) *work.Result {
	j.progress.Ended = true
	return &work.Result{Unit: j.Unit, Verdict: work.Dead, Untried: true, Answer: answer, Payload: j.progress.encode()}
}

func (j *job) result(out Outcome, took time.Duration) work.Result {
	if out.Fault == Refused || out.Fault == Gone {
		r := j.dead(out.Answer)
		r.Untried, r.Took, r.Effects = false, took, out.Effects
		return *r
	}
	r := work.Result{Unit: j.Unit, Answer: out.Answer, Took: took, Effects: out.Effects, Due: out.Due}
	switch out.Fault {
	case NoFault:
		r.Verdict = work.Done
		return r
	case More:
		r.Verdict = work.Continue
		j.progress.More, j.changed = out.Payload, true
	case Unreachable:
		r.Verdict, r.LaneFault = work.Retry, true
	default: // Misconfigured
		r.Verdict = work.Retry
	}
	if j.changed {
		r.Payload = j.progress.encode()
	}
	return r
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
