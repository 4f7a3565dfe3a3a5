package sqlite

import (
	"context"
	"fmt"
	"slices"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

const documentColumns = `account, region, kind, name, version, revision, deleted, data`

func scanDocument(q *query) store.Document {
	return store.Document{
		Scope: sestina.Scope{Account: q.getText(), Region: q.getText()},
		Kind:  q.getText(), Name: q.getText(),
		Version: q.getInt(), Revision: q.getInt(), Deleted: q.getBool(), Data: q.getBlob(),
	}
}

// getDocument returns a document or its tombstone. ErrNotFound when there is
// neither.
func getDocument(c *conn, s sestina.Scope, kind, name string) (d store.Document, err error) {
	q := c.sql(`
		SELECT ` + documentColumns + ` FROM documents
		WHERE account = ? AND region = ? AND kind = ? AND name = ?`).
		text(s.Account).text(s.Region).text(kind).text(name)
	found := q.next()
	if found {
		d = scanDocument(q)
	}
	if err := q.done(); err != nil {
		return d, fmt.Errorf("read %s %q: %w", kind, name, err)
	}
	if !found {
		return d, fmt.Errorf("%s %q in %s: %w", kind, name, s, store.ErrNotFound)
	}
	return d, nil
}

func getLive(c *conn, s sestina.Scope, kind, name string) (store.Document, error) {
	d, err := getDocument(c, s, kind, name)
	if err == nil && d.Deleted {
		return store.Document{}, fmt.Errorf("%s %q in %s: %w", kind, name, s, store.ErrNotFound)
	}
	return d, err
}

func listDocuments(c *conn, s sestina.Scope, kind, after string, limit int) (out []store.Document, err error) {
	q := c.sql(`
		SELECT ` + documentColumns + ` FROM documents
		WHERE account = ? AND region = ? AND kind = ? AND name > ? AND NOT deleted
		ORDER BY name LIMIT ?`).
		text(s.Account).text(s.Region).text(kind).text(after).int(int64(limit))
	for q.next() {
		out = append(out, scanDocument(q))
	}
	if err := q.done(); err != nil {
		return nil, fmt.Errorf("list documents of kind %s: %w", kind, err)
	}
	return out, nil
}

// Get returns a document.
func (s *Store) Get(ctx context.Context, sc sestina.Scope, kind, name string) (d store.Document, err error) {
	err = s.reads.do(ctx, func(c *conn) (err error) {
		d, err = getLive(c, sc, kind, name)
		return err
	})
	return d, err
}

// List returns documents of a kind in order of name.
func (s *Store) List(ctx context.Context, sc sestina.Scope, kind, after string, limit int) (out []store.Document, err error) {
	err = s.reads.do(ctx, func(c *conn) (err error) {
		out, err = listDocuments(c, sc, kind, after, limit)
		return err
	})
	return out, err
}

// Changed returns documents and tombstones newer than a revision.
func (s *Store) Changed(ctx context.Context, since int64, limit int) (out []store.Document, err error) {
	err = s.reads.do(ctx, func(c *conn) error {
		q := c.sql(`
			SELECT ` + documentColumns + ` FROM documents
			WHERE revision > ? ORDER BY revision LIMIT ?`).int(since).int(int64(limit))
		for q.next() {
			out = append(out, scanDocument(q))
		}
		if err := q.done(); err != nil {
			return fmt.Errorf("read documents after revision %d: %w", since, err)
		}
		return nil
	})
	return out, err
}

// Update runs fn on the writer, as part of a batch. What fn's Tx may be used
// for ends with fn. A panic in fn becomes an error.
func (s *Store) Update(ctx context.Context, fn func(store.Tx) error) error {
	return s.write(ctx, &op{size: store.RowOverhead, fn: func(t *txn) error {
		tx := &docTx{t: t}
		defer func() { tx.t = nil }()
		return fn(tx)
	}})
}

// A docTx is a txn as the control plane sees it.
type docTx struct{ t *txn }

func (x *docTx) Get(s sestina.Scope, kind, name string) (store.Document, error) {
	return getLive(x.t.c, s, kind, name)
}

func (x *docTx) List(s sestina.Scope, kind, after string, limit int) ([]store.Document, error) {
	return listDocuments(x.t.c, s, kind, after, limit)
}

func (x *docTx) Count(s sestina.Scope, kind string) (n int, err error) {
	q := x.t.c.sql(`
		SELECT count(*) FROM documents
		WHERE account = ? AND region = ? AND kind = ? AND NOT deleted`).
		text(s.Account).text(s.Region).text(kind)
	if q.next() {
		n = int(q.getInt())
	}
	if err := q.done(); err != nil {
		return 0, fmt.Errorf("count documents of kind %s: %w", kind, err)
	}
	return n, nil
}

func (x *docTx) Put(d store.Document) error {
	old, err := getDocument(x.t.c, d.Scope, d.Kind, d.Name)
	known := err == nil // perhaps as a tombstone
	if err != nil && !isNotFound(err) {
		return err
	}
	var current int64
	if known && !old.Deleted {
		current = old.Version
	}
	if d.Version != current {
		return fmt.Errorf("%s %q is at version %d, not %d: %w", d.Kind, d.Name, current, d.Version, store.ErrConflict)
	}
	d.Version, d.Deleted = current+1, false
	if d.Data == nil {
		d.Data = []byte{}
	}
	return x.save(d, known)
}

func (x *docTx) Delete(s sestina.Scope, kind, name string, version int64) error {
	d, err := getLive(x.t.c, s, kind, name)
	if err != nil {
		return err
	}
	if d.Version != version {
		return fmt.Errorf("%s %q is at version %d, not %d: %w", kind, name, d.Version, version, store.ErrConflict)
	}
	d.Version, d.Deleted, d.Data = d.Version+1, true, nil
	return x.save(d, true)
}

// save writes d with the next revision.
func (x *docTx) save(d store.Document, known bool) error {
	c := x.t.c
	if known {
		err := c.sql(`DELETE FROM documents WHERE account = ? AND region = ? AND kind = ? AND name = ?`).
			text(d.Scope.Account).text(d.Scope.Region).text(d.Kind).text(d.Name).run()
		if err != nil {
			return fmt.Errorf("replace %s %q: %w", d.Kind, d.Name, err)
		}
	}
	revision, err := x.nextRevision()
	if err != nil {
		return err
	}
	d.Revision = revision
	err = c.sql(`INSERT INTO documents (` + documentColumns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`).
		text(d.Scope.Account).text(d.Scope.Region).text(d.Kind).text(d.Name).
		int(d.Version).int(d.Revision).bool(d.Deleted).blob(d.Data).run()
	if err != nil {
		return fmt.Errorf("write %s %q: %w", d.Kind, d.Name, err)
	}
	d.Data = slices.Clone(d.Data)
	x.t.docs = append(x.t.docs, d)
	return nil
}

// nextRevision is one more than any document has had. It is kept apart, since
// the newest document may just be written again.
func (x *docTx) nextRevision() (n int64, err error) {
	q := x.t.c.sql(`
		INSERT INTO meta (name, value) VALUES ('revision', 1)
		ON CONFLICT (name) DO UPDATE SET value = value + 1
		RETURNING value`)
	for q.next() {
		n = q.getInt()
	}
	if err := q.done(); err != nil {
		return 0, fmt.Errorf("raise the revision: %w", err)
	}
	return n, nil
}

func (x *docTx) Apply(e store.Effects) error { return x.t.effects(&e) }
