package work

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sestina-mail/sestina/internal/store"
)

// The breaker of a lane opens when a result says that the lane as a whole
// failed. Its state is one stored row, written once per change however many
// units wait:
//
//	healthy  → failing   LaneFault: one failure, hold until now + backoff(1)
//	failing  → failing   the probe's LaneFault: one failure more, a longer hold
//	failing  → healthy   the probe had any other answer: zero state
//	any      → held      Hold: hold until its time, failures as they were
//	held     → healthy   the first answer after the hold
//
// A failing lane hands out one unit at a time. Workers that began before the
// last change (another epoch) do not count: they fail together with the one
// that opened the breaker, or tell of a time before it.

// briefRest is how long a lane rests whose handler was Busy and named no time.
const briefRest = time.Second

// A judgement is what a batch's results say about their lane.
type judgement struct {
	fault  bool
	hold   bool
	proof  bool // some unit was answered without fault
	busy   bool
	until  time.Time // of the hold
	rest   time.Time // of Busy
	answer string    // of the fault or hold
}

func (k *kind) judge(results []Result, now time.Time) judgement {
	var j judgement
	for _, r := range results {
		switch {
		case r.LaneFault:
			if !j.fault {
				j.answer = r.Answer
			}
			j.fault = true
		case r.Verdict == Hold:
			if !r.Due.After(now) {
				r.Due = now.Add(k.Backoff(1))
			}
			if r.Due.After(j.until) {
				j.until = r.Due.UTC().Truncate(time.Millisecond) // as it is stored
			}
			if !j.fault && !j.hold {
				j.answer = r.Answer
			}
			j.hold = true
		case r.Verdict == Busy:
			if !r.Due.After(now) {
				r.Due = now.Add(briefRest)
			}
			if r.Due.After(j.rest) {
				j.rest = r.Due
			}
			j.busy = true
		case r.Verdict != Continue && !r.Untried:
			j.proof = true
		}
	}
	return j
}

// settle applies what a batch said about its lane, before its results are
// committed: no more of a failing lane's units shall be claimed meanwhile.
func (e *Engine) settle(t turn, results []Result) {
	e.mu.Lock()
	defer e.mu.Unlock()
	l, now := t.lane, e.clock.Now()
	j := l.kind.judge(results, now)
	if j.busy {
		l.restUntil(j.rest)
	}
	if t.epoch != l.epoch {
		return
	}
	st := l.state
	switch {
	case j.fault:
		st.Failures++
		if st.FailingSince.IsZero() {
			st.FailingSince = now
		}
		// A little more than the backoff: probes of lanes that failed together
		// are spread even when the backoff is an exact schedule.
		st.HoldUntil = now.Add(jitter(l.kind.Backoff(st.Failures), 1, 1.1)).Truncate(time.Millisecond)
		if j.until.After(st.HoldUntil) {
			st.HoldUntil = j.until
		}
		st.LastError = cutAnswer(j.answer)
		if st.Failures == 1 {
			e.log.Warn("lane fails; probing it", "kind", l.kind.Name, "lane", l.name, "probe", st.HoldUntil)
		}
	case j.hold && t.wakes != l.wakes:
		return
	case j.hold:
		st.HoldUntil = j.until
		st.LastError = cutAnswer(j.answer)
	case j.proof:
		if l.failing() {
			e.log.Info("lane works again", "kind", l.kind.Name, "lane", l.name,
				"failing since", st.FailingSince, "failures", st.Failures)
		}
		st = store.LaneState{Paused: st.Paused}
	default:
		return
	}
	if !sameState(st, l.state) {
		l.epoch++
		e.setState(l, st)
	}
}

// setState changes a lane's state in memory and sees that it is stored.
func (e *Engine) setState(l *lane, st store.LaneState) {
	e.changes++
	l.state, l.change = st, e.changes
	l.refs++
	e.wg.Go(func() {
		e.save(l)
		e.update(l, func(time.Time) { l.refs-- })
	})
}

// save stores a lane's state. Several changes may be stored as one; a store
// that is unavailable is asked again until the engine stops.
func (e *Engine) save(l *lane) {
	done, err := e.lockState(e.ctx, l)
	if err != nil {
		return
	}
	defer done()
	for n := 1; ; n++ {
		e.mu.Lock()
		st, change, saved := l.state, l.change, l.saved
		e.mu.Unlock()
		if change == saved {
			return
		}
		err := e.store.Do(context.WithoutCancel(e.ctx), &store.SetLane{Kind: l.kind.Kind.Kind, Lane: l.name, State: st})
		e.noteOutage(err)
		if err == nil {
			e.mu.Lock()
			l.saved = change
			e.mu.Unlock()
			continue // it may have changed meanwhile
		}
		if !errors.Is(err, store.ErrUnavailable) {
			e.log.Error("cannot store the state of a lane", "kind", l.kind.Name, "lane", l.name, "error", err)
		}
		if !e.clock.SleepUntil(e.ctx, e.clock.Now().Add(storeBackoff(n)), nil) {
			return
		}
	}
}

// lockState waits until nobody else writes the lane's state.
func (e *Engine) lockState(ctx context.Context, l *lane) (done func(), err error) {
	e.mu.Lock()
	if l.saving == nil {
		l.saving = make(chan struct{}, 1)
	}
	e.mu.Unlock()
	select {
	case l.saving <- struct{}{}:
		return func() { <-l.saving }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// setPaused stores the pause and then honours it. The lane is kept in memory
// meanwhile, so that a breaker's change and the pause never overwrite each
// other.
func (e *Engine) setPaused(ctx context.Context, id store.Kind, name string, paused bool) error {
	k := e.byID[id]
	if k == nil {
		return fmt.Errorf("pause lane %q: kind %d: %w", name, id, store.ErrNotFound)
	}
	e.mu.Lock()
	l := k.lane(name)
	l.refs++
	e.mu.Unlock()
	defer e.update(l, func(time.Time) { l.refs-- })

	if err := e.load(ctx, l); err != nil {
		return fmt.Errorf("pause lane %q: %w", name, err)
	}
	done, err := e.lockState(ctx, l)
	if err != nil {
		return fmt.Errorf("pause lane %q: %w", name, err)
	}
	defer done()
	e.mu.Lock()
	st, change := l.state, l.change
	e.mu.Unlock()
	if st.Paused == paused {
		return nil
	}
	st.Paused = paused
	if err := e.store.Do(ctx, &store.SetLane{Kind: id, Lane: name, State: st}); err != nil {
		return fmt.Errorf("pause lane %q: %w", name, err)
	}
	e.update(l, func(now time.Time) {
		e.changes++
		l.state.Paused = paused
		if l.change == change {
			l.saved = e.changes
		}
		l.change = e.changes
		if !paused {
			l.expect(now)
		}
	})
	return nil
}

// sameState compares the instants, not their representation.
func sameState(a, b store.LaneState) bool {
	return a.HoldUntil.Equal(b.HoldUntil) && a.FailingSince.Equal(b.FailingSince) &&
		a.Failures == b.Failures && a.Paused == b.Paused && a.LastError == b.LastError
}
