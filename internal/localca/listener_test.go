package localca

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/sestina-mail/sestina/internal/clock"
)

// serveHTTP serves http and https on one port and returns its address. The
// handler says how it was reached.
func serveHTTP(t *testing.T, ca *CA) string {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil {
			_, _ = io.WriteString(w, "plain "+r.Proto)
			return
		}
		_, _ = fmt.Fprintf(w, "tls %s %s %s", r.TLS.ServerName, r.TLS.NegotiatedProtocol, r.Proto)
	})}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(Listener(inner, ca.TLSConfig("http/1.1"))) }()
	t.Cleanup(func() {
		_ = srv.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
	})
	return inner.Addr().String()
}

func get(t *testing.T, client *http.Client, url string) string {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// httpClient trusts the authority and finds every host at addr.
func httpClient(t *testing.T, ca *CA, addr string) *http.Client {
	t.Helper()
	tr := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: ca.CertPool()},
		ForceAttemptHTTP2: true, // what Go's default client offers
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func TestListener(t *testing.T) {
	t.Parallel()
	ca := ensure(t, t.TempDir())
	addr := serveHTTP(t, ca)
	client := httpClient(t, ca, addr)

	for url, want := range map[string]string{
		"http://localhost/":                    "plain HTTP/1.1",
		"https://localhost/":                   "tls localhost http/1.1 HTTP/1.1",
		"https://127.0.0.1/":                   "tls  http/1.1 HTTP/1.1",
		"https://sns.us-east-1.amazonaws.com/": "tls sns.us-east-1.amazonaws.com http/1.1 HTTP/1.1",
	} {
		if got := get(t, client, url); got != want {
			t.Errorf("%s answered %q, want %q", url, got, want)
		}
	}
}

func TestListenerSilentClientsHoldUpNobody(t *testing.T) {
	t.Parallel()
	ca := ensure(t, t.TempDir())
	addr := serveHTTP(t, ca)
	for range 50 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	// One stops in the middle of its handshake.
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte{recordTypeHandshake}); err != nil {
		t.Fatal(err)
	}
	client := httpClient(t, ca, addr)
	for _, url := range []string{"http://localhost/", "https://localhost/"} {
		if got := get(t, client, url); got == "" {
			t.Errorf("%s answered nothing", url)
		}
	}
}

// An early answer to a large request must arrive whole.
func TestListenerHalfClose(t *testing.T) {
	t.Parallel()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := Listener(inner, ensure(t, t.TempDir()).TLSConfig())
	defer l.Close()
	c, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "hello"); err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	half, ok := s.(interface{ CloseWrite() error })
	if !ok {
		t.Fatal("an accepted connection cannot be half closed")
	}
	if err := half.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(c); err != nil || len(b) != 0 {
		t.Errorf("the client read %q, %v; want the end of the stream", b, err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(s, got); err != nil || string(got) != "hello" {
		t.Errorf("the server read %q, %v", got, err)
	}
}

// pipeListener accepts the server ends of net.Pipe.
type pipeListener struct {
	conns chan net.Conn
	fail  chan error
	done  chan struct{}
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), fail: make(chan error), done: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case err := <-l.fail:
		return nil, err
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l *pipeListener) Close() error   { close(l.done); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

func (l *pipeListener) dial() net.Conn {
	client, server := net.Pipe()
	l.conns <- server
	return client
}

func TestListenerFirstByteTimeout(t *testing.T) {
	t.Parallel()
	ca := ensure(t, t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		inner, clk := newPipeListener(), new(clock.Clock)
		l := Listener(inner, ca.TLSConfig())
		began := clk.Now()
		client := inner.dial()
		if _, err := client.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("a silent client read %v, want the end", err)
		}
		if d := clk.Since(began); d != firstByteTimeout {
			t.Errorf("a silent client was closed after %s, want %s", d, firstByteTimeout)
		}

		// A client that has spoken has no deadline from us.
		client = inner.dial()
		go func() { _, _ = io.WriteString(client, "G") }()
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			clk.SleepUntil(t.Context(), clk.Now().Add(10*firstByteTimeout), nil)
			_, _ = io.WriteString(client, "ET / HTTP/1.1\r\n")
		}()
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil || line != "GET / HTTP/1.1\r\n" {
			t.Errorf("read %q, %v", line, err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestListenerTooManyUndecided(t *testing.T) {
	t.Parallel()
	inner := newPipeListener()
	l := newListener(inner, ensure(t, t.TempDir()).TLSConfig(), 3)
	defer l.Close()
	var clients []net.Conn
	for range 4 {
		clients = append(clients, inner.dial())
	}
	if _, err := clients[0].Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the oldest client read %v, want the end", err)
	}
	go func() { _, _ = io.WriteString(clients[1], "x") }()
	c, err := l.Accept()
	if err != nil {
		t.Fatalf("the second oldest: %v", err)
	}
	_ = c.Close()
}

func TestListenerErrors(t *testing.T) {
	t.Parallel()
	inner := newPipeListener()
	l := Listener(inner, ensure(t, t.TempDir()).TLSConfig())
	tooMany := &net.OpError{Op: "accept", Err: os.NewSyscallError("accept", errors.New("too many open files"))}
	go func() { inner.fail <- tooMany }()
	if _, err := l.Accept(); !errors.Is(err, tooMany.Err) {
		t.Errorf("Accept: %v, want %v", err, tooMany)
	}
	go func() { c := inner.dial(); _, _ = io.WriteString(c, "x") }()
	c, err := l.Accept()
	if err != nil {
		t.Fatalf("Accept after an error: %v", err)
	}
	_ = c.Close()

	undecided := inner.dial()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v", err)
	}
	if _, err := undecided.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after Close an undecided client read %v, want the end", err)
	}
	if err := l.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
}

func FuzzListener(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
	f.Add([]byte{0x16, 3, 1, 0, 5, 1, 0, 0, 1, 3})
	f.Add([]byte{})
	f.Add([]byte(strings.Repeat("\x16", 70)))
	ca, err := Ensure(f.TempDir(), new(clock.Clock), Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		inner := newPipeListener()
		l := Listener(inner, ca.TLSConfig())
		client := inner.dial()
		go func() { _, _ = client.Write(data); _ = client.Close() }()
		if len(data) > 0 {
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(c)
			if _, isTLS := c.(*tls.Conn); isTLS != (data[0] == recordTypeHandshake) {
				t.Errorf("first byte %#x: TLS %v", data[0], isTLS)
			} else if !isTLS && (err != nil || string(got) != string(data)) {
				t.Errorf("read %q, %v; want %q", got, err, data)
			}
			_ = c.Close()
		}
		_ = l.Close()
	})
}
