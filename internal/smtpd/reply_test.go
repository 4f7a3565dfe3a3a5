package smtpd

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

func plain(user, password string) string {
	return "AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+password))
}

// ses-guide:smtp-response-codes
func TestReplies(t *testing.T) {
	t.Parallel()
	dev := Options{Authenticator: users{}, PlainAuth: PlainAuthAlways}
	serve := Options{Authenticator: users{}, PlainAuth: PlainAuthAlways, RequireAuth: true}
	b64 := base64.StdEncoding.EncodeToString
	for name, test := range map[string]struct {
		o Options
		// commands and, after a tab, the reply's beginning; ending in $ for all
		// of it
		lines []string
	}{
		"Message": {dev, []string{
			"MAIL FROM:<a@example.com> SIZE=100 BODY=8BITMIME\t250 ", "RCPT TO:<b@example.org>\t250 ", "DATA\t354 ", "x: y\r\n\r\nhi\r\n.\t250 Ok id-1$",
			"MAIL FROM:<a@example.com>\t250 ", "RCPT TO:<b@example.org>\t250 ", "BDAT 6 LAST\r\nx: y\t250 Ok id-2$", "QUIT\t221 ",
		}},
		"AuthRequired":  {serve, []string{"MAIL FROM:<a@example.com>\t530 Authentication required$"}},
		"TLSRequired":   {Options{RequireTLS: true}, []string{"MAIL FROM:<a@example.com>\t530 Must issue a STARTTLS command first$"}},
		"AuthPlain":     {serve, []string{plain("mailer", "right") + "\t235 Authentication successful$", "MAIL FROM:<a@example.com>\t250 "}},
		"AuthPlainLate": {serve, []string{"AUTH PLAIN\t334 $", b64([]byte("\x00mailer\x00right")) + "\t235 Authentication successful$"}},
		"AuthLogin": {serve, []string{
			"AUTH LOGIN\t334 VXNlcm5hbWU6$", b64([]byte("mailer")) + "\t334 UGFzc3dvcmQ6$", b64([]byte("right")) + "\t235 Authentication successful$",
		}},
		"AuthLoginUserFirst": {serve, []string{
			"AUTH login " + b64([]byte("mailer")) + "\t334 UGFzc3dvcmQ6$", b64([]byte("right")) + "\t235 Authentication successful$",
		}},
		"AuthWrong":        {serve, []string{plain("mailer", "wrong") + "\t535 Authentication Credentials Invalid$", "MAIL FROM:<a@example.com>\t530 "}},
		"AuthWrongLogin":   {serve, []string{"AUTH LOGIN bWFpbGVy\t334 ", "=\t535 Authentication Credentials Invalid$"}},
		"AuthBroken":       {serve, []string{plain("broken", "") + "\t454 Temporary authentication failure$", "MAIL FROM:<a@example.com>\t530 "}},
		"AuthTwice":        {serve, []string{plain("mailer", "right") + "\t235 ", plain("mailer", "right") + "\t503 "}},
		"AuthMechanism":    {serve, []string{"AUTH CRAM-MD5\t504 "}},
		"AuthCancelled":    {serve, []string{"AUTH LOGIN\t334 ", "*\t501 ", "MAIL FROM:<a@example.com>\t530 "}},
		"AuthMalformed":    {serve, []string{"AUTH PLAIN " + b64([]byte("mailer\x00right")) + "\t501 ", "MAIL FROM:<a@example.com>\t530 "}},
		"AuthForOther":     {serve, []string{"AUTH PLAIN " + b64([]byte("boss\x00mailer\x00right")) + "\t535 "}},
		"AuthForOneself":   {serve, []string{"AUTH PLAIN " + b64([]byte("mailer\x00mailer\x00right")) + "\t235 "}},
		"AuthInMail":       {dev, []string{"MAIL FROM:<a@example.com>\t250 ", plain("mailer", "right") + "\t503 "}},
		"NoAuth":           {Options{}, []string{plain("mailer", "right") + "\t502 "}},
		"NestedMail":       {dev, []string{"MAIL FROM:<a@example.com>\t250 ", "MAIL FROM:<b@example.com>\t503 "}},
		"MailAfterReset":   {dev, []string{"MAIL FROM:<a@example.com>\t250 ", "RSET\t250 ", "MAIL FROM:<b@example.com>\t250 "}},
		"SenderEmpty":      {dev, []string{"MAIL FROM:<>\t553 <> Invalid email address$"}},
		"SenderNoDomain":   {dev, []string{"MAIL FROM:<a@>\t501 "}},
		"SenderBadDomain":  {dev, []string{"MAIL FROM:<a@exa_mple!.com>\t553 <a@exa_mple!.com> Invalid email address$"}},
		"SenderTwoAts":     {dev, []string{"MAIL FROM:<a@b@example.com>\t553 "}},
		"SenderControl":    {dev, []string{"MAIL FROM:<\"a\rDATA\"@example.com>\t553 <a DATA@example.com> Invalid email address$"}},
		"SenderNUL":        {dev, []string{"MAIL FROM:<a\x00@example.com>\t553 <a?@example.com> Invalid"}},
		"SenderNonASCII":   {dev, []string{"MAIL FROM:<jürgen@example.com> SMTPUTF8\t553 "}},
		"SenderLong":       {dev, []string{"MAIL FROM:<" + strings.Repeat("a", 400) + "@example.com>\t553 "}},
		"RecipientUnknown": {dev, []string{"MAIL FROM:<a@example.com>\t250 ", "RCPT TO:<b@exam ple>\t501 ", "RCPT TO:<b@-,>\t553 <b@-,> address unknown$"}},
		"SizeTooLarge":     {dev, []string{"MAIL FROM:<a@example.com> SIZE=41943041\t552 "}},
		"DataFirst":        {dev, []string{"DATA\t502 ", "MAIL FROM:<a@example.com>\t250 ", "DATA\t502 "}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := start(t, test.o).dial()
			k.hello()
			for _, line := range test.lines {
				cmd, want, _ := strings.Cut(line, "\t")
				if whole, ok := strings.CutSuffix(want, "$"); ok {
					want = whole + "\r\n"
				}
				k.cmd(cmd, want)
			}
		})
	}
}

func TestQuotedLocalPart(t *testing.T) {
	t.Parallel()
	b := start(t, Options{})
	k := b.dial()
	k.hello()
	k.cmd(`MAIL FROM:<"a b\"c"@example.com>`, "250 ")
	k.cmd(`RCPT TO:<"b"@Example.org>`, "250 ")
	k.cmd("DATA", "354 ")
	k.cmd(testMail+".", "250 Ok ")
	got := b.rec.one(t)
	if got.From != `"a b\"c"@example.com` || got.To[0] != "b@Example.org" {
		t.Errorf("from %s to %s", got.From, got.To)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		err    error
		want   string
		logged bool
	}{
		"Rejected": {
			sestina.SESErrorf("MessageRejected", "MessageRejected", "Email address is not verified. The following identities failed the check in region EU-WEST-1: a@example.com"),
			"554 Message rejected: Email address is not verified. The following identities failed the check in region EU-WEST-1: a@example.com\r\n", false,
		},
		"Invalid":     {sestina.Errorf("InvalidParameterValue", "Missing required header 'From'."), "554 Transaction failed: Missing required header 'From'.\r\n", false},
		"NoSet":       {sestina.Errorf("ConfigurationSetDoesNotExist", "Configuration set <x> does not exist."), "554 Transaction failed: Configuration set <x> does not exist.\r\n", false},
		"Rate":        {sestina.Errorf("Throttling", "Maximum sending rate exceeded."), "454 Throttling failure: Maximum sending rate exceeded\r\n", false},
		"Quota":       {sestina.Errorf("Throttling", "Daily message quota exceeded."), "454 Throttling failure: Daily message quota exceeded\r\n", false},
		"Denied":      {sestina.Errorf("AccessDenied", "User `U' is not authorized to perform `ses:SendRawEmail' on resource `R'"), "554 Access denied: User `U' is not authorized to perform `ses:SendRawEmail' on resource `R'\r\n", false},
		"Wrapped":     {fmt.Errorf("accept: %w", sestina.Errorf("MessageRejected", "no")), "554 Message rejected: no\r\n", false},
		"Unavailable": {fmt.Errorf("accept message: %w", store.ErrUnavailable), "451 Temporary service failure\r\n", true},
		"Internal":    {errors.New("secret detail"), "451 Temporary service failure\r\n", true},
		"Fault":       {&sestina.Error{Code: "Odd", Message: "secret detail", Status: 500}, "451 Temporary service failure\r\n", true},
		"Injection":   {sestina.Errorf("InvalidParameterValue", "a\r\n250 Ok stolen\x00\u00e9"), "554 Transaction failed: a  250 Ok stolen??\r\n", false},
		"Long":        {sestina.Errorf("MessageRejected", "%s", strings.Repeat("x", 2000)), "554 Message rejected: " + strings.Repeat("x", 500-len("Message rejected: ")-3) + "...\r\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := start(t, Options{})
			b.rec.answer = func(taken) error { return test.err }
			k := b.dial()
			k.hello()
			k.envelope()
			k.cmd(testMail+".", test.want)
			if logged := strings.Contains(b.log.String(), "not accepted"); logged != test.logged {
				t.Errorf("logged %v, want %v", logged, test.logged)
			}
			k.cmd("MAIL FROM:<a@example.com>", "250 ") // the connection is still good
			if n := b.srv.buffer.Load(); n != 0 {
				t.Errorf("%d bytes are still counted", n)
			}
		})
	}
}

// Without AUTH the sender is the account itself.
func TestAnonymous(t *testing.T) {
	t.Parallel()
	b := start(t, Options{})
	k := b.dial()
	k.cmd("HELO \x01odd", "250 ")
	k.envelope()
	k.cmd(testMail+".", "250 Ok ")
	got := b.rec.one(t).Session
	want := Session{Scope: testScope, UserName: "root", PrincipalARN: "arn:aws:iam::123456789012:root", HELO: "?odd"}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// What an acceptor does is not undone because the client went away.
func TestAcceptOutlivesTheClient(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}), make(chan struct{})
	ended := make(chan error, 1)
	b := start(t, Options{Acceptor: acceptorFunc(func(ctx context.Context) error {
		close(entered)
		<-leave
		ended <- ctx.Err()
		return nil
	})})
	k := b.dial()
	k.hello()
	k.envelope()
	k.send(testMail + ".\r\n")
	<-entered
	_ = k.conn.Close()
	close(leave)
	if err := <-ended; err != nil {
		t.Errorf("the acceptor's context ended: %v", err)
	}
}

// A fault of the program costs one connection, not the server.
func TestAcceptorPanics(t *testing.T) {
	t.Parallel()
	b := start(t, Options{})
	b.mayPanic = true
	b.rec.answer = func(m taken) error {
		if m.From == "panic@example.com" {
			panic("oh")
		}
		return nil
	}
	k := b.dial()
	k.hello()
	k.cmd("MAIL FROM:<panic@example.com>", "250 ")
	k.cmd("RCPT TO:<b@example.org>", "250 ")
	k.cmd("DATA", "354 ")
	k.cmd(testMail+".", "421 ")
	k.ended()
	if n := b.srv.buffer.Load(); n != 0 {
		t.Errorf("%d bytes are still counted", n)
	}
	k = b.dial()
	k.hello()
	k.envelope()
	k.cmd(testMail+".", "250 Ok ")
	k.cmd("QUIT", "221 ")
	// The reply comes before the log line; the end of the server after both.
	if err := b.srv.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.log.String(), `level=ERROR msg="smtp: panic`) {
		t.Errorf("the log says %q", b.log.String())
	}
}

type acceptorFunc func(ctx context.Context) error

func (f acceptorFunc) AcceptSMTP(ctx context.Context, _ Session, _ string, _ []string, _ []byte) (string, error) {
	return "id", f(ctx)
}
