package sqlite

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	zs "zombiezen.com/go/sqlite"

	"github.com/sestina-mail/sestina/internal/clock"
	"github.com/sestina-mail/sestina/internal/store"
)

// DefaultReserve is how many bytes of disk stay free for finishing and
// deleting what was accepted.
const DefaultReserve = 256 << 20

// Options say where the store is and how it behaves.
type Options struct {
	// Dir is the data folder. It is made when it does not exist.
	Dir string
	// Reserve is the free disk, in bytes, below which new input is refused.
	// 0 means DefaultReserve, a negative number none.
	Reserve int64
	// Clock tells the age of orphaned files and how often to ask for free disk.
	// Nil means the system's.
	Clock *clock.Clock
	// Logger hears of what no caller can be told. Nil means slog.Default().
	Logger *slog.Logger
	// FreeBytes returns the free disk of a folder, for tests. Nil asks the
	// operating system.
	FreeBytes func(dir string) (int64, error)
}

// A Store is the engine. All methods may be called concurrently.
type Store struct {
	dir    string
	path   string // of the database file
	lock   *os.File
	log    *slog.Logger
	clock  *clock.Clock
	disk   *diskGuard
	claims *claims
	bodies *bodyFiles
	reads  *readers
	scopes *scopeNames
	stats  counters

	listeners atomic.Pointer[[]store.Listener]
	walLimit  int64

	// Writing, see writer.go.
	queue   chan *op
	closing chan struct{} // closed when Close begins
	stopped chan struct{} // closed when the writer has answered everything
	senders sync.WaitGroup
	sendMu  sync.RWMutex // read-locked to join senders, locked to close
	ended   bool

	background sync.WaitGroup
}

var _ store.Store = (*Store)(nil)

// Open opens the store in a folder, creating or migrating it as needed, and
// takes the folder's lock. It fails with a sentence when another process uses
// the folder or when the database is from a newer Sestina. ctx bounds only the
// opening.
func Open(ctx context.Context, o Options) (_ *Store, err error) {
	s := newStore(o)
	if err := makeDirs(s.dir, s.bodies.dir); err != nil {
		return nil, fmt.Errorf("create data folder %s: %w", s.dir, err)
	}
	if s.lock, err = lockDir(s.dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = s.lock.Close()
		}
	}()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("open data folder %s: %w", s.dir, err)
	}
	if err := createDatabase(s.path); err != nil {
		return nil, fmt.Errorf("create database in %s: %w", s.dir, err)
	}
	w := &writer{s: s}
	if err := w.open(); err != nil {
		return nil, fmt.Errorf("open database in %s: %w", s.dir, err)
	}
	if err := migrate(w.c, s.dir); err != nil {
		return nil, errors.Join(err, w.c.close())
	}
	go w.loop()
	s.background.Go(func() {
		if _, err := s.sweepOrphans(context.Background(), 0); err != nil && !errors.Is(err, store.ErrUnavailable) {
			s.log.Warn("sweep of orphaned body files failed", "error", err)
		}
	})
	return s, nil
}

func newStore(o Options) *Store {
	if o.Reserve == 0 {
		o.Reserve = DefaultReserve
	}
	if o.Clock == nil {
		o.Clock = clock.New(0)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.FreeBytes == nil {
		o.FreeBytes = freeBytes
	}
	dir := filepath.Clean(o.Dir)
	path := filepath.Join(dir, "sestina.db")
	s := &Store{
		dir: dir, path: path, log: o.Logger, clock: o.Clock,
		disk:     &diskGuard{dir: dir, reserve: o.Reserve, free: o.FreeBytes, clock: o.Clock},
		claims:   newClaims(),
		bodies:   newBodyFiles(filepath.Join(dir, "bodies"), o.Clock),
		reads:    newReaders(path),
		scopes:   newScopeNames(),
		queue:    make(chan *op, queueLength),
		walLimit: walLimit,
		closing:  make(chan struct{}),
		stopped:  make(chan struct{}),
	}
	s.listeners.Store(&[]store.Listener{})
	return s
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

// Close waits for queued commands, commits them and closes the files. Commands
// given from then on are refused with ErrUnavailable. A second Close does
// nothing.
func (s *Store) Close() error {
	s.sendMu.Lock()
	if s.ended {
		s.sendMu.Unlock()
		<-s.stopped
		return nil
	}
	s.ended = true
	s.sendMu.Unlock()
	close(s.closing)
	s.senders.Wait() // everybody who found the store open has queued or given up
	s.background.Wait()
	close(s.queue)
	<-s.stopped
	return errors.Join(s.reads.close(), s.lock.Close())
}

// makeDirs makes the folders with their parents and makes their names durable.
func makeDirs(dirs ...string) error {
	for _, dir := range dirs {
		var made []string
		for d := dir; ; d = filepath.Dir(d) {
			if _, err := os.Stat(d); err == nil {
				break
			} else if !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			made = append(made, d)
		}
		if len(made) == 0 {
			continue
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		for _, d := range made {
			if err := syncDir(filepath.Dir(d)); err != nil {
				return err
			}
		}
	}
	return nil
}

// lockDir takes the lock of a data folder.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data folder %s: %w", dir, err)
	}
	ok, err := lockFile(f)
	if err == nil && !ok {
		err = errors.New("it is in use by another sestina process; stop that one or choose another folder with --data")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock data folder %s: %w", dir, err), f.Close())
	}
	return f, nil
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

// createDatabase makes a database file that does not exist yet. It is written
// beside its place without any sync, synced once when complete, and renamed:
// quick, and a crash leaves either nothing or all of it.
func createDatabase(path string) error {
	if _, err := os.Stat(path); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	temp := path + ".new"
	for _, name := range []string{temp, temp + "-wal", temp + "-shm", temp + "-journal"} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	db, err := zs.OpenConn(temp, zs.OpenReadWrite|zs.OpenCreate)
	if err != nil {
		return err
	}
	c := &conn{db: db}
	err = c.script(`PRAGMA page_size = 16384; PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY;`)
	if err == nil {
		err = migrate(c, filepath.Dir(path))
	}
	if err == nil {
		err = c.script(`PRAGMA journal_mode = WAL;`)
	}
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	f, err := os.OpenFile(temp, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close(), os.Rename(temp, path)); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// migrate brings the schema up to date, in one transaction.
func migrate(c *conn, dir string) error {
	scripts, err := migrations()
	if err != nil {
		return err
	}
	version, err := userVersion(c)
	if err != nil {
		return fmt.Errorf("read the schema version of the database in %s: %w", dir, err)
	}
	if version > len(scripts) {
		return fmt.Errorf("the database in %s was written by a newer Sestina (schema %d, this program knows up to %d): "+
			"start that version again or choose another folder with --data", dir, version, len(scripts))
	}
	if version == len(scripts) {
		return nil
	}
	if err := c.script("BEGIN IMMEDIATE"); err != nil {
		return fmt.Errorf("migrate the database in %s: %w", dir, err)
	}
	for n := version; n < len(scripts); n++ {
		if err := c.script(trimSpace(scripts[n])); err != nil {
			return errors.Join(fmt.Errorf("migrate the database in %s to schema %d: %w", dir, n+1, err), c.script("ROLLBACK"))
		}
	}
	if err := c.script(fmt.Sprintf("PRAGMA user_version = %d; COMMIT", len(scripts))); err != nil {
		return fmt.Errorf("migrate the database in %s: %w", dir, err)
	}
	return nil
}

func userVersion(c *conn) (version int, err error) {
	stmt, _, err := c.db.PrepareTransient("PRAGMA user_version")
	if err != nil {
		return 0, err
	}
	if _, err = stmt.Step(); err == nil {
		version = stmt.ColumnInt(0)
	}
	return version, errors.Join(err, stmt.Finalize())
}
