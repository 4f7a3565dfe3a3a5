package store

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
)

// Errors that engines return, wrapped with what was being done.
var (
	// ErrNotFound: the row or document does not exist (in this scope).
	ErrNotFound = errors.New("not found")
	// ErrConflict: a document is not at the version the caller read, or exists
	// already. Read again and repeat.
	ErrConflict = errors.New("changed meanwhile")
	// ErrFenced: the unit is not held with the token any more; nothing was
	// written. The caller drops its result.
	ErrFenced = errors.New("lease lost")
	// ErrUnavailable: the database cannot take the command now (disk full or
	// below the reserve, connection lost, shutting down). Nothing was written;
	// the caller answers 503 or 451 and the client tries again.
	ErrUnavailable error = unavailable{}
)

type unavailable struct{}

func (unavailable) Error() string { return "storage unavailable" }

// Unavailable marks the error for the edges: 503, 451.
func (unavailable) Unavailable() bool { return true }

// A Store is one engine. All methods may be called concurrently.
type Store interface {
	Resources
	Commands
	Work
	Mail
	Queues
	Bodies

	// Subscribe adds a listener. Call it before the first command.
	Subscribe(Listener)
	// Sweep deletes what the retention clocks allow, in chunks small enough
	// not to hold up others, and returns how many rows went. It never deletes
	// a unit that waits, nor what such a unit still needs; what a dead unit
	// needs to be redriven stays as long as the unit, its body excepted. A
	// message stays as long as its events.
	Sweep(ctx context.Context, r Retention) (int, error)
	// Reset deletes everything but documents (messages, events, units, queue
	// messages, envelopes, bodies, lanes) in one transaction. dev only.
	Reset(ctx context.Context) error
	// Stats returns figures for the metrics page. It does not ask the database.
	Stats() Stats
	// Ping writes and reads a row, for the readiness check.
	Ping(ctx context.Context) error
	// Close waits for queued commands, commits them and closes the engine.
	Close() error
}

// Retention says what Sweep may delete: everything of a kind that was finished
// before the given time. A zero time keeps everything. On top of the body
// clock, the newest InboxCount bodies are kept and the rest deleted when
// InboxCount is positive (dev), likewise the newest InboxBytes bytes.
type Retention struct {
	Bodies     time.Time // bodies of messages without a waiting delivery
	Messages   time.Time // message rows, at least 60 days back: opens and clicks need them
	Events     time.Time // events, finished units, attempts, envelopes
	QueueNow   time.Time // queue messages whose retention ended before this
	InboxCount int
	InboxBytes int64
}

// Stats are an engine's figures. Counts are since Open, and of this node.
// Figures that an engine does not have are 0.
type Stats struct {
	Commits      uint64 // transactions made durable
	Commands     uint64 // commands and functions answered, refused ones too
	Failures     uint64 // batches that the database could not take
	LargestBatch uint64 // most commands in one transaction
	Queued       int    // commands that wait for a writer now
	Database     int64  // bytes of SQLite's database file
	WAL          int64  // bytes of its write-ahead log
	Connections  int    // open connections to PostgreSQL
	Claims       int    // leases in PostgreSQL that this node's workers hold
}

// A Listener hears what a commit changed. Both methods are called from the
// goroutine that commits, after the commit is durable and before the callers
// of its commands are answered: they must return at once and not call the
// store.
type Listener interface {
	// Committed tells of new or rescheduled waiting units and of queues that
	// got messages.
	Committed(c Change)
	// DocumentsChanged tells of documents written or deleted, in order of
	// revision, by this node or another.
	DocumentsChanged([]Document)
}

// A Change is what one commit did that others may be waiting for.
type Change struct {
	Lanes  []LaneDue
	Queues []sestina.ID // queues that got messages, or whose messages became visible
	Events []Event      // new events, for live streams
}

// LaneDue says that a lane has a waiting unit due at Due (the earliest that the
// commit added).
type LaneDue struct {
	Kind Kind
	Lane string
	Due  time.Time
}

// ---- control plane --------------------------------------------------------

// A Document is one resource of the control plane.
type Document struct {
	Scope    sestina.Scope // zero for what belongs to the installation
	Kind     string        // such as "configuration-set"
	Name     string
	Data     []byte // JSON; nil when Deleted
	Version  int64  // 1 when created, +1 per change of this document
	Revision int64  // of the write that made this version; rises across all documents
	Deleted  bool
}

// Resources is the control plane's role.
type Resources interface {
	// Get returns a document. ErrNotFound.
	Get(ctx context.Context, s sestina.Scope, kind, name string) (Document, error)
	// List returns up to limit documents of a kind with Name > after, in byte
	// order of names.
	List(ctx context.Context, s sestina.Scope, kind, after string, limit int) ([]Document, error)
	// Changed returns up to limit documents (tombstones too) with a revision
	// newer than since, in order of revision.
	Changed(ctx context.Context, since int64, limit int) ([]Document, error)
	// Update runs fn in one transaction and commits it durably. fn may run
	// again after a conflict, so it must not do I/O nor keep what it did. An
	// error from fn rolls back and is returned unchanged.
	Update(ctx context.Context, fn func(Tx) error) error
}

// A Tx is a control plane transaction.
type Tx interface {
	Get(s sestina.Scope, kind, name string) (Document, error)
	List(s sestina.Scope, kind, after string, limit int) ([]Document, error)
	Count(s sestina.Scope, kind string) (int, error)
	// Put writes d. Version is the one read (0: the document must not exist);
	// otherwise ErrConflict. The new version is Version+1.
	Put(d Document) error
	// Delete removes the document at the version read. ErrNotFound, ErrConflict.
	Delete(s sestina.Scope, kind, name string, version int64) error
	// Apply adds hot-path effects to the same transaction.
	Apply(Effects) error
}

// ---- hot path: rows -------------------------------------------------------

// A Kind is a kind of durable work.
type Kind uint8

// The kinds of work.
const (
	KindDelivery     Kind = 1 // a message to the recipients of one domain
	KindPublication  Kind = 2 // an event to one event destination
	KindNotification Kind = 3 // a topic's message to one subscription
)

// A State is where a unit of work is in its life.
type State uint8

// The states of a unit.
const (
	Waiting State = 0 // due now or later, perhaps claimed
	Done    State = 1 // it did what it was for (a bounce ends a delivery too)
	Dead    State = 2 // given up; kept as a dead letter
)

// A Unit is one piece of durable work.
type Unit struct {
	ID       sestina.ID
	Scope    sestina.Scope
	Kind     Kind
	Lane     string // units of a lane share concurrency, backoff and breaker
	Due      time.Time
	Attempts int // attempts finished so far

	MessageID sestina.ID // the email it is about, or zero; the same as its event's
	EventID   sestina.ID // the event it is about, or zero
	Target    sestina.ID // event destination or subscription, or zero
	Envelope  sestina.ID // the topic's message, for notifications
	Payload   []byte     // what the kind's owner needs besides, with a format number

	State      State
	FinishedAt time.Time // zero while waiting
	Answer     string    // the last answer of the other side, cut at MaxAnswer bytes

	// Token is the lease under which Claim handed the unit out.
	Token uint64
}

// MaxAnswer is how many bytes of the other side's answer are kept per attempt.
const MaxAnswer = 1024

// An Attempt is one try of a unit that did not end it, kept for the timeline:
// the first and the last ten of each unit. The attempt that ended a unit is on
// the unit itself.
type Attempt struct {
	Unit   sestina.ID
	N      int // 1 for the first
	At     time.Time
	Took   time.Duration // millisecond precision
	Answer string
}

// A Message is the record of an accepted email.
type Message struct {
	ID               sestina.ID
	Scope            sestina.Scope
	ConfigurationSet string // "" for none
	Identity         string // the verified identity it was sent with
	Source           string // From as submitted
	ReturnPath       string // where feedback by email goes
	Recipients       []string
	Subject          string
	// Mail is the frozen `mail` object of event records, JSON, its last member
	// being "tags".
	Mail []byte
	Size int64 // bytes of the body
	// Payload is what later steps need of the submission (list management,
	// TLS policy …), JSON with a format number.
	Payload []byte
}

// An Event is one sending event.
type Event struct {
	ID        sestina.ID
	Scope     sestina.Scope
	MessageID sestina.ID
	Type      sestina.EventType
	At        time.Time
	Object    []byte // the type object of the record (delivery, bounce …), JSON
	LateTags  []byte // tags that came after acceptance, a JSON object, or nil
}

// An Envelope is a message published to a topic, stored once for all its
// subscriptions.
type Envelope struct {
	ID    sestina.ID
	Scope sestina.Scope
	Data  []byte // the topic service's own format
}

// A QueueMessage is one message in a queue.
type QueueMessage struct {
	ID    sestina.ID
	Queue sestina.ID
	// Seq rises over all messages of a store; it is the FIFO sequence number.
	// The engine sets it.
	Seq           int64
	MessageID     string // as clients see it
	Body          []byte
	Attributes    []byte // message attributes in the queue service's format, or nil
	SentAt        time.Time
	VisibleAt     time.Time
	ExpiresAt     time.Time
	GroupID       string // FIFO (always set), or fair queues
	DedupID       string // FIFO: set means deduplicated for DedupWindow
	DedupPerGroup bool   // DedupID counts within GroupID only (not stored with the row)
	Sender        string
	Receives      int
	FirstReceived time.Time // zero until received
	Receipt       uint64    // changes with every receive
	SourceQueue   string    // ARN of the queue a dead letter came from
}

// DedupWindow is how long a FIFO queue or topic remembers a deduplication id.
const DedupWindow = 5 * time.Minute

// Effects are rows that a command adds. The zero value adds nothing.
type Effects struct {
	Messages  []NewMessage
	Events    []Event
	Units     []Unit // Waiting, or Done/Dead for the record
	Envelopes []Envelope
	Queued    []QueueMessage
	Attempts  []Attempt
}

// A NewMessage is a message with its body as Stage returned it.
type NewMessage struct {
	Message
	Body Body
}

// Merge adds o's rows to e.
func (e *Effects) Merge(o Effects) {
	e.Messages = append(e.Messages, o.Messages...)
	e.Events = append(e.Events, o.Events...)
	e.Units = append(e.Units, o.Units...)
	e.Envelopes = append(e.Envelopes, o.Envelopes...)
	e.Queued = append(e.Queued, o.Queued...)
	e.Attempts = append(e.Attempts, o.Attempts...)
}

// ---- hot path: commands ---------------------------------------------------

// A Command is one of the pointer types below: plain data that an engine runs
// in a batch with others. Do fills in the members marked as results.
type Command interface{ command() }

// Commands is the hot path's writing role.
type Commands interface {
	// Do carries out one command and returns after the commit that holds it is
	// durable. When ctx ends first while the command is already queued, Do
	// still waits for its commit. Errors: those the command documents,
	// ErrUnavailable.
	Do(ctx context.Context, c Command) error
}

// Write adds rows, unconditionally.
type Write struct {
	Effects
	// Accepting marks new input (a message, a Publish): it is refused with
	// ErrUnavailable when free disk is below the reserve, so that finishing and
	// deleting can go on.
	Accepting bool
}

// Finish ends or reschedules a claimed unit and adds the effects, all or
// nothing. ErrFenced when Unit.Token is not the current lease. After any other
// error the lease is still held: give the same Finish again, or Release.
type Finish struct {
	Unit    Unit  // as claimed
	State   State // Waiting: try again at Due
	Due     time.Time
	Payload []byte // replaces the unit's payload when not nil
	Lane    string // moves the unit when not ""
	// Attempts is the unit's new count.
	Attempts int
	At       time.Time // of the attempt's end
	Took     time.Duration
	Answer   string
	// Silent keeps the attempt out of the timeline (a chunk of a fan-out).
	Silent  bool
	Effects Effects
}

// Release gives claimed units back unchanged, due at once. Units whose lease is
// over are left out.
type Release struct{ Units []Unit }

// SetLane records a lane's state; one row per lane, written only when the
// state changes.
type SetLane struct {
	Kind  Kind
	Lane  string
	State LaneState
}

// A LaneState is what is remembered of a lane. The zero value is healthy and
// is not stored.
type LaneState struct {
	HoldUntil    time.Time // no claims before this
	FailingSince time.Time // zero when healthy
	Failures     int       // in a row, of the lane as a whole
	Paused       bool      // by an operator
	LastError    string    // cut at MaxAnswer
}

// Redrive makes dead units of a kind (and lane, when not "") wait again, at
// most Limit; 0 means all. IDs, when set, names them instead. The count of
// attempts goes on; the attempt that ended a unit joins its earlier ones.
type Redrive struct {
	Kind  Kind
	Scope sestina.Scope
	Lane  string
	IDs   []sestina.ID
	Now   time.Time
	Limit int

	Count int // result
}

// SendQueued adds messages to a queue. It is new input: refused with
// ErrUnavailable when free disk is below the reserve. A message whose DedupID was used in its
// queue within DedupWindow (and, when the queue deduplicates per group, in the
// same group) is not added; Results tells the original's id and sequence.
type SendQueued struct {
	Messages []QueueMessage
	PerGroup bool // deduplication scope

	Results []QueueSent // result, one per message
}

// QueueSent is what a queue answered.
type QueueSent struct {
	MessageID string
	Seq       int64
	Duplicate bool
}

// ReceiveQueued takes up to Max visible messages and hides them for
// Visibility. FIFO: in order of Seq, never from a group that has a hidden,
// undeleted message (delayed ones excepted), several of one group in order.
// A message already received MaxReceives times moves to DeadLetter instead, and
// the next one is looked at, until Max messages are taken or none is left. A
// moved message keeps MessageID, SentAt, Receives and FirstReceived, is visible
// at once and expires at SentAt+DeadLetterRetention; with FIFO it gets a new
// Seq, and SentAt is Now. Messages past ExpiresAt are passed over.
type ReceiveQueued struct {
	Queue       sestina.ID
	Max         int
	Now         time.Time
	Visibility  time.Duration
	FIFO        bool
	MaxReceives int        // 0: no dead-letter queue
	DeadLetter  sestina.ID // queue id
	SourceARN   string     // recorded on dead letters
	// DeadLetterRetention is the retention period of DeadLetter. Zero leaves
	// ExpiresAt as it is.
	DeadLetterRetention time.Duration

	Messages []QueueMessage // result
}

// A Receipt names a received message: its id and the receipt of the receive.
type Receipt struct {
	ID      sestina.ID
	Receipt uint64
}

// DeleteQueued deletes received messages. Deleting what is gone is no fault.
// With Strict (FIFO) a receipt that is not the newest deletes nothing, nor does
// one of a message that became visible again at or before Now.
type DeleteQueued struct {
	Queue    sestina.ID
	Receipts []Receipt
	Strict   bool
	Now      time.Time

	Deleted []bool // result: whether the message is gone now
}

// HideQueued changes the visibility of messages in flight.
type HideQueued struct {
	Queue    sestina.ID
	Receipts []Receipt
	Until    []time.Time // per receipt
	Now      time.Time

	InFlight []bool // result: false when the message is gone, not hidden, or received again since
	Gone     []bool // result: whether there is no such message
}

// PurgeQueued deletes all messages of a queue, in chunks; a message move task
// is a loop of MoveQueued.
type PurgeQueued struct {
	Queue sestina.ID

	Deleted int // result
}

// MoveQueued moves up to Max visible messages from one queue to another (to
// the source queue recorded on each, when To is zero and Sources maps the ARN).
// A moved message is a new one: it gets the next of MessageIDs, a new Seq,
// SentAt and VisibleAt Now, ExpiresAt Now plus its new queue's Retention, no
// receives and no SourceQueue. It is not deduplicated.
type MoveQueued struct {
	From      sestina.ID
	To        sestina.ID
	Sources   map[string]sestina.ID
	Retention map[sestina.ID]time.Duration // by destination; zero leaves ExpiresAt as it is
	// MessageIDs are the ids that moved messages get, at least Max of them;
	// nil leaves them as they are.
	MessageIDs []string
	Max        int
	Now        time.Time

	Moved int // result
	// Blocked is the source recorded on the first message that was passed over
	// because Sources does not map it ("" when none is recorded); nil when there
	// was no such message. It stays where it is.
	Blocked *string
}

func (*Write) command()         {}
func (*Finish) command()        {}
func (*Release) command()       {}
func (*SetLane) command()       {}
func (*Redrive) command()       {}
func (*SendQueued) command()    {}
func (*ReceiveQueued) command() {}
func (*DeleteQueued) command()  {}
func (*HideQueued) command()    {}
func (*PurgeQueued) command()   {}
func (*MoveQueued) command()    {}

// ---- hot path: queries ----------------------------------------------------

// Work is what the work engine reads.
type Work interface {
	// Claim leases up to limit waiting units of a lane that are due at now, in
	// order of due time then id. No two claims hold one unit at a time; a unit
	// is free again after Finish, Release, the end of its lease, or the death
	// of the process.
	Claim(ctx context.Context, kind Kind, lane string, now time.Time, limit int) ([]Unit, error)
	// LanesWithWork calls yield for every lane of a kind that has waiting
	// units, with the earliest due time and the lane's state, by an index skip
	// scan: the cost is per lane, not per unit.
	LanesWithWork(ctx context.Context, kind Kind, yield func(lane string, due time.Time, st LaneState) bool) error
	// NextDue returns the earliest due time of the lane's waiting, unclaimed
	// units. ErrNotFound when it has none.
	NextDue(ctx context.Context, kind Kind, lane string) (time.Time, error)
	// Lane returns a lane's state (zero when healthy).
	Lane(ctx context.Context, kind Kind, lane string) (LaneState, error)
	// Backlog counts a lane's waiting and dead units, from an index, and gives
	// the creation time of the oldest waiting one. Counting stops at 1,000,000.
	Backlog(ctx context.Context, kind Kind, lane string) (Backlog, error)
	// Units returns units of a message, or an event, in order of id.
	UnitsOfMessage(ctx context.Context, s sestina.Scope, message sestina.ID) ([]Unit, error)
	// DeadUnits pages through dead letters of a kind (and lane, when not "").
	DeadUnits(ctx context.Context, s sestina.Scope, kind Kind, lane string, after sestina.ID, limit int) ([]Unit, error)
	// Attempts returns the kept attempts of units, ordered by unit and number.
	Attempts(ctx context.Context, units []sestina.ID) ([]Attempt, error)
	// Envelope returns a topic's message. ErrNotFound.
	Envelope(ctx context.Context, id sestina.ID) (Envelope, error)
}

// A Backlog counts what waits in a lane.
type Backlog struct {
	Waiting int
	Dead    int
	Oldest  time.Time // zero when nothing waits
}

// Mail is what is read of messages and events.
type Mail interface {
	// Message returns one message. ErrNotFound. A zero scope means any.
	Message(ctx context.Context, s sestina.Scope, id sestina.ID) (Message, error)
	// Messages lists messages that fit the filter, newest first.
	Messages(ctx context.Context, f MessageFilter) ([]Message, error)
	// Event returns one event. ErrNotFound.
	Event(ctx context.Context, id sestina.ID) (Event, error)
	// Events lists events that fit the filter, in order of id.
	Events(ctx context.Context, f EventFilter) ([]Event, error)
	// CountMessages counts messages and their recipients accepted in a scope
	// since a time, for quotas.
	CountMessages(ctx context.Context, s sestina.Scope, since time.Time) (messages, recipients int, err error)
}

// A MessageFilter selects messages; zero members do not filter. Text members
// compare case-insensitively: addresses by equality with the bare address,
// Subject by substring.
type MessageFilter struct {
	Scope            sestina.Scope // Account "" means any scope
	Recipient        string
	Source           string
	Subject          string
	ConfigurationSet string
	TagName          string // with TagValue "": the tag exists
	TagValue         string
	Since, Until     time.Time  // by acceptance; Until is not included
	Before           sestina.ID // paging: ids smaller than this
	Limit            int        // at most 1000; 0 means 100
}

// An EventFilter selects events; zero members do not filter.
type EventFilter struct {
	Scope        sestina.Scope // Account "" means any scope
	MessageID    sestina.ID
	Types        []sestina.EventType
	Since, Until time.Time  // by At; Until is not included
	After        sestina.ID // paging: ids greater than this
	Limit        int        // at most 1000; 0 means 100
}

// Queues is what is read of queues.
type Queues interface {
	// QueueCounts returns how many messages are visible, in flight (received
	// and hidden) and delayed (never received and hidden) at now.
	QueueCounts(ctx context.Context, queue sestina.ID, now time.Time) (visible, inFlight, delayed int, err error)
	// NextVisible returns when the next hidden message becomes visible.
	// ErrNotFound when there is none.
	NextVisible(ctx context.Context, queue sestina.ID, now time.Time) (time.Time, error)
	// PeekQueue returns up to limit messages in order of Seq, hidden ones too,
	// without receiving them.
	PeekQueue(ctx context.Context, queue sestina.ID, limit int) ([]QueueMessage, error)
}

// ---- bodies ---------------------------------------------------------------

// InlineBody is the largest body kept in the database; larger ones are files
// (or chunk rows on PostgreSQL).
const InlineBody = 64 << 10

// A Body is a staged message body: durable as soon as the command that holds
// it is answered.
type Body struct {
	ID     sestina.ID // the message's
	Size   int64
	Inline []byte // the whole body when it is small
}

// Bodies is the role that holds message bodies.
type Bodies interface {
	// Stage takes a body of size bytes in (below zero: not known;
	// io.ErrUnexpectedEOF when r gives another number). A body up to InlineBody
	// is kept in memory until its command; a larger one is written to a file, file and folder synced,
	// before Stage returns. A staged body that no command names is swept.
	Stage(ctx context.Context, id sestina.ID, size int64, r io.Reader) (Body, error)
	// OpenBody opens the body of a message. ErrNotFound when it was deleted.
	OpenBody(ctx context.Context, id sestina.ID) (io.ReadCloser, error)
	// DeleteBody deletes a body, also one that is only staged; no fault when it
	// is gone.
	DeleteBody(ctx context.Context, id sestina.ID) error
}
