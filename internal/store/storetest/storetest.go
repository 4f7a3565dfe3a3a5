package storetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// Run holds an engine to the contract. open returns a new, empty store and
// arranges for its end; it is called once per subtest, concurrently. reopen
// closes a store and opens what it left behind; nil leaves out the tests of
// persistence.
func Run(t *testing.T, open func(t *testing.T) store.Store, reopen func(t *testing.T, s store.Store) store.Store) {
	areas := []struct {
		name  string
		tests []test
	}{
		{"Documents", documentTests},
		{"Listeners", listenerTests},
		{"Write", writeTests},
		{"Claims", claimTests},
		{"Finish", finishTests},
		{"Lanes", laneTests},
		{"DeadLetters", deadTests},
		{"Messages", messageTests},
		{"Events", eventTests},
		{"Queues", queueTests},
		{"FIFO", fifoTests},
		{"Bodies", bodyTests},
		{"Sweep", sweepTests},
		{"Reset", resetTests},
	}
	for _, area := range areas {
		t.Run(area.name, func(t *testing.T) {
			t.Parallel()
			for _, test := range area.tests {
				t.Run(test.name, func(t *testing.T) {
					t.Parallel()
					test.run(newEnv(t, open(t)))
				})
			}
		})
	}
	if reopen == nil {
		return
	}
	t.Run("Persistence", func(t *testing.T) {
		t.Parallel()
		for _, test := range persistenceTests {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				e := newEnv(t, open(t))
				test.run(e, func() { e.Store = reopen(t, e.Store) })
			})
		}
	})
}

type test struct {
	name string
	run  func(e *env)
}

// The scopes of the tests, and the time at which they all take place.
var (
	virginia = sestina.Scope{Account: "000000000000", Region: "us-east-1"}
	ireland  = sestina.Scope{Account: "000000000000", Region: "eu-west-1"}
	other    = sestina.Scope{Account: "111111111111", Region: "us-east-1"}

	start = time.Date(2026, 3, 14, 15, 9, 26, 535e6, time.UTC)
)

// An env is a store and what tests do with it all the time. Every method fails
// the test when the store returns an error.
type env struct {
	store.Store
	t   *testing.T
	ctx context.Context
	ids *sestina.IDs
}

func newEnv(t *testing.T, s store.Store) *env {
	return &env{Store: s, t: t, ctx: t.Context(), ids: &sestina.IDs{}}
}

func (e *env) ok(err error) {
	e.t.Helper()
	if err != nil {
		e.t.Fatalf("unexpected error: %v", err)
	}
}

// is wants an error.
func (e *env) is(err, want error) {
	e.t.Helper()
	if !errors.Is(err, want) {
		e.t.Fatalf("error is %v, want %v", err, want)
	}
}

func (e *env) equal(got, want any) {
	e.t.Helper()
	if !reflect.DeepEqual(got, want) {
		e.t.Fatalf("got  %+v\nwant %+v", got, want)
	}
}

func (e *env) do(c store.Command) {
	e.t.Helper()
	e.ok(e.Do(e.ctx, c))
}

func (e *env) write(f store.Effects) {
	e.t.Helper()
	e.do(&store.Write{Effects: f})
}

// id returns an id of the time start; later ones are greater.
func (e *env) id() sestina.ID { return e.ids.New(start) }

// idAt returns an id of another time. Ids of one time differ, but those of an
// earlier time are not in order.
func idAt(t time.Time) sestina.ID { return new(sestina.IDs).New(t) }

// unit returns a waiting unit, due at start, about no message.
func (e *env) unit(lane string) store.Unit {
	return store.Unit{ID: e.id(), Scope: virginia, Kind: store.KindPublication, Lane: lane, Due: start}
}

// units adds n waiting units to a lane, each due a millisecond after the one
// before.
func (e *env) units(lane string, n int) []store.Unit {
	e.t.Helper()
	units := make([]store.Unit, n)
	for i := range units {
		units[i] = e.unit(lane)
		units[i].Due = start.Add(time.Duration(i) * time.Millisecond)
	}
	e.write(store.Effects{Units: units})
	return units
}

// message returns a message whose body is empty.
func (e *env) message() store.NewMessage { return messageWith(e.id()) }

func messageWith(id sestina.ID) store.NewMessage {
	return store.NewMessage{
		Message: store.Message{
			ID: id, Scope: virginia, Source: "sender@example.com", Recipients: []string{"to@example.com"},
			Subject: "A subject", Mail: []byte(`{"tags":{}}`),
		},
		Body: store.Body{ID: id, Inline: []byte{}},
	}
}

func (e *env) event(message sestina.ID) store.Event {
	return store.Event{ID: e.id(), Scope: virginia, MessageID: message, Type: sestina.Send, At: start, Object: []byte(`{}`)}
}

// claim claims units of a lane that are due an hour after start.
func (e *env) claim(lane string, limit int) []store.Unit {
	e.t.Helper()
	units, err := e.Claim(e.ctx, store.KindPublication, lane, start.Add(time.Hour), limit)
	e.ok(err)
	return units
}

// die makes units of a lane dead letters.
func (e *env) die(lane string) {
	e.t.Helper()
	for _, u := range e.claim(lane, 1000) {
		e.do(&store.Finish{Unit: u, State: store.Dead, Attempts: u.Attempts + 1, At: start, Answer: "no"})
	}
}

func idsOf(units []store.Unit) []sestina.ID {
	out := []sestina.ID{}
	for _, u := range units {
		out = append(out, u.ID)
	}
	return out
}

// parallel runs n functions at once and waits for all.
func parallel(n int, fn func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { fn(i) })
	}
	wg.Wait()
}

// A recorder is a listener that keeps what it hears.
type recorder struct {
	mu      sync.Mutex
	changes []store.Change
	docs    []store.Document
}

func (r *recorder) Committed(c store.Change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changes = append(r.changes, c)
}

func (r *recorder) DocumentsChanged(d []store.Document) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.docs = append(r.docs, d...)
}

// take returns what was heard since the last call, joined.
func (r *recorder) take() (all store.Change, docs []store.Document) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.changes {
		all.Lanes = append(all.Lanes, c.Lanes...)
		all.Queues = append(all.Queues, c.Queues...)
		all.Events = append(all.Events, c.Events...)
	}
	docs = r.docs
	r.changes, r.docs = nil, nil
	return all, docs
}

func names(docs []store.Document) []string {
	out := []string{}
	for _, d := range docs {
		out = append(out, d.Name)
	}
	return out
}

func numbered(prefix string, n int) string { return fmt.Sprintf("%s%04d", prefix, n) }
