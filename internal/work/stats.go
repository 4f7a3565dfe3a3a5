package work

import (
	"maps"
	"time"

	"github.com/sestina-mail/sestina/internal/store"
)

// String returns the verdict's name, as metrics and logs show it.
func (v Verdict) String() string {
	names := [...]string{"retry", "done", "dead", "continue", "hold", "busy"}
	if int(v) < len(names) {
		return names[v]
	}
	return "unknown"
}

// Stats is what a kind of work did since the start, and does now.
type Stats struct {
	Kind store.Kind
	Name string

	Active  int // worker slots in use
	Lanes   int // lanes in memory
	Ready   int // lanes with due work that wait for a worker slot
	Waiting int // lanes that wait for a due time, a hold or a rest
	Failing int // lanes whose breaker is open
	Paused  int // lanes an operator paused, as far as they have work

	Results  map[Verdict]uint64 // what handlers returned
	Released uint64             // units given back untried (hold, busy, shutdown)
	Fenced   uint64             // results dropped because the lease was lost
	// Lost counts results that could not be stored: refused, or the store was
	// unavailable until the end of the process. Their units are repeated.
	Lost        uint64
	Panics      uint64
	StoreErrors uint64 // failed claims

	Claim Histogram // how long claims took
	Work  Histogram // how long handlers took, per batch
	Lag   Histogram // how late units were handed out, after their due time
}

// A Histogram counts durations in seconds. Buckets hold, for each upper bound,
// how many were at most that long; Count and Sum are over all.
type Histogram struct {
	Count   uint64
	Sum     float64
	Buckets map[float64]uint64
}

// Snapshot returns the statistics of every kind, in the order of Options.Kinds.
func (e *Engine) Snapshot() []Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]Stats, 0, len(e.kinds))
	for _, k := range e.kinds {
		s := Stats{
			Kind: k.Kind.Kind, Name: k.Name,
			Active: k.active, Lanes: len(k.lanes), Ready: k.queuedLanes(), Waiting: len(k.waiting),
			Results: maps.Clone(k.results), Released: k.released, Fenced: k.fenced, Lost: k.lost,
			Panics: k.panics, StoreErrors: k.storeErrors,
			Claim: k.claim.snapshot(), Work: k.work.snapshot(), Lag: k.lag.snapshot(),
		}
		for _, l := range k.lanes {
			if l.failing() {
				s.Failing++
			}
			if l.state.Paused {
				s.Paused++
			}
		}
		out = append(out, s)
	}
	return out
}

// counts are a kind's statistics; the engine's mutex guards them.
type counts struct {
	results                                     map[Verdict]uint64
	released, fenced, lost, panics, storeErrors uint64
	claim, work, lag                            histogram
}

func newCounts() counts { return counts{results: make(map[Verdict]uint64)} }

// claimed notes a claim that took that long and handed out units at now.
func (c *counts) claimed(units []store.Unit, took time.Duration, now time.Time) {
	c.claim.observe(took)
	for _, u := range units {
		if !u.Due.IsZero() {
			c.lag.observe(max(now.Sub(u.Due), 0))
		}
	}
}

// count raises one counter.
func (e *Engine) count(n *uint64) {
	e.mu.Lock()
	*n++
	e.mu.Unlock()
}

// bounds are the histograms' upper bounds in seconds.
var bounds = [...]float64{.001, .005, .01, .05, .1, .5, 1, 5, 10, 60, 300, 3600, 86400}

type histogram struct {
	count   uint64
	sum     float64
	buckets [len(bounds)]uint64
}

func (h *histogram) observe(d time.Duration) {
	s := d.Seconds()
	h.count++
	h.sum += s
	for i, b := range bounds {
		if s <= b {
			h.buckets[i]++
			return
		}
	}
}

func (h *histogram) snapshot() Histogram {
	out := Histogram{Count: h.count, Sum: h.sum, Buckets: make(map[float64]uint64, len(bounds))}
	sum := uint64(0)
	for i, b := range bounds {
		sum += h.buckets[i]
		out.Buckets[b] = sum
	}
	return out
}
