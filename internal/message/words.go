package message

import (
	"encoding/base64"
	"io"
	"mime"
	"strings"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/unicode"
)

// lookupCharset returns the encoding with the given MIME charset name, or nil
// if it is unknown. A nil encoder means the text stays UTF-8.
func lookupCharset(name string) (enc encoding.Encoding, known bool) {
	for i := range len(name) {
		if !isLetterOrDigit(name[i]) && strings.IndexByte("-_.:+", name[i]) < 0 {
			return nil, false
		}
	}
	switch strings.ToLower(name) {
	case "", "utf-8", "utf8", "us-ascii", "ascii", "ansi_x3.4-1968":
		return nil, true
	}
	// ianaindex first: its ISO-8859-1 is not windows-1252.
	enc, err := ianaindex.MIME.Encoding(name)
	if err != nil || enc == nil {
		if enc, err = htmlindex.Get(name); err != nil {
			return nil, false
		}
	}
	if enc == encoding.Replacement {
		return nil, false
	}
	return enc, true
}

// decodeCharset returns b, text in the named charset, as valid UTF-8. Unknown
// charsets and broken text are read as UTF-8, with U+FFFD for what is none.
func decodeCharset(b []byte, name string) string {
	enc, known := lookupCharset(name)
	if known && enc == nil && strings.HasPrefix(strings.ToLower(name), "utf") {
		enc = unicode.UTF8BOM
	}
	if known && enc != nil {
		if out, err := enc.NewDecoder().Bytes(b); err == nil {
			return strings.ToValidUTF8(string(out), "\uFFFD")
		}
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}

var wordDecoder = mime.WordDecoder{CharsetReader: func(charset string, r io.Reader) (io.Reader, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	return strings.NewReader(decodeCharset(b, charset)), nil
}}

// maxWords is the longest text whose encoded words are decoded: far more than
// the longest subject, and little enough for the quadratic worst case.
const maxWords = 16 << 10

// decodeWords decodes the encoded words in s and leaves everything else,
// broken ones included, as it is. rfc2047
func decodeWords(s string) string {
	if len(s) > maxWords || !strings.Contains(s, "=?") {
		return s
	}
	out, err := wordDecoder.DecodeHeader(s)
	if err != nil {
		return s
	}
	return out
}

// maxWord is the longest encoded word. rfc2047#2
const maxWord = 75

// encodeWords returns s as encoded words joined by spaces, each at most 75
// characters and complete in itself. A nil enc writes UTF-8. The form is
// allowed in phrases and in unstructured text. rfc2047#5
func encodeWords(s, charset string, enc encoding.Encoding) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	room := maxWord - len("=?") - len(charset) - len("?B??=")
	// Q stays readable where at most half of the bytes are escaped.
	all := toBytes(s, enc)
	useQ := qLength(all) <= 2*len(all)
	size := func(b []byte) int {
		if useQ {
			return qLength(b)
		}
		return base64.StdEncoding.EncodedLen(len(b))
	}
	var out strings.Builder
	emit := func(chunk []byte) {
		if out.Len() > 0 {
			out.WriteByte(' ')
		}
		out.WriteString("=?" + charset)
		if useQ {
			out.WriteString("?Q?")
			writeQ(&out, chunk)
		} else {
			out.WriteString("?B?" + base64.StdEncoding.EncodeToString(chunk))
		}
		out.WriteString("?=")
	}
	start := 0
	var chunk []byte
	for i, r := range s {
		end := i + len(string(r))
		next := toBytes(s[start:end], enc)
		if size(next) > room && start < i {
			emit(chunk)
			start = i
			next = toBytes(s[start:end], enc)
		}
		chunk = next
	}
	if len(chunk) > 0 || out.Len() == 0 {
		emit(chunk)
	}
	return out.String()
}

// toBytes encodes s, which was seen to be representable.
func toBytes(s string, enc encoding.Encoding) []byte {
	if enc == nil {
		return []byte(s)
	}
	b, err := encoding.ReplaceUnsupported(enc.NewEncoder()).Bytes([]byte(s))
	if err != nil {
		return []byte(s)
	}
	return b
}

// isQSafe reports whether c may stand for itself in a Q-encoded word of a phrase.
func isQSafe(c byte) bool {
	return isLetterOrDigit(c) || strings.IndexByte("!*+-/", c) >= 0
}

func qLength(b []byte) int {
	n := 0
	for _, c := range b {
		if isQSafe(c) || c == ' ' {
			n++
		} else {
			n += 3
		}
	}
	return n
}

func writeQ(out *strings.Builder, b []byte) {
	const hex = "0123456789ABCDEF"
	for _, c := range b {
		switch {
		case c == ' ':
			out.WriteByte('_')
		case isQSafe(c):
			out.WriteByte(c)
		default:
			out.WriteByte('=')
			out.WriteByte(hex[c>>4])
			out.WriteByte(hex[c&15])
		}
	}
}
