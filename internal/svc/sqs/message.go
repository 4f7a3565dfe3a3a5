package sqs

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// An Attribute is a message attribute. Exactly one value is meant: BinaryValue
// when DataType is Binary or begins with "Binary.", StringValue otherwise.
type Attribute struct {
	Name        string
	DataType    string // String, Number or Binary, perhaps with a .suffix
	StringValue string
	BinaryValue []byte
}

func (a Attribute) binary() bool { return baseType(a.DataType) == "Binary" }

func baseType(dataType string) string {
	base, _, _ := strings.Cut(dataType, ".")
	return base
}

// size is what the attribute counts for in the size of its message.
func (a Attribute) size() int {
	return len(a.Name) + len(a.DataType) + len(a.StringValue) + len(a.BinaryValue)
}

// An outgoing is a message as a client sends it.
type outgoing struct {
	body       string
	attributes []Attribute // sorted by name
	trace      string      // AWSTraceHeader, a system attribute
	delay      *int32      // seconds; nil: the queue's
	groupID    *string
	dedupID    *string
	sender     string
}

// size is the message's size in bytes: body and attributes. System attributes
// do not count.
func (m *outgoing) size() int {
	n := len(m.body)
	for _, a := range m.attributes {
		n += a.size()
	}
	return n
}

// A sent message is what SendMessage answers.
type sent struct {
	messageID string
	sequence  string // FIFO only
}

// Row returns the row of a message for the queue with the ARN, so that another
// service can put it into the queue with a transaction of its own. It checks
// what SendMessage checks and honours the queue's delay, retention period and
// deduplication. Errors are *sestina.Error: QueueDoesNotExist, or the fault of
// the message. A standard queue ignores dedupID; a FIFO queue's store does not
// add a row whose deduplication id was used within five minutes.
func (s *Service) Row(queueARN string, body []byte, attrs []Attribute, groupID, dedupID string, now time.Time) (store.QueueMessage, error) {
	q, ok := s.byARN(queueARN)
	if !ok {
		return store.QueueMessage{}, errNoQueue()
	}
	m := outgoing{body: string(body), attributes: slices.Clone(attrs), sender: q.scope.Account}
	sortAttributes(m.attributes)
	if err := checkAttributes(m.attributes); err != nil {
		return store.QueueMessage{}, err
	}
	if groupID != "" {
		m.groupID = &groupID
	}
	if dedupID != "" && q.FIFO {
		m.dedupID = &dedupID
	}
	return s.row(q, &m, now)
}

// row checks a message against its queue and makes its row.
func (s *Service) row(q queue, m *outgoing, now time.Time) (store.QueueMessage, error) {
	if err := checkBody(q, m); err != nil {
		return store.QueueMessage{}, err
	}
	delay, err := messageDelay(q, m)
	if err != nil {
		return store.QueueMessage{}, err
	}
	if err := checkIDs(q, m); err != nil {
		return store.QueueMessage{}, err
	}
	attributes, err := encodeAttributes(m.attributes, m.trace)
	if err != nil {
		return store.QueueMessage{}, err
	}
	id := s.ids.New(now)
	return store.QueueMessage{
		ID: id, Queue: q.ID, MessageID: sestina.DerivedUUID(id, "sqs"),
		Body: []byte(m.body), Attributes: attributes, Sender: m.sender,
		SentAt: now, VisibleAt: now.Add(delay), ExpiresAt: now.Add(q.retention()),
		GroupID: value(m.groupID), DedupID: dedupID(q, m), DedupPerGroup: q.DeduplicationScope == "messageGroup",
	}, nil
}

func checkBody(q queue, m *outgoing) error {
	if m.body == "" {
		return missing("MessageBody")
	}
	if m.size() > q.MaximumMessageSize {
		return invalidParameter("One or more parameters are invalid. Reason: Message must be shorter than %d bytes.", q.MaximumMessageSize)
	}
	if c, bad := invalidCharacter(m.body); bad {
		return sestina.Errorf("InvalidMessageContents", "Invalid binary character '#x%X' was found in the message body, %s", c, allowedCharacters)
	}
	return nil
}

const allowedCharacters = "the set of allowed characters is #x9 | #xA | #xD | [#x20-#xD7FF] | [#xE000-#xFFFD] | [#x10000-#x10FFFF]."

// invalidCharacter finds the first character that XML 1.0 cannot hold, which is
// what SQS refuses.
func invalidCharacter(s string) (rune, bool) {
	for i, c := range s {
		switch {
		case c == 0x9 || c == 0xA || c == 0xD || c >= 0x20 && c <= 0xD7FF || c >= 0xE000 && c < 0xFFFD || c >= 0x10000:
		case c == 0xFFFD && strings.HasPrefix(s[i:], "\uFFFD"): // the character itself, not a broken byte
		case c == 0xFFFD:
			return rune(s[i]), true
		default:
			return c, true
		}
	}
	return 0, false
}

// messageDelay returns how long the message is hidden at first. FIFO queues
// have one delay for all messages.
func messageDelay(q queue, m *outgoing) (time.Duration, error) {
	if m.delay == nil || q.FIFO && *m.delay == 0 {
		return seconds(q.DelaySeconds), nil
	}
	if *m.delay < 0 || *m.delay > maxDelay {
		return 0, invalidValue(*m.delay, "DelaySeconds", "DelaySeconds must be >= 0 and <= 900.")
	}
	if q.FIFO {
		return 0, invalidValue(*m.delay, "DelaySeconds", reasonQueueType)
	}
	return seconds(int(*m.delay)), nil
}

// checkIDs checks group and deduplication id. A standard queue takes a group id
// too, for fair queues; it has no meaning here.
func checkIDs(q queue, m *outgoing) error {
	if m.groupID != nil {
		if err := checkIdentifier("MessageGroupId", *m.groupID); err != nil {
			return err
		}
	}
	if m.dedupID != nil {
		if !q.FIFO {
			return invalidValue(*m.dedupID, "MessageDeduplicationId", reasonQueueType)
		}
		if err := checkIdentifier("MessageDeduplicationId", *m.dedupID); err != nil {
			return err
		}
	}
	switch {
	case q.FIFO && m.groupID == nil:
		return missing("MessageGroupId")
	case q.FIFO && m.dedupID == nil && !q.ContentBasedDeduplication:
		return invalidParameter("The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly")
	}
	return nil
}

func checkIdentifier(parameter, v string) error {
	if !isIdentifier(v) {
		return invalidValue(v, parameter, parameter+" can only include alphanumeric and punctuation characters. 1 to 128 in length.")
	}
	return nil
}

// dedupID returns the deduplication id given, or the body's SHA-256.
func dedupID(q queue, m *outgoing) string {
	if !q.FIFO || m.dedupID != nil {
		return value(m.dedupID)
	}
	sum := sha256.Sum256([]byte(m.body))
	return hex.EncodeToString(sum[:])
}

// sequenceNumber shows the store's sequence in SQS's form: 20 digits, rising.
func sequenceNumber(seq int64) string { return fmt.Sprintf("188%017d", seq) }

// send adds messages to a queue, in order, and returns what became of each.
func (s *Service) send(ctx context.Context, q queue, rows []store.QueueMessage) ([]sent, error) {
	cmd := &store.SendQueued{Messages: rows, PerGroup: q.DeduplicationScope == "messageGroup"}
	if err := s.store.Do(ctx, cmd); err != nil {
		return nil, fmt.Errorf("send %d messages to queue %q of %s: %w", len(rows), q.name, q.scope, err)
	}
	out := make([]sent, len(cmd.Results))
	for i, r := range cmd.Results {
		out[i].messageID = r.MessageID
		if q.FIFO {
			out[i].sequence = sequenceNumber(r.Seq)
		}
	}
	return out, nil
}

// ---- attributes -------------------------------------------------------------

func sortAttributes(attrs []Attribute) {
	slices.SortFunc(attrs, func(a, b Attribute) int { return strings.Compare(a.Name, b.Name) })
}

// checkAttributes checks message attributes. sqs-guide:sqs-message-metadata
func checkAttributes(attrs []Attribute) error {
	if len(attrs) > maxAttributes {
		return invalidParameter("Number of message attributes [%d] exceeds the allowed maximum [%d].", len(attrs), maxAttributes)
	}
	for _, a := range attrs {
		if err := checkAttributeName(a.Name); err != nil {
			return err
		}
		if err := checkAttributeValue(a); err != nil {
			return err
		}
	}
	return nil
}

func checkAttributeName(name string) error {
	switch lower := strings.ToLower(name); {
	case name == "":
		return invalidParameter("The request must contain non-empty message (user) attribute names.")
	case len(name) > 256:
		return invalidParameter("Message (user) attribute names must be shorter than 256 Bytes")
	case strings.HasPrefix(lower, "aws.") || strings.HasPrefix(lower, "amazon."):
		return invalidParameter("You can't use message attribute names beginning with 'AWS.' or 'Amazon.'. These strings are reserved for internal use.")
	case !attributeNameBytes(name):
		return invalidParameter("Message (user) attributes name can only contain upper and lower score characters, digits, periods, hyphens and underscores. ")
	case name[0] == '.' || name[len(name)-1] == '.' || strings.Contains(name, ".."):
		return invalidParameter("Message (user) attribute names can not start or end with a period, nor have successive periods.")
	}
	return nil
}

func attributeNameBytes(name string) bool {
	for _, c := range []byte(name) {
		if c != '.' && !isName(string(c)) {
			return false
		}
	}
	return true
}

func checkAttributeValue(a Attribute) error {
	switch {
	case a.DataType == "":
		return invalidParameter("The message (user) attribute '%s' must contain a non-empty message attribute type.", a.Name)
	case len(a.DataType) > 256:
		return invalidParameter("Message (user) attribute type must be shorter than 256 bytes.")
	}
	switch base := baseType(a.DataType); base {
	case "Binary":
		if len(a.BinaryValue) == 0 {
			return emptyAttribute(a.Name, base)
		}
		return nil
	case "String", "Number":
		if a.StringValue == "" {
			return emptyAttribute(a.Name, base)
		}
	default:
		return invalidParameter("The type of message (user) attribute '%s' is invalid. You must use only the following supported type prefixes: Binary, Number, String.", a.Name)
	}
	if baseType(a.DataType) == "Number" && !isNumber(a.StringValue) {
		return invalidParameter("Can't cast the value of message (user) attribute '%s' to a number.", a.Name)
	}
	if c, bad := invalidCharacter(a.StringValue); bad {
		return sestina.Errorf("InvalidMessageContents", "Invalid binary character '#x%X' was found in the value of message (user) attribute '%s', %s", c, a.Name, allowedCharacters)
	}
	return nil
}

func emptyAttribute(name, base string) error {
	return invalidParameter("Message (user) attribute '%s' must contain a non-empty value of type '%s'.", name, base)
}

// isNumber reports whether s is a decimal number, of any length within reason.
func isNumber(s string) bool {
	if len(s) > 512 || strings.Trim(s, "+-.0123456789eE") != "" {
		return false
	}
	_, _, err := big.ParseFloat(s, 10, 64, big.ToNearestEven)
	return err == nil
}

// attributeDigest is SQS's MD5 over attributes, which must be sorted by name:
// for each the length and bytes of name and type, one byte for the kind of
// value, and length and bytes of the value. It is nil when there are none: a
// digest of nothing would not match what clients expect.
// sqs-guide:sqs-message-metadata
func attributeDigest(attrs []Attribute) *string {
	if len(attrs) == 0 {
		return nil
	}
	h := md5.New()
	put := func(b []byte) {
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(b)))
		h.Write(n[:])
		h.Write(b)
	}
	for _, a := range attrs {
		put([]byte(a.Name))
		put([]byte(a.DataType))
		if a.binary() {
			h.Write([]byte{2})
			put(a.BinaryValue)
		} else {
			h.Write([]byte{1})
			put([]byte(a.StringValue))
		}
	}
	return new(hex.EncodeToString(h.Sum(nil)))
}

func bodyDigest(body string) *string {
	sum := md5.Sum([]byte(body))
	return new(hex.EncodeToString(sum[:]))
}

// storedAttributes is what a row's Attributes hold, as JSON.
type storedAttributes struct {
	Format     int               `json:"f"` // 1
	Attributes []storedAttribute `json:"a,omitempty"`
	Trace      string            `json:"t,omitempty"` // AWSTraceHeader
}

type storedAttribute struct {
	Name     string `json:"n"`
	DataType string `json:"t"`
	String   string `json:"s,omitempty"`
	Binary   []byte `json:"b,omitempty"`
}

// encodeAttributes returns nil when there is nothing to keep.
func encodeAttributes(attrs []Attribute, trace string) ([]byte, error) {
	if len(attrs) == 0 && trace == "" {
		return nil, nil
	}
	st := storedAttributes{Format: 1, Trace: trace}
	for _, a := range attrs {
		st.Attributes = append(st.Attributes, storedAttribute{a.Name, a.DataType, a.StringValue, a.BinaryValue})
	}
	b, err := json.Marshal(st)
	if err != nil {
		return nil, fmt.Errorf("encode message attributes: %w", err)
	}
	return b, nil
}

func decodeAttributes(b []byte) (attrs []Attribute, trace string, err error) {
	if len(b) == 0 {
		return nil, "", nil
	}
	var st storedAttributes
	if err := json.Unmarshal(b, &st); err != nil {
		return nil, "", fmt.Errorf("decode message attributes: %w", err)
	}
	if st.Format != 1 {
		return nil, "", fmt.Errorf("message attributes are of format %d, this program knows 1", st.Format)
	}
	for _, a := range st.Attributes {
		attrs = append(attrs, Attribute{a.Name, a.DataType, a.String, a.Binary})
	}
	return attrs, st.Trace, nil
}
