package clients

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sestina-mail/sestina/tests/harness"
)

// hold opens n connections, sends the same beginning on each and keeps them
// open until the test ends.
func hold(t *testing.T, addr string, n int, beginning string) []net.Conn {
	t.Helper()
	var held []net.Conn
	for range n {
		c, err := net.DialTimeout("tcp", addr, 10*time.Second)
		check(t, err)
		t.Cleanup(func() { c.Close() })
		_, err = io.WriteString(c, beginning)
		check(t, err)
		held = append(held, c)
	}
	return held
}

// TestSlowHTTPClients: clients that never finish their request hold up nobody,
// and are cut off.
func TestSlowHTTPClients(t *testing.T) {
	t.Parallel()
	hook := harness.NewHook(t)
	d := newDesk(t, nil, hook)
	addr := hostOf(d.Instance)
	before := readGauge(t, d.Instance)

	heads := hold(t, addr, 300, "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
	hold(t, addr, 100, "POST /v2/email/outbound-emails HTTP/1.1\r\nHost: 127.0.0.1\r\n"+signed("ses")+"Content-Length: 40000000\r\n\r\n{")
	hold(t, addr, 100, "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n"+signed("sqs")+"X-Amz-Target: AmazonSQS.SendMessage\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n")
	hold(t, addr, 100, "\x16\x03\x01") // TLS that never goes on
	hold(t, addr, 100, "")
	served(t, d, hook)

	grown := readGauge(t, d.Instance).resident - before.resident
	if grown > 100<<20 {
		t.Errorf("700 slow clients made the process grow by %.0f MB", grown/1e6)
	}
	// Headers have ten seconds.
	for i, c := range heads {
		check(t, c.SetReadDeadline(time.Now().Add(25*time.Second)))
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("client %d, which never ends its headers, is not cut off within 25 s", i)
		}
	}
	served(t, d, hook)
}

// TestSlowSMTPClients: clients that say nothing, or stop in the middle of a
// message, hold up nobody.
func TestSlowSMTPClients(t *testing.T) {
	t.Parallel()
	hook := harness.NewHook(t)
	d := newDesk(t, nil, hook)
	before := readGauge(t, d.Instance)
	hold(t, d.SMTP, 200, "")
	hold(t, d.SMTP, 200, "EHLO slow.example\r\nMAIL FROM:<a@exam")
	data := hold(t, d.SMTP, 200, "EHLO slow.example\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n")
	for _, c := range data {
		waitFor(t, c, "354")
		_, err := io.WriteString(c, "Subject: never finished\r\n\r\nhello\r\n")
		check(t, err)
	}
	served(t, d, hook)
	if grown := readGauge(t, d.Instance).resident - before.resident; grown > 100<<20 {
		t.Errorf("600 slow clients made the process grow by %.0f MB", grown/1e6)
	}
	for _, c := range data {
		c.Close()
	}
	if got := ownMessages(t, d.Instance, "subject=never+finished"); len(got) != 0 {
		t.Errorf("messages that were never finished are in the inbox: %+v", got)
	}
}

// TestSMTPConnectionLimit: beyond the limit clients are told to come back, and
// the others go on.
func TestSMTPConnectionLimit(t *testing.T) {
	t.Parallel()
	hook := harness.NewHook(t)
	d := newDesk(t, []string{"--max-connections", "20"}, hook)
	held := hold(t, d.SMTP, 20, "EHLO slow.example\r\n")
	for _, c := range held {
		waitFor(t, c, "250 ")
	}
	c, err := net.DialTimeout("tcp", d.SMTP, 10*time.Second)
	check(t, err)
	defer c.Close()
	waitFor(t, c, "421 Too many concurrent SMTP connections")
	for _, h := range held {
		_, err := io.WriteString(h, "QUIT\r\n")
		check(t, err)
		waitFor(t, h, "221")
	}
	served(t, d, hook)
}

// waitFor reads lines until one begins so.
func waitFor(t *testing.T, c net.Conn, beginning string) {
	t.Helper()
	check(t, c.SetReadDeadline(time.Now().Add(20*time.Second)))
	in := bufio.NewScanner(c)
	for in.Scan() {
		if strings.HasPrefix(in.Text(), beginning) {
			return
		}
	}
	t.Fatalf("no line that begins with %q: %v", beginning, in.Err())
}

// served asserts that ordinary clients of every kind are served promptly.
func served(t *testing.T, d *desk, hook *harness.Hook) {
	t.Helper()
	start := time.Now()
	var ids []string
	for i := range 5 {
		ids = append(ids, d.send(t, fmt.Sprintf("lena%d@example.net", i)))
		id, err := harness.SMTPSend(d.SMTP, "a@example.com", []string{"lena@example.net"}, "From: a@example.com\nSubject: x\nX-SES-CONFIGURATION-SET: spring\n\nx\n")
		check(t, err)
		ids = append(ids, id)
	}
	records := hook.Records(2 * len(ids))
	for _, id := range ids {
		wantEvents(t, "beside slow clients", records, id, "Delivery", "Send")
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("ten messages and their events took %s beside slow clients", took)
	}
}
