package work

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sestina-mail/sestina/internal/clock"
	"github.com/sestina-mail/sestina/internal/store"
)

// Options configure an Engine.
type Options struct {
	Store  store.Store
	Clock  *clock.Clock // nil means the system's clock
	Logger *slog.Logger // nil means slog.Default
	Kinds  []Kind
	// Workers is the most batches worked on at once, over all kinds and lanes.
	// Half of them are set aside for the kinds in equal shares, so that a kind
	// whose handlers hang cannot starve the others. 0 means 512.
	Workers int
	// Poll is how often lanes are looked for that other nodes gave work or left
	// behind. 0 means never, which is right where one process owns the store.
	Poll time.Duration
	// Grace is how long workers may go on when Run is told to stop, before the
	// context of their handlers ends. 0 means 5 s.
	Grace time.Duration
}

// An Engine runs durable work. It implements store.Listener: subscribe it to
// its store before Run. All methods may be called concurrently.
type Engine struct {
	store store.Store
	clock *clock.Clock
	log   *slog.Logger
	poll  time.Duration
	grace time.Duration
	kinds []*kind
	byID  map[store.Kind]*kind

	inbox inbox         // what commits told, not yet taken in
	wake  chan struct{} // signals the scheduler to look again
	// commits bounds the commands under way at the store.
	commits chan struct{}
	outage  atomic.Bool // the store was unavailable when last asked
	wg      sync.WaitGroup

	mu      sync.Mutex // guards the rest, and all lanes
	started bool
	running bool            // claims are allowed
	ctx     context.Context // of workers: ends when the grace period is over
	free    int             // unused worker slots
	reserve int             // worker slots set aside per kind
	turn    int             // the kind that is served next
	asleep  time.Time       // until when the scheduler sleeps
	changes uint64          // counts changes of lane states
}

// New returns an engine; Run starts it. It panics when the kinds are not
// distinct or lack a handler, which is a mistake of the program.
func New(o Options) *Engine {
	if o.Clock == nil {
		o.Clock = clock.New(0)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Workers <= 0 {
		o.Workers = 512
	}
	if o.Grace <= 0 {
		o.Grace = 5 * time.Second
	}
	e := &Engine{
		store: o.Store, clock: o.Clock, log: o.Logger, poll: o.Poll, grace: o.Grace,
		byID:    make(map[store.Kind]*kind),
		inbox:   newInbox(),
		wake:    make(chan struct{}, 1),
		commits: make(chan struct{}, 4096),
		free:    o.Workers,
	}
	for _, k := range o.Kinds {
		if k.Handler == nil || e.byID[k.Kind] != nil {
			panic(fmt.Sprintf("work: kind %d (%s) has no handler or is given twice", k.Kind, k.Name))
		}
		ks := newKind(k)
		e.kinds = append(e.kinds, ks)
		e.byID[k.Kind] = ks
	}
	if n := len(e.kinds); n > 1 {
		e.reserve = o.Workers / 2 / n
	}
	return e
}

// Run finds the lanes that have work and serves them until ctx ends. Then it
// claims nothing more, gives workers the grace period to finish, ends their
// handlers' context, commits what they return and releases the rest. It returns
// when all its goroutines ended, so a handler that ignores the end of its
// context holds it up. An engine runs once.
func (e *Engine) Run(ctx context.Context) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	e.mu.Lock()
	if e.started {
		e.mu.Unlock()
		return errors.New("work: the engine was started before")
	}
	e.started, e.running, e.ctx = true, true, work
	e.mu.Unlock()

	var loops sync.WaitGroup
	loops.Go(func() { e.schedule(ctx) })
	loops.Go(func() { e.scan(ctx) })
	<-ctx.Done()
	e.mu.Lock()
	e.running = false
	e.mu.Unlock()
	loops.Wait()

	finished := make(chan struct{})
	go func() { e.wg.Wait(); close(finished) }()
	grace, cancel := context.WithTimeout(work, e.grace)
	defer cancel()
	select {
	case <-finished:
	case <-grace.Done():
		e.log.Warn("work goes on after the grace period; ending it", "grace", e.grace)
		stop()
		<-finished
	}
	return nil
}

// Committed implements store.Listener: the lanes that got work are looked at
// when it is due.
func (e *Engine) Committed(c store.Change) {
	if len(c.Lanes) == 0 {
		return
	}
	e.inbox.add(c.Lanes)
	e.signal()
}

// DocumentsChanged implements store.Listener; the engine keeps no documents.
func (e *Engine) DocumentsChanged([]store.Document) {}

// Wake ends what keeps a lane from being served (a hold, the wait before a
// probe), except a pause, and looks at it at once. Call it when the reason of a
// hold is gone. New units need no Wake: their commit tells the engine.
func (e *Engine) Wake(id store.Kind, name string) {
	k := e.byID[id]
	if k == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	l := k.lane(name)
	l.rest, l.woken = time.Time{}, true
	l.wakes++
	now := e.clock.Now()
	l.expect(now)
	e.place(l, now)
	e.dispatch(now)
}

// Pause keeps a lane from being served until Resume. What is being worked on is
// finished. It returns when the pause is durable; store.ErrUnavailable means
// that nothing changed.
func (e *Engine) Pause(ctx context.Context, id store.Kind, name string) error {
	return e.setPaused(ctx, id, name, true)
}

// Resume ends a pause. It returns when that is durable; store.ErrUnavailable
// means that nothing changed.
func (e *Engine) Resume(ctx context.Context, id store.Kind, name string) error {
	return e.setPaused(ctx, id, name, false)
}

// State tells the state of a lane, zero when it is healthy.
func (e *Engine) State(ctx context.Context, id store.Kind, name string) (store.LaneState, error) {
	if k := e.byID[id]; k != nil {
		e.mu.Lock()
		l := k.lanes[name]
		if l != nil && l.loaded {
			st := l.state
			e.mu.Unlock()
			return st, nil
		}
		e.mu.Unlock()
	}
	st, err := e.store.Lane(ctx, id, name)
	if err != nil {
		return store.LaneState{}, fmt.Errorf("state of lane %q: %w", name, err)
	}
	return st, nil
}

// Forget drops what is remembered of lanes and looks at all of them again. Call
// it after store.Reset, which deletes their states.
func (e *Engine) Forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.clock.Now()
	e.changes++
	for _, k := range e.kinds {
		for _, l := range k.lanes {
			l.state, l.rest, l.woken = store.LaneState{}, time.Time{}, false
			l.loaded, l.change, l.saved = true, e.changes, e.changes
			l.epoch++
			l.expect(now)
			e.place(l, now)
		}
	}
	e.dispatch(now)
}

// signal makes the scheduler look again.
func (e *Engine) signal() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// An inbox keeps, per lane, the earliest due time that commits told of until
// the engine takes it in. It has its own lock, held only for moments, because
// the goroutine that commits must never wait.
type inbox struct {
	mu    *sync.Mutex
	due   map[laneKey]time.Time
	spare map[laneKey]time.Time
}

type laneKey struct {
	kind store.Kind
	name string
}

func newInbox() inbox {
	return inbox{mu: new(sync.Mutex), due: make(map[laneKey]time.Time), spare: make(map[laneKey]time.Time)}
}

func (b *inbox) add(lanes []store.LaneDue) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, d := range lanes {
		key := laneKey{d.Kind, d.Lane}
		if old, ok := b.due[key]; !ok || d.Due.Before(old) {
			b.due[key] = d.Due
		}
	}
}

// take returns what was added since the last take. It is valid until the next.
func (b *inbox) take() map[laneKey]time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.due) == 0 {
		return nil
	}
	got := b.due
	if len(b.spare) > 4096 {
		b.spare = make(map[laneKey]time.Time) // do not keep what one flood needed
	}
	clear(b.spare)
	b.due, b.spare = b.spare, got
	return got
}
