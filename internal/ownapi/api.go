package ownapi

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sestina-mail/sestina/internal/clock"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// Prefix begins every path of the API.
const Prefix = "/sestina/v1/"

//go:embed openapi.json
var openAPI []byte

// Options are what an API needs; members are required unless they say
// otherwise.
type Options struct {
	Store  store.Store
	Clock  *clock.Clock
	Logger *slog.Logger
	Sets   *store.Documents[sestina.ConfigurationSet]
	// SubscriptionName describes the target of a notification (protocol and
	// endpoint) for timelines, or returns "".
	SubscriptionName func(id sestina.ID) string
	// Shared says that other nodes use the same store: calls that wait then look
	// for what came from them twice a second.
	Shared bool
	// Authorize checks a call in serve and returns an error to refuse it. Nil
	// (dev) lets unsigned calls in and guards by Host and Origin.
	Authorize func(w http.ResponseWriter, r *http.Request) error
	// Hosts are host names under which the API may be called in dev, besides
	// loopback names and addresses.
	Hosts []string

	// The following are for dev; nil answers 404.

	// Reset empties everything but the control plane.
	Reset func(ctx context.Context) error
	// Simulate causes an outcome for a message as if it had really happened.
	Simulate func(ctx context.Context, m *store.Message, kind, recipient string) error
	// Advance moves the clock forward.
	Advance func(ctx context.Context, d time.Duration) error
}

// An API serves the paths under Prefix. It is a store.Listener.
type API struct {
	Options
	live live
	mux  *http.ServeMux
}

// New returns an API; subscribe it to the store.
func New(o Options) *API {
	a := &API{Options: o, mux: http.NewServeMux()}
	for pattern, h := range a.routes() {
		method, path, _ := strings.Cut(pattern, " ")
		a.mux.HandleFunc(method+" "+Prefix+path, a.handle(h))
	}
	return a
}

// routes are all paths, relative to Prefix. openapi.json describes each.
func (a *API) routes() map[string]handler {
	r := map[string]handler{
		"GET openapi.json":                    a.getOpenAPI,
		"GET messages":                        a.listMessages,
		"GET messages/{id}":                   a.getMessage,
		"GET messages/{id}/raw":               a.getRaw,
		"GET messages/{id}/attachments/{n}":   a.getAttachment,
		"GET messages/{id}/timeline":          a.getTimeline,
		"GET events":                          a.listEvents,
		"GET events/stream":                   a.streamEvents,
		"GET dead-letters":                    a.listDeadLetters,
		"POST dead-letters/redrive":           a.redrive,
		"GET event-destinations/{set}/{name}": a.getDestination,
	}
	if a.Reset != nil {
		r["POST reset"] = a.postReset
	}
	if a.Simulate != nil {
		r["POST messages/{id}/simulate"] = a.postSimulate
	}
	if a.Advance != nil {
		r["POST clock"] = a.postClock
	}
	return r
}

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := a.guard(w, r); err != nil {
		writeError(w, err)
		return
	}
	if r.ContentLength != 0 {
		// A connection without deadlines (tests) has no slow senders either.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout)) //permit:time.Now network timeout
	}
	a.mux.ServeHTTP(w, r)
}

// bodyTimeout is how long a caller may take to send its small body, or to take
// one event of a stream.
const bodyTimeout = 30 * time.Second

// guard refuses what must not reach the API: in serve what Authorize refuses,
// in dev a Host that is not ours (DNS rebinding) and an Origin that is not the
// Host (another site's page).
func (a *API) guard(w http.ResponseWriter, r *http.Request) error {
	if a.Authorize != nil {
		return a.Authorize(w, r)
	}
	if !a.ownHost(r.Host) {
		return &refusal{http.StatusForbidden, "ForeignHost", fmt.Sprintf("The host %q is not one of this server's: call it by its address, or set public-url.", r.Host)}
	}
	if o := r.Header.Get("Origin"); o != "" {
		if u, err := url.Parse(o); err != nil || u.Host != r.Host {
			return &refusal{http.StatusForbidden, "ForeignOrigin", "Pages of other sites may not call this API."}
		}
	}
	return nil
}

func (a *API) ownHost(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") || net.ParseIP(host) != nil {
		return true
	}
	for _, h := range a.Hosts {
		if strings.EqualFold(h, host) {
			return true
		}
	}
	return false
}

// A handler answers with a value that is written as JSON, or writes itself and
// returns nil.
type handler func(w http.ResponseWriter, r *http.Request) (any, error)

// A refusal is an error for the caller.
type refusal struct {
	status        int
	Code, Message string
}

func (e *refusal) Error() string { return e.Code + ": " + e.Message }

func badRequest(format string, args ...any) error {
	return &refusal{http.StatusBadRequest, "BadRequest", fmt.Sprintf(format, args...)}
}

func (a *API) handle(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := h(w, r)
		if err != nil {
			var no *refusal
			if !errors.As(err, &no) && r.Context().Err() == nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrUnavailable) {
				a.Logger.Error("own API call failed", "path", r.URL.Path, "error", err)
			}
			writeError(w, err)
			return
		}
		if v != nil {
			writeJSON(w, http.StatusOK, v)
		}
	}
}

func writeError(w http.ResponseWriter, err error) {
	var no *refusal
	var ours *sestina.Error
	switch {
	case errors.As(err, &no):
	case errors.As(err, &ours):
		no = &refusal{max(ours.Status, http.StatusBadRequest), ours.Code, ours.Message}
	case errors.Is(err, store.ErrNotFound):
		no = &refusal{http.StatusNotFound, "NotFound", "There is no such message, event or destination (any more)."}
	case errors.Is(err, store.ErrUnavailable):
		no = &refusal{http.StatusServiceUnavailable, "ServiceUnavailable", "The storage cannot take the call now; try again."}
	default:
		no = &refusal{http.StatusInternalServerError, "InternalFailure", "The call failed; the log says why."}
	}
	writeJSON(w, no.status, map[string]string{"code": no.Code, "message": no.Message})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // the caller went away
}

func (a *API) getOpenAPI(w http.ResponseWriter, _ *http.Request) (any, error) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(openAPI) // the caller went away
	return nil, nil
}

// query reads typed query parameters and remembers the first fault.
type query struct {
	values url.Values
	err    error
}

func (q *query) fault(name, want string) {
	if q.err == nil {
		q.err = badRequest("The parameter %s must be %s, not %q.", name, want, q.values.Get(name))
	}
}

func (q *query) text(name string) string { return q.values.Get(name) }

func (q *query) number(name string, def, most int) int {
	s := q.values.Get(name)
	if s == "" {
		return def
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > most {
		q.fault(name, fmt.Sprintf("a number from 1 to %d", most))
		return def
	}
	return n
}

func (q *query) time(name string) time.Time {
	s := q.values.Get(name)
	if s == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		q.fault(name, "a time such as 2026-03-03T10:15:00Z")
	}
	return t
}

func (q *query) duration(name string, most time.Duration) time.Duration {
	s := q.values.Get(name)
	if s == "" {
		return 0
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > most {
		q.fault(name, "a duration up to "+most.String())
		return 0
	}
	return d
}

func (q *query) id(name string) sestina.ID {
	s := q.values.Get(name)
	if s == "" {
		return sestina.ID{}
	}
	id, err := sestina.ParseID(s)
	if err != nil {
		q.fault(name, "an id that this API returned")
	}
	return id
}

func (q *query) scope() sestina.Scope {
	return sestina.Scope{Account: q.text("account"), Region: q.text("region")}
}

// only refuses parameters that the path does not know.
func (q *query) only(names ...string) error {
	for n := range q.values {
		known := false
		for _, k := range names {
			known = known || k == n
		}
		if !known {
			return badRequest("Unknown parameter %s; known are: %s.", n, strings.Join(names, ", "))
		}
	}
	return q.err
}
