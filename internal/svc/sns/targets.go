package sns

import (
	"context"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// Queues is the embedded queue service as topics need it.
type Queues interface {
	// QueueMessage returns the row that puts a message into a queue. The caller
	// commits it. A standard queue ignores dedupID. Every error means that the
	// queue cannot take this message, now or later: it does not exist, or the
	// message breaks its rules.
	QueueMessage(queueARN string, body []byte, attrs map[string]QueueAttribute, groupID, dedupID string, now time.Time) (store.QueueMessage, error)
}

// A QueueAttribute is a message attribute of a queue's message.
type QueueAttribute struct {
	DataType    string
	StringValue string
	BinaryValue []byte // of Binary types
}

// maxQueueAttributes is the most attributes that a queue's message has.
const maxQueueAttributes = 10

// A Mail is an email to a subscriber.
type Mail struct {
	Scope   sestina.Scope
	From    string // with a display name
	To      string // the bare address
	Subject string
	Text    string // text/plain, UTF-8
}

// Mailer sends email to subscribers.
type Mailer interface {
	// Compose returns the effects that send a mail; the caller commits them. The
	// mail must not lead to events that come back to the topic.
	Compose(ctx context.Context, m Mail) (store.Effects, error)
}

// Streams is the embedded delivery stream service as topics need it.
type Streams interface {
	// Exists reports whether there is a stream with the ARN.
	Exists(streamARN string) bool
	// Put returns the effects that put a record into a stream; the caller
	// commits them.
	Put(ctx context.Context, streamARN string, record []byte) (store.Effects, error)
}

// Purposes of a unit of work.
const (
	purposeNotify  = ""
	purposeConfirm = "confirm" // a message about the subscription itself
	purposeFanOut  = "fan-out" // the rest of the subscriptions of a topic
)

// A payload is what a unit of work carries besides its row.
type payload struct {
	Format  int        `json:"v"`
	Purpose string     `json:",omitempty"`
	Topic   sestina.ID `json:"Topic,omitzero"` // fan-out
	After   sestina.ID `json:"After,omitzero"` // fan-out: the last subscription that was served
	Count   int        `json:",omitempty"`     // fan-out: subscriptions served so far

	// Ended is set when the unit is given up. A unit that comes with it was
	// redriven: it starts anew, at Start and with Base attempts behind it.
	Ended bool      `json:",omitempty"`
	Start time.Time `json:"Start,omitzero"`
	Base  int       `json:",omitempty"`
}

func (p payload) encode() []byte {
	p.Format = format
	return mustJSON(p)
}
