package publishtest_test

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/sestina-mail/sestina/internal/publish"
	"github.com/sestina-mail/sestina/internal/publish/publishtest"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// A memory is a target outside of the store, as a remote one is: what arrived
// there stays, whether or not the publication's end is recorded.
type memory struct {
	mu       sync.Mutex
	arrived  []publishtest.Arrival
	changed  chan struct{} // closed and replaced at every arrival
	removed  bool
	refusing bool
}

func (m *memory) Check(_ context.Context, s sestina.Scope, d sestina.EventDestination) (store.Effects, error) {
	if a, err := sestina.ParseARN(d.EventBusARN); err != nil || a.Scope() != s || a.Resource != "there" {
		return store.Effects{}, sestina.SESErrorf("InvalidParameterValue", "BadRequestException", "The target %s does not exist.", d.EventBusARN)
	}
	return store.Effects{}, nil
}

func (m *memory) Publish(ctx context.Context, _ sestina.EventDestination, items []publish.Item) []publish.Outcome {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]publish.Outcome, len(items))
	for i, it := range items {
		switch {
		case ctx.Err() != nil:
			out[i] = publish.Outcome{Fault: publish.Unreachable, Answer: "the program stops"}
		case m.removed:
			out[i] = publish.Outcome{Fault: publish.Gone, Answer: "the target was deleted"}
		case m.refusing:
			out[i] = publish.Outcome{Fault: publish.Refused, Answer: "refused"}
		default:
			m.arrived = append(m.arrived, publishtest.Arrival{ID: sestina.DerivedUUID(it.Unit.ID, "memory"), Record: string(it.Record)})
		}
	}
	close(m.changed)
	m.changed = make(chan struct{})
	return out
}

func (m *memory) set(flag *bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	*flag = true
}

// TestRemoteTarget runs the suite on the simplest destination that there is,
// which keeps the suite itself honest about targets that are not embedded.
func TestRemoteTarget(t *testing.T) {
	t.Parallel()
	publishtest.Run(t, publishtest.Kind{Refuses: true, Open: func(t *testing.T, r *publishtest.Rig) publishtest.Target {
		check(t, r.Cache.Load(t.Context()))
		m := &memory{changed: make(chan struct{})}
		arn := sestina.NewARN("events", r.Scope, "there")
		return publishtest.Target{
			Destination: m,
			Definition:  sestina.EventDestination{Kind: sestina.DestinationEventBridge, EventBusARN: arn},
			Missing:     sestina.EventDestination{Kind: sestina.DestinationEventBridge, EventBusARN: arn + "-not"},
			Remove:      func() { m.set(&m.removed) },
			Refuse:      func() { m.set(&m.refusing) },
			Receive: func(n int) []publishtest.Arrival {
				ctx, cancel := context.WithTimeout(t.Context(), publishtest.Patience)
				defer cancel()
				for {
					m.mu.Lock()
					got, changed := slices.Clone(m.arrived), m.changed
					m.mu.Unlock()
					if len(got) >= n {
						return got
					}
					select {
					case <-changed:
					case <-ctx.Done():
						t.Fatalf("%d of %d records arrived", len(got), n)
					}
				}
			},
		}
	}})
}
