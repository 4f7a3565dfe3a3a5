package deliver

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/sestina-mail/sestina/internal/bounce"
)

// A transaction is one message on one connection: MAIL, RCPT, DATA.
type transaction struct {
	s    *session
	job  *Job
	done []bounce.Outcome // who got an answer of their own, not stamped
	left []string         // who did not
	// again are recipients that this transaction could not take and the next
	// one on the same connection can. rfc5321#4.5.3.1.10
	again []string
	// sent says that the end of the message was written: only the server knows
	// whether it took the message.
	sent bool
}

// run carries the transaction out. A failure concerns the recipients in left
// and, when it is lost, the connection. An error is our own: the body cannot be
// read; the connection is of no more use.
func (t *transaction) run(ctx context.Context) (*failure, error) {
	if f := t.acceptable(); f != nil {
		return f, nil
	}
	accepted, f := t.envelope()
	if f != nil || len(accepted) == 0 {
		return f, nil
	}
	t.left = accepted
	r, f := t.s.cmd(t.s.t.Data, "DATA", "the reply to DATA")
	if f == nil && r.code != 354 {
		f = refusal(r)
	}
	if f != nil {
		return f, nil
	}
	return t.data(ctx)
}

// acceptable says beforehand what the server said in EHLO that it refuses.
func (t *transaction) acceptable() *failure {
	refuse := func(code int, status, text string) *failure {
		return &failure{outcome: bounce.Outcome{Kind: bounce.Failed, Code: code, Enhanced: status, Text: text}}
	}
	// rfc1870#6.1
	if n, err := strconv.ParseInt(t.s.ext["SIZE"], 10, 64); err == nil && n > 0 && t.job.Message.Size > n {
		return refuse(552, "5.3.4", fmt.Sprintf("Message size exceeds the %d bytes that %s takes", n, t.s.host))
	}
	// rfc6531#3.5
	if t.utf8() && !t.s.offers("SMTPUTF8") {
		return refuse(550, "5.6.7", "Address has characters that need SMTPUTF8, which "+t.s.host+" does not offer")
	}
	for _, a := range append([]string{t.job.From}, t.job.Recipients...) {
		if strings.ContainsAny(a, "\r\n<>\x00") {
			return refuse(501, "5.1.3", "Bad address syntax")
		}
	}
	return nil
}

func (t *transaction) utf8() bool {
	for _, a := range append([]string{t.job.From}, t.job.Recipients...) {
		for i := range len(a) {
			if a[i] >= 0x80 {
				return true
			}
		}
	}
	return false
}

// mail is the MAIL command with the parameters the server knows. A message is
// always declared as 8BITMIME where that is offered: it may be.
func (t *transaction) mail() string {
	c := "MAIL FROM:<" + t.job.From + ">"
	if t.s.offers("SIZE") && t.job.Message.Size > 0 {
		c += " SIZE=" + strconv.FormatInt(t.job.Message.Size, 10)
	}
	if t.s.offers("8BITMIME") {
		c += " BODY=8BITMIME"
	}
	if t.utf8() {
		c += " SMTPUTF8"
	}
	return c
}

// envelope names sender and recipients and returns the accepted ones. Where
// PIPELINING is offered the commands go in one write and the replies are read
// in order; a used connection is reset first, which also tells whether it is
// still alive. rfc2920#3.1
func (t *transaction) envelope() (accepted []string, f *failure) {
	var commands []string
	if !t.s.clean {
		commands = append(commands, "RSET")
	}
	head := len(commands)
	t.s.clean = false
	t.s.used++
	commands = append(commands, t.mail())
	recipients := t.left
	for _, r := range recipients {
		commands = append(commands, "RCPT TO:<"+r+">")
	}
	pipelining := t.s.offers("PIPELINING")
	if pipelining {
		_, err := t.s.bw.WriteString(strings.Join(commands, "\r\n") + "\r\n")
		if err == nil {
			err = t.s.bw.Flush()
		}
		if err != nil {
			return nil, broken("the reply to "+verb(commands[0]), err)
		}
	}
	t.left = nil
	var mailRefused *failure
	for i, c := range commands {
		doing := "the reply to " + verb(c)
		var r reply
		if pipelining {
			r, f = t.s.read(t.s.t.Command, doing)
		} else {
			r, f = t.s.cmd(t.s.t.Command, c, doing)
		}
		if f == nil && !r.positive() {
			f = refusal(r)
		}
		if i <= head { // RSET or MAIL
			if f != nil && (f.lost || !pipelining || i < head) {
				t.left = recipients
				f.lost = f.lost || i < head // a connection that cannot be reset
				return nil, f
			}
			if f != nil {
				mailRefused = f // the replies to RCPT are under way
			}
			continue
		}
		to := recipients[i-head-1]
		switch {
		case f != nil && f.lost:
			t.left = append(append(t.left, accepted...), recipients[i-head-1:]...)
			return nil, f
		case mailRefused != nil:
			t.left = append(t.left, to)
		case f == nil:
			accepted = append(accepted, to)
		case len(accepted) > 0 && tooMany(f.outcome):
			t.again = append(t.again, to)
		default:
			f.outcome.Recipient = to
			t.done = append(t.done, f.outcome)
		}
	}
	if mailRefused != nil {
		return nil, mailRefused
	}
	return accepted, nil
}

func verb(command string) string {
	v, _, _ := strings.Cut(command, ":")
	v, _, _ = strings.Cut(v, "\r")
	return v
}

// tooMany reports whether a refused recipient was one too many for the
// transaction rather than unwelcome. rfc5321#4.5.3.1.10
func tooMany(o bounce.Outcome) bool {
	return (o.Code == 452 || o.Code == 552) &&
		(o.Enhanced == "4.5.3" || o.Enhanced == "5.5.3" || strings.Contains(strings.ToLower(o.Text), "too many recipients"))
}

// data sends the message and waits for the final reply.
func (t *transaction) data(ctx context.Context) (*failure, error) {
	body, err := t.job.Open(ctx)
	if err != nil {
		return nil, fmt.Errorf("open body of message %s: %w", t.job.Message.ID, err)
	}
	defer func() { _ = body.Close() }() // it was only read
	w := &dotWriter{w: t.s.bw}
	src := &source{r: body}
	if _, err := io.CopyBuffer(w, src, make([]byte, 32<<10)); err != nil {
		if src.err != nil {
			return nil, fmt.Errorf("read body of message %s: %w", t.job.Message.ID, src.err)
		}
		return t.interrupted(err), nil
	}
	if err := w.finish(); err != nil {
		return t.interrupted(err), nil
	}
	t.sent = true
	t.s.waitFinal(true)
	defer t.s.waitFinal(false)
	if err := w.dot(); err != nil {
		return lastReplyLost(err), nil
	}
	r, f := t.s.read(t.s.t.Final, "the reply to the message")
	switch {
	case f != nil:
		return lastReplyLost(f.cause), nil
	case !r.positive():
		return refusal(r), nil
	}
	var o bounce.Outcome
	o.SetReply(r.code, r.lines)
	o.Kind = bounce.Delivered
	t.done = append(t.done, all(t.left, o)...)
	t.left = nil
	return nil, nil
}

// interrupted is the failure of a message that could not be written. Servers
// that have seen enough say why before they close.
func (t *transaction) interrupted(err error) *failure {
	if !isTimeout(err) {
		if r, f := t.s.read(t.s.t.Command, "a reason"); f == nil && r.code >= 400 {
			f := refusal(r)
			f.lost = true
			return f
		}
	}
	return broken("the server to take the message", err)
}

// lastReplyLost is the failure that leaves everything open.
func lastReplyLost(err error) *failure {
	return broken("the reply to the message; it may have been delivered", err)
}

// waitFinal says that the final reply is waited for: the end of the context
// leaves it the grace period.
func (s *session) waitFinal(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.final = on
}

// source tells errors of reading from those of writing.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF { // io.Reader returns io.EOF itself
		s.err = err
	}
	return n, err
}
