package postgres

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sestina-mail/sestina/internal/clock"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// Defaults of Options.
const (
	DefaultLease   = 15 * time.Second
	DefaultWriters = 3
	DefaultReaders = 12
)

// Options say where the database is and how the store behaves.
type Options struct {
	// URL names the database in libpq's form, such as
	// postgres://user:password@host/name. All nodes name the same one. The
	// tables are in the first schema of the search path. A pooler in between
	// must work per session.
	URL string
	// Lease is how long units stay claimed when their node dies or loses the
	// database. A living node prolongs the leases of what it works on. 0 means
	// DefaultLease.
	Lease time.Duration
	// Writers is how many batches of commands are under way at a time, each on
	// a connection of its own. 0 means DefaultWriters.
	Writers int
	// Readers is how many queries, claims and receives run at a time, at least
	// 3. 0 means DefaultReaders. A node has at most Writers + Readers + 3 connections.
	Readers int
	// Clock tells the age of bodies that no message names. Nil means the
	// system's. Leases go by the database's clock.
	Clock *clock.Clock
	// Logger hears of what no caller can be told. Nil means slog.Default().
	Logger *slog.Logger

	// For tests: leases are not prolonged, as by a node that hangs; documents
	// are looked at at another interval than followInterval.
	hang   bool
	follow time.Duration
}

// A Store is one node's engine. All methods may be called concurrently.
type Store struct {
	config *pgx.ConnConfig // for the listening connection
	writes pool            // batches, updates, and what finds out their outcome
	reads  pool            // everything else
	place  string          // of the tables, for errors: host, database, schema
	key    uint64          // of the schema, for locks and the channel
	lease  time.Duration
	log    *slog.Logger
	clock  *clock.Clock
	claims *claims
	scopes *scopeNames
	follow follower
	stats  counters

	listeners atomic.Pointer[[]store.Listener]
	tellMu    sync.Mutex // listeners hear one commit at a time

	// Writing, see writer.go.
	commands chan *op
	updates  chan *op
	claiming chan *claim
	closing  chan struct{} // closed when Close begins
	writers  sync.WaitGroup
	senders  sync.WaitGroup
	sendMu   sync.RWMutex // read-locked to join senders, locked to close
	ended    bool
	closed   chan struct{} // closed when Close ends

	background sync.WaitGroup
	life       context.Context // of background work
	end        context.CancelFunc
}

var _ store.Store = (*Store)(nil)

// Open connects to the database and creates or migrates the tables as needed;
// of several nodes that start together one does. It fails with a sentence when
// the database cannot be reached or used, or is from a newer Sestina. ctx
// bounds only the opening.
func Open(ctx context.Context, o Options) (_ *Store, err error) {
	s, config, err := newStore(o)
	if err != nil {
		return nil, err
	}
	if err := s.connect(ctx, config, o); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.end()
			s.writes.Close()
			s.reads.Close()
		}
	}()
	if err := s.writes.with(ctx, func(c *conn) error { return s.prepareDatabase(ctx, c) }); err != nil {
		return nil, fmt.Errorf("open the database %s: %w", s.place, err)
	}
	if err := s.startFollowing(ctx); err != nil {
		return nil, fmt.Errorf("open the database %s: %w", s.place, err)
	}
	for range orDefault(o.Writers, DefaultWriters) {
		s.writers.Go((&writer{s: s}).loop)
	}
	s.writers.Go((&updater{s: s}).loop)
	for range claimers {
		s.writers.Go(s.claimer)
	}
	if !o.hang {
		s.background.Go(s.prolong)
	}
	return s, nil
}

func orDefault(n, def int) int {
	if n <= 0 {
		return def
	}
	return n
}

func newStore(o Options) (*Store, *pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(o.URL)
	if err != nil {
		return nil, nil, fmt.Errorf("read the database URL: %w", err)
	}
	if o.Lease <= 0 {
		o.Lease = DefaultLease
	}
	if o.Clock == nil {
		o.Clock = clock.New(0)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	cc := config.ConnConfig
	s := &Store{
		config: cc, place: fmt.Sprintf("%s on %s", cc.Database, cc.Host),
		lease: o.Lease, log: o.Logger, clock: o.Clock,
		claims: newClaims(), scopes: newScopeNames(),
		commands: make(chan *op, queueLength), updates: make(chan *op, queueLength),
		claiming: make(chan *claim, claimsAtOnce),
		closing:  make(chan struct{}), closed: make(chan struct{}),
	}
	s.follow.s, s.follow.interval = s, cmp.Or(o.follow, followInterval)
	s.listeners.Store(&[]store.Listener{})
	s.life, s.end = context.WithCancel(context.Background())
	return s, config, nil
}

// settings are those of every connection. The tables are always read through
// an index, and plans are made once: a plan made while a table is small must
// not scan it when it has grown. A node that stops in a transaction must not
// hold up the others.
var settings = map[string]string{
	"client_encoding":                     "UTF8",
	"default_transaction_isolation":       "read committed",
	"idle_in_transaction_session_timeout": "10000",
	"plan_cache_mode":                     "force_generic_plan",
	"enable_seqscan":                      "off",
	"enable_bitmapscan":                   "off",
	"enable_hashjoin":                     "off",
	"enable_mergejoin":                    "off",
	"enable_material":                     "off",
	"enable_sort":                         "off",
	"jit":                                 "off",
}

// connect makes the pools. Connections are opened when they are needed.
func (s *Store) connect(ctx context.Context, config *pgxpool.Config, o Options) (err error) {
	cc := config.ConnConfig
	if cc.ConnectTimeout <= 0 || cc.ConnectTimeout > connectTimeout {
		cc.ConnectTimeout = connectTimeout
	}
	for name, value := range settings {
		cc.RuntimeParams[name] = value
	}
	if cc.RuntimeParams["application_name"] == "" {
		cc.RuntimeParams["application_name"] = "sestina"
	}
	config.AfterConnect = func(ctx context.Context, c *pgx.Conn) error { return makeDurable(ctx, c.PgConn()) }
	config.PingTimeout = connectTimeout
	config.MinConns, config.MinIdleConns = 0, 0
	config.MaxConns = int32(orDefault(o.Writers, DefaultWriters) + 2)
	writes, err := pgxpool.NewWithConfig(ctx, config.Copy())
	if err != nil {
		return fmt.Errorf("use the database URL: %w", err)
	}
	config.MaxConns = int32(max(orDefault(o.Readers, DefaultReaders), 3)) // a sweep holds one
	reads, err := pgxpool.NewWithConfig(ctx, config.Copy())
	if err != nil {
		writes.Close()
		return fmt.Errorf("use the database URL: %w", err)
	}
	s.writes, s.reads = pool{writes}, pool{reads}
	return nil
}

// makeDurable sees to it that a commit is answered after it is on disk,
// whatever the server's default is.
func makeDurable(ctx context.Context, c *pgconn.PgConn) error {
	return c.Exec(ctx, `SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'`).Close()
}

// prepareDatabase looks whether the database will do and brings the tables up
// to date.
func (s *Store) prepareDatabase(ctx context.Context, c *conn) error {
	var version int64
	var encoding, schema, fsync string
	err := c.run(ctx, stmt(`
		SELECT current_setting('server_version_num')::bigint, current_setting('server_encoding'),
			coalesce(current_schema(), ''), current_setting('fsync')`, nil).rows(func(r *row) error {
		version, encoding, schema, fsync = r.int(), r.text(), r.text(), r.text()
		return nil
	}))
	switch {
	case err != nil:
		return err
	case version < 150000:
		return fmt.Errorf("it is PostgreSQL %d; Sestina needs version 15 or newer", version/10000)
	case encoding != "UTF8":
		return fmt.Errorf("its encoding is %s; create one with ENCODING 'UTF8'", encoding)
	case schema == "":
		return errors.New("none of the schemas in its search path exists, so there is no place for the tables")
	}
	if fsync == "off" {
		s.log.Warn("the database server runs with fsync=off: mail can be lost when its machine fails")
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte("sestina " + schema))
	s.key = h.Sum64()
	s.place += ", schema " + schema
	return s.migrate(ctx, c)
}

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrations returns the scripts in order; script n leads to version n+1.
func migrations() ([]string, error) {
	names, err := fs.Glob(migrationFiles, "migrations/*.sql") // sorted
	if err != nil {
		return nil, err
	}
	var scripts []string
	for _, name := range names {
		text, err := migrationFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		scripts = append(scripts, string(text))
	}
	return scripts, nil
}

// migrate brings the schema up to date, in one transaction, under a lock that
// makes other nodes wait.
func (s *Store) migrate(ctx context.Context, c *conn) (err error) {
	scripts, err := migrations()
	if err != nil {
		return err
	}
	var version int64
	read := func(r *row) error { version = r.int(); return nil }
	err = c.run(ctx,
		stmt(`BEGIN`, nil),
		stmt(`SELECT pg_advisory_xact_lock($1)`, new(args).int(s.lockKey("migrate"))))
	if err != nil {
		return err
	}
	defer func() {
		if err != nil && !c.pg.IsClosed() {
			_ = c.run(ctx, stmt(`ROLLBACK`, nil)) // the connection is dropped when it fails
		}
	}()
	err = c.run(ctx, stmt(`CREATE TABLE IF NOT EXISTS schema_version (version bigint NOT NULL)`, nil))
	if err == nil {
		err = c.run(ctx, stmt(`SELECT coalesce(max(version), 0) FROM schema_version`, nil).rows(read))
	}
	if err != nil {
		return err
	}
	if version > int64(len(scripts)) {
		return fmt.Errorf("it was written by a newer Sestina (schema %d, this program knows up to %d): "+
			"start that version again or choose another database", version, len(scripts))
	}
	for n := version; n < int64(len(scripts)); n++ {
		if err := c.pg.Exec(ctx, scripts[n]).Close(); err != nil {
			return fmt.Errorf("migrate to schema %d: %w", n+1, err)
		}
	}
	return c.run(ctx,
		stmt(`DELETE FROM schema_version`, nil),
		stmt(`INSERT INTO schema_version VALUES ($1)`, new(args).int(int64(len(scripts)))),
		stmt(`COMMIT`, nil))
}

// lockKey returns the number of an advisory lock of this schema.
func (s *Store) lockKey(parts ...string) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(strconv.FormatUint(s.key, 16)))
	for _, p := range parts {
		_, _ = h.Write([]byte{0})
		_, _ = h.Write([]byte(p))
	}
	return int64(h.Sum64())
}

// Subscribe adds a listener. Call it before the first command.
func (s *Store) Subscribe(l store.Listener) {
	for {
		old := s.listeners.Load()
		next := append((*old)[:len(*old):len(*old)], l)
		if s.listeners.CompareAndSwap(old, &next) {
			return
		}
	}
}

// Close waits for queued commands, commits them, gives up the leases that are
// held and ends the connections. Commands given from then on are refused with
// ErrUnavailable. A second Close does nothing.
func (s *Store) Close() error {
	s.sendMu.Lock()
	if s.ended {
		s.sendMu.Unlock()
		<-s.closed
		return nil
	}
	s.ended = true
	s.sendMu.Unlock()
	defer close(s.closed)
	close(s.closing)
	s.senders.Wait() // everybody who found the store open has queued or given up
	close(s.commands)
	close(s.updates)
	close(s.claiming)
	s.writers.Wait()
	s.end()
	s.background.Wait()
	s.releaseAll()
	s.writes.Close()
	s.reads.Close()
	return nil
}

// queueLockKeys are the numbers of the locks of FIFO groups or queues.
func (s *Store) queueLockKey(queue sestina.ID, group string) int64 {
	return s.lockKey("queue", string(queue[:]), group)
}
