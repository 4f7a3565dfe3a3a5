package deliver

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"go.uber.org/goleak"

	"github.com/sestina-mail/sestina/internal/clock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A receiver is another project's SMTP server with a mailbox that refuses some.
type receiver struct {
	mu       sync.Mutex
	messages []string
	sessions int
}

func (r *receiver) NewSession(*smtp.Conn) (smtp.Session, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sessions++
	return &receiving{r: r}, nil
}

type receiving struct {
	r        *receiver
	to       []string
	loggedIn bool
}

func (s *receiving) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *receiving) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, username, password string) error {
		if username != "ana" || password != "secret" {
			return errors.New("who are you?")
		}
		s.loggedIn = true
		return nil
	}), nil
}

func (s *receiving) Mail(string, *smtp.MailOptions) error {
	if !s.loggedIn {
		return smtp.ErrAuthRequired
	}
	return nil
}

func (s *receiving) Rcpt(to string, _ *smtp.RcptOptions) error {
	switch mailbox(to) {
	case "nobody":
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "No such user"}
	case "full":
		return &smtp.SMTPError{Code: 452, EnhancedCode: smtp.EnhancedCode{4, 2, 2}, Message: "Mailbox full"}
	}
	s.to = append(s.to, to)
	return nil
}

func (s *receiving) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.r.messages = append(s.r.messages, strings.Join(s.to, " ")+"\n"+string(text))
	return nil
}

func (s *receiving) Reset()        { s.to = nil }
func (s *receiving) Logout() error { return nil }

// Over real connections, with TLS and AUTH, many at a time: every message
// arrives once, whole, and connections are used again.
func TestRelayInterop(t *testing.T) {
	t.Parallel()
	rcv := &receiver{}
	srv := smtp.NewServer(rcv)
	srv.Domain = "mx.example.net"
	srv.TLSConfig = serverTLS()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()

	o, err := ParseRelayURL("smtp://ana:secret@mx.example.net:25")
	if err != nil {
		t.Fatal(err)
	}
	_, o.RootCAs = certificate()
	o.Clock, o.Timeouts, o.Connections = clock.New(0), DevTimeouts(), 4
	o.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, ln.Addr().String())
	}
	r := NewRelay(o)

	const messages = 40
	body := "Subject: Hi\r\n\r\n.dots\r\n..\r\n" + strings.Repeat("line\r\n", 50_000)
	var wg sync.WaitGroup
	for range messages {
		wg.Go(func() {
			for {
				rep := deliver(t, r, job(body, "lena@example.net", "nobody@example.net", "full@example.net", "bo@example.net"))
				if rep.Busy {
					continue
				}
				check(t, rep, false,
					"nobody@example.net failed: 550 5.1.1 No such user", "full@example.net deferred: 452 4.2.2 Mailbox full",
					"lena@example.net delivered: 250 2.0.0 OK: queued", "bo@example.net delivered: 250 2.0.0 OK: queued")
				if got := rep.Outcomes[0]; got.RemoteIP != "127.0.0.1" || got.LocalIP != "127.0.0.1" || got.TLSVersion != "TLSv1.3" {
					t.Errorf("%+v", got)
				}
				return
			}
		})
	}
	wg.Wait()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err := srv.Close(); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	rcv.mu.Lock()
	defer rcv.mu.Unlock()
	want := slices.Repeat([]string{"lena@example.net bo@example.net\n" + body}, messages)
	if !slices.Equal(rcv.messages, want) {
		t.Errorf("%d messages arrived, want %d unchanged", len(rcv.messages), messages)
	}
	if rcv.sessions > 2*o.Connections { // one more for each after STARTTLS
		t.Errorf("%d sessions for %d messages", rcv.sessions, messages)
	}
}
