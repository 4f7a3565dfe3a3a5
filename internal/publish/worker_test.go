package publish_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sestina-mail/sestina/internal/publish"
	"github.com/sestina-mail/sestina/internal/publish/publishtest"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// A script is a destination that answers as a test wants and remembers what it
// was given.
type script struct {
	mu     sync.Mutex
	answer func(it publish.Item) publish.Outcome
	got    []publish.Item
	topics []string // TopicARN of the definition, per item
	short  int      // leave so many outcomes out, once
}

func answering(o publish.Outcome) func(publish.Item) publish.Outcome {
	return func(publish.Item) publish.Outcome { return o }
}

func (s *script) Check(context.Context, sestina.Scope, sestina.EventDestination) (store.Effects, error) {
	return store.Effects{}, nil
}

func (s *script) Publish(_ context.Context, d sestina.EventDestination, items []publish.Item) []publish.Outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []publish.Outcome
	for _, it := range items {
		s.got, s.topics = append(s.got, it), append(s.topics, d.EventBusARN)
		out = append(out, s.answer(it))
	}
	n := len(out) - min(s.short, len(out))
	s.short = 0
	return out[:n]
}

// then sets the answer from now on.
func (s *script) then(fn func(publish.Item) publish.Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = fn
}

func (s *script) items() []publish.Item {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

// A bench is a Rig with a scripted destination in its set.
type bench struct {
	*publishtest.Rig
	script *script
	worker *publish.Worker
	dest   sestina.EventDestination
}

func newBench(t *testing.T) *bench {
	b := &bench{Rig: publishtest.NewRig(t), script: &script{answer: answering(publish.Outcome{Answer: "ok"})}}
	b.dest = b.Destinations(dest("d", true, sestina.Send, sestina.Bounce))[0]
	b.worker = b.Worker(b.dest.Kind, b.script)
	return b
}

func (b *bench) empty() {
	b.T.Helper()
	b.Await("empty backlog", func() bool { return b.Backlog(b.dest) == 0 })
}

func (b *bench) unit(m store.Message) store.Unit {
	b.T.Helper()
	units, err := b.Store.UnitsOfMessage(context.Background(), b.Scope, m.ID)
	if err != nil || len(units) != 1 {
		b.T.Fatalf("%d units, %v", len(units), err)
	}
	return units[0]
}

// TestRetryHasTheSameItem: what fails is tried again, with the same unit, event
// and record; every attempt is kept.
func TestRetryHasTheSameItem(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	failures := 3
	b.script.then(func(publish.Item) publish.Outcome {
		if failures--; failures >= 0 {
			return publish.Outcome{Fault: publish.Misconfigured, Answer: "no such role"}
		}
		return publish.Outcome{Answer: "taken"}
	})
	m := b.Message()
	record := b.Happen(m, sestina.Bounce)[0]
	b.Start(b.worker)
	b.empty()
	got := b.script.items()
	if len(got) != 4 {
		t.Fatalf("%d attempts, want 4", len(got))
	}
	for i, it := range got {
		if it.Unit.ID != got[0].Unit.ID || it.Unit.Attempts != i || it.Event.Type != sestina.Bounce || it.Message.ID != m.ID || string(it.Record) != record || it.Progress != nil {
			t.Errorf("attempt %d: %+v", i+1, it)
		}
	}
	u := b.unit(m)
	if u.State != store.Done || u.Answer != "taken" || u.Attempts != 4 || u.Payload != nil {
		t.Errorf("unit %+v", u)
	}
	attempts, err := b.Store.Attempts(t.Context(), []sestina.ID{u.ID})
	if err != nil || len(attempts) != 3 || attempts[0].Answer != "no such role" {
		t.Errorf("attempts %+v, %v", attempts, err)
	}
}

// TestRefusedAndRedriven: what is refused is a dead letter after one attempt,
// and has another one when it is redriven.
func TestRefusedAndRedriven(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]publish.Fault{"Refused": publish.Refused, "Gone": publish.Gone} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.script.then(answering(publish.Outcome{Fault: fault, Answer: "never"}))
			m := b.Message()
			b.Happen(m, sestina.Send)
			b.Start(b.worker)
			if u := b.Dead(b.dest, 1)[0]; u.Answer != "never" || u.Attempts != 1 {
				t.Errorf("dead letter %+v", u)
			}
			b.script.then(answering(publish.Outcome{Answer: "now"}))
			b.redrive()
			b.empty()
			if u := b.unit(m); u.State != store.Done || u.Answer != "now" || u.Attempts != 2 {
				t.Errorf("redriven %+v", u)
			}
		})
	}
}

func (b *bench) redrive() {
	b.T.Helper()
	c := &store.Redrive{Kind: store.KindPublication, Scope: b.Scope, Now: b.Clock.Now()}
	if err := b.Store.Do(context.Background(), c); err != nil || c.Count != 1 {
		b.T.Fatalf("redriven %d: %v", c.Count, err)
	}
}

// TestUnreachable: one unit probes a destination that does not answer; the
// others wait unburned, and all arrive once it is back.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	probes := make(chan struct{}, 1000)
	b.script.then(func(publish.Item) publish.Outcome {
		probes <- struct{}{}
		return publish.Outcome{Fault: publish.Unreachable, Answer: "connection refused"}
	})
	m := b.Message()
	for range 100 {
		b.Happen(m, sestina.Send)
	}
	b.Start(b.worker)
	for range 40 { // at most 4 batches of 32 were out when the breaker opened
		<-probes
	}
	b.Await("failing lane", func() bool {
		st, err := b.Store.Lane(context.Background(), store.KindPublication, b.dest.ID.String())
		return err == nil && st.Failures > 0 && st.LastError == "connection refused"
	})
	b.script.then(answering(publish.Outcome{}))
	b.empty()
	arrived := map[sestina.ID]bool{}
	for _, it := range b.script.items() {
		arrived[it.Unit.ID] = true
	}
	if len(arrived) != 100 {
		t.Errorf("%d publications arrived, want 100", len(arrived))
	}
}

// TestDeleted: the backlog of a destination that was deleted, alone or with its
// set, becomes dead letters that say so, without an attempt; one of the same
// name that was made since does not get it.
func TestDeleted(t *testing.T) {
	t.Parallel()
	for name, remove := range map[string]func(*bench){
		"Destination": func(b *bench) { b.Destinations() },
		"MadeAgain":   func(b *bench) { b.Destinations(dest("d", true, sestina.Send)) },
		"Set": func(b *bench) {
			_, err := b.Sets.Change(context.Background(), b.Scope, publishtest.SetName, func(store.Tx, *sestina.ConfigurationSet) (*sestina.ConfigurationSet, error) { return nil, nil })
			if err != nil {
				b.T.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.Happen(b.Message(), sestina.Send)
			remove(b)
			b.Start(b.worker)
			if u := b.Dead(b.dest, 1)[0]; u.Answer != "the event destination was deleted before this event was published" {
				t.Errorf("answer %q", u.Answer)
			}
			if n := len(b.script.items()); n != 0 {
				t.Errorf("%d items were published", n)
			}
		})
	}
}

// TestDisabledHolds: disabling a destination keeps its backlog; enabling goes
// on with it at once, by the definition of then.
func TestDisabledHolds(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	m := b.Message()
	for range 50 {
		b.Happen(m, sestina.Send)
	}
	b.dest.Enabled = false
	b.Destinations(b.dest)
	b.Start(b.worker)
	b.Await("held lane", func() bool {
		st, err := b.Store.Lane(context.Background(), store.KindPublication, b.dest.ID.String())
		return err == nil && st.HoldUntil.After(b.Clock.Now())
	})
	if n := len(b.script.items()); n != 0 || b.Backlog(b.dest) != 50 {
		t.Fatalf("%d were published, %d wait", n, b.Backlog(b.dest))
	}
	b.dest.Enabled, b.dest.EventBusARN = true, "changed"
	b.Destinations(b.dest)
	b.Wake(b.dest)
	b.empty()
	for i, it := range b.script.items() {
		if it.Unit.Attempts != 0 || b.script.topics[i] != "changed" {
			t.Errorf("item %d: %d attempts before, to %q", i, it.Unit.Attempts, b.script.topics[i])
		}
	}
}

// TestHorizon: what could not be published in time is a dead letter, without a
// further attempt; a redriven one has its time anew.
func TestHorizon(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	tried := make(chan struct{}, 10_000)
	failing := func(publish.Item) publish.Outcome {
		select {
		case tried <- struct{}{}:
		default:
		}
		return publish.Outcome{Fault: publish.Misconfigured, Answer: "not yet"}
	}
	b.script.then(failing)
	m := b.Message()
	b.Happen(m, sestina.Send)
	b.Start(b.worker)
	<-tried
	b.Clock.Advance(publish.DefaultHorizon + time.Second)
	u := b.Dead(b.dest, 1)[0]
	if u.Answer != "not published within 72h0m0s; last answer: not yet" {
		t.Errorf("answer %q", u.Answer)
	}

	b.Clock.Advance(10 * publish.DefaultHorizon) // an operator comes back from holidays
	before := len(b.script.items())
	b.redrive()
	b.Await("several new attempts", func() bool { return len(b.script.items()) > before+3 })
	b.Clock.Advance(publish.DefaultHorizon + time.Second)
	b.Dead(b.dest, 1)

	b.script.then(answering(publish.Outcome{Answer: "at last"}))
	b.redrive()
	b.empty()
	if u := b.unit(m); u.State != store.Done || u.Answer != "at last" {
		t.Errorf("unit %+v", u)
	}
}

// TestOldBacklogEndsUntried: what is too old when its turn comes ends without
// an attempt, also while the destination cannot be reached.
func TestOldBacklogEndsUntried(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	m := b.Message()
	for range 200 {
		b.Happen(m, sestina.Send)
	}
	b.Clock.Advance(2 * time.Hour)
	b.worker.Horizon = time.Hour
	b.script.then(answering(publish.Outcome{Fault: publish.Unreachable, Answer: "down"}))
	b.Start(b.worker)
	for _, u := range b.Dead(b.dest, 200) {
		if !strings.HasPrefix(u.Answer, "not published within 1h0m0s") {
			t.Errorf("answer %q", u.Answer)
		}
	}
	if n := len(b.script.items()); n != 0 {
		t.Errorf("%d were tried", n)
	}
}

// TestMore: a destination that needs several steps gets its progress back, also
// beside the worker's own notes of a redriven unit.
func TestMore(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.script.then(answering(publish.Outcome{Fault: publish.Refused, Answer: "first no"}))
	m := b.Message()
	b.Happen(m, sestina.Send)
	b.Start(b.worker)
	b.Dead(b.dest, 1)
	b.script.then(func(it publish.Item) publish.Outcome {
		if n := len(it.Progress); n < 3 {
			return publish.Outcome{Fault: publish.More, Payload: append(slices.Clone(it.Progress), 'x')}
		}
		return publish.Outcome{Answer: "all"}
	})
	b.redrive()
	b.empty()
	var progress []string
	for _, it := range b.script.items()[1:] {
		progress = append(progress, string(it.Progress))
	}
	if got := strings.Join(progress, ","); got != ",x,xx,xxx" {
		t.Errorf("progress %q", got)
	}
	if u := b.unit(m); u.State != store.Done || u.Attempts != 2 {
		t.Errorf("unit %+v", u)
	}
}

// TestMissingOutcome: an item that a destination says nothing about is tried
// again.
func TestMissingOutcome(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.script.short = 2
	m := b.Message()
	for range 5 {
		b.Happen(m, sestina.Send)
	}
	b.Start(b.worker)
	b.Await("three ends", func() bool { return b.Backlog(b.dest) == 2 })
	b.Clock.Advance(time.Minute) // the lane rests a moment
	b.empty()
	if n := len(b.script.items()); n != 7 {
		t.Errorf("%d items were published, want 5 and 2 again", n)
	}
}

// TestLost: publications whose event is gone, or that a newer program wrote, are
// dead letters that say so.
func TestLost(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	m, now := b.Message(), b.Clock.Now()
	known := store.Event{ID: b.IDs.New(now), Scope: b.Scope, MessageID: m.ID, Type: sestina.Send, At: now, Object: []byte("{}")}
	unit := func(ev sestina.ID, payload string) store.Unit {
		u := b.Outbox.Publication(&store.Event{ID: ev, Scope: b.Scope, MessageID: m.ID}, b.dest, now)
		if payload != "" {
			u.Payload = []byte(payload)
		}
		return u
	}
	b.Apply(store.Effects{Events: []store.Event{known}, Units: []store.Unit{
		unit(b.IDs.New(now), ""), unit(known.ID, `{"v":2}`), unit(known.ID, `{`),
	}})
	b.Start(b.worker)
	var answers []string
	for _, u := range b.Dead(b.dest, 3) {
		answers = append(answers, u.Answer)
	}
	for i, want := range []string{
		"the event was deleted before this event was published", "decode progress of a publication: format 2, this program knows 1", "decode progress of a publication: unexpected end of JSON input",
	} {
		if answers[i] != want {
			t.Errorf("answer %q, want %q", answers[i], want)
		}
	}
}

// TestUnknownKindIsHeld: publications to a kind that this program does not
// serve wait.
func TestUnknownKindIsHeld(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.worker.Destinations = nil
	b.Happen(b.Message(), sestina.Send)
	b.Start(b.worker)
	b.Await("held lane", func() bool {
		st, err := b.Store.Lane(context.Background(), store.KindPublication, b.dest.ID.String())
		return err == nil && st.HoldUntil.After(b.Clock.Now())
	})
	if b.Backlog(b.dest) != 1 {
		t.Error("the publication does not wait")
	}
}
