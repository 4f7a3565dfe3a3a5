package message

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"iter"
	"strings"
)

// Limits of a header. SES publishes none; these are far above any real message
// and keep memory bounded.
const (
	maxHeaderBytes = 512 << 10
	maxFields      = 1000
)

// A Field is a header field in readable form: the name in its original case,
// the value unfolded and trimmed.
type Field struct {
	Name  string
	Value string
}

// A Header is the header of a message. Order, case and bytes of the fields stay
// as they were read, apart from line ends. The zero value is empty. A Header
// may alias the bytes it was parsed from, and never writes to them. It must not
// be used concurrently while it is changed.
type Header struct {
	fields []field
}

// A field is one header field as it stands in the message.
type field struct {
	raw  []byte // everything, each line with CRLF
	name int    // length of the name
}

func (f field) is(name string) bool {
	return f.name == len(name) && equalFold(f.raw[:f.name], name)
}

// value returns the text after the colon, unfolded.
func (f field) value() string {
	v := f.raw[f.name:]
	return unfold(string(bytes.Trim(v[bytes.IndexByte(v, ':')+1:], " \t\r\n")))
}

// unfold makes one line of a trimmed value: a line end and the white space
// after it become one space.
func unfold(v string) string {
	if strings.IndexByte(v, '\n') < 0 {
		return v
	}
	var b strings.Builder
	b.Grow(len(v))
	for {
		line, rest, more := strings.Cut(v, "\r\n")
		b.WriteString(line)
		if !more {
			return b.String()
		}
		b.WriteByte(' ')
		v = strings.TrimLeft(rest, " \t")
	}
}

// equalFold compares without regard to ASCII case.
func equalFold(b []byte, s string) bool {
	for i, c := range b {
		d := s[i]
		if c != d && (c|0x20 != d|0x20 || c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return true
}

// ReadHeader reads the header of a stored message up to and with the blank
// line, so that r stands at the body.
func ReadHeader(r *bufio.Reader) (*Header, error) {
	var buf []byte
	lineStart := 0
	for {
		part, err := r.ReadSlice('\n')
		buf = append(buf, part...)
		if err != nil && err != io.EOF && err != bufio.ErrBufferFull {
			return nil, fmt.Errorf("read message header: %w", err)
		}
		if len(buf) > maxHeaderBytes {
			return nil, fmt.Errorf("read message header: longer than %d bytes", maxHeaderBytes)
		}
		if err == bufio.ErrBufferFull {
			continue
		}
		if err == io.EOF || len(trimLineEnd(buf[lineStart:])) == 0 {
			break
		}
		lineStart = len(buf)
	}
	h, _, err := parseHeader(buf, true)
	if err != nil {
		return nil, fmt.Errorf("read message header: %w", err)
	}
	return &h, nil
}

// Len returns the number of fields.
func (h *Header) Len() int { return len(h.fields) }

// Size returns the length in bytes of the header with its closing blank line.
func (h *Header) Size() int {
	n := 2
	for _, f := range h.fields {
		n += len(f.raw)
	}
	return n
}

// Raw returns the i-th field as it stands in the message, line ends included.
// The caller must not change it.
func (h *Header) Raw(i int) []byte { return h.fields[i].raw }

// All yields name and unfolded value of each field, in order.
func (h *Header) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, f := range h.fields {
			if !yield(string(f.raw[:f.name]), f.value()) {
				return
			}
		}
	}
}

func (h *Header) index(name string) int {
	for i, f := range h.fields {
		if f.is(name) {
			return i
		}
	}
	return -1
}

// Has reports whether there is a field with the name, in any case.
func (h *Header) Has(name string) bool { return h.index(name) >= 0 }

// Get returns the unfolded value of the first field with the name, or "".
func (h *Header) Get(name string) string {
	if i := h.index(name); i >= 0 {
		return h.fields[i].value()
	}
	return ""
}

// Values returns the unfolded values of all fields with the name, in order.
func (h *Header) Values(name string) []string {
	var out []string
	for _, f := range h.fields {
		if f.is(name) {
			out = append(out, f.value())
		}
	}
	return out
}

// Del removes all fields with one of the names and returns how many there were.
func (h *Header) Del(names ...string) int {
	kept := h.fields[:0]
next:
	for _, f := range h.fields {
		for _, n := range names {
			if f.is(n) {
				continue next
			}
		}
		kept = append(kept, f)
	}
	n := len(h.fields) - len(kept)
	h.fields = kept
	return n
}

// Set replaces the first field with the name, in its place, and removes the
// others; if there is none, it appends the field. See Append for what is
// written.
func (h *Header) Set(name, value string) {
	i := h.index(name)
	if i < 0 {
		h.Append(name, value)
		return
	}
	h.fields[i] = newField(name, value)
	kept := h.fields[:i+1]
	for _, f := range h.fields[i+1:] {
		if !f.is(name) {
			kept = append(kept, f)
		}
	}
	h.fields = kept
}

// Append adds a field at the end. Nothing in name or value can make a second
// field: control characters become spaces, text outside ASCII becomes encoded
// words, long values are folded, and what cannot stand in a name becomes '-'.
func (h *Header) Append(name, value string) {
	h.fields = append(h.fields, newField(name, value))
}

// Prepend adds fields at the top, in the order given, written as Append does.
func (h *Header) Prepend(fields ...Field) {
	add := make([]field, 0, len(fields)+len(h.fields))
	for _, f := range fields {
		add = append(add, newField(f.Name, f.Value))
	}
	h.fields = append(add, h.fields...)
}

// PrependRaw adds ready-made fields, such as a DKIM signature, at the top
// without changing a byte. It fails if raw is not whole fields with CRLF.
func (h *Header) PrependRaw(raw []byte) error {
	add, rest, err := parseHeader(raw, true)
	if err != nil {
		return fmt.Errorf("prepend header fields: %w", err)
	}
	if len(rest) > 0 || string(add.AppendTo(nil)) != string(raw)+"\r\n" {
		return fmt.Errorf("prepend header fields: %d bytes are not whole fields", len(raw))
	}
	h.fields = append(add.fields, h.fields...)
	return nil
}

// AppendTo appends the whole header with its closing blank line to b.
func (h *Header) AppendTo(b []byte) []byte {
	for _, f := range h.fields {
		b = append(b, f.raw...)
	}
	return append(b, '\r', '\n')
}

// insertBefore adds a field before the first one with the name other, or at the
// end.
func (h *Header) insertBefore(other, name, value string) {
	h.Append(name, value)
	if i := h.index(other); i >= 0 {
		last := h.fields[len(h.fields)-1]
		copy(h.fields[i+1:], h.fields[i:len(h.fields)-1])
		h.fields[i] = last
	}
}

func newField(name, value string) field {
	name = strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7f || r == ':' {
			return '-'
		}
		return r
	}, name)
	if name == "" {
		name = "-"
	}
	return field{raw: appendFolded(nil, name, cleanValue(value)), name: len(name)}
}

// cleanValue returns value as printable ASCII and tabs.
func cleanValue(value string) string {
	if hasControl(value) {
		value = strings.Map(func(r rune) rune {
			if r < ' ' && r != '\t' || r == 0x7f {
				return ' '
			}
			return r
		}, value)
	}
	if !isASCII(value) {
		value = encodeWords(value, "UTF-8", nil)
	}
	return strings.Trim(value, " \t")
}

// foldAt is the line length after which folding is tried. rfc5322#2.1.1
const foldAt = 76

// appendFolded appends "name: value\r\n", broken before single spaces so that
// unfolding gives the same value. A word longer than a line stays whole.
func appendFolded(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ':', ' ')
	column := len(name) + 2
	for value != "" {
		end := nextBreak(value)
		if column+end > foldAt && value[0] == ' ' {
			b = append(b, '\r', '\n')
			column = 0
		}
		b = append(b, value[:end]...)
		column += end
		value = value[end:]
	}
	return append(b, '\r', '\n')
}

// foldable reports whether folding keeps the lines of s far below the limit of
// 998 characters, also when quoting doubles it.
func foldable(s string) bool {
	for s != "" {
		end := nextBreak(s)
		if end > 450 {
			return false
		}
		s = s[end:]
	}
	return true
}

// nextBreak returns the index after 0 of the next single space followed by
// something, or the length of s.
func nextBreak(s string) int {
	for i := 1; i < len(s)-1; i++ {
		if s[i] == ' ' && !isBlank(rune(s[i-1])) && !isBlank(rune(s[i+1])) {
			return i
		}
	}
	return len(s)
}
