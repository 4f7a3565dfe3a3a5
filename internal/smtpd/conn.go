package smtpd

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

// A conn is the network side of one connection, below TLS. The library sets a
// read deadline before each line it reads and none while a message arrives;
// conn makes of it a deadline that follows the bytes received, so that a fast
// enough message of any size gets through and a client that dribbles does not.
// It also ends connections: once a read has failed every later one fails, so
// that the rest of a broken-off message is never taken for commands.
type conn struct {
	net.Conn
	srv         *Server
	remote      netip.Addr
	implicitTLS bool
	closed      sync.Once

	// lib is the library's view of this connection, known from the first EHLO
	// on. Only the library's goroutine uses it.
	lib *smtp.Conn

	mu        sync.Mutex
	deadline  time.Time       // of the current command, before it is extended
	received  int64           // bytes since the deadline was set
	commands  int             // since the last accepted message
	failures  int             // of AUTH
	busy      bool            // between an accepted MAIL and the end of its transaction
	receiving bool            // a message is being read
	probing   bool            // reads must not touch the network
	bye       *smtp.SMTPError // the last reply of the connection
	patient   bool            // bye waits for the end of the transaction
	dead      error           // why nothing is read any more
}

func newConn(nc net.Conn, s *Server, implicitTLS bool) *conn {
	c := &conn{Conn: nc, srv: s, implicitTLS: implicitTLS}
	if a, err := netip.ParseAddrPort(nc.RemoteAddr().String()); err == nil {
		c.remote = a.Addr().Unmap().WithZone("")
	}
	c.deadline = time.Now().Add(s.o.CommandTimeout) //permit:time.Now network timeout
	return c
}

// under returns the conn below what the library reads from.
func under(nc net.Conn) *conn {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	return nc.(*conn)
}

// SetReadDeadline implements net.Conn. The library calls it once before each
// line, in its own goroutine. An error makes it end the connection.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	if c.commands++; c.commands > maxCommands {
		c.bye, c.patient = reply(421, "Too many commands without a message"), false
	}
	c.deadline, c.received = t, 0
	dead, bye := c.dead, c.farewell()
	c.mu.Unlock()
	switch {
	case dead != nil:
		return io.EOF
	case bye != nil:
		return c.end(bye)
	}
	return nil
}

// farewell returns the last reply if it is time for it. c.mu is held.
func (c *conn) farewell() *smtp.SMTPError {
	if c.receiving || c.busy && c.patient {
		return nil
	}
	return c.bye
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	if err := c.beforeRead(); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	c.received += int64(n)
	bye := c.farewell()
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && c.dead == nil {
		c.dead = err
	}
	c.mu.Unlock()
	if !errors.Is(err, os.ErrDeadlineExceeded) || n > 0 {
		return n, err
	}
	if bye == nil {
		bye = reply(451, "Timeout waiting for data from client")
	}
	return 0, c.end(bye)
}

// beforeRead sets the deadline of the next read, or says why there is none.
func (c *conn) beforeRead() error {
	c.mu.Lock()
	var end *smtp.SMTPError
	switch {
	case c.probing:
		c.mu.Unlock()
		return os.ErrDeadlineExceeded
	case c.dead != nil:
		c.mu.Unlock()
		return c.dead
	case c.farewell() != nil:
		end = c.farewell()
	case c.received > 2*c.srv.o.MaxMessageBytes+maxLine:
		// Dot stuffing at most doubles a message: this one was refused long ago
		// and its end is not in sight.
		end = reply(552, "Message is too long.")
	default:
		extra := time.Duration(c.received) * time.Second / time.Duration(c.srv.o.MinRate)
		err := c.Conn.SetReadDeadline(c.deadline.Add(extra))
		c.mu.Unlock()
		return err
	}
	c.mu.Unlock()
	return c.end(end)
}

// end stops all reading for the reason that r gives. While a message is being
// read the reader gets r, for the library answers then. Otherwise r is sent
// from here and the library only sees the end of the stream. The library's
// goroutine calls it.
func (c *conn) end(r *smtp.SMTPError) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead != nil {
		return c.dead
	}
	if c.receiving {
		c.dead = r
		return r
	}
	c.dead = io.EOF
	var w net.Conn = c
	switch {
	case c.lib != nil:
		w = c.lib.Conn()
	case c.implicitTLS:
		return io.EOF // the handshake may not be over
	}
	writeReply(w, r)
	return io.EOF
}

// stop asks for the end of the connection: at once when it is idle, otherwise
// after the transaction it is in.
func (c *conn) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bye == nil {
		c.bye, c.patient = errShutdown, true
	}
	if !c.busy {
		_ = c.Conn.SetReadDeadline(time.Unix(1, 0)) // wakes the reader
	}
}

// hangUp makes r the last reply of the connection, before the next command is
// read.
func (c *conn) hangUp(r *smtp.SMTPError) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bye == nil || c.patient {
		c.bye, c.patient = r, false
	}
}

// begin marks the start of a transaction. It returns a reply when there can be
// none any more.
func (c *conn) begin() *smtp.SMTPError {
	if c.srv.isClosing() {
		return errShutdown
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bye != nil {
		return c.bye
	}
	c.busy = true
	return nil
}

// receive marks that a message is being read.
func (c *conn) receive() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.receiving = true
}

// finish marks the end of the transaction.
func (c *conn) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy, c.receiving = false, false
}

// accepted restarts the count of commands.
func (c *conn) accepted() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.commands = 0
}

// authFailed counts a failed AUTH and hangs up after too many.
func (c *conn) authFailed() {
	c.mu.Lock()
	c.failures++
	n := c.failures
	c.mu.Unlock()
	if n >= maxAuthFailures {
		c.hangUp(reply(421, "Too many failed authentication attempts"))
	}
}

// cutShort reports whether the stream above this conn has ended. A chunk of
// BDAT is read by the library with a reader that takes the end of the stream
// for the end of the chunk; without this check the first half of a message
// would count as the whole. rfc3030#2
func (c *conn) cutShort(top net.Conn) bool {
	c.mu.Lock()
	dead := c.dead
	c.probing = true
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.probing = false
		c.mu.Unlock()
	}()
	t, ok := top.(*tls.Conn)
	if dead != nil || !ok {
		return dead != nil
	}
	// A peer can end the TLS stream before the connection. Reading tells,
	// and does not wait: below, probing answers in place of the network.
	n, err := t.Read(make([]byte, 1))
	if n > 0 {
		// The client has sent more commands already, and we have just lost the
		// first byte of them. It will find the connection closed and send again
		// what was not answered.
		c.hangUp(reply(421, "Commands sent before the reply to BDAT LAST"))
		return false
	}
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

// reject turns away a connection before the library sees it.
func (c *conn) reject() {
	if !c.implicitTLS {
		writeReply(c.Conn, reply(421, "Too many concurrent SMTP connections"))
	}
	_ = c.Conn.Close()
}

// Close implements net.Conn.
func (c *conn) Close() error {
	err := net.ErrClosed
	c.closed.Do(func() {
		c.mu.Lock()
		if c.dead == nil {
			c.dead = net.ErrClosed
		}
		c.mu.Unlock()
		c.srv.forget(c)
		err = c.Conn.Close()
	})
	return err
}

// writeReply sends a last reply to a client that may not be listening.
func writeReply(w net.Conn, r *smtp.SMTPError) {
	_ = w.SetWriteDeadline(time.Now().Add(time.Second)) //permit:time.Now network timeout
	_, _ = io.WriteString(w, formatReply(r))
}
