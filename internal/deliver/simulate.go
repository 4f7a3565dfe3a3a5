package deliver

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/sestina-mail/sestina/internal/bounce"
	"github.com/sestina-mail/sestina/internal/event"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// A Cause is something that can be made to happen to a message in dev.
type Cause string

// The causes.
const (
	CauseBounce    Cause = "bounce"    // a status notification: 550 5.1.1, user unknown
	CauseComplaint Cause = "complaint" // a feedback report: abuse
	CauseDelay     Cause = "delay"     // a failed attempt: 451 4.3.0
)

// SimulatedAgent is the user agent of complaints made by Simulate.
const SimulatedAgent = "Sestina simulation"

// Simulate returns the events that a cause has for a message, made by the code
// that its real cause goes through, as effects to write. recipient is one of
// the message's, or "" for all of them. Errors: *sestina.Error for an unknown
// cause or recipient, else those of the store.
func (w *Worker) Simulate(ctx context.Context, m *store.Message, cause Cause, recipient string) (store.Effects, error) {
	to := m.Recipients
	if recipient != "" {
		i := slices.IndexFunc(to, func(r string) bool { return strings.EqualFold(r, recipient) })
		if i < 0 {
			return store.Effects{}, sestina.Errorf("InvalidParameterValue", "%s is not a recipient of the message.", recipient)
		}
		to = to[i : i+1]
	}
	o, err := w.handedOver(ctx, m)
	if err != nil {
		return store.Effects{}, err
	}
	o.At = w.o.Clock.Now()
	switch cause {
	case CauseBounce:
		o.Kind, o.Code, o.Enhanced, o.Text = bounce.Failed, 550, "5.1.1", "As requested: user unknown"
	case CauseComplaint:
		o.Kind, o.Complaint = bounce.Delivered, &bounce.Report{UserAgent: SimulatedAgent, FeedbackType: "abuse", Arrived: o.At}
	case CauseDelay:
		o.Kind, o.Code, o.Enhanced, o.Text = bounce.Deferred, 451, "4.3.0", "As requested: try again later"
	default:
		return store.Effects{}, sestina.Errorf("InvalidParameterValue",
			"Unknown cause %q: use bounce, complaint or delay.", string(cause))
	}
	// A delay that is made to happen now says what one would say now.
	set, err := w.set(ctx, m)
	if err != nil {
		return store.Effects{}, fmt.Errorf("simulate %s of message %s: %w", cause, m.ID, err)
	}
	_, window, _ := w.o.Schedule.expiry(m.ID.Time(), set)
	a := &attempt{message: *m}
	var e store.Effects
	happened := w.o.Reporter.Events(m, all(to, o), o.At.Add(window))
	if err := w.add(&e, a, happened); err != nil {
		return store.Effects{}, fmt.Errorf("simulate %s of message %s: %w", cause, m.ID, err)
	}
	return e, nil
}

// handedOver returns an outcome that knows how the message was delivered, as
// what follows a delivery carries its tags.
func (w *Worker) handedOver(ctx context.Context, m *store.Message) (bounce.Outcome, error) {
	events, err := w.o.Store.Events(ctx, store.EventFilter{
		Scope: m.Scope, MessageID: m.ID, Types: []sestina.EventType{sestina.Delivery}, Limit: 1,
	})
	if err != nil {
		return bounce.Outcome{}, fmt.Errorf("read deliveries of message %s: %w", m.ID, err)
	}
	o := bounce.Outcome{Late: true}
	if len(events) == 0 || len(events[0].LateTags) == 0 {
		return o, nil
	}
	var tags event.Tags
	if err := tags.UnmarshalJSON(events[0].LateTags); err != nil {
		return bounce.Outcome{}, fmt.Errorf("tags of event %s: %w", events[0].ID, err)
	}
	o.LocalIP, _ = tags.Get(bounce.TagOutgoingIP)
	o.TLSVersion, _ = tags.Get(bounce.TagOutgoingTLSVersion)
	return o, nil
}

// set returns the configuration set of a message, or nil. It is in the cache
// then, so that events of the message are matched by it.
func (w *Worker) set(ctx context.Context, m *store.Message) (*sestina.ConfigurationSet, error) {
	if m.ConfigurationSet == "" {
		return nil, nil
	}
	return w.o.Sets.Find(ctx, m.Scope, m.ConfigurationSet)
}
