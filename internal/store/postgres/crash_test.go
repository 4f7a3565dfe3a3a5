package postgres_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
	"github.com/sestina-mail/sestina/internal/store/postgres"
	"github.com/sestina-mail/sestina/internal/store/postgres/pgtest"
)

// crashURL names the variable that makes this test binary a node: a process
// that accepts and finishes emails in the database until it is killed.
const crashURL = "SESTINA_POSTGRES_CRASH_URL"

// crashLease is the lease of the nodes that are killed.
const crashLease = time.Second

// TestKilledNodesLoseNothing kills one of two writing nodes again and again.
// What they were answered for is there afterwards, nothing is there by halves,
// and what they had claimed is taken over when the leases end.
func TestKilledNodesLoseNothing(t *testing.T) {
	t.Parallel()
	dsn := pgtest.NewURL(t)
	s := openStore(t, postgres.Options{URL: dsn})
	var mu sync.Mutex
	accepted, finished := map[string]bool{}, map[string]bool{}
	for range 3 {
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				runNode(t, dsn, 20+rand.IntN(200), func(what, id string) {
					mu.Lock()
					defer mu.Unlock()
					switch what {
					case "accepted":
						accepted[id] = true
					case "finished":
						finished[id] = true
					default:
						t.Errorf("node: %s %s", what, id)
					}
				})
			})
		}
		wg.Wait()
	}
	query(t, dsn, `SELECT pg_sleep($1)`, (crashLease + 100*time.Millisecond).Seconds())
	taken := takeOver(t, s)
	found := map[string]bool{}
	for before, more := (sestina.ID{}), true; more; {
		page, err := s.Messages(t.Context(), store.MessageFilter{Before: before, Limit: 1000})
		ok(t, err)
		for _, m := range page {
			before = m.ID
			found[m.ID.String()] = true
			wholeEmail(t, s, m)
		}
		more = len(page) > 0
	}
	for id := range accepted {
		if !found[id] {
			t.Errorf("message %s was answered for and is gone", id)
		}
	}
	for id := range finished {
		if taken[id] {
			t.Errorf("the delivery of message %s was finished and done again", id)
		}
	}
	t.Logf("%d messages accepted, %d finished, %d taken over", len(accepted), len(finished), len(taken))
}

// runNode runs a node until it has reported n lines, then kills it and hands
// on what else it reported.
func runNode(t *testing.T, dsn string, n int, report func(what, id string)) {
	node := exec.CommandContext(t.Context(), os.Args[0])
	node.Env = append(os.Environ(), crashURL+"="+dsn)
	out, err := node.StdoutPipe()
	if err != nil {
		t.Error(err)
		return
	}
	var faults bytes.Buffer
	node.Stderr = &faults
	if err := node.Start(); err != nil {
		t.Error(err)
		return
	}
	lines := bufio.NewScanner(out)
	for seen := 1; lines.Scan(); seen++ {
		what, id, _ := strings.Cut(lines.Text(), " ")
		report(what, id)
		if seen == n {
			if err := node.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	_ = node.Wait() // killed
	if faults.Len() > 0 {
		t.Errorf("node: %s", faults.String())
	}
}

// takeOver finishes all deliveries that wait and returns their messages.
func takeOver(t *testing.T, s *postgres.Store) map[string]bool {
	t.Helper()
	taken := map[string]bool{}
	ok(t, s.LanesWithWork(t.Context(), store.KindDelivery, func(lane string, _ time.Time, _ store.LaneState) bool {
		units, err := s.Claim(t.Context(), store.KindDelivery, lane, start, 10)
		if err != nil || len(units) != 1 {
			t.Errorf("took over %d units of lane %s: %v", len(units), lane, err)
			return true
		}
		taken[units[0].MessageID.String()] = true
		ok(t, s.Do(t.Context(), finish(units[0], event(units[0].MessageID))))
		return true
	}))
	return taken
}

// wholeEmail wants a message's body, its delivery, done, and the events of both.
func wholeEmail(t *testing.T, s *postgres.Store, m store.Message) {
	t.Helper()
	r, err := s.OpenBody(t.Context(), m.ID)
	if err != nil {
		t.Errorf("message %s: %v", m.ID, err)
		return
	}
	body, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(body, crashBody(m.ID, int(m.Size))) {
		t.Errorf("body of message %s is not as it was: %v", m.ID, err)
	}
	ok(t, r.Close())
	units, err := s.UnitsOfMessage(t.Context(), scope, m.ID)
	if err != nil || len(units) != 1 || units[0].State != store.Done {
		t.Errorf("message %s has the units %+v: %v", m.ID, units, err)
	}
	events, err := s.Events(t.Context(), store.EventFilter{MessageID: m.ID})
	if err != nil || len(events) != 2 {
		t.Errorf("message %s has %d events: %v", m.ID, len(events), err)
	}
}

func crashBody(id sestina.ID, size int) []byte {
	return bytes.Repeat(id[:], size/len(id)+1)[:size]
}

// crashNode accepts and finishes emails and reports each answer.
func crashNode(dsn string) int {
	s, err := postgres.Open(context.Background(), postgres.Options{URL: dsn, Lease: crashLease})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for n := w; ; n++ {
				if err := crashEmail(s, n); err != nil {
					fmt.Fprintln(os.Stderr, err)
					return
				}
			}
		})
	}
	wg.Wait()
	return 1
}

// crashEmail is one email; the body of every third is in pieces.
func crashEmail(s *postgres.Store, n int) error {
	ctx, id := context.Background(), newID()
	size := 3000
	if n%3 == 0 {
		size = store.InlineBody * 5
	}
	body, err := s.Stage(ctx, id, int64(size), bytes.NewReader(crashBody(id, size)))
	if err != nil {
		return err
	}
	lane := id.String()
	err = s.Do(ctx, &store.Write{Accepting: true, Effects: store.Effects{
		Messages: []store.NewMessage{{Message: store.Message{ID: id, Scope: scope, Size: int64(size)}, Body: body}},
		Events:   []store.Event{event(id)},
		Units:    []store.Unit{{ID: newID(), Scope: scope, Kind: store.KindDelivery, Lane: lane, Due: start, MessageID: id}},
	}})
	if err != nil {
		return err
	}
	fmt.Println("accepted", id)
	units, err := s.Claim(ctx, store.KindDelivery, lane, start, 1)
	if err == nil && len(units) != 1 {
		err = errors.New("a unit is not there to be claimed")
	}
	if err != nil {
		return err
	}
	if err := s.Do(ctx, finish(units[0], event(id))); err != nil {
		return err
	}
	fmt.Println("finished", id)
	return nil
}
