package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
	"github.com/sestina-mail/sestina/internal/store/postgres"
	"github.com/sestina-mail/sestina/internal/store/postgres/pgtest"
)

var (
	scope = sestina.Scope{Account: "000000000000", Region: "us-east-1"}
	start = time.Date(2026, 3, 14, 15, 9, 26, 535e6, time.UTC)
	ids   sestina.IDs
)

func newID() sestina.ID { return ids.New(start) }

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func is(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want %v", err, want)
	}
}

// nodes opens n stores on one new database.
func nodes(t *testing.T, n int) (url string, all []*postgres.Store) {
	t.Helper()
	url = pgtest.NewURL(t)
	for range n {
		all = append(all, openStore(t, postgres.Options{URL: url}))
	}
	return url, all
}

// query runs a statement on a connection of its own and returns the first
// column of its rows.
func query(t *testing.T, url, sql string, args ...any) (out []any) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	ok(t, err)
	defer func() { ok(t, c.Close(context.WithoutCancel(t.Context()))) }()
	rows, err := c.Query(t.Context(), sql, args...)
	ok(t, err)
	for rows.Next() {
		values, err := rows.Values()
		ok(t, err)
		out = append(out, values[0])
	}
	ok(t, rows.Err())
	return out
}

func unit(lane string) store.Unit {
	return store.Unit{ID: newID(), MessageID: newID(), Scope: scope, Kind: store.KindPublication, Lane: lane, Due: start}
}

func write(t *testing.T, s store.Store, e store.Effects) {
	t.Helper()
	ok(t, s.Do(t.Context(), &store.Write{Effects: e}))
}

func claim(t *testing.T, s store.Store, lane string, n int) []store.Unit {
	t.Helper()
	units, err := s.Claim(t.Context(), store.KindPublication, lane, start, n)
	ok(t, err)
	return units
}

func event(message sestina.ID) store.Event {
	return store.Event{ID: newID(), Scope: scope, MessageID: message, Type: sestina.Send, At: start, Object: []byte(`{}`)}
}

func finish(u store.Unit, effects ...store.Event) *store.Finish {
	return &store.Finish{Unit: u, State: store.Done, Attempts: 1, At: start, Effects: store.Effects{Events: effects}}
}

func TestNodesShareWork(t *testing.T) {
	t.Parallel()
	_, all := nodes(t, 3)
	const n = 300
	var effects store.Effects
	for range n {
		effects.Units = append(effects.Units, unit("lane"))
	}
	write(t, all[0], effects)
	var mu sync.Mutex
	seen := map[sestina.ID]int{}
	var wg sync.WaitGroup
	for i := range 6 {
		s := all[i%len(all)]
		wg.Go(func() {
			for {
				units, err := s.Claim(t.Context(), store.KindPublication, "lane", start, 1+i)
				if err != nil || len(units) == 0 {
					if err != nil {
						t.Error(err)
					}
					return
				}
				for _, u := range units {
					mu.Lock()
					seen[u.ID]++
					mu.Unlock()
					if err := s.Do(t.Context(), finish(u, event(u.MessageID))); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if len(seen) != n {
		t.Fatalf("%d of %d units were handed out", len(seen), n)
	}
	for id, times := range seen {
		if times != 1 {
			t.Errorf("unit %s was handed out %d times", id, times)
		}
	}
	events, err := all[1].Events(t.Context(), store.EventFilter{Limit: 1000})
	ok(t, err)
	if len(events) != n {
		t.Fatalf("%d events, want %d", len(events), n)
	}
}

// A node hangs with its claims; another takes them over when the leases end;
// then the first one wakes.
func TestHangingNodeIsFenced(t *testing.T) {
	t.Parallel()
	url := pgtest.NewURL(t)
	hanging := openStore(t, postgres.Options{URL: url, Lease: 200 * time.Millisecond}.Hanging())
	other := openStore(t, postgres.Options{URL: url})
	write(t, hanging, store.Effects{Units: []store.Unit{unit("lane"), unit("lane"), unit("lane")}})
	old := claim(t, hanging, "lane", 3)
	if len(old) != 3 {
		t.Fatalf("claimed %d units", len(old))
	}
	if got := claim(t, other, "lane", 3); len(got) != 0 {
		t.Fatalf("%d units were claimed twice", len(got))
	}
	query(t, url, "SELECT pg_sleep(0.25)") // the database's clock counts
	got := claim(t, other, "lane", 2)
	if len(got) != 2 {
		t.Fatalf("took over %d units", len(got))
	}

	ev := event(old[0].MessageID)
	is(t, hanging.Do(t.Context(), finish(old[0], ev)), store.ErrFenced)
	_, err := hanging.Event(t.Context(), ev.ID)
	is(t, err, store.ErrNotFound)
	ok(t, hanging.Do(t.Context(), &store.Release{Units: old[:2]})) // nothing of it is left to give back
	ok(t, other.Do(t.Context(), finish(got[0], event(got[0].MessageID))))
	ok(t, other.Do(t.Context(), finish(got[1], event(got[1].MessageID))))
	// Nobody has taken the third: its token is still the newest.
	ok(t, hanging.Do(t.Context(), finish(old[2])))
}

// One batch with lost and good leases: the good ones are written, all others
// are not.
func TestFencedAmongOthers(t *testing.T) {
	t.Parallel()
	url := pgtest.NewURL(t)
	s := openStore(t, postgres.Options{URL: url, Writers: 1})
	const n = 60
	var effects store.Effects
	for range n {
		effects.Units = append(effects.Units, unit("lane"))
	}
	write(t, s, effects)
	held := claim(t, s, "lane", n)
	for i := 0; i < n; i += 3 {
		held[i].Token++
	}
	events := make([]store.Event, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		events[i] = event(held[i].MessageID)
		wg.Go(func() { errs[i] = s.Do(t.Context(), finish(held[i], events[i])) })
	}
	wg.Wait()
	for i := range n {
		_, err := s.Event(t.Context(), events[i].ID)
		if i%3 == 0 {
			is(t, errs[i], store.ErrFenced)
			is(t, err, store.ErrNotFound)
			continue
		}
		ok(t, errs[i])
		ok(t, err)
	}
}

func TestLivingNodeKeepsItsLeases(t *testing.T) {
	t.Parallel()
	url := pgtest.NewURL(t)
	busy := openStore(t, postgres.Options{URL: url, Lease: 600 * time.Millisecond})
	other := openStore(t, postgres.Options{URL: url})
	write(t, busy, store.Effects{Units: []store.Unit{unit("lane"), unit("lane")}})
	held := claim(t, busy, "lane", 1)
	for range 3 {
		query(t, url, "SELECT pg_sleep(0.5)")
		for _, u := range claim(t, other, "lane", 2) {
			if u.ID == held[0].ID {
				t.Fatal("the lease ended while its node lives")
			}
		}
	}
	ok(t, busy.Do(t.Context(), finish(held[0])))
	if n := busy.Stats().Claims; n != 0 {
		t.Fatalf("%d leases are still prolonged", n)
	}
}

// A heard is what a listener heard of documents.
type heard struct {
	docs chan store.Document
}

func listen(s store.Store) *heard {
	h := &heard{docs: make(chan store.Document, 1000)}
	s.Subscribe(h)
	return h
}

func (h *heard) Committed(store.Change) {}

func (h *heard) DocumentsChanged(docs []store.Document) {
	for _, d := range docs {
		h.docs <- d
	}
}

// next waits for the next document, far longer than it should take.
func (h *heard) next(t *testing.T) store.Document {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	select {
	case d := <-h.docs:
		return d
	case <-ctx.Done():
		t.Fatal("the change was not heard of")
		return store.Document{}
	}
}

func put(t *testing.T, s store.Store, name, data string) {
	t.Helper()
	ok(t, s.Update(t.Context(), func(tx store.Tx) error {
		d, err := tx.Get(scope, "thing", name)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		return tx.Put(store.Document{Scope: scope, Kind: "thing", Name: name, Data: []byte(data), Version: d.Version})
	}))
}

func TestDocumentsReachOtherNodes(t *testing.T) {
	t.Parallel()
	t.Run("ByNotification", func(t *testing.T) {
		t.Parallel()
		url := pgtest.NewURL(t)
		a, b := openStore(t, postgres.Options{URL: url}), openStore(t, postgres.Options{URL: url}.Deaf())
		h, own := listen(b), listen(a)
		for i := range 20 {
			put(t, a, "a", fmt.Sprint(i))
			select {
			case d := <-own.docs: // heard before the answer
				if string(d.Data) != fmt.Sprint(i) {
					t.Fatalf("heard %q of change %d", d.Data, i)
				}
			default:
				t.Fatal("the writing node has not heard of its change")
			}
			// A later change may come instead, but not before this one.
			if d := h.next(t); string(d.Data) != fmt.Sprint(i) {
				t.Fatalf("heard %q of change %d", d.Data, i)
			}
		}
	})
	t.Run("ByLooking", func(t *testing.T) {
		t.Parallel()
		url, all := nodes(t, 1)
		h := listen(all[0])
		// No notification comes of this.
		query(t, url, `INSERT INTO documents VALUES ('', '', 'thing', 'quiet', 1, nextval('revisions'), false, '1') RETURNING 1`)
		if d := h.next(t); d.Name != "quiet" {
			t.Fatalf("heard of %q", d.Name)
		}
	})
	t.Run("AfterTheConnectionWasLost", func(t *testing.T) {
		t.Parallel()
		url := pgtest.NewURL(t)
		a, b := openStore(t, postgres.Options{URL: url}.Deaf()), openStore(t, postgres.Options{URL: url}.Deaf())
		ha, hb := listen(a), listen(b)
		put(t, a, "a", "1")
		ha.next(t)
		hb.next(t) // it listens
		listening := `LISTEN "` + a.Channel() + `"`
		for i := range 5 {
			killed := query(t, url, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = $1`, listening)
			if i == 0 && len(killed) != 2 {
				t.Fatalf("%d connections listened", len(killed))
			}
			put(t, a, "a", fmt.Sprint("again", i))
			for _, h := range []*heard{ha, hb} {
				if d := h.next(t); string(d.Data) != fmt.Sprint("again", i) {
					t.Fatalf("heard %q after loss %d", d.Data, i)
				}
			}
		}
	})
}

// Names that PostgreSQL cannot hold are names of nothing.
func TestNamesThatCannotBeStored(t *testing.T) {
	t.Parallel()
	_, all := nodes(t, 1)
	s := all[0]
	put(t, s, "a", "1")
	put(t, s, "b", "1")
	for _, name := range []string{"a\x00", "a\xff"} {
		_, err := s.Get(t.Context(), scope, "thing", name)
		is(t, err, store.ErrNotFound)
		list, err := s.List(t.Context(), scope, "thing", name, 10)
		ok(t, err)
		if len(list) != 1 || list[0].Name != "b" {
			t.Errorf("after %q come %+v", name, list)
		}
		err = s.Update(t.Context(), func(tx store.Tx) error {
			return tx.Put(store.Document{Scope: scope, Kind: "thing", Name: name, Data: []byte("1")})
		})
		if err == nil || errors.Is(err, store.ErrUnavailable) {
			t.Errorf("put of %q: %v", name, err)
		}
		_, err = s.Claim(t.Context(), store.KindPublication, name, start, 1)
		if err == nil || errors.Is(err, store.ErrUnavailable) {
			t.Errorf("claim in %q: %v", name, err)
		}
	}
}

// Every node changes one document and all see the same order.
func TestConcurrentUpdatesOfNodes(t *testing.T) {
	t.Parallel()
	_, all := nodes(t, 3)
	watch := make([]*heard, len(all))
	for i, s := range all {
		watch[i] = listen(s)
	}
	const each = 15
	var wg sync.WaitGroup
	for _, s := range all {
		wg.Go(func() {
			for range each {
				err := s.Update(t.Context(), func(tx store.Tx) error {
					d, err := tx.Get(scope, "thing", "counter")
					if err != nil && !errors.Is(err, store.ErrNotFound) {
						return err
					}
					d.Scope, d.Kind, d.Name, d.Data = scope, "thing", "counter", append(d.Data, 'x')
					return tx.Put(d)
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	d, err := all[0].Get(t.Context(), scope, "thing", "counter")
	ok(t, err)
	if len(d.Data) != len(all)*each || d.Version != int64(len(all)*each) {
		t.Fatalf("version %d with %d changes, want %d", d.Version, len(d.Data), len(all)*each)
	}
	for i, h := range watch {
		last := int64(0)
		for last < d.Revision {
			next := h.next(t)
			if next.Revision <= last {
				t.Fatalf("node %d heard of revision %d after %d", i, next.Revision, last)
			}
			last = next.Revision
		}
	}
}

func TestNodesStartingTogetherMigrateOnce(t *testing.T) {
	t.Parallel()
	url := pgtest.NewURL(t)
	var wg sync.WaitGroup
	errs := make([]error, 5)
	for i := range errs {
		wg.Go(func() {
			s, err := postgres.Open(t.Context(), postgres.Options{URL: url})
			if err == nil {
				err = errors.Join(s.Ping(t.Context()), s.Close())
			}
			errs[i] = err
		})
	}
	wg.Wait()
	ok(t, errors.Join(errs...))
	if n := query(t, url, "SELECT count(*) FROM schema_version")[0]; n != int64(1) {
		t.Fatalf("%v rows of schema_version", n)
	}
}

func TestReceiversOfNodes(t *testing.T) {
	t.Parallel()
	_, all := nodes(t, 2)
	t.Run("Standard", func(t *testing.T) {
		t.Parallel()
		queue := newID()
		const n = 120
		send := &store.SendQueued{}
		for range n {
			send.Messages = append(send.Messages, queued(queue, ""))
		}
		ok(t, all[0].Do(t.Context(), send))
		var mu sync.Mutex
		seen := map[sestina.ID]int{}
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				for {
					c := &store.ReceiveQueued{Queue: queue, Max: 1 + i, Now: start, Visibility: time.Minute}
					if err := all[i%2].Do(t.Context(), c); err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					for _, m := range c.Messages {
						seen[m.ID]++
					}
					done := len(seen) == n
					mu.Unlock()
					if done || len(c.Messages) == 0 {
						return
					}
				}
			})
		}
		wg.Wait()
		for id, times := range seen {
			if times != 1 {
				t.Errorf("message %s was handed out %d times", id, times)
			}
		}
		if len(seen) != n {
			t.Fatalf("%d of %d messages were handed out", len(seen), n)
		}
	})
	t.Run("FIFO", func(t *testing.T) {
		t.Parallel()
		testFIFOAcrossNodes(t, all)
	})
	t.Run("Duplicates", func(t *testing.T) {
		t.Parallel()
		queue := newID()
		for i := range 20 {
			var added atomic.Int64
			var wg sync.WaitGroup
			for n := range 6 {
				wg.Go(func() {
					m := queued(queue, "g")
					m.DedupID = fmt.Sprint("d", i)
					c := &store.SendQueued{Messages: []store.QueueMessage{m}}
					if err := all[n%2].Do(t.Context(), c); err != nil {
						t.Error(err)
						return
					}
					if !c.Results[0].Duplicate {
						added.Add(1)
					}
				})
			}
			wg.Wait()
			if added.Load() != 1 {
				t.Fatalf("%d messages were added", added.Load())
			}
		}
		all, err := all[0].PeekQueue(t.Context(), queue, 100)
		ok(t, err)
		if len(all) != 20 {
			t.Fatalf("%d messages are there", len(all))
		}
	})
}

func queued(queue sestina.ID, group string) store.QueueMessage {
	id := newID()
	return store.QueueMessage{
		ID: id, Queue: queue, MessageID: id.String(), Body: []byte("body"), SentAt: start, VisibleAt: start,
		ExpiresAt: start.Add(96 * time.Hour), GroupID: group,
	}
}

// Receivers on two nodes: one message of a group is in flight at a time, and
// they come in order.
func testFIFOAcrossNodes(t *testing.T, all []*postgres.Store) {
	queue := newID()
	const groups, each = 4, 15
	for n := range each {
		send := &store.SendQueued{}
		for g := range groups {
			m := queued(queue, fmt.Sprint("g", g))
			m.DedupID, m.Body = fmt.Sprint(g, "-", n), fmt.Append(nil, n)
			send.Messages = append(send.Messages, m)
		}
		ok(t, all[n%2].Do(t.Context(), send))
	}
	var left atomic.Int64
	left.Store(groups * each)
	var mu sync.Mutex
	inFlight, got := map[string]bool{}, map[string][]string{}
	var wg sync.WaitGroup
	for i := range 4 {
		s := all[i%2]
		wg.Go(func() {
			for left.Load() > 0 {
				c := &store.ReceiveQueued{Queue: queue, Max: 1, Now: start, Visibility: time.Minute, FIFO: true}
				if err := s.Do(t.Context(), c); err != nil {
					t.Error(err)
					return
				}
				for _, m := range c.Messages {
					mu.Lock()
					if inFlight[m.GroupID] {
						t.Errorf("two messages of group %s are in flight", m.GroupID)
					}
					inFlight[m.GroupID] = true
					got[m.GroupID] = append(got[m.GroupID], string(m.Body))
					mu.Unlock()
					runtime.Gosched()
					mu.Lock()
					inFlight[m.GroupID] = false // from here on the next may come
					mu.Unlock()
					del := &store.DeleteQueued{Queue: queue, Receipts: []store.Receipt{{ID: m.ID, Receipt: m.Receipt}}, Strict: true, Now: start}
					if err := s.Do(t.Context(), del); err != nil || !del.Deleted[0] {
						t.Errorf("delete: %v", err)
					}
					left.Add(-1)
				}
			}
		})
	}
	wg.Wait()
	var want []string
	for n := range each {
		want = append(want, fmt.Sprint(n))
	}
	for g, order := range got {
		if !slices.Equal(order, want) {
			t.Errorf("group %s came as %v", g, order)
		}
	}
}
