package sns

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sestina-mail/sestina/internal/clock"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// newClient returns the client for all endpoints: HTTP/1.1, connections kept
// alive per host, redirects not followed, no proxy.
func newClient(o Options) *http.Client {
	dialer := &net.Dialer{Timeout: o.Timeout, KeepAlive: 30 * time.Second, Control: o.DialControl}
	return &http.Client{
		Transport: &http.Transport{
			DialContext:            dialer.DialContext,
			TLSClientConfig:        o.TLSConfig,
			TLSNextProto:           map[string]func(string, *tls.Conn) http.RoundTripper{}, // HTTP/1.1, as SNS
			TLSHandshakeTimeout:    o.Timeout,
			DisableCompression:     true, // Accept-Encoding is SNS's
			MaxIdleConns:           1000,
			MaxIdleConnsPerHost:    laneConcurrency,
			IdleConnTimeout:        60 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// maxDrain is how much of an answer is read so that the connection can be used
// again.
const maxDrain = 64 << 10

// deliverHTTP posts a message to the subscribed endpoint.
func (s *Service) deliverHTTP(ctx context.Context, j *job) (outcome, error) {
	u, err := url.Parse(j.sub.Endpoint)
	if err != nil {
		return outcome{final: true, answer: "the endpoint is not a URL"}, nil
	}
	release, ok := s.hosts.TryAcquire(u.Host)
	if !ok {
		return outcome{busy: s.Clock.Now().Add(200 * time.Millisecond)}, nil
	}
	defer release()
	policy := s.policyOf(j.sub)
	if t := policy.Throttle; t != nil && j.Purpose == purposeNotify {
		if !s.Clock.SleepUntil(ctx, s.pace.book(j.sub.ID, t.MaxReceivesPerSecond, s.Clock.Now()), nil) {
			return outcome{}, nil
		}
	}
	body, err := s.httpBody(ctx, j)
	if err != nil {
		return outcome{}, err
	}
	header := httpHeader(j, policy)
	took := clock.Stopwatch()
	out := s.post(ctx, u, header, body)
	out.took = took()
	return out, nil
}

func (s *Service) httpBody(ctx context.Context, j *job) ([]byte, error) {
	if j.sub.raw() && j.Purpose == purposeNotify {
		return []byte(j.message.text(j.sub.Protocol)), nil
	}
	fs, err := s.fields(ctx, j.message, j.sub)
	if err != nil {
		return nil, err
	}
	return prettyJSON(fs), nil
}

func httpHeader(j *job, policy subPolicy) http.Header {
	h := http.Header{}
	h.Set("x-amz-sns-message-type", j.message.Type)
	h.Set("x-amz-sns-message-id", j.message.MessageID)
	h.Set("x-amz-sns-topic-arn", j.message.TopicARN)
	if j.message.Type != typeConfirmation {
		h.Set("x-amz-sns-subscription-arn", j.sub.ARN())
	}
	h.Set("Content-Type", defaultContentType)
	if j.Purpose == purposeNotify {
		if j.sub.raw() {
			h.Set("x-amz-sns-rawdelivery", "true")
		}
		if policy.Request != nil {
			h.Set("Content-Type", policy.Request.HeaderContentType)
		}
	}
	h.Set("User-Agent", "Amazon Simple Notification Service Agent")
	h.Set("Accept-Encoding", "gzip,deflate")
	h.Set("Connection", "Keep-Alive")
	return h
}

// post sends one request, and a second one with credentials when the endpoint
// asks for them and its URL has some. It says what the answer means.
func (s *Service) post(ctx context.Context, endpoint *url.URL, header http.Header, body []byte) outcome {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	target := *endpoint
	target.User = nil // never sent without being asked
	res, text, err := s.roundTrip(ctx, &target, header, body)
	if err == nil && res.StatusCode == http.StatusUnauthorized && endpoint.User != nil {
		if auth := authorization(endpoint, res.Header.Values("WWW-Authenticate")); auth != "" {
			header = header.Clone()
			header.Set("Authorization", auth)
			res, text, err = s.roundTrip(ctx, &target, header, body)
		}
	}
	if err != nil {
		return outcome{fault: true, answer: s.failure(ctx, err)}
	}
	out := judge(res.StatusCode)
	out.answer = text
	if out.fault && (res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusServiceUnavailable) {
		if n, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && n > 0 {
			out.due = s.Clock.Now().Add(time.Duration(min(n, 3600)) * time.Second)
		}
	}
	return out
}

// judge says what a status means: 2xx is delivered, 4xx is final but for 408 and
// 429, everything else is a fault of the endpoint.
func judge(status int) outcome {
	switch {
	case status >= 200 && status < 300:
		return outcome{ok: true}
	case status == http.StatusRequestTimeout:
		return outcome{}
	case status == http.StatusTooManyRequests, status < 400, status >= 500:
		return outcome{fault: true}
	}
	return outcome{final: true}
}

// roundTrip sends a request and reads the answer, as text for the timeline.
func (s *Service) roundTrip(ctx context.Context, u *url.URL, header http.Header, body []byte) (*http.Response, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	req.Header = header
	res, err := s.client.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = res.Body.Close() }()
	head, err := io.ReadAll(io.LimitReader(res.Body, store.MaxAnswer))
	if err == nil {
		_, err = io.Copy(io.Discard, io.LimitReader(res.Body, maxDrain))
	}
	if err != nil {
		return nil, "", fmt.Errorf("read the answer %d: %w", res.StatusCode, err)
	}
	text := fmt.Sprintf("%d %s", res.StatusCode, http.StatusText(res.StatusCode))
	if len(head) > 0 && res.Header.Get("Content-Encoding") == "" {
		text += ": " + string(head)
	}
	return res, cut(text), nil
}

// cut makes text fit the store.
func cut(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) > store.MaxAnswer {
		s = strings.ToValidUTF8(s[:store.MaxAnswer], "")
	}
	return s
}

// failure words an error of the network without the URL, which may hold
// secrets.
func (s *Service) failure(ctx context.Context, err error) string {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Sprintf("no answer within %s", s.Timeout)
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	return cut(err.Error())
}

// A pacer spaces deliveries per subscription. The zero value is ready; it may be
// used concurrently.
type pacer struct {
	mu   sync.Mutex
	next map[sestina.ID]time.Time
}

// book returns when the subscription's next delivery may begin, at perSecond a
// second. Each call books one.
func (p *pacer) book(id sestina.ID, perSecond int, now time.Time) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.next) >= 4096 { // forget those that need not wait
		for k, t := range p.next {
			if t.Before(now) {
				delete(p.next, k)
			}
		}
	}
	if p.next == nil {
		p.next = make(map[sestina.ID]time.Time)
	}
	at := p.next[id]
	if at.Before(now) {
		at = now
	}
	p.next[id] = at.Add(time.Second / time.Duration(perSecond))
	return at
}
