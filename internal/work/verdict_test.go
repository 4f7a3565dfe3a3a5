package work_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
	"github.com/sestina-mail/sestina/internal/work"
)

// once makes a handler that answers with r; the units it was given arrive in
// the channel.
func once(r work.Result) (handler, chan store.Unit) {
	seen := make(chan store.Unit, 100)
	return each(func(_ context.Context, u store.Unit) work.Result {
		seen <- u
		return r
	}), seen
}

func TestVerdict(t *testing.T) {
	t.Parallel()

	t.Run("Done", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		event := store.Event{ID: r.ids.New(r.clock.Now()), Scope: scope, MessageID: r.message, Type: sestina.Delivery, At: r.clock.Now(), Object: []byte(`{}`)}
		h, _ := once(work.Result{
			Verdict: work.Done, Answer: "250 Ok", Took: 7 * time.Millisecond,
			Effects: store.Effects{Events: []store.Event{event}},
		})
		r.start(delivery(h))
		u := r.add("example.com", 1)[0]
		r.allFinal(1)
		got := r.unit(u.ID)
		if got.State != store.Done || got.Attempts != 1 || got.Answer != "250 Ok" || got.FinishedAt.IsZero() {
			t.Errorf("the unit became %+v", got)
		}
		if e, err := r.store.Event(t.Context(), event.ID); err != nil || e.MessageID != r.message {
			t.Errorf("the effect: %+v, %v", e, err)
		}
	})

	t.Run("Dead", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		h, _ := once(work.Result{Verdict: work.Dead, Answer: "gone"})
		r.start(delivery(h))
		u := r.add("example.com", 1)[0]
		r.allFinal(1)
		dead, err := r.store.DeadUnits(t.Context(), scope, store.KindDelivery, "example.com", sestina.ID{}, 10)
		if err != nil || len(dead) != 1 || dead[0].ID != u.ID || dead[0].Answer != "gone" || dead[0].Attempts != 1 {
			t.Errorf("dead letters %+v, %v", dead, err)
		}
	})

	t.Run("RetryAtATime", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		due := r.clock.Now().Add(48 * time.Hour)
		h, seen := once(work.Result{Verdict: work.Retry, Due: due, Answer: "451 later", Payload: []byte("second")})
		r.start(delivery(h))
		u := r.add("example.com", 1)[0]
		receive(t, "the first attempt", seen)
		r.until("the retry", func() bool { return len(r.store.finished()) == 1 })
		got := r.unit(u.ID)
		if got.State != store.Waiting || !got.Due.Equal(due) || got.Attempts != 1 || string(got.Payload) != "second" {
			t.Errorf("the unit became %+v", got)
		}
		if a := r.attempts(u.ID); len(a) != 1 || a[0].N != 1 || a[0].Answer != "451 later" {
			t.Errorf("attempts %+v", a)
		}
		r.clock.Advance(49 * time.Hour)
		if again := receive(t, "the second attempt", seen); again.Attempts != 1 || string(again.Payload) != "second" {
			t.Errorf("the second attempt got %+v", again)
		}
	})

	t.Run("RetryByBackoff", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		h, seen := once(work.Result{Verdict: work.Retry})
		r.start(delivery(h))
		u := r.add("example.com", 1)[0]
		for n, want := range []time.Duration{time.Hour, 2 * time.Hour, 4 * time.Hour, 4 * time.Hour} {
			receive(t, "an attempt", seen)
			r.until("the retry", func() bool { return len(r.store.finished()) == n+1 })
			f, got := r.store.finished()[n], r.unit(u.ID)
			if wait := got.Due.Sub(f.At); wait != want || got.Attempts != n+1 {
				t.Errorf("after attempt %d: due in %v with %d attempts, want %v", n+1, wait, got.Attempts, want)
			}
			r.clock.Advance(want)
		}
	})

	t.Run("Continue", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		steps := make(chan string, 10)
		var effects []sestina.ID
		r.start(delivery(each(func(_ context.Context, u store.Unit) work.Result {
			steps <- string(u.Payload)
			if len(u.Payload) == 5 {
				return work.Result{Verdict: work.Done}
			}
			event := store.Event{ID: r.ids.New(r.clock.Now()), Scope: scope, MessageID: r.message, Type: sestina.Send, At: r.clock.Now()}
			effects = append(effects, event.ID)
			return work.Result{
				Verdict: work.Continue, Payload: append(u.Payload, '+'),
				Effects: store.Effects{Events: []store.Event{event}},
			}
		})))
		units := r.units("topic", 1, r.clock.Now())
		units[0].Payload = []byte("1")
		u := r.addUnits(units)[0]
		r.allFinal(1)
		close(steps)
		var got []string
		for s := range steps {
			got = append(got, s)
		}
		if strings.Join(got, " ") != "1 1+ 1++ 1+++ 1++++" {
			t.Errorf("steps %q", got)
		}
		if n := r.unit(u.ID).Attempts; n != 1 {
			t.Errorf("%d attempts, want the last step only", n)
		}
		if a := r.attempts(u.ID); len(a) != 0 {
			t.Errorf("steps appear in the timeline: %+v", a)
		}
		for _, id := range effects {
			if _, err := r.store.Event(t.Context(), id); err != nil {
				t.Errorf("effect of a step: %v", err)
			}
		}
	})

	t.Run("MovesLane", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		lanes := make(chan string, 10)
		r.start(delivery(handler(func(_ context.Context, lane string, units []store.Unit) []work.Result {
			lanes <- lane
			if lane == "second" {
				return []work.Result{{Unit: units[0], Verdict: work.Done}}
			}
			return []work.Result{{Unit: units[0], Verdict: work.Continue, Lane: "second"}}
		})))
		r.add("first", 1)
		for _, want := range []string{"first", "second"} {
			if got := receive(t, "the lane", lanes); got != want {
				t.Fatalf("served in lane %q, want %q", got, want)
			}
		}
		r.allFinal(1)
	})
}

func TestHoldKeepsLaneAndBurnsNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var enabled atomic.Bool
	until := r.clock.Now().Add(24 * time.Hour)
	asked := make(chan int, 100)
	k := delivery(handler(func(_ context.Context, _ string, units []store.Unit) []work.Result {
		asked <- len(units)
		var out []work.Result
		for _, u := range units {
			res := work.Result{Unit: u, Verdict: work.Hold, Due: until, Answer: "disabled"}
			if enabled.Load() {
				res = work.Result{Unit: u, Verdict: work.Done}
			}
			out = append(out, res)
		}
		return out
	}))
	k.Concurrency = limits(1)
	e := r.start(k)
	u := r.add("destination", 50)
	receive(t, "the handler", asked)
	r.until("the hold", func() bool { return len(r.store.lanes()) == 1 })
	st := r.store.lanes()[0].State
	if !st.HoldUntil.Equal(until) || st.Failures != 0 || !st.FailingSince.IsZero() || st.LastError != "disabled" {
		t.Errorf("lane state %+v", st)
	}
	if got := r.unit(u[0].ID); got.Attempts != 0 || got.State != store.Waiting || !got.Due.Equal(u[0].Due) {
		t.Errorf("the unit became %+v", got)
	}
	r.add("destination", 1) // wakes nothing
	r.clock.Advance(time.Hour)
	if len(asked) != 0 {
		t.Error("asked while held")
	}
	enabled.Store(true)
	e.Wake(store.KindDelivery, "destination")
	r.allFinal(51)
	r.until("the state to be cleared", func() bool {
		st, err := e.State(t.Context(), store.KindDelivery, "destination")
		return err == nil && st == store.LaneState{}
	})
}

// TestWakeBeatsAnOlderHold: a worker that found the destination disabled before
// it was enabled does not hold the lane after, although others were faster.
func TestWakeBeatsAnOlderHold(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	late := make(chan struct{})
	asked := make(chan struct{}, 10)
	var n atomic.Int32
	k := delivery(each(func(context.Context, store.Unit) work.Result {
		if n.Add(1) > 1 {
			return work.Result{Verdict: work.Done}
		}
		asked <- struct{}{} // it has looked: disabled
		<-late
		return work.Result{Verdict: work.Hold, Due: r.clock.Now().Add(time.Hour)}
	}))
	k.Concurrency = limits(2)
	e := r.start(k)
	r.add("destination", 1)
	receive(t, "the first worker", asked)
	e.Wake(store.KindDelivery, "destination") // enabled
	r.add("destination", 1)
	r.allFinal(1) // by another worker
	close(late)
	r.allFinal(2)
}

func TestBusyWritesNothing(t *testing.T) {
	t.Parallel()
	for name, results := range map[string]func(store.Unit, time.Time) []work.Result{
		"Busy": func(u store.Unit, at time.Time) []work.Result {
			return []work.Result{{Unit: u, Verdict: work.Busy, Due: at}}
		},
		"NoResult": func(store.Unit, time.Time) []work.Result { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			asked := make(chan store.Unit, 100)
			var busy atomic.Bool
			busy.Store(true)
			r.start(delivery(handler(func(_ context.Context, _ string, units []store.Unit) []work.Result {
				asked <- units[0]
				if busy.Load() {
					return results(units[0], r.clock.Now().Add(time.Second))
				}
				return []work.Result{{Unit: units[0], Verdict: work.Done}}
			})))
			u := r.add("lane", 1)[0]
			receive(t, "the first try", asked)
			r.until("the release", func() bool { return len(commands[*store.Release](r.store)) == 1 })
			if got := r.unit(u.ID); got.Attempts != 0 || got.State != store.Waiting || len(r.attempts(u.ID)) != 0 {
				t.Errorf("the unit became %+v", got)
			}
			if len(r.store.lanes())+len(r.store.finished()) != 0 {
				t.Error("something was written")
			}
			busy.Store(false)
			r.clock.Advance(2 * time.Second)
			receive(t, "the second try", asked)
			r.allFinal(1)
		})
	}
}

// Effects that are units wake the kind they belong to.
func TestEffectsOfOneKindAreWorkOfAnother(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	published := make(chan store.Unit, 1)
	e := r.engine(work.Options{Kinds: []work.Kind{
		delivery(each(func(_ context.Context, u store.Unit) work.Result {
			next := r.units("event destination", 1, r.clock.Now())[0]
			next.Kind, next.EventID = store.KindPublication, u.ID
			return work.Result{Verdict: work.Done, Effects: store.Effects{Units: []store.Unit{next}}}
		})),
		{Kind: store.KindPublication, Name: "publication", Handler: each(func(_ context.Context, u store.Unit) work.Result {
			published <- u
			return work.Result{Verdict: work.Done}
		})},
	}})
	r.run(e)
	u := r.add("example.com", 1)[0]
	if got := receive(t, "the publication", published); got.EventID != u.ID {
		t.Errorf("published for %s, want %s", got.EventID, u.ID)
	}
}

func TestPanicIsARetry(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	k := delivery(handler(func(_ context.Context, _ string, units []store.Unit) []work.Result {
		if units[0].Attempts == 0 {
			panic("a mistake")
		}
		var out []work.Result
		for _, u := range units {
			out = append(out, work.Result{Unit: u, Verdict: work.Done})
		}
		return out
	}))
	k.Batch, k.Concurrency = limits(3), limits(1)
	e := r.start(k)
	units := r.add("example.com", 3)
	r.until("the retries", func() bool { return len(r.store.finished()) == 3 })
	for _, u := range units {
		if got, a := r.unit(u.ID), r.attempts(u.ID); got.Attempts != 1 || len(a) != 1 || a[0].Answer != "internal error" {
			t.Errorf("after the panic: %+v, attempts %+v", got, a)
		}
	}
	r.clock.Advance(2 * time.Hour)
	r.allFinal(3)
	if s := e.Snapshot()[0]; s.Panics != 1 || s.Results[work.Retry] != 3 {
		t.Errorf("statistics %+v", s)
	}
}

// A handler's mistakes: results for units it was not given, two for one unit.
func TestResultsThatFitNoUnit(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	foreign := r.units("other", 1, r.clock.Now().Add(time.Hour))[0]
	r.start(delivery(handler(func(_ context.Context, _ string, units []store.Unit) []work.Result {
		return []work.Result{
			{Unit: foreign, Verdict: work.Dead},
			{Unit: units[0], Verdict: work.Done},
			{Unit: units[0], Verdict: work.Dead},
		}
	})))
	r.addUnits([]store.Unit{foreign})
	u := r.add("lane", 1)[0]
	r.allFinal(1)
	if got := r.unit(u.ID); got.State != store.Done {
		t.Errorf("the unit became %+v", got)
	}
	if got := r.unit(foreign.ID); got.State != store.Waiting {
		t.Errorf("the foreign unit became %+v", got)
	}
}

func TestFencedResultIsDropped(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	event := store.Event{ID: r.ids.New(r.clock.Now()), Scope: scope, MessageID: r.message, Type: sestina.Delivery, At: r.clock.Now()}
	inside, goOn := make(chan struct{}, 1), make(chan struct{})
	k := delivery(each(func(context.Context, store.Unit) work.Result {
		inside <- struct{}{}
		<-goOn
		return work.Result{Verdict: work.Done, Effects: store.Effects{Events: []store.Event{event}}}
	}))
	k.Concurrency = limits(1) // the next unit comes after the first result
	e := r.start(k)
	r.add("lane", 1)
	receive(t, "the handler", inside)
	if err := r.store.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.Forget()
	goOn <- struct{}{}
	r.add("lane", 1) // shows that the lane goes on
	receive(t, "the next unit", inside)
	if e.Snapshot()[0].Fenced != 1 {
		t.Errorf("statistics %+v", e.Snapshot()[0])
	}
	if _, err := r.store.Event(t.Context(), event.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the effect of a dropped result: %v", err)
	}
	close(goOn)
	r.allFinal(1)
}

// The store is unavailable when the work is done: the commit is repeated, not
// the work.
func TestUnavailableStoreRepeatsTheCommitOnly(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var worked, refused atomic.Int32
	k := delivery(each(func(context.Context, store.Unit) work.Result {
		worked.Add(1)
		return work.Result{Verdict: work.Done, Answer: "sent"}
	}))
	r.store.refusing(func(c store.Command) error {
		if _, ok := c.(*store.Finish); ok && refused.Add(1) <= 3 {
			return fmt.Errorf("full: %w", store.ErrUnavailable)
		}
		return nil
	})
	r.start(k)
	u := r.add("lane", 1)[0]
	for n := int32(1); n <= 3; n++ { // hurry the waits in between
		r.clock.Advance(time.Minute)
	}
	r.allFinal(1)
	if got := r.unit(u.ID); got.Answer != "sent" || got.Attempts != 1 {
		t.Errorf("the unit became %+v", got)
	}
	if worked.Load() != 1 || refused.Load() != 4 {
		t.Errorf("worked %d times, committed at the %d. time", worked.Load(), refused.Load())
	}
}

// A result that the store can never take must not hold the unit for ever.
func TestRefusedResultIsRetriedWithoutItsEffects(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var refused atomic.Bool
	r.store.refusing(func(c store.Command) error {
		if f, ok := c.(*store.Finish); ok && f.State == store.Done && refused.CompareAndSwap(false, true) {
			return errors.New("constraint failed")
		}
		return nil
	})
	e := r.start(delivery(handler(func(ctx context.Context, lane string, units []store.Unit) []work.Result {
		return each(done).Work(ctx, lane, units)
	})))
	u := r.add("lane", 1)[0]
	r.until("the retry", func() bool { return len(r.store.finished()) == 1 })
	if got := r.unit(u.ID); got.State != store.Waiting || got.Attempts != 1 {
		t.Errorf("the unit became %+v", got)
	}
	r.clock.Advance(2 * time.Hour)
	r.allFinal(1)
	if e.Snapshot()[0].Lost != 1 {
		t.Errorf("statistics %+v", e.Snapshot()[0])
	}
}

// The results of a batch are at the store together, so that they share its
// commits: each waits here until all have come.
func TestBatchCommitsTogether(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const n = 200
	var all sync.WaitGroup
	all.Add(n)
	r.store.refusing(func(c store.Command) error {
		if _, ok := c.(*store.Finish); ok {
			all.Done()
			all.Wait()
		}
		return nil
	})
	k := delivery(each(done))
	k.Batch, k.Concurrency = limits(n), limits(1)
	r.add("lane", n)
	r.start(k)
	r.allFinal(n)
}

func TestAnswersAreCut(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h, _ := once(work.Result{Verdict: work.Done, Answer: strings.Repeat("é", store.MaxAnswer)})
	r.start(delivery(h))
	u := r.add("lane", 1)[0]
	r.allFinal(1)
	if got := r.unit(u.ID).Answer; got != strings.Repeat("é", store.MaxAnswer/2) {
		t.Errorf("kept %d bytes", len(got))
	}
}
