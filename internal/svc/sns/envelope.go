package sns

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// Types of messages, as subscribers see them.
const (
	typeNotification = "Notification"
	typeConfirmation = "SubscriptionConfirmation"
	typeUnsubscribed = "UnsubscribeConfirmation"
)

// A message is what was published to a topic, or what is said to one endpoint
// about its subscription. It is the content of a store.Envelope and is not
// changed once it is there.
type message struct {
	Format    int `json:"v"`
	Type      string
	TopicARN  string
	MessageID string // a UUID
	At        time.Time
	Subject   *string `json:",omitempty"`
	Message   string
	// ByProtocol has the texts of a message with the structure "json"; Message
	// is its default then.
	ByProtocol       map[string]string `json:",omitempty"`
	Attributes       []attribute       `json:",omitempty"` // by name
	SignatureVersion string            // "1" or "2"; "" is unsigned
	GroupID          string            `json:",omitempty"`
	DedupID          string            `json:",omitempty"`
	Sequence         string            `json:",omitempty"` // FIFO topics
	Token            string            `json:",omitempty"` // not of notifications

	// What filter policies look at, made at first need.
	attributesOnce  sync.Once
	attributeValues map[string][]any
	bodyOnce        sync.Once
	body            map[string]any
}

// An attribute is a message attribute. The value of a Binary one is base64.
type attribute struct {
	Name  string
	Type  string
	Value string
}

func (a attribute) isBinary() bool { return a.Type == "Binary" || strings.HasPrefix(a.Type, "Binary.") }

// text returns the message for a protocol.
func (m *message) text(protocol string) string {
	if t, ok := m.ByProtocol[protocol]; ok {
		return t
	}
	return m.Message
}

// stamp returns t as messages carry it, never with a fraction of zero: some
// verifiers drop such a fraction before they check the signature.
func stamp(t time.Time) string {
	t = t.UTC().Truncate(time.Millisecond)
	if t.Nanosecond() == 0 {
		t = t.Add(time.Millisecond)
	}
	return t.Format("2006-01-02T15:04:05.000Z")
}

// subscribeURL is where a subscription is confirmed. The ARN is not escaped, as
// at AWS.
func (s *Service) subscribeURL(m *message) string {
	return s.PublicURL + "/?Action=ConfirmSubscription&TopicArn=" + m.TopicARN + "&Token=" + m.Token
}

func (s *Service) unsubscribeURL(sub *Subscription) string {
	return s.PublicURL + "/?Action=Unsubscribe&SubscriptionArn=" + sub.ARN()
}

// A field is one member of the JSON that subscribers get, in order.
type field struct {
	name  string
	value string
	raw   json.RawMessage // instead of value
}

// fields returns the members of the JSON form of m for a subscription.
func (s *Service) fields(ctx context.Context, m *message, sub *Subscription) ([]field, error) {
	text := m.text(sub.Protocol)
	fs := []field{{name: "Type", value: m.Type}, {name: "MessageId", value: m.MessageID}}
	add := func(name, value string) { fs = append(fs, field{name: name, value: value}) }
	if m.Sequence != "" {
		add("SequenceNumber", m.Sequence)
	}
	if m.Token != "" {
		add("Token", m.Token)
	}
	add("TopicArn", m.TopicARN)
	if m.Subject != nil {
		add("Subject", *m.Subject)
	}
	add("Message", text)
	if m.Token != "" {
		add("SubscribeURL", s.subscribeURL(m))
	}
	add("Timestamp", stamp(m.At))
	if m.SignatureVersion != "" && sub.Protocol != protocolFirehose {
		signature, certificate, err := s.sign(ctx, m, text)
		if err != nil {
			return nil, err
		}
		add("SignatureVersion", m.SignatureVersion)
		add("Signature", signature)
		add("SigningCertURL", certificate)
	}
	if m.Type == typeNotification {
		add("UnsubscribeURL", s.unsubscribeURL(sub))
	}
	if len(m.Attributes) > 0 {
		fs = append(fs, field{name: "MessageAttributes", raw: attributesJSON(m.Attributes)})
	}
	return fs, nil
}

// sign signs m with the text that the subscriber sees and tells where the
// certificate is.
func (s *Service) sign(ctx context.Context, m *message, text string) (signature, certificate string, err error) {
	key, err := s.signer.current(ctx)
	if err != nil {
		return "", "", err
	}
	signature, err = s.signer.sign(key, m.SignatureVersion, s.stringToSign(m, text))
	return signature, s.PublicURL + key.path(), err
}

// stringToSign is what the signature covers: names and values, each with a line
// feed, in the order of names. sns-guide:sns-verify-signature-of-message
func (s *Service) stringToSign(m *message, text string) string {
	var b strings.Builder
	add := func(name, value string) { b.WriteString(name + "\n" + value + "\n") }
	add("Message", text)
	add("MessageId", m.MessageID)
	if m.Type == typeNotification {
		if m.Subject != nil {
			add("Subject", *m.Subject)
		}
		add("Timestamp", stamp(m.At))
	} else {
		add("SubscribeURL", s.subscribeURL(m))
		add("Timestamp", stamp(m.At))
		add("Token", m.Token)
	}
	add("TopicArn", m.TopicARN)
	add("Type", m.Type)
	return b.String()
}

// attributesJSON is the member MessageAttributes, compact.
func attributesJSON(attrs []attribute) json.RawMessage {
	var b bytes.Buffer
	for i, a := range attrs {
		b.WriteByte("{,"[min(i, 1)])
		b.Write(mustJSON(a.Name))
		b.WriteString(`:{"Type":`)
		b.Write(mustJSON(a.Type))
		b.WriteString(`,"Value":`)
		b.Write(mustJSON(a.Value))
		b.WriteByte('}')
	}
	b.WriteByte('}')
	return b.Bytes()
}

// prettyJSON lays members out as AWS does towards HTTP endpoints.
func prettyJSON(fs []field) []byte { return layOut(fs, "{\n  ", " : ", ",\n  ", "\n}") }

// compactJSON lays members out on one line, as in queues.
func compactJSON(fs []field) []byte { return layOut(fs, "{", ":", ",", "}") }

func layOut(fs []field, begin, colon, comma, end string) []byte {
	var b bytes.Buffer
	for i, f := range fs {
		if i == 0 {
			b.WriteString(begin)
		} else {
			b.WriteString(comma)
		}
		b.Write(mustJSON(f.name))
		b.WriteString(colon)
		if f.raw != nil {
			b.Write(f.raw)
		} else {
			b.Write(mustJSON(f.value))
		}
	}
	b.WriteString(end)
	return b.Bytes()
}

// envelope encodes m for the store and remembers it, since those it is for read
// it at once.
func (s *Service) envelope(scope sestina.Scope, id sestina.ID, m *message) store.Envelope {
	m.Format = format
	s.envelopes.put(id, m)
	return store.Envelope{ID: id, Scope: scope, Data: mustJSON(m)}
}

// readEnvelope returns the message of a stored envelope.
func (s *Service) readEnvelope(ctx context.Context, id sestina.ID) (*message, error) {
	if m, ok := s.envelopes.get(id, nil); ok {
		return m, nil
	}
	e, err := s.Store.Envelope(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("read envelope %s: %w", id, err)
	}
	m := new(message)
	if err := json.Unmarshal(e.Data, m); err != nil {
		return nil, fmt.Errorf("decode envelope %s: %w", id, err)
	}
	s.envelopes.put(id, m)
	return m, nil
}

// queueAttributes are the message attributes as a queue takes them.
func queueAttributes(attrs []attribute) (map[string]QueueAttribute, error) {
	if len(attrs) > maxQueueAttributes {
		return nil, fmt.Errorf("the message has %d attributes; a queue takes at most %d", len(attrs), maxQueueAttributes)
	}
	if len(attrs) == 0 {
		return nil, nil
	}
	out := make(map[string]QueueAttribute, len(attrs))
	for _, a := range attrs {
		q := QueueAttribute{DataType: a.Type}
		if a.isBinary() {
			var err error
			if q.BinaryValue, err = base64.StdEncoding.DecodeString(a.Value); err != nil {
				return nil, fmt.Errorf("decode attribute %q: %w", a.Name, err)
			}
		} else {
			q.StringValue = a.Value
		}
		out[a.Name] = q
	}
	return out, nil
}

// sortAttributes puts attributes in the order of names.
func sortAttributes(attrs []attribute) {
	slices.SortFunc(attrs, func(a, b attribute) int { return strings.Compare(a.Name, b.Name) })
}
