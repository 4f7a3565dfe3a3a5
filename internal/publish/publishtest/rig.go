package publishtest

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sestina-mail/sestina/internal/clock"
	"github.com/sestina-mail/sestina/internal/event"
	"github.com/sestina-mail/sestina/internal/publish"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
	"github.com/sestina-mail/sestina/internal/store/sqlite"
	"github.com/sestina-mail/sestina/internal/work"
)

// Patience is how long the suite waits for what must happen.
const Patience = 60 * time.Second

// SetName is the configuration set of the rig's messages.
const SetName = "suite"

// A Rig is an empty store with what publishing needs around it. A kind's test
// gets one to build its destination on, and loads the cache once it has
// registered its own kinds of documents.
type Rig struct {
	T      testing.TB
	Scope  sestina.Scope
	Store  *Store
	Cache  *store.Cache
	Clock  *clock.Clock
	IDs    *sestina.IDs
	Sets   *store.Documents[sestina.ConfigurationSet]
	Logger *slog.Logger
	Outbox *publish.Outbox

	engine atomic.Pointer[work.Engine] // hears of commits; nil while none runs
	stop   func()
}

// NewRig opens a store in a temporary folder. The end of the test closes it.
func NewRig(t testing.TB) *Rig {
	t.Helper()
	r := &Rig{
		T: t, Scope: sestina.Scope{Account: "000000000000", Region: "us-east-1"}, Clock: clock.New(0), IDs: new(sestina.IDs),
		Logger: slog.New(slog.DiscardHandler),
	}
	real, err := sqlite.Open(context.Background(), sqlite.Options{Dir: t.TempDir(), Reserve: -1, Clock: r.Clock, Logger: r.Logger})
	r.must(err)
	r.Store = &Store{Store: real, changed: make(chan struct{})}
	t.Cleanup(func() {
		r.Stop()
		if err := real.Close(); err != nil {
			t.Error(err)
		}
	})
	r.Cache = store.NewCache(r.Store)
	r.Sets = store.Register[sestina.ConfigurationSet](r.Cache, "configuration-set")
	r.Outbox = &publish.Outbox{Sets: r.Sets, IDs: r.IDs}
	r.Store.Subscribe(listener{r})
	return r
}

// listener tells the engine of the moment what was committed.
type listener struct{ r *Rig }

func (l listener) Committed(c store.Change) {
	if e := l.r.engine.Load(); e != nil {
		e.Committed(c)
	}
}

func (listener) DocumentsChanged([]store.Document) {}

func (r *Rig) must(err error) {
	r.T.Helper()
	if err != nil {
		r.T.Fatal(err)
	}
}

// Destinations replaces the set's event destinations and returns them with
// their ids. Those that have an id keep it.
func (r *Rig) Destinations(ds ...sestina.EventDestination) []sestina.EventDestination {
	r.T.Helper()
	for i := range ds {
		if ds[i].ID.IsZero() {
			ds[i].ID = r.IDs.New(r.Clock.Now())
		}
	}
	_, err := r.Sets.Change(context.Background(), r.Scope, SetName, func(store.Tx, *sestina.ConfigurationSet) (*sestina.ConfigurationSet, error) {
		return &sestina.ConfigurationSet{Name: SetName, Destinations: ds}, nil
	})
	r.must(err)
	return ds
}

// Message stores a message of the configuration set and returns it.
func (r *Rig) Message() store.Message {
	r.T.Helper()
	now := r.Clock.Now()
	m := store.Message{ID: r.IDs.New(now), Scope: r.Scope, ConfigurationSet: SetName, Identity: "example.com", Source: "a@example.com", Recipients: []string{"lena@example.net"}}
	mail := event.Mail{
		Timestamp: event.Time(now), Source: m.Source, MessageID: sestina.MessageID(m.ID, r.Scope.Region), Destination: m.Recipients,
		CommonHeaders: event.CommonHeaders{From: []string{m.Source}, Subject: "Grüße & <mehr> \u2028"},
		Tags:          event.Tags{{Name: "ses:configuration-set", Value: SetName}},
	}
	var err error
	m.Mail, err = mail.Encode()
	r.must(err)
	r.must(r.Store.Do(context.Background(), &store.Write{Effects: store.Effects{Messages: []store.NewMessage{{Message: m, Body: store.Body{ID: m.ID, Inline: []byte{}}}}}}))
	return m
}

// objects are type objects of the event types the suite publishes.
var objects = map[sestina.EventType]event.Object{
	sestina.Send: event.Send{}, sestina.Reject: event.Reject{Reason: "Bad content"},
	sestina.Delivery: event.Delivery{Timestamp: "2026-03-03T10:15:01.004Z", Recipients: []string{"lena@example.net"}, SMTPResponse: "250 <ok>", ReportingMTA: "a1-1.smtp-out.amazonses.com"},
	sestina.Bounce: event.Bounce{FeedbackID: "f", BounceType: "Permanent", BounceSubType: "General", Timestamp: "2026-03-03T10:15:01.004Z",
		BouncedRecipients: []event.BouncedRecipient{{EmailAddress: "lena@example.net"}}},
	sestina.Complaint:     event.Complaint{FeedbackID: "f", Timestamp: "2026-03-03T10:15:01.004Z", ComplainedRecipients: []event.ComplainedRecipient{{EmailAddress: "lena@example.net"}}},
	sestina.DeliveryDelay: event.DeliveryDelay{Timestamp: "2026-03-03T10:15:01.004Z", DelayType: "General", DelayedRecipients: []event.DelayedRecipient{{EmailAddress: "lena@example.net", Status: "4.0.0"}}},
}

// Types are the event types that Happen knows, in the order of their names.
var Types = []sestina.EventType{sestina.Bounce, sestina.Complaint, sestina.Delivery, sestina.DeliveryDelay, sestina.Reject, sestina.Send}

// Happen commits an event of each of the types about m, with its publications,
// and returns their records.
func (r *Rig) Happen(m store.Message, types ...sestina.EventType) (records []string) {
	r.T.Helper()
	for _, it := range r.items(m, types...) {
		records = append(records, string(it.Record))
	}
	return records
}

// items is Happen that returns what the destinations of the publications will
// be given.
func (r *Rig) items(m store.Message, types ...sestina.EventType) []publish.Item {
	r.T.Helper()
	var e store.Effects
	var items []publish.Item
	for _, t := range types {
		var late event.Tags
		if t == sestina.Delivery {
			late = event.Tags{{Name: "ses:outgoing-ip", Value: "198.51.100.7"}}
		}
		r.must(r.Outbox.Add(&e, &m, t, r.Clock.Now(), objects[t], late))
		ev := e.Events[len(e.Events)-1]
		record, err := event.Record(t, m.Mail, ev.LateTags, ev.Object)
		r.must(err)
		it := publish.Item{Event: ev, Message: m, Record: record}
		if n := len(e.Units); n > 0 {
			it.Unit = e.Units[n-1]
		}
		items = append(items, it)
	}
	r.Apply(e)
	return items
}

// Apply commits effects.
func (r *Rig) Apply(e store.Effects) {
	r.T.Helper()
	r.must(r.Store.Do(context.Background(), &store.Write{Effects: e}))
}

// Start runs a work engine with the publication worker and further kinds of
// work. The backoff is short.
func (r *Rig) Start(w *publish.Worker, more ...work.Kind) {
	r.T.Helper()
	if r.stop != nil {
		r.T.Fatal("an engine runs already")
	}
	kinds := append([]work.Kind{{
		Kind: store.KindPublication, Name: "publication", Handler: w, Batch: func(string) int { return 32 }, Concurrency: func(string) int { return 4 },
		Backoff: work.Schedule(10 * time.Millisecond),
	}}, more...)
	e := work.New(work.Options{Store: r.Store, Clock: r.Clock, Logger: r.Logger, Kinds: kinds, Grace: 100 * time.Millisecond})
	r.engine.Store(e)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	r.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			r.T.Error(err)
		}
		r.engine.Store(nil)
	}
}

// Stop stops the engine, if one runs, and waits for its end.
func (r *Rig) Stop() {
	if r.stop != nil {
		r.stop()
		r.stop = nil
	}
}

// Wake wakes the lane of an event destination.
func (r *Rig) Wake(d sestina.EventDestination) {
	r.engine.Load().Wake(store.KindPublication, d.ID.String())
}

// Worker returns the publication worker for one kind of destination.
func (r *Rig) Worker(kind sestina.DestinationKind, d publish.Destination) *publish.Worker {
	return &publish.Worker{
		Store: r.Store, Sets: r.Sets, Clock: r.Clock,
		Destinations: map[sestina.DestinationKind]publish.Destination{kind: d},
	}
}

// Await waits until done reports true. It is asked again after every command
// that the store carried out.
func (r *Rig) Await(what string, done func() bool) {
	r.T.Helper()
	timeout := time.NewTimer(Patience)
	defer timeout.Stop()
	for {
		changed := r.Store.Next()
		if done() {
			return
		}
		select {
		case <-changed:
		case <-timeout.C:
			r.T.Fatalf("within %s there was no %s", Patience, what)
		}
	}
}

// Dead waits for n dead letters of an event destination and returns them.
func (r *Rig) Dead(d sestina.EventDestination, n int) (units []store.Unit) {
	r.T.Helper()
	r.Await(fmt.Sprint(n, " dead letters"), func() bool {
		var err error
		units, err = r.Store.DeadUnits(context.Background(), r.Scope, store.KindPublication, d.ID.String(), sestina.ID{}, 1000)
		r.must(err)
		return len(units) >= n
	})
	if len(units) > n {
		r.T.Errorf("%d dead letters, want %d", len(units), n)
	}
	return units
}

// Backlog counts what waits for an event destination.
func (r *Rig) Backlog(d sestina.EventDestination) int {
	r.T.Helper()
	b, err := r.Store.Backlog(context.Background(), store.KindPublication, d.ID.String())
	r.must(err)
	return b.Waiting
}

// A Store is the real one; it tells of every command that was carried out.
type Store struct {
	store.Store

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at every command
}

// Do implements store.Commands.
func (s *Store) Do(ctx context.Context, c store.Command) error {
	err := s.Store.Do(ctx, c)
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
	return err
}

// Next returns a channel that is closed after the next command.
func (s *Store) Next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}
