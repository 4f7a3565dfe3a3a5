package work

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/sestina-mail/sestina/internal/store"
)

// commit stores a batch's results. Every result is a command of its own, so
// that one the store refuses is refused alone; all are under way at once, so
// that they share the store's group commit.
func (e *Engine) commit(l *lane, results []Result) {
	now := e.clock.Now()
	var back []store.Unit
	var wg sync.WaitGroup
	for i, r := range results {
		switch {
		case r.Verdict == Hold || r.Verdict == Busy:
			back = append(back, r.Unit)
		case i == len(results)-1:
			e.finish(l, r, now)
		default:
			wg.Go(func() { e.finish(l, r, now) })
		}
	}
	if len(back) > 0 {
		e.release(l, back)
	}
	wg.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range results {
		l.kind.results[r.Verdict]++
	}
}

// command says how a result is stored.
func (k *kind) command(r Result, now time.Time) *store.Finish {
	f := &store.Finish{
		Unit: r.Unit, Attempts: r.Unit.Attempts + 1, Payload: r.Payload, Lane: r.Lane,
		At: now, Took: r.Took, Answer: cutAnswer(r.Answer), Effects: r.Effects,
	}
	switch r.Verdict {
	case Done:
		f.State = store.Done
	case Dead:
		f.State = store.Dead
	case Continue:
		f.State, f.Due, f.Silent, f.Attempts = store.Waiting, now, true, r.Unit.Attempts
	default:
		f.State, f.Due = store.Waiting, r.Due
		if f.Due.IsZero() {
			f.Due = now.Add(k.Backoff(f.Attempts))
		}
	}
	return f
}

// finish commits one result. The work is done, so it is tried as long as the
// process lives: repeating the commit is better than repeating the send.
func (e *Engine) finish(l *lane, r Result, now time.Time) {
	err := e.do(l.kind.command(r, now))
	switch {
	case err == nil:
		return
	case errors.Is(err, store.ErrFenced):
		e.log.Debug("result dropped: the lease was lost", "kind", l.kind.Name, "lane", l.name, "unit", r.Unit.ID)
		e.count(&l.kind.fenced)
		return
	case errors.Is(err, store.ErrUnavailable):
		e.log.Error("result lost: the store is unavailable until the end; the unit will be repeated",
			"kind", l.kind.Name, "lane", l.name, "unit", r.Unit.ID, "error", err)
		e.count(&l.kind.lost)
		return
	}
	// The store cannot take this result, ever. The unit must not hang in its
	// lease: it is tried again later, without the effects.
	e.log.Error("the store refused a result", "kind", l.kind.Name, "lane", l.name, "unit", r.Unit.ID, "error", err)
	e.count(&l.kind.lost)
	again := l.kind.command(Result{Unit: r.Unit, Verdict: Retry, Answer: internalError, Took: r.Took}, now)
	if err := e.do(again); err != nil && !errors.Is(err, store.ErrFenced) {
		e.log.Error("the unit cannot be rescheduled either", "unit", r.Unit.ID, "error", err)
		e.release(l, []store.Unit{r.Unit})
	}
}

// release gives units back that were not tried, and looks at the lane again as
// soon as it may be served.
func (e *Engine) release(l *lane, units []store.Unit) {
	if err := e.do(&store.Release{Units: units}); err != nil {
		e.log.Error("units cannot be released; they are free when their lease ends",
			"kind", l.kind.Name, "lane", l.name, "units", len(units), "error", err)
	}
	e.update(l, func(now time.Time) {
		l.expect(now)
		l.kind.released += uint64(len(units))
	})
}

// do carries a command out, again and again while the store is unavailable and
// the engine's grace period is not over.
func (e *Engine) do(c store.Command) error {
	ctx := context.WithoutCancel(e.ctx)
	for n := 1; ; n++ {
		e.commits <- struct{}{}
		err := e.store.Do(ctx, c)
		<-e.commits
		e.noteOutage(err)
		if !errors.Is(err, store.ErrUnavailable) {
			return err
		}
		if !e.clock.SleepUntil(e.ctx, e.clock.Now().Add(storeBackoff(n)), nil) {
			return err
		}
	}
}

// noteOutage logs the beginning and the end of an outage of the store, once
// each, however many commands wait for its end.
func (e *Engine) noteOutage(err error) {
	switch {
	case errors.Is(err, store.ErrUnavailable):
		if e.outage.CompareAndSwap(false, true) {
			e.log.Warn("the store is unavailable; results are kept until it is back", "error", err)
		}
	case err == nil && e.outage.CompareAndSwap(true, false):
		e.log.Info("the store is back")
	}
}

// cutAnswer makes an answer storable as text: valid UTF-8 without zero bytes,
// at most store.MaxAnswer bytes.
func cutAnswer(s string) string {
	if len(s) > 2*store.MaxAnswer {
		s = s[:2*store.MaxAnswer]
	}
	s = strings.ReplaceAll(strings.ToValidUTF8(s, string(utf8.RuneError)), "\x00", " ")
	if len(s) <= store.MaxAnswer {
		return s
	}
	cut := store.MaxAnswer
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut]
}
