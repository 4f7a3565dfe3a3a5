package localca

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"
)

const (
	// firstByteTimeout is how long a new connection may say nothing.
	firstByteTimeout = 10 * time.Second
	// maxUndecided is how many connections may be waiting for their first byte;
	// when there are more, the one that has waited longest is closed.
	maxUndecided = 1024
	// recordTypeHandshake is the first byte of a TLS connection. rfc8446#5.1
	recordTypeHandshake = 0x16
)

// Listener returns a listener that tells TLS from plain connections by their
// first byte. Accept returns a *tls.Conn for the former, whose handshake is
// still to come, so that net/http sets Request.TLS; and the plain connection for
// the latter. Clients that say nothing hold up nobody: they are waited for in
// the background, and not for long. Close closes inner too.
func Listener(inner net.Listener, config *tls.Config) net.Listener {
	return newListener(inner, config, maxUndecided)
}

func newListener(inner net.Listener, config *tls.Config, limit int) *listener {
	l := &listener{
		Listener: inner, config: config, limit: limit,
		ready: make(chan accepted), done: make(chan struct{}),
		undecided: map[net.Conn]uint64{},
	}
	l.wg.Add(1)
	go l.run()
	return l
}

type accepted struct {
	conn net.Conn
	err  error
}

type listener struct {
	net.Listener
	config *tls.Config
	limit  int // of undecided
	ready  chan accepted
	done   chan struct{} // closed by Close
	close  sync.Once
	wg     sync.WaitGroup

	mu        sync.Mutex
	undecided map[net.Conn]uint64 // connections without a first byte, with their number; nil after Close
	number    uint64
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case a := <-l.ready:
		return a.conn, a.err
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. It returns when nothing of the listener is
// running any more.
func (l *listener) Close() error {
	err := net.ErrClosed
	l.close.Do(func() {
		close(l.done)
		err = l.Listener.Close()
		l.mu.Lock()
		for c := range l.undecided {
			_ = c.Close()
		}
		l.undecided = nil
		l.mu.Unlock()
		l.wg.Wait()
	})
	return err
}

func (l *listener) run() {
	defer l.wg.Done()
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			// The server on top decides what an error means, by asking for the
			// next connection or not.
			if !l.deliver(accepted{err: err}) || errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		if !l.enter(c) {
			_ = c.Close()
			return
		}
		l.wg.Add(1)
		go l.decide(c)
	}
}

// decide waits for the first byte and passes the connection on.
func (l *listener) decide(c net.Conn) {
	defer l.wg.Done()
	var first [1]byte
	_ = c.SetReadDeadline(time.Now().Add(firstByteTimeout)) //permit:time.Now network timeout
	_, err := c.Read(first[:])
	if !l.leave(c) || err != nil || c.SetReadDeadline(time.Time{}) != nil {
		_ = c.Close()
		return
	}
	var conn net.Conn = &prefixed{Conn: c, first: first[0], unread: true}
	if first[0] == recordTypeHandshake {
		conn = tls.Server(conn, l.config)
	}
	if !l.deliver(accepted{conn: conn}) {
		_ = c.Close()
	}
}

func (l *listener) deliver(a accepted) bool {
	select {
	case l.ready <- a:
		return true
	case <-l.done:
		return false
	}
}

// enter notes a connection without a first byte, at the expense of the oldest
// when there are too many. It reports false after Close.
func (l *listener) enter(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.undecided == nil {
		return false
	}
	if len(l.undecided) >= l.limit {
		var oldest net.Conn
		for o, n := range l.undecided {
			if oldest == nil || n < l.undecided[oldest] {
				oldest = o
			}
		}
		delete(l.undecided, oldest)
		_ = oldest.Close()
	}
	l.number++
	l.undecided[c] = l.number
	return true
}

// leave removes the connection. It reports false if it was closed meanwhile.
func (l *listener) leave(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.undecided[c]
	delete(l.undecided, c)
	return ok
}

// prefixed is a connection whose first byte has been read.
type prefixed struct {
	net.Conn
	first  byte
	unread bool // only the reader uses it
}

// Read implements net.Conn.
func (p *prefixed) Read(b []byte) (int, error) {
	if !p.unread || len(b) == 0 {
		return p.Conn.Read(b)
	}
	p.unread = false
	b[0] = p.first
	return 1, nil
}

// CloseWrite lets net/http end a response before it has read all of the
// request, without a reset that could overtake the response.
func (p *prefixed) CloseWrite() error {
	if c, ok := p.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}
