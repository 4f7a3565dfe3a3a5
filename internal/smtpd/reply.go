package smtpd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/emersion/go-smtp"

	"github.com/sestina-mail/sestina/internal/sestina"
)

// maxReply is the longest text of a reply: the line with code and line end
// stays below 512 octets. rfc5321#4.5.3.1.5
const maxReply = 500

// reply returns a reply with a text of SES, which has no enhanced codes.
func reply(code int, format string, args ...any) *smtp.SMTPError {
	return &smtp.SMTPError{Code: code, EnhancedCode: smtp.NoEnhancedCode, Message: clean(fmt.Sprintf(format, args...))}
}

func formatReply(r *smtp.SMTPError) string { return fmt.Sprintf("%d %s\r\n", r.Code, r.Message) }

// clean makes text fit for one line of a reply: printable ASCII, not too long.
func clean(text string) string {
	text = printable(text)
	if len(text) > maxReply {
		text = text[:maxReply-3] + "..."
	}
	return text
}

// printable replaces every character that is not printable ASCII.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\r' || r == '\n' || r == '\t':
			return ' '
		case r < ' ' || r > '~':
			return '?'
		}
		return r
	}, s)
}

var (
	errTemporary = reply(451, "Temporary service failure")
	errShutdown  = reply(421, "Service shutting down")
	errTooLong   = reply(552, "Message is too long.")
)

// refusal turns what an Acceptor answered into a reply. Errors that are not
// refusals are logged here, once. ses-guide:smtp-response-codes
func (s *Server) refusal(err error) *smtp.SMTPError {
	var e *sestina.Error
	if !errors.As(err, &e) || e.Status >= 500 {
		level := slog.LevelError
		var u interface{ Unavailable() bool }
		if errors.As(err, &u) && u.Unavailable() || errors.Is(err, context.Canceled) {
			level = slog.LevelWarn
		}
		s.o.Logger.Log(s.ctx, level, "smtp: message not accepted", slog.Any("error", err))
		return errTemporary
	}
	switch e.Code {
	case "MessageRejected":
		return reply(554, "Message rejected: %s", e.Message)
	case "Throttling", "ThrottlingException", "TooManyRequestsException":
		return reply(454, "Throttling failure: %s", strings.TrimSuffix(e.Message, "."))
	case "AccessDenied", "AccessDeniedException":
		return reply(554, "Access denied: %s", e.Message)
	case "ServiceUnavailable", "InternalFailure":
		return errTemporary
	}
	return reply(554, "Transaction failed: %s", e.Message)
}

// readFault turns an error of reading a message into a reply.
func readFault(err error) *smtp.SMTPError {
	var r *smtp.SMTPError
	switch {
	case errors.Is(err, smtp.ErrDataTooLarge):
		return errTooLong
	case errors.As(err, &r):
		return r
	case errors.Is(err, smtp.ErrTooLongLine):
		return reply(554, "Transaction failed: A line of the message is longer than %d bytes.", maxLine)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return reply(451, "Timeout waiting for data from client")
	}
	return reply(451, "Message transmission aborted")
}
