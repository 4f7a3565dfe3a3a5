package work

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/sestina-mail/sestina/internal/clock"
	"github.com/sestina-mail/sestina/internal/store"
)

// internalError is the answer that the timeline shows for a handler's panic or
// for a result that the store refused.
const internalError = "internal error"

// A turn is one visit to a lane: a claim and the batches made of it.
type turn struct {
	lane  *lane
	slots int // worker slots taken for it
	size  int // units per batch
	epoch int
	wakes int
	probe bool
	now   time.Time
}

// serve visits a lane with one worker slot taken: it learns the lane's state if
// need be, takes further slots as far as the lane and the others allow, claims
// for all of them at once, lets the lane queue up again, and works on what was
// claimed, one goroutine per batch.
func (e *Engine) serve(l *lane) {
	if err := e.load(e.ctx, l); err != nil {
		e.setBack(turn{lane: l, slots: 1}, err)
		return
	}
	t, ok := e.begin(l)
	if !ok {
		return
	}
	took := clock.Stopwatch()
	units, err := e.store.Claim(e.ctx, l.kind.Kind.Kind, l.name, t.now, t.slots*t.size)
	if err != nil {
		e.setBack(t, err)
		return
	}
	claimed := took()
	next := t.now // there may be more
	more := len(units) == t.slots*t.size
	if !more {
		next, err = e.store.NextDue(e.ctx, l.kind.Kind.Kind, l.name)
		more = err == nil
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			e.log.Warn("cannot read when a lane is due", "kind", l.kind.Name, "lane", l.name, "error", err)
			more, next = true, t.now.Add(storeBackoff(1))
		}
	}

	batches := slices.Collect(slices.Chunk(units, t.size))
	working := true
	e.update(l, func(now time.Time) {
		l.setbacks = 0
		if more {
			l.expect(next)
		}
		l.kind.claimed(units, claimed, now)
		l.found(len(units), more && !next.After(now), now)
		if working = e.running; !working {
			return // the units go back first
		}
		e.occupy(l, len(batches)-t.slots)
		if t.probe && len(batches) == 0 {
			l.probing = false
		}
	})
	if !working {
		e.release(l, units)
		e.end(t, t.slots)
		return
	}
	for i, batch := range batches {
		if i < len(batches)-1 {
			e.wg.Go(func() { e.work(t, batch) })
			continue
		}
		e.work(t, batch)
	}
}

// begin decides what a visit may take. It reports false, the slot given back,
// when the lane may not be served now after all.
func (e *Engine) begin(l *lane) (turn, bool) {
	limit, size := max(l.kind.Concurrency(l.name), 1), max(l.kind.Batch(l.name), 1)
	t := turn{lane: l, slots: 1, size: size}
	ok := false
	e.update(l, func(now time.Time) {
		l.limit = limit
		t.now, t.epoch, t.wakes = now, l.epoch, l.wakes
		if l.woken {
			l.woken = false
			if st := l.state; st.HoldUntil.After(now) {
				if st.HoldUntil = (time.Time{}); !l.failing() {
					st.LastError = ""
				}
				e.setState(l, st)
			}
		}
		if !e.running || l.state.Paused || l.state.HoldUntil.After(now) || l.failing() && l.probing {
			l.expect(now)
			e.occupy(l, -1)
			return
		}
		ok = true
		if l.failing() {
			t.probe, t.size = true, 1
			l.probing = true
			return
		}
		// As many workers as the lane has places, but not those that other ready
		// lanes need.
		if extra := min(l.limit-l.active, e.spare(l.kind)-l.kind.queuedLanes()); extra > 0 {
			t.slots += extra
			e.occupy(l, extra)
		}
	})
	return t, ok
}

// setBack ends a visit that could not read the store: the lane rests, longer
// every time.
func (e *Engine) setBack(t turn, err error) {
	l := t.lane
	e.update(l, func(now time.Time) {
		l.setbacks++
		l.kind.storeErrors++
		wait := storeBackoff(l.setbacks)
		e.noteOutage(err)
		if e.running && !errors.Is(err, store.ErrUnavailable) {
			e.log.Warn("cannot claim work", "kind", l.kind.Name, "lane", l.name, "error", err, "again in", wait)
		}
		l.expect(now)
		l.restUntil(now.Add(wait))
		e.occupy(l, -t.slots)
		if t.probe {
			l.probing = false
		}
	})
}

// found counts visits that found nothing although a unit is said to be due. One
// is normal: the unit was committed after the claim. More than that means that
// somebody else holds the unit, and the lane rests a little.
func (l *lane) found(n int, due bool, now time.Time) {
	if n > 0 || !due {
		l.empties = 0
		return
	}
	if l.empties++; l.empties > 1 {
		l.restUntil(now.Add(min(5*time.Millisecond<<min(l.empties, 8), time.Second)))
	}
}

// end gives worker slots back at the end of a visit or batch.
func (e *Engine) end(t turn, slots int) {
	e.update(t.lane, func(time.Time) {
		e.occupy(t.lane, -slots)
		if t.probe {
			t.lane.probing = false
		}
	})
}

// work hands a batch to the handler and commits what it returns. The worker
// slot is kept until the commit, so that a lane with a concurrency of one has
// its units committed in order.
func (e *Engine) work(t turn, units []store.Unit) {
	l := t.lane
	took := clock.Stopwatch()
	results := e.match(l, units, e.call(l, units))
	elapsed := took()
	e.settle(t, results)
	e.commit(l, results)
	e.mu.Lock()
	l.kind.work.observe(elapsed)
	e.mu.Unlock()
	e.end(t, 1)
}

// call runs the handler; a panic makes every unit of the batch a Retry.
func (e *Engine) call(l *lane, units []store.Unit) (results []Result) {
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		e.log.Error("a handler panicked", "kind", l.kind.Name, "lane", l.name,
			"panic", fmt.Sprint(r), "stack", string(debug.Stack()))
		e.mu.Lock()
		l.kind.panics++
		e.mu.Unlock()
		results = results[:0]
		for _, u := range units {
			results = append(results, Result{Unit: u, Verdict: Retry, Answer: internalError})
		}
	}()
	return l.kind.Handler.Work(e.ctx, l.name, slices.Clone(units))
}

// match gives every claimed unit its one result, in the order of units, and
// takes the unit itself as it was claimed.
func (e *Engine) match(l *lane, units []store.Unit, results []Result) []Result {
	out := make([]Result, len(units))
	index := make(map[[16]byte]int, len(units))
	for i, u := range units {
		out[i] = Result{Unit: u, Verdict: Busy}
		index[u.ID] = i
	}
	for _, r := range results {
		i, ok := index[r.Unit.ID]
		if !ok {
			e.log.Error("a handler returned a unit that it was not given, or one twice",
				"kind", l.kind.Name, "lane", l.name, "unit", r.Unit.ID)
			continue
		}
		delete(index, r.Unit.ID)
		r.Unit = out[i].Unit
		out[i] = r
	}
	return out
}
