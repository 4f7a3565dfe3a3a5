package deliver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sestina-mail/sestina/internal/bounce"
	"github.com/sestina-mail/sestina/internal/clock"
)

// RelayOptions configure a Relay. ParseRelayURL fills in the first group.
type RelayOptions struct {
	Host        string // name or address
	Port        string
	ImplicitTLS bool // smtps: TLS from the first byte
	Username    string
	Password    string
	// Insecure allows credentials over a connection without TLS, or with a
	// certificate nobody vouches for.
	Insecure bool

	Clock *clock.Clock // required; stamps outcomes
	// HelloName is what the server is told we are; "" means the connection's own
	// address in brackets. rfc5321#4.1.3
	HelloName string
	Timeouts  Timeouts // zero means ServeTimeouts
	// Connections is how many connections may be open at once; 0 means 20.
	Connections int
	// LaneConcurrency is how many of them one lane may use; 0 means 8.
	LaneConcurrency int
	// MessagesPerConnection is after how many messages a connection is closed;
	// 0 means 100.
	MessagesPerConnection int
	// Idle is how long an unused connection is kept; 0 means 15 s.
	Idle time.Duration
	// RootCAs verify the server's certificate where it is verified; nil means
	// the system's.
	RootCAs *x509.CertPool
	// Dial makes connections; nil means TCP.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// ParseRelayURL reads smtp://[user:password@]host[:port] (port 25 when none is
// given; STARTTLS is used when the host offers it) and smtps:// (port 465, TLS
// from the start). ?insecure=true sets Insecure. The error never holds the
// password.
func ParseRelayURL(s string) (RelayOptions, error) {
	u, err := url.Parse(s)
	if err != nil {
		// url.Error quotes the whole text.
		return RelayOptions{}, errors.New("the relay must be a URL such as smtp://user:password@host:25")
	}
	o := RelayOptions{Host: u.Hostname(), Port: u.Port()}
	switch u.Scheme {
	case "smtp":
		o.Port = orElse(o.Port, "25")
	case "smtps":
		o.Port, o.ImplicitTLS = orElse(o.Port, "465"), true
	default:
		return RelayOptions{}, fmt.Errorf("the relay's URL must begin with smtp:// or smtps://, not %q", u.Scheme)
	}
	if o.Host == "" || u.Path != "" && u.Path != "/" || u.Fragment != "" {
		return RelayOptions{}, errors.New("the relay's URL must name a host and port, and nothing after them")
	}
	if u.User != nil {
		o.Username = u.User.Username()
		o.Password, _ = u.User.Password()
	}
	for name, values := range u.Query() {
		if name != "insecure" || len(values) != 1 || values[0] != "true" && values[0] != "false" {
			return RelayOptions{}, fmt.Errorf("the relay's URL has the unknown option %q; insecure=true is the only one", name)
		}
		o.Insecure = values[0] == "true"
	}
	return o, nil
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// A Relay hands mail to one SMTP host and reports what it answers. Connections
// are kept and used again. TLS is opportunistic: STARTTLS is used when offered,
// with any certificate, and when it does not work out the mail goes without;
// Job.RequireTLS insists on TLS. With credentials the certificate is verified,
// and they are never sent without TLS except to a loopback address or with
// Insecure. Close it at the end. It may be used concurrently.
type Relay struct {
	o     RelayOptions
	slots chan struct{} // one per open connection in use

	mu     sync.Mutex
	idle   []*idleSession // the most recently used last
	closed bool
}

type idleSession struct {
	s     *session
	timer *time.Timer
}

// NewRelay returns a relay to o.Host. It connects when there is mail.
func NewRelay(o RelayOptions) *Relay {
	if o.Timeouts == (Timeouts{}) {
		o.Timeouts = ServeTimeouts()
	}
	if o.Connections <= 0 {
		o.Connections = 20
	}
	if o.LaneConcurrency <= 0 {
		o.LaneConcurrency = 8
	}
	if o.MessagesPerConnection <= 0 {
		o.MessagesPerConnection = 100
	}
	if o.Idle <= 0 {
		o.Idle = 15 * time.Second
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	return &Relay{o: o, slots: make(chan struct{}, o.Connections)}
}

// Limits implements Transport.
func (r *Relay) Limits() Limits { return Limits{Batch: 1, Concurrency: r.o.LaneConcurrency} }

// Deliver implements Transport. It goes on, on the same connection, until every
// recipient has an answer; when a kept connection turns out dead it begins
// anew on a fresh one, once.
func (r *Relay) Deliver(ctx context.Context, j Job) (Report, error) {
	if !r.acquire(ctx) {
		return Report{Busy: ctx.Err() == nil}, nil
	}
	defer func() { <-r.slots }()
	var rep Report
	var s *session
	left, fresh := j.Recipients, false
	for len(left) > 0 {
		reused := false
		if s == nil {
			var f *failure
			if s, reused, f = r.session(ctx, j.RequireTLS, fresh); f != nil {
				if ctx.Err() == nil {
					r.report(&rep, nil, left, f)
				}
				return rep, nil
			}
		}
		stop := s.watch(ctx)
		t := transaction{s: s, job: &j, left: left}
		f, err := t.run(ctx)
		stop()
		if err != nil {
			_ = s.conn.Close()
			if len(rep.Outcomes) > 0 {
				// Some have their answer; that must not be lost.
				return rep, nil
			}
			return rep, err
		}
		for _, o := range t.done {
			o.At = r.o.Clock.Now()
			rep.Outcomes = append(rep.Outcomes, s.stamp(o))
		}
		switch {
		case f != nil && f.lost && !t.sent && ctx.Err() != nil:
			_ = s.conn.Close()
			return rep, nil
		case f != nil && f.lost && !t.sent && reused:
			_ = s.conn.Close()
			s, fresh = nil, true
			left = append(t.left, t.again...)
			continue
		case f != nil && f.lost:
			r.report(&rep, s, append(t.left, t.again...), f)
			_ = s.conn.Close()
			return rep, nil
		case f != nil:
			r.report(&rep, s, t.left, f)
		}
		left = t.again
	}
	r.keep(s)
	return rep, nil
}

// acquire waits for a free connection, but not for long: meanwhile it keeps a
// worker from other work.
func (r *Relay) acquire(ctx context.Context) bool {
	wait, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	select {
	case r.slots <- struct{}{}:
		return true
	case <-wait.Done():
		return false
	}
}

// report adds what a failure means for recipients. s is nil when there was no
// connection.
func (r *Relay) report(rep *Report, s *session, recipients []string, f *failure) {
	o := f.outcome
	o.Host, o.At = r.o.Host, r.o.Clock.Now()
	if s != nil {
		o = s.stamp(o)
	}
	rep.Outcomes = append(rep.Outcomes, all(recipients, o)...)
	rep.LaneFault = rep.LaneFault || f.fault
}

// session returns a connection that is ready for mail: a kept one, unless
// fresh, or a new one.
func (r *Relay) session(ctx context.Context, requireTLS, fresh bool) (s *session, reused bool, f *failure) {
	if !fresh {
		if s := r.take(requireTLS); s != nil {
			return s, true, nil
		}
	}
	s, f = r.connect(ctx, requireTLS, true)
	if f != nil && !requireTLS && !r.o.ImplicitTLS && r.o.Username == "" && tlsFailed(f) && ctx.Err() == nil {
		// It offers TLS and cannot do it: better in the clear than not at all.
		// rfc7435#3
		s, f = r.connect(ctx, requireTLS, false)
	}
	return s, false, f
}

func tlsFailed(f *failure) bool { return f.outcome.Enhanced == "4.7.5" }

// connect makes a connection: TCP, greeting, EHLO, TLS, AUTH.
func (r *Relay) connect(ctx context.Context, requireTLS, tryTLS bool) (*session, *failure) {
	dial, cancel := context.WithTimeout(ctx, r.o.Timeouts.Connect)
	defer cancel()
	conn, err := r.o.Dial(dial, "tcp", net.JoinHostPort(r.o.Host, r.o.Port))
	if err != nil {
		return nil, unreachable(r.o.Host, err)
	}
	s := newSession(conn, r.o.Host, r.o.Timeouts)
	stop := s.watch(ctx)
	defer stop()
	if f := r.open(ctx, s, requireTLS, tryTLS); f != nil {
		f.outcome = s.stamp(f.outcome)
		if f.lost {
			_ = s.conn.Close()
		} else {
			s.quit()
		}
		return nil, f
	}
	return s, nil
}

func (r *Relay) open(ctx context.Context, s *session, requireTLS, tryTLS bool) *failure {
	if r.o.ImplicitTLS {
		if f := s.handshake(ctx, r.tlsConfig()); f != nil {
			return f
		}
	}
	if f := s.greet(); f != nil {
		return f
	}
	if f := s.hello(r.helloName(s)); f != nil {
		return f
	}
	if s.tls == "" && tryTLS && s.offers("STARTTLS") {
		f := s.startTLS(ctx, r.tlsConfig())
		switch {
		case f == nil:
			// What was offered in the clear does not count. rfc3207#4.2
			if f := s.hello(r.helloName(s)); f != nil {
				return f
			}
		case f.lost || requireTLS:
			return f
		}
	}
	if s.tls == "" && requireTLS {
		return &failure{outcome: bounce.Outcome{
			Kind: bounce.Failed, Code: 550, Enhanced: "5.7.10",
			Text: "The configuration set requires TLS, which " + r.o.Host + " does not offer",
		}}
	}
	if r.o.Username != "" {
		return r.authenticate(s)
	}
	return nil
}

func (r *Relay) helloName(s *session) string {
	if r.o.HelloName != "" {
		return r.o.HelloName
	}
	ip, err := netip.ParseAddr(ipOf(s.conn.LocalAddr()))
	switch {
	case err != nil:
		return "localhost"
	case ip.Is6():
		return "[IPv6:" + ip.String() + "]"
	default:
		return "[" + ip.String() + "]"
	}
}

func (r *Relay) tlsConfig() *tls.Config {
	return &tls.Config{
		ServerName: r.o.Host, RootCAs: r.o.RootCAs, MinVersion: tls.VersionTLS12,
		// Opportunistic: an unknown server with TLS is better than without.
		InsecureSkipVerify: r.o.Username == "" || r.o.Insecure, // see the comment of Relay
	}
}

// authenticate logs in with PLAIN, or LOGIN where only that is offered. That
// the host does not let us in is our fault or its own, never the message's: all
// waits. rfc4954#4
func (r *Relay) authenticate(s *session) *failure {
	misconfigured := func(text string) *failure {
		return &failure{
			outcome: bounce.Outcome{Kind: bounce.Deferred, Code: 454, Enhanced: "4.7.8", Text: text},
			fault:   true,
		}
	}
	if s.tls == "" && !r.o.Insecure && !loopback(s) {
		return misconfigured("Credentials are not sent to " + r.o.Host + " without TLS")
	}
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	mechanisms := strings.Fields(strings.ToUpper(s.ext["AUTH"]))
	var answers []string
	switch {
	case slices.Contains(mechanisms, "PLAIN"):
		answers = []string{"AUTH PLAIN " + encode("\x00"+r.o.Username+"\x00"+r.o.Password)}
	case slices.Contains(mechanisms, "LOGIN"):
		answers = []string{"AUTH LOGIN", encode(r.o.Username), encode(r.o.Password)}
	default:
		return misconfigured(r.o.Host + " offers no way to log in that is known here")
	}
	for i, a := range answers {
		rep, f := s.cmd(s.t.Command, a, "the reply to AUTH")
		last := i == len(answers)-1
		if f == nil && (last && !rep.positive() || !last && rep.code != 334) {
			f = refusal(rep)
			f.outcome.Kind = bounce.Deferred
		}
		if f != nil {
			f.fault = true
			return f
		}
	}
	return nil
}

func loopback(s *session) bool {
	ip, err := netip.ParseAddr(ipOf(s.conn.RemoteAddr()))
	return err == nil && ip.IsLoopback()
}

// take returns the most recently used connection that will do.
func (r *Relay) take(requireTLS bool) *session {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, is := range slices.Backward(r.idle) {
		if requireTLS && is.s.tls == "" || !is.timer.Stop() {
			continue
		}
		r.idle = slices.Delete(r.idle, i, i+1)
		return is.s
	}
	return nil
}

// keep puts a connection aside for the next message, or ends it.
func (r *Relay) keep(s *session) {
	if s == nil {
		return
	}
	s.setStopped(false)
	r.mu.Lock()
	if r.closed || s.used >= r.o.MessagesPerConnection || len(r.idle) >= r.o.Connections {
		r.mu.Unlock()
		s.quit()
		return
	}
	defer r.mu.Unlock()
	is := &idleSession{s: s}
	is.timer = time.AfterFunc(r.o.Idle, func() { //permit:time.AfterFunc network timeout
		r.mu.Lock()
		r.idle = slices.DeleteFunc(r.idle, func(o *idleSession) bool { return o == is })
		r.mu.Unlock()
		s.quit()
	})
	r.idle = append(r.idle, is)
}

// Close ends the kept connections; those in use end with their message.
func (r *Relay) Close() error {
	r.mu.Lock()
	idle := r.idle
	r.idle, r.closed = nil, true
	r.mu.Unlock()
	var wg sync.WaitGroup
	for _, is := range idle {
		if is.timer.Stop() {
			wg.Go(is.s.quit)
		}
	}
	wg.Wait()
	return nil
}
