package event

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
)

// Time formats t as all records do: UTC, three fraction digits, Z.
func Time(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// objectName is the key of the type object.
var objectName = map[sestina.EventType]string{
	sestina.Send: "send", sestina.Reject: "reject", sestina.Bounce: "bounce", sestina.Complaint: "complaint",
	sestina.Delivery: "delivery", sestina.Open: "open", sestina.Click: "click", sestina.RenderingFailure: "failure",
	sestina.DeliveryDelay: "deliveryDelay", sestina.Subscription: "subscription",
}

// Record returns the event record: one line of JSON without a newline at the
// end. mail is a frozen mail object as Mail.Encode makes it, object the type
// object, lateTags a JSON object of tags to add, or nil. Bounces and complaints
// carry the type object before the mail object, the others after it.
func Record(t sestina.EventType, mail, lateTags, object []byte) ([]byte, error) {
	name, ok := objectName[t]
	if !ok {
		return nil, fmt.Errorf("encode event record: unknown event type %q", t)
	}
	mail, err := addTags(mail, lateTags)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.Grow(len(mail) + len(object) + 64)
	b.WriteString(`{"eventType":"`)
	b.WriteString(t.RecordName())
	b.WriteString(`",`)
	member := func(name string, value []byte) {
		b.WriteByte('"')
		b.WriteString(name)
		b.WriteString(`":`)
		b.Write(value)
	}
	if t == sestina.Bounce || t == sestina.Complaint {
		member(name, object)
		b.WriteByte(',')
		member("mail", mail)
	} else {
		member("mail", mail)
		b.WriteByte(',')
		member(name, object)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// addTags puts the members of the JSON object late into the tags of a frozen
// mail object, whose last member they are.
func addTags(mail, late []byte) ([]byte, error) {
	if len(late) <= len("{}") {
		return mail, nil
	}
	if !bytes.HasSuffix(mail, []byte("}}")) {
		return nil, fmt.Errorf("encode event record: mail object of %d bytes does not end with its tags", len(mail))
	}
	out := make([]byte, 0, len(mail)+len(late))
	out = append(out, mail[:len(mail)-2]...)
	if out[len(out)-1] != '{' {
		out = append(out, ',')
	}
	out = append(out, late[1:len(late)-1]...)
	return append(out, "}}"...), nil
}

// A Header is one header field, its value unfolded.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// CommonHeaders are the headers most consumers look at.
type CommonHeaders struct {
	ReturnPath string   `json:"returnPath,omitempty"`
	From       []string `json:"from,omitempty"`
	ReplyTo    []string `json:"replyTo,omitempty"`
	Date       string   `json:"date,omitempty"`
	To         []string `json:"to,omitempty"`
	CC         []string `json:"cc,omitempty"`
	BCC        []string `json:"bcc,omitempty"`
	Sender     string   `json:"sender,omitempty"`
	MessageID  string   `json:"messageId"`
	Subject    string   `json:"subject,omitempty"`
}

// Mail is the mail object of a record.
type Mail struct {
	Timestamp        string        `json:"timestamp"`
	Source           string        `json:"source"`
	SourceARN        string        `json:"sourceArn"`
	SendingAccountID string        `json:"sendingAccountId"`
	MessageID        string        `json:"messageId"`
	Destination      []string      `json:"destination"`
	HeadersTruncated bool          `json:"headersTruncated"`
	Headers          []Header      `json:"headers"`
	CommonHeaders    CommonHeaders `json:"commonHeaders"`
	Tags             Tags          `json:"tags"` // stays last: Record adds to it
}

// Encode returns the frozen form.
func (m *Mail) Encode() ([]byte, error) {
	if m.Headers == nil {
		m.Headers = []Header{}
	}
	if m.Destination == nil {
		m.Destination = []string{}
	}
	return JSON(m)
}

// Tags are the message tags and auto-tags of a message, in order. Values of the
// same name are joined in one array.
type Tags []sestina.Tag

// MarshalJSON writes an object of arrays.
func (t Tags) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, group := range sestina.GroupTags(t) {
		name, err := JSON(group.Name)
		if err != nil {
			return nil, err
		}
		values, err := JSON(group.Values)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(values)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// UnmarshalJSON reads an object of arrays, names in the order written.
func (t *Tags) UnmarshalJSON(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	if _, err := dec.Token(); err != nil {
		return fmt.Errorf("decode tags: %w", err)
	}
	*t = nil
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return fmt.Errorf("decode tags: %w", err)
		}
		var values []string
		if err := dec.Decode(&values); err != nil {
			return fmt.Errorf("decode values of tag %v: %w", name, err)
		}
		for _, v := range values {
			*t = append(*t, sestina.Tag{Name: fmt.Sprint(name), Value: v})
		}
	}
	return nil
}

// Get returns the first value of a tag.
func (t Tags) Get(name string) (string, bool) {
	for _, tag := range t {
		if tag.Name == name {
			return tag.Value, true
		}
	}
	return "", false
}

// JSON encodes v as AWS does: without escapes for HTML, and without a newline at
// the end.
func JSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
