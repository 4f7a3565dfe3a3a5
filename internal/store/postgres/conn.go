package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sestina-mail/sestina/internal/store"
)

// How long things at the network may take before the database counts as
// unavailable.
const (
	connectTimeout = 3 * time.Second
	acquireTimeout = 5 * time.Second  // for a connection of the pool
	queryTimeout   = 30 * time.Second // for one pipeline
)

// A step is one statement of a pipeline.
type step struct {
	sql  string
	args *args
	each func(*row) error // for every row of the result; may be nil
	n    int              // rows returned or affected
	seen bool             // some row was read
}

func stmt(sql string, a *args) *step { return &step{sql: sql, args: a} }

// rows sets what is done with the rows.
func (s *step) rows(each func(*row) error) *step {
	s.each = each
	return s
}

// A conn is a connection with its prepared statements. One goroutine at a time
// may use it.
type conn struct {
	pg *pgconn.PgConn
	*statements
}

// statements are those that a connection has prepared, by their text.
type statements struct {
	prepared map[string]*pgconn.StatementDescription
	named    int // names given out
}

const statementsKey = "sestina.statements"

func connOf(c *pgx.Conn) *conn {
	data := c.PgConn().CustomData()
	known, ok := data[statementsKey].(*statements)
	if !ok {
		known = &statements{prepared: map[string]*pgconn.StatementDescription{}}
		data[statementsKey] = known
	}
	return &conn{pg: c.PgConn(), statements: known}
}

// binaryFormat says that all parameters, and all columns of results, are binary.
var binaryFormat = []int16{1}

// errRolledBack says that a connection was lost before the database could have
// committed what was sent.
var errRolledBack = errors.New("not carried out")

// run sends the steps at once and reads their results. Unless a transaction is
// open already, they are one transaction, which is durable when run returns
// nil. A step that fails ends it, and its error is returned.
func (c *conn) run(ctx context.Context, steps ...*step) (err error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	p := c.pg.StartPipeline(ctx)
	fresh := map[string]string{} // names of statements that this pipeline prepares
	for _, s := range steps {
		if s.args == nil {
			s.args = &args{}
		}
		if known := c.prepared[s.sql]; known != nil {
			p.SendQueryStatement(known, s.args.values, binaryFormat, binaryFormat)
			continue
		}
		if fresh[s.sql] == "" {
			c.named++
			fresh[s.sql] = "s" + strconv.Itoa(c.named)
			p.SendPrepare(fresh[s.sql], s.sql, s.args.types)
		}
		p.SendQueryPrepared(fresh[s.sql], s.args.values, binaryFormat, binaryFormat)
	}
	if err = p.Sync(); err != nil && pgconn.SafeToRetry(err) {
		err = fmt.Errorf("%w: %w", errRolledBack, err)
	}
	for _, s := range steps {
		if err != nil {
			break
		}
		err = c.results(p, s, fresh[s.sql])
		if c.pg.IsClosed() && codeOf(err) != "" {
			err = fmt.Errorf("%w: %w", errRolledBack, err) // the commit would have come after this step
		}
	}
	if closed := p.Close(); err == nil {
		err = closed
	}
	return err
}

// results reads what a step brought.
func (c *conn) results(p *pgconn.Pipeline, s *step, name string) error {
	got, err := p.GetResults()
	if err != nil {
		return err
	}
	if sd, ok := got.(*pgconn.StatementDescription); ok {
		sd.Name, sd.SQL = name, s.sql
		c.prepared[s.sql] = sd
		if got, err = p.GetResults(); err != nil {
			return err
		}
	}
	reader, ok := got.(*pgconn.ResultReader)
	if !ok {
		return fmt.Errorf("unexpected answer %T", got)
	}
	var r row
	var failed error
	for reader.NextRow() {
		s.seen = true
		r = row{values: reader.Values()}
		if s.each != nil && failed == nil {
			failed = s.each(&r)
			if failed == nil {
				failed = r.err
			}
		}
	}
	tag, err := reader.Close()
	s.n = int(tag.RowsAffected())
	if err == nil {
		err = failed
	}
	return err
}

// A pool is a set of connections.
type pool struct{ *pgxpool.Pool }

// with runs fn with a connection. Errors that say that the database, not the
// statement, is at fault come back as store.ErrUnavailable.
func (p pool) with(ctx context.Context, fn func(*conn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, acquireTimeout)
	pc, err := p.Acquire(wait)
	cancel()
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("wait for a database connection: %w", ctx.Err())
		}
		return fmt.Errorf("%w: connect to the database: %w", store.ErrUnavailable, err)
	}
	defer pc.Release()
	err = fn(connOf(pc.Conn()))
	if err == nil {
		return nil
	}
	if ctx.Err() != nil && pc.Conn().IsClosed() {
		return ctx.Err()
	}
	if isUnavailable(err) || pc.Conn().IsClosed() {
		return unavailable(err)
	}
	return err
}

// run sends the steps on some connection. When that turns out to be dead before
// it answers, they are sent on another one; so they must be queries, or writes
// that may be repeated. After an outage all connections of the pool are dead.
func (p pool) run(ctx context.Context, steps ...*step) (err error) {
	for range p.Stat().MaxConns() + 1 {
		lost := false
		err = p.with(ctx, func(c *conn) error {
			err := c.run(ctx, steps...)
			lost = c.pg.IsClosed()
			return err
		})
		if err == nil || !lost || ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) {
			break
		}
		if slices.ContainsFunc(steps, func(s *step) bool { return s.seen }) {
			break
		}
	}
	return err
}

// once is run for writes that must not be repeated.
func (p pool) once(ctx context.Context, steps ...*step) error {
	return p.with(ctx, func(c *conn) error { return c.run(ctx, steps...) })
}

func unavailable(err error) error {
	if errors.Is(err, store.ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
}

// Codes of errors that the engine makes or looks for.
const (
	codeFenced       = "SE001" // a Finish without its lease
	codeClosedWriter = "SE002"
	codeSerialize    = "40001"
	codeDeadlock     = "40P01"
)

func codeOf(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// isUnavailable reports whether err says that the database, rather than the
// statement, is at fault. Errors without a code are told by the connection.
func isUnavailable(err error) bool {
	if errors.Is(err, store.ErrUnavailable) {
		return true
	}
	code := codeOf(err)
	if len(code) != 5 {
		return false
	}
	switch code[:2] {
	case "08", // connection
		"25", // read-only, or a transaction in the wrong state
		"28", // not let in any more
		"3D", // no such database
		"40", // given up after repeats
		"53", // disk, memory or connections exhausted
		"55", // locked
		"57", // shutting down, starting up, canceled
		"58", // input or output
		"XX": // damage
		return true
	}
	return false
}

// isRepeatable reports whether the same transaction may succeed when it is run
// again.
func isRepeatable(err error) bool {
	code := codeOf(err)
	return code == codeSerialize || code == codeDeadlock
}

// storable reports whether s can be a text of PostgreSQL.
func storable(s string) bool {
	return strings.ToValidUTF8(s, "") == s && !strings.Contains(s, "\x00")
}

// storablePart returns s up to what PostgreSQL cannot hold. Every stored text
// that comes after s comes after it.
func storablePart(s string) string {
	s, _, _ = strings.Cut(s, "\x00")
	for i, r := range s {
		if r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD") {
			return s[:i]
		}
	}
	return s
}
