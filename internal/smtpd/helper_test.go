package smtpd

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/sestina-mail/sestina/internal/auth"
	"github.com/sestina-mail/sestina/internal/clock"
	"github.com/sestina-mail/sestina/internal/localca"
	"github.com/sestina-mail/sestina/internal/sestina"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testAccount = "123456789012"

var testScope = sestina.Scope{Account: testAccount, Region: "eu-west-1"}

// A taken message is what the recorder got.
type taken struct {
	Session Session
	From    string
	To      []string
	Data    string
}

// A recorder is an Acceptor that keeps what it gets.
type recorder struct {
	answer func(taken) error // nil accepts

	mu  sync.Mutex
	got []taken
}

func (r *recorder) AcceptSMTP(_ context.Context, s Session, from string, to []string, data []byte) (string, error) {
	m := taken{s, from, to, string(data)}
	if r.answer != nil {
		if err := r.answer(m); err != nil {
			return "", err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, m)
	return fmt.Sprintf("id-%d", len(r.got)), nil
}

func (r *recorder) messages() []taken {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]taken(nil), r.got...)
}

// one returns the only message, or fails.
func (r *recorder) one(t *testing.T) taken {
	t.Helper()
	got := r.messages()
	if len(got) != 1 {
		t.Fatalf("%d messages were accepted, want 1: %+v", len(got), got)
	}
	return got[0]
}

// users is an Authenticator with one user.
type users struct{}

func (users) AuthenticateSMTP(_ context.Context, user, password string) (auth.Principal, error) {
	switch {
	case user == "broken":
		return auth.Principal{}, errors.New("no database")
	case user == "mailer" && password == "right":
		return auth.Principal{Account: testAccount, UserName: "mailer", AccessKeyID: "AKIATEST"}, nil
	}
	return auth.Principal{}, auth.ErrCredentials
}

// A bench is a running server and what it writes to.
type bench struct {
	t    *testing.T
	srv  *Server
	rec  *recorder
	pipe *pipeListener
	log  *logBuffer

	mayPanic bool
}

// start runs a server on net.Pipe connections. It is shut down, and must have
// neither panicked nor lost count of its memory, when the test ends.
func start(t *testing.T, o Options) *bench {
	t.Helper()
	b := &bench{t: t, rec: &recorder{}, log: &logBuffer{}, pipe: newPipeListener()}
	if o.Acceptor == nil {
		o.Acceptor = b.rec
	}
	if o.Scope == (sestina.Scope{}) {
		o.Scope = testScope
	}
	o.Logger = slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	b.srv = New(o)
	done := make(chan error, 1)
	go func() { done <- b.srv.Serve(b.pipe) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // cut what is left
		_ = b.srv.Shutdown(ctx)
		if err := <-done; !errors.Is(err, ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
		if s := b.log.String(); strings.Contains(s, `level=ERROR msg="smtp: panic`) && !b.mayPanic {
			t.Errorf("the server panicked: %s", s)
		}
	})
	return b
}

// listen serves on a loopback port, too.
func (b *bench) listen(implicitTLS bool) string {
	b.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		if implicitTLS {
			done <- b.srv.ServeTLS(l)
		} else {
			done <- b.srv.Serve(l)
		}
	}()
	b.t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}

// newCA returns server and client TLS configurations.
func newCA(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	ca, err := localca.Ensure(t.TempDir(), new(clock.Clock), localca.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return ca.TLSConfig(), &tls.Config{RootCAs: ca.CertPool(), ServerName: "localhost"}
}

// A talk is the client's side of a conversation, byte for byte.
type talk struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

// dial connects and reads the greeting.
func (b *bench) dial() *talk {
	b.t.Helper()
	return b.talk(b.pipe.dial())
}

func (b *bench) dialTCP(addr string) *talk {
	b.t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.talk(c)
}

func (b *bench) talk(c net.Conn) *talk {
	b.t.Helper()
	k := &talk{t: b.t, conn: c, r: bufio.NewReader(c)}
	b.t.Cleanup(func() { _ = c.Close() })
	k.want("220 ")
	return k
}

// send writes raw bytes.
func (k *talk) send(s string) {
	k.t.Helper()
	if _, err := io.WriteString(k.conn, s); err != nil {
		k.t.Fatalf("send %.60q: %v", s, err)
	}
}

// reply reads one reply, all lines of it.
func (k *talk) reply() (string, error) {
	var all strings.Builder
	for {
		line, err := k.r.ReadString('\n')
		all.WriteString(line)
		if err != nil {
			return all.String(), err
		}
		if len(line) < 4 || line[3] != '-' {
			return all.String(), nil
		}
	}
}

// want reads one reply and requires it to begin with prefix; a prefix with a
// line end means the whole reply.
func (k *talk) want(prefix string) string {
	k.t.Helper()
	got, err := k.reply()
	if err != nil || !strings.HasPrefix(got, prefix) {
		k.t.Fatalf("reply %q (%v), want %q", got, err, prefix)
	}
	return got
}

// chunk sends a BDAT command with its data.
func (k *talk) chunk(data string, last bool) {
	k.t.Helper()
	cmd := fmt.Sprintf("BDAT %d", len(data))
	if last {
		cmd += " LAST"
	}
	k.send(cmd + "\r\n" + data)
}

// cmd sends a command and requires a reply.
func (k *talk) cmd(line, prefix string) string {
	k.t.Helper()
	k.send(line + "\r\n")
	return k.want(prefix)
}

// ended requires the connection to be closed without another reply.
func (k *talk) ended() {
	k.t.Helper()
	rest, err := io.ReadAll(k.r)
	if len(rest) > 0 || err != nil && !errors.Is(err, net.ErrClosed) && !isReset(err) {
		k.t.Fatalf("got %q, %v; want the end of the connection", rest, err)
	}
}

func isReset(err error) bool { return strings.Contains(err.Error(), "reset by peer") }

// envelope goes up to the 354 of DATA.
func (k *talk) envelope() {
	k.t.Helper()
	k.cmd("MAIL FROM:<a@example.com>", "250 ")
	k.cmd("RCPT TO:<b@example.org>", "250 ")
	k.cmd("DATA", "354 ")
}

func (k *talk) hello() {
	k.t.Helper()
	k.cmd("EHLO client.example", "250-")
}

// startTLS switches to TLS.
func (k *talk) startTLS(config *tls.Config) {
	k.t.Helper()
	k.cmd("STARTTLS", "220 ")
	c := tls.Client(k.conn, config)
	if err := c.HandshakeContext(k.t.Context()); err != nil {
		k.t.Fatal(err)
	}
	k.conn, k.r = c, bufio.NewReader(c)
}

const testMail = "From: a@example.com\r\nSubject: hi\r\n\r\nbody\r\n"

// pipeListener accepts the server ends of net.Pipe.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

func (l *pipeListener) dial() net.Conn {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
	case <-l.done:
		_ = client.Close()
	}
	return client
}

type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
