package message

import "strings"

// maxEventHeaders is how much of a header an event record shows.
// ses-guide:event-publishing-retrieving-sns-contents
const maxEventHeaders = 10 << 10

// EventFields returns the fields for the headers array of an event record, in
// order and valid UTF-8, without Bcc. If the header is longer than 10 240
// bytes, only the fields that end before that point are returned, and truncated
// is true.
func (h *Header) EventFields() (fields []Field, truncated bool) {
	fields = make([]Field, 0, len(h.fields))
	// One string for the whole header; names and most values are parts of it.
	rest := string(h.AppendTo(make([]byte, 0, h.Size())))
	size := 0
	for _, f := range h.fields {
		if size += len(f.raw); size > maxEventHeaders {
			return fields, true
		}
		var raw string
		raw, rest = rest[:len(f.raw)], rest[len(f.raw):]
		if f.is("Bcc") {
			continue
		}
		value := raw[f.name:]
		value = unfold(strings.Trim(value[strings.IndexByte(value, ':')+1:], " \t\r\n"))
		fields = append(fields, Field{Name: raw[:f.name], Value: strings.ToValidUTF8(value, "\uFFFD")})
	}
	return fields, false
}

// CommonHeaders is the commonHeaders object of an event record, apart from the
// message id. Absent fields are nil or "".
type CommonHeaders struct {
	From       []string // as in the header, with display names
	To         []string
	Cc         []string
	ReplyTo    []string
	Sender     string
	ReturnPath string
	Date       string // the Date field's text
	Subject    string // decoded
	HasSubject bool   // false when there is no Subject field at all
}

// Common returns the selected fields for an event record. It never fails: an
// address field that cannot be taken apart is one entry.
func (h *Header) Common() CommonHeaders {
	return CommonHeaders{
		From:       h.addressTexts("From"),
		To:         h.addressTexts("To"),
		Cc:         h.addressTexts("Cc"),
		ReplyTo:    h.addressTexts("Reply-To"),
		Sender:     h.text("Sender"),
		ReturnPath: h.text("Return-Path"),
		Date:       h.text("Date"),
		Subject:    strings.ToValidUTF8(decodeWords(h.text("Subject")), "\uFFFD"),
		HasSubject: h.Has("Subject"),
	}
}

func (h *Header) text(name string) string {
	return strings.ToValidUTF8(h.Get(name), "\uFFFD")
}

func (h *Header) addressTexts(name string) []string {
	var out []string
	for _, v := range h.Values(name) {
		v = strings.ToValidUTF8(v, "\uFFFD")
		items, err := splitList(v)
		if err != nil {
			items = []listItem{{text: v}}
		}
		for _, it := range items {
			out = append(out, it.text)
		}
	}
	return out
}
