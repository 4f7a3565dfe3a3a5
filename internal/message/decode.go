package message

import (
	"bytes"
	"encoding/base64"
	"strings"
)

// A sink takes the decoded bytes of a MIME part, piece by piece. The bytes are
// only valid during the call. close is called once, at the end of the part.
type sink interface {
	write(p []byte)
	close()
}

// newDecoder returns a sink that decodes a Content-Transfer-Encoding into to.
// Unknown encodings pass unchanged.
func newDecoder(encoding string, to sink) sink {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "base64":
		return &base64Sink{to: to}
	case "quoted-printable":
		return &qpSink{to: to}
	}
	return to
}

// base64Sink decodes base64 and skips what is not of its alphabet. Padding ends
// a group, and what follows is decoded afresh. rfc2045#6.8
type base64Sink struct {
	to  sink
	acc uint32
	n   int // sextets in acc
	out []byte
}

var base64Values = func() (t [256]int8) {
	for i := range t {
		t[i] = -1
	}
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		t[c] = int8(i)
	}
	return t
}()

func (d *base64Sink) write(p []byte) {
	d.out = d.out[:0]
	if d.n == 0 && len(p)%4 == 0 && len(p) > 0 { // the usual line: whole groups
		d.out = grow(d.out, base64.StdEncoding.DecodedLen(len(p)))
		if n, err := base64.StdEncoding.Decode(d.out[:cap(d.out)], p); err == nil {
			d.to.write(d.out[:n])
			return
		}
	}
	for _, c := range p {
		v := base64Values[c]
		if v < 0 {
			if c == '=' {
				d.flush()
			}
			continue
		}
		d.acc = d.acc<<6 | uint32(v)
		if d.n++; d.n == 4 {
			d.out = append(d.out, byte(d.acc>>16), byte(d.acc>>8), byte(d.acc))
			d.acc, d.n = 0, 0
		}
	}
	if len(d.out) > 0 {
		d.to.write(d.out)
	}
}

func grow(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, 0, n)
	}
	return b
}

// flush ends a group that is not complete.
func (d *base64Sink) flush() {
	switch d.n {
	case 2:
		d.out = append(d.out, byte(d.acc>>4))
	case 3:
		d.out = append(d.out, byte(d.acc>>10), byte(d.acc>>2))
	}
	d.acc, d.n = 0, 0
}

func (d *base64Sink) close() {
	d.out = d.out[:0]
	if d.flush(); len(d.out) > 0 {
		d.to.write(d.out)
	}
	d.to.close()
}

// qpSink decodes quoted-printable. An '=' that begins nothing stands for
// itself. rfc2045#6.7
type qpSink struct {
	to      sink
	pending []byte // an '=' and what follows it, not yet decided
	out     []byte
}

func (d *qpSink) write(p []byte) {
	d.out = d.out[:0]
	for len(p) > 0 {
		if len(d.pending) == 0 {
			n := bytes.IndexByte(p, '=')
			if n < 0 {
				d.out = append(d.out, p...)
				break
			}
			d.out = append(d.out, p[:n]...)
			d.pending = append(d.pending, '=')
			p = p[n+1:]
			continue
		}
		d.step(p[0])
		p = p[1:]
	}
	if len(d.out) > 0 {
		d.to.write(d.out)
	}
}

// step adds a byte after an '='.
func (d *qpSink) step(c byte) {
	if c == '=' {
		d.giveUp()
		d.pending = append(d.pending, c)
		return
	}
	d.pending = append(d.pending, c)
	last := d.pending[1:]
	switch {
	case c == '\n' && len(bytes.Trim(last, " \t\r\n")) == 0: // soft line end
		d.pending = d.pending[:0]
	case len(bytes.Trim(last, " \t\r")) == 0 && len(last) < 64: // white space before a soft line end
	case len(last) == 1 && unhex(c) >= 0:
	case len(last) == 2 && unhex(last[0]) >= 0 && unhex(c) >= 0:
		d.out = append(d.out, byte(unhex(last[0])<<4|unhex(c)))
		d.pending = d.pending[:0]
	default:
		d.giveUp()
	}
}

func (d *qpSink) giveUp() {
	d.out = append(d.out, d.pending...)
	d.pending = d.pending[:0]
}

func (d *qpSink) close() {
	if len(d.pending) > 0 && string(d.pending) != "=" {
		d.to.write(d.pending)
	}
	d.to.close()
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}
