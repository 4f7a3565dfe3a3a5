package bounce

import (
	"strconv"
	"time"
)

// A Kind says how an attempt to deliver to one recipient ended.
type Kind string

// The kinds of outcome.
const (
	// Delivered: the next server took responsibility for the message. It may
	// still be bounced later.
	Delivered Kind = "delivered"
	// Deferred: not now; worth another attempt.
	Deferred Kind = "deferred"
	// Failed: refused for good.
	Failed Kind = "failed"
)

// MaxText is how many bytes of a server's reply an outcome keeps.
const MaxText = 800

// An Outcome is what became of one attempt at one recipient.
type Outcome struct {
	Recipient string `json:"to"`
	Kind      Kind   `json:"kind"`
	// Code is the three-digit reply code, or 0 when there was no reply.
	Code int `json:"code,omitempty"`
	// Enhanced is the enhanced status code such as 5.1.1, or "". rfc3463#2
	Enhanced string `json:"enhanced,omitempty"`
	// Text is the rest of the reply, its lines joined by spaces.
	Text string `json:"text,omitempty"`
	// RemoteIP and Host name the server that answered; "" when none did.
	RemoteIP string `json:"ip,omitempty"`
	Host     string `json:"host,omitempty"`
	// LocalIP is the source address of the connection, "" when there was none.
	LocalIP string `json:"local,omitempty"`
	// TLSVersion is TLSv1.2, TLSv1.3, or "" for a connection without TLS.
	TLSVersion string    `json:"tls,omitempty"`
	At         time.Time `json:"at"` // of the reply

	// Late says that this was told after the message had been handed over, as
	// by a feedback loop: there is no hand-over to report.
	Late bool `json:"late,omitempty"`
	// AutoReply says that an automatic reply (out of office) came back, which
	// carries no status notification.
	AutoReply bool `json:"auto,omitempty"`
	// Complaint says that the recipient called the message unwanted.
	Complaint *Report `json:"complaint,omitempty"`
}

// A Report is what a feedback loop told about a complaint. rfc5965#3
type Report struct {
	UserAgent    string    `json:"agent,omitempty"`
	FeedbackType string    `json:"type,omitempty"` // abuse, fraud, virus …
	Arrived      time.Time `json:"arrived"`        // Arrival-Date; zero when the report has none
}

// Reply returns the server's reply as one line: code, enhanced code, text.
func (o *Outcome) Reply() string {
	s := o.Text
	if o.Enhanced != "" {
		s = join(o.Enhanced, s)
	}
	if o.Code != 0 {
		s = join(strconv.Itoa(o.Code), s)
	}
	return s
}

func join(a, b string) string {
	if b == "" {
		return a
	}
	return a + " " + b
}
