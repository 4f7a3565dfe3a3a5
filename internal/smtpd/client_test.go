package smtpd

import (
	"crypto/tls"
	"encoding/base64"
	"net/netip"
	netsmtp "net/smtp"
	"reflect"
	"strings"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/sestina-mail/sestina/internal/auth"
)

// loginAuth is LOGIN for net/smtp, which has PLAIN only.
type loginAuth struct{ user, password string }

func (a loginAuth) Start(*netsmtp.ServerInfo) (string, []byte, error) { return "LOGIN", nil, nil }
func (a loginAuth) Next(challenge []byte, more bool) ([]byte, error) {
	switch {
	case !more:
		return nil, nil
	case string(challenge) == "Username:":
		return []byte(a.user), nil
	}
	return []byte(a.password), nil
}

func TestNetSMTP(t *testing.T) {
	t.Parallel()
	server, client := newCA(t)
	for name, login := range map[string]netsmtp.Auth{
		"PLAIN": netsmtp.PlainAuth("", "mailer", "right", "localhost"),
		"LOGIN": loginAuth{"mailer", "right"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := start(t, Options{Authenticator: users{}, TLS: server, RequireTLS: true, RequireAuth: true})
			c, err := netsmtp.Dial(strings.Replace(b.listen(false), "127.0.0.1", "localhost", 1))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.Hello("app.example"); err != nil {
				t.Fatal(err)
			}
			if err := c.StartTLS(client); err != nil {
				t.Fatal(err)
			}
			if err := c.Auth(login); err != nil {
				t.Fatal(err)
			}
			send(t, c, "a@example.com", "b@example.org", "c@example.org")
			send(t, c, "a@example.com", "d@example.org")
			if err := c.Quit(); err != nil {
				t.Error(err)
			}
			got := b.rec.messages()
			if len(got) != 2 {
				t.Fatalf("%d messages, want 2", len(got))
			}
			want := taken{
				Session: Session{
					Scope: testScope, UserName: "mailer", PrincipalARN: "arn:aws:iam::123456789012:user/mailer", AccessKeyID: "AKIATEST",
					RemoteIP: netip.MustParseAddr("127.0.0.1"), TLSVersion: "TLSv1.3", HELO: "app.example",
				},
				From: "a@example.com", To: []string{"b@example.org", "c@example.org"}, Data: testMail,
			}
			if got[0].Session.RemoteIP == netip.IPv6Loopback() { // localhost may be either
				want.Session.RemoteIP = netip.IPv6Loopback()
			}
			if !reflect.DeepEqual(got[0], want) {
				t.Errorf("got  %+v\nwant %+v", got[0], want)
			}
			if !reflect.DeepEqual(got[1].To, []string{"d@example.org"}) {
				t.Errorf("the second message went to %q", got[1].To)
			}
		})
	}
}

func send(t *testing.T, c *netsmtp.Client, from string, to ...string) {
	t.Helper()
	if err := c.Mail(from); err != nil {
		t.Fatal(err)
	}
	for _, r := range to {
		if err := c.Rcpt(r); err != nil {
			t.Fatal(err)
		}
	}
	w, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(testMail)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestGoSMTPImplicitTLS(t *testing.T) {
	t.Parallel()
	server, client := newCA(t)
	b := start(t, Options{Authenticator: auth.Anyone(testAccount), TLS: server, RequireTLS: true})
	conn, err := tls.Dial("tcp", b.listen(true), client)
	if err != nil {
		t.Fatal(err)
	}
	c := smtp.NewClient(conn)
	defer c.Close()
	if ok, _ := c.Extension("STARTTLS"); ok {
		t.Error("STARTTLS is offered inside TLS")
	}
	if err := c.Auth(sasl.NewPlainClient("", "any body", "x")); err != nil {
		t.Fatal(err)
	}
	if err := c.Mail("a@example.com", &smtp.MailOptions{Size: 100, Body: smtp.Body8BitMIME, UTF8: true}); err != nil {
		t.Fatal(err)
	}
	if err := c.Rcpt("b@bücher.example", nil); err != nil {
		t.Fatal(err)
	}
	w, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("Subject: grüße\r\n\r\n.dot\r\n")); err != nil {
		t.Fatal(err)
	}
	resp, err := w.CloseWithResponse()
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusText != "Ok id-1" {
		t.Errorf("DATA was answered %q", resp.StatusText)
	}
	got := b.rec.one(t)
	if got.Session.UserName != "any_body" || got.Session.TLSVersion != "TLSv1.3" || got.Data != "Subject: grüße\r\n\r\n.dot\r\n" {
		t.Errorf("got %+v", got)
	}
	if got.To[0] != "b@xn--bcher-kva.example" {
		t.Errorf("recipient %q is not in envelope form", got.To[0])
	}
}

func TestTLS12(t *testing.T) {
	t.Parallel()
	server, client := newCA(t)
	client.MaxVersion = tls.VersionTLS12
	b := start(t, Options{TLS: server})
	k := b.dial()
	k.hello()
	k.startTLS(client)
	k.hello()
	k.envelope()
	k.cmd(testMail+".", "250 Ok id-1\r\n")
	if v := b.rec.one(t).Session.TLSVersion; v != "TLSv1.2" {
		t.Errorf("TLS version %q", v)
	}
}

func TestEHLO(t *testing.T) {
	t.Parallel()
	server, client := newCA(t)
	b := start(t, Options{TLS: server, Authenticator: users{}, Hostname: "mail.example.com"})
	k := b.dial()
	got := k.cmd("EHLO client.example", "250-")
	for _, ext := range []string{"8BITMIME", "PIPELINING", "SIZE 41943040", "STARTTLS", "SMTPUTF8"} {
		if !strings.Contains(got, " "+ext+"\r\n") && !strings.Contains(got, "-"+ext+"\r\n") {
			t.Errorf("%s is not offered: %q", ext, got)
		}
	}
	if strings.Contains(got, "AUTH") {
		t.Errorf("AUTH is offered without TLS: %q", got)
	}
	k.startTLS(client)
	got = k.cmd("EHLO client.example", "250-")
	if strings.Contains(got, "STARTTLS") || !strings.Contains(got, "AUTH PLAIN LOGIN\r\n") {
		t.Errorf("inside TLS the offer is %q", got)
	}
}

func TestPlainAuthPolicy(t *testing.T) {
	t.Parallel()
	server, _ := newCA(t)
	for name, test := range map[string]struct {
		o       Options
		tcp     bool // from the loopback address; the pipe has none
		offered bool
	}{
		"NeverOnLoopback":       {Options{PlainAuth: PlainAuthNever}, true, false},
		"LoopbackOnLoopback":    {Options{PlainAuth: PlainAuthLoopback}, true, true},
		"LoopbackFromElsewhere": {Options{PlainAuth: PlainAuthLoopback}, false, false},
		"AlwaysFromElsewhere":   {Options{PlainAuth: PlainAuthAlways}, false, true},
		"RequireTLSWins":        {Options{PlainAuth: PlainAuthLoopback, RequireTLS: true}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.o.TLS, test.o.Authenticator = server, users{}
			b := start(t, test.o)
			var k *talk
			if test.tcp {
				k = b.dialTCP(b.listen(false))
			} else {
				k = b.dial()
			}
			got := k.cmd("EHLO client.example", "250-")
			if strings.Contains(got, "AUTH") != test.offered {
				t.Errorf("AUTH offered: %v, want %v", !test.offered, test.offered)
			}
			want := "530 Must issue a STARTTLS command first\r\n"
			if test.offered {
				want = "235 Authentication successful\r\n"
			}
			k.cmd("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00mailer\x00right")), want)
		})
	}
}
