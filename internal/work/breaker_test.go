package work_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sestina-mail/sestina/internal/store"
	"github.com/sestina-mail/sestina/internal/work"
)

// An endpoint is unreachable until repaired.
type endpoint struct {
	works  atomic.Bool
	tries  chan store.Unit
	inside atomic.Int32 // units being tried
	most   atomic.Int32 // at once, since last set to 0
}

func newEndpoint() *endpoint { return &endpoint{tries: make(chan store.Unit, 10_000)} }

func (p *endpoint) Work(_ context.Context, _ string, units []store.Unit) []work.Result {
	n := p.inside.Add(int32(len(units)))
	defer p.inside.Add(-int32(len(units)))
	for m := p.most.Load(); n > m && !p.most.CompareAndSwap(m, n); m = p.most.Load() {
	}
	var out []work.Result
	for _, u := range units {
		res := work.Result{Unit: u, Verdict: work.Done}
		if !p.works.Load() {
			res = work.Result{Unit: u, Verdict: work.Retry, LaneFault: true, Answer: "connection refused"}
		}
		out = append(out, res)
		p.tries <- u
	}
	return out
}

func TestBreaker(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := newEndpoint()
	k := delivery(p)
	k.Concurrency = limits(1)
	start := r.clock.Now()
	units := r.add("endpoint", 500)
	e := r.start(k)

	// It opens once, with one stored row.
	first := receive(t, "the first try", p.tries)
	r.until("the breaker to open", func() bool { return len(r.store.lanes()) == 1 && len(r.store.finished()) == 1 })
	opened := r.store.lanes()[0]
	st := opened.State
	if opened.Kind != store.KindDelivery || opened.Lane != "endpoint" || st.Failures != 1 || st.LastError != "connection refused" || st.Paused {
		t.Errorf("stored %+v", opened)
	}
	if st.FailingSince.Before(start) || st.FailingSince.After(r.clock.Now()) {
		t.Errorf("failing since %v", st.FailingSince)
	}
	if hold := st.HoldUntil.Sub(st.FailingSince); hold < time.Hour || hold > time.Hour*11/10 {
		t.Errorf("held for %v, want an hour and a little", hold)
	}

	// It is probed by one unit at a time, longer and longer apart.
	for n, backoff := range []time.Duration{2 * time.Hour, 4 * time.Hour, 4 * time.Hour} {
		r.clock.Advance(st.HoldUntil.Sub(r.clock.Now()) + time.Millisecond)
		if probe := receive(t, "a probe", p.tries); probe.ID == first.ID {
			t.Errorf("probe %d took a unit that waits for its retry", n)
		}
		r.until("the failed probe", func() bool { return len(r.store.lanes()) == n+2 && len(r.store.finished()) == n+2 })
		was := st
		st = r.store.lanes()[n+1].State
		if st.Failures != n+2 || !st.FailingSince.Equal(was.FailingSince) {
			t.Errorf("after probe %d: %+v", n, st)
		}
		if hold := st.HoldUntil.Sub(r.store.finished()[n+1].At); hold < backoff-time.Minute || hold > backoff*12/10 {
			t.Errorf("after probe %d held for %v, want %v and a little", n, hold, backoff)
		}
	}
	burned := 0
	all, err := r.store.UnitsOfMessage(t.Context(), scope, r.message)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range all {
		burned += u.Attempts
	}
	if burned != 4 {
		t.Errorf("%d attempts burned by 4 tries", burned)
	}
	if got, _ := e.State(t.Context(), store.KindDelivery, "endpoint"); got != st {
		t.Errorf("State tells %+v, stored is %+v", got, st)
	}
	if s := e.Snapshot()[0]; s.Failing != 1 {
		t.Errorf("statistics %+v", s)
	}

	// It recovers: the state is removed by one write and everything drains.
	p.works.Store(true)
	r.clock.Advance(24 * time.Hour)
	r.allFinal(len(units))
	r.until("the breaker to close", func() bool { return len(r.store.lanes()) == 5 })
	if got := r.store.lanes()[4].State; got != (store.LaneState{}) {
		t.Errorf("stored %+v", got)
	}
	if got, err := r.store.Lane(t.Context(), store.KindDelivery, "endpoint"); err != nil || got != (store.LaneState{}) {
		t.Errorf("the row of a healthy lane: %+v, %v", got, err)
	}
	if most := p.most.Load(); most != 1 {
		t.Errorf("%d units at once in a lane of one", most)
	}
}

// While a lane fails, its many places do not matter: one unit is out at a time.
func TestProbesAreSingle(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	inside, goOn := make(chan int, 1000), make(chan work.Result)
	k := delivery(handler(func(_ context.Context, _ string, units []store.Unit) []work.Result {
		inside <- len(units)
		res := <-goOn
		var out []work.Result
		for _, u := range units {
			res.Unit = u
			out = append(out, res)
		}
		return out
	}))
	k.Concurrency, k.Batch = limits(5), limits(10)
	r.add("endpoint", 100)
	e := r.start(k)
	fault := work.Result{Verdict: work.Retry, LaneFault: true}
	for range 5 {
		receive(t, "the workers before the fault", inside)
	}
	for range 5 {
		goOn <- fault
	}
	r.until("the fault", func() bool { return len(r.store.finished()) == 50 && len(r.store.lanes()) > 0 })
	if got := r.store.lanes(); len(got) != 1 || got[0].State.Failures != 1 {
		t.Fatalf("five workers that failed together: %d writes, the first %+v", len(got), got[0].State)
	}
	for range 3 {
		e.Wake(store.KindDelivery, "endpoint") // as if the hold were over
		if n := receive(t, "a probe", inside); n != 1 {
			t.Fatalf("a probe of %d units", n)
		}
		r.add("endpoint", 10)
		e.Wake(store.KindDelivery, "endpoint")
		if s := e.Snapshot()[0]; s.Active > 1 && len(inside) > 0 {
			t.Fatalf("%d workers while a probe is under way", s.Active)
		}
		n := len(r.store.finished())
		goOn <- fault
		r.until("the probe's end", func() bool { return len(r.store.finished()) == n+1 })
	}
	e.Wake(store.KindDelivery, "endpoint")
	if n := receive(t, "the good probe", inside); n != 1 {
		t.Fatalf("a probe of %d units", n)
	}
	goOn <- work.Result{Verdict: work.Done}
	for range 5 {
		if n := receive(t, "full concurrency", inside); n < 2 {
			t.Fatalf("a batch of %d after the recovery", n)
		}
	}
	close(goOn) // the zero result is a Retry
}

// Any answer of the other side shows that the lane works again.
func TestRefusalClosesTheBreaker(t *testing.T) {
	t.Parallel()
	for name, verdict := range map[string]work.Verdict{"Retry": work.Retry, "Dead": work.Dead} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			var works atomic.Bool
			e := r.start(delivery(each(func(context.Context, store.Unit) work.Result {
				return work.Result{Verdict: verdict, LaneFault: !works.Load()}
			})))
			r.add("endpoint", 1)
			r.until("the breaker to open", func() bool { return len(r.store.lanes()) == 1 })
			works.Store(true)
			r.add("endpoint", 1)
			e.Wake(store.KindDelivery, "endpoint")
			r.until("the breaker to close", func() bool {
				st, err := r.store.Lane(t.Context(), store.KindDelivery, "endpoint")
				return err == nil && len(r.store.lanes()) > 1 && st == store.LaneState{}
			})
		})
	}
}

// A unit that ends without an attempt says nothing about its lane: the next one
// is the probe.
func TestUntriedUnitDoesNotCloseTheBreaker(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var old atomic.Bool
	e := r.start(delivery(each(func(context.Context, store.Unit) work.Result {
		if old.Load() {
			return work.Result{Verdict: work.Dead, Untried: true, Answer: "too old"}
		}
		return work.Result{Verdict: work.Retry, LaneFault: true}
	})))
	r.add("endpoint", 1)
	r.until("the breaker to open", func() bool { return len(r.store.lanes()) == 1 })
	old.Store(true)
	r.add("endpoint", 1)
	e.Wake(store.KindDelivery, "endpoint")
	r.until("the old unit to end", func() bool { return len(r.store.finished()) == 2 })
	old.Store(false)
	r.add("endpoint", 1)
	e.Wake(store.KindDelivery, "endpoint")
	r.until("the probe to fail", func() bool {
		states := r.store.lanes()
		return states[len(states)-1].State.Failures == 2
	})
	for _, l := range r.store.lanes() {
		if l.State.FailingSince.IsZero() {
			t.Errorf("the breaker closed: %+v", l.State)
		}
	}
}

// What a worker tells of the time before the breaker opened does not close it,
// and its failure does not count twice.
func TestLateResultsDoNotTouchTheBreaker(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	inside := make(chan struct{}, 10)
	slow := make(chan work.Result)
	k := delivery(each(func(_ context.Context, u store.Unit) work.Result {
		inside <- struct{}{}
		if u.Attempts > 0 {
			return work.Result{Verdict: work.Done}
		}
		return <-slow
	}))
	k.Concurrency = limits(3)
	r.add("endpoint", 3)
	e := r.start(k)
	for range 3 {
		receive(t, "the workers", inside)
	}
	slow <- work.Result{Verdict: work.Retry, LaneFault: true}
	r.until("the breaker to open", func() bool { return len(r.store.lanes()) == 1 && len(r.store.finished()) == 1 })
	slow <- work.Result{Verdict: work.Done}
	slow <- work.Result{Verdict: work.Retry, LaneFault: true}
	r.until("the late results", func() bool { return len(r.store.finished()) == 3 })
	st, err := e.State(t.Context(), store.KindDelivery, "endpoint")
	if err != nil || st.Failures != 1 || len(r.store.lanes()) != 1 {
		t.Errorf("state %+v after %d writes, %v", st, len(r.store.lanes()), err)
	}
	r.clock.Advance(3 * time.Hour)
	r.allFinal(3)
}

func TestLaneStateSurvivesRestart(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := newEndpoint()
	e := r.engine(work.Options{Kinds: []work.Kind{delivery(p)}})
	stop := r.run(e)
	r.add("failing", 1)
	r.until("the breaker to open", func() bool { return len(r.store.lanes()) == 1 })
	if err := e.Pause(t.Context(), store.KindDelivery, "paused"); err != nil {
		t.Fatal(err)
	}
	stop()
	r.close()

	r.open()
	p = newEndpoint()
	p.works.Store(true)
	r.add("failing", 5)
	r.add("paused", 5)
	e = r.start(delivery(p))
	r.add("healthy", 1)
	if u := receive(t, "the healthy lane", p.tries); u.Lane != "healthy" {
		t.Fatalf("lane %q was served, which is held", u.Lane)
	}
	r.allFinal(1)
	st, err := e.State(t.Context(), store.KindDelivery, "failing")
	if err != nil || st.Failures != 1 {
		t.Fatalf("state %+v, %v", st, err)
	}
	p.most.Store(0)
	r.clock.Advance(24 * time.Hour)
	r.allFinal(7)
	if st, err := e.State(t.Context(), store.KindDelivery, "paused"); err != nil || !st.Paused {
		t.Fatalf("state %+v, %v", st, err)
	}
	if err := e.Resume(t.Context(), store.KindDelivery, "paused"); err != nil {
		t.Fatal(err)
	}
	r.allFinal(12)
}

func TestPause(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := newEndpoint()
	p.works.Store(true)
	e := r.engine(work.Options{Kinds: []work.Kind{delivery(p)}})
	if err := e.Pause(t.Context(), store.KindDelivery, "lane"); err != nil { // before Run
		t.Fatal(err)
	}
	r.run(e)
	r.add("lane", 10)
	e.Wake(store.KindDelivery, "lane") // does not end a pause
	r.add("other", 1)
	if u := receive(t, "the other lane", p.tries); u.Lane != "other" {
		t.Fatal("a paused lane was served")
	}
	if err := e.Pause(t.Context(), store.KindDelivery, "lane"); err != nil {
		t.Fatal(err)
	}
	if n := len(r.store.lanes()); n != 1 {
		t.Errorf("%d writes for one pause", n)
	}

	// A store that refuses leaves the lane as it was.
	r.store.refusing(func(c store.Command) error {
		if _, ok := c.(*store.SetLane); ok {
			return store.ErrUnavailable
		}
		return nil
	})
	if err := e.Resume(t.Context(), store.KindDelivery, "lane"); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Resume: %v", err)
	}
	if st, err := e.State(t.Context(), store.KindDelivery, "lane"); err != nil || !st.Paused {
		t.Errorf("state %+v, %v", st, err)
	}
	r.store.refusing(nil)
	if err := e.Resume(t.Context(), store.KindDelivery, "lane"); err != nil {
		t.Fatal(err)
	}
	r.allFinal(11)
	if err := e.Pause(t.Context(), store.KindNotification, "lane"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Pause of a kind that the engine does not have: %v", err)
	}
}

// A pause and the breaker write the same row; neither undoes the other.
func TestPauseOfFailingLane(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := newEndpoint()
	e := r.start(delivery(p))
	r.add("endpoint", 3)
	r.until("the breaker to open", func() bool { return len(r.store.lanes()) == 1 })
	if err := e.Pause(t.Context(), store.KindDelivery, "endpoint"); err != nil {
		t.Fatal(err)
	}
	st, err := r.store.Lane(t.Context(), store.KindDelivery, "endpoint")
	if err != nil || !st.Paused || st.Failures != 1 {
		t.Errorf("stored %+v, %v", st, err)
	}
	p.works.Store(true)
	r.clock.Advance(24 * time.Hour)
	if err := e.Resume(t.Context(), store.KindDelivery, "endpoint"); err != nil {
		t.Fatal(err)
	}
	r.allFinal(3)
}

// The breaker's row is written when the store takes it again.
func TestBreakerWithUnavailableStore(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var refused atomic.Int32
	r.store.refusing(func(c store.Command) error {
		if _, ok := c.(*store.SetLane); ok && refused.Add(1) <= 2 {
			return store.ErrUnavailable
		}
		return nil
	})
	p := newEndpoint()
	k := delivery(p)
	k.Backoff = work.Schedule(1000 * time.Hour)
	r.start(k)
	r.add("endpoint", 1)
	r.until("the row", func() bool { return len(r.store.lanes()) == 1 })
	if st := r.store.lanes()[0].State; st.Failures != 1 || refused.Load() != 3 {
		t.Errorf("stored %+v at the %d. time", st, refused.Load())
	}
}

// A pause waits for its turn to write the lane's row, and no longer than its
// caller.
func TestPauseGivesUpWithItsCaller(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	writing, goOn := make(chan struct{}, 10), make(chan struct{})
	r.store.refusing(func(c store.Command) error {
		if _, ok := c.(*store.SetLane); ok {
			writing <- struct{}{}
			<-goOn
		}
		return nil
	})
	e := r.start(delivery(newEndpoint()))
	r.add("endpoint", 1)
	receive(t, "the breaker's write", writing)
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() { failed <- e.Pause(ctx, store.KindDelivery, "endpoint") }()
	cancel()
	if err := receive(t, "the pause", failed); !errors.Is(err, context.Canceled) {
		t.Errorf("Pause: %v", err)
	}
	close(goOn)
	r.until("the breaker's row", func() bool { return len(r.store.lanes()) == 1 })
}
