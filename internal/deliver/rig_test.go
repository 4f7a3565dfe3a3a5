package deliver

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sestina-mail/sestina/internal/bounce"
	"github.com/sestina-mail/sestina/internal/clock"
	"github.com/sestina-mail/sestina/internal/event"
	"github.com/sestina-mail/sestina/internal/prepare"
	"github.com/sestina-mail/sestina/internal/publish"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
	"github.com/sestina-mail/sestina/internal/store/sqlite"
	"github.com/sestina-mail/sestina/internal/work"
)

var update = flag.Bool("update", false, "write the golden files")

var scope = sestina.Scope{Account: "000000000000", Region: "us-east-1"}

// patience is how long a test waits for what must happen.
const patience = 60 * time.Second

// A rig is a real store and a real work engine with a Worker, and a clock that
// the test moves.
type rig struct {
	*testing.T
	store  *sqlite.Store
	clock  *clock.Clock
	ids    *sestina.IDs
	sets   *store.Documents[sestina.ConfigurationSet]
	worker *Worker
	o      Options

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at every command of the engine
}

// newRig makes a rig that delivers by tr; nil means the inbox. start runs it.
func newRig(t *testing.T, tr Transport) *rig {
	t.Helper()
	r := &rig{T: t, clock: clock.New(0), ids: new(sestina.IDs), changed: make(chan struct{})}
	var err error
	quiet := slog.New(slog.DiscardHandler)
	r.store, err = sqlite.Open(t.Context(), sqlite.Options{Dir: t.TempDir(), Clock: r.clock, Logger: quiet, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.store.Close(); err != nil {
			t.Error(err)
		}
	})
	cache := store.NewCache(r.store)
	r.sets = store.Register[sestina.ConfigurationSet](cache, "configuration-set")
	if tr == nil {
		tr = &Inbox{Clock: r.clock}
	}
	r.o = Options{
		Store: r.store, Sets: r.sets, Outbox: &publish.Outbox{Sets: r.sets, IDs: r.ids}, Clock: r.clock, Logger: quiet,
		Reporter:  &bounce.Reporter{IDs: r.ids},
		Prepare:   prepare.New(prepare.EICAR{}, r.store.OpenBody, 0),
		Schedule:  Schedule{Steps: []time.Duration{5 * time.Minute, time.Hour}, Window: DefaultWindow},
		Transport: tr,
	}
	r.worker = New(r.o)
	return r
}

// start runs the engine until the end of the test.
func (r *rig) start() *rig {
	e := work.New(work.Options{
		Store: tapped{r.store, r}, Clock: r.clock, Logger: slog.New(slog.DiscardHandler), Kinds: []work.Kind{r.worker.Kind()},
	})
	r.store.Subscribe(e)
	ctx, cancel := context.WithCancel(r.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	r.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			r.Error(err)
		}
	})
	return r
}

// A tapped store is the real one; it tells the rig of every command.
type tapped struct {
	*sqlite.Store
	rig *rig
}

// Do implements store.Commands.
func (s tapped) Do(ctx context.Context, c store.Command) error {
	err := s.Store.Do(ctx, c)
	s.rig.mu.Lock()
	defer s.rig.mu.Unlock()
	close(s.rig.changed)
	s.rig.changed = make(chan struct{})
	return err
}

// until waits for a command of the engine after which ok holds.
func (r *rig) until(what string, ok func() bool) {
	r.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		r.mu.Lock()
		changed := r.changed
		r.mu.Unlock()
		if ok() {
			return
		}
		select {
		case <-changed:
		case <-late.C:
			r.Fatalf("%s did not happen", what)
		}
	}
}

// configure writes a configuration set called spring.
func (r *rig) configure(set sestina.ConfigurationSet) {
	r.Helper()
	set.Name = "spring"
	_, err := r.sets.Change(r.Context(), scope, set.Name, func(store.Tx, *sestina.ConfigurationSet) (*sestina.ConfigurationSet, error) {
		return &set, nil
	})
	if err != nil {
		r.Fatal(err)
	}
}

// accept writes a message as acceptance does, with the set spring when there is
// one.
func (r *rig) accept(body string, to ...string) store.Message {
	r.Helper()
	now := r.clock.Now()
	m := store.Message{
		ID: r.ids.New(now), Scope: scope, Source: "News <news@example.com>", ReturnPath: "bounces@example.com",
		Recipients: to, Subject: "Hi", Size: int64(len(body)),
	}
	tags := event.Tags{{Name: "campaign", Value: "spring"}}
	if r.sets.Get(scope, "spring") != nil {
		m.ConfigurationSet = "spring"
	}
	mail := event.Mail{
		Timestamp: event.Time(m.ID.Time()), Source: m.Source, SendingAccountID: scope.Account,
		SourceARN: "arn:aws:ses:us-east-1:000000000000:identity/example.com",
		MessageID: sestina.MessageID(m.ID, scope.Region), Destination: to, Tags: tags,
	}
	var err error
	if m.Mail, err = mail.Encode(); err != nil {
		r.Fatal(err)
	}
	staged, err := r.store.Stage(r.Context(), m.ID, m.Size, strings.NewReader(body))
	if err != nil {
		r.Fatal(err)
	}
	err = r.store.Do(r.Context(), &store.Write{Effects: store.Effects{
		Messages: []store.NewMessage{{Message: m, Body: staged}},
		Units:    NewUnits(r.ids, &m, "", to, now),
	}, Accepting: true})
	if err != nil {
		r.Fatal(err)
	}
	return m
}

// events returns the events of a message so far.
func (r *rig) events(m *store.Message) []store.Event {
	r.Helper()
	events, err := r.store.Events(r.Context(), store.EventFilter{Scope: m.Scope, MessageID: m.ID})
	if err != nil {
		r.Fatal(err)
	}
	return events
}

// deliveries returns the delivery units of a message.
func (r *rig) deliveries(m *store.Message) []store.Unit {
	r.Helper()
	units, err := r.store.UnitsOfMessage(r.Context(), m.Scope, m.ID)
	if err != nil {
		r.Fatal(err)
	}
	return slices.DeleteFunc(units, func(u store.Unit) bool { return u.Kind != store.KindDelivery })
}

// finish waits until no delivery of a message waits.
func (r *rig) finish(m *store.Message) []store.Unit {
	r.Helper()
	var units []store.Unit
	r.until("the end of all deliveries", func() bool {
		units = r.deliveries(m)
		return !slices.ContainsFunc(units, func(u store.Unit) bool { return u.State == store.Waiting })
	})
	return units
}

// attempts waits until the deliveries of a message had n attempts together.
func (r *rig) attempts(m *store.Message, n int) {
	r.Helper()
	r.until(fmt.Sprintf("attempt %d", n), func() bool {
		sum := 0
		for _, u := range r.deliveries(m) {
			sum += u.Attempts
		}
		return sum >= n
	})
}

// types are the event types of a message, in order.
func (r *rig) types(m *store.Message) string {
	r.Helper()
	var out []string
	for _, e := range r.events(m) {
		out = append(out, e.Type.RecordName())
	}
	return strings.Join(out, ", ")
}

// sequence checks the events of a message.
func (r *rig) sequence(m *store.Message, want string) {
	r.Helper()
	if got := r.types(m); got != want {
		r.Errorf("events are %q, want %q", got, want)
	}
}

// records returns the event records of a message, decoded.
func (r *rig) records(m *store.Message) []record {
	r.Helper()
	var out []record
	for _, line := range r.lines(m) {
		var rec record
		if err := json.Unmarshal(line, &rec); err != nil {
			r.Fatal(err)
		}
		out = append(out, rec)
	}
	return out
}

// A record is what tests read of event records.
type record struct {
	EventType string
	Mail      struct{ Tags map[string][]string }
	Delivery  event.Delivery
	Bounce    event.Bounce
	Complaint event.Complaint
	Delay     event.DeliveryDelay `json:"deliveryDelay"`
	Reject    event.Reject
}

func (r *rig) lines(m *store.Message) [][]byte {
	r.Helper()
	var out [][]byte
	for _, e := range r.events(m) {
		line, err := event.Record(e.Type, m.Mail, e.LateTags, e.Object)
		if err != nil {
			r.Fatal(err)
		}
		out = append(out, line)
	}
	return out
}

// What differs from run to run is replaced before records are compared.
var volatile = []struct {
	re *regexp.Regexp
	by string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`), "TIME"},
	{regexp.MustCompile(`[0-9a-f]{16}-[0-9a-f-]{36}-000000`), "SES-ID"},
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f-]{21}`), "ID"},
	{regexp.MustCompile(`"processingTimeMillis":\d+`), `"processingTimeMillis":0`},
}

// golden compares the records of a message with testdata/events/name.json.
func (r *rig) golden(name string, m *store.Message) {
	r.Helper()
	var b bytes.Buffer
	for _, line := range r.lines(m) {
		for _, v := range volatile {
			line = v.re.ReplaceAll(line, []byte(v.by))
		}
		if err := json.Indent(&b, line, "", "  "); err != nil {
			r.Fatal(err)
		}
		b.WriteByte('\n')
	}
	path := filepath.Join("testdata", "events", filepath.FromSlash(name)+".json")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			r.Fatal(err)
		}
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			r.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		r.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), want) {
		r.Errorf("%s differs:\n%s", path, b.Bytes())
	}
}

// A script is a transport that answers by a function and keeps the jobs.
type script struct {
	clock  *clock.Clock
	answer func(n int, j Job) (Report, error) // n counts jobs from 1

	mu   sync.Mutex
	jobs []Job
}

func (s *script) Limits() Limits { return Limits{Batch: 1, Concurrency: 4} }

func (s *script) Deliver(_ context.Context, j Job) (Report, error) {
	s.mu.Lock()
	s.jobs = append(s.jobs, j)
	n := len(s.jobs)
	s.mu.Unlock()
	rep, err := s.answer(n, j)
	for i := range rep.Outcomes {
		rep.Outcomes[i].At = s.clock.Now()
	}
	return rep, err
}

func (s *script) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.jobs)
}

// said is an outcome from a reply.
func said(to string, code int, text string) bounce.Outcome {
	o := bounce.Outcome{Recipient: to, RemoteIP: "203.0.113.25", LocalIP: "198.51.100.7", TLSVersion: "TLSv1.3", Host: "mx.example.net"}
	o.SetReply(code, []string{text})
	o.Kind = map[int]bounce.Kind{2: bounce.Delivered, 4: bounce.Deferred, 5: bounce.Failed}[code/100]
	return o
}
