package deliver

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sestina-mail/sestina/internal/bounce"
	"github.com/sestina-mail/sestina/internal/clock"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// A peer is the server's end of one scripted SMTP connection. A script runs in
// a goroutine of its own; what it does not expect fails the test and closes the
// connection.
type peer struct {
	t    *testing.T
	conn net.Conn
	br   *bufio.Reader
}

func (p *peer) fail(format string, args ...any) {
	p.t.Errorf("scripted peer: "+format, args...)
	_ = p.conn.Close()
	runtime.Goexit()
}

// say writes lines.
func (p *peer) say(lines ...string) {
	if _, err := io.WriteString(p.conn, strings.Join(lines, "\r\n")+"\r\n"); err != nil {
		p.fail("say %q: %v", lines, err)
	}
}

// hear reads one line.
func (p *peer) hear() string {
	line, err := p.br.ReadString('\n')
	if err != nil {
		p.fail("after %q: %v", line, err)
	}
	return strings.TrimSuffix(line, "\r\n")
}

// want reads lines that must be these.
func (p *peer) want(lines ...string) {
	for _, l := range lines {
		if got := p.hear(); got != l {
			p.fail("heard %q, want %q", got, l)
		}
	}
}

// alone checks that nothing was sent before its turn.
func (p *peer) alone() {
	if n := p.br.Buffered(); n > 0 {
		p.fail("%d bytes were sent before the reply to the last command", n)
	}
}

// step is one command and its reply, where nothing may be pipelined.
func (p *peer) step(command, reply string) {
	p.want(command)
	p.alone()
	p.say(reply)
}

// hello greets and offers extensions.
func (p *peer) hello(extensions ...string) {
	p.say("220 mx.example.net ESMTP")
	p.ehlo(extensions...)
}

func (p *peer) ehlo(extensions ...string) {
	p.want("EHLO client.example.com")
	lines := append([]string{"mx.example.net at your service"}, extensions...)
	for i, l := range lines {
		sep := "-"
		if i == len(lines)-1 {
			sep = " "
		}
		lines[i] = "250" + sep + l
	}
	p.say(lines...)
}

// data takes a message and returns it as sent, the final dot included.
func (p *peer) data(reply string) string {
	p.say("354 go on")
	var b strings.Builder
	for !strings.HasSuffix("\r\n"+b.String(), "\r\n.\r\n") {
		line, err := p.br.ReadString('\n')
		if err != nil {
			p.fail("data after %q: %v", b.String(), err)
		}
		b.WriteString(line)
	}
	if reply != "" {
		p.say(reply)
	}
	return b.String()
}

// mail is a whole transaction with pipelining, one reply per command.
func (p *peer) mail(reply string, recipients ...string) {
	p.want("MAIL FROM:<news@example.com> SIZE=17 BODY=8BITMIME")
	for _, r := range recipients {
		p.want("RCPT TO:<" + r + ">")
	}
	p.say("250 2.1.0 Ok")
	for range recipients {
		p.say("250 2.1.5 Ok")
	}
	p.want("DATA")
	p.data(reply)
}

func (p *peer) quit() {
	p.want("QUIT")
	p.say("221 2.0.0 Bye")
}

// gone waits until the client closes.
func (p *peer) gone() {
	if line, err := p.br.ReadString('\n'); err == nil {
		p.fail("heard %q, want the end", line)
	}
}

func (p *peer) startTLS(cfg *tls.Config) {
	p.want("STARTTLS")
	p.say("220 2.0.0 Ready")
	p.handshake(cfg)
}

func (p *peer) handshake(cfg *tls.Config) {
	c := tls.Server(p.conn, cfg)
	if err := c.Handshake(); err != nil {
		p.fail("handshake: %v", err)
	}
	p.conn, p.br = c, bufio.NewReader(c)
}

var usual = []string{"PIPELINING", "SIZE 10000000", "8BITMIME", "ENHANCEDSTATUSCODES"}

// addressed gives the client's end of a pipe addresses.
type addressed struct {
	net.Conn
	local, remote string
	writable      *int // bytes after which the way there breaks, not the way back
}

func (c addressed) Write(p []byte) (int, error) {
	if c.writable == nil {
		return c.Conn.Write(p)
	}
	if *c.writable -= len(p); *c.writable < 0 {
		return 0, &net.OpError{Op: "write", Err: syscall.ECONNRESET}
	}
	return c.Conn.Write(p)
}

type address string

func (a address) Network() string { return "tcp" }
func (a address) String() string  { return string(a) }

func (c addressed) LocalAddr() net.Addr  { return address(c.local) }
func (c addressed) RemoteAddr() net.Addr { return address(c.remote) }

// A network hands out scripted connections in order.
type network struct {
	t       *testing.T
	scripts []func(*peer)
	local   string
	remote  string
	limit   *int
	wg      sync.WaitGroup

	mu    sync.Mutex
	dials int
}

func (n *network) dial(context.Context, string, string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.dials == len(n.scripts) {
		return nil, errors.New("connection not in the script")
	}
	script := n.scripts[n.dials]
	n.dials++
	if script == nil {
		return nil, &net.OpError{Op: "dial", Err: errors.New("no route")}
	}
	client, server := net.Pipe()
	n.wg.Go(func() {
		defer func() { _ = server.Close() }()
		script(&peer{t: n.t, conn: server, br: bufio.NewReader(server)})
	})
	return addressed{client, n.local, n.remote, n.limit}, nil
}

// scripted returns a relay whose connections are played by scripts, and its
// network. At the end of the test every script must have been played to its
// end.
func scripted(t *testing.T, o RelayOptions, scripts ...func(*peer)) (*Relay, *network) {
	t.Helper()
	n := &network{t: t, scripts: scripts, local: "198.51.100.7:40001", remote: "203.0.113.25:25"}
	o.Host, o.Port, o.HelloName, o.Dial = "mx.example.net", "25", "client.example.com", n.dial
	o.Clock = clock.New(0)
	if o.Timeouts == (Timeouts{}) {
		o.Timeouts = DevTimeouts()
	}
	r := NewRelay(o)
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		n.wg.Wait()
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.dials != len(scripts) {
			t.Errorf("%d connections were made, want %d", n.dials, len(scripts))
		}
	})
	return r, n
}

const testBody = "Subject: Hi\r\n\r\nHi" // 17 bytes

// job is a message to recipients.
func job(body string, recipients ...string) Job {
	return Job{
		Message: &store.Message{ID: new(sestina.IDs).New(time.Now()), Size: int64(len(body))},
		From:    "news@example.com", Recipients: recipients,
		Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(body)), nil },
	}
}

func deliver(t *testing.T, r *Relay, j Job) Report {
	t.Helper()
	rep, err := r.Deliver(t.Context(), j)
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

// brief is an outcome in one line.
func brief(o bounce.Outcome) string {
	return fmt.Sprintf("%s %s: %s", o.Recipient, o.Kind, o.Reply())
}

func check(t *testing.T, rep Report, fault bool, want ...string) {
	t.Helper()
	var got []string
	for _, o := range rep.Outcomes {
		got = append(got, brief(o))
		if o.At.IsZero() {
			t.Errorf("%s has no time", brief(o))
		}
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
	if rep.LaneFault != fault {
		t.Errorf("lane fault is %t, want %t", rep.LaneFault, fault)
	}
}

// A certificate for mx.example.net and the pool that trusts it.
var certificate = sync.OnceValues(func() (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mx.example.net"}, DNSNames: []string{"mx.example.net"},
		NotBefore: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2199, 1, 1, 0, 0, 0, 0, time.UTC),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
})

func serverTLS() *tls.Config {
	cert, _ := certificate()
	return &tls.Config{Certificates: []tls.Certificate{cert}}
}
