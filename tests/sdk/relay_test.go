package sdk

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-smtp"
)

// A relayHost is an SMTP server that answers as a test wants.
type relayHost struct {
	addr string

	mu       sync.Mutex
	rcpt     func(to string) error
	received [][]byte
}

func newRelayHost(t *testing.T) *relayHost {
	t.Helper()
	h := &relayHost{rcpt: func(string) error { return nil }}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	h.addr = l.Addr().String()
	s := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &relaySession{h: h}, nil }))
	s.Domain = "relay.example"
	done := make(chan struct{})
	go func() { _ = s.Serve(l); close(done) }()
	t.Cleanup(func() { _ = s.Close(); <-done })
	return h
}

// answer makes fn answer RCPT from now on.
func (h *relayHost) answer(fn func(to string) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rcpt = fn
}

func (h *relayHost) messages() [][]byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.received)
}

type relaySession struct{ h *relayHost }

func (s *relaySession) Mail(string, *smtp.MailOptions) error { return nil }
func (s *relaySession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.h.mu.Lock()
	fn := s.h.rcpt
	s.h.mu.Unlock()
	return fn(to)
}

func (s *relaySession) Data(r io.Reader) error {
	var b bytes.Buffer
	if _, err := io.Copy(&b, r); err != nil {
		return err
	}
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	s.h.received = append(s.h.received, b.Bytes())
	return nil
}
func (s *relaySession) Reset()        {}
func (s *relaySession) Logout() error { return nil }

var errMailboxFull = &smtp.SMTPError{Code: 452, EnhancedCode: smtp.EnhancedCode{4, 2, 2}, Message: "mailbox over quota"}

func TestRelayDeliversAndBouncesPerRecipient(t *testing.T) {
	t.Parallel()
	h := newRelayHost(t)
	h.answer(func(to string) error {
		if strings.HasPrefix(to, "nobody@") {
			return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
		}
		return nil
	})
	s := newSpine(t, "--relay", "smtp://"+h.addr)
	id := s.send(t, "lena@example.net", "nobody@example.net")
	records := s.hook.Records(3)
	wantTypes(t, records, id, "Bounce", "Delivery", "Send")
	for _, r := range records {
		if b := r.Bounce; b != nil {
			got := b.BouncedRecipients[0]
			if b.BounceType != "Permanent" || b.BounceSubType != "General" || len(b.BouncedRecipients) != 1 || got.EmailAddress != "nobody@example.net" ||
				got.Status != "5.1.1" || got.Action != "failed" || !strings.HasPrefix(got.DiagnosticCode, "smtp; 550 5.1.1 no such user") {
				t.Errorf("bounce: %+v", b)
			}
		}
		if d := r.Delivery; d != nil && !slices.Equal(d.Recipients, []string{"lena@example.net"}) {
			t.Errorf("delivery: %+v", d)
		}
	}
	if got := h.messages(); len(got) != 1 || !bytes.Contains(got[0], []byte("Subject: Spring list")) {
		t.Errorf("the relay received %d messages", len(got))
	}
}

// TestTemporaryFailureIsRetried: a first 4xx gives a DeliveryDelay at once, and
// the message is delivered when the host takes it.
func TestTemporaryFailureIsRetried(t *testing.T) {
	t.Parallel()
	h := newRelayHost(t)
	h.answer(func(string) error { return errMailboxFull })
	s := newSpine(t, "--relay", "smtp://"+h.addr, "--retry-schedule", "100ms")
	id := s.send(t, "full@example.net")
	records := s.hook.Records(2)
	wantTypes(t, records, id, "DeliveryDelay", "Send")
	h.answer(func(string) error { return nil })
	for r := s.hook.Records(1)[0]; r.EventType != "Delivery"; r = s.hook.Records(1)[0] {
		if r.EventType != "DeliveryDelay" || r.DeliveryDelay.DelayType != "MailboxFull" {
			t.Fatalf("between delay and delivery: %+v", r)
		}
	}
}

// TestExpiredMessageBounces: when the retry window ends, the message bounces
// transiently with the last answer.
func TestExpiredMessageBounces(t *testing.T) {
	t.Parallel()
	h := newRelayHost(t)
	h.answer(func(string) error { return errMailboxFull })
	s := newSpine(t, "--relay", "smtp://"+h.addr, "--retry-schedule", "100ms", "--retry-window", "300ms")
	id := s.send(t, "full@example.net")
	for {
		r := s.hook.Records(1)[0]
		if r.EventType == "Bounce" {
			if r.Mail.MessageID != id || r.Bounce.BounceType != "Transient" || r.Bounce.BounceSubType != "MailboxFull" {
				t.Errorf("bounce: %+v", r.Bounce)
			}
			return
		}
	}
}

// TestRelayDownAndBack: nothing is lost while the relay cannot be reached, also
// over a restart.
func TestRelayDownAndBack(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	addr := l.Addr().String()
	check(t, l.Close())
	s := newSpine(t, "--relay", "smtp://"+addr, "--retry-schedule", "200ms")
	id := s.send(t, "lena@example.net")
	wantTypes(t, s.hook.Records(2), id, "DeliveryDelay", "Send")
	s.Kill()
	back, err := net.Listen("tcp", addr)
	check(t, err)
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
		return &relaySession{h: &relayHost{rcpt: func(string) error { return nil }}}, nil
	}))
	done := make(chan struct{})
	go func() {
		if err := server.Serve(back); err != nil && !errors.Is(err, smtp.ErrServerClosed) {
			t.Error(err)
		}
		close(done)
	}()
	defer func() { _ = server.Close(); <-done }()
	s.Restart()
	for {
		if r := s.hook.Records(1)[0]; r.EventType == "Delivery" && r.Mail.MessageID == id {
			return
		}
	}
}
