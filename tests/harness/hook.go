package harness

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// An Envelope is what SNS posts to a subscriber.
type Envelope struct {
	Type, MessageId, Token, TopicArn, Subject, Message, SubscribeURL, Timestamp string // SNS's spelling
	SignatureVersion, Signature, SigningCertURL, UnsubscribeURL                 string
}

// A Record is an event record as far as tests look at it.
type Record struct {
	EventType string
	Mail      struct {
		MessageID   string `json:"messageId"`
		Destination []string
		Tags        map[string][]string
	}
	Bounce *struct {
		BounceType, BounceSubType, FeedbackID string
		BouncedRecipients                     []struct{ EmailAddress, Status, DiagnosticCode, Action string }
	}
	Complaint     *struct{ ComplaintFeedbackType string }
	Delivery      *struct{ Recipients []string }
	Reject        *struct{ Reason string }
	DeliveryDelay *struct{ DelayType string }
}

// A Hook is an HTTP subscriber: it confirms its subscription by visiting the
// SubscribeURL and hands on the notifications it gets.
type Hook struct {
	URL string
	// Notifications has every notification that was answered with 200.
	Notifications chan Envelope
	// Confirmed gets the topic of every subscription that was confirmed.
	Confirmed chan string

	t      testing.TB
	mu     sync.Mutex
	answer func(http.ResponseWriter, *http.Request, Envelope) bool
}

// NewHook starts a subscriber.
func NewHook(t testing.TB) *Hook {
	h := &Hook{Notifications: make(chan Envelope, 1_000_000), Confirmed: make(chan string, 100), t: t}
	s := httptest.NewServer(h)
	h.URL = s.URL + "/hook"
	t.Cleanup(s.Close)
	return h
}

// Answer makes fn answer notifications from now on; fn returns whether the
// notification counts as received. Nil answers 200.
func (h *Hook) Answer(fn func(http.ResponseWriter, *http.Request, Envelope) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answer = fn
}

func (h *Hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the sender was killed
	}
	var e Envelope
	if err := json.Unmarshal(body, &e); err != nil {
		h.t.Errorf("not an SNS envelope: %v: %s", err, body)
		return
	}
	if e.Type == "SubscriptionConfirmation" {
		if resp, err := http.Get(e.SubscribeURL); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				h.Confirmed <- e.TopicArn
			}
		}
		return
	}
	h.mu.Lock()
	answer := h.answer
	h.mu.Unlock()
	if answer == nil || answer(w, r, e) {
		h.Notifications <- e
	}
}

// WaitConfirmed waits until a subscription was confirmed.
func (h *Hook) WaitConfirmed() {
	h.t.Helper()
	select {
	case <-h.Confirmed:
	case <-time.After(20 * time.Second):
		h.t.Fatal("no subscription was confirmed within 20 s")
	}
}

// Wait returns the next notification, or fails the test after 20 s.
func (h *Hook) Wait() Envelope {
	h.t.Helper()
	select {
	case e := <-h.Notifications:
		return e
	case <-time.After(20 * time.Second):
		h.t.Fatal("no notification within 20 s")
		return Envelope{}
	}
}

// Records waits for n event records, skipping the test message that SES
// publishes to a new destination.
func (h *Hook) Records(n int) []Record {
	h.t.Helper()
	var out []Record
	for len(out) < n {
		if e := h.Wait(); e.Message != "Successfully validated SNS topic for Amazon SES event publishing." {
			out = append(out, ParseRecord(h.t, e.Message))
		}
	}
	return out
}

// ParseRecord reads an event record.
func ParseRecord(t testing.TB, text string) Record {
	t.Helper()
	var r Record
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatalf("not an event record: %v: %s", err, text)
	}
	return r
}
