package smtpd

import (
	"bytes"

	"github.com/emersion/go-smtp"
)

// A checker says how a login went; it never returns nil.
type checker func(user, password string) error

func errSASL() *smtp.SMTPError { return reply(501, "Malformed authentication exchange") }

// A plainServer is the server side of PLAIN. rfc4616#2
type plainServer struct{ check checker }

// Next implements sasl.Server.
func (p *plainServer) Next(response []byte) (challenge []byte, done bool, err error) {
	if response == nil {
		return nil, false, nil
	}
	parts := bytes.Split(response, []byte{0})
	if len(parts) != 3 || len(parts[1]) == 0 {
		return nil, false, errSASL()
	}
	// Nobody may act for somebody else.
	if len(parts[0]) > 0 && !bytes.Equal(parts[0], parts[1]) {
		return nil, false, errCredentials
	}
	return nil, true, p.check(string(parts[1]), string(parts[2]))
}

// A loginServer is the server side of LOGIN: user name, then password, as a
// mechanism without a specification is known to work (draft-murchison-sasl-login).
type loginServer struct {
	check checker
	named bool
	user  string
}

// Next implements sasl.Server.
func (l *loginServer) Next(response []byte) (challenge []byte, done bool, err error) {
	switch {
	case response == nil && !l.named:
		return []byte("Username:"), false, nil
	case response == nil:
		return nil, false, errSASL()
	case !l.named:
		if len(response) == 0 {
			return nil, false, errSASL()
		}
		l.named, l.user = true, string(response)
		return []byte("Password:"), false, nil
	}
	return nil, true, l.check(l.user, string(response))
}
