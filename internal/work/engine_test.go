package work_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
	"github.com/sestina-mail/sestina/internal/work"
)

// With one worker and a lane of 10,000 due units, a fresh lane waits for the
// batch under way and nothing more.
func TestFreshLaneDoesNotWaitForABigOne(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	served, goOn := make(chan string, 1), make(chan struct{})
	k := delivery(handler(func(ctx context.Context, lane string, units []store.Unit) []work.Result {
		select {
		case served <- lane:
		case <-ctx.Done():
		}
		select {
		case <-goOn:
		case <-ctx.Done():
		}
		return each(done).Work(ctx, lane, units)
	}))
	k.Batch = limits(10)
	for range 10 {
		r.add("big", 1000)
	}
	r.run(r.engine(work.Options{Workers: 1, Kinds: []work.Kind{k}}))
	for range 3 {
		if lane := receive(t, "the big lane", served); lane != "big" {
			t.Fatalf("served %q", lane)
		}
		goOn <- struct{}{}
	}
	receive(t, "the big lane", served)
	r.add("fresh", 1)
	for _, want := range []string{"fresh", "big", "big"} {
		goOn <- struct{}{}
		if lane := receive(t, "the "+want+" lane", served); lane != want {
			t.Errorf("then served %q, want %q", lane, want)
		}
	}
}

func TestHangingLaneOccupiesOnlyItsPlaces(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	hanging, goOn := make(chan struct{}, 100), make(chan struct{})
	k := delivery(each(func(_ context.Context, u store.Unit) work.Result {
		if u.Lane == "hanging" {
			hanging <- struct{}{}
			<-goOn
		}
		return work.Result{Verdict: work.Done}
	}))
	k.Concurrency = limits(3)
	r.run(r.engine(work.Options{Workers: 8, Kinds: []work.Kind{k}}))
	r.add("hanging", 50)
	for range 3 {
		receive(t, "the hanging lane", hanging)
	}
	for i := range 40 {
		r.add(fmt.Sprint("lane ", i), 5)
	}
	r.allFinal(200) // five workers serve them
	if n := len(hanging); n != 0 {
		t.Errorf("%d more workers in the hanging lane", n)
	}
	close(goOn)
	r.allFinal(250)
}

// One kind whose handlers all hang leaves workers to the others.
func TestHangingKindLeavesWorkersToOthers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	hanging, goOn := make(chan struct{}, 100), make(chan struct{})
	hang := delivery(each(func(context.Context, store.Unit) work.Result {
		hanging <- struct{}{}
		<-goOn
		return work.Result{Verdict: work.Done}
	}))
	e := r.engine(work.Options{Workers: 8, Kinds: []work.Kind{
		hang, {Kind: store.KindPublication, Name: "publication", Handler: each(done)},
	}})
	r.run(e)
	for i := range 30 {
		r.add(fmt.Sprint("lane ", i), 2)
	}
	for range 6 {
		receive(t, "all workers to hang that may", hanging)
	}
	units := r.units("event destination", 20, r.clock.Now())
	for i := range units {
		units[i].Kind = store.KindPublication
	}
	r.addUnits(units)
	r.allFinal(20)
	if n := e.Snapshot()[0].Active; n != 6 {
		t.Errorf("%d workers hang, want all but the two set aside", n)
	}
	close(goOn)
	r.allFinal(80)
}

// A lane with plenty of work is served by as many workers as it may have, also
// when they come while others are busy.
func TestLaneGetsItsConcurrency(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	inside, goOn := make(chan struct{}, 100), make(chan struct{})
	var now, most atomic.Int32
	k := delivery(handler(func(ctx context.Context, lane string, units []store.Unit) []work.Result {
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		inside <- struct{}{}
		<-goOn
		now.Add(-1)
		return each(done).Work(ctx, lane, units)
	}))
	k.Concurrency, k.Batch = limits(5), limits(2)
	r.start(k)
	r.add("lane", 2) // one worker
	receive(t, "the first worker", inside)
	r.add("lane", 3) // two more
	receive(t, "the second worker", inside)
	receive(t, "the third worker", inside)
	r.add("lane", 100)
	receive(t, "the fourth worker", inside)
	receive(t, "the fifth worker", inside)
	close(goOn)
	r.allFinal(105)
	if most.Load() != 5 {
		t.Errorf("%d workers at once, want 5", most.Load())
	}
}

// Units come at random while lanes run dry all the time: none is forgotten and
// none is worked on twice.
func TestNoWakeUpIsLost(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const writers, each, lanes = 8, 250, 7
	var mu sync.Mutex
	seen := make(map[sestina.ID]int)
	k := delivery(handler(func(_ context.Context, _ string, units []store.Unit) []work.Result {
		var out []work.Result
		for _, u := range units {
			mu.Lock()
			seen[u.ID]++
			first := seen[u.ID] == 1
			mu.Unlock()
			res := work.Result{Unit: u, Verdict: work.Done}
			if first && rand.IntN(3) == 0 {
				res.Verdict = work.Continue
			}
			out = append(out, res)
		}
		return out
	}))
	k.Concurrency, k.Batch = limits(2), limits(3)
	e := r.start(k)
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				lane := fmt.Sprint("lane ", rand.IntN(lanes))
				due := r.clock.Now().Add(time.Duration(rand.IntN(4)) * time.Millisecond)
				u := r.units(lane, 1, due)
				if err := r.store.Do(context.Background(), &store.Write{Effects: store.Effects{Units: u}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	r.allFinal(writers * each)
	mu.Lock()
	defer mu.Unlock()
	if len(seen) != writers*each {
		t.Errorf("%d units seen, want %d", len(seen), writers*each)
	}
	for _, f := range r.store.finished() {
		if f.State == store.Done && f.Attempts != 1 {
			t.Errorf("a unit took %d attempts", f.Attempts)
		}
	}
	if s := e.Snapshot()[0]; s.Results[work.Done] > writers*each || s.Fenced != 0 {
		t.Errorf("statistics %+v", s)
	}
}

// Lanes without work leave memory.
func TestIdleLanesLeaveMemory(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	e := r.start(delivery(each(done)))
	for i := range 300 {
		r.add(fmt.Sprint("lane ", i), 1)
	}
	r.allFinal(300)
	// The last commits are stored; the workers still have to leave.
	left := func() bool { s := e.Snapshot()[0]; return s.Lanes == 0 && s.Active == 0 }
	for i := 0; !left(); i++ {
		if i == 1000 {
			t.Fatalf("statistics %+v", e.Snapshot()[0])
		}
		r.add("another", 1) // each gives the workers time
		r.allFinal(300 + i + 1)
	}
}

func TestMovedClockWakesTheEngine(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	seen := make(chan store.Unit, 10)
	r.start(delivery(each(func(_ context.Context, u store.Unit) work.Result {
		seen <- u
		return work.Result{Verdict: work.Done}
	})))
	now := r.clock.Now()
	r.addUnits(r.units("in a week", 1, now.Add(7*24*time.Hour)))
	r.addUnits(r.units("tomorrow", 1, now.Add(24*time.Hour)))
	r.addUnits(r.units("now", 1, now))
	for _, want := range []string{"now", "tomorrow", "in a week"} {
		if u := receive(t, want, seen); u.Lane != want {
			t.Fatalf("served %q, want %q", u.Lane, want)
		}
		if len(seen) != 0 {
			t.Fatal("served too early")
		}
		r.allFinal(1)
		if want == "now" {
			r.clock.Advance(25 * time.Hour)
		} else {
			r.clock.Advance(7 * 24 * time.Hour)
		}
	}
}

func TestUnitsDueSoonNeedNoWakeUp(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start(delivery(each(done)))
	now := r.clock.Now()
	for i := range 20 {
		r.addUnits(r.units(fmt.Sprint("lane ", i%3), 1, now.Add(time.Duration(40-2*i)*time.Millisecond)))
	}
	r.allFinal(20)
	for _, f := range r.store.finished() {
		if f.At.Before(f.Unit.Due) {
			t.Errorf("finished %v before it was due", f.Unit.Due.Sub(f.At))
		}
	}
}

func TestCommitsBeforeRunAreRemembered(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	e := r.engine(work.Options{Kinds: []work.Kind{delivery(each(done))}})
	r.add("subscribed", 3)
	r.run(e)
	r.allFinal(3)
}

// Another node's work is found by a poll.
func TestPollFindsWhatNobodyTold(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	e := work.New(work.Options{
		Store: r.store, Clock: r.clock, Poll: 30 * time.Second,
		Kinds: []work.Kind{delivery(each(done))},
	}) // not subscribed
	r.run(e)
	r.add("lane", 4)
	for range 100 { // whenever the poll begins to wait
		r.clock.Advance(time.Minute)
	}
	r.allFinal(4)
}

func TestRestartTakesOver(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	inside := make(chan struct{}, 100)
	e := r.engine(work.Options{Kinds: []work.Kind{delivery(each(func(ctx context.Context, _ store.Unit) work.Result {
		inside <- struct{}{}
		<-ctx.Done()
		return work.Result{Verdict: work.Busy}
	}))}})
	stop := r.run(e)
	for i := range 5 {
		r.add(fmt.Sprint("lane ", i), 20)
	}
	for range 20 {
		receive(t, "the first engine's workers", inside)
	}
	stop()
	r.close()
	r.open()
	r.start(delivery(each(done)))
	r.allFinal(100)
}

func TestShutdown(t *testing.T) {
	t.Parallel()

	t.Run("ReleasesWhatIsLeft", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		inside := make(chan struct{}, 100)
		k := delivery(handler(func(ctx context.Context, _ string, units []store.Unit) []work.Result {
			inside <- struct{}{}
			<-ctx.Done()
			return []work.Result{{Unit: units[0], Verdict: work.Done}} // the others were not tried
		}))
		k.Batch = limits(5)
		stop := r.run(r.engine(work.Options{Kinds: []work.Kind{k}}))
		r.add("lane", 30)
		for range 4 {
			receive(t, "the workers", inside)
		}
		stop()
		if n := len(r.store.finished()); n != 4 {
			t.Errorf("%d results stored, want the 4 that were returned", n)
		}
		units, err := r.store.Claim(t.Context(), store.KindDelivery, "lane", r.clock.Now(), 100)
		if err != nil || len(units) != 26 {
			t.Errorf("%d units are free, %v; want 26", len(units), err)
		}
	})

	t.Run("LetsWorkersFinish", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		inside, goOn := make(chan struct{}, 1), make(chan struct{})
		e := r.engine(work.Options{Grace: patience, Kinds: []work.Kind{delivery(each(func(ctx context.Context, _ store.Unit) work.Result {
			inside <- struct{}{}
			<-goOn
			if ctx.Err() != nil {
				t.Error("the context ended within the grace period")
			}
			return work.Result{Verdict: work.Done}
		}))}})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- e.Run(ctx) }()
		r.add("lane", 1)
		receive(t, "the worker", inside)
		cancel()
		r.add("late", 1) // is not begun
		close(goOn)
		if err := receive(t, "the end", ended); err != nil {
			t.Error(err)
		}
		if got := r.store.finished(); len(got) != 1 || got[0].Unit.Lane != "lane" {
			t.Errorf("%d results", len(got))
		}
	})

	t.Run("GivesUpCommitting", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		refused := make(chan struct{}, 1000)
		r.store.refusing(func(c store.Command) error {
			if _, ok := c.(*store.Finish); ok {
				refused <- struct{}{}
				return store.ErrUnavailable
			}
			return nil
		})
		e := r.engine(work.Options{Kinds: []work.Kind{delivery(each(done))}})
		stop := r.run(e)
		r.add("lane", 1)
		receive(t, "the refusal", refused)
		stop()
		if e.Snapshot()[0].Lost != 1 {
			t.Errorf("statistics %+v", e.Snapshot()[0])
		}
	})

	t.Run("RunsOnce", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		e := r.engine(work.Options{})
		r.run(e)()
		if err := e.Run(t.Context()); err == nil {
			t.Error("it ran again")
		}
	})
}

// A flaky store is one whose reads fail for a while.
type flaky struct {
	*tapped
	failures atomic.Int32
}

func (s *flaky) fail() error {
	if s.failures.Add(-1) >= 0 {
		return fmt.Errorf("read: %w", store.ErrUnavailable)
	}
	return nil
}

func (s *flaky) Claim(ctx context.Context, k store.Kind, lane string, now time.Time, n int) ([]store.Unit, error) {
	if err := s.fail(); err != nil {
		return nil, err
	}
	return s.tapped.Claim(ctx, k, lane, now, n)
}

func (s *flaky) NextDue(ctx context.Context, k store.Kind, lane string) (time.Time, error) {
	if err := s.fail(); err != nil {
		return time.Time{}, err
	}
	return s.tapped.NextDue(ctx, k, lane)
}

func (s *flaky) Lane(ctx context.Context, k store.Kind, lane string) (store.LaneState, error) {
	if err := s.fail(); err != nil {
		return store.LaneState{}, err
	}
	return s.tapped.Lane(ctx, k, lane)
}

func (s *flaky) LanesWithWork(ctx context.Context, k store.Kind, yield func(string, time.Time, store.LaneState) bool) error {
	if err := s.fail(); err != nil {
		return err
	}
	return s.tapped.LanesWithWork(ctx, k, yield)
}

func TestFailingReadsAreRepeated(t *testing.T) {
	t.Parallel()
	for failures := range 5 {
		t.Run(fmt.Sprint(failures), func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			s := &flaky{tapped: r.store}
			s.failures.Store(int32(failures))
			r.add("before", 5)
			e := work.New(work.Options{Store: s, Clock: r.clock, Logger: slog.New(slog.DiscardHandler), Kinds: []work.Kind{delivery(each(done))}})
			r.store.Subscribe(e)
			r.run(e)
			r.add("after", 5)
			r.allFinal(10)
		})
	}
}

// A blind store says that work is due which its claims do not find, as when
// another node holds it.
type blind struct {
	*tapped
	claims atomic.Int32
}

func (s *blind) Claim(ctx context.Context, k store.Kind, lane string, now time.Time, n int) ([]store.Unit, error) {
	if s.claims.Add(1) <= 5 {
		return nil, nil
	}
	return s.tapped.Claim(ctx, k, lane, now, n)
}

func TestWorkThatOthersHoldIsAwaited(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := &blind{tapped: r.store}
	e := work.New(work.Options{Store: s, Clock: r.clock, Kinds: []work.Kind{delivery(each(done))}})
	r.run(e)
	r.add("lane", 1)
	e.Wake(store.KindDelivery, "lane")
	r.allFinal(1)
	if n := s.claims.Load(); n < 6 || n > 8 {
		t.Errorf("%d claims, want the 5 that fail and one more", n)
	}
}

// A slow store hands out claims only after the engine was told to stop.
type slow struct {
	*tapped
	claimed chan int
}

func (s slow) Claim(ctx context.Context, k store.Kind, lane string, now time.Time, n int) ([]store.Unit, error) {
	units, err := s.tapped.Claim(ctx, k, lane, now, n)
	s.claimed <- len(units)
	<-ctx.Done()
	return units, err
}

func TestClaimsThatComeTooLateAreReleased(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.add("lane", 3)
	s := slow{r.store, make(chan int, 10)}
	e := work.New(work.Options{
		Store: s, Clock: r.clock, Grace: time.Millisecond,
		Kinds: []work.Kind{delivery(each(func(context.Context, store.Unit) work.Result {
			t.Error("work was begun after the end")
			return work.Result{}
		}))},
	})
	stop := r.run(e)
	if n := receive(t, "the claim", s.claimed); n != 3 {
		t.Fatalf("claimed %d units", n)
	}
	stop()
	units, err := r.store.Claim(t.Context(), store.KindDelivery, "lane", r.clock.Now(), 10)
	if err != nil || len(units) != 3 {
		t.Errorf("%d units are free, %v; want 3", len(units), err)
	}
}

func TestNewRefusesMistakes(t *testing.T) {
	t.Parallel()
	for name, kinds := range map[string][]work.Kind{
		"NoHandler": {{Kind: store.KindDelivery}},
		"Twice":     {delivery(each(done)), delivery(each(done))},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: accepted", name)
				}
			}()
			work.New(work.Options{Kinds: kinds})
		}()
	}
}

func TestStateOfUnknownLane(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	e := r.start(delivery(each(done)))
	if st, err := e.State(t.Context(), store.KindDelivery, "nobody"); err != nil || st != (store.LaneState{}) {
		t.Errorf("%+v, %v", st, err)
	}
	e.Wake(store.KindNotification, "nobody") // not the engine's kind: nothing happens
	e.Wake(store.KindDelivery, "nobody")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.State(ctx, store.KindPublication, "x"); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestSnapshot(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	k := delivery(each(func(_ context.Context, u store.Unit) work.Result {
		if string(u.Payload) == "lane/0" {
			return work.Result{Verdict: work.Dead}
		}
		return work.Result{Verdict: work.Done}
	}))
	k.Concurrency = limits(1)
	e := r.start(k)
	r.addUnits(r.units("lane", 5, r.clock.Now().Add(-30*time.Second)))
	r.addUnits(r.units("later", 1, r.clock.Now().Add(time.Hour)))
	r.until("the results", func() bool {
		s := e.Snapshot()[0]
		return s.Results[work.Done] == 4 && s.Results[work.Dead] == 1 || len(r.store.finished()) == 5
	})
	r.add("last", 1)
	r.until("the last", func() bool { return len(r.store.finished()) == 6 })
	s := e.Snapshot()[0]
	if s.Name != "delivery" || s.Kind != store.KindDelivery || s.Waiting != 1 || s.Lag.Count != 6 || s.Claim.Count < 2 {
		t.Errorf("statistics %+v", s)
	}
	if s.Lag.Buckets[10] > 1 || s.Lag.Buckets[60] < 5 || s.Lag.Sum < 150 {
		t.Errorf("lag %+v", s.Lag)
	}
}
