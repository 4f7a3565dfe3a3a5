package deliver

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sestina-mail/sestina/internal/bounce"
	"github.com/sestina-mail/sestina/internal/sestina"
)

// Timeouts are how long a server may take. rfc5321#4.5.3.2
type Timeouts struct {
	Connect  time.Duration // TCP
	Greeting time.Duration // the first reply; also a TLS handshake
	Command  time.Duration // EHLO, STARTTLS, AUTH, MAIL, RCPT, RSET
	Data     time.Duration // the reply to DATA
	Block    time.Duration // to take one block of the message
	Final    time.Duration // the reply to the end of the message
	// Grace is how much of Final is left once the program stops: the one reply
	// that is worth waiting for, as without it the message is sent again.
	Grace time.Duration
}

// ServeTimeouts are those that RFC 5321 asks for.
func ServeTimeouts() Timeouts {
	return Timeouts{
		Connect: 30 * time.Second, Greeting: 5 * time.Minute, Command: 5 * time.Minute,
		Data: 2 * time.Minute, Block: 3 * time.Minute, Final: 10 * time.Minute, Grace: 3 * time.Second,
	}
}

// DevTimeouts are for a server on the same desk.
func DevTimeouts() Timeouts {
	return Timeouts{
		Connect: 5 * time.Second, Greeting: 10 * time.Second, Command: 10 * time.Second,
		Data: 10 * time.Second, Block: 10 * time.Second, Final: 30 * time.Second, Grace: 3 * time.Second,
	}
}

// A failure is why a session could not go on, as an outcome to be copied to
// every recipient concerned.
type failure struct {
	outcome bounce.Outcome // Kind, Code, Enhanced, Text
	fault   bool           // the host as a whole does not serve
	lost    bool           // the connection is of no more use
	cause   error          // nil when the server said it
}

func (f *failure) Error() string {
	if f.cause != nil {
		return f.outcome.Reply() + ": " + f.cause.Error()
	}
	return f.outcome.Reply()
}

func (f *failure) Unwrap() error { return f.cause }

// refusal is the failure that a reply means. 421 says that the server closes
// the connection. rfc5321#3.8
func refusal(r reply) *failure {
	f := &failure{}
	f.outcome.SetReply(r.code, r.lines)
	f.outcome.Kind = bounce.Deferred
	switch {
	case r.code/100 == 5:
		f.outcome.Kind = bounce.Failed
	case r.code == 421:
		f.fault, f.lost = true, true
	case r.code/100 != 4:
		return broken("an answer that fits no question", fmt.Errorf("%w: %d", errBadReply, r.code))
	}
	return f
}

// broken is the failure of a conversation that ended without a reply. A server
// that does not answer at all serves nobody; one that closed the connection may
// have disliked this message.
func broken(doing string, err error) *failure {
	text := "Connection lost while waiting for " + doing
	if isTimeout(err) {
		text = "Connection timed out while waiting for " + doing
	}
	return &failure{
		outcome: bounce.Outcome{Kind: bounce.Deferred, Code: 421, Enhanced: "4.4.2", Text: text},
		fault:   isTimeout(err), lost: true, cause: err,
	}
}

// unreachable is the failure to get a connection.
func unreachable(host string, err error) *failure {
	f := &failure{fault: true, lost: true, cause: err}
	f.outcome = bounce.Outcome{Kind: bounce.Deferred, Code: 421, Enhanced: "4.4.1", Text: "Failed to establish connection"}
	var dns *net.DNSError
	var errno syscall.Errno
	switch {
	case errors.As(err, &dns):
		f.outcome.Enhanced, f.outcome.Text = "4.4.0", "Unable to lookup DNS for "+host
	case isTimeout(err):
		f.outcome.Text += ": timed out"
	case errors.As(err, &errno):
		f.outcome.Text += ": " + errno.Error()
	}
	return f
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &ne) && ne.Timeout()
}

// A session is one SMTP connection. It belongs to one goroutine at a time.
type session struct {
	t    Timeouts
	host string

	conn  net.Conn
	br    *bufio.Reader
	bw    *bufio.Writer
	ext   map[string]string // what EHLO offered, names in upper case
	tls   string            // TLS version, or ""
	used  int               // transactions begun
	clean bool              // no transaction is open and none was

	// Guard of the deadline against a context that ends meanwhile.
	mu      sync.Mutex
	stopped bool
	final   bool // waiting for the final reply
}

func newSession(conn net.Conn, host string, t Timeouts) *session {
	s := &session{t: t, host: host, clean: true}
	s.setConn(conn)
	return s
}

func (s *session) setConn(conn net.Conn) {
	s.mu.Lock()
	s.conn = conn
	s.mu.Unlock()
	s.br = bufio.NewReaderSize(conn, maxReplyLine)
	s.bw = bufio.NewWriterSize(blockWriter{s}, 32<<10)
}

// watch makes the end of ctx end what the session waits for, until the returned
// function is called.
func (s *session) watch(ctx context.Context) (stop func()) {
	s.setStopped(false)
	done := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		defer close(done)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.stopped = true
		s.deadline(0)
	})
	return func() {
		if !cancel() {
			<-done
		}
	}
}

func (s *session) setStopped(stopped bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = stopped
}

// allow gives the other side a time for what comes next.
func (s *session) allow(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline(d)
}

func (s *session) deadline(d time.Duration) {
	if s.stopped {
		d = -time.Second
		if s.final {
			d = s.t.Grace
		}
	}
	_ = s.conn.SetDeadline(time.Now().Add(d)) //permit:time.Now network timeout
}

// blockWriter gives every block of data its own time.
type blockWriter struct{ s *session }

func (w blockWriter) Write(p []byte) (int, error) {
	w.s.allow(w.s.t.Block)
	return w.s.conn.Write(p)
}

// read waits for one reply.
func (s *session) read(d time.Duration, doing string) (reply, *failure) {
	s.allow(d)
	r, err := readReply(s.br)
	if err != nil {
		return reply{}, broken(doing, err)
	}
	return r, nil
}

// cmd sends a command and waits for its reply.
func (s *session) cmd(d time.Duration, command, doing string) (reply, *failure) {
	if _, err := s.bw.WriteString(command + "\r\n"); err != nil {
		return reply{}, broken(doing, err)
	}
	if err := s.bw.Flush(); err != nil {
		return reply{}, broken(doing, err)
	}
	return s.read(d, doing)
}

// greet waits for the greeting.
func (s *session) greet() *failure {
	r, f := s.read(s.t.Greeting, "the greeting")
	if f != nil {
		f.fault = true
		return f
	}
	if !r.positive() {
		f := refusal(r)
		// 554 instead of a greeting: no SMTP service here, now. The message is
		// not at fault. rfc5321#3.1
		f.outcome.Kind, f.fault, f.lost = bounce.Deferred, true, true
		return f
	}
	return nil
}

// hello says EHLO, or HELO to a server that does not know it, and notes what is
// offered. rfc5321#4.1.1.1
func (s *session) hello(name string) *failure {
	s.ext = map[string]string{}
	r, f := s.cmd(s.t.Command, "EHLO "+name, "the reply to EHLO")
	if f == nil && r.code/100 == 5 && r.code != 554 {
		r, f = s.cmd(s.t.Command, "HELO "+name, "the reply to HELO")
		r.lines = nil
	}
	if f == nil && !r.positive() {
		f = refusal(r)
		f.outcome.Kind = bounce.Deferred
	}
	if f != nil {
		f.fault, f.lost = true, true
		return f
	}
	for i, line := range r.lines {
		if i == 0 {
			continue
		}
		name, args, _ := strings.Cut(strings.TrimSpace(line), " ")
		s.ext[strings.ToUpper(name)] = args
	}
	return nil
}

func (s *session) offers(name string) bool { _, ok := s.ext[name]; return ok }

// startTLS asks for TLS. A refusal leaves the connection as it is. rfc3207#4
func (s *session) startTLS(ctx context.Context, cfg *tls.Config) *failure {
	r, f := s.cmd(s.t.Command, "STARTTLS", "the reply to STARTTLS")
	if f != nil {
		return f
	}
	if !r.positive() {
		f := refusal(r)
		f.outcome.Kind = bounce.Deferred
		return f
	}
	if s.br.Buffered() > 0 {
		// Words put in before TLS began are not the server's.
		return broken("TLS", errors.New("data after the reply to STARTTLS"))
	}
	return s.handshake(ctx, cfg)
}

// handshake begins TLS on the connection.
func (s *session) handshake(ctx context.Context, cfg *tls.Config) *failure {
	c := tls.Client(s.conn, cfg)
	s.allow(s.t.Greeting)
	if err := c.HandshakeContext(ctx); err != nil {
		return &failure{
			outcome: bounce.Outcome{Kind: bounce.Deferred, Code: 421, Enhanced: "4.7.5", Text: "TLS handshake failed: " + tlsCause(err)},
			fault:   true, lost: true, cause: err,
		}
	}
	s.setConn(c)
	s.tls = sestina.TLSVersionName(c.ConnectionState().Version)
	return nil
}

func tlsCause(err error) string {
	var cert *tls.CertificateVerificationError
	switch {
	case errors.As(err, &cert):
		return "the certificate is not trusted"
	case isTimeout(err):
		return "timed out"
	default:
		return "no common ground"
	}
}

// stamp adds to an outcome who said it, over which connection.
func (s *session) stamp(o bounce.Outcome) bounce.Outcome {
	o.RemoteIP, o.LocalIP = ipOf(s.conn.RemoteAddr()), ipOf(s.conn.LocalAddr())
	o.Host, o.TLSVersion = s.host, s.tls
	return o
}

// ipOf returns the IP of a connection's end, or "".
func ipOf(a net.Addr) string {
	if a == nil {
		return ""
	}
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return ""
	}
	return ap.Addr().Unmap().WithZone("").String()
}

// quit says goodbye without waiting long, and closes.
func (s *session) quit() {
	s.allow(time.Second)
	if _, err := s.conn.Write([]byte("QUIT\r\n")); err == nil {
		_, _ = readReply(s.br)
	}
	_ = s.conn.Close()
}
