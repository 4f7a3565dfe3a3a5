package ownapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sestina-mail/sestina/internal/event"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// eventView is an event with its record as destinations get it.
type eventView struct {
	ID        string          `json:"id"`
	MessageID string          `json:"messageId"`
	Type      string          `json:"type"` // as the API spells it: SEND, DELIVERY …
	Timestamp string          `json:"timestamp"`
	Record    json.RawMessage `json:"record"`
}

func (a *API) eventView(ctx context.Context, e *store.Event) (eventView, error) {
	v := eventView{ID: e.ID.String(), MessageID: sestina.MessageID(e.MessageID, e.Scope.Region), Type: string(e.Type), Timestamp: event.Time(e.At)}
	m, err := a.Store.Message(ctx, e.Scope, e.MessageID)
	if err != nil {
		return v, fmt.Errorf("read message %s: %w", v.MessageID, err)
	}
	v.Record, err = event.Record(e.Type, m.Mail, e.LateTags, e.Object)
	return v, err
}

// eventFilter reads the parameters that select events.
func eventFilter(q *query) store.EventFilter {
	f := store.EventFilter{Scope: q.scope(), Since: q.time("since"), Until: q.time("until"), After: q.id("after"), Limit: q.number("limit", 50, 1000)}
	if s := q.text("messageId"); s != "" {
		id, ok := sestina.ParseMessageID(s)
		if !ok {
			q.fault("messageId", "an SES message id")
		}
		f.MessageID = id
	}
	if s := q.text("type"); s != "" {
		for t := range strings.SplitSeq(s, ",") {
			if !sestina.EventType(t).Valid() {
				q.fault("type", "event types such as SEND,DELIVERY_DELAY")
			}
			f.Types = append(f.Types, sestina.EventType(t))
		}
	}
	return f
}

func fits(f *store.EventFilter, e *store.Event) bool {
	return (f.Scope.Account == "" || f.Scope == e.Scope) && (f.MessageID.IsZero() || f.MessageID == e.MessageID) &&
		(len(f.Types) == 0 || slices.Contains(f.Types, e.Type))
}

// listEvents answers with the events that fit, in order of their ids, which is
// that of time but not quite that of commits: two deliveries that end together
// may be stored the other way round. So paging with after is for what is over;
// to follow what happens there is the stream, and to wait for what a test
// expects there are wait and min.
func (a *API) listEvents(_ http.ResponseWriter, r *http.Request) (any, error) {
	q := &query{values: r.URL.Query()}
	f := eventFilter(q)
	wait, least := q.duration("wait", maxWait), q.number("min", 1, f.Limit)
	if err := q.only("account", "region", "messageId", "type", "since", "until", "after", "limit", "wait", "min"); err != nil {
		return nil, err
	}
	events, err := a.waitEvents(r.Context(), f, wait, least)
	if err != nil {
		return nil, err
	}
	out := struct {
		Events []eventView `json:"events"`
		Next   string      `json:"next,omitempty"` // give it as after
	}{Events: []eventView{}}
	for i := range events {
		v, err := a.eventView(r.Context(), &events[i])
		if err != nil {
			return nil, err
		}
		out.Events = append(out.Events, v)
	}
	if n := len(events); n > 0 {
		out.Next = events[n-1].ID.String()
	}
	return out, nil
}

// waitEvents returns what fits as soon as it is at least so many, at the latest
// after wait.
func (a *API) waitEvents(ctx context.Context, f store.EventFilter, wait time.Duration, least int) ([]store.Event, error) {
	if wait == 0 {
		return a.Store.Events(ctx, f)
	}
	live, stop := a.live.listen() // before the first look, so that none is missed
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		events, err := a.Store.Events(context.WithoutCancel(ctx), f)
		if err != nil || len(events) >= least {
			return events, err
		}
		select {
		case _, ok := <-live:
			if !ok {
				return events, nil
			}
		case <-a.otherNodes():
		case <-ctx.Done():
			return events, nil
		}
	}
}

// streamEvents sends new events as server-sent events until the caller goes
// away or is too far behind. https://html.spec.whatwg.org/#server-sent-events
func (a *API) streamEvents(w http.ResponseWriter, r *http.Request) (any, error) {
	q := &query{values: r.URL.Query()}
	f := eventFilter(q)
	if err := q.only("account", "region", "messageId", "type"); err != nil {
		return nil, err
	}
	events, stop := a.live.listen()
	defer stop()
	out := http.NewResponseController(w)
	send := func(format string, args ...any) error {
		// The stream has no end, but each event has to get through. A connection
		// without deadlines (tests) has no slow readers either.
		_ = out.SetWriteDeadline(time.Now().Add(bodyTimeout)) //permit:time.Now network timeout
		if _, err := fmt.Fprintf(w, format, args...); err != nil {
			return err
		}
		return out.Flush()
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	if err := send(": connected\n\n"); err != nil {
		return nil, fmt.Errorf("stream events: %w", err)
	}
	for {
		select {
		case e, ok := <-events:
			if !ok {
				return nil, nil
			}
			if !fits(&f, &e) {
				continue
			}
			v, err := a.eventView(r.Context(), &e)
			if err != nil {
				continue // deleted meanwhile
			}
			data, err := json.Marshal(v)
			if err != nil {
				return nil, nil
			}
			if send("id: %s\nevent: %s\ndata: %s\n\n", v.ID, v.Type, data) != nil {
				return nil, nil
			}
		case <-r.Context().Done():
			return nil, nil
		}
	}
}
