package bounce

import (
	"fmt"
	"hash/fnv"
	"time"

	"github.com/sestina-mail/sestina/internal/event"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// A Happening is one event to be: what the outbox needs to write it down.
type Happening struct {
	Type     sestina.EventType
	At       time.Time
	Object   event.Object
	LateTags event.Tags
}

// A Reporter turns outcomes into events. It may be used concurrently.
type Reporter struct {
	IDs *sestina.IDs // for feedback ids
	// HostName is what records name as the reporting MTA. "" means a name of
	// the form SES uses, see ReportingMTA.
	HostName string
	Rules    Classifier
}

// The tags that a delivery adds to its record and to those that follow it.
const (
	TagOutgoingIP         = "ses:outgoing-ip"
	TagOutgoingTLSVersion = "ses:outgoing-tls-version"
)

// ReportingMTA returns the name of the sending host for records: HostName, or
// aN-N.smtp-out.amazonses.com in us-east-1 and
// bN-N.smtp-out.REGION.amazonses.com elsewhere, the same for every message of a
// scope.
func (r *Reporter) ReportingMTA(s sestina.Scope) string {
	if r.HostName != "" {
		return r.HostName
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(s.String()))
	n := h.Sum32()
	a, b := n%62+1, n/62%50+1
	if s.Region == "us-east-1" {
		return fmt.Sprintf("a%d-%d.smtp-out.amazonses.com", a, b)
	}
	return fmt.Sprintf("b%d-%d.smtp-out.%s.amazonses.com", a, b, s.Region)
}

// Events returns what the outcomes of one attempt at message m mean for the
// sender, in the order it happened: a Delivery per hand-over, a Bounce per
// cause, a Complaint, a DeliveryDelay per delay type. expires is when the last
// attempt at the deferred recipients will be.
func (r *Reporter) Events(m *store.Message, outcomes []Outcome, expires time.Time) []Happening {
	var delivered, failed, auto, complained, deferred []Outcome
	for _, o := range outcomes {
		switch o.Kind {
		case Delivered:
			if !o.Late {
				delivered = append(delivered, o)
			}
			if o.AutoReply {
				auto = append(auto, o)
			}
			if o.Complaint != nil {
				complained = append(complained, o)
			}
		case Failed:
			failed = append(failed, o)
		case Deferred:
			deferred = append(deferred, o)
		}
	}
	var out []Happening
	for _, g := range groupBy(delivered, handOver) {
		out = append(out, r.delivery(m, g))
	}
	for _, g := range groupBy(failed, func(o *Outcome) [2]string { return pair(r.Rules.Classify(o)) }) {
		out = append(out, r.bounce(m, g, r.Rules.Classify(&g[0])))
	}
	for _, g := range groupBy(auto, handOver) {
		out = append(out, r.autoReply(m, g))
	}
	for _, g := range groupBy(complained, func(o *Outcome) Report { return *o.Complaint }) {
		out = append(out, r.complaint(m, g))
	}
	for _, g := range groupBy(deferred, func(o *Outcome) string { return r.Rules.Classify(o).Delay }) {
		out = append(out, r.delay(g, r.Rules.Classify(&g[0]).Delay, expires))
	}
	return out
}

// Expired returns the bounces of recipients whose time ran out at a moment:
// Transient, with what was last said about each of them. window is how long
// delivery was tried for. custom says that the configuration set's
// MaxDeliverySeconds set it. The last outcome of a recipient may be zero but
// for Recipient when there was no attempt.
func (r *Reporter) Expired(m *store.Message, last []Outcome, window time.Duration, custom bool, at time.Time) []Happening {
	classify := func(o *Outcome) Meaning {
		meaning := r.Rules.Classify(o).GivenUp()
		if custom {
			meaning.SubType = CustomTimeoutExceeded
		}
		return meaning
	}
	var out []Happening
	for _, g := range groupBy(last, func(o *Outcome) [2]string { return pair(classify(o)) }) {
		meaning := classify(&g[0])
		for i := range g {
			text := "Message expired: unable to deliver in " + minutes(window) + "."
			if reply := g[i].Reply(); reply != "" {
				text += "<" + reply + ">"
			}
			g[i].Code, g[i].Enhanced, g[i].Text, g[i].At = 550, "4.4.7", text, at
		}
		out = append(out, r.bounce(m, g, meaning))
	}
	return out
}

func minutes(d time.Duration) string {
	if d%time.Minute == 0 && d > 0 {
		return fmt.Sprintf("%d minutes", d/time.Minute)
	}
	return fmt.Sprintf("%d seconds", d/time.Second)
}

// Status returns the enhanced status code of records: the server's, or the
// class of its reply with no detail.
func (o *Outcome) Status() string {
	switch {
	case o.Enhanced != "":
		return o.Enhanced
	case o.Kind == Deferred:
		return "4.0.0"
	default:
		return "5.0.0"
	}
}

// Diagnostic returns the diagnostic code of records, with its type.
// rfc3464#2.3.6
func (o *Outcome) Diagnostic() string { return "smtp; " + o.Reply() }

func (r *Reporter) delivery(m *store.Message, g []Outcome) Happening {
	o := &g[0]
	return Happening{
		Type: sestina.Delivery, At: o.At, LateTags: lateTags(o),
		Object: event.Delivery{
			Timestamp:            event.Time(o.At),
			ProcessingTimeMillis: max(o.At.Sub(m.ID.Time()).Milliseconds(), 0),
			Recipients:           recipients(g),
			SMTPResponse:         o.Reply(),
			RemoteMTAIP:          o.RemoteIP,
			ReportingMTA:         r.ReportingMTA(m.Scope),
		},
	}
}

func (r *Reporter) bounce(m *store.Message, g []Outcome, meaning Meaning) Happening {
	at := g[0].At
	b := event.Bounce{
		FeedbackID: r.feedbackID(m, at), BounceType: meaning.Type, BounceSubType: meaning.SubType,
		Timestamp: event.Time(at), RemoteMTAIP: g[0].RemoteIP, ReportingMTA: "dns; " + r.ReportingMTA(m.Scope),
	}
	for i := range g {
		b.BouncedRecipients = append(b.BouncedRecipients, event.BouncedRecipient{
			EmailAddress: g[i].Recipient, Action: "failed", Status: g[i].Status(), DiagnosticCode: g[i].Diagnostic(),
		})
	}
	h := Happening{Type: sestina.Bounce, At: at, Object: b}
	if g[0].Late {
		h.LateTags = lateTags(&g[0])
	}
	return h
}

// autoReply is the bounce of an out-of-office answer: it has no status
// notification, so nothing but the address.
func (r *Reporter) autoReply(m *store.Message, g []Outcome) Happening {
	at := g[0].At
	b := event.Bounce{FeedbackID: r.feedbackID(m, at), BounceType: Transient, BounceSubType: General, Timestamp: event.Time(at)}
	for i := range g {
		b.BouncedRecipients = append(b.BouncedRecipients, event.BouncedRecipient{EmailAddress: g[i].Recipient})
	}
	return Happening{Type: sestina.Bounce, At: at, Object: b, LateTags: lateTags(&g[0])}
}

func (r *Reporter) complaint(m *store.Message, g []Outcome) Happening {
	at, rep := g[0].At, g[0].Complaint
	c := event.Complaint{
		FeedbackID: r.feedbackID(m, at), Timestamp: event.Time(at),
		UserAgent: rep.UserAgent, ComplaintFeedbackType: rep.FeedbackType,
	}
	if !rep.Arrived.IsZero() {
		c.ArrivalDate = event.Time(rep.Arrived)
	}
	for i := range g {
		c.ComplainedRecipients = append(c.ComplainedRecipients, event.ComplainedRecipient{EmailAddress: g[i].Recipient})
	}
	return Happening{Type: sestina.Complaint, At: at, Object: c, LateTags: lateTags(&g[0])}
}

func (r *Reporter) delay(g []Outcome, delayType string, expires time.Time) Happening {
	at := g[0].At
	d := event.DeliveryDelay{Timestamp: event.Time(at), DelayType: delayType, ExpirationTime: event.Time(expires)}
	for i := range g {
		d.DelayedRecipients = append(d.DelayedRecipients, event.DelayedRecipient{
			EmailAddress: g[i].Recipient, Status: g[i].Status(), DiagnosticCode: g[i].Diagnostic(),
		})
	}
	return Happening{Type: sestina.DeliveryDelay, At: at, Object: d}
}

func (r *Reporter) feedbackID(m *store.Message, at time.Time) string {
	return sestina.MessageID(r.IDs.New(at), m.Scope.Region)
}

func lateTags(o *Outcome) event.Tags {
	var t event.Tags
	if o.TLSVersion != "" {
		t = append(t, sestina.Tag{Name: TagOutgoingTLSVersion, Value: o.TLSVersion})
	}
	if o.LocalIP != "" {
		t = append(t, sestina.Tag{Name: TagOutgoingIP, Value: o.LocalIP})
	}
	return t
}

func recipients(g []Outcome) []string {
	out := make([]string, len(g))
	for i := range g {
		out[i] = g[i].Recipient
	}
	return out
}

func pair(m Meaning) [2]string { return [2]string{m.Type, m.SubType} }

// handOver tells one final reply of a server from another.
func handOver(o *Outcome) Outcome {
	k := *o
	k.Recipient, k.AutoReply, k.Complaint = "", false, nil
	return k
}

// groupBy splits outcomes by key, in the order of each group's first.
func groupBy[K comparable](in []Outcome, key func(*Outcome) K) [][]Outcome {
	var out [][]Outcome
	at := map[K]int{}
	for i := range in {
		k := key(&in[i])
		j, ok := at[k]
		if !ok {
			j = len(out)
			at[k] = j
			out = append(out, nil)
		}
		out[j] = append(out[j], in[i])
	}
	return out
}
