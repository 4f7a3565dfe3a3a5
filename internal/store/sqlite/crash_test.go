package sqlite_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sestina-mail/sestina/internal/clock"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
	"github.com/sestina-mail/sestina/internal/store/sqlite"
)

// crashDir names the variable that makes this test binary the child: a process
// that accepts and finishes emails in the folder until it is killed.
const crashDir = "SESTINA_SQLITE_CRASH_DIR"

var crashScope = sestina.Scope{Account: "000000000000", Region: "us-east-1"}

// TestKilledProcessLosesNothing kills a writing process again and again. What
// it was answered for is there afterwards, and nothing is there by halves.
func TestKilledProcessLosesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	accepted, finished := map[string]bool{}, map[string]bool{}
	for round := range 5 {
		kill(t, dir, 20+rand.IntN(300), accepted, finished)
		s, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		large := checkCrashed(t, s, accepted, finished)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		files, err := os.ReadDir(dir + "/bodies")
		if err != nil {
			t.Fatal(err)
		}
		// Closing waited for the sweep of orphans: only bodies of messages are left.
		if len(files) != large {
			t.Errorf("round %d: %d body files for %d large messages", round, len(files), large)
		}
	}
	t.Logf("%d messages and %d finished units after 5 kills", len(accepted), len(finished))
}

// kill runs the child until it has reported n lines, kills it and notes all
// that it reported.
func kill(t *testing.T, dir string, n int, accepted, finished map[string]bool) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), crashDir+"="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var faults bytes.Buffer
	child.Stderr = &faults
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for seen := 0; lines.Scan(); seen++ {
		what, id, _ := strings.Cut(lines.Text(), " ")
		switch what {
		case "accepted":
			accepted[id] = true
		case "finished":
			finished[id] = true
		default:
			t.Errorf("child: %s", lines.Text())
		}
		if seen == n {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = child.Wait() // killed
	if faults.Len() > 0 {
		t.Fatalf("child: %s", faults.String())
	}
}

// checkCrashed looks at every message and returns how many have large bodies.
func checkCrashed(t *testing.T, s *sqlite.Store, accepted, finished map[string]bool) int {
	t.Helper()
	ctx := t.Context()
	seen, large := map[string]bool{}, 0
	var before sestina.ID
	for {
		page, err := s.Messages(ctx, store.MessageFilter{Before: before, Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range page {
			if before = m.ID; m.Size > store.InlineBody {
				large++
			}
			seen[m.ID.String()] = true
			checkMessage(t, s, m, finished[m.ID.String()])
		}
		if len(page) == 0 {
			break
		}
	}
	for id := range accepted {
		if !seen[id] {
			t.Errorf("message %s was answered for and is gone", id)
		}
	}
	return large
}

// checkMessage wants the message's body, its Send event, and a delivery that
// is either done, with its event, or waits without.
func checkMessage(t *testing.T, s *sqlite.Store, m store.Message, finished bool) {
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
	_ = r.Close()
	units, err := s.UnitsOfMessage(t.Context(), crashScope, m.ID)
	if err != nil || len(units) != 1 {
		t.Errorf("message %s has %d units: %v", m.ID, len(units), err)
		return
	}
	events, err := s.Events(t.Context(), store.EventFilter{MessageID: m.ID})
	want := 1
	if units[0].State == store.Done {
		want = 2
	}
	if err != nil || len(events) != want {
		t.Errorf("message %s has %d events, want %d: %v", m.ID, len(events), want, err)
	}
	if finished && units[0].State != store.Done {
		t.Errorf("the unit of message %s was finished and waits again", m.ID)
	}
}

func crashBody(id sestina.ID, size int) []byte {
	return bytes.Repeat(id[:], size/len(id)+1)[:size]
}

const crashWriters = 8

// crashChild accepts and finishes emails and reports each answer on standard
// output.
func crashChild(dir string) int {
	ctx := context.Background()
	s, err := sqlite.Open(ctx, sqlite.Options{Dir: dir})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var c clock.Clock
	ids := &sestina.IDs{}
	var wg sync.WaitGroup
	for w := range crashWriters {
		wg.Go(func() {
			for n := w; err == nil; n++ {
				if err := crashEmail(ctx, s, ids, c.Now(), n); err != nil {
					fmt.Fprintln(os.Stderr, err)
					return
				}
			}
		})
	}
	wg.Wait()
	return 1
}

// crashEmail is one email; the body of every third is a file.
func crashEmail(ctx context.Context, s *sqlite.Store, ids *sestina.IDs, now time.Time, n int) error {
	id := ids.New(now)
	size := 3000
	if n%3 == 0 {
		size = store.InlineBody + 1000
	}
	body, err := s.Stage(ctx, id, int64(size), bytes.NewReader(crashBody(id, size)))
	if err != nil {
		return err
	}
	event := func(t sestina.EventType) store.Event {
		return store.Event{ID: ids.New(now), Scope: crashScope, MessageID: id, Type: t, At: now}
	}
	lane := id.String()
	err = s.Do(ctx, &store.Write{Accepting: true, Effects: store.Effects{
		Messages: []store.NewMessage{{Message: store.Message{ID: id, Scope: crashScope, Size: int64(size)}, Body: body}},
		Events:   []store.Event{event(sestina.Send)},
		Units:    []store.Unit{{ID: ids.New(now), Scope: crashScope, Kind: store.KindDelivery, Lane: lane, Due: now, MessageID: id}},
	}})
	if err != nil {
		return err
	}
	fmt.Println("accepted", id)
	units, err := s.Claim(ctx, store.KindDelivery, lane, now, 1)
	if err != nil || len(units) != 1 {
		return fmt.Errorf("claimed %d units: %w", len(units), err)
	}
	err = s.Do(ctx, &store.Finish{Unit: units[0], State: store.Done, Attempts: 1, At: now,
		Effects: store.Effects{Events: []store.Event{event(sestina.Delivery)}}})
	if err != nil {
		return err
	}
	fmt.Println("finished", id)
	return nil
}
