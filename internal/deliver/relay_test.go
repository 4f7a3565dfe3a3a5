package deliver

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

const (
	a = "a@example.net"
	b = "b@example.net"
	c = "c@example.net"
)

// Outcomes say who answered, and over what.
func TestRelayAddresses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, _ := scripted(t, RelayOptions{}, func(p *peer) {
			p.hello(append(usual, "STARTTLS")...)
			p.startTLS(serverTLS())
			p.ehlo(usual...)
			p.mail("250 Ok", a)
			p.quit()
		})
		o := deliver(t, r, job(testBody, a)).Outcomes[0]
		if o.RemoteIP != "203.0.113.25" || o.LocalIP != "198.51.100.7" || o.Host != "mx.example.net" || o.TLSVersion != "TLSv1.3" {
			t.Errorf("%+v", o)
		}
	})
}

// Wherever the connection ends, everybody without an answer is deferred; only
// after the final dot may the message have been delivered.
func TestRelayConnectionLost(t *testing.T) {
	t.Parallel()
	stages := []struct {
		name string
		play func(*peer)
		want string
		err  bool // the host as a whole
	}{
		{"greeting", func(*peer) {}, "the greeting", true},
		{"EHLO", func(p *peer) { p.say("220 hi"); p.hear() }, "the reply to EHLO", true},
		{"MAIL", func(p *peer) { p.hello(); p.hear() }, "the reply to MAIL FROM", false},
		{"RCPT", func(p *peer) { p.hello(); p.hear(); p.say("250 Ok"); p.hear() }, "the reply to RCPT TO", false},
		{"DATA", func(p *peer) {
			p.hello()
			p.hear()
			p.say("250 Ok")
			p.hear()
			p.say("250 Ok")
			p.hear()
		}, "the reply to DATA", false},
		{"in the message", func(p *peer) {
			p.hello()
			p.hear()
			p.say("250 Ok")
			p.hear()
			p.say("250 Ok")
			p.hear()
			p.say("354 go on")
		}, "the server to take the message", false},
		{"final reply", func(p *peer) {
			p.hello()
			p.hear()
			p.say("250 Ok")
			p.hear()
			p.say("250 Ok")
			p.hear()
			p.data("")
		}, "the reply to the message; it may have been delivered", false},
	}
	for _, s := range stages {
		t.Run("dropped/"+s.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r, _ := scripted(t, RelayOptions{}, s.play)
				check(t, deliver(t, r, job(testBody, a)), s.err, a+" deferred: 421 4.4.2 Connection lost while waiting for "+s.want)
			})
		})
		t.Run("silent/"+s.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r, _ := scripted(t, RelayOptions{}, func(p *peer) {
					s.play(p)
					p.conn = silent(p.conn)
				})
				start := time.Now()
				check(t, deliver(t, r, job(testBody, a)), true, a+" deferred: 421 4.4.2 Connection timed out while waiting for "+s.want)
				if took := time.Since(start); took < 10*time.Second || took > 30*time.Second {
					t.Errorf("gave up after %s", took)
				}
			})
		})
	}
}

// silent keeps a connection open, without reading, until the other side closes
// it.
func silent(conn net.Conn) net.Conn {
	for {
		if _, err := conn.Write(nil); err != nil {
			return conn
		}
		time.Sleep(time.Second) // inside a synctest bubble
	}
}

func TestRelayUnreachable(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"refused":   {&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, "421 4.4.1 Failed to establish connection: connection refused"},
		"timeout":   {context.DeadlineExceeded, "421 4.4.1 Failed to establish connection: timed out"},
		"no name":   {&net.DNSError{Err: "no such host", Name: "mx.example.net"}, "421 4.4.0 Unable to lookup DNS for mx.example.net"},
		"something": {errors.New("something"), "421 4.4.1 Failed to establish connection"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, _ := scripted(t, RelayOptions{})
			r.o.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, tt.err }
			rep := deliver(t, r, job(testBody, a, b))
			check(t, rep, true, a+" deferred: "+tt.want, b+" deferred: "+tt.want)
		})
	}
}

// A connection is used again; what is dead before the message is sent is
// replaced, once, and nobody notices.
func TestRelayReuse(t *testing.T) {
	t.Parallel()
	first := func(p *peer) {
		p.hello(usual...)
		p.mail("250 first", a)
	}
	fresh := func(p *peer) {
		p.hello(usual...)
		p.mail("250 second", b)
		p.quit()
	}
	again := func(p *peer, to string) {
		p.want("RSET", "MAIL FROM:<news@example.com> SIZE=17 BODY=8BITMIME", "RCPT TO:<"+to+">")
	}
	tests := map[string]struct {
		scripts []func(*peer)
		fault   bool
		want    string
	}{
		"alive": {[]func(*peer){func(p *peer) {
			first(p)
			again(p, b)
			p.say("250 Ok", "250 Ok", "250 Ok")
			p.want("DATA")
			p.data("250 second")
			p.quit()
		}}, false, "delivered: 250 second"},
		"closed": {[]func(*peer){first, fresh}, false, "delivered: 250 second"},
		"421 to RSET": {[]func(*peer){func(p *peer) {
			first(p)
			again(p, b)
			p.say("421 4.4.2 idle for too long")
			p.gone()
		}, fresh}, false, "delivered: 250 second"},
		"RSET refused": {[]func(*peer){func(p *peer) {
			first(p)
			again(p, b)
			p.say("500 what?")
		}, fresh}, false, "delivered: 250 second"},
		"closed before DATA": {[]func(*peer){func(p *peer) {
			first(p)
			again(p, b)
			p.say("250 Ok", "250 Ok")
		}, fresh}, false, "delivered: 250 second"},
		"closed after the message": {[]func(*peer){func(p *peer) {
			first(p)
			again(p, b)
			p.say("250 Ok", "250 Ok", "250 Ok")
			p.want("DATA")
			p.data("")
		}}, false, "deferred: 421 4.4.2 Connection lost while waiting for the reply to the message; it may have been delivered"},
		"the fresh one fails too": {[]func(*peer){first, func(p *peer) { p.say("421 4.3.2 busy"); p.gone() }}, true, "deferred: 421 4.3.2 busy"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r, _ := scripted(t, RelayOptions{}, tt.scripts...)
				check(t, deliver(t, r, job(testBody, a)), false, a+" delivered: 250 first")
				synctest.Wait()
				check(t, deliver(t, r, job(testBody, b)), tt.fault, b+" "+tt.want)
			})
		})
	}
}

// A recipient that was refused before a kept connection died is not asked
// again.
func TestRelayReuseKeepsAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, _ := scripted(t, RelayOptions{}, func(p *peer) {
			p.hello(usual...)
			p.mail("250 first", a)
			p.want("RSET", "MAIL FROM:<news@example.com> SIZE=17 BODY=8BITMIME", "RCPT TO:<b@example.net>", "RCPT TO:<c@example.net>")
			p.say("250 Ok", "250 Ok", "550 5.1.1 nobody")
		}, func(p *peer) {
			p.hello(usual...)
			p.mail("250 second", c)
			p.quit()
		})
		check(t, deliver(t, r, job(testBody, a)), false, a+" delivered: 250 first")
		check(t, deliver(t, r, job(testBody, b, c)), false, b+" failed: 550 5.1.1 nobody", c+" delivered: 250 second")
	})
}

func TestRelayConnectionLimits(t *testing.T) {
	t.Parallel()
	t.Run("messages per connection", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			one := func(p *peer) {
				p.hello(usual...)
				p.mail("250 Ok", a)
				p.quit()
			}
			r, _ := scripted(t, RelayOptions{MessagesPerConnection: 1}, one, one)
			check(t, deliver(t, r, job(testBody, a)), false, a+" delivered: 250 Ok")
			check(t, deliver(t, r, job(testBody, a)), false, a+" delivered: 250 Ok")
		})
	})
	t.Run("idle", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			var left time.Duration
			r, n := scripted(t, RelayOptions{Idle: 7 * time.Second}, func(p *peer) {
				p.hello(usual...)
				p.mail("250 Ok", a)
				p.quit()
				left = time.Since(start)
			})
			check(t, deliver(t, r, job(testBody, a)), false, a+" delivered: 250 Ok")
			n.wg.Wait()
			if left != 7*time.Second {
				t.Errorf("said goodbye after %s", left)
			}
		})
	})
	t.Run("connections", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			r, n := scripted(t, RelayOptions{Connections: 1}, func(p *peer) {
				p.hello(usual...)
				<-release
				p.mail("250 Ok", a)
				p.want("RSET")
				p.say("250 Ok")
				p.mail("250 Ok", a)
				p.quit()
			})
			done := make(chan Report, 2)
			for range 2 {
				go func() { done <- deliver(t, r, job(testBody, a)) }()
			}
			synctest.Wait()
			if n.dials != 1 {
				t.Errorf("%d connections", n.dials)
			}
			close(release)
			check(t, <-done, false, a+" delivered: 250 Ok")
			check(t, <-done, false, a+" delivered: 250 Ok")
		})
	})
}

// Nothing in a message can end it early, and nothing is lost of it.
func TestRelayMessageBytes(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 70_000)
	tests := map[string][2]string{
		"as is":              {"Subject: Hi\r\n\r\nHi\r\n", "Subject: Hi\r\n\r\nHi\r\n.\r\n"},
		"no end of line":     {"Hi", "Hi\r\n.\r\n"},
		"empty":              {"", ".\r\n"},
		"dots":               {".\r\n..\r\n.a\r\n", "..\r\n...\r\n..a\r\n.\r\n"},
		"bare LF":            {"a\n.\nb\n", "a\r\n..\r\nb\r\n.\r\n"},
		"bare CR":            {"a\r.\rb\r", "a\r\n..\r\nb\r\n.\r\n"},
		"smuggling":          {"a\r\n.\r\nMAIL FROM:<x@example.org>\r\n", "a\r\n..\r\nMAIL FROM:<x@example.org>\r\n.\r\n"},
		"long line":          {long + "\r\n." + long, long + "\r\n.." + long + "\r\n.\r\n"},
		"blank lines":        {"\r\n\r\n", "\r\n\r\n.\r\n"},
		"CR CR LF":           {"a\r\r\nb", "a\r\n\r\nb\r\n.\r\n"},
		"bytes beyond ASCII": {"gr\xc3\xbc\xff\x00", "gr\xc3\xbc\xff\x00\r\n.\r\n"},
	}
	for name, tt := range tests {
		for _, size := range []int{1, 7, 1 << 20} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					got := make(chan string, 1)
					r, _ := scripted(t, RelayOptions{}, func(p *peer) {
						p.hello()
						p.step("MAIL FROM:<news@example.com>", "250 Ok")
						p.step("RCPT TO:<a@example.net>", "250 Ok")
						p.want("DATA")
						got <- p.data("250 Ok")
						p.quit()
					})
					j := job(tt[0], a)
					j.Open = func(context.Context) (io.ReadCloser, error) {
						return io.NopCloser(&chunks{tt[0], size}), nil
					}
					check(t, deliver(t, r, j), false, a+" delivered: 250 Ok")
					if s := <-got; s != tt[1] {
						t.Errorf("sent %.60q, want %.60q", s, tt[1])
					}
				})
			})
		}
	}
}

// chunks reads a text in pieces.
type chunks struct {
	rest string
	size int
}

func (c *chunks) Read(p []byte) (int, error) {
	if c.rest == "" {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.size)], c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// A body that cannot be read is nobody's outcome, and nothing is sent that
// looks like a whole message.
func TestRelayBodyUnreadable(t *testing.T) {
	t.Parallel()
	bad := errors.New("disk on fire")
	for name, open := range map[string]func(context.Context) (io.ReadCloser, error){
		"open": func(context.Context) (io.ReadCloser, error) { return nil, bad },
		"read": func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(strings.NewReader(testBody), failingReader{bad})), nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r, _ := scripted(t, RelayOptions{}, func(p *peer) {
					p.hello()
					p.step("MAIL FROM:<news@example.com>", "250 Ok")
					p.step("RCPT TO:<a@example.net>", "250 Ok")
					p.want("DATA")
					p.say("354 go on")
					rest, err := io.ReadAll(p.br)
					if err != nil || strings.HasSuffix("\r\n"+string(rest), "\r\n.\r\n") {
						p.fail("got %q, %v", rest, err)
					}
				})
				j := job(testBody, a)
				j.Open = open
				rep, err := r.Deliver(t.Context(), j)
				if !errors.Is(err, bad) || len(rep.Outcomes) > 0 {
					t.Errorf("got %v, %v", rep, err)
				}
			})
		})
	}
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

// A server that has seen enough says why before it closes.
func TestRelayEarlyRefusal(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		says string
		want string
	}{
		"with a reason":    {"552 5.3.4 that is too much", "failed: 552 5.3.4 that is too much"},
		"without a reason": {"", "deferred: 421 4.4.2 Connection lost while waiting for the server to take the message"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				limit := 64 << 10
				r, n := scripted(t, RelayOptions{}, func(p *peer) {
					p.hello()
					p.step("MAIL FROM:<news@example.com>", "250 Ok")
					p.step("RCPT TO:<a@example.net>", "250 Ok")
					p.want("DATA")
					p.say("354 go on")
					if _, err := io.CopyN(io.Discard, p.br, 32<<10); err != nil { // one block
						p.fail("%v", err)
					}
					if tt.says != "" {
						p.say(tt.says)
					}
				})
				n.limit = &limit
				check(t, deliver(t, r, job(strings.Repeat("line\r\n", 100_000), a)), false, a+" "+tt.want)
			})
		})
	}
}

// When the program stops, what was not sent is left as it was; the reply to
// what was sent is waited for a little.
func TestRelayStops(t *testing.T) {
	t.Parallel()
	t.Run("before the message", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			r, _ := scripted(t, RelayOptions{}, func(p *peer) {
				p.hello(usual...)
				p.want("MAIL FROM:<news@example.com> SIZE=17 BODY=8BITMIME", "RCPT TO:<a@example.net>")
				cancel()
				p.gone()
			})
			rep, err := r.Deliver(ctx, job(testBody, a))
			if err != nil {
				t.Fatal(err)
			}
			check(t, rep, false)
		})
	})
	for name, wait := range map[string]time.Duration{"reply in time": 2 * time.Second, "reply too late": time.Minute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				r, _ := scripted(t, RelayOptions{}, func(p *peer) {
					p.hello()
					p.step("MAIL FROM:<news@example.com>", "250 Ok")
					p.step("RCPT TO:<a@example.net>", "250 Ok")
					p.want("DATA")
					p.data("")
					cancel()
					time.Sleep(wait) // inside a synctest bubble
					if wait < time.Minute {
						p.say("250 Ok")
						p.quit()
					}
				})
				rep, err := r.Deliver(ctx, job(testBody, a))
				if err != nil {
					t.Fatal(err)
				}
				if wait < time.Minute {
					check(t, rep, false, a+" delivered: 250 Ok")
					return
				}
				check(t, rep, true, a+" deferred: 421 4.4.2 Connection timed out while waiting for the reply to the message; it may have been delivered")
			})
		})
	}
	t.Run("while waiting for a connection", func(t *testing.T) {
		t.Parallel()
		r, _ := scripted(t, RelayOptions{Connections: 1})
		r.slots <- struct{}{}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		rep, err := r.Deliver(ctx, job(testBody, a))
		if err != nil || rep.Busy || len(rep.Outcomes) > 0 {
			t.Error(rep, err)
		}
	})
}

// Who finds all connections in use does not wait for long.
func TestRelayBusy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, _ := scripted(t, RelayOptions{Connections: 1})
		r.slots <- struct{}{}
		if rep := deliver(t, r, job(testBody, a)); !rep.Busy || len(rep.Outcomes) > 0 {
			t.Error(rep)
		}
	})
}
