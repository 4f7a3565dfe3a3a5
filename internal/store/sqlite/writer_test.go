package sqlite

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

var (
	testScope = sestina.Scope{Account: "000000000000", Region: "us-east-1"}
	testTime  = time.Date(2026, 3, 14, 15, 9, 26, 535e6, time.UTC)
)

// A gate is a listener that stops the writer after a commit until it is opened.
type gate struct {
	arrived chan struct{}
	open    chan struct{}
	once    sync.Once
}

func (g *gate) Committed(store.Change) {
	g.once.Do(func() {
		close(g.arrived)
		<-g.open
	})
}

func (g *gate) DocumentsChanged([]store.Document) {}

// A stopped store has its writer held at a gate, so that what is queued next
// makes one batch.
type stopped struct {
	*Store
	t    *testing.T
	ids  *sestina.IDs
	gate *gate
	wg   sync.WaitGroup
}

func newStopped(t *testing.T) *stopped {
	t.Helper()
	s, err := Open(t.Context(), Options{
		Dir: filepath.Join(t.TempDir(), "data"), Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	x := &stopped{Store: s, t: t, ids: &sestina.IDs{}, gate: &gate{arrived: make(chan struct{}), open: make(chan struct{})}}
	s.Subscribe(x.gate)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	x.wg.Go(func() {
		if err := x.Do(context.Background(), x.newEvent(x.ids.New(testTime))); err != nil {
			t.Error(err)
		}
	})
	<-x.gate.arrived
	return x
}

func (x *stopped) newEvent(id sestina.ID) *store.Write {
	return &store.Write{Effects: store.Effects{Events: []store.Event{{ID: id, Scope: testScope, Type: sestina.Send, At: testTime}}}}
}

// start gives a command and returns once it is queued; its answer is in err
// after release.
func (x *stopped) start(ctx context.Context, c store.Command) (err *error) {
	x.t.Helper()
	before := x.Stats().Queued
	err = new(error)
	x.wg.Go(func() { *err = x.Do(ctx, c) })
	for x.Stats().Queued == before {
		runtime.Gosched()
	}
	return err
}

// onWriter runs fn on the writer's goroutine, also while there is no database.
func (x *stopped) onWriter(fn func()) {
	x.t.Helper()
	if err := x.write(x.t.Context(), &op{pure: true, fn: func(*txn) error { fn(); return nil }}); err != nil {
		x.t.Fatal(err)
	}
}

// release lets the writer go on and waits for all answers.
func (x *stopped) release() {
	close(x.gate.open)
	x.wg.Wait()
}

func (x *stopped) has(id sestina.ID) bool {
	x.t.Helper()
	_, err := x.Event(x.t.Context(), id)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		x.t.Fatal(err)
	}
	return err == nil
}

func TestGroupCommit(t *testing.T) {
	t.Parallel()
	t.Run("QueuedCommandsShareOneCommit", func(t *testing.T) {
		t.Parallel()
		x := newStopped(t)
		before := x.Stats()
		ids := make([]sestina.ID, 100)
		for i := range ids {
			ids[i] = x.ids.New(testTime)
			x.start(t.Context(), x.newEvent(ids[i]))
		}
		x.release()
		after := x.Stats()
		if n := after.Commits - before.Commits; n != 1 {
			t.Errorf("%d commits", n)
		}
		if after.Commands-before.Commands != 100 || after.LargestBatch != 100 {
			t.Errorf("stats are %+v, were %+v", after, before)
		}
		for _, id := range ids {
			if !x.has(id) {
				t.Errorf("event %s is missing", id)
			}
		}
	})
	t.Run("RefusedCommandsDoNotTakeOthersAlong", func(t *testing.T) {
		t.Parallel()
		x := newStopped(t)
		twice := x.ids.New(testTime)
		good := []*error{x.start(t.Context(), x.newEvent(twice))}
		bad := []*error{x.start(t.Context(), x.newEvent(twice))}
		mine := errors.New("mine")
		var update, panicked error
		x.wg.Go(func() {
			update = x.Update(t.Context(), func(tx store.Tx) error {
				if err := tx.Put(store.Document{Scope: testScope, Kind: "k", Name: "n"}); err != nil {
					return err
				}
				return mine
			})
		})
		x.wg.Go(func() { panicked = x.Update(t.Context(), func(store.Tx) error { panic("a fault") }) })
		for x.Stats().Queued < 4 {
			runtime.Gosched()
		}
		stale := store.Unit{ID: x.ids.New(testTime), Token: 7}
		fenced := x.start(t.Context(), &store.Finish{Unit: stale, State: store.Done, At: testTime})
		last := x.ids.New(testTime)
		good = append(good, x.start(t.Context(), x.newEvent(last)))
		x.release()
		for i, err := range good {
			if *err != nil {
				t.Errorf("good command %d: %v", i, *err)
			}
		}
		if *bad[0] == nil || errors.Is(*bad[0], store.ErrUnavailable) {
			t.Errorf("bad command: %v", *bad[0])
		}
		if !errors.Is(*fenced, store.ErrFenced) {
			t.Errorf("stale finish: %v", *fenced)
		}
		if update != mine {
			t.Errorf("update: %v", update)
		}
		if panicked == nil || !strings.Contains(panicked.Error(), "a fault") {
			t.Errorf("panic: %v", panicked)
		}
		if !x.has(twice) || !x.has(last) {
			t.Error("a good command's event is missing")
		}
		if _, err := x.Get(t.Context(), testScope, "k", "n"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("document of the failed update: %v", err)
		}
	})
	t.Run("QueuedCommandIsCarriedOutWithoutItsCaller", func(t *testing.T) {
		t.Parallel()
		x := newStopped(t)
		id := x.ids.New(testTime)
		ctx, leave := context.WithCancel(t.Context())
		err := x.start(ctx, x.newEvent(id))
		leave()
		x.release()
		if *err != nil || !x.has(id) {
			t.Errorf("answer is %v, event there: %t", *err, x.has(id))
		}
	})
	t.Run("FullQueueWaitsForRoom", func(t *testing.T) {
		t.Parallel()
		x := newStopped(t)
		errs := make([]*error, queueLength)
		for i := range errs {
			errs[i] = x.start(t.Context(), x.newEvent(x.ids.New(testTime)))
		}
		id, late := x.ids.New(testTime), x.ids.New(testTime)
		ctx, cancel := context.WithCancel(t.Context())
		var left error
		done := make(chan struct{})
		go func() { defer close(done); left = x.Do(ctx, x.newEvent(id)) }()
		cancel()
		<-done // without the writer going on
		if !errors.Is(left, context.Canceled) {
			t.Errorf("answer is %v", left)
		}
		var waited error
		x.wg.Go(func() { waited = x.Do(t.Context(), x.newEvent(late)) })
		x.release()
		for _, err := range append(errs, &waited) {
			if *err != nil {
				t.Fatal(*err)
			}
		}
		if x.has(id) || !x.has(late) {
			t.Error("the wrong one was written")
		}
	})
	t.Run("CloseCommitsWhatIsQueued", func(t *testing.T) {
		t.Parallel()
		x := newStopped(t)
		errs := make([]*error, 20)
		for i := range errs {
			errs[i] = x.start(t.Context(), x.newEvent(x.ids.New(testTime)))
		}
		closed := make(chan error)
		go func() { closed <- x.Close() }()
		<-x.closing
		if err := x.Do(t.Context(), x.newEvent(x.ids.New(testTime))); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("while closing: %v", err)
		}
		x.release()
		if err := <-closed; err != nil {
			t.Fatal(err)
		}
		for _, err := range errs {
			if *err != nil {
				t.Error(*err)
			}
		}
	})
}

// TestFaults breaks the database under a running store.
func TestFaults(t *testing.T) {
	t.Parallel()
	open := func(t *testing.T) *stopped {
		x := newStopped(t)
		x.release()
		return x
	}
	t.Run("FullDiskRefusesAndRecovers", func(t *testing.T) {
		t.Parallel()
		x := open(t)
		// The connection finds the disk full from here on.
		if err := x.write(t.Context(), &op{fn: func(t *txn) error { return t.c.script("PRAGMA max_page_count = 1") }}); err != nil {
			t.Fatal(err)
		}
		unit := store.Unit{ID: x.ids.New(testTime), Scope: testScope, Kind: 1, Lane: "l", Due: testTime}
		big := x.newEvent(x.ids.New(testTime))
		big.Events[0].Object = make([]byte, 1<<20)
		big.Units = []store.Unit{unit}
		if err := x.Do(t.Context(), big); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("error is %v", err)
		}
		if x.has(big.Events[0].ID) || x.Stats().Failures != 1 {
			t.Fatalf("the event is there, or stats are wrong: %+v", x.Stats())
		}
		if err := x.Do(t.Context(), big); err != nil { // on a new connection
			t.Fatal(err)
		}
		if !x.has(big.Events[0].ID) {
			t.Fatal("the event is missing")
		}
	})
	t.Run("FinishCanBeRepeated", func(t *testing.T) {
		t.Parallel()
		x := open(t)
		unit := store.Unit{ID: x.ids.New(testTime), Scope: testScope, Kind: 1, Lane: "l", Due: testTime}
		if err := x.Do(t.Context(), &store.Write{Effects: store.Effects{Units: []store.Unit{unit}}}); err != nil {
			t.Fatal(err)
		}
		units, err := x.Claim(t.Context(), 1, "l", testTime, 1)
		if err != nil || len(units) != 1 {
			t.Fatalf("claimed %v: %v", units, err)
		}
		if err := x.write(t.Context(), &op{fn: func(t *txn) error { return t.c.script("PRAGMA max_page_count = 1") }}); err != nil {
			t.Fatal(err)
		}
		f := &store.Finish{Unit: units[0], State: store.Done, At: testTime, Effects: x.newEvent(x.ids.New(testTime)).Effects}
		f.Effects.Events[0].Object = make([]byte, 1<<20)
		if err := x.Do(t.Context(), f); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("error is %v", err)
		}
		if err := x.Do(t.Context(), f); err != nil {
			t.Fatal(err)
		}
		if err := x.Do(t.Context(), f); !errors.Is(err, store.ErrFenced) {
			t.Fatalf("error is %v", err)
		}
	})
	t.Run("LostFileRefusesAndRecovers", func(t *testing.T) {
		t.Parallel()
		x := open(t)
		path := x.path
		x.onWriter(func() { x.path = filepath.Join(x.dir, "unplugged", "sestina.db") })
		err := x.write(t.Context(), &op{fn: func(t *txn) error {
			return t.c.script("PRAGMA max_page_count = 1; CREATE TABLE big (x); INSERT INTO big VALUES (zeroblob(1000000))")
		}})
		if !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("error is %v", err)
		}
		id := x.ids.New(testTime)
		for range 3 { // the file cannot be opened again
			if err := x.Do(t.Context(), x.newEvent(id)); !errors.Is(err, store.ErrUnavailable) {
				t.Fatalf("error is %v", err)
			}
		}
		x.onWriter(func() { x.path = path })
		if err := x.Do(t.Context(), x.newEvent(id)); err != nil {
			t.Fatal(err)
		}
		if !x.has(id) {
			t.Fatal("the event is missing")
		}
	})
}

// TestLongQueryDoesNotKeepTheWALLong holds a query open while much is written:
// the WAL cannot be shrunk, writing goes on, and it is shrunk afterwards.
func TestLongQueryDoesNotKeepTheWALLong(t *testing.T) {
	t.Parallel()
	x := newStopped(t)
	x.release()
	x.onWriter(func() { x.walLimit = 1 << 20 })
	write := func() {
		t.Helper()
		w := x.newEvent(x.ids.New(testTime))
		w.Events[0].Object = make([]byte, 1<<20)
		if err := x.Do(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	reading, end := make(chan struct{}), make(chan struct{})
	x.wg.Go(func() {
		err := x.reads.do(t.Context(), func(c *conn) error {
			q := c.sql(`SELECT id FROM events`)
			q.next()
			close(reading)
			<-end
			return q.done()
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-reading
	write()
	write()
	write()
	if n := x.Stats().WAL; n < 2<<20 {
		t.Fatalf("the WAL has %d bytes although a query reads from it", n)
	}
	close(end)
	x.wg.Wait()
	write()
	if err := x.Ping(t.Context()); err != nil { // what follows a commit is done before the next
		t.Fatal(err)
	}
	if n := x.Stats().WAL; n > 1<<20 {
		t.Errorf("the WAL has %d bytes", n)
	}
}
