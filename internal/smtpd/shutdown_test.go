package smtpd

import (
	"bufio"
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
)

// shutdown starts a shutdown and returns its result and, once it is under way,
// returns.
func (b *bench) shutdown(ctx context.Context) <-chan error {
	done := make(chan error, 1)
	go func() { done <- b.srv.Shutdown(ctx) }()
	<-b.pipe.done
	return done
}

func TestShutdown(t *testing.T) {
	t.Parallel()

	t.Run("IdleClientsAreTold", func(t *testing.T) {
		t.Parallel()
		server, client := newCA(t)
		b := start(t, Options{TLS: server})
		greeted, hello, secure, done := b.dial(), b.dial(), b.dial(), b.dial()
		hello.hello()
		secure.hello()
		secure.startTLS(client)
		secure.hello()
		done.hello()
		done.envelope()
		done.cmd(testMail+".", "250 Ok ")
		result := b.shutdown(t.Context())
		for _, k := range []*talk{greeted, hello, secure, done} {
			k.want("421 Service shutting down\r\n")
			k.ended()
		}
		if err := <-result; err != nil {
			t.Error(err)
		}
		if n := b.srv.Connections(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})

	t.Run("TransactionsAreFinished", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		begun, data, chunked := b.dial(), b.dial(), b.dial()
		for _, k := range []*talk{begun, data, chunked} {
			k.hello()
			k.cmd("MAIL FROM:<a@example.com>", "250 ")
			k.cmd("RCPT TO:<b@example.org>", "250 ")
		}
		data.cmd("DATA", "354 ")
		data.send("Subject: half\r\n")
		chunked.chunk("Subject: half\r\n", false)
		chunked.want("250 ")

		result := b.shutdown(t.Context())
		begun.cmd("RCPT TO:<c@example.org>", "250 ")
		begun.cmd("DATA", "354 ")
		begun.cmd(testMail+".", "250 Ok ")
		data.cmd("\r\nwhole\r\n.", "250 Ok ")
		chunked.chunk("\r\nwhole\r\n", true)
		chunked.want("250 Ok ")
		for _, k := range []*talk{begun, data, chunked} {
			k.want("421 Service shutting down\r\n")
			k.ended()
		}
		if err := <-result; err != nil {
			t.Error(err)
		}
		if n := len(b.rec.messages()); n != 3 {
			t.Errorf("%d messages were accepted, want 3", n)
		}
	})

	t.Run("NoNewTransaction", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		k := b.dial()
		k.hello()
		k.envelope()
		result := b.shutdown(t.Context())
		k.send(testMail + ".\r\nMAIL FROM:<a@example.com>\r\n")
		k.want("250 Ok ")
		k.want("421 ")
		_, _ = bufio.NewReader(k.conn).ReadString(0)
		if err := <-result; err != nil {
			t.Error(err)
		}
	})

	t.Run("StuckClientsAreCut", func(t *testing.T) {
		t.Parallel()
		entered := make(chan struct{})
		b := start(t, Options{Acceptor: acceptorFunc(func(ctx context.Context) error {
			close(entered)
			<-ctx.Done()
			return ctx.Err()
		})})
		stuck, inside := b.dial(), b.dial()
		stuck.hello()
		stuck.envelope()
		inside.hello()
		inside.envelope()
		inside.send(testMail + ".\r\n")
		<-entered
		ctx, cancel := context.WithCancel(t.Context())
		result := b.shutdown(ctx)
		cancel()
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Errorf("Shutdown: %v", err)
		}
		for _, k := range []*talk{stuck, inside} {
			for {
				got, err := k.reply()
				if err != nil {
					break
				}
				if !strings.HasPrefix(got, "4") {
					t.Errorf("a cut client was told %q", got)
				}
			}
		}
	})

	t.Run("Closed", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		if err := b.srv.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := b.srv.Shutdown(t.Context()); err != nil {
			t.Errorf("a second Shutdown: %v", err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if err := b.srv.Serve(l); !errors.Is(err, ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the listener is still open: %v", err)
		}
	})
}

// A listener that breaks ends Serve with its error; the server lives on.
func TestServeError(t *testing.T) {
	t.Parallel()
	b := start(t, Options{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if err := b.srv.Serve(l); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve: %v", err)
	}
	if err := b.srv.ServeTLS(l); err == nil {
		t.Error("ServeTLS without a TLS configuration")
	}
	b.dial().hello()
}

// FuzzConversation sends any bytes to the server. Whatever they are, it does
// not panic, ends when the client does, gives back the memory it took, and
// accepts nothing whose sender or recipient could break out of a header or a
// command.
func FuzzConversation(f *testing.F) {
	for _, s := range []string{
		"EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nSubject: x\r\n\r\n.\r\nQUIT\r\n",
		"EHLO x\r\nMAIL FROM:<a@example.com> SIZE=5 BODY=8BITMIME SMTPUTF8\r\nRCPT TO:<b@example.org>\r\nBDAT 5\r\nhelloBDAT 3 LAST\r\nxyz",
		"HELO x\r\nAUTH PLAIN AG1haWxlcgByaWdodA==\r\nAUTH LOGIN\r\nbWFpbGVy\r\ncmlnaHQ=\r\n",
		"EHLO x\r\nAUTH LOGIN\r\n*\r\nAUTH PLAIN\r\n=\r\nMAIL FROM:<\"a b\"@example.com>\r\nRCPT TO:<@x,@y:b@z>\r\nRSET\r\nVRFY a\r\nNOOP\r\n",
		"EHLO x\r\nSTARTTLS\r\n\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03",
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n\n.\nMAIL FROM:<c@d>\r\n.\r\n\x00\xff\r\r\n",
		"EHLO x\nMAIL FROM:<a@example.com>\nRCPT TO:<b@example.org>\nBDAT 99999999999\nBDAT 0 LAST\nBDAT 4294967295 LAST\n",
	} {
		f.Add([]byte(s))
	}
	server, _ := newCA(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		synctest.Test(t, func(t *testing.T) {
			b := start(t, Options{
				TLS: server, Authenticator: users{}, PlainAuth: PlainAuthAlways,
				MaxMessageBytes: 64 << 10, MaxBufferedBytes: 128 << 10,
			})
			c := b.pipe.dial()
			go func() { _, _ = c.Write(data) }()
			go func() {
				r := bufio.NewReader(c)
				for {
					line, err := r.ReadString('\n')
					if err != nil {
						return
					}
					if len(line) > 2*512 && !strings.HasPrefix(line, "250") { // 250 repeats HELO
						t.Errorf("reply %q", line)
					}
				}
			}()
			synctest.Wait() // everything is answered
			_ = c.Close()
			if err := b.srv.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			synctest.Wait()
			if n := b.srv.buffer.Load(); n != 0 {
				t.Errorf("%d bytes are still counted", n)
			}
			for _, m := range b.rec.messages() {
				for _, a := range append(m.To, m.From) {
					if strings.ContainsAny(a, "\r\n\x00") || !strings.Contains(a, "@") {
						t.Errorf("address %q was accepted", a)
					}
				}
				if strings.ContainsAny(m.Session.HELO+m.Session.UserName, "\r\n\x00") {
					t.Errorf("session %+v", m.Session)
				}
			}
		})
	})
}
