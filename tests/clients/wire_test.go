package clients

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sestina-mail/sestina/tests/harness"
)

// A probe is a bad request and the answers that are right for it.
type probe struct {
	name   string
	raw    []byte // the request as it goes over the wire
	status []int  // 0: the connection is closed without an answer
	code   string // what the answer names, if it is one; "" for any
	ends   bool   // the client sends no more, though the request says so
}

// signed is the header of a call to a service: dev accepts any signature, but
// there must be one.
func signed(service string) string {
	return "Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260303/us-east-1/" + service + "/aws4_request, SignedHeaders=host, Signature=" +
		strings.Repeat("0", 64) + "\r\nX-Amz-Date: 20260303T101500Z\r\n"
}

// request writes an HTTP request by hand.
func request(line, headers, body string) []byte {
	return []byte(line + " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n" + headers + "\r\n" + body)
}

func restCall(body string) []byte {
	return request("POST /v2/email/outbound-emails", signed("ses")+"Content-Type: application/json\r\n", body)
}

func jsonCall(target, body string) []byte {
	service := map[string]string{"AmazonSQS": "sqs", "AWSEvents": "events"}[target[:strings.IndexByte(target, '.')]]
	return request("POST /", signed(service)+"X-Amz-Target: "+target+"\r\nContent-Type: application/x-amz-json-1.0\r\n", body)
}

func queryCall(service, body string) []byte {
	return request("POST /", signed(service)+"Content-Type: application/x-www-form-urlencoded\r\n", body)
}

func cborCall(operation, body string) []byte {
	return request("POST /service/GraniteServiceVersion20100801/operation/"+operation,
		signed("monitoring")+"Smithy-Protocol: rpc-v2-cbor\r\nContent-Type: application/cbor\r\n", body)
}

// bomb is n bytes of zeros, compressed.
func bomb(n int64) string {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		panic(err)
	}
	if _, err := io.CopyN(z, zeros{}, n); err != nil {
		panic(err)
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.String()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// exchange sends the request on a connection of its own and returns the status
// and the answer; status 0 when the connection was closed without one.
func (p probe) exchange(addr string) (status int, answer string, err error) {
	c, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return 0, "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return 0, "", err
	}
	sent := make(chan struct{})
	go func() { // an early answer must be read while the request still goes out
		defer close(sent)
		_, _ = c.Write(p.raw)
		if p.ends {
			_ = c.(*net.TCPConn).CloseWrite()
		}
	}()
	defer func() { c.Close(); <-sent }()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, "", fmt.Errorf("neither an answer nor the end of the connection within 30 s: %w", err)
		}
		return 0, "", nil
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body) // cut off when the server closes early
	code := resp.Header.Get("X-Amzn-Errortype")
	return resp.StatusCode, code + "\n" + string(body), nil
}

// try runs a probe and reports what is wrong with the answer.
func (p probe) try(t *testing.T, addr string) {
	t.Helper()
	status, answer, err := p.exchange(addr)
	if err != nil {
		t.Errorf("%s: %v", p.name, err)
		return
	}
	for _, want := range p.status {
		if status == want {
			if status != 0 && !strings.Contains(answer, p.code) {
				t.Errorf("%s: status %d without %q: %.500q", p.name, status, p.code, answer)
			}
			return
		}
	}
	t.Errorf("%s: status %d, want %v: %.500q", p.name, status, p.status, answer)
}

// A gauge reads figures of the process from /metrics.
type gauge struct {
	resident   float64 // bytes
	goroutines float64
	size       int // of the page, bytes
}

func readGauge(t *testing.T, s *harness.Instance) (g gauge) {
	t.Helper()
	resp, err := http.Get(s.HTTP + "/metrics")
	check(t, err)
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	check(t, err)
	g.size = len(page)
	for line := range strings.Lines(string(page)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch name {
		case "process_resident_memory_bytes":
			g.resident, err = strconv.ParseFloat(value, 64)
			check(t, err)
		case "go_goroutines":
			g.goroutines, err = strconv.ParseFloat(value, 64)
			check(t, err)
		}
	}
	if g.resident == 0 || g.goroutines == 0 {
		t.Fatalf("/metrics has no figures of the process:\n%.2000s", page)
	}
	return g
}

// hostOf is the address of an instance's HTTP port.
func hostOf(s *harness.Instance) string { return strings.TrimPrefix(s.HTTP, "http://") }
