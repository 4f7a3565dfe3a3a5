package publish

import (
	"context"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// A Destination publishes events to one kind of event destination. Every kind
// passes publishtest, which reads back what arrived. Both methods may be called
// concurrently.
type Destination interface {
	// Check says whether d can be published to as it is now: ARN form, target
	// exists. Its errors are *sestina.Error with AWS's texts. The effects it
	// returns (the test message that SES publishes to a new topic) are
	// committed together with the creation or change of d.
	Check(ctx context.Context, s sestina.Scope, d sestina.EventDestination) (store.Effects, error)
	// Publish publishes a batch of events of one destination: at least once per
	// item over all attempts, with ids that depend only on the unit's id. It
	// returns one outcome per item, in order, and should return soon after ctx
	// ends.
	Publish(ctx context.Context, d sestina.EventDestination, items []Item) []Outcome
}

// An Item is one event on its way to one destination.
type Item struct {
	Unit    store.Unit
	Event   store.Event
	Message store.Message
	Record  []byte // the event record, one line of JSON without a newline
	// Progress is the Payload of the last outcome that said More, or nil.
	Progress []byte
}

// A Fault says why an item could not be published, and so what happens next.
type Fault uint8

// The faults.
const (
	// NoFault: published; the effects are committed with the unit's end.
	NoFault Fault = iota
	// More: part of it is done (a chunk of a large fan-out); Payload says how
	// to go on, the effects so far are committed.
	More
	// Misconfigured: it could not start (topic or role missing). Kept trying,
	// visible as a failed attempt.
	Misconfigured
	// Refused: the destination refused this event for good.
	Refused
	// Unreachable: the destination as a whole did not answer; others of its
	// lane wait.
	Unreachable
	// Gone: the target was deleted; a dead letter at once.
	Gone
)

// An Outcome is what became of one item.
type Outcome struct {
	Fault   Fault
	Answer  string // what the destination said, for the timeline
	Effects store.Effects
	Payload []byte    // with More: the Progress of the next attempt's item
	Due     time.Time // earliest next attempt, or zero
}
