package awswire

import (
	"bytes"
	"errors"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// A jsonReader reads JSON values from memory, strictly by rfc8259. It exists
// because decoding by schema needs the kind of a value before its content, wants
// no intermediate values, and must tell malformed JSON from a wrong type.
type jsonReader struct {
	data []byte
	pos  int
}

// errJSON means that the text is not JSON.
var errJSON = errors.New("malformed JSON")

// maxDepth bounds the nesting of values in every protocol.
const maxDepth = 64

// peek returns the first byte of the next value or token, or 0 at the end.
func (r *jsonReader) peek() byte {
	for r.pos < len(r.data) {
		switch c := r.data[r.pos]; c {
		case ' ', '\t', '\n', '\r':
			r.pos++
		default:
			return c
		}
	}
	return 0
}

// next consumes c if it is the next token.
func (r *jsonReader) next(c byte) bool {
	if r.peek() != c {
		return false
	}
	r.pos++
	return true
}

// literal consumes the word, such as true.
func (r *jsonReader) literal(word string) error {
	if !bytes.HasPrefix(r.data[r.pos:], []byte(word)) {
		return errJSON
	}
	r.pos += len(word)
	return nil
}

// number consumes a number and returns its text.
func (r *jsonReader) number() ([]byte, error) {
	start := r.pos
	r.accept('-')
	if !r.accept('0') && !r.digits() {
		return nil, errJSON
	}
	if r.accept('.') && !r.digits() {
		return nil, errJSON
	}
	if r.accept('e') || r.accept('E') {
		if !r.accept('+') {
			r.accept('-')
		}
		if !r.digits() {
			return nil, errJSON
		}
	}
	return r.data[start:r.pos], nil
}

func (r *jsonReader) accept(c byte) bool {
	if r.pos < len(r.data) && r.data[r.pos] == c {
		r.pos++
		return true
	}
	return false
}

func (r *jsonReader) digits() bool {
	start := r.pos
	for r.pos < len(r.data) && r.data[r.pos] >= '0' && r.data[r.pos] <= '9' {
		r.pos++
	}
	return r.pos > start
}

// text consumes a string and returns its content. The result is part of the
// input unless it had to be unescaped.
func (r *jsonReader) text() ([]byte, error) {
	if !r.accept('"') {
		return nil, errJSON
	}
	rest := r.data[r.pos:]
	n := bytes.IndexByte(rest, '"')
	if n < 0 {
		return nil, errJSON
	}
	plain := rest[:n]
	if bytes.IndexByte(plain, '\\') < 0 {
		if hasControl(plain) || !utf8.Valid(plain) {
			return nil, errJSON
		}
		r.pos += n + 1
		return plain, nil
	}
	return r.escapedText()
}

func hasControl(b []byte) bool {
	for _, c := range b {
		if c < ' ' {
			return true
		}
	}
	return false
}

// escapedText consumes a string, whose opening quote was consumed, with
// escapes in it. The decoded form is never longer than the encoded one.
func (r *jsonReader) escapedText() ([]byte, error) {
	end := textEnd(r.data[r.pos:])
	if end < 0 {
		return nil, errJSON
	}
	out := make([]byte, 0, end)
	for {
		rest := r.data[r.pos:] // holds the closing quote
		n := 0
		for rest[n] != '"' && rest[n] != '\\' {
			if rest[n] < ' ' {
				return nil, errJSON
			}
			n++
		}
		out = append(out, rest[:n]...)
		r.pos += n + 1
		if rest[n] == '"' {
			if !utf8.Valid(out) {
				return nil, errJSON
			}
			return out, nil
		}
		var err error
		if out, err = r.escape(out); err != nil {
			return nil, err
		}
	}
}

// textEnd returns where the closing quote of a string is, or -1.
func textEnd(b []byte) int {
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			return i
		case '\\':
			i++
		}
	}
	return -1
}

// escape consumes what follows a backslash.
func (r *jsonReader) escape(out []byte) ([]byte, error) {
	if r.pos >= len(r.data) {
		return nil, errJSON
	}
	c := r.data[r.pos]
	r.pos++
	switch c {
	case '"', '\\', '/':
		return append(out, c), nil
	case 'b':
		return append(out, '\b'), nil
	case 'f':
		return append(out, '\f'), nil
	case 'n':
		return append(out, '\n'), nil
	case 'r':
		return append(out, '\r'), nil
	case 't':
		return append(out, '\t'), nil
	case 'u':
	default:
		return nil, errJSON
	}
	u, ok := r.hex4()
	if !ok {
		return nil, errJSON
	}
	if !utf16.IsSurrogate(u) {
		return utf8.AppendRune(out, u), nil
	}
	// A surrogate without its partner becomes the replacement character.
	if back := r.pos; r.accept('\\') && r.accept('u') {
		if low, ok := r.hex4(); ok {
			if both := utf16.DecodeRune(u, low); both != utf8.RuneError {
				return utf8.AppendRune(out, both), nil
			}
		}
		r.pos = back
	} else {
		r.pos = back
	}
	return utf8.AppendRune(out, utf8.RuneError), nil
}

func (r *jsonReader) hex4() (rune, bool) {
	if len(r.data)-r.pos < 4 {
		return 0, false
	}
	v, err := strconv.ParseUint(string(r.data[r.pos:r.pos+4]), 16, 16)
	if err != nil {
		return 0, false
	}
	r.pos += 4
	return rune(v), true
}

// skip consumes a value of any kind.
func (r *jsonReader) skip(depth int) error {
	switch r.peek() {
	case '{':
		return r.members(depth, func([]byte) error { return r.skip(depth + 1) })
	case '[':
		return r.elements(depth, func() error { return r.skip(depth + 1) })
	case '"':
		_, err := r.text()
		return err
	}
	return r.skipScalar()
}

// skipScalar consumes null, true, false or a number.
func (r *jsonReader) skipScalar() error {
	switch r.peek() {
	case 'n':
		return r.literal("null")
	case 't':
		return r.literal("true")
	case 'f':
		return r.literal("false")
	}
	_, err := r.number()
	return err
}

// members consumes an object and calls f for each key, which must consume the
// value. The key is valid until f returns.
func (r *jsonReader) members(depth int, f func(key []byte) error) error {
	if depth > maxDepth || !r.next('{') {
		return errJSON
	}
	if r.next('}') {
		return nil
	}
	for {
		if r.peek() != '"' {
			return errJSON
		}
		key, err := r.text()
		if err != nil {
			return err
		}
		if !r.next(':') {
			return errJSON
		}
		if err := f(key); err != nil {
			return err
		}
		if r.next('}') {
			return nil
		}
		if !r.next(',') {
			return errJSON
		}
	}
}

// elements consumes an array and calls f for each element, which must consume
// it.
func (r *jsonReader) elements(depth int, f func() error) error {
	if depth > maxDepth || !r.next('[') {
		return errJSON
	}
	if r.next(']') {
		return nil
	}
	for {
		if err := f(); err != nil {
			return err
		}
		if r.next(']') {
			return nil
		}
		if !r.next(',') {
			return errJSON
		}
	}
}
