package sqlite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// How much waits for, and goes into, one transaction.
const (
	queueLength = 1024
	batchOps    = 512
	batchBytes  = 4 << 20
)

// An op is something for the writer to do: a command or a function.
type op struct {
	cmd  store.Command
	fn   func(*txn) error
	size int  // bytes it will write, roughly
	pure bool // writes nothing to the database
	err  error
	done chan struct{} // holds one token when the op is answered
}

// write hands an op to the writer and waits for the commit that holds it.
func (s *Store) write(ctx context.Context, o *op) error {
	s.sendMu.RLock()
	if s.ended {
		s.sendMu.RUnlock()
		return fmt.Errorf("%w: the store is closed", store.ErrUnavailable)
	}
	s.senders.Add(1)
	s.sendMu.RUnlock()
	o.done = make(chan struct{}, 1)
	err := s.enqueue(ctx, o)
	s.senders.Done()
	if err != nil {
		return err
	}
	// From here on the op will be carried out: its commit answers, not ctx.
	<-o.done
	return o.err
}

func (s *Store) enqueue(ctx context.Context, o *op) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case s.queue <- o:
		return nil
	default:
	}
	select {
	case s.queue <- o:
		return nil
	case <-s.closing:
		return fmt.Errorf("%w: the store is closing", store.ErrUnavailable)
	case <-ctx.Done():
		return fmt.Errorf("wait for room in the write queue: %w", ctx.Err())
	}
}

// A writer owns the writing connection. Only its goroutine uses it.
type writer struct {
	s     *Store
	c     *conn // nil after a fault, until it could be opened again
	batch []*op
	limit int64 // size of the WAL at which to shrink it, when above s.walLimit
}

func (w *writer) open() error {
	c, err := openConn(w.s.path, writerCache)
	if err != nil {
		return err
	}
	// The file has been in this mode since it was made; one that was restored
	// from a copy by other means may not be.
	if err := c.script("PRAGMA journal_mode = WAL"); err != nil {
		return errors.Join(err, c.close())
	}
	w.c = c
	return nil
}

// loop runs until the queue is closed and everything in it is answered.
func (w *writer) loop() {
	defer close(w.s.stopped)
	for w.take() {
		w.run()
		w.shrink()
	}
	if w.c != nil {
		if err := w.c.close(); err != nil {
			w.s.log.Error("closing the database failed", "error", err)
		}
	}
}

// take waits for ops and collects all that are queued, within bounds.
func (w *writer) take() bool {
	w.batch = w.batch[:0]
	o, ok := <-w.s.queue
	size := 0
	for ok {
		w.batch = append(w.batch, o)
		if size += o.size; size >= batchBytes || len(w.batch) >= batchOps {
			break
		}
		select {
		case o, ok = <-w.s.queue:
		default:
			ok = false
		}
	}
	return len(w.batch) > 0
}

// run carries out the batch: in one transaction when all goes well; repeated
// with savepoints when a command fails; refused as a whole when the database
// is unavailable.
func (w *writer) run() {
	t, err := w.transaction(false)
	if errors.Is(err, errRepeat) {
		t, err = w.transaction(true)
	}
	w.s.stats.batch(len(w.batch), t != nil && t.begun, err)
	if err != nil {
		w.s.log.Error("commit failed", "commands", len(w.batch), "error", err)
		w.refuse(err)
	} else {
		t.committed()
	}
	for _, o := range w.batch {
		o.done <- struct{}{}
	}
	clear(w.batch) // their bodies are not needed any more
}

// refuse answers the batch with ErrUnavailable, but for ops that write nothing:
// these are carried out all the same.
func (w *writer) refuse(cause error) {
	t := &txn{s: w.s}
	for _, o := range w.batch {
		o.err = fmt.Errorf("%w: %w", store.ErrUnavailable, cause)
		if o.pure {
			_ = t.carryOut(o, false) // sets o.err
		}
	}
	t.committed()
}

// walLimit is the size, in bytes, at which the WAL is shrunk.
const walLimit = 64 << 20

// shrink empties a WAL that has grown too long. Usually SQLite begins it anew
// after the checkpoint at 32 MB, but only at a moment when no query reads from
// it; under a steady load of queries there is none. So wait for those that are
// running (later ones do not need the WAL any more once it is copied).
func (w *writer) shrink() {
	size := fileSize(w.s.path + "-wal")
	if w.c == nil || size < max(w.limit, w.s.walLimit) {
		return
	}
	w.c.db.SetBusyTimeout(250 * time.Millisecond)
	defer w.c.db.SetBusyTimeout(busyTimeout)
	q := w.c.sql("PRAGMA wal_checkpoint(TRUNCATE)")
	busy := !q.next() || q.getBool()
	if err := q.done(); err != nil {
		w.s.log.Error("checkpoint failed", "wal", size, "error", err)
		busy = true
	}
	if w.limit = 0; busy {
		w.limit = size + w.s.walLimit/2 // then try again
	}
}

// errRepeat says that one op failed and the others have to be repeated without
// its traces.
var errRepeat = errors.New("a command failed")

// transaction runs the batch in one transaction. Ops have their own results in
// err; the returned error means that nothing was written.
func (w *writer) transaction(savepoints bool) (t *txn, err error) {
	if w.c == nil {
		if err := w.open(); err != nil {
			return nil, fmt.Errorf("open the database again: %w", err)
		}
	}
	t = &txn{s: w.s, c: w.c}
	defer func() {
		if err != nil {
			w.rollback(t, err)
		}
	}()
	for _, o := range w.batch {
		if err := t.carryOut(o, savepoints); err != nil {
			return t, err
		}
	}
	if t.begun {
		if err := w.c.sql("COMMIT").run(); err != nil {
			return t, err
		}
	}
	return t, nil
}

// rollback ends a failed transaction. After a fault of the database the
// connection is opened anew.
func (w *writer) rollback(t *txn, cause error) {
	t.undo(mark{})
	w.s.scopes.forget()
	var err error
	if t.begun && !w.c.db.AutocommitEnabled() {
		err = w.c.sql("ROLLBACK").run()
	}
	if err != nil || isUnavailable(cause) {
		_ = w.c.close()
		w.c = nil
	}
}

// A txn is a transaction in progress and what its commit will mean to others.
type txn struct {
	s     *Store
	c     *conn
	begun bool

	lanes    []store.LaneDue
	queues   []sestina.ID
	events   []store.Event
	docs     []store.Document
	ending   []sestina.ID // units whose claims end with the commit
	staged   []sestina.ID // body files that get their message
	unlinked []sestina.ID // body files that lose their message
	reset    bool         // all claims end
}

// A mark is a point in a txn to return to.
type mark struct{ lanes, queues, events, docs, ending, staged, unlinked int }

func (t *txn) mark() mark {
	return mark{len(t.lanes), len(t.queues), len(t.events), len(t.docs), len(t.ending), len(t.staged), len(t.unlinked)}
}

// undo forgets what was noted since m.
func (t *txn) undo(m mark) {
	t.s.claims.resume(t.ending[m.ending:])
	t.lanes, t.queues, t.events, t.docs = t.lanes[:m.lanes], t.queues[:m.queues], t.events[:m.events], t.docs[:m.docs]
	t.ending, t.staged, t.unlinked = t.ending[:m.ending], t.staged[:m.staged], t.unlinked[:m.unlinked]
}

// carryOut runs one op. Its own failure is in o.err; the returned error ends
// the transaction.
func (t *txn) carryOut(o *op, savepoints bool) error {
	if !o.pure && !t.begun {
		if err := t.c.sql("BEGIN IMMEDIATE").run(); err != nil {
			return err
		}
		t.begun = true
	}
	// A function decides while it writes, so it always needs a way back; a
	// command that the contract refuses has not written yet.
	guarded := t.begun && (savepoints || o.fn != nil)
	m := t.mark()
	if guarded {
		if err := t.c.sql("SAVEPOINT command").run(); err != nil {
			return err
		}
	}
	o.err = t.try(o)
	switch {
	case t.begun && t.c.db.AutocommitEnabled(): // SQLite gave up the transaction
		return cmp.Or(o.err, errors.New("transaction ended early"))
	case isUnavailable(o.err):
		return o.err
	case o.err == nil && !guarded:
		return nil
	case o.err == nil:
		return t.c.sql("RELEASE command").run()
	}
	t.undo(m)
	if guarded {
		t.s.scopes.forget()
		return errors.Join(t.c.sql("ROLLBACK TO command").run(), t.c.sql("RELEASE command").run())
	}
	if errors.Is(o.err, store.ErrFenced) {
		return nil
	}
	return errRepeat
}

// try runs the op and turns a panic into its error, so that a fault in one
// caller's function does not end everybody's writing.
func (t *txn) try(o *op) (err error) {
	defer func() {
		if p := recover(); p != nil {
			t.s.log.Error("panic in a storage command", "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic in a storage command: %v", p)
		}
	}()
	if o.fn != nil {
		return o.fn(t)
	}
	return t.command(o.cmd)
}

// committed tells everybody concerned that the transaction is durable: first
// the claims, so that listeners can claim what became free, then the listeners.
func (t *txn) committed() {
	if t.reset {
		t.s.claims.clear()
	}
	t.s.claims.drop(t.ending)
	t.s.bodies.named(t.staged)
	t.s.bodies.remove(t.unlinked, t.s.log)
	listeners := *t.s.listeners.Load()
	if len(listeners) == 0 {
		return
	}
	c := store.Change{Lanes: earliest(t.lanes), Queues: distinct(t.queues), Events: t.events}
	for _, l := range listeners {
		t.tell(l, c)
	}
}

// tell tells one listener. A fault in it is logged; the commit stands.
func (t *txn) tell(l store.Listener, c store.Change) {
	defer func() {
		if p := recover(); p != nil {
			t.s.log.Error("panic in a store listener", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	if len(t.docs) > 0 {
		l.DocumentsChanged(t.docs)
	}
	if len(c.Lanes)+len(c.Queues)+len(c.Events) > 0 {
		l.Committed(c)
	}
}

// earliest keeps the earliest due time per lane.
func earliest(lanes []store.LaneDue) []store.LaneDue {
	if len(lanes) < 2 {
		return lanes
	}
	type key struct {
		kind store.Kind
		lane string
	}
	at := make(map[key]int, len(lanes))
	out := lanes[:0]
	for _, l := range lanes {
		k := key{l.Kind, l.Lane}
		i, seen := at[k]
		switch {
		case !seen:
			at[k] = len(out)
			out = append(out, l)
		case l.Due.Before(out[i].Due):
			out[i].Due = l.Due
		}
	}
	return out
}

func distinct(ids []sestina.ID) []sestina.ID {
	if len(ids) < 2 {
		return ids
	}
	seen := make(map[sestina.ID]bool, len(ids))
	out := ids[:0]
	for _, id := range ids {
		if !seen[id] {
			seen[id] = true
			out = append(out, id)
		}
	}
	return out
}
