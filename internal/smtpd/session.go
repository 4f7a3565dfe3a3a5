package smtpd

import (
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/sestina-mail/sestina/internal/auth"
	"github.com/sestina-mail/sestina/internal/message"
	"github.com/sestina-mail/sestina/internal/sestina"
)

// A session is one client from its EHLO to the end of its connection or to
// STARTTLS, which begins a new one. rfc3207#4.2
type session struct {
	srv  *Server
	conn *conn
	lib  *smtp.Conn

	// BDAT makes the library run Data beside its other calls.
	mu        sync.Mutex
	principal *auth.Principal // nil before AUTH
	open      bool            // MAIL was accepted
	from      string
	to        []string
	surplus   int // recipients beyond MaxRecipients
}

func (s *Server) newSession(c *smtp.Conn) (smtp.Session, error) {
	sess := &session{srv: s, conn: under(c.Conn()), lib: c}
	sess.conn.lib = c
	return sess, nil
}

func (s *session) isTLS() bool {
	_, ok := s.lib.TLSConnectionState()
	return ok
}

var errNeedTLS = reply(530, "Must issue a STARTTLS command first")

// Mail implements smtp.Session.
func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.srv.o.RequireTLS && !s.isTLS():
		return errNeedTLS
	case s.srv.o.RequireAuth && s.principal == nil:
		return reply(530, "Authentication required")
	case s.open:
		return reply(503, "Nested MAIL command")
	}
	addr, ok := envelopeAddress(from)
	if !ok {
		return reply(553, "<%s> Invalid email address", from)
	}
	if r := s.conn.begin(); r != nil {
		return r
	}
	s.open, s.from = true, addr
	return nil
}

// Rcpt implements smtp.Session.
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	addr, ok := envelopeAddress(to)
	if !ok {
		return reply(553, "<%s> address unknown", to)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(s.to) < s.srv.o.MaxRecipients:
		s.to = append(s.to, addr)
	case len(s.to)+s.surplus < maxEnvelope:
		s.surplus++
	default:
		return reply(452, "Too many recipients")
	}
	return nil
}

// envelopeAddress returns the address that the library parsed in envelope
// form. The library takes quotes away and lets through much that is no address.
func envelopeAddress(parsed string) (string, bool) {
	at := strings.LastIndexByte(parsed, '@')
	if at <= 0 || strings.IndexByte(parsed[:at], '@') >= 0 || len(parsed) > 320 {
		return "", false
	}
	raw := message.Address{Local: parsed[:at], Domain: parsed[at+1:]}.Addr()
	a, err := message.ParseAddress(raw)
	if err != nil || a.Name != "" {
		return "", false
	}
	return a.Addr(), true
}

// Data implements smtp.Session. A nil error would be answered with the
// library's own text, so success is a reply, too.
func (s *session) Data(r io.Reader) error {
	s.conn.receive()
	s.mu.Lock()
	from, to, surplus := s.from, s.to, s.surplus
	who := s.describe()
	s.mu.Unlock()
	if surplus > 0 {
		return reply(554, "Transaction failed: Recipient count exceeds %d.", s.srv.o.MaxRecipients)
	}

	data, held, err := s.srv.read(r)
	defer func() { s.srv.give(held) }()
	if err != nil {
		return readFault(err)
	}
	if _, chunks := r.(*io.PipeReader); chunks && s.conn.cutShort(s.lib.Conn()) {
		return readFault(io.ErrUnexpectedEOF)
	}
	id, err := s.srv.o.Acceptor.AcceptSMTP(s.srv.ctx, who, from, to, data)
	if err != nil {
		return s.srv.refusal(err)
	}
	s.conn.accepted()
	return reply(250, "Ok %s", id)
}

// read reads a message into memory that is counted, and returns how much of it
// was. Storage grows with what has arrived, not with what was announced, so an
// empty promise costs nothing.
func (s *Server) read(r io.Reader) (data []byte, held int64, err error) {
	const first = 32 << 10
	for {
		if len(data) == cap(data) {
			size := min(max(2*int64(cap(data)), first), s.o.MaxMessageBytes+1)
			if int64(len(data)) >= size {
				return nil, held, errTooLong
			}
			if !s.take(size) {
				return nil, held, errTemporary
			}
			grown := make([]byte, len(data), size)
			copy(grown, data)
			data = grown
			s.give(held)
			held = size
		}
		n, err := r.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		if err == io.EOF {
			if int64(len(data)) > s.o.MaxMessageBytes {
				return nil, held, errTooLong
			}
			return data, held, nil
		}
		if err != nil {
			return nil, held, err
		}
	}
}

// describe returns what the acceptor is told. s.mu is held.
func (s *session) describe() Session {
	d := Session{Scope: s.srv.o.Scope, UserName: auth.RootName, RemoteIP: s.conn.remote}
	if s.principal != nil {
		d.Scope.Account = s.principal.Account
		d.AccessKeyID = s.principal.AccessKeyID
		if s.principal.UserName != "" {
			d.UserName = s.principal.UserName
		}
	}
	d.PrincipalARN = auth.PrincipalARN(d.Scope.Account, d.UserName)
	d.HELO = printable(s.lib.Hostname())
	d.HELO = d.HELO[:min(len(d.HELO), 255)]
	if st, ok := s.lib.TLSConnectionState(); ok {
		d.TLSVersion = sestina.TLSVersionName(st.Version)
	}
	return d
}

// Reset implements smtp.Session.
func (s *session) Reset() {
	s.mu.Lock()
	s.open, s.from, s.to, s.surplus = false, "", nil, 0
	s.mu.Unlock()
	s.conn.finish()
}

// Logout implements smtp.Session.
func (s *session) Logout() error {
	s.conn.finish()
	return nil
}

// AuthMechanisms implements smtp.AuthSession.
func (s *session) AuthMechanisms() []string {
	if s.authFault() != nil {
		return nil
	}
	return []string{sasl.Plain, sasl.Login}
}

// authFault returns the reply to AUTH on a connection that is not fit for it.
func (s *session) authFault() *smtp.SMTPError {
	o := &s.srv.o
	switch {
	case o.Authenticator == nil:
		return reply(502, "Authentication not supported")
	case s.isTLS() || o.PlainAuth == PlainAuthAlways:
		return nil
	case o.PlainAuth == PlainAuthLoopback && s.conn.remote.IsLoopback() && !o.RequireTLS:
		return nil
	}
	return errNeedTLS
}

// Auth implements smtp.AuthSession.
func (s *session) Auth(mech string) (sasl.Server, error) {
	if r := s.authFault(); r != nil {
		return nil, r
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.principal != nil:
		return nil, reply(503, "Already authenticated")
	case s.open:
		return nil, reply(503, "AUTH not allowed during a mail transaction") // rfc4954#4
	}
	switch mech {
	case sasl.Plain:
		return &plainServer{check: s.login}, nil
	case sasl.Login:
		return &loginServer{check: s.login}, nil
	}
	return nil, reply(504, "Unrecognized authentication type")
}

var errCredentials = reply(535, "Authentication Credentials Invalid")

// login checks user and password. It returns a reply always: the library's own
// text for success is not what SES says.
func (s *session) login(user, password string) error {
	p, err := s.srv.o.Authenticator.AuthenticateSMTP(s.srv.ctx, user, password)
	if errors.Is(err, auth.ErrCredentials) {
		s.conn.authFailed()
		s.srv.o.Logger.Info("smtp: authentication failed", slog.String("remote", s.conn.remote.String()))
		return errCredentials
	}
	if err != nil {
		s.srv.o.Logger.Error("smtp: authentication not possible", slog.Any("error", err))
		return reply(454, "Temporary authentication failure")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.principal = &p
	return reply(235, "Authentication successful")
}
