package smtpd

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sestina-mail/sestina/internal/clock"
)

// Only CR LF . CR LF ends a message. Whatever else looks like an end to some
// server stays inside, so nobody can hide a second message in a first.
func TestSmuggling(t *testing.T) {
	t.Parallel()
	const hidden = "MAIL FROM:<evil@example.com>\r\nRCPT TO:<victim@example.org>\r\nDATA\r\nSubject: evil\r\n\r\nevil"
	for _, end := range []string{
		"\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\r\n", "\r\n.\r", "\r\r\n.\r\r\n", "\n\r.\r\n", "\r\n.\r\r\n", "\r\n..\r\n",
		"\x00\r\n.\x00\r\n", "\r\n.\x00\r\n", "\r\n\x00.\r\n", "\r\n \r\n. \r\n", "\r\x00\n.\r\n", "\u0085.\u0085", "\u2028.\u2028",
	} {
		t.Run(fmt.Sprintf("%q", end), func(t *testing.T) {
			t.Parallel()
			b := start(t, Options{})
			k := b.dial()
			k.hello()
			k.envelope()
			k.send("Subject: first\r\n\r\nfirst" + end + hidden + "\r\n.\r\n")
			k.want("250 Ok id-1\r\n")
			k.cmd("NOOP", "250 ") // and no other reply came before this one
			got := b.rec.one(t)
			if got.From != "a@example.com" || !strings.Contains(got.Data, "evil@example.com") || !strings.HasSuffix(got.Data, "evil\r\n") {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// Dots are taken away once, and only where the sender put them.
func TestDotStuffing(t *testing.T) {
	t.Parallel()
	b := start(t, Options{})
	k := b.dial()
	k.hello()
	k.envelope()
	k.send("a: b\r\n\r\n..\r\n..two\r\n...three\r\nx..\r\n\n..lf\r\n.\r\n")
	k.want("250 Ok ")
	if got, want := b.rec.one(t).Data, "a: b\r\n\r\n.\r\n.two\r\n..three\r\nx..\r\n\n..lf\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPipelining(t *testing.T) {
	t.Parallel()
	b := start(t, Options{})
	k := b.dial()
	k.send("EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nRCPT TO:<c@-,>\r\nDATA\r\n")
	for _, want := range []string{"250-", "250 ", "250 ", "553 ", "354 "} {
		k.want(want)
	}
	k.send(testMail + ".\r\nMAIL FROM:<d@example.com>\r\nQUIT\r\n")
	for _, want := range []string{"250 Ok id-1\r\n", "250 ", "221 "} {
		k.want(want)
	}
	k.ended()
}

// Commands sent in the clear together with STARTTLS must not count as sent
// inside TLS. CVE-2011-0411
func TestSTARTTLSInjection(t *testing.T) {
	t.Parallel()
	server, client := newCA(t)
	b := start(t, Options{TLS: server, Authenticator: users{}, RequireAuth: true})
	k := b.dial()
	k.hello()
	k.send("STARTTLS\r\nEHLO evil\r\nMAIL FROM:<evil@example.com>\r\n")
	k.want("220 ")
	c := tls.Client(k.conn, client)
	if err := c.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.conn, k.r = c, bufio.NewReader(c)
	k.cmd("MAIL FROM:<a@example.com>", "502 ") // no EHLO yet
	k.hello()
	k.cmd(plain("mailer", "right"), "235 ")
}

// What was said before STARTTLS is forgotten, authentication too. rfc3207#4.2
func TestSTARTTLSForgets(t *testing.T) {
	t.Parallel()
	server, client := newCA(t)
	b := start(t, Options{TLS: server, Authenticator: users{}, RequireAuth: true, PlainAuth: PlainAuthAlways})
	k := b.dial()
	k.hello()
	k.cmd(plain("mailer", "right"), "235 ")
	k.cmd("MAIL FROM:<a@example.com>", "250 ")
	k.startTLS(client)
	k.hello()
	k.cmd("MAIL FROM:<a@example.com>", "530 Authentication required\r\n")
}

func TestTruncatedMessageIsNotAccepted(t *testing.T) {
	t.Parallel()
	server, client := newCA(t)
	for name, sent := range map[string]string{
		"Data":     "DATA\r\nSubject: x\r\n\r\nhal",
		"DataDot":  "DATA\r\nSubject: x\r\n\r\nhalf\r\n.",
		"BDATLast": "BDAT 100 LAST\r\nSubject: x\r\n\r\nhal",
		"BDATMore": "BDAT 5\r\nhello",
		"BDATGone": "BDAT 5\r\nhelloBDAT 10 LAST\r\nhal",
	} {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/TLS=%v", name, secure), func(t *testing.T) {
				t.Parallel()
				b := start(t, Options{TLS: server})
				k := b.dialTCP(b.listen(false))
				k.hello()
				if secure {
					k.startTLS(client)
					k.hello()
				}
				k.cmd("MAIL FROM:<a@example.com>", "250 ")
				k.cmd("RCPT TO:<b@example.org>", "250 ")
				k.send(sent)
				// A polite end of the stream (close_notify inside TLS), with the
				// other direction still open.
				if err := k.conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
					t.Fatal(err)
				}
				for {
					if got, err := k.reply(); err != nil {
						break
					} else if strings.HasPrefix(got, "250 Ok") {
						t.Errorf("half a message was answered %q", got)
					}
				}
				if got := b.rec.messages(); len(got) != 0 {
					t.Errorf("half a message was accepted: %+v", got)
				}
			})
		}
	}
}

func TestBDATInsideTLS(t *testing.T) {
	t.Parallel()
	server, client := newCA(t)
	b := start(t, Options{TLS: server})
	k := b.dial()
	k.hello()
	k.startTLS(client)
	k.hello()
	for n := range 3 {
		k.cmd("MAIL FROM:<a@example.com>", "250 ")
		k.cmd("RCPT TO:<b@example.org>", "250 ")
		k.chunk("hello", false)
		k.want("250 ")
		k.chunk(" world\n", true)
		k.want(fmt.Sprintf("250 Ok id-%d\r\n", n+1))
	}
	for _, m := range b.rec.messages() {
		if m.Data != "hello world\n" {
			t.Errorf("got %q", m.Data)
		}
	}
}

// After its last chunk a client has to wait. One that does not loses the
// connection, but not the message.
func TestBDATInsideTLSPipelined(t *testing.T) {
	t.Parallel()
	server, client := newCA(t)
	client.DynamicRecordSizingDisabled = true // all of it in one record
	b := start(t, Options{TLS: server})
	k := b.dialTCP(b.listen(false))
	k.hello()
	k.startTLS(client)
	k.hello()
	k.cmd("MAIL FROM:<a@example.com>", "250 ")
	k.cmd("RCPT TO:<b@example.org>", "250 ")
	data := strings.Repeat("0123456789abcde\n", 750)
	k.send("BDAT 12000 LAST\r\n" + data + "MAIL FROM:<c@example.com>\r\n")
	k.want("250 Ok id-1\r\n")
	k.want("421 ")
	k.ended()
	if got := b.rec.one(t); got.Data != data {
		t.Errorf("%d bytes were accepted, want %d", len(got.Data), len(data))
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()

	t.Run("MessageSize", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{MaxMessageBytes: 100_000})
		k := b.dialTCP(b.listen(false))
		k.hello()
		k.envelope()
		k.send(strings.Repeat("a line of thirty-two characters\r\n", 5000) + ".\r\n")
		k.want("552 Message is too long.\r\n")
		k.envelope()
		k.send(strings.Repeat("a line of thirty-two characters\r\n", 3000) + ".\r\n")
		k.want("250 Ok id-1\r\n")
		k.cmd("MAIL FROM:<a@example.com>", "250 ")
		k.cmd("RCPT TO:<a@example.com>", "250 ")
		k.chunk(strings.Repeat("x", 100_001), true)
		k.want("552 ")
		if n := b.srv.buffer.Load(); n != 0 {
			t.Errorf("%d bytes are still counted", n)
		}
	})

	t.Run("EndlessMessage", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{MaxMessageBytes: 100_000})
		k := b.dial()
		k.hello()
		k.envelope()
		sent := make(chan int, 1)
		go func() {
			line, n := []byte(strings.Repeat("x", 998)+"\r\n"), 0
			for n < 10_000_000 {
				m, err := k.conn.Write(line)
				if n += m; err != nil {
					break
				}
			}
			sent <- n
		}()
		k.want("552 Message is too long.\r\n")
		k.ended()
		if n := <-sent; n > 300_000 {
			t.Errorf("the server took %d bytes of a message limited to 100000", n)
		}
	})

	t.Run("Line", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		k := b.dial()
		k.hello()
		go func() {
			_, _ = k.conn.Write([]byte("MAIL FROM:<" + strings.Repeat("a", maxLine) + "@example.com>\r\n"))
		}()
		k.want("500 ")
		k.ended()
	})

	t.Run("LineOfMessage", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		k := b.dial()
		k.hello()
		k.envelope()
		go func() {
			_, _ = k.conn.Write([]byte("a: b\r\n\r\n" + strings.Repeat("a", maxLine+1) + "\r\nMAIL FROM:<evil@example.com>\r\n.\r\n"))
		}()
		k.want("554 Transaction failed: A line of the message is longer than 16384 bytes.\r\n")
		k.want("500 ")
		k.ended()
	})

	t.Run("Recipients", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		k := b.dial()
		k.hello()
		k.cmd("MAIL FROM:<a@example.com>", "250 ")
		for i := range 51 {
			k.cmd(fmt.Sprintf("RCPT TO:<b%d@example.org>", i), "250 ")
		}
		k.cmd("DATA", "354 ")
		k.cmd(testMail+".", "554 Transaction failed: Recipient count exceeds 50.\r\n")
		k.cmd("MAIL FROM:<a@example.com>", "250 ")
		for i := range maxEnvelope {
			k.cmd(fmt.Sprintf("RCPT TO:<b%d@example.org>", i), "250 ")
		}
		k.cmd("RCPT TO:<b@example.org>", "452 ")
		if got := b.rec.messages(); len(got) != 0 {
			t.Errorf("%d messages were accepted", len(got))
		}
	})

	t.Run("FiftyRecipients", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		k := b.dial()
		k.hello()
		k.cmd("MAIL FROM:<a@example.com>", "250 ")
		for i := range 50 {
			k.cmd(fmt.Sprintf("RCPT TO:<b%d@example.org>", i), "250 ")
		}
		k.cmd("DATA", "354 ")
		k.cmd(testMail+".", "250 Ok id-1\r\n")
		if n := len(b.rec.one(t).To); n != 50 {
			t.Errorf("%d recipients", n)
		}
	})

	t.Run("Connections", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{MaxConnections: 2})
		addr := b.listen(false)
		first, _ := b.dialTCP(addr), b.dialTCP(addr)
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		third := &talk{t: t, conn: c, r: bufio.NewReader(c)}
		third.want("421 Too many concurrent SMTP connections\r\n")
		third.ended()
		if n := b.srv.Connections(); n != 2 {
			t.Errorf("%d connections are open, want 2", n)
		}
		first.cmd("QUIT", "221 ")
		first.ended()
		b.dialTCP(addr).hello()
	})

	t.Run("Memory", func(t *testing.T) {
		t.Parallel()
		const size = 100_000
		hold := make(chan struct{})
		inside := make(chan struct{}, 2)
		b := start(t, Options{MaxMessageBytes: size, MaxBufferedBytes: 2 * size})
		b.rec.answer = func(taken) error {
			inside <- struct{}{}
			<-hold
			return nil
		}
		big := strings.Repeat("a line of thirty-two characters\r\n", 2500) + ".\r\n" // 82,500 bytes are held as 100,001
		first, second := b.dial(), b.dial()
		first.hello()
		first.envelope()
		first.send(big)
		<-inside
		second.hello()
		second.envelope()
		second.send(big)
		second.want("451 Temporary service failure\r\n")
		close(hold)
		first.want("250 Ok id-1\r\n")
		second.envelope()
		second.send(big)
		second.want("250 Ok id-2\r\n")
		if n := b.srv.buffer.Load(); n != 0 {
			t.Errorf("%d bytes are still counted", n)
		}
	})

	t.Run("Commands", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		k := b.dialTCP(b.listen(false))
		k.hello()
		for n := 1; ; n++ {
			k.send("NOOP\r\n")
			got, err := k.reply()
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(got, "421 Too many commands") {
				break
			}
			if n > maxCommands {
				t.Fatalf("the server still answers after %d commands", n)
			}
		}
		k.ended()
	})

	t.Run("CommandsOfMessagesDoNotAddUp", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		k := b.dial()
		k.hello()
		for range maxCommands/3 + 10 {
			k.envelope()
			k.cmd(testMail+".", "250 Ok ")
		}
	})

	t.Run("Garbage", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		k := b.dial()
		// A web page that posts to the SMTP port of the developer's machine.
		go func() {
			_, _ = k.conn.Write([]byte("POST / HTTP/1.1\r\nHost: localhost:1025\r\nContent-Type: text/plain\r\nContent-Length: 99\r\n\r\n" +
				"EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n\r\n.\r\n"))
		}()
		for range 5 {
			k.want("50")
		}
		k.ended()
		if got := b.rec.messages(); len(got) != 0 {
			t.Errorf("%d messages were accepted", len(got))
		}
	})

	t.Run("FailedAuth", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{Authenticator: users{}, PlainAuth: PlainAuthAlways})
		k := b.dial()
		k.hello()
		for range maxAuthFailures {
			k.cmd(plain("mailer", "guess"), "535 ")
		}
		k.want("421 Too many failed authentication attempts\r\n")
		k.ended()
		if strings.Contains(b.log.String(), "guess") {
			t.Error("the log holds a password")
		}
	})
}

// sleep waits on the fake clock of a synctest bubble.
func sleep(t *testing.T, d time.Duration) {
	t.Helper()
	clk := new(clock.Clock)
	clk.SleepUntil(t.Context(), clk.Now().Add(d), nil)
}

func TestTimeouts(t *testing.T) {
	t.Parallel()
	const timeout = 10 * time.Second
	run := func(name string, f func(t *testing.T, b *bench, k *talk)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := start(t, Options{CommandTimeout: timeout, MinRate: 1000})
				f(t, b, b.dial())
			})
		})
	}
	clk := new(clock.Clock)

	run("Idle", func(t *testing.T, _ *bench, k *talk) {
		began := clk.Now()
		k.want("451 Timeout waiting for data from client\r\n")
		k.ended()
		if d := clk.Since(began); d != timeout {
			t.Errorf("timeout after %s, want %s", d, timeout)
		}
	})
	run("IdleBetweenCommands", func(t *testing.T, _ *bench, k *talk) {
		for range 5 { // each command has the whole time
			sleep(t, timeout-time.Second)
			k.hello()
		}
		k.want("451 Timeout waiting for data from client\r\n")
		k.ended()
	})
	run("SlowCommand", func(t *testing.T, _ *bench, k *talk) {
		began := clk.Now()
		go func() {
			for {
				if _, err := k.conn.Write([]byte("x")); err != nil {
					return
				}
				sleep(t, time.Second)
			}
		}()
		k.want("451 Timeout waiting for data from client\r\n")
		_, _ = k.reply() // the library answers the half command, too
		k.ended()
		if d := clk.Since(began); d > timeout+time.Second {
			t.Errorf("a dribbled command was waited for %s", d)
		}
	})
	run("SlowMessage", func(t *testing.T, b *bench, k *talk) {
		k.hello()
		k.envelope()
		began := clk.Now()
		go func() {
			for { // a tenth of the rate
				if _, err := k.conn.Write([]byte(strings.Repeat("x", 98) + "\r\n")); err != nil {
					return
				}
				sleep(t, time.Second)
			}
		}()
		k.want("451 Timeout waiting for data from client\r\n")
		k.ended()
		if d := clk.Since(began); d > 2*timeout {
			t.Errorf("a dribbled message was waited for %s", d)
		}
	})
	run("LongMessage", func(t *testing.T, b *bench, k *talk) {
		k.hello()
		k.envelope()
		for range 30 { // just above the rate, for three times the timeout
			k.send(strings.Repeat("x", 998) + "\r\n")
			sleep(t, time.Second)
		}
		k.cmd(".", "250 Ok id-1\r\n")
		if n := len(b.rec.one(t).Data); n != 30_000 {
			t.Errorf("%d bytes arrived", n)
		}
	})
	run("StalledMessageNeverBecomesCommands", func(t *testing.T, b *bench, k *talk) {
		k.hello()
		k.envelope()
		k.send("Subject: x\r\n\r\nfirst half\r\n")
		k.want("451 Timeout waiting for data from client\r\n")
		_, _ = k.conn.Write([]byte("MAIL FROM:<evil@example.com>\r\nRCPT TO:<victim@example.org>\r\nDATA\r\n\r\n.\r\n"))
		k.ended()
		if got := b.rec.messages(); len(got) != 0 {
			t.Errorf("%d messages were accepted", len(got))
		}
	})
	run("StalledChunk", func(t *testing.T, b *bench, k *talk) {
		k.hello()
		k.cmd("MAIL FROM:<a@example.com>", "250 ")
		k.cmd("RCPT TO:<b@example.org>", "250 ")
		k.send("BDAT 100 LAST\r\nhalf")
		k.want("451 Timeout waiting for data from client\r\n")
		k.ended()
	})
	run("StalledAuth", func(t *testing.T, _ *bench, k *talk) {
		k.hello()
		k.cmd("AUTH LOGIN", "502 ")
		k.want("451 Timeout waiting for data from client\r\n")
		k.ended()
	})
}

func TestHandshakeTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server, client := newCA(t)
		b := start(t, Options{CommandTimeout: 10 * time.Second, TLS: server})
		k := b.dial()
		k.hello()
		k.cmd("STARTTLS", "220 ")
		k.want("451 Timeout waiting for data from client\r\n")
		for { // the library adds a reply of its own
			if _, err := k.reply(); err != nil {
				break
			}
		}

		// Inside TLS the reply is encrypted like any other.
		k = b.dial()
		k.hello()
		k.startTLS(client)
		k.hello()
		k.want("451 Timeout waiting for data from client\r\n")
		k.ended()
	})
}
