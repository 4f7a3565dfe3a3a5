package publishtest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/sestina-mail/sestina/internal/publish"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/work"
)

// A Target is a destination under test with a place it publishes to, made on a
// Rig.
type Target struct {
	Destination publish.Destination
	// Definition has the kind and the target; Missing has a target that does
	// not exist.
	Definition sestina.EventDestination
	Missing    sestina.EventDestination
	// Receive waits for at least n arrivals and returns them all. Those of the
	// test message that Check publishes, if there is one, are left out.
	Receive func(n int) []Arrival
	// Remove deletes the target.
	Remove func()
	// Refuse makes the target refuse every record for good.
	Refuse func()
	// Kinds is further work that must run for records to arrive.
	Kinds []work.Kind
}

// An Arrival is one record as it came out at the target.
type Arrival struct {
	ID     string // as the target knows it
	Record string // the record, or what stands for it at this kind of target
}

// A Kind is a kind of destination under test.
type Kind struct {
	// Open makes a target on the Rig, whose cache it loads. It is called once
	// per subtest, concurrently.
	Open func(t *testing.T, r *Rig) Target
	// Shows says what the target shows of a record. Nil means the record itself.
	Shows func(record string) string
	// Refuses says that a target can refuse a record for good: Target.Refuse is
	// set.
	Refuses bool
	// Embedded says that arrival is committed together with the publication's
	// end, so that nothing arrives twice, whatever happens.
	Embedded bool
}

type test struct {
	name string
	run  func(s *suite)
}

// Run holds a kind of destination to the contract.
func Run(t *testing.T, k Kind) {
	if k.Shows == nil {
		k.Shows = func(record string) string { return record }
	}
	tests := []test{
		{"Check", (*suite).check},
		{"Body", (*suite).body},
		{"Many", (*suite).many},
		{"RepeatHasSameIDs", (*suite).repeat},
		{"MissingTarget", (*suite).gone},
		{"EndOfContext", (*suite).endOfContext},
		{"Shutdown", (*suite).shutdown},
	}
	if k.Refuses {
		tests = append(tests, test{"Refusal", (*suite).refusal})
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := NewRig(t)
			s := &suite{Rig: r, Target: k.Open(t, r), T: t, kind: k}
			s.Definition.Name, s.Definition.Enabled, s.Definition.EventTypes = "d", true, Types
			s.Definition = r.Destinations(s.Definition)[0]
			test.run(s)
		})
	}
}

type suite struct {
	*testing.T
	*Rig
	Target
	kind Kind
}

func (s *suite) start() { s.Rig.Start(s.Worker(s.Definition.Kind, s.Destination), s.Kinds...) }

func (s *suite) check() {
	effects, err := s.Destination.Check(s.Context(), s.Scope, s.Definition)
	if err != nil {
		s.Fatal(err)
	}
	s.Apply(effects)
	_, err = s.Destination.Check(s.Context(), s.Scope, s.Missing)
	var refusal *sestina.Error
	if !errors.As(err, &refusal) || refusal.Message == "" || refusal.REST != "BadRequestException" || !strings.HasPrefix(refusal.Code, "Inval") {
		s.Errorf("a target that does not exist: %v", err)
	}
	other := s.Scope
	other.Region = "eu-west-1"
	if _, err = s.Destination.Check(s.Context(), other, s.Definition); !errors.As(err, &refusal) && s.Definition.TargetARN() != "" {
		s.Errorf("a target of another region: %v", err)
	}
}

// records returns what arrived, sorted, after requiring that ids are distinct.
func (s *suite) records(arrivals []Arrival) []string {
	s.T.Helper()
	ids := map[string]bool{}
	var out []string
	for _, a := range arrivals {
		if a.ID == "" || ids[a.ID] {
			s.Errorf("id %q is empty or not the only one", a.ID)
		}
		ids[a.ID] = true
		out = append(out, a.Record)
	}
	slices.Sort(out)
	return out
}

// expect requires that exactly these records arrived, in any order.
func (s *suite) expect(got []string, records []string) {
	s.T.Helper()
	var want []string
	for _, r := range records {
		want = append(want, s.kind.Shows(r))
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		s.Errorf("%d records arrived, want %d:\n got %.2000q\nwant %.2000q", len(got), len(want), got, want)
	}
}

// body: every type of event arrives unchanged.
func (s *suite) body() {
	s.start()
	want := s.Happen(s.Message(), Types...)
	s.expect(s.records(s.Receive(len(want))), want)
}

// many: many records at once, more than a batch.
func (s *suite) many() {
	var want []string
	for range 60 {
		want = append(want, s.Happen(s.Message(), Types...)...)
	}
	s.start()
	s.expect(s.records(s.Receive(len(want))), want)
	s.Await("empty backlog", func() bool { return s.Backlog(s.Definition) == 0 })
}

// repeat: an attempt whose end was not recorded is made again, and what
// arrives twice has one id.
func (s *suite) repeat() {
	items := s.items(s.Message(), sestina.Send, sestina.Bounce)
	ids := map[string][]string{} // by record
	for range 2 {
		for i, out := range s.Destination.Publish(s.Context(), s.Definition, items) {
			if out.Fault != publish.NoFault {
				s.Fatalf("item %d: %+v", i, out)
			}
			s.Apply(out.Effects)
		}
	}
	s.Rig.Start(&publish.Worker{Store: s.Store, Sets: s.Sets, Clock: s.Clock}, s.Kinds...) // publications are held
	for _, a := range s.Receive(4) {
		ids[a.Record] = append(ids[a.Record], a.ID)
	}
	for _, it := range items {
		if got := ids[s.kind.Shows(string(it.Record))]; len(got) != 2 || got[0] != got[1] {
			s.Errorf("ids of two attempts at one record: %q", got)
		}
	}
	if len(ids) == 2 && slices.Equal(ids[s.kind.Shows(string(items[0].Record))], ids[s.kind.Shows(string(items[1].Record))]) {
		s.Error("two records have the same id")
	}
}

// gone: the backlog of a target that was deleted becomes dead letters that say
// so.
func (s *suite) gone() {
	s.Remove()
	s.Happen(s.Message(), sestina.Send, sestina.Delivery)
	s.start()
	for _, u := range s.Dead(s.Definition, 2) {
		if !strings.Contains(u.Answer, "deleted") {
			s.Errorf("answer %q", u.Answer)
		}
	}
}

// refusal: what the target refuses for good is not tried again.
func (s *suite) refusal() {
	s.Refuse()
	s.Happen(s.Message(), sestina.Send)
	s.start()
	if u := s.Dead(s.Definition, 1)[0]; u.Attempts != 1 || u.Answer == "" {
		s.Errorf("dead letter after %d attempts: %q", u.Attempts, u.Answer)
	}
}

// endOfContext: Publish returns soon after its context ended, with an outcome
// for every item, none of them final for a fault that is ours.
func (s *suite) endOfContext() {
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	items := s.items(s.Message(), Types...)
	outcomes := s.Destination.Publish(ctx, s.Definition, items)
	if len(outcomes) != len(items) {
		s.Fatalf("%d outcomes for %d items", len(outcomes), len(items))
	}
	for i, out := range outcomes {
		if out.Fault == publish.Refused || out.Fault == publish.Gone {
			s.Errorf("item %d is given up because the program stops: %+v", i, out)
		}
	}
}

// shutdown: the engine is stopped in the middle and started again; nothing is
// lost.
func (s *suite) shutdown() {
	var want []string
	for range 40 {
		want = append(want, s.Happen(s.Message(), Types...)...)
	}
	s.start()
	s.Await("first publication", func() bool { return s.Backlog(s.Definition) < len(want) })
	s.Stop()
	s.start()
	s.Await("empty backlog", func() bool { return s.Backlog(s.Definition) == 0 })
	got := s.Receive(len(want))
	if s.kind.Embedded {
		s.expect(s.records(got), want)
		return
	}
	seen := map[string]bool{}
	for _, a := range got {
		seen[a.Record] = true
	}
	for _, r := range want {
		if !seen[s.kind.Shows(r)] {
			s.Errorf("lost: %s", r)
		}
	}
}
