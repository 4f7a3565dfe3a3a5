package nodes

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sestina-mail/sestina/tests/harness"
)

// A gate is a TCP address that leads to another one, once it is open. Until then
// connections are accepted and nothing is said.
type gate struct {
	addr   string
	opened chan struct{}
	held   chan struct{} // one token per connection
}

func newGate(t *testing.T, to string) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	g := &gate{addr: l.Addr().String(), opened: make(chan struct{}), held: make(chan struct{}, 1000)}
	var wg sync.WaitGroup
	ended := make(chan struct{})
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			g.held <- struct{}{}
			wg.Go(func() {
				defer c.Close()
				select {
				case <-g.opened:
				case <-ended:
					return
				}
				onward, err := net.Dial("tcp", to)
				if err != nil {
					return // the test is over
				}
				defer onward.Close()
				back := make(chan struct{})
				go func() {
					_, _ = io.Copy(c, onward)
					_ = c.Close()
					close(back)
				}()
				_, _ = io.Copy(onward, c)
				_ = onward.Close()
				<-back
			})
		}
	})
	t.Cleanup(func() {
		close(ended)
		_ = l.Close()
	})
	return g
}

// A holder holds requests at a hook until it lets go, or their sender does.
type holder struct {
	held chan struct{} // one token per request
	free chan struct{} // closed to answer what is held
}

func hold(h *harness.Hook) *holder {
	o := &holder{held: make(chan struct{}, 1000), free: make(chan struct{})}
	h.Answer(func(w http.ResponseWriter, r *http.Request, _ harness.Envelope) bool {
		o.held <- struct{}{}
		select {
		case <-o.free:
			return true
		case <-r.Context().Done():
			return false
		}
	})
	return o
}

func waitFor(t *testing.T, what string, n int, tokens <-chan struct{}) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for i := range n {
		select {
		case <-tokens:
		case <-deadline:
			t.Fatalf("%d of %d %s", i, n, what)
		}
	}
}

// A stuck cluster is one of a single node whose every kind of work is under
// way and cannot end: mail at the relay, notifications at the hook.
type stuck struct {
	*cluster
	hook  *harness.Hook
	hold  *holder
	relay *gate
	inbox *harness.Instance
	queue string
	ids   []string
}

const stuckMessages = 12

func newStuck(t *testing.T) *stuck {
	t.Helper()
	s := &stuck{hook: harness.NewHook(t), inbox: harness.Start(t, "--any-sender")}
	s.relay = newGate(t, s.inbox.SMTP)
	s.cluster = newCluster(t, 1, "--relay", "smtp://"+s.relay.addr)
	s.queue = s.setUp(s.hook)
	s.hook.Wait() // the test message
	s.hold = hold(s.hook)
	for range stuckMessages {
		id, err := s.nodes[0].send(t.Context(), setName, "a@example.com", "hello")
		check(t, err)
		s.ids = append(s.ids, id)
	}
	waitFor(t, "notifications are under way", stuckMessages, s.hold.held)
	waitFor(t, "deliveries are under way", 1, s.relay.held)
	return s
}

// accountFor sees that all arrived and prints what came more than once.
func (s *stuck) accountFor(t *testing.T, what string) {
	t.Helper()
	want := events(s.ids, "Send", "Delivery")
	begin := time.Now()
	again := account(t, "the hook", want, 30*time.Second, atHook(s.hook))
	took := time.Since(begin)
	if n := account(t, "the queue", want, 30*time.Second, s.inQueue(s.queue)); n > 0 {
		t.Errorf("%d events are in the queue twice", n)
	}
	relayed := s.relayed(t)
	if relayed < stuckMessages {
		t.Errorf("%d of %d messages are at the relay", relayed, stuckMessages)
	}
	fmt.Printf("nodes: %s: taken over and done within %s; duplicates: %d at the HTTP endpoint, %d at the relay\n",
		what, took.Round(100*time.Millisecond), again, relayed-stuckMessages)
}

// relayed is how many messages the relay got.
func (s *stuck) relayed(t *testing.T) int {
	t.Helper()
	list := s.inbox.Own(t.Context(), "GET", "messages?limit=100", "")
	return len(regexp.MustCompile(`"subject":`).FindAll(list, -1))
}

// TestKilledNodesWorkIsTakenOver: within 30 s another node does what a killed one
// had in hand.
func TestKilledNodesWorkIsTakenOver(t *testing.T) {
	t.Parallel()
	s := newStuck(t)
	other := s.add("dev", "--relay", "smtp://"+s.relay.addr)
	s.nodes[0].Kill()
	s.hook.Answer(nil)
	close(s.relay.opened)
	s.nodes = []*node{other}
	s.accountFor(t, "a killed node's work")
}

// TestPausedNodeWritesNothing: a node that stands still for longer than its
// leases writes no result when it goes on, whatever it was in the middle of.
func TestPausedNodeWritesNothing(t *testing.T) {
	t.Parallel()
	s := newStuck(t)
	paused := s.nodes[0]
	check(t, syscall.Kill(paused.PID(), syscall.SIGSTOP))
	t.Cleanup(func() { _ = syscall.Kill(paused.PID(), syscall.SIGCONT) }) // so that it can be stopped
	s.hook.Answer(nil)
	close(s.relay.opened)
	other := s.add("dev", "--relay", "smtp://"+s.relay.addr)
	s.nodes = []*node{other}
	s.accountFor(t, "a paused node's work")

	close(s.hold.free) // what it had asked is answered now
	check(t, syscall.Kill(paused.PID(), syscall.SIGCONT))
	eventually(t, 30*time.Second, func() error {
		if n := fenced(t, paused); n < stuckMessages {
			return fmt.Errorf("%d results were dropped, want the %d notifications that were under way and deliveries", n, stuckMessages)
		}
		return nil
	})
	if late := other.receive(t, s.queue, 1); len(late) > 0 {
		t.Errorf("the paused node put %d events into the queue again: %.300q", len(late), late)
	}
	again := account(t, "the hook", nil, 30*time.Second, atHook(s.hook))
	fmt.Printf("nodes: a paused node went on and dropped %d results; %d messages more at the relay, %d notifications came twice after that\n",
		fenced(t, paused), s.relayed(t)-stuckMessages, again)
	s.nodes = append(s.nodes, paused)
	id, err := paused.send(t.Context(), setName, "a@example.com", "hello")
	check(t, err)
	account(t, "the hook", events([]string{id}, "Send", "Delivery"), 30*time.Second, atHook(s.hook))
	if n := account(t, "the queue", events([]string{id}, "Send", "Delivery"), 30*time.Second, s.inQueue(s.queue)); n > 0 {
		t.Errorf("%d events are in the queue twice", n)
	}
}

var fencedLine = regexp.MustCompile(`(?m)^sestina_work_dropped_total\{[^}]*fenced[^}]*\} (\d+)`)

// fenced is how many results a node dropped because their lease was over.
func fenced(t *testing.T, n *node) (total int) {
	t.Helper()
	resp, err := http.Get(n.HTTP + "/metrics")
	check(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	check(t, err)
	lines := fencedLine.FindAllSubmatch(text, -1)
	if lines == nil {
		t.Fatal(errors.New("no count of dropped results"))
	}
	for _, m := range lines {
		v, err := strconv.Atoi(string(m[1]))
		check(t, err)
		total += v
	}
	return total
}
