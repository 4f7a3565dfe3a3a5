package sestina

import (
	"errors"
	"fmt"
)

// An Error is a refusal that a client is told about: a code from the API
// models and a text that says what to do. Package awswire turns it into the
// body of each protocol; smtpd turns it into a reply. Any other error reaching
// an edge is an internal failure and is logged there, once.
type Error struct {
	// Code is the error as the service's own API names it: the `Code` of the
	// query protocol (MessageRejected, NotFound) or the shape name of a JSON
	// service (ResourceNotFoundException).
	Code string
	// REST is the exception name of the SES v2 API where it differs from Code,
	// such as BadRequestException. Empty means the same as Code.
	REST string
	// Message is the text for the client. It never holds secrets or bodies.
	Message string
	// Status is the HTTP status. Zero means the one the API model gives the
	// code, else 400.
	Status int
}

// Error returns code and message.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Is reports whether target is an *Error with the same Code, so that
// errors.Is(err, &Error{Code: "NotFound"}) works.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// Errorf returns an *Error with the code and a formatted message.
func Errorf(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// SESErrorf returns an *Error with the code that SES v1 uses, the exception
// that SES v2 uses for the same fault, and a formatted message.
func SESErrorf(v1, v2, format string, args ...any) *Error {
	return &Error{Code: v1, REST: v2, Message: fmt.Sprintf(format, args...)}
}

// CodeOf returns the Code of the *Error in err's chain, or "".
func CodeOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}
