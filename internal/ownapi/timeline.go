package ownapi

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/sestina-mail/sestina/internal/event"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// attemptView is one try of a hop.
type attemptView struct {
	N          int    `json:"n"`
	Timestamp  string `json:"timestamp"`
	TookMillis int64  `json:"tookMillis"`
	Answer     string `json:"answer"`
}

// hopView is one unit of work: a delivery, a publication to an event
// destination, or a notification to a subscription.
type hopView struct {
	ID          string        `json:"id"`
	Kind        string        `json:"kind"`
	Target      string        `json:"target,omitempty"` // domain, destination name, or protocol and endpoint
	State       string        `json:"state"`            // waiting, done or dead
	Attempts    int           `json:"attempts"`
	Answer      string        `json:"answer,omitempty"`      // of the last attempt
	NextAttempt string        `json:"nextAttempt,omitempty"` // while waiting
	FinishedAt  string        `json:"finishedAt,omitempty"`
	Failed      []attemptView `json:"failed,omitempty"` // earlier attempts
	Hops        []hopView     `json:"hops,omitempty"`   // notifications of a publication
}

type timelineEvent struct {
	ID           string          `json:"id"`
	Type         string          `json:"type"`
	Timestamp    string          `json:"timestamp"`
	Object       json.RawMessage `json:"object"`
	Publications []hopView       `json:"publications"`
}

type timelineView struct {
	Message    messageView     `json:"message"`
	Deliveries []hopView       `json:"deliveries"`
	Events     []timelineEvent `json:"events"`
}

var (
	kindNames  = map[store.Kind]string{store.KindDelivery: "delivery", store.KindPublication: "publication", store.KindNotification: "notification"}
	stateNames = map[store.State]string{store.Waiting: "waiting", store.Done: "done", store.Dead: "dead"}
)

// getTimeline answers with all that happened to a message: its deliveries, its
// events, and per event every attempt at every hop with its answer.
func (a *API) getTimeline(_ http.ResponseWriter, r *http.Request) (any, error) {
	m, err := a.messageOf(r)
	if err != nil {
		return nil, err
	}
	out := timelineView{Deliveries: []hopView{}, Events: []timelineEvent{}}
	if out.Message, err = a.view(r.Context(), m); err != nil {
		return nil, err
	}
	units, err := a.Store.UnitsOfMessage(r.Context(), m.Scope, m.ID)
	if err != nil {
		return nil, fmt.Errorf("read work of message %s: %w", out.Message.ID, err)
	}
	hops, err := a.hops(r, m, units)
	if err != nil {
		return nil, err
	}
	notifications := map[sestina.ID][]hopView{} // by envelope, which has the publication's id
	for i, u := range units {
		if u.Kind == store.KindNotification {
			notifications[u.Envelope] = append(notifications[u.Envelope], hops[i])
		}
	}
	publications := map[sestina.ID][]hopView{} // by event
	for i, u := range units {
		switch u.Kind {
		case store.KindDelivery:
			out.Deliveries = append(out.Deliveries, hops[i])
		case store.KindPublication:
			hops[i].Hops = notifications[u.ID]
			publications[u.EventID] = append(publications[u.EventID], hops[i])
		}
	}
	events, err := a.Store.Events(r.Context(), store.EventFilter{Scope: m.Scope, MessageID: m.ID, Limit: 1000})
	if err != nil {
		return nil, fmt.Errorf("read events of message %s: %w", out.Message.ID, err)
	}
	for _, e := range events {
		te := timelineEvent{ID: e.ID.String(), Type: e.Type.RecordName(), Timestamp: event.Time(e.At), Object: e.Object, Publications: []hopView{}}
		te.Publications = append(te.Publications, publications[e.ID]...)
		out.Events = append(out.Events, te)
	}
	return out, nil
}

// hops shows units with their kept attempts.
func (a *API) hops(r *http.Request, m *store.Message, units []store.Unit) ([]hopView, error) {
	ids := make([]sestina.ID, len(units))
	for i, u := range units {
		ids[i] = u.ID
	}
	attempts, err := a.Store.Attempts(r.Context(), ids)
	if err != nil {
		return nil, fmt.Errorf("read attempts: %w", err)
	}
	failed := map[sestina.ID][]attemptView{}
	for _, t := range attempts {
		failed[t.Unit] = append(failed[t.Unit], attemptView{N: t.N, Timestamp: event.Time(t.At), TookMillis: t.Took.Milliseconds(), Answer: t.Answer})
	}
	out := make([]hopView, len(units))
	for i, u := range units {
		h := hopView{
			ID: u.ID.String(), Kind: kindNames[u.Kind], Target: a.target(m, u), State: stateNames[u.State],
			Attempts: u.Attempts, Answer: u.Answer, Failed: failed[u.ID],
		}
		if u.State == store.Waiting {
			h.NextAttempt = event.Time(u.Due)
		} else {
			h.FinishedAt = event.Time(u.FinishedAt)
		}
		out[i] = h
	}
	return out, nil
}

// target names what a unit goes to.
func (a *API) target(m *store.Message, u store.Unit) string {
	switch u.Kind {
	case store.KindNotification:
		return a.SubscriptionName(u.Target)
	case store.KindPublication:
		if set := a.Sets.Get(u.Scope, m.ConfigurationSet); set != nil {
			for _, d := range set.Destinations {
				if d.ID == u.Target {
					return d.Name
				}
			}
		}
		return ""
	}
	for i := len(u.Lane) - 1; i >= 0; i-- {
		if u.Lane[i] == '/' {
			return u.Lane[i+1:]
		}
	}
	return u.Lane
}
