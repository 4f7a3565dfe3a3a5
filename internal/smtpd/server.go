package smtpd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/sestina-mail/sestina/internal/auth"
	"github.com/sestina-mail/sestina/internal/sestina"
)

// An Acceptor takes mail in.
type Acceptor interface {
	// AcceptSMTP accepts one message for all of its recipients, or refuses it
	// for all of them. It returns the SES message id once the message is
	// durable. A refusal is a *sestina.Error; an error with a method
	// Unavailable() bool that returns true means "try again later". from and to
	// are addresses in envelope form (local@domain, quoted where needed, domain
	// in ASCII); data is the message as the client sent it, dots unstuffed. data
	// may be kept only until AcceptSMTP returns. It is called concurrently; its
	// context does not end because the client goes away.
	AcceptSMTP(ctx context.Context, s Session, from string, to []string, data []byte) (messageID string, err error)
}

// An Authenticator checks what a client presents with AUTH.
type Authenticator interface {
	// AuthenticateSMTP returns who the user is. auth.ErrCredentials means that
	// user or password is wrong; any other error that it cannot tell now.
	AuthenticateSMTP(ctx context.Context, user, password string) (auth.Principal, error)
}

// A Session is what is known about the client of a message.
type Session struct {
	Scope sestina.Scope // the principal's account and the server's region
	// UserName is the name of the IAM user, and "root" for the account itself
	// and for clients that did not authenticate.
	UserName     string
	PrincipalARN string
	AccessKeyID  string     // "" without AUTH
	RemoteIP     netip.Addr // the zero Addr when the transport has none
	TLSVersion   string     // "TLSv1.2", "TLSv1.3", or "" on a plain connection
	HELO         string     // as the client named itself, printable ASCII, at most 255 bytes
}

// PlainAuth says on which connections without TLS AUTH is offered.
type PlainAuth int

// The policies for AUTH without TLS.
const (
	PlainAuthNever    PlainAuth = iota // serve
	PlainAuthLoopback                  // dev: clients on this machine
	PlainAuthAlways                    // for a network that is trusted as a whole
)

// Options are what a Server needs. Acceptor is required; every other zero value
// means the default given.
type Options struct {
	Acceptor      Acceptor
	Authenticator Authenticator // nil: AUTH is not offered
	// Scope is the account of clients that do not authenticate, and the region
	// of all.
	Scope sestina.Scope

	Hostname    string      // in greetings; "localhost"
	TLS         *tls.Config // nil: STARTTLS is not offered
	RequireTLS  bool        // refuse MAIL and AUTH on plain connections
	RequireAuth bool        // refuse MAIL before AUTH
	PlainAuth   PlainAuth

	// MaxMessageBytes is the size a message, as sent, must stay below: 40 MB.
	// ses-guide:quotas
	MaxMessageBytes int64
	// MaxRecipients per message: 50. A message for more is refused as a whole
	// after DATA, as SES does. ses-guide:quotas
	MaxRecipients int
	// MaxConnections at one time: 500. Further ones are told to come back.
	MaxConnections int
	// MaxBufferedBytes bounds the memory of all messages being received or
	// accepted at one time: 256 MB, and never less than two messages of
	// MaxMessageBytes. A message that does not fit is answered with 451.
	MaxBufferedBytes int64

	// CommandTimeout is how long a client may take for one command or, together
	// with MinRate, for one message: 60 s. rfc5321#4.5.3.2.7 asks for 5 minutes,
	// SES gives about 10 s.
	CommandTimeout time.Duration
	// WriteTimeout is how long a reply may take to be sent: 30 s.
	WriteTimeout time.Duration
	// MinRate is how many bytes extend a deadline by one second: 8 KiB. A
	// message has CommandTimeout plus its size divided by MinRate to arrive.
	MinRate int64

	Logger *slog.Logger // slog.Default()
}

// Limits that are not configurable: they keep a client that only talks from
// holding a connection forever.
const (
	maxCommands     = 1000     // since the last accepted message
	maxEnvelope     = 500      // recipients a transaction may name before 452
	maxAuthFailures = 3        // per connection
	maxLine         = 16 << 10 // bytes of a line, in commands and messages
)

func (o *Options) setDefaults() {
	def := func(v *int64, d int64) {
		if *v <= 0 {
			*v = d
		}
	}
	if o.Hostname == "" {
		o.Hostname = "localhost"
	}
	def(&o.MaxMessageBytes, 40<<20)
	def(&o.MaxBufferedBytes, 256<<20)
	def(&o.MinRate, 8<<10)
	o.MaxBufferedBytes = max(o.MaxBufferedBytes, 2*o.MaxMessageBytes)
	if o.MaxRecipients <= 0 {
		o.MaxRecipients = 50
	}
	if o.MaxConnections <= 0 {
		o.MaxConnections = 500
	}
	if o.CommandTimeout <= 0 {
		o.CommandTimeout = time.Minute
	}
	if o.WriteTimeout <= 0 {
		o.WriteTimeout = 30 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
}

// ErrServerClosed is returned by Serve after Shutdown.
var ErrServerClosed = errors.New("smtpd: server closed")

// A Server is an SMTP submission server on any number of listeners. Its methods
// may be called concurrently.
type Server struct {
	o      Options
	lib    *smtp.Server
	buffer atomic.Int64 // bytes of messages held in memory

	ctx    context.Context // of every AcceptSMTP and AuthenticateSMTP
	cancel context.CancelFunc

	serving sync.WaitGroup // Serve calls

	mu        sync.Mutex
	closing   bool
	listeners []net.Listener
	conns     map[*conn]struct{}
}

// New returns a server. It does nothing until Serve or ServeTLS is called.
func New(o Options) *Server {
	o.setDefaults()
	s := &Server{o: o, conns: map[*conn]struct{}{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.lib = smtp.NewServer(smtp.BackendFunc(s.newSession))
	s.lib.Domain = o.Hostname
	s.lib.TLSConfig = o.TLS
	s.lib.MaxMessageBytes = o.MaxMessageBytes
	s.lib.MaxLineLength = maxLine
	s.lib.ReadTimeout = o.CommandTimeout
	s.lib.WriteTimeout = o.WriteTimeout
	s.lib.EnableSMTPUTF8 = true
	s.lib.ErrorLog = libLog{o.Logger}
	// The session decides where AUTH is offered, see session.authFault. The
	// library's own limit on recipients is not used: it answers 452 to the
	// 51st, and clients would go on to send to the first 50.
	s.lib.AllowInsecureAuth = true
	return s
}

// Serve accepts plain connections (STARTTLS offered when Options.TLS is set)
// from l until Shutdown, which closes l.
func (s *Server) Serve(l net.Listener) error { return s.serve(l, false) }

// ServeTLS accepts connections that begin with a TLS handshake (port 465).
// Options.TLS must be set. rfc8314#3.3
func (s *Server) ServeTLS(l net.Listener) error { return s.serve(l, true) }

func (s *Server) serve(l net.Listener, implicitTLS bool) error {
	if implicitTLS && s.o.TLS == nil {
		return errors.New("smtpd: ServeTLS without a TLS configuration")
	}
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		_ = l.Close()
		return ErrServerClosed
	}
	s.listeners = append(s.listeners, l)
	s.serving.Add(1)
	s.mu.Unlock()
	defer s.serving.Done()

	err := s.lib.Serve(&listener{Listener: l, srv: s, implicitTLS: implicitTLS})
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return ErrServerClosed
	}
	return fmt.Errorf("serve SMTP on %s: %w", l.Addr(), err)
}

// Shutdown closes the listeners, tells every client that is not in the middle
// of a message 421, and waits for the others to finish theirs. When ctx ends
// first, the remaining connections are cut and its error is returned: their
// clients got no answer and will send again. rfc5321#3.8
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	listeners := s.listeners
	s.listeners = nil
	s.mu.Unlock()
	for _, l := range listeners {
		_ = l.Close()
	}
	s.serving.Wait() // from here on there are no new connections

	for _, c := range s.open() {
		c.stop()
	}
	err := s.lib.Shutdown(ctx)
	s.cancel()
	if err != nil && !errors.Is(err, smtp.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		for _, c := range s.open() {
			_ = c.Close()
		}
		return fmt.Errorf("shut down SMTP server: %w", err)
	}
	return nil
}

// Connections returns how many connections are open.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

func (s *Server) open() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		out = append(out, c)
	}
	return out
}

// take reserves n bytes of the memory for messages, or reports that there is
// no room.
func (s *Server) take(n int64) bool {
	if s.buffer.Add(n) > s.o.MaxBufferedBytes {
		s.buffer.Add(-n)
		return false
	}
	return true
}

func (s *Server) give(n int64) { s.buffer.Add(-n) }

// A listener hands the library connections that obey the server's limits.
type listener struct {
	net.Listener
	srv         *Server
	implicitTLS bool
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := newConn(nc, l.srv, l.implicitTLS)
		if !l.srv.admit(c) {
			c.reject()
			continue
		}
		if l.implicitTLS {
			return tls.Server(c, l.srv.o.TLS), nil
		}
		return c, nil
	}
}

// admit counts the connection in, unless there are too many.
func (s *Server) admit(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing || len(s.conns) >= s.o.MaxConnections {
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *Server) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// libLog passes the library's log on: a recovered panic is an error, the rest
// is clients that went away.
type libLog struct{ *slog.Logger }

func (l libLog) Printf(format string, v ...any) {
	text, level := fmt.Sprintf(format, v...), slog.LevelDebug
	if strings.HasPrefix(format, "panic") && !abortedChunk(text) {
		level = slog.LevelError
	}
	l.Log(context.Background(), level, "smtp: "+text)
}

func (l libLog) Println(v ...any) { l.Debug("smtp: " + fmt.Sprint(v...)) }

// abortedChunk recognises a panic that means nothing: the library starts a
// goroutine for BDAT that asks for the connection's session when it gets to run,
// and there is none any more if the client has gone by then.
func abortedChunk(text string) bool {
	return strings.Contains(text, "nil pointer dereference") &&
		strings.Contains(text, "handleBdat") && !strings.Contains(text, "(*session)")
}
