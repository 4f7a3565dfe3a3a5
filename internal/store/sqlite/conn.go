package sqlite

import (
	"context"
	"errors"
	"fmt"
	"time"

	zs "zombiezen.com/go/sqlite"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// A conn is a connection with its prepared statements. One goroutine at a time
// may use it.
type conn struct {
	db      *zs.Conn
	queries map[string]*query
}

// Cache sizes in KiB. The writer touches the inner pages of every index; readers
// mostly look up what was written a moment ago.
const (
	writerCache = 16 << 10
	readerCache = 2 << 10
)

// busyTimeout is how long a connection waits for a lock. There is nothing to
// wait for but the recovery of the WAL after a crash and other programs that
// look at the file.
const busyTimeout = 10 * time.Second

// openConn opens the database file, which must exist.
func openConn(path string, cacheKiB int) (*conn, error) {
	db, err := zs.OpenConn(path, zs.OpenReadWrite)
	if err != nil {
		return nil, err
	}
	c := &conn{db: db, queries: map[string]*query{}}
	db.SetBusyTimeout(busyTimeout)
	for _, pragma := range []string{
		"PRAGMA synchronous = FULL",        // the WAL is synced by every commit
		"PRAGMA wal_autocheckpoint = 2000", // inline, every 32 MB: the WAL stays small
		"PRAGMA temp_store = MEMORY",
		"PRAGMA mmap_size = 0",
		fmt.Sprintf("PRAGMA cache_size = -%d", cacheKiB),
	} {
		if err := c.script(pragma); err != nil {
			return nil, errors.Join(err, db.Close())
		}
	}
	return c, nil
}

func (c *conn) close() error {
	for _, q := range c.queries {
		_ = q.stmt.Finalize() // an earlier Step has reported what was wrong
	}
	c.queries = nil
	return c.db.Close()
}

// script runs statements that are used once.
func (c *conn) script(sql string) error {
	for sql != "" {
		stmt, rest, err := c.db.PrepareTransient(sql)
		if err != nil {
			return err
		}
		for more := stmt != nil; more; {
			if more, err = stmt.Step(); err != nil {
				return errors.Join(err, stmt.Finalize())
			}
		}
		if err := stmt.Finalize(); err != nil {
			return err
		}
		sql = trimSpace(sql[len(sql)-rest:])
	}
	return nil
}

// trimSpace removes blank space and comments before the next statement, so
// that nothing is left after the last one.
func trimSpace(sql string) string {
	for sql != "" {
		switch {
		case sql[0] == ' ' || sql[0] == '\n' || sql[0] == '\t' || sql[0] == '\r':
			sql = sql[1:]
		case len(sql) > 1 && sql[:2] == "--":
			for sql != "" && sql[0] != '\n' {
				sql = sql[1:]
			}
		default:
			return sql
		}
	}
	return sql
}

// A query is a prepared statement that is being bound or read. Binding methods
// take the parameters in order and return the query, so that a statement and
// its values read as one sentence; get methods take the columns in order.
type query struct {
	stmt   *zs.Stmt
	conn   *conn
	param  int
	col    int
	active bool // stepped and not reset
	err    error
}

// sql starts a statement; it is prepared once per connection, so it must not be
// started again before its last use ended with exec or done.
func (c *conn) sql(text string) *query {
	q := c.queries[text]
	if q == nil {
		stmt, err := c.db.Prepare(text)
		if err != nil {
			return &query{conn: c, err: err}
		}
		q = &query{stmt: stmt, conn: c}
		c.queries[text] = q
	}
	if q.active { // a panic left it so
		_ = q.done()
	}
	q.param, q.col, q.err = 0, 0, nil
	return q
}

// next parameter, or 0 when the statement could not be prepared.
func (q *query) bind() int {
	q.param++
	return q.param
}

func (q *query) int(v int64) *query {
	if n := q.bind(); q.stmt != nil {
		q.stmt.BindInt64(n, v)
	}
	return q
}

func (q *query) bool(v bool) *query {
	if v {
		return q.int(1)
	}
	return q.int(0)
}

func (q *query) text(v string) *query {
	if n := q.bind(); q.stmt != nil {
		q.stmt.BindText(n, v)
	}
	return q
}

// blob binds bytes; nil is NULL.
func (q *query) blob(v []byte) *query {
	n := q.bind()
	switch {
	case q.stmt == nil:
	case v == nil:
		q.stmt.BindNull(n)
	default:
		q.stmt.BindBytes(n, v)
	}
	return q
}

// id binds an id that is part of a key; the zero id is the empty blob.
func (q *query) id(v sestina.ID) *query {
	if v.IsZero() {
		return q.blob([]byte{})
	}
	return q.blob(v[:])
}

// ref binds an id that refers to something; the zero id is NULL.
func (q *query) ref(v sestina.ID) *query {
	if v.IsZero() {
		return q.blob(nil)
	}
	return q.blob(v[:])
}

// time binds milliseconds; the zero time is 0.
func (q *query) time(v time.Time) *query { return q.int(millis(v)) }

// exec runs a statement that returns no rows and says how many it changed.
func (q *query) exec() (int, error) {
	for q.next() {
	}
	if err := q.done(); err != nil {
		return 0, err
	}
	return q.conn.db.Changes(), nil
}

// run is exec where the count does not matter.
func (q *query) run() error {
	_, err := q.exec()
	return err
}

// next moves to the next row.
func (q *query) next() bool {
	if q.err != nil {
		return false
	}
	var ok bool
	q.active = true
	ok, q.err = q.stmt.Step()
	q.col = 0
	return ok && q.err == nil
}

// done ends the use of the statement, which closes its read transaction, and
// returns its error.
func (q *query) done() error {
	if q.stmt != nil {
		q.active = false
		if err := q.stmt.Reset(); q.err == nil {
			q.err = err
		}
	}
	return q.err
}

func (q *query) getInt() int64 {
	q.col++
	return q.stmt.ColumnInt64(q.col - 1)
}

func (q *query) getBool() bool { return q.getInt() != 0 }

func (q *query) getText() string {
	q.col++
	return q.stmt.ColumnText(q.col - 1)
}

func (q *query) getBlob() []byte {
	q.col++
	n := q.stmt.ColumnLen(q.col - 1)
	if n == 0 {
		if q.stmt.ColumnIsNull(q.col - 1) {
			return nil
		}
		return []byte{}
	}
	b := make([]byte, n)
	q.stmt.ColumnBytes(q.col-1, b)
	return b
}

func (q *query) getID() (id sestina.ID) {
	q.col++
	q.stmt.ColumnBytes(q.col-1, id[:])
	return id
}

// idAt returns the id in a column without moving on.
func (q *query) idAt(col int) (id sestina.ID) {
	q.stmt.ColumnBytes(col, id[:])
	return id
}

func (q *query) getTime() time.Time { return fromMillis(q.getInt()) }

// millis is how times are stored.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// maxReaders is how many queries run at a time.
const maxReaders = 4

// A readers is the pool of reading connections, opened when first needed.
type readers struct {
	path   string
	free   chan *conn // nil: not open yet
	closed chan struct{}
}

func newReaders(path string) *readers {
	r := &readers{path: path, free: make(chan *conn, maxReaders), closed: make(chan struct{})}
	for range maxReaders {
		r.free <- nil
	}
	return r
}

// do runs fn with a connection.
func (r *readers) do(ctx context.Context, fn func(*conn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var c *conn
	select {
	case c = <-r.free:
	default:
		select {
		case c = <-r.free:
		case <-r.closed:
			return fmt.Errorf("%w: the store is closed", store.ErrUnavailable)
		case <-ctx.Done():
			return fmt.Errorf("wait for a reading connection: %w", ctx.Err())
		}
	}
	if c == nil {
		var err error
		if c, err = openConn(r.path, readerCache); err != nil {
			r.free <- nil
			return fmt.Errorf("open %s: %w: %w", r.path, store.ErrUnavailable, err)
		}
	}
	ended := false
	defer func() {
		if !ended { // by a panic: statements may be left open
			_ = c.close()
			c = nil
		}
		r.free <- c
	}()
	err := fn(c)
	if isUnavailable(err) {
		// The connection may hold on to what is broken; the next one is new.
		_ = c.close()
		c = nil
		err = fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	ended = true
	return err
}

// close waits for running queries and closes all connections; do fails from
// then on.
func (r *readers) close() error {
	close(r.closed)
	var errs []error
	for range maxReaders {
		if c := <-r.free; c != nil {
			errs = append(errs, c.close())
		}
	}
	return errors.Join(errs...)
}

// isUnavailable reports whether err says that the database, rather than the
// statement, is at fault.
func isUnavailable(err error) bool {
	if err == nil {
		return false
	}
	switch zs.ErrCode(err).ToPrimary() {
	case zs.ResultFull, zs.ResultIOErr, zs.ResultCantOpen, zs.ResultReadOnly, zs.ResultBusy, zs.ResultLocked,
		zs.ResultNoMem, zs.ResultCorrupt, zs.ResultNotADB, zs.ResultProtocol, zs.ResultPerm:
		return true
	}
	return false
}
