package work

import (
	"container/heap"
	"context"
	"errors"
	"time"

	"github.com/sestina-mail/sestina/internal/store"
)

// longestSleep bounds the scheduler's sleep when nothing is known to be due.
const longestSleep = time.Hour

// schedule moves lanes whose time has come to the ready list, until ctx ends.
// It sleeps until the next lane's time, and is woken by commits, by lanes that
// get an earlier time, and by a moved clock.
func (e *Engine) schedule(ctx context.Context) {
	for ctx.Err() == nil {
		e.mu.Lock()
		now := e.clock.Now()
		e.asleep = time.Time{} // no signals to ourselves
		e.takeIn(now)
		next := now.Add(longestSleep)
		for _, k := range e.kinds {
			for len(k.waiting) > 0 && !k.waiting[0].at.After(now) {
				e.place(heap.Pop(&k.waiting).(*lane), now)
			}
			if len(k.waiting) > 0 && k.waiting[0].at.Before(next) {
				next = k.waiting[0].at
			}
		}
		e.dispatch(now)
		e.asleep = next
		e.mu.Unlock()
		e.clock.SleepUntil(ctx, next, e.wake)
	}
}

// scan finds the lanes with work: once at the start, then by every poll.
func (e *Engine) scan(ctx context.Context) {
	failures := 0
	for {
		wait := e.poll
		if err := e.scanOnce(ctx); err == nil {
			failures = 0
		} else if ctx.Err() == nil {
			failures++
			wait = storeBackoff(failures)
			e.log.Warn("cannot look for lanes with work", "error", err, "again in", wait)
		}
		if wait <= 0 || !e.clock.SleepUntil(ctx, e.clock.Now().Add(wait), nil) {
			return
		}
	}
}

func (e *Engine) scanOnce(ctx context.Context) error {
	for _, k := range e.kinds {
		if err := e.scanKind(ctx, k); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) scanKind(ctx context.Context, k *kind) error {
	defer e.signal()
	e.mu.Lock()
	since := e.changes
	e.mu.Unlock()
	found := 0
	return e.store.LanesWithWork(ctx, k.Kind.Kind, func(name string, due time.Time, st store.LaneState) bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		now := e.clock.Now()
		l := k.lane(name)
		e.adopt(l, st, since)
		l.expect(due)
		e.place(l, now)
		if found++; found%256 == 0 {
			e.dispatch(now) // a start with very many lanes serves the first at once
		}
		return e.running
	})
}

// adopt takes a lane's state as the store has it, unless this node changed it
// since the store was read.
func (e *Engine) adopt(l *lane, st store.LaneState, since uint64) {
	if l.loaded && (l.change > since || l.change != l.saved || l.probing || sameState(l.state, st)) {
		return
	}
	l.state, l.loaded = st, true
	l.epoch++
}

// load reads a lane's state unless it is known.
func (e *Engine) load(ctx context.Context, l *lane) error {
	e.mu.Lock()
	known, since := l.loaded, e.changes
	e.mu.Unlock()
	if known {
		return nil
	}
	st, err := e.store.Lane(ctx, l.kind.Kind.Kind, l.name)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !l.loaded {
		e.adopt(l, st, since)
	}
	return nil
}
