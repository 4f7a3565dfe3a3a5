package recovery

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/sestina-mail/sestina/tests/harness"
)

// TestManyLargeBodies: many clients that each hold a large request or message
// open are refused beyond a budget, and the program does not grow with them.
func TestManyLargeBodies(t *testing.T) {
	t.Parallel()
	const size, mb = 20 << 20, 1 << 20
	t.Run("API", func(t *testing.T) {
		t.Parallel()
		b := newBed(t, "--max-bodies-in-flight", fmt.Sprint(100*mb))
		request := fmt.Sprintf("POST /v2/email/outbound-emails HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"+
			"Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/us-east-1/ses/aws4_request, SignedHeaders=host, Signature=00\r\n"+
			"Content-Length: %d\r\n\r\n", size)
		refusals := flood(t, b, strings.TrimPrefix(b.HTTP, "http://"), request, size-mb, 100, "", "HTTP/1.1 503")
		if refusals < 90 {
			t.Errorf("%d of 100 requests were refused, want at least 90", refusals)
		}
		b.bounded(t, 450)
	})
	t.Run("SMTP", func(t *testing.T) {
		t.Parallel()
		b := newBed(t)
		envelope := "EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<lena@example.net>\r\nDATA\r\nFrom: a@example.com\r\nTo: lena@example.net\r\n\r\n"
		refusals := flood(t, b, b.SMTP, envelope, size-mb, 40, ".\r\n", "451")
		if refusals < 20 {
			t.Errorf("%d of 40 messages were refused, want at least 20", refusals)
		}
		b.bounded(t, 900)
	})
}

// bounded asserts that the program never had more than so many megabytes
// resident, and still serves.
func (b *bed) bounded(t *testing.T, most int) {
	t.Helper()
	if kb := status(t, b.Instance, "VmHWM"); kb > most<<10 {
		t.Errorf("%d MB were resident", kb>>10)
	} else {
		t.Logf("%d MB were resident", kb>>10)
	}
}

// flood opens clients that send n bytes of what they announced and then wait.
// When all have, they send the ending, or break off when that is empty. It
// returns how many were refused with an answer that begins so.
func flood(t *testing.T, b *bed, addr, beginning string, n, clients int, ending, refusal string) int {
	t.Helper()
	line := []byte(strings.Repeat("x", 998) + "\r\n")
	block := []byte(strings.Repeat(string(line), 64))
	var refused atomic.Int32
	var sent, all sync.WaitGroup
	release := make(chan struct{})
	for range clients {
		c, err := net.Dial("tcp", addr)
		check(t, err)
		t.Cleanup(func() { _ = c.Close() })
		sent.Add(1)
		all.Go(func() { // reads
			for in := bufio.NewReader(c); ; {
				line, err := in.ReadString('\n')
				if strings.HasPrefix(line, refusal) {
					refused.Add(1)
					_ = c.Close() // a refused client gives up
					return
				}
				if err != nil || strings.HasPrefix(line, "250 Ok ") {
					return
				}
			}
		})
		all.Go(func() { // writes
			defer func() {
				<-release
				if _, err := io.WriteString(c, ending); err != nil || ending == "" {
					_ = c.Close()
				}
			}()
			defer sent.Done()
			if _, err := io.WriteString(c, beginning); err != nil {
				return
			}
			for left := n; left > 0; left -= len(block) {
				if _, err := c.Write(block); err != nil {
					return // refused
				}
			}
		})
	}
	sent.Wait()
	// While the others hold all they can, small requests find no room either, or
	// are served: the program answers.
	if _, err := b.trySend(t.Context(), "lena@example.net", "hello"); err != nil && !strings.Contains(err.Error(), "503") {
		t.Errorf("beside the flood: %v", err)
	}
	close(release)
	all.Wait()
	eventually(t, "the room to be free again", func() bool {
		_, err := b.trySend(t.Context(), "lena@example.net", "hello")
		return err == nil
	})
	return int(refused.Load())
}

// TestHostileSubscribers: endpoints that send without end, redirect, or answer
// with a bomb cost neither memory nor other subscribers anything.
func TestHostileSubscribers(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	h := harness.NewHook(t)
	b.subscribe(t, h)
	forbidden := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("a redirect was followed")
	}))
	t.Cleanup(forbidden.Close)
	hostile := map[string]func(c net.Conn){
		"headers without end": func(c net.Conn) {
			_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			for err == nil {
				_, err = fmt.Fprintf(c, "X: %s\r\n", strings.Repeat("x", 8000))
			}
		},
		"a body without end": func(c net.Conn) {
			_, err := io.WriteString(c, "HTTP/1.1 500 No\r\nContent-Length: 99999999999\r\n\r\n")
			for err == nil {
				_, err = c.Write(make([]byte, 64<<10))
			}
		},
		"interim answers without end": func(c net.Conn) {
			var err error
			for err == nil {
				_, err = io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
			}
		},
		"a bomb": func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 500 No\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08")
		},
		"a redirect": func(c net.Conn) {
			_, _ = fmt.Fprintf(c, "HTTP/1.1 307 There\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n", forbidden.URL)
		},
		"no HTTP": func(c net.Conn) {
			_, _ = io.WriteString(c, "220 mail.example ESMTP\r\n")
		},
	}
	asked := make(chan string, 10000)
	for name, answer := range hostile {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		check(t, err)
		var all sync.WaitGroup
		all.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				all.Go(func() {
					defer c.Close()
					r, err := http.ReadRequest(bufio.NewReader(c))
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, r.Body)
					asked <- name
					answer(c)
				})
			}
		})
		t.Cleanup(func() { _ = l.Close() })
		_, err = b.topics().Subscribe(t.Context(), &sns.SubscribeInput{
			TopicArn: &b.topic, Protocol: aws.String("http"), Endpoint: aws.String("http://" + l.Addr().String() + "/" + strings.ReplaceAll(name, " ", "-")),
		})
		check(t, err)
	}
	// Every endpoint is asked to confirm, again and again.
	times := map[string]int{}
	for len(times) < len(hostile) || times["headers without end"] < 2 {
		name := <-asked
		times[name]++
		b.advance(t, "30m")
	}
	b.collect(t, h, expected(b.send(t, 5), "Send", "Delivery"))
	b.bounded(t, 200)
	wellBehaved(t, b.Instance)
}

// TestHostileRelay: a relay that answers without end is a relay that fails: the
// message waits and goes out when the relay is well.
func TestHostileRelay(t *testing.T) {
	t.Parallel()
	r := newRelay(t)
	tried := make(chan struct{}, 10000)
	r.script = func(c net.Conn, line string) bool {
		if !strings.HasPrefix(line, "MAIL") {
			return false
		}
		tried <- struct{}{}
		var err error
		for err == nil {
			_, err = io.WriteString(c, strings.Repeat("250-and another thing\r\n", 100))
		}
		return true
	}
	b := newBed(t, "--relay", "smtp://"+r.addr)
	h := harness.NewHook(t)
	b.subscribe(t, h)
	ids := b.send(t, 1)
	<-tried
	b.advance(t, "2m")
	<-tried
	r.mu.Lock()
	r.script, r.behaved = nil, true
	r.mu.Unlock()
	b.collect(t, h, expected(ids, "Send", "DeliveryDelay", "Delivery"))
	b.bounded(t, 200)
}

// TestOnePort: the HTTP port tells plain clients from TLS clients, and neither
// silent nor broken ones keep it from serving.
func TestOnePort(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	addr := strings.TrimPrefix(b.HTTP, "http://")
	for i := range 300 {
		c, err := net.Dial("tcp", addr)
		check(t, err)
		t.Cleanup(func() { _ = c.Close() })
		_, err = io.WriteString(c, []string{"", "G", "\x16", "\x16\x03\x01\x00\xf4\x01\x00"}[i%4])
		check(t, err)
	}
	ca, err := os.ReadFile(filepath.Join(b.Dir, "ca.pem"))
	check(t, err)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		t.Fatal("no certificate in ca.pem")
	}
	talk := func(c net.Conn, text string) []string {
		t.Helper()
		defer c.Close()
		_, err := io.WriteString(c, text)
		check(t, err)
		var bodies []string
		in := bufio.NewReader(c)
		for {
			if _, err := in.Peek(1); err != nil {
				return bodies
			}
			resp, err := http.ReadResponse(in, nil)
			check(t, err)
			body, err := io.ReadAll(resp.Body)
			check(t, err)
			bodies = append(bodies, fmt.Sprint(resp.StatusCode, " ", string(body)))
		}
	}
	want := func(what string, got []string, n int) {
		t.Helper()
		if len(got) != n {
			t.Fatalf("%s: answers %q, want %d", what, got, n)
		}
		for _, g := range got {
			if g != "200 ok\n" {
				t.Errorf("%s: %q", what, g)
			}
		}
	}
	plain := func() net.Conn {
		c, err := net.Dial("tcp", addr)
		check(t, err)
		return c
	}
	secure := func(name string) net.Conn {
		// Without a server name the address is the name to verify.
		c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: roots, ServerName: name, MinVersion: tls.VersionTLS12})
		check(t, err)
		return c
	}
	const pipelined = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	want("HTTP/1.0", talk(plain(), "GET /healthz HTTP/1.0\r\n\r\n"), 1)
	want("HTTP/1.0 over TLS without a server name", talk(secure("127.0.0.1"), "GET /healthz HTTP/1.0\r\n\r\n"), 1)
	want("pipelined", talk(plain(), pipelined), 3)
	want("pipelined over TLS", talk(secure("localhost"), pipelined), 3)
}
