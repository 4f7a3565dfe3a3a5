package clients

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sestina-mail/sestina/tests/harness"
)

// TestFailingSubscribers: one HTTP subscriber hangs, one answers 500, one is
// down. The others receive without delay, and the failing ones get everything
// once they recover.
func TestFailingSubscribers(t *testing.T) {
	t.Parallel()
	const messages = 40
	healthy, hanging, failing := harness.NewHook(t), harness.NewHook(t), harness.NewHook(t)
	down := newStoppable(t)
	d := newDesk(t, nil, healthy, hanging, failing, down.Hook)
	for _, h := range []*harness.Hook{healthy, hanging, failing, down.Hook} {
		h.Wait() // the test message to the new destination
	}

	recovered := make(chan struct{})
	hangs := make(chan struct{}, 1000)
	hanging.Answer(func(_ http.ResponseWriter, r *http.Request, _ harness.Envelope) bool {
		select {
		case <-recovered:
			return true
		default:
		}
		hangs <- struct{}{}
		select {
		case <-r.Context().Done():
		case <-recovered: // whoever still waits gets no answer either
			panic(http.ErrAbortHandler)
		}
		return false
	})
	failures := make(chan struct{}, 1000)
	failing.Answer(func(w http.ResponseWriter, _ *http.Request, _ harness.Envelope) bool {
		select {
		case <-recovered:
			return true
		default:
		}
		w.WriteHeader(http.StatusInternalServerError)
		failures <- struct{}{}
		return false
	})
	down.stop()

	// The failing ones are failing before the load begins.
	first := d.send(t, "lena@example.net")
	await(t, "a notification to the endpoint that hangs", hangs)
	await(t, "a notification to the endpoint that answers 500", failures)
	want := []string{first}
	wantEvents(t, "healthy endpoint", healthy.Records(2), first, "Delivery", "Send")

	for i := range messages {
		sent := time.Now()
		id := d.send(t, fmt.Sprintf("lena%d@example.net", i))
		want = append(want, id)
		wantEvents(t, "healthy endpoint", healthy.Records(2), id, "Delivery", "Send")
		if took := time.Since(sent); took > 5*time.Second {
			t.Errorf("the healthy endpoint had to wait %s for the events of message %d", took, i)
		}
	}
	if hops(t, d, want[0], "500 ", "waiting") == 0 {
		t.Errorf("the timeline of message %s shows no waiting notification that was answered 500", want[0])
	}

	close(recovered)
	down.start()
	// Their next attempts are due within the backoff; the clock brings them near.
	for name, h := range map[string]*harness.Hook{"hanging": hanging, "failing": failing, "down": down.Hook} {
		got := collect(t, d, h, 2*len(want))
		for _, id := range want {
			wantEvents(t, name+" endpoint after its recovery", got, id, "Delivery", "Send")
		}
	}
}

// collect waits for n different records, moving Sestina's clock on whenever
// nothing comes, so that attempts that wait for their time become due.
func collect(t *testing.T, d *desk, h *harness.Hook, n int) (out []harness.Record) {
	t.Helper()
	seen := map[string]bool{}
	for moves := 0; len(out) < n; {
		select {
		case e := <-h.Notifications:
			if !strings.HasPrefix(e.Message, "{") {
				continue
			}
			r := harness.ParseRecord(t, e.Message)
			if k := r.Mail.MessageID + " " + r.EventType; !seen[k] { // repeats are allowed
				seen[k] = true
				out = append(out, r)
			}
		case <-time.After(time.Second):
			if moves++; moves > 60 {
				t.Fatalf("only %d of %d notifications came after the endpoint recovered", len(out), n)
			}
			d.Own(t.Context(), "POST", "clock", `{"advance":"1m"}`)
		}
	}
	return out
}

// hops counts the notifications on the timeline of a message that are in the
// state and whose answer holds the text.
func hops(t *testing.T, d *desk, id, answer, state string) (n int) {
	t.Helper()
	type hop struct {
		State, Answer string
		Hops          []hop
	}
	var timeline struct {
		Events []struct{ Publications []hop }
	}
	check(t, json.Unmarshal(d.Own(t.Context(), "GET", "messages/"+id+"/timeline", ""), &timeline))
	for _, e := range timeline.Events {
		for _, p := range e.Publications {
			for _, h := range p.Hops {
				if h.State == state && strings.Contains(h.Answer, answer) {
					n++
				}
			}
		}
	}
	return n
}

// eventually polls until the condition holds, for what no signal tells of.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(20 * time.Second); !holds(); <-poll.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func await(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s did not come within 20 s", what)
	}
}

// A stoppable is a hook whose server can go away and come back at its address.
type stoppable struct {
	*harness.Hook
	t      testing.TB
	addr   string
	server *httptest.Server
}

func newStoppable(t *testing.T) *stoppable {
	s := &stoppable{Hook: harness.NewHook(t), t: t, addr: fmt.Sprintf("127.0.0.1:%d", freePort(t))}
	s.start()
	s.URL = s.server.URL + "/hook"
	t.Cleanup(s.stop)
	return s
}

func (s *stoppable) start() {
	l, err := net.Listen("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.server = httptest.NewUnstartedServer(s.Hook)
	s.server.Listener.Close()
	s.server.Listener = l
	s.server.Start()
}

func (s *stoppable) stop() { s.server.Close() }

// TestRefusingSubscriber: what an endpoint refuses for good is kept as a dead
// letter, which reaches the endpoint when it is redriven.
func TestRefusingSubscriber(t *testing.T) {
	t.Parallel()
	refusing, healthy := harness.NewHook(t), harness.NewHook(t)
	d := newDesk(t, nil, refusing, healthy)
	refusing.Wait() // the test message to the new destination
	refusing.Answer(func(w http.ResponseWriter, _ *http.Request, _ harness.Envelope) bool {
		w.WriteHeader(http.StatusGone)
		return true
	})
	id := d.send(t, "lena@example.net")
	wantEvents(t, "healthy endpoint", healthy.Records(2), id, "Delivery", "Send")
	wantEvents(t, "refusing endpoint", refusing.Records(2), id, "Delivery", "Send") // tried once each
	letters := deadLetters(t, d, 2)
	for _, l := range letters {
		if l.MessageID != id || l.State != "dead" || l.Attempts != 1 || !strings.Contains(l.Answer, "410") {
			t.Errorf("dead letter %+v, want one of message %s after one attempt answered 410", l, id)
		}
	}

	refusing.Answer(nil)
	d.Own(t.Context(), "POST", "dead-letters/redrive", `{"account":"000000000000","region":"us-east-1","kind":"notification"}`)
	wantEvents(t, "recovered endpoint", refusing.Records(2), id, "Delivery", "Send")
}

// TestRedriveAfterTheWindow: what was tried in vain for the whole publish
// window becomes a dead letter, and is tried again when it is redriven.
func TestRedriveAfterTheWindow(t *testing.T) {
	t.Parallel()
	failing := harness.NewHook(t)
	d := newDesk(t, nil, failing)
	failing.Wait() // the test message to the new destination
	failures := make(chan struct{}, 1000)
	failing.Answer(func(w http.ResponseWriter, _ *http.Request, _ harness.Envelope) bool {
		w.WriteHeader(http.StatusInternalServerError)
		failures <- struct{}{}
		return false
	})
	id := d.send(t, "lena@example.net")
	await(t, "a notification to the endpoint", failures)
	// Both have begun their window before the clock moves past it.
	eventually(t, "two notifications wait", func() bool { return hops(t, d, id, "", "waiting") == 2 })
	d.Own(t.Context(), "POST", "clock", `{"advance":"73h"}`)
	deadLetters(t, d, 2)

	failing.Answer(nil)
	d.Own(t.Context(), "POST", "dead-letters/redrive", `{"account":"000000000000","region":"us-east-1","kind":"notification"}`)
	wantEvents(t, "recovered endpoint", failing.Records(2), id, "Delivery", "Send")
}

type deadLetter struct {
	ID, MessageID, Answer, State string
	Attempts                     int
}

// deadLetters waits until there are n dead notifications: they are written when
// the endpoint's answer was read, so a moment after the endpoint gave it.
func deadLetters(t *testing.T, d *desk, n int) []deadLetter {
	t.Helper()
	var got struct{ DeadLetters []deadLetter }
	eventually(t, fmt.Sprintf("%d dead letters", n), func() bool {
		check(t, json.Unmarshal(d.Own(t.Context(), "GET", "dead-letters?kind=notification&account=000000000000&region=us-east-1", ""), &got))
		return len(got.DeadLetters) >= n
	})
	return got.DeadLetters
}
