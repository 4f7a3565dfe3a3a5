package postgres

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

const documentColumns = `account, region, kind, name, version, revision, deleted, data`

func scanDocument(r *row) store.Document {
	return store.Document{
		Scope: sestina.Scope{Account: r.text(), Region: r.text()}, Kind: r.text(), Name: r.text(),
		Version: r.int(), Revision: r.int(), Deleted: r.bool(), Data: r.bytes(),
	}
}

// A runner sends steps: a pool, or the connection of a transaction.
type runner interface {
	run(ctx context.Context, steps ...*step) error
}

// getDocument returns a document or its tombstone. ErrNotFound when there is
// neither.
func getDocument(ctx context.Context, on runner, s sestina.Scope, kind, name string) (d store.Document, err error) {
	missing := fmt.Errorf("%s %q in %s: %w", kind, name, s, store.ErrNotFound)
	if !storable(kind) || !storable(name) || !storable(s.Account) || !storable(s.Region) {
		return d, missing
	}
	find := stmt(`
		SELECT `+documentColumns+` FROM documents
		WHERE account = $1 AND region = $2 AND kind = $3 AND name = $4`,
		new(args).text(s.Account).text(s.Region).text(kind).text(name)).
		rows(func(r *row) error { d = scanDocument(r); return nil })
	if err := on.run(ctx, find); err != nil {
		return d, fmt.Errorf("read %s %q: %w", kind, name, err)
	}
	if find.n == 0 {
		return d, missing
	}
	return d, nil
}

func getLive(ctx context.Context, on runner, s sestina.Scope, kind, name string) (store.Document, error) {
	d, err := getDocument(ctx, on, s, kind, name)
	if err == nil && d.Deleted {
		return store.Document{}, fmt.Errorf("%s %q in %s: %w", kind, name, s, store.ErrNotFound)
	}
	return d, err
}

func listDocuments(ctx context.Context, on runner, s sestina.Scope, kind, after string, limit int) (out []store.Document, err error) {
	err = on.run(ctx, stmt(`
		SELECT `+documentColumns+` FROM documents
		WHERE account = $1 AND region = $2 AND kind = $3 AND name > $4 AND NOT deleted
		ORDER BY name LIMIT $5`,
		new(args).text(s.Account).text(s.Region).text(kind).text(storablePart(after)).int(int64(limit))).
		rows(func(r *row) error { out = append(out, scanDocument(r)); return nil }))
	if err != nil {
		return nil, fmt.Errorf("list documents of kind %s: %w", kind, err)
	}
	return out, nil
}

// Get returns a document.
func (s *Store) Get(ctx context.Context, sc sestina.Scope, kind, name string) (store.Document, error) {
	return getLive(ctx, s.reads, sc, kind, name)
}

// List returns documents of a kind in order of name.
func (s *Store) List(ctx context.Context, sc sestina.Scope, kind, after string, limit int) ([]store.Document, error) {
	return listDocuments(ctx, s.reads, sc, kind, after, limit)
}

// Changed returns documents and tombstones newer than a revision.
func (s *Store) Changed(ctx context.Context, since int64, limit int) (out []store.Document, err error) {
	err = s.reads.run(ctx, stmt(`
		SELECT `+documentColumns+` FROM documents
		WHERE revision > $1 ORDER BY revision LIMIT $2`, new(args).int(since).int(int64(limit))).
		rows(func(r *row) error { out = append(out, scanDocument(r)); return nil }))
	if err != nil {
		return nil, fmt.Errorf("read documents after revision %d: %w", since, err)
	}
	return out, nil
}

// Update runs fn in a transaction, together with others that are queued. What
// fn's Tx may be used for ends with fn. A panic in fn becomes an error.
func (s *Store) Update(ctx context.Context, fn func(store.Tx) error) error {
	return s.write(ctx, s.updates, &op{fn: func(x *docTx) error { return fn(x) }, size: store.RowOverhead})
}

// An updater runs the functions of Update. All updates of all nodes take one
// lock, held until their commit: what they read does not change meanwhile, and
// revisions become visible in order.
type updater struct {
	s  *Store
	id writerID
}

func (u *updater) loop() {
	for batch := take(u.s.updates); len(batch) > 0; batch = take(u.s.updates) {
		u.carryOut(batch)
	}
}

// carryOut runs ops in one transaction and answers them.
func (u *updater) carryOut(ops []*op) {
	var t *docTx
	var err error
	for range repeats {
		if t, err = u.transaction(ops); !isRepeatable(err) && !errors.Is(err, errRolledBack) {
			break
		}
	}
	var lost *lostUpdate
	switch {
	case errors.As(err, &lost):
		u.s.writers.Go(func() { u.settle(ops, lost) })
	case err != nil:
		u.s.stats.batch(len(ops), err)
		u.s.log.Error("update failed", "updates", len(ops), "error", err)
		answerAll(ops, unavailable(err))
	default:
		u.s.stats.batch(len(ops), nil)
		t.committed(ops)
	}
}

// A lostUpdate says that the connection was lost while a transaction was under
// way.
type lostUpdate struct {
	id  writerID
	t   *docTx
	err error
}

func (e *lostUpdate) Error() string { return "connection lost: " + e.err.Error() }

// settle answers ops whose transaction was lost.
func (u *updater) settle(ops []*op, lost *lostUpdate) {
	ok, err := u.s.outcome(lost.id)
	if err == nil && !ok {
		err = fmt.Errorf("%w: %w", store.ErrUnavailable, lost)
	}
	u.s.stats.batch(len(ops), err)
	if err != nil {
		u.s.log.Error("update failed", "updates", len(ops), "error", err)
		answerAll(ops, err)
		return
	}
	lost.t.committed(ops)
}

// transaction runs ops in one transaction, each behind a savepoint. An op's own
// error is kept for its answer.
func (u *updater) transaction(ops []*op) (*docTx, error) {
	x := &docTx{s: u.s, ctx: context.Background(), errs: make([]error, len(ops))}
	var lost error
	err := u.s.writes.with(x.ctx, func(c *conn) (err error) {
		x.c = c
		defer func() {
			x.c = nil
			if err == nil {
				return
			}
			if c.pg.IsClosed() && !errors.Is(err, errRolledBack) {
				lost = err
				return
			}
			_ = c.run(x.ctx, stmt(`ROLLBACK`, nil)) // the connection is dropped when it fails
		}()
		err = c.run(x.ctx, stmt(`BEGIN`, nil), u.id.mark(u.s.clock.Now()),
			stmt(`SELECT pg_advisory_xact_lock($1)`, new(args).int(u.s.lockKey("documents"))))
		for i, o := range ops {
			if err != nil {
				return err
			}
			x.errs[i], err = x.attempt(o)
		}
		if err != nil {
			return err
		}
		end := []*step{stmt(`COMMIT`, nil)}
		if n := len(x.docs); n > 0 {
			end = append([]*step{stmt(`SELECT pg_notify($1, $2)`,
				new(args).text(u.s.channel()).text(fmt.Sprint(x.docs[n-1].Revision)))}, end...)
		}
		return c.run(x.ctx, end...)
	})
	switch {
	case lost != nil:
		e := &lostUpdate{id: u.id, t: x, err: lost}
		u.id = writerID{}
		return nil, e
	case codeOf(err) == codeClosedWriter:
		u.id = writerID{}
	}
	return x, err
}

// A docTx is a transaction as the control plane sees it.
type docTx struct {
	s     *Store
	c     *conn // nil when the function has ended
	ctx   context.Context
	docs  []store.Document
	notes []*txn // what effects mean to others
	errs  []error
	open  bool
}

// attempt runs one op. Its own failure is the first result; the second one ends
// the transaction.
func (x *docTx) attempt(o *op) (failed, err error) {
	docs, notes := len(x.docs), len(x.notes)
	if err := x.c.run(x.ctx, stmt(`SAVEPOINT one`, nil)); err != nil {
		return nil, err
	}
	x.open = true
	failed = x.try(o)
	x.open = false
	if failed == nil {
		if failed = x.c.run(x.ctx, stmt(`RELEASE one`, nil)); failed == nil {
			return nil, nil
		}
	}
	if x.c.pg.IsClosed() || isRepeatable(failed) || isUnavailable(failed) && codeOf(failed) != "" {
		return nil, failed
	}
	x.docs, x.notes = x.docs[:docs], x.notes[:notes]
	return failed, x.c.run(x.ctx, stmt(`ROLLBACK TO one`, nil), stmt(`RELEASE one`, nil))
}

// try runs the op and turns a panic into its error, so that a fault in one
// caller's function does not end everybody's writing.
func (x *docTx) try(o *op) (err error) {
	defer func() {
		if p := recover(); p != nil {
			x.s.log.Error("panic in an update", "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic in an update: %v", p)
		}
	}()
	return o.fn(x)
}

// committed tells everybody of the commit and answers the ops.
func (x *docTx) committed(ops []*op) {
	if len(x.docs) > 0 {
		x.s.follow.wrote(x.docs)
	}
	for _, t := range x.notes {
		t.committed()
	}
	for i, o := range ops {
		o.answer(x.errs[i])
	}
}

// run sends steps within the transaction.
func (x *docTx) run(ctx context.Context, steps ...*step) error {
	if !x.open {
		return errors.New("the transaction is over")
	}
	return x.c.run(ctx, steps...)
}

func (x *docTx) Get(s sestina.Scope, kind, name string) (store.Document, error) {
	return getLive(x.ctx, x, s, kind, name)
}

func (x *docTx) List(s sestina.Scope, kind, after string, limit int) ([]store.Document, error) {
	return listDocuments(x.ctx, x, s, kind, after, limit)
}

func (x *docTx) Count(s sestina.Scope, kind string) (n int, err error) {
	err = x.run(x.ctx, stmt(`
		SELECT count(*) FROM documents
		WHERE account = $1 AND region = $2 AND kind = $3 AND NOT deleted`,
		new(args).text(s.Account).text(s.Region).text(kind)).rows(func(r *row) error { n = int(r.int()); return nil }))
	if err != nil {
		return 0, fmt.Errorf("count documents of kind %s: %w", kind, err)
	}
	return n, nil
}

func (x *docTx) Put(d store.Document) error {
	old, err := getDocument(x.ctx, x, d.Scope, d.Kind, d.Name)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	var current int64
	if err == nil && !old.Deleted {
		current = old.Version
	}
	if d.Version != current {
		return fmt.Errorf("%s %q is at version %d, not %d: %w", d.Kind, d.Name, current, d.Version, store.ErrConflict)
	}
	d.Version, d.Deleted, d.Data = current+1, false, slices.Clone(orEmpty(d.Data))
	return x.save(d)
}

func (x *docTx) Delete(s sestina.Scope, kind, name string, version int64) error {
	d, err := getLive(x.ctx, x, s, kind, name)
	if err != nil {
		return err
	}
	if d.Version != version {
		return fmt.Errorf("%s %q is at version %d, not %d: %w", kind, name, d.Version, version, store.ErrConflict)
	}
	d.Version, d.Deleted, d.Data = d.Version+1, true, nil
	return x.save(d)
}

// save writes d with the next revision.
func (x *docTx) save(d store.Document) error {
	err := x.run(x.ctx, stmt(`
		INSERT INTO documents (`+documentColumns+`)
		VALUES ($1, $2, $3, $4, $5, nextval('revisions'), $6, $7)
		ON CONFLICT (account, region, kind, name) DO UPDATE SET
			version = excluded.version, revision = excluded.revision, deleted = excluded.deleted, data = excluded.data
		RETURNING revision`,
		new(args).text(d.Scope.Account).text(d.Scope.Region).text(d.Kind).text(d.Name).int(d.Version).bool(d.Deleted).bytes(d.Data)).
		rows(func(r *row) error { d.Revision = r.int(); return nil }))
	if err != nil {
		return fmt.Errorf("write %s %q: %w", d.Kind, d.Name, err)
	}
	x.docs = append(x.docs, d)
	return nil
}

func (x *docTx) Apply(e store.Effects) error {
	if err := x.s.addScopes(x.ctx, &e); err != nil {
		return err
	}
	t := newTxn(x.s)
	t.effects(&e)
	if steps := t.steps(); len(steps) > 0 {
		if err := x.run(x.ctx, steps...); err != nil {
			return fmt.Errorf("apply effects: %w", err)
		}
	}
	x.notes = append(x.notes, t)
	return nil
}
