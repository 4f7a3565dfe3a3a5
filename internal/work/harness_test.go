package work_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sestina-mail/sestina/internal/clock"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
	"github.com/sestina-mail/sestina/internal/store/sqlite"
	"github.com/sestina-mail/sestina/internal/work"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var scope = sestina.Scope{Account: "000000000000", Region: "us-east-1"}

// patience is how long a test waits for what must happen.
const patience = 60 * time.Second

// A tapped store is the real one; it shows every command to the test and can
// refuse some in its place.
type tapped struct {
	store.Store

	mu      sync.Mutex
	refuse  func(store.Command) error // asked before; an error replaces the command
	done    []store.Command           // carried out without error
	final   int                       // how many of them ended a unit
	changed chan struct{}             // closed and replaced at every change
}

func (s *tapped) Do(ctx context.Context, c store.Command) error {
	s.mu.Lock()
	refuse := s.refuse
	s.mu.Unlock()
	if refuse != nil {
		if err := refuse(c); err != nil {
			return err
		}
	}
	err := s.Store.Do(ctx, c)
	if err == nil {
		s.mu.Lock()
		s.done = append(s.done, c)
		if f, ok := c.(*store.Finish); ok && f.State != store.Waiting {
			s.final++
		}
		close(s.changed)
		s.changed = make(chan struct{})
		s.mu.Unlock()
	}
	return err
}

// refusing sets who may refuse commands.
func (s *tapped) refusing(fn func(store.Command) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = fn
}

// finished returns the results stored so far, in order.
func (s *tapped) finished() []*store.Finish { return commands[*store.Finish](s) }

// lanes returns the lane states stored so far, in order.
func (s *tapped) lanes() []*store.SetLane { return commands[*store.SetLane](s) }

func commands[C store.Command](s *tapped) []C {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []C
	for _, c := range s.done {
		if c, ok := c.(C); ok {
			out = append(out, c)
		}
	}
	return out
}

// A rig is a real store in a temporary folder, a clock, and what tests need
// around an engine.
type rig struct {
	testing.TB
	dir   string
	store *tapped
	clock *clock.Clock
	ids   sestina.IDs
	// message is the email that all units are about, to find them again.
	message sestina.ID
}

func newRig(tb testing.TB) *rig {
	tb.Helper()
	r := &rig{TB: tb, dir: tb.TempDir(), clock: clock.New(0)}
	r.message = r.ids.New(r.clock.Now())
	r.open()
	tb.Cleanup(func() { r.close() })
	return r
}

func (r *rig) open() {
	r.Helper()
	st, err := sqlite.Open(context.Background(), sqlite.Options{
		Dir: r.dir, Clock: r.clock, Logger: slog.New(slog.DiscardHandler), Reserve: -1,
	})
	if err != nil {
		r.Fatal(err)
	}
	r.store = &tapped{Store: st, changed: make(chan struct{})}
}

func (r *rig) close() {
	if err := r.store.Close(); err != nil {
		r.Error(err)
	}
}

// engine makes an engine that hears of commits. It has few workers, so that
// tests notice when one is wasted.
func (r *rig) engine(o work.Options) *work.Engine {
	o.Store, o.Clock = r.store, r.clock
	o.Logger = slog.New(slog.DiscardHandler)
	if o.Grace == 0 {
		o.Grace = 50 * time.Millisecond
	}
	e := work.New(o)
	r.store.Subscribe(e)
	return e
}

// run starts the engine; stop ends it and waits. The end of the test stops it
// too.
func (r *rig) run(e *work.Engine) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			r.Error(err)
		}
	})
	r.Cleanup(stop)
	return stop
}

// start makes and runs an engine of one kind, KindDelivery.
func (r *rig) start(k work.Kind) *work.Engine {
	e := r.engine(work.Options{Kinds: []work.Kind{k}})
	r.run(e)
	return e
}

// units makes n waiting units of a lane.
func (r *rig) units(lane string, n int, due time.Time) []store.Unit {
	out := make([]store.Unit, n)
	for i := range out {
		out[i] = store.Unit{
			ID: r.ids.New(r.clock.Now()), Scope: scope, Kind: store.KindDelivery, Lane: lane, Due: due,
			MessageID: r.message, Payload: fmt.Appendf(nil, "%s/%d", lane, i),
		}
	}
	return out
}

// add stores n units of a lane that are due now.
func (r *rig) add(lane string, n int) []store.Unit {
	r.Helper()
	return r.addUnits(r.units(lane, n, r.clock.Now()))
}

func (r *rig) addUnits(units []store.Unit) []store.Unit {
	r.Helper()
	if err := r.store.Do(context.Background(), &store.Write{Effects: store.Effects{Units: units}}); err != nil {
		r.Fatal(err)
	}
	return units
}

// unit reads one unit of the rig's message.
func (r *rig) unit(id sestina.ID) store.Unit {
	r.Helper()
	units, err := r.store.UnitsOfMessage(context.Background(), scope, r.message)
	if err != nil {
		r.Fatal(err)
	}
	i := slices.IndexFunc(units, func(u store.Unit) bool { return u.ID == id })
	if i < 0 {
		r.Fatalf("unit %s does not exist", id)
	}
	return units[i]
}

// attempts reads the attempts of a unit.
func (r *rig) attempts(id sestina.ID) []store.Attempt {
	r.Helper()
	got, err := r.store.Attempts(context.Background(), []sestina.ID{id})
	if err != nil {
		r.Fatal(err)
	}
	return got
}

// until waits until ok, which is asked again after every command.
func (r *rig) until(what string, ok func() bool) {
	r.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		r.store.mu.Lock()
		changed := r.store.changed
		r.store.mu.Unlock()
		if ok() {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			r.Fatalf("it did not come to this: %s", what)
		}
	}
}

// allFinal waits until n results were stored that end their unit.
func (r *rig) allFinal(n int) {
	r.Helper()
	r.until(fmt.Sprintf("%d units finished", n), func() bool {
		r.store.mu.Lock()
		defer r.store.mu.Unlock()
		return r.store.final >= n
	})
}

// handler is a function as a Handler.
type handler func(ctx context.Context, lane string, units []store.Unit) []work.Result

func (h handler) Work(ctx context.Context, lane string, units []store.Unit) []work.Result {
	return h(ctx, lane, units)
}

// each makes a handler of a function that treats one unit.
func each(fn func(ctx context.Context, u store.Unit) work.Result) handler {
	return func(ctx context.Context, _ string, units []store.Unit) []work.Result {
		var out []work.Result
		for _, u := range units {
			r := fn(ctx, u)
			r.Unit = u
			out = append(out, r)
		}
		return out
	}
}

func done(context.Context, store.Unit) work.Result { return work.Result{Verdict: work.Done} }

// limits makes a Batch or Concurrency function.
func limits(n int) func(string) int { return func(string) int { return n } }

// delivery is a kind for tests: its backoffs are hours, so nothing happens twice
// unless the test moves the clock.
func delivery(h work.Handler) work.Kind {
	return work.Kind{
		Kind: store.KindDelivery, Name: "delivery", Handler: h,
		Backoff: work.Schedule(time.Hour, 2*time.Hour, 4*time.Hour),
	}
}

// receive waits for a value of a channel.
func receive[T any](tb testing.TB, what string, ch <-chan T) T {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	select {
	case v := <-ch:
		return v
	case <-ctx.Done():
		tb.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}
