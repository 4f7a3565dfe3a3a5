package deliver

import (
	"context"
	"io"

	"github.com/sestina-mail/sestina/internal/bounce"
	"github.com/sestina-mail/sestina/internal/store"
)

// A Job is one attempt at one message for recipients of one domain.
type Job struct {
	Message    *store.Message
	From       string // envelope sender, a bare address; "" is the null sender
	Recipients []string
	RequireTLS bool // TlsPolicy REQUIRE: over TLS or not at all
	// Open opens the message as stored, from its beginning. The transport
	// closes what it opened.
	Open func(ctx context.Context) (io.ReadCloser, error)
}

// A Report is what became of a Job.
type Report struct {
	// Outcomes has at most one outcome per recipient. Recipients without one
	// were not tried (the context ended).
	Outcomes []bounce.Outcome
	// LaneFault says that the next host as a whole did not serve: others on the
	// way to it would fare no better now.
	LaneFault bool
	// Busy says that the transport has no place for the job now; nothing was
	// tried.
	Busy bool
}

// Limits say how a transport wants to be used.
type Limits struct {
	Batch       int // jobs of a lane that one worker takes at once
	Concurrency int // workers in one lane
}

// A Transport hands messages over. Deliver may be called concurrently and
// returns soon after ctx ends. An error is a fault of our own (the body cannot
// be read): nothing is said about the recipients, and the job is tried again
// without an event.
type Transport interface {
	Deliver(ctx context.Context, j Job) (Report, error)
	Limits() Limits
}

// all returns one outcome per recipient, each a copy of o.
func all(recipients []string, o bounce.Outcome) []bounce.Outcome {
	out := make([]bounce.Outcome, len(recipients))
	for i, r := range recipients {
		out[i] = o
		out[i].Recipient = r
	}
	return out
}
