package ses

import (
	"context"
	"encoding/base64"
	"log/slog"

	"github.com/sestina-mail/sestina/internal/accept"
	"github.com/sestina-mail/sestina/internal/awswire"
	"github.com/sestina-mail/sestina/internal/clock"
	"github.com/sestina-mail/sestina/internal/publish"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// Options are what a Service needs; all members but those that say otherwise
// are required.
type Options struct {
	Store      store.Store
	Clock      *clock.Clock
	IDs        *sestina.IDs
	Logger     *slog.Logger
	Door       *accept.Door
	Sets       *store.Documents[sestina.ConfigurationSet]
	Identities *store.Documents[sestina.Identity]
	Accounts   *store.Documents[sestina.Account]
	// Destinations checks new event destinations. A kind without an entry is
	// checked for its form only.
	Destinations map[sestina.DestinationKind]publish.Destination
	// VerifyAtOnce makes new identities verified (dev).
	VerifyAtOnce bool
	// WakeLane tells the work engine that a publication lane may go on: its
	// event destination was enabled. Optional.
	WakeLane func(lane string)
}

// A Service serves both API versions. It may be used concurrently.
type Service struct{ Options }

// New returns a Service.
func New(o Options) *Service { return &Service{Options: o} }

// Register adds the handlers of both API versions to the mux.
func (s *Service) Register(m *awswire.Mux) {
	s.registerV1(m)
	s.registerV2(m)
}

// scopeOf returns the scope of the call in ctx.
func scopeOf(ctx context.Context) sestina.Scope { return awswire.CallFrom(ctx).Scope }

// invalid is SES's answer to input that is wrong in itself.
func invalid(format string, args ...any) error {
	return sestina.SESErrorf("InvalidParameterValue", "BadRequestException", format, args...)
}

// str returns the text behind p, or "".
func str(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

func isTrue(p *bool) bool { return p != nil && *p }

// optional returns nil for "".
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// Page tokens are the last name of the page before, so that a page stays right
// while names come and go.

func pageToken(last string) *string {
	return new(base64.RawURLEncoding.EncodeToString([]byte(last)))
}

func pageStart(token *string) (string, error) {
	b, err := base64.RawURLEncoding.DecodeString(str(token))
	if err != nil {
		return "", sestina.SESErrorf("InvalidParameterValue", "BadRequestException", "The token provided is not valid.")
	}
	return string(b), nil
}

// pageSize returns the size asked for, bounded; def when none is.
func pageSize(asked *int32, def, most int) int {
	if asked == nil || *asked <= 0 {
		return def
	}
	return min(int(*asked), most)
}

// page lists one page of a kind of document.
func page[T any](docs *store.Documents[T], s sestina.Scope, token *string, size int) (names []string, values []*T, next *string, err error) {
	after, err := pageStart(token)
	if err != nil {
		return nil, nil, nil, err
	}
	names, values = docs.List(s, after, size+1)
	if len(names) > size {
		names, values = names[:size], values[:size]
		next = pageToken(names[size-1])
	}
	return names, values, next, nil
}
