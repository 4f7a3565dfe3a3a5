package message

import (
	"bytes"
	"encoding/base64"
	"mime/quotedprintable"
	"slices"
	"strings"
	"unicode/utf8"
)

// textNode builds the leaf for a text or HTML body.
func textNode(subtype string, c Content) (*node, error) {
	enc, known := lookupCharset(c.Charset)
	if !known {
		return nil, unknownCharset(c.Charset)
	}
	charset := c.Charset
	if charset == "" || enc == nil && !isASCII(c.Data) {
		charset = "UTF-8"
	}
	data := []byte(strings.ToValidUTF8(c.Data, "\uFFFD"))
	data = normalize(data)
	if enc != nil {
		if b, err := enc.NewEncoder().Bytes(data); err == nil {
			data = b
		} else {
			charset = "UTF-8"
		}
	}
	encoding, body := encodeText(data)
	return &node{
		fields: "Content-Type: text/" + subtype + "; charset=" + charset + "\r\n" +
			"Content-Transfer-Encoding: " + encoding + "\r\n",
		body: body,
	}, nil
}

// encodeText chooses the transfer encoding for text with CRLF line ends: none
// where it can travel as it is, quoted-printable where it stays readable, else
// base64.
func encodeText(b []byte) (encoding string, body []byte) {
	if isMailText(b) {
		return "7bit", b
	}
	plain, nuls := 0, 0
	for _, c := range b {
		if c < utf8.RuneSelf {
			plain++
		}
		if c == 0 {
			nuls++
		}
	}
	if nuls > 0 || plain < len(b)-plain {
		return "base64", encodeBase64(b)
	}
	return "quoted-printable", encodeQP(b, false)
}

// isMailText reports whether b can be sent without encoding: ASCII without NUL,
// CRLF line ends only, no line longer than 998 characters. rfc5322#2.1.1
func isMailText(b []byte) bool {
	line := 0
	for i, c := range b {
		switch {
		case c == '\r':
			if i+1 == len(b) || b[i+1] != '\n' {
				return false
			}
		case c == '\n':
			if i == 0 || b[i-1] != '\r' {
				return false
			}
			line = 0
		case c == 0 || c >= utf8.RuneSelf:
			return false
		default:
			if line++; line > 998 {
				return false
			}
		}
	}
	return true
}

// encodeQP encodes as quoted-printable; binary encodes line ends too, so that
// they survive exactly.
func encodeQP(b []byte, binary bool) []byte {
	var out bytes.Buffer
	out.Grow(len(b) + len(b)/4)
	w := quotedprintable.NewWriter(&out)
	w.Binary = binary
	_, _ = w.Write(b) // a bytes.Buffer takes everything
	_ = w.Close()
	return out.Bytes()
}

// base64Line is the number of bytes in a line of 76 characters.
const base64Line = 57

func encodeBase64(b []byte) []byte {
	out := make([]byte, 0, base64.StdEncoding.EncodedLen(len(b))+2*(len(b)/base64Line+1))
	for chunk := range slices.Chunk(b, base64Line) {
		out = base64.StdEncoding.AppendEncode(out, chunk)
		out = append(out, '\r', '\n')
	}
	return bytes.TrimSuffix(out, []byte("\r\n"))
}
