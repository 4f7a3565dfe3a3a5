package publish

import (
	"fmt"
	"time"

	"github.com/sestina-mail/sestina/internal/event"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// An Outbox turns something that happened to a message into an event and its
// publications, as effects of the command that records what happened: so state
// and event are one transaction. Matching is decided here, when the event
// happens: one publication per enabled destination of the message's
// configuration set that lists the type. It may be used concurrently.
type Outbox struct {
	Sets *store.Documents[sestina.ConfigurationSet]
	IDs  *sestina.IDs
}

// Add adds an event of type t about message m, and one waiting publication per
// matching destination, to effects. lateTags are tags that came after
// acceptance, such as ses:outgoing-ip.
func (o *Outbox) Add(e *store.Effects, m *store.Message, t sestina.EventType, at time.Time, obj event.Object, lateTags event.Tags) error {
	object, err := event.Encode(obj)
	if err != nil {
		return fmt.Errorf("encode %s of message %s: %w", t, m.ID, err)
	}
	ev := store.Event{ID: o.IDs.New(at), Scope: m.Scope, MessageID: m.ID, Type: t, At: at, Object: object}
	if len(lateTags) > 0 {
		if ev.LateTags, err = lateTags.MarshalJSON(); err != nil {
			return fmt.Errorf("encode late tags of message %s: %w", m.ID, err)
		}
	}
	e.Events = append(e.Events, ev)
	if m.ConfigurationSet == "" {
		return nil
	}
	for _, d := range o.Sets.Get(m.Scope, m.ConfigurationSet).Match(t) {
		e.Units = append(e.Units, o.Publication(&ev, d, at))
	}
	return nil
}

// Publication returns a waiting unit that publishes ev to d.
func (o *Outbox) Publication(ev *store.Event, d sestina.EventDestination, at time.Time) store.Unit {
	return store.Unit{
		ID: o.IDs.New(at), Scope: ev.Scope, Kind: store.KindPublication, Lane: d.ID.String(), Due: at,
		MessageID: ev.MessageID, EventID: ev.ID, Target: d.ID,
	}
}
