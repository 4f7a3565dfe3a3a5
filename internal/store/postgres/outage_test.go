package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sestina-mail/sestina/internal/store"
	"github.com/sestina-mail/sestina/internal/store/postgres"
	"github.com/sestina-mail/sestina/internal/store/postgres/pgtest"
)

// An answer is what a caller was told about its event.
type answer struct {
	event store.Event
	err   error
}

// writeOn lets callers write events, each with an answer, until wait is called.
// tick is called after every answer.
func writeOn(t *testing.T, s store.Store, callers int, tick func(err error)) (wait func() []answer) {
	stop := make(chan struct{})
	end := sync.OnceFunc(func() { close(stop) })
	t.Cleanup(end)
	var mu sync.Mutex
	var answers []answer
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				ev := event(newID())
				err := s.Do(context.Background(), &store.Write{Accepting: true, Effects: store.Effects{Events: []store.Event{ev}}})
				mu.Lock()
				answers = append(answers, answer{ev, err})
				mu.Unlock()
				tick(err)
			}
		})
	}
	return func() []answer {
		end()
		wg.Wait()
		return answers
	}
}

// settled checks every answer: success means that the event is there, an error
// that it is not and that it was the database's fault.
func settled(t *testing.T, s store.Store, answers []answer) (lost int) {
	t.Helper()
	for _, a := range answers {
		_, err := s.Event(t.Context(), a.event.ID)
		switch {
		case a.err == nil && err != nil:
			t.Errorf("event %s was answered and is not there: %v", a.event.ID, err)
		case a.err != nil && !errors.Is(a.err, store.ErrUnavailable):
			t.Errorf("event %s: %v", a.event.ID, a.err)
		case a.err != nil && !errors.Is(err, store.ErrNotFound):
			t.Errorf("event %s was refused (%v) and is there: %v", a.event.ID, a.err, err)
		}
		if a.err != nil {
			lost++
		}
	}
	return lost
}

// The database is shut down, or crashes, under load and comes back.
func TestDatabaseGoesAwayAndComesBack(t *testing.T) {
	t.Parallel()
	for name, crash := range map[string]bool{"Shutdown": false, "Crash": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := pgtest.Own(t)
			a := openStore(t, postgres.Options{URL: cluster.URL("")})
			b := openStore(t, postgres.Options{URL: cluster.SocketURL("")})
			h := listen(b)
			write(t, a, store.Effects{Units: []store.Unit{unit("lane")}})
			held := claim(t, a, "lane", 1)[0]

			var good atomic.Int64
			reached := make(chan string, 4)
			var phase atomic.Int64
			wait := writeOn(t, a, 8, func(err error) {
				switch {
				case err == nil && good.Add(1) == 200:
					reached <- "running"
				case err == nil && phase.CompareAndSwap(1, 2):
					reached <- "recovered"
				}
			})
			expect(t, reached, "running")
			ok(t, cluster.Stop(crash))
			for range 20 { // what was under way may wait for its outcome, but nothing new does
				ev := event(newID())
				is(t, a.Do(t.Context(), &store.Write{Effects: store.Effects{Events: []store.Event{ev}}}), store.ErrUnavailable)
			}
			_, err := a.Event(t.Context(), newID())
			is(t, err, store.ErrUnavailable)
			_, err = b.Claim(t.Context(), store.KindPublication, "lane", start, 1)
			is(t, err, store.ErrUnavailable)
			is(t, b.Ping(t.Context()), store.ErrUnavailable)
			is(t, b.Update(t.Context(), func(tx store.Tx) error {
				return tx.Put(store.Document{Scope: scope, Kind: "thing", Name: "a", Data: []byte("1")})
			}), store.ErrUnavailable)
			_, err = b.Stage(t.Context(), newID(), -1, bytes.NewReader(make([]byte, store.InlineBody*2)))
			is(t, err, store.ErrUnavailable)

			phase.Store(1)
			ok(t, cluster.Restart(t.Context()))
			expect(t, reached, "recovered")
			answers := wait()
			settled(t, a, answers)
			put(t, a, "after", "1")
			if d := h.next(t); d.Name != "after" {
				t.Errorf("heard of %q", d.Name)
			}
			ok(t, a.Do(t.Context(), finish(held)))
		})
	}
}

// expect waits for a word on a channel.
func expect(t *testing.T, reached <-chan string, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	select {
	case got := <-reached:
		if got != want {
			t.Fatalf("reached %q, want %q", got, want)
		}
	case <-ctx.Done():
		t.Fatalf("did not reach %q", want)
	}
}

// Connections are ended at any moment under load: every answer tells the truth.
func TestConnectionsAreEnded(t *testing.T) {
	t.Parallel()
	dsn := pgtest.NewURL(t)
	parsed, err := url.Parse(dsn)
	ok(t, err)
	q := parsed.Query()
	q.Set("application_name", "ended")
	parsed.RawQuery = q.Encode()
	s := openStore(t, postgres.Options{URL: parsed.String()})
	var good atomic.Int64
	more := make(chan struct{}, 1)
	wait := writeOn(t, s, 8, func(err error) {
		if err == nil && good.Add(1)%20 == 0 {
			select {
			case more <- struct{}{}:
			default:
			}
		}
	})
	ended := 0
	for range 25 {
		<-more
		ended += len(query(t, dsn, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE application_name = 'ended' AND query NOT LIKE 'LISTEN%'`))
	}
	<-more
	answers := wait()
	lost := settled(t, s, answers)
	t.Logf("%d connections ended, %d of %d answers were errors", ended, lost, len(answers))
}

// A gate stands between a store and the database. It can be told to keep back
// the request that holds some bytes, or the answer to that, and to hang up.
type gate struct {
	l      net.Listener
	to     string
	wg     sync.WaitGroup
	hungUp chan struct{} // gets a token every time

	mu      sync.Mutex
	conns   map[net.Conn]bool
	mark    []byte // nil: nothing is kept back
	answers bool   // the answer, not the request
}

func newGate(t *testing.T, to string) *gate {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	ok(t, err)
	g := &gate{l: l, to: to, conns: map[net.Conn]bool{}, hungUp: make(chan struct{}, 10)}
	g.wg.Go(g.accept)
	t.Cleanup(func() {
		_ = l.Close()
		g.mu.Lock()
		for c := range g.conns {
			_ = c.Close()
		}
		g.mu.Unlock()
		g.wg.Wait()
	})
	return g
}

// keep makes the gate keep back a request that holds mark, or its answer.
func (g *gate) keep(answers bool, mark []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.answers, g.mark = answers, mark
}

func (g *gate) accept() {
	for {
		client, err := g.l.Accept()
		if err != nil {
			return
		}
		var d net.Dialer
		server, err := d.DialContext(context.Background(), "tcp", g.to)
		if err != nil {
			_ = client.Close()
			continue
		}
		g.mu.Lock()
		g.conns[client], g.conns[server] = true, true
		g.mu.Unlock()
		var last atomic.Bool // the next answer is kept back
		g.wg.Go(func() {
			pass(server, client, func(request []byte) bool {
				g.mu.Lock()
				defer g.mu.Unlock()
				if g.mark == nil || !bytes.Contains(request, g.mark) {
					return true
				}
				g.mark = nil
				if g.answers {
					last.Store(true)
					return true
				}
				g.hungUp <- struct{}{}
				return false
			})
		})
		g.wg.Go(func() {
			pass(client, server, func([]byte) bool {
				if last.Load() {
					g.hungUp <- struct{}{}
					return false
				}
				return true
			})
		})
	}
}

// pass copies until one side ends or look says no.
func pass(to, from net.Conn, look func([]byte) bool) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && !look(buf[:n]) {
			return
		}
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

// The connection is lost around a commit: after the database carried it out and
// before it could say so, and before it heard of it.
func TestOutcomeOfLostCommit(t *testing.T) {
	t.Parallel()
	open := func(t *testing.T) (*postgres.Store, *gate) {
		cluster := pgtest.Shared(t)
		schema, err := cluster.Schema(t.Context())
		ok(t, err)
		u, err := url.Parse(cluster.URL(schema))
		ok(t, err)
		g := newGate(t, u.Host)
		u.Host = g.l.Addr().String()
		return openStore(t, postgres.Options{URL: u.String()}), g
	}
	t.Run("CarriedOut", func(t *testing.T) {
		t.Parallel()
		s, g := open(t)
		h := watch(s)
		ev := event(newID())
		g.keep(true, ev.ID[:])
		write(t, s, store.Effects{Events: []store.Event{ev}})
		<-g.hungUp
		_, err := s.Event(t.Context(), ev.ID)
		ok(t, err)
		if c := <-h; len(c.Events) != 1 || c.Events[0].ID != ev.ID {
			t.Errorf("heard of %+v", c)
		}
	})
	t.Run("CarriedOutWithResults", func(t *testing.T) {
		t.Parallel()
		s, g := open(t)
		queue := newID()
		m := queued(queue, "g")
		m.DedupID = "d"
		send := &store.SendQueued{Messages: []store.QueueMessage{m, queued(queue, "g")}}
		g.keep(true, m.ID[:])
		ok(t, s.Do(t.Context(), send))
		<-g.hungUp
		there, err := s.PeekQueue(t.Context(), queue, 10)
		ok(t, err)
		if len(there) != 2 {
			t.Fatalf("%d messages were added", len(there))
		}
		for i, r := range send.Results {
			if want := (store.QueueSent{MessageID: send.Messages[i].MessageID, Seq: there[i].Seq}); r != want {
				t.Errorf("result %d is %+v, want %+v", i, r, want)
			}
		}
		receive := &store.ReceiveQueued{Queue: queue, Max: 2, Now: start, Visibility: time.Minute}
		ok(t, s.Do(t.Context(), receive))
		del := &store.DeleteQueued{Queue: queue}
		for _, m := range receive.Messages {
			del.Receipts = append(del.Receipts, store.Receipt{ID: m.ID, Receipt: m.Receipt})
		}
		del.Receipts[1].Receipt++
		del.Strict, del.Now = true, start
		g.keep(true, del.Receipts[0].ID[:])
		ok(t, s.Do(t.Context(), del))
		<-g.hungUp
		if !del.Deleted[0] || del.Deleted[1] {
			t.Errorf("deleted: %v", del.Deleted)
		}
	})
	t.Run("NotCarriedOut", func(t *testing.T) {
		t.Parallel()
		s, g := open(t)
		ev := event(newID())
		g.keep(false, ev.ID[:])
		is(t, s.Do(t.Context(), &store.Write{Effects: store.Effects{Events: []store.Event{ev}}}), store.ErrUnavailable)
		<-g.hungUp
		_, err := s.Event(t.Context(), ev.ID)
		is(t, err, store.ErrNotFound)
		write(t, s, store.Effects{Events: []store.Event{ev}})
	})
	t.Run("OfAnUpdate", func(t *testing.T) {
		t.Parallel()
		s, g := open(t)
		h := listen(s)
		create := func(tx store.Tx) error {
			return tx.Put(store.Document{Scope: scope, Kind: "thing", Name: "new", Data: []byte("payload")})
		}
		g.keep(false, []byte("payload")) // in the midst of the transaction
		is(t, s.Update(t.Context(), create), store.ErrUnavailable)
		<-g.hungUp
		_, err := s.Get(t.Context(), scope, "thing", "new")
		is(t, err, store.ErrNotFound)
		g.keep(true, []byte(s.Channel())) // the notification goes with the commit
		ok(t, s.Update(t.Context(), create))
		<-g.hungUp
		if d := h.next(t); d.Name != "new" {
			t.Fatalf("heard of %q", d.Name)
		}
	})
}

// watch returns the commits that a store tells of.
func watch(s store.Store) <-chan store.Change {
	c := make(commits, 1000)
	s.Subscribe(c)
	return c
}

type commits chan store.Change

func (c commits) Committed(change store.Change) { c <- change }

func (commits) DocumentsChanged([]store.Document) {}

// Nobody listens at the address, or nobody answers there: opening says so in
// time.
func TestOpenWithoutDatabase(t *testing.T) {
	t.Parallel()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	ok(t, err)
	silent := l.Addr().String()
	t.Cleanup(func() { _ = l.Close() })
	_, err = postgres.Open(t.Context(), postgres.Options{URL: "postgres://sestina:secret@" + silent + "/x?sslmode=disable"})
	is(t, err, store.ErrUnavailable)
	if bytes.Contains([]byte(err.Error()), []byte("secret")) {
		t.Errorf("the error tells the password: %v", err)
	}
	_, err = postgres.Open(t.Context(), postgres.Options{URL: "postgres://sestina:secret@:bad/x"})
	if err == nil || bytes.Contains([]byte(err.Error()), []byte("secret")) {
		t.Errorf("error is %v", err)
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	t.Run("NewerDatabaseIsRefused", func(t *testing.T) {
		t.Parallel()
		dsn := pgtest.NewURL(t)
		ok(t, openStore(t, postgres.Options{URL: dsn}).Close())
		query(t, dsn, "UPDATE schema_version SET version = 1000")
		_, err := postgres.Open(t.Context(), postgres.Options{URL: dsn})
		if err == nil || !bytes.Contains([]byte(err.Error()), []byte("newer Sestina")) {
			t.Fatalf("error is %v", err)
		}
		query(t, dsn, "UPDATE schema_version SET version = 1") // the refusal holds no lock
		openStore(t, postgres.Options{URL: dsn})
	})
	t.Run("SchemaIsMissing", func(t *testing.T) {
		t.Parallel()
		_, err := postgres.Open(t.Context(), postgres.Options{URL: pgtest.Shared(t).SocketURL("nowhere")})
		if err == nil || !bytes.Contains([]byte(err.Error()), []byte("search path")) {
			t.Fatalf("error is %v", err)
		}
	})
	t.Run("CommitsAreDurable", func(t *testing.T) {
		t.Parallel()
		dsn := pgtest.NewURL(t) + "&synchronous_commit=off"
		s := openStore(t, postgres.Options{URL: dsn})
		for _, setting := range postgres.SettingsOf(t, s, "synchronous_commit") {
			if setting != "on" {
				t.Fatalf("synchronous_commit is %s", setting)
			}
		}
	})
}

// A staged body whose message never comes is swept, one whose message may come
// is not, nor one that has its message.
func TestStagedBodies(t *testing.T) {
	t.Parallel()
	dsn := pgtest.NewURL(t)
	s, c := openWithClock(t, dsn)
	size := int64(store.InlineBody*5 + 1)
	stage := func() store.Body {
		b, err := s.Stage(t.Context(), newID(), size, io.LimitReader(zeros{}, size))
		ok(t, err)
		return b
	}
	named := stage()
	stage()
	write(t, s, store.Effects{Messages: []store.NewMessage{{Message: store.Message{ID: named.ID, Scope: scope}, Body: named}}})
	sweep := func(want int) {
		t.Helper()
		n, err := s.Sweep(t.Context(), store.Retention{})
		ok(t, err)
		if n != want {
			t.Fatalf("%d bodies were swept, want %d", n, want)
		}
	}
	sweep(0)
	c.Advance(2 * time.Hour)
	late := stage()
	sweep(1)
	r, err := s.OpenBody(t.Context(), named.ID)
	ok(t, err)
	n, err := io.Copy(io.Discard, r)
	ok(t, errors.Join(err, r.Close()))
	if n != size {
		t.Fatalf("%d of %d bytes are left", n, size)
	}
	ok(t, s.DeleteBody(t.Context(), late.ID))
	if n := query(t, dsn, `SELECT count(DISTINCT message_id) FROM body_chunks`)[0]; n != int64(1) {
		t.Fatalf("pieces of %v bodies are left", n)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// Only one node sweeps at a time.
func TestNodesSweep(t *testing.T) {
	t.Parallel()
	_, all := nodes(t, 3)
	const n = 1500
	var effects store.Effects
	for range n {
		u := unit("lane")
		u.State, u.FinishedAt = store.Done, start
		effects.Units = append(effects.Units, u)
	}
	write(t, all[0], effects)
	var total atomic.Int64
	var wg sync.WaitGroup
	for _, s := range all {
		wg.Go(func() {
			n, err := s.Sweep(t.Context(), store.Retention{Events: start.Add(time.Hour)})
			total.Add(int64(n))
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if total.Load() != n {
		t.Fatalf("%d units were swept, want %d", total.Load(), n)
	}
}
