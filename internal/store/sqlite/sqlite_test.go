package sqlite_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	zs "zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/sestina-mail/sestina/internal/clock"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
	"github.com/sestina-mail/sestina/internal/store/sqlite"
	"github.com/sestina-mail/sestina/internal/store/storetest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	var dirs sync.Map // of the stores, for reopening
	open := func(t *testing.T) store.Store {
		dir := filepath.Join(t.TempDir(), "data")
		s := openStore(t, sqlite.Options{Dir: dir})
		dirs.Store(s, dir)
		return s
	}
	reopen := func(t *testing.T, s store.Store) store.Store {
		dir, _ := dirs.Load(s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		return openStore(t, sqlite.Options{Dir: dir.(string)})
	}
	storetest.Run(t, open, reopen)
}

// openStore opens a store that is closed at the end of the test.
func openStore(t testing.TB, o sqlite.Options) *sqlite.Store {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	s, err := sqlite.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// message returns the effects of a message with a body.
func message(id sestina.ID, body store.Body) store.Effects {
	return store.Effects{Messages: []store.NewMessage{{Message: store.Message{ID: id, Scope: crashScope}, Body: body}}}
}

func stage(t *testing.T, s *sqlite.Store, id sestina.ID, size int) store.Body {
	t.Helper()
	b, err := s.Stage(t.Context(), id, int64(size), bytes.NewReader(make([]byte, size)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func bodyFiles(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, "bodies"))
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestOpen(t *testing.T) {
	t.Parallel()
	t.Run("SecondProcessIsKeptOut", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		first := openStore(t, sqlite.Options{Dir: dir})
		_, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir})
		if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "in use") {
			t.Fatalf("error is %v", err)
		}
		if err := first.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		openStore(t, sqlite.Options{Dir: dir})
	})
	t.Run("NewerDatabaseIsRefused", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		if err := openStore(t, sqlite.Options{Dir: dir}).Close(); err != nil {
			t.Fatal(err)
		}
		alter(t, dir, "PRAGMA user_version = 1000")
		_, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir})
		if err == nil || !strings.Contains(err.Error(), "newer Sestina") || !strings.Contains(err.Error(), dir) {
			t.Fatalf("error is %v", err)
		}
		alter(t, dir, "PRAGMA user_version = 1") // the refusal changed nothing and holds no lock
		openStore(t, sqlite.Options{Dir: dir})
	})
	t.Run("EmptyDatabaseIsMigrated", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		alter(t, dir, "CREATE TABLE unrelated (x)")
		if err := openStore(t, sqlite.Options{Dir: dir}).Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("HalfMadeDatabaseIsMadeAnew", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		for _, name := range []string{"sestina.db.new", "sestina.db.new-journal"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("half a database"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := openStore(t, sqlite.Options{Dir: dir}).Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("FileInPlaceOfTheFolder", func(t *testing.T) {
		t.Parallel()
		file := filepath.Join(t.TempDir(), "data")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := sqlite.Open(t.Context(), sqlite.Options{Dir: file}); err == nil || !strings.Contains(err.Error(), file) {
			t.Fatalf("error is %v", err)
		}
	})
}

// alter runs statements on the database of a closed store.
func alter(t *testing.T, dir, sql string) {
	t.Helper()
	db, err := zs.OpenConn(filepath.Join(dir, "sestina.db"), zs.OpenReadWrite|zs.OpenCreate)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(sqlitex.ExecuteScript(db, sql, nil), db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestOrphanedBodies(t *testing.T) {
	t.Parallel()
	const large = store.InlineBody + 1
	ids := &sestina.IDs{}
	now := time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)
	t.Run("SweptAtStart", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		s := openStore(t, sqlite.Options{Dir: dir})
		kept, lost := ids.New(now), ids.New(now)
		if err := s.Do(t.Context(), &store.Write{Effects: message(kept, stage(t, s, kept, large))}); err != nil {
			t.Fatal(err)
		}
		stage(t, s, lost, large)
		half := ids.New(now).String() + ".tmp"
		for _, name := range []string{half, "notes.txt"} {
			if err := os.WriteFile(filepath.Join(dir, "bodies", name), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 { // closing waits for the sweep
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openStore(t, sqlite.Options{Dir: dir})
		}
		if got, want := bodyFiles(t, dir), []string{kept.String(), "notes.txt"}; !slices.Equal(got, want) {
			t.Fatalf("files are %v, want %v", got, want)
		}
	})
	t.Run("StagedBodiesHaveTime", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		c := clock.New(0)
		s := openStore(t, sqlite.Options{Dir: dir, Clock: c})
		id := ids.New(now)
		stage(t, s, id, large)
		old := filepath.Join(dir, "bodies", id.String())
		if err := os.Chtimes(old, now, now); err != nil {
			t.Fatal(err)
		}
		sweep := func() int { // how many files are left
			if _, err := s.Sweep(t.Context(), store.Retention{}); err != nil {
				t.Fatal(err)
			}
			return len(bodyFiles(t, dir))
		}
		if sweep() != 1 {
			t.Fatal("a body whose message may still come was swept")
		}
		c.Advance(2 * time.Hour)
		if sweep() != 0 {
			t.Fatal("an orphan was not swept")
		}
		body := stage(t, s, id, large)
		if err := s.Do(t.Context(), &store.Write{Effects: message(id, body)}); err != nil {
			t.Fatal(err)
		}
		c.Advance(2 * time.Hour)
		if sweep() != 1 {
			t.Fatal("the body of a message was swept")
		}
	})
	t.Run("DeletedWhenGivenUp", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		s := openStore(t, sqlite.Options{Dir: dir})
		id := ids.New(now)
		stage(t, s, id, large)
		if err := s.DeleteBody(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if got := bodyFiles(t, dir); len(got) != 0 {
			t.Fatalf("files are %v", got)
		}
	})
}

func TestDiskReserve(t *testing.T) {
	t.Parallel()
	var free, asked atomic.Int64
	free.Store(2 << 20)
	c := clock.New(0)
	s := openStore(t, sqlite.Options{
		Dir: t.TempDir(), Reserve: 1 << 20, Clock: c,
		FreeBytes: func(string) (int64, error) { asked.Add(1); return free.Load(), nil },
	})
	ids := &sestina.IDs{}
	accept := func() error {
		id := ids.New(c.Now())
		return s.Do(t.Context(), &store.Write{Accepting: true, Effects: message(id, store.Body{})})
	}
	if err := accept(); err != nil {
		t.Fatal(err)
	}
	free.Store(1<<20 - 1)
	c.Advance(time.Second)
	for range 10 {
		if err := accept(); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("error is %v", err)
		}
	}
	if n := asked.Load(); n > 4 {
		t.Errorf("asked %d times for free disk", n)
	}
	if _, err := s.Stage(t.Context(), ids.New(c.Now()), 1, strings.NewReader("x")); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("error is %v", err)
	}
	// Finishing and deleting go on.
	if err := s.Do(t.Context(), &store.Write{Effects: message(ids.New(c.Now()), store.Body{})}); err != nil {
		t.Fatal(err)
	}
	if err := s.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	free.Store(2 << 20)
	c.Advance(time.Second)
	if err := accept(); err != nil {
		t.Fatal(err)
	}
}
