package nodes

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sestina-mail/sestina/tests/harness"
)

// kills is how often a node is killed, each in its turn; senders is how many
// send to each node by the API, and as many by SMTP.
const (
	kills   = 12
	senders = 2
)

// A load sends to one node until the node is gone or the load is ended.
type load struct {
	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu       sync.Mutex
	accepted []string // the ids that were answered with 200 or 250
	refused  error    // the first other answer
}

func startLoad(ctx context.Context, n *node) *load {
	l := &load{}
	l.ctx, l.stop = context.WithCancel(ctx)
	for i := range senders {
		l.wg.Go(func() {
			for round := i; ; round++ {
				text := "hello"
				if round%5 == 0 {
					text = strings.Repeat("a large message is kept in rows of its own\n", 2000)
				}
				// Not cut off by the end of the load: an answer counts.
				if !l.count(n.send(context.WithoutCancel(l.ctx), setName, "a@example.com", text)) {
					return
				}
			}
		})
		l.wg.Go(func() {
			for l.count(n.submit()) {
			}
		})
	}
	return l
}

// count notes an answer and reports whether to go on.
func (l *load) count(id string, err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.accepted = append(l.accepted, id)
	} else if l.refused == nil {
		l.refused = err
	}
	return err == nil && l.ctx.Err() == nil
}

// end waits for the last answers and returns what was accepted, and the first
// refusal.
func (l *load) end() ([]string, error) {
	l.stop()
	l.wg.Wait()
	return l.accepted, l.refused
}

// TestNodesKilledUnderLoad: two nodes are under load, and one after the other is
// killed at some moment and started again. The other one goes on answering, and
// of what either accepted nothing is lost.
func TestNodesKilledUnderLoad(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2)
	hook := harness.NewHook(t)
	queue := c.setUp(hook)
	var ids []string
	loads := []*load{startLoad(t.Context(), c.nodes[0]), startLoad(t.Context(), c.nodes[1])}
	for round := range kills {
		turn := round % 2
		moment := time.NewTimer(time.Duration(50+rand.IntN(400)) * time.Millisecond)
		<-moment.C
		c.nodes[turn].Kill()
		got, _ := loads[turn].end()
		ids = append(ids, got...)
		c.nodes[turn].Restart()
		loads[turn] = startLoad(t.Context(), c.nodes[turn])
		loads[1-turn].mu.Lock()
		if err := loads[1-turn].refused; err != nil {
			t.Errorf("round %d: the node that lives on refused a message: %v", round, err)
		}
		loads[1-turn].mu.Unlock()
	}
	for _, l := range loads {
		got, err := l.end()
		ids = append(ids, got...)
		check(t, err)
	}
	if len(ids) < kills*senders {
		t.Fatalf("only %d messages were accepted: that is no load", len(ids))
	}

	begin := time.Now()
	want := events(ids, "Send", "Delivery")
	atHook := account(t, "the HTTP endpoint", want, time.Minute, atHook(hook))
	took := time.Since(begin)
	inQueue := account(t, "the queue", want, time.Minute, c.inQueue(queue))
	for i, id := range ids {
		if raw := c.nodes[i%2].Own(t.Context(), "GET", "messages/"+id+"/raw", ""); !strings.Contains(string(raw), "Subject: nodes") {
			t.Errorf("the inbox has no such message %s: %.200q", id, raw)
		}
	}
	fmt.Printf("nodes: %d kills, %d messages accepted, %d events, all there %s after the end; duplicates: %d at the HTTP endpoint, %d in the queue\n",
		kills, len(ids), len(want), took.Round(100*time.Millisecond), atHook, inQueue)
	if inQueue > 0 {
		t.Errorf("%d events are in the queue twice: inside Sestina every event is there exactly once", inQueue)
	}
}
