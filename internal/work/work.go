package work

import (
	"context"
	"time"

	"github.com/sestina-mail/sestina/internal/store"
)

// A Kind is one kind of work and who does it.
type Kind struct {
	Kind store.Kind
	Name string // for logs and metrics: "delivery", "publication", "notification"
	// Handler does the work.
	Handler Handler
	// Batch is how many units of a lane a worker is handed at once, at least 1.
	// Nil means 1. Batch and Concurrency are asked before every claim: they must
	// return at once.
	Batch func(lane string) int
	// Concurrency is how many workers may be in one lane at a time, at least 1.
	// Nil means 4. A worker is in the lane until its results are committed, so
	// with one worker and batches of one the units of a lane are committed in
	// order of due time, then id. Limits shared by lanes (hosts, addresses) are
	// the handler's, see Limiter.
	Concurrency func(lane string) int
	// Backoff gives the wait before attempt n+1 of a unit whose result names no
	// time, and before the next probe of a lane that failed n times in a row.
	// Nil means Exponential(time.Second, 10*time.Minute).
	Backoff func(n int) time.Duration
}

// A Handler does the work of one kind. Work is called concurrently for
// different batches; all units of a batch are of one lane. It returns one
// result per unit, in any order; a unit without a result is treated as Busy. It
// should return soon after ctx ends, which is when the engine stops and its
// grace period is over. A panic is logged and treated as Retry.
type Handler interface {
	Work(ctx context.Context, lane string, units []store.Unit) []Result
}

// A Verdict is how an attempt ended.
type Verdict uint8

// The verdicts.
const (
	// Retry: not done; try again at Result.Due, or after the kind's backoff
	// when Due is zero.
	Retry Verdict = iota
	// Done: the unit did what it was for.
	Done
	// Dead: given up; the unit becomes a dead letter.
	Dead
	// Continue: part of the work is done (its effects are committed now); go on
	// at once with the new payload. Burns no attempt and shows no attempt, and
	// says nothing about the lane's health.
	Continue
	// Hold: the unit could not be tried because its lane is held (disabled
	// destination, paused). Burns no attempt; the unit stays due. The lane is
	// held until Result.Due, or for the kind's backoff when Due is zero; the hold
	// is stored and outlives a restart.
	Hold
	// Busy: the unit could not be tried now because of a limit that other lanes
	// share (see Limiter). Burns no attempt and writes nothing; no more is
	// claimed from the lane until Result.Due, or for a second when Due is zero.
	Busy
)

// A Result is the outcome of one attempt at one unit. Result and effects are
// committed in one command, and only while the unit still carries the token it
// was claimed with.
type Result struct {
	Unit    store.Unit
	Verdict Verdict
	Due     time.Time // for Retry, Hold and Busy
	Answer  string    // what the other side said, for the timeline
	Took    time.Duration
	Payload []byte // replaces the unit's payload when not nil
	Lane    string // moves the unit, when it goes on waiting; "" keeps it
	// Untried says that the unit ended without an attempt (too old, its target is
	// gone), so it tells nothing about the lane: an open breaker stays open.
	Untried bool
	// LaneFault says that the lane as a whole failed (endpoint unreachable), not
	// this unit: the lane's breaker opens. The other units of the lane wait
	// unburned, and one unit at a time probes until one succeeds.
	LaneFault bool
	Effects   store.Effects
}
