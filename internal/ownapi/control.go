package ownapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/sestina-mail/sestina/internal/event"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// MaxBody is the size of a JSON body of this API, in bytes.
const MaxBody = 64 << 10

func readBody(r *http.Request, v any) error {
	dec := json.NewDecoder(io.LimitReader(r.Body, MaxBody))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil && !errors.Is(err, io.EOF) {
		return badRequest("The body is not the JSON this call takes: %s.", err)
	}
	return nil
}

func (a *API) postReset(_ http.ResponseWriter, r *http.Request) (any, error) {
	if err := a.Reset(r.Context()); err != nil {
		return nil, fmt.Errorf("reset: %w", err)
	}
	return struct{}{}, nil
}

// simulations are the outcomes that can be caused.
var simulations = []string{"bounce", "complaint", "delay"}

func (a *API) postSimulate(_ http.ResponseWriter, r *http.Request) (any, error) {
	var in struct {
		Type      string `json:"type"`
		Recipient string `json:"recipient"` // default: the first
	}
	if err := readBody(r, &in); err != nil {
		return nil, err
	}
	if !slices.Contains(simulations, in.Type) {
		return nil, badRequest("type must be bounce, complaint or delay, not %q.", in.Type)
	}
	m, err := a.messageOf(r)
	if err != nil {
		return nil, err
	}
	if in.Recipient == "" {
		in.Recipient = m.Recipients[0]
	}
	if !slices.Contains(m.Recipients, in.Recipient) {
		return nil, badRequest("The message has no recipient %q.", in.Recipient)
	}
	if err := a.Simulate(r.Context(), m, in.Type, in.Recipient); err != nil {
		return nil, fmt.Errorf("simulate %s of message %s: %w", in.Type, r.PathValue("id"), err)
	}
	return struct{}{}, nil
}

func (a *API) postClock(_ http.ResponseWriter, r *http.Request) (any, error) {
	var in struct {
		Advance string `json:"advance"` // such as 90m
	}
	if err := readBody(r, &in); err != nil {
		return nil, err
	}
	d, err := time.ParseDuration(in.Advance)
	if err != nil || d < 0 {
		return nil, badRequest("advance must be a duration such as 90m: the clock only goes forward.")
	}
	if err := a.Advance(r.Context(), d); err != nil {
		return nil, fmt.Errorf("advance the clock by %s: %w", d, err)
	}
	return map[string]string{"now": event.Time(a.Clock.Now())}, nil
}

type deadLetter struct {
	hopView
	MessageID string `json:"messageId,omitempty"`
	Account   string `json:"account"`
	Region    string `json:"region"`
}

func kindOf(name string) (store.Kind, error) {
	for k, n := range kindNames {
		if n == name {
			return k, nil
		}
	}
	return 0, badRequest("kind must be delivery, publication or notification, not %q.", name)
}

// scopeParam returns the scope of a call that must name one.
func (q *query) needScope() (sestina.Scope, error) {
	s := q.scope()
	if s.Account == "" || s.Region == "" {
		return s, badRequest("The parameters account and region are required.")
	}
	return s, nil
}

func (a *API) listDeadLetters(_ http.ResponseWriter, r *http.Request) (any, error) {
	q := &query{values: r.URL.Query()}
	kind, err := kindOf(q.text("kind"))
	if err != nil {
		return nil, err
	}
	scope, err := q.needScope()
	if err != nil {
		return nil, err
	}
	after, limit := q.id("after"), q.number("limit", 50, 1000)
	if err := q.only("account", "region", "kind", "after", "limit"); err != nil {
		return nil, err
	}
	units, err := a.Store.DeadUnits(r.Context(), scope, kind, "", after, limit)
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	out := struct {
		DeadLetters []deadLetter `json:"deadLetters"`
		Next        string       `json:"next,omitempty"`
	}{DeadLetters: []deadLetter{}}
	for _, u := range units {
		m, err := a.Store.Message(r.Context(), u.Scope, u.MessageID)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, fmt.Errorf("read message of dead letter %s: %w", u.ID, err)
		}
		hops, err := a.hops(r, &m, []store.Unit{u})
		if err != nil {
			return nil, err
		}
		d := deadLetter{hopView: hops[0], Account: u.Scope.Account, Region: u.Scope.Region}
		if !u.MessageID.IsZero() {
			d.MessageID = sestina.MessageID(u.MessageID, u.Scope.Region)
		}
		out.DeadLetters = append(out.DeadLetters, d)
	}
	if len(units) == limit {
		out.Next = units[limit-1].ID.String()
	}
	return out, nil
}

// redrive makes dead letters wait again: the named ones, or all of a kind.
func (a *API) redrive(_ http.ResponseWriter, r *http.Request) (any, error) {
	var in struct {
		Account string       `json:"account"`
		Region  string       `json:"region"`
		Kind    string       `json:"kind"`
		IDs     []sestina.ID `json:"ids"`
	}
	if err := readBody(r, &in); err != nil {
		return nil, err
	}
	kind, err := kindOf(in.Kind)
	if err != nil {
		return nil, err
	}
	if in.Account == "" || in.Region == "" {
		return nil, badRequest("account and region are required.")
	}
	c := &store.Redrive{Kind: kind, Scope: sestina.Scope{Account: in.Account, Region: in.Region}, IDs: in.IDs, Now: a.Clock.Now()}
	if err := a.Store.Do(r.Context(), c); err != nil {
		return nil, fmt.Errorf("redrive dead letters: %w", err)
	}
	return map[string]int{"count": c.Count}, nil
}

// getDestination shows the health of one event destination.
func (a *API) getDestination(_ http.ResponseWriter, r *http.Request) (any, error) {
	q := &query{values: r.URL.Query()}
	scope, err := q.needScope()
	if err != nil {
		return nil, err
	}
	set, err := a.Sets.Find(r.Context(), scope, r.PathValue("set"))
	if err != nil {
		return nil, err
	}
	if set == nil || set.Destination(r.PathValue("name")) == nil {
		return nil, fmt.Errorf("event destination: %w", store.ErrNotFound)
	}
	d := set.Destination(r.PathValue("name"))
	lane := d.ID.String()
	backlog, err := a.Store.Backlog(r.Context(), store.KindPublication, lane)
	if err != nil {
		return nil, fmt.Errorf("count backlog of event destination %s: %w", d.Name, err)
	}
	st, err := a.Store.Lane(r.Context(), store.KindPublication, lane)
	if err != nil {
		return nil, fmt.Errorf("read state of event destination %s: %w", d.Name, err)
	}
	out := struct {
		Name         string `json:"name"`
		Enabled      bool   `json:"enabled"`
		State        string `json:"state"` // healthy, failing or paused
		FailingSince string `json:"failingSince,omitempty"`
		LastError    string `json:"lastError,omitempty"`
		Waiting      int    `json:"waiting"`
		Dead         int    `json:"dead"`
		Oldest       string `json:"oldest,omitempty"`
	}{Name: d.Name, Enabled: d.Enabled, State: "healthy", Waiting: backlog.Waiting, Dead: backlog.Dead, LastError: st.LastError}
	if !st.FailingSince.IsZero() {
		out.State, out.FailingSince = "failing", event.Time(st.FailingSince)
	}
	if st.Paused {
		out.State = "paused"
	}
	if !backlog.Oldest.IsZero() {
		out.Oldest = event.Time(backlog.Oldest)
	}
	return out, nil
}
