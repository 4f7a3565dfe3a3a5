package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// How much waits for, and goes into, one transaction.
const (
	queueLength = 1024
	batchOps    = 512
	batchBytes  = 4 << 20
)

// repeats is how often a transaction that lost against another one is run
// again.
const repeats = 8

// After a lost connection, how long to go on finding out whether the last
// transaction was committed; shorter while the store closes.
const (
	outcomeTimeout = 20 * time.Second
	outcomeClosing = 3 * time.Second
	outcomePause   = 100 * time.Millisecond
)

// An op is something for a writer to do: a command or a function.
type op struct {
	cmd  store.Command // nil: an empty transaction
	fn   func(*docTx) error
	size int // bytes it will write, roughly
	err  error
	done chan struct{} // holds one token when the op is answered
}

func (o *op) answer(err error) {
	o.err = err
	o.done <- struct{}{}
}

// write queues an op and waits for the commit that holds it.
func (s *Store) write(ctx context.Context, queue chan *op, o *op) error {
	s.sendMu.RLock()
	if s.ended {
		s.sendMu.RUnlock()
		return fmt.Errorf("%w: the store is closed", store.ErrUnavailable)
	}
	s.senders.Add(1)
	s.sendMu.RUnlock()
	o.done = make(chan struct{}, 1)
	err := s.enqueue(ctx, queue, o)
	s.senders.Done()
	if err != nil {
		return err
	}
	// From here on the op will be carried out: its commit answers, not ctx.
	<-o.done
	return o.err
}

func (s *Store) enqueue(ctx context.Context, queue chan *op, o *op) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case queue <- o:
		return nil
	default:
	}
	select {
	case queue <- o:
		return nil
	case <-s.closing:
		return fmt.Errorf("%w: the store is closing", store.ErrUnavailable)
	case <-ctx.Done():
		return fmt.Errorf("wait for room in the write queue: %w", ctx.Err())
	}
}

// take waits for ops and collects all that are queued, within bounds.
func take(queue chan *op) (batch []*op) {
	o, ok := <-queue
	size := 0
	for ok {
		batch = append(batch, o)
		if size += o.size; size >= batchBytes || len(batch) >= batchOps {
			break
		}
		select {
		case o, ok = <-queue:
		default:
			ok = false
		}
	}
	return batch
}

// A writerID is the name under which transactions leave their numbers. It is
// given up when the outcome of one is unknown.
type writerID struct {
	id    sestina.ID
	batch int64 // number of the last transaction
}

// mark is the first step of a transaction: it leaves the next number.
func (w *writerID) mark(now time.Time) *step {
	if w.id.IsZero() {
		_, _ = rand.Read(w.id[:]) // never fails
	}
	w.batch++
	return stmt(`
		WITH marked AS (
			INSERT INTO writers AS w (id, batch, at) VALUES ($1, $2, $3)
			ON CONFLICT (id) DO UPDATE SET batch = excluded.batch, at = excluded.at WHERE NOT w.closed
			RETURNING 1)
		SELECT refuse('`+codeClosedWriter+`', ARRAY(SELECT 0::bigint WHERE NOT EXISTS (SELECT 1 FROM marked)))`,
		new(args).id(w.id).int(w.batch).time(now))
}

// committed finds out whether a transaction whose connection was lost did
// commit. It cannot any more afterwards. A transaction that is still under way
// is waited for.
func (s *Store) committed(ctx context.Context, w writerID) (bool, error) {
	last := int64(0)
	err := s.writes.run(ctx, stmt(`
		INSERT INTO writers AS w (id, batch, closed, at) VALUES ($1, 0, true, $2)
		ON CONFLICT (id) DO UPDATE SET closed = true RETURNING batch`,
		new(args).id(w.id).time(s.clock.Now())).rows(func(r *row) error { last = r.int(); return nil }))
	return last == w.batch, err
}

// outcome is committed, asked until the database answers. An error means that
// nobody can tell.
func (s *Store) outcome(w writerID) (bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), outcomeTimeout)
	defer cancel()
	stop := context.AfterFunc(s.life, cancel)
	defer stop()
	closing := s.closing
	for {
		ok, err := s.committed(ctx, w)
		if err == nil {
			return ok, nil
		}
		pause, stop := context.WithTimeout(ctx, outcomePause)
		select {
		case <-pause.Done():
		case <-closing: // hurry
			closing = nil
			var last context.CancelFunc
			ctx, last = context.WithTimeout(ctx, outcomeClosing)
			defer last()
		}
		stop()
		if ctx.Err() != nil {
			return false, fmt.Errorf("%w: the connection was lost during a commit, and its outcome is unknown: %w", store.ErrUnavailable, err)
		}
	}
}

// A writer carries out batches of commands, one at a time.
type writer struct {
	s  *Store
	id writerID
}

// loop runs until the queue is closed and everything in it is answered.
func (w *writer) loop() {
	for batch := take(w.s.commands); len(batch) > 0; batch = take(w.s.commands) {
		for _, ops := range independent(batch) {
			w.carryOut(ops)
		}
	}
}

// carryOut runs ops in one transaction and answers them, or in several when
// some of them cannot be carried out.
func (w *writer) carryOut(ops []*op) {
	var err error
	for range repeats {
		var t *txn
		if t, err = w.transaction(ops); err == nil {
			w.s.stats.batch(len(ops), nil)
			t.committed()
			answerAll(ops, nil)
			return
		}
		if !isRepeatable(err) && !errors.Is(err, errRolledBack) {
			break
		}
	}
	var lost *lostError
	switch {
	case errors.As(err, &lost):
		w.s.writers.Go(func() { w.s.settle(ops, lost) })
	case isUnavailable(err):
		w.s.stats.batch(len(ops), err)
		w.s.log.Error("commit failed", "commands", len(ops), "error", err)
		answerAll(ops, unavailable(err))
	case codeOf(err) == codeFenced:
		w.withoutFenced(ops, err)
	case len(ops) == 1:
		w.s.stats.batch(1, nil)
		ops[0].answer(err)
	default:
		half := len(ops) / 2
		w.carryOut(ops[:half])
		w.carryOut(ops[half:])
	}
}

// withoutFenced answers the ops whose lease was lost and carries out the rest.
func (w *writer) withoutFenced(ops []*op, err error) {
	var e *pgconn.PgError
	errors.As(err, &e)
	fenced := map[int]bool{}
	for n := range strings.SplitSeq(e.Detail, ",") {
		if i, err := strconv.Atoi(n); err == nil {
			fenced[i] = true
		}
	}
	var rest []*op
	for i, o := range ops {
		if !fenced[i] {
			rest = append(rest, o)
			continue
		}
		f, ok := o.cmd.(*store.Finish)
		if !ok {
			o.answer(err)
			continue
		}
		w.s.claims.drop([]claimed{{f.Unit.MessageID, f.Unit.ID, f.Unit.Token}})
		o.answer(fmt.Errorf("finish unit %s: %w", f.Unit.ID, store.ErrFenced))
	}
	switch len(rest) {
	case 0:
	case len(ops): // cannot be, but must not go round in circles
		answerAll(ops, err)
	default:
		w.carryOut(rest)
	}
}

func answerAll(ops []*op, err error) {
	for _, o := range ops {
		o.answer(err)
	}
}

// A lostError says that the connection was lost while a transaction was under
// way.
type lostError struct {
	id  writerID
	t   *txn
	err error
}

func (e *lostError) Error() string { return "connection lost: " + e.err.Error() }

// transaction runs ops in one transaction. When its outcome is unknown, the
// error is a lostError and the writer has a new name.
func (w *writer) transaction(ops []*op) (*txn, error) {
	t := newTxn(w.s)
	for i, o := range ops {
		t.command(i, o.cmd)
	}
	steps := append([]*step{w.id.mark(w.s.clock.Now())}, t.steps()...)
	sent := false
	var lost error
	ctx := context.Background()
	err := w.s.writes.with(ctx, func(c *conn) error {
		err := c.run(ctx, steps...)
		sent = true
		if err != nil && c.pg.IsClosed() && !errors.Is(err, errRolledBack) {
			lost = err
		}
		return err
	})
	switch {
	case lost != nil:
		e := &lostError{id: w.id, t: t, err: lost}
		w.id = writerID{}
		return nil, e
	case err != nil && sent && codeOf(err) == codeClosedWriter:
		w.id = writerID{} // an administrator's doing; begin anew
		return nil, unavailable(err)
	}
	return t, err
}

// settle answers ops whose transaction was lost, as soon as its outcome is
// known.
func (s *Store) settle(ops []*op, lost *lostError) {
	ok, err := s.outcome(lost.id)
	switch {
	case err != nil:
		err = fmt.Errorf("%w (%w)", err, lost.err)
	case !ok:
		err = fmt.Errorf("%w: %w", store.ErrUnavailable, lost)
	}
	s.stats.batch(len(ops), err)
	if err != nil {
		s.log.Error("commit failed", "commands", len(ops), "error", err)
		answerAll(ops, err)
		return
	}
	s.log.Warn("the connection was lost during a commit, which was carried out", "commands", len(ops), "error", lost.err)
	lost.t.committed()
	for _, o := range ops {
		o.answer(s.recall(o.cmd))
	}
}

// independent divides a batch, in order, into parts in which no row is changed
// by two commands, since one statement changes a row once.
func independent(batch []*op) (parts [][]*op) {
	seen := map[any]bool{}
	from := 0
	for i, o := range batch {
		keys := changes(o.cmd)
		for _, k := range keys {
			if seen[k] {
				parts = append(parts, batch[from:i])
				from = i
				clear(seen)
				break
			}
		}
		for _, k := range keys {
			seen[k] = true
		}
	}
	return append(parts, batch[from:])
}

type laneKey struct {
	kind store.Kind
	lane string
}

type receiptKey struct {
	queue sestina.ID
	store.Receipt
}

type attemptKey struct {
	unit sestina.ID
	n    int
}

type dedupKey struct {
	queue      sestina.ID
	scope, key string
}

// changes names the rows that a command changes in statements that could meet
// another command's.
func changes(cmd store.Command) (keys []any) {
	effects := func(e *store.Effects) {
		for i := range e.Attempts {
			keys = append(keys, attemptKey{e.Attempts[i].Unit, e.Attempts[i].N})
		}
		for i := range e.Queued {
			if m := &e.Queued[i]; m.DedupID != "" {
				keys = append(keys, dedupKey{m.Queue, dedupScope(m, false), m.DedupID})
			}
		}
	}
	switch c := cmd.(type) {
	case *store.Write:
		effects(&c.Effects)
	case *store.Finish:
		keys = append(keys, c.Unit.ID, attemptKey{c.Unit.ID, c.Attempts})
		effects(&c.Effects)
	case *store.SetLane:
		keys = append(keys, laneKey{c.Kind, c.Lane})
	case *store.SendQueued:
		for i := range c.Messages {
			if m := &c.Messages[i]; m.DedupID != "" {
				keys = append(keys, dedupKey{m.Queue, dedupScope(m, c.PerGroup), m.DedupID})
			}
		}
	case *store.HideQueued:
		for _, r := range c.Receipts {
			keys = append(keys, receiptKey{c.Queue, r})
		}
	}
	return keys
}
