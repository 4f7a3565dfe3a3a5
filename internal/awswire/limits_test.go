package awswire

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sestina-mail/sestina/internal/awsapi/cloudwatch"
	"github.com/sestina-mail/sestina/internal/awsapi/sesv2"
	"github.com/sestina-mail/sestina/internal/awsapi/sns"
	"github.com/sestina-mail/sestina/internal/sestina"
)

func gzipped(t *testing.T, b []byte) string {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestBodyLimits(t *testing.T) {
	t.Parallel()
	newMux := func() *Mux {
		m := NewMux(Options{MaxMailBody: 64 << 10, MaxBody: 8 << 10, MaxBodiesInFlight: 1 << 20})
		accept(m, sesv2.OpSendEmail)
		accept(m, sns.OpPublish)
		accept(m, cloudwatch.OpPutMetricData)
		return m
	}
	mail := func(n int) string { return `{"Content":{"Raw":{"Data":"` + strings.Repeat("A", n) + `"}}}` }
	compressed := map[string]string{"Content-Encoding": "gzip"}
	metric := "Action=PutMetricData&Namespace=N&MetricData.member.1.MetricName=m&X="
	for name, c := range map[string]struct {
		wire   wire
		status int
	}{
		"MailWithinLimit":       {wire{"POST", "/v2/email/outbound-emails", "ses", nil, mail(60 << 10)}, 200},
		"MailTooLarge":          {wire{"POST", "/v2/email/outbound-emails", "ses", nil, mail(64 << 10)}, 413},
		"OtherWithinLimit":      {wire{"POST", "/", "sns", nil, "Action=Publish&Message=" + strings.Repeat("a", 8000)}, 200},
		"OtherTooLarge":         {wire{"POST", "/", "sns", nil, "Action=Publish&Message=" + strings.Repeat("a", 8<<10)}, 413},
		"Gzip":                  {wire{"POST", "/", "monitoring", compressed, gzipped(t, []byte(metric))}, 200},
		"GzipBomb":              {wire{"POST", "/", "monitoring", compressed, gzipped(t, []byte(metric+strings.Repeat("a", 1<<20)))}, 413},
		"GzipBroken":            {wire{"POST", "/", "monitoring", compressed, "no gzip"}, 400},
		"GzipCut":               {wire{"POST", "/", "monitoring", compressed, gzipped(t, []byte(metric))[:40]}, 400},
		"OtherEncoding":         {wire{"POST", "/", "monitoring", map[string]string{"Content-Encoding": "br"}, ""}, 400},
		"TooManyParameters":     {wire{"POST", "/?" + strings.Repeat("a&", maxParams), "sns", nil, "Action=Publish&Message=m"}, 413},
		"AttackersRegionLength": {wire{"POST", "/", "sns/aws4_request/x", nil, ""}, 400},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, chunked := range []bool{false, true} {
				m := newMux()
				r := c.wire.request()
				if chunked {
					r.ContentLength = -1
				}
				w := httptest.NewRecorder()
				m.ServeHTTP(w, r)
				if w.Code != c.status {
					t.Errorf("chunked %v: %d %s, want %d", chunked, w.Code, w.Body, c.status)
				}
				if n := m.bodies.used.Load(); n != 0 {
					t.Errorf("%d bytes are still accounted for", n)
				}
			}
		})
	}
}

// TestBodiesInFlight fills the budget with one call and checks that another is
// told to come again, and served once the first is through.
func TestBodiesInFlight(t *testing.T) {
	t.Parallel()
	m := NewMux(Options{MaxBodiesInFlight: 64 << 10, Logger: discard()})
	entered, leave := make(chan struct{}, 1), make(chan struct{})
	Handle(m, sns.OpPublish, func(context.Context, *sns.PublishInput) (*sns.PublishOutput, error) {
		entered <- struct{}{}
		<-leave
		return nil, nil
	})
	call := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		m.ServeHTTP(w, wire{"POST", "/", "sns", nil, "Action=Publish&Message=" + strings.Repeat("a", 40<<10)}.request())
		return w
	}
	done := make(chan int)
	go func() { done <- call().Code }()
	<-entered
	if w := call(); w.Code != 503 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	close(leave)
	if code := <-done; code != 200 {
		t.Errorf("the first call: %d", code)
	}
	if w := call(); w.Code != 200 {
		t.Errorf("afterwards: %d %s", w.Code, w.Body)
	}
}

// TestSlowBody checks that a body that does not arrive is given up.
func TestSlowBody(t *testing.T) {
	t.Parallel()
	m := NewMux(Options{BodyTimeout: 50 * time.Millisecond})
	accept(m, sns.OpPublish)
	server := httptest.NewServer(m)
	t.Cleanup(server.Close)
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() // read only
	_, err = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"+
		"Authorization: AWS4-HMAC-SHA256 Credential=A/20260101/us-east-1/sns/aws4_request\r\n\r\nAction=")
	if err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 408 ") || !strings.Contains(string(answer), "RequestTimeout") {
		t.Errorf("%q %v", answer, err)
	}
}

func TestPeer(t *testing.T) {
	t.Parallel()
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for name, c := range map[string]struct {
		opt      Options
		remote   string
		tls      uint16
		header   map[string]string
		ip, base string
		version  string
	}{
		"Direct":    {Options{}, "192.0.2.1:5", 0, nil, "192.0.2.1", "http://example.com", ""},
		"DirectTLS": {Options{}, "[2001:db8::1%eth0]:5", tls.VersionTLS13, nil, "2001:db8::1", "https://example.com", "TLSv1.3"},
		"Mapped":    {Options{}, "[::ffff:192.0.2.1]:5", tls.VersionTLS12, nil, "192.0.2.1", "https://example.com", "TLSv1.2"},
		"Untrusted": {
			Options{TrustedProxies: trusted}, "192.0.2.1:5", 0,
			map[string]string{"X-Forwarded-For": "1.1.1.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil"}, "192.0.2.1", "http://example.com", "",
		},
		"Trusted": {
			Options{TrustedProxies: trusted}, "10.0.0.1:5", 0,
			map[string]string{"X-Forwarded-For": "6.6.6.6, 192.0.2.7, 10.0.0.2", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "ses.example.org"},
			"192.0.2.7", "https://ses.example.org", "TLSv1.2",
		},
		"TrustedWithoutHeaders": {Options{TrustedProxies: trusted}, "10.0.0.1:5", 0, nil, "10.0.0.1", "http://example.com", ""},
		"TrustedWithNonsense": {
			Options{TrustedProxies: trusted}, "10.0.0.1:5", 0,
			map[string]string{"X-Forwarded-For": "x, , 10.0.0.3", "X-Forwarded-Proto": "gopher", "X-Forwarded-Host": "a/b"}, "10.0.0.3", "http://example.com", "",
		},
		"ConfiguredURL": {Options{BaseURL: "https://ses.example.com/"}, "192.0.2.1:5", 0, nil, "192.0.2.1", "https://ses.example.com", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := NewMux(c.opt)
			r := httptest.NewRequest(http.MethodGet, "http://example.com/", nil)
			r.RemoteAddr = c.remote
			if c.tls != 0 {
				r.TLS = &tls.ConnectionState{Version: c.tls}
			}
			for k, v := range c.header {
				r.Header.Set(k, v)
			}
			var got Call
			m.setPeer(&got, r)
			if got.SourceIP.String() != c.ip || got.BaseURL != c.base || got.TLSVersion != c.version {
				t.Errorf("%s %s %q", got.SourceIP, got.BaseURL, got.TLSVersion)
			}
		})
	}
}

func TestCallFrom(t *testing.T) {
	t.Parallel()
	want := &Call{Scope: sestina.Scope{Account: "1", Region: "r"}}
	if CallFrom(WithCall(t.Context(), want)) != want {
		t.Error("another call")
	}
	defer func() {
		if recover() == nil {
			t.Error("no panic without a call")
		}
	}()
	CallFrom(t.Context())
}
