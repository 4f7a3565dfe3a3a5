package nodes

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/sestina-mail/sestina/internal/store/postgres/pgtest"
	"github.com/sestina-mail/sestina/tests/harness"
)

// A line leads to a server. When it is cut nothing passes any more and nobody is
// told, as when a network or a machine fails; what was on its way goes on when
// it is mended.
type line struct {
	addr string

	mu   sync.Mutex
	cond *sync.Cond
	dead bool
}

func newLine(t *testing.T, to string) *line {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	ln := &line{addr: l.Addr().String()}
	ln.cond = sync.NewCond(&ln.mu)
	t.Cleanup(func() {
		_ = l.Close()
		ln.cut(false)
	})
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				onward, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer onward.Close()
				go func() {
					ln.pass(c, onward)
					_ = c.Close()
				}()
				ln.pass(onward, c)
			}()
		}
	}()
	return ln
}

// pass copies what comes, while the line is whole.
func (l *line) pass(to io.Writer, from io.Reader) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		l.mu.Lock()
		for l.dead {
			l.cond.Wait()
		}
		l.mu.Unlock()
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (l *line) cut(dead bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = dead
	l.cond.Broadcast()
}

// silencePatience is how long a refusal may take when the database says nothing
// at all: a query has 30 s, and what became of a commit is asked for 20 s more,
// since a client that is told too soon sends its message again.
const silencePatience = time.Minute

// TestDatabaseFallsSilent: a database that does not answer, but whose address
// takes what is sent, is like one that is away, only slower: nobody is told that
// something was accepted, every request is answered, and all goes on when the
// database answers again. What was refused may have been carried out.
func TestDatabaseFallsSilent(t *testing.T) {
	t.Parallel()
	db := pgtest.Shared(t)
	schema, err := db.Schema(t.Context())
	check(t, err)
	u, err := url.Parse(db.URL(schema))
	check(t, err)
	ln := newLine(t, u.Host)
	u.Host = ln.addr
	c := newClusterOn(t, u.String(), 1)
	hook := harness.NewHook(t)
	queue := c.setUp(hook)
	before, err := c.nodes[0].send(t.Context(), setName, "a@example.com", "before")
	check(t, err)
	ln.cut(true)
	slowest := c.refuses(t, queue, silencePatience)
	ln.cut(false)
	begin := time.Now()
	eventually(t, 20*time.Second, func() error { return c.nodes[0].isReady(http.StatusOK) })
	resumed := time.Since(begin)
	after, err := c.nodes[0].send(t.Context(), setName, "a@example.com", "after")
	check(t, err)
	want := events([]string{before, after}, "Send", "Delivery")
	account(t, "the HTTP endpoint", want, time.Minute, atHook(hook))
	if n := account(t, "the queue", want, time.Minute, unlike("test", c.inQueue(queue))); n > 0 {
		t.Errorf("%d events are in the queue twice", n)
	}
	fmt.Printf("nodes: the database fell silent: slowest refusal %s, ready again %s after it spoke\n",
		slowest.Round(10*time.Millisecond), resumed.Round(10*time.Millisecond))
}
