package message

import "bytes"

// parseHeader reads header fields from the start of raw and returns what
// follows the blank line. The header also ends, without a blank line, before a
// line that has no colon: such a line can only be text.
//
// Strict parsing refuses what SES refuses. Otherwise (in MIME parts, which are
// only looked at) broken lines are skipped and the limits end the header.
func parseHeader(raw []byte, strict bool) (h Header, rest []byte, err error) {
	h.fields = make([]field, 0, min(24, 1+len(raw)/48))
	var cur fieldSpan
	size := 0
	for rest = raw; len(rest) > 0; {
		n := bytes.IndexByte(rest, '\n') + 1
		if n == 0 {
			n = len(rest)
		}
		line := rest[:n]
		text := trimLineEnd(line)
		if size += n; size > maxHeaderBytes {
			if strict {
				return Header{}, nil, refuse("Message header is longer than %d bytes", maxHeaderBytes)
			}
			break
		}
		if len(text) == 0 {
			cur.close(&h)
			return h, rest[n:], nil
		}
		if isBlank(rune(text[0])) {
			if cur.raw == nil {
				if strict {
					return h, rest, nil
				}
			} else {
				cur.add(line, text)
			}
			rest = rest[n:]
			continue
		}
		name := bytes.IndexByte(text, ':')
		if name < 0 && strict {
			break
		}
		cur.close(&h)
		if ok, err := checkName(text, name, strict); err != nil {
			return Header{}, nil, err
		} else if ok {
			cur.open(rest, line, text, name)
		}
		rest = rest[n:]
		if len(h.fields) >= maxFields {
			if strict {
				return Header{}, nil, refuse("Message has more than %d header fields", maxFields)
			}
			break
		}
	}
	cur.close(&h)
	return h, rest, nil
}

// checkName reports whether text begins with a field name of the given length
// and a colon.
func checkName(text []byte, name int, strict bool) (bool, error) {
	if name < 0 {
		return false, nil
	}
	n := bytes.TrimRight(text[:name], " \t")
	ok := len(n) > 0
	for _, c := range n {
		ok = ok && c > ' ' && c < 0x7f
	}
	switch {
	case ok || !strict:
		return ok, nil
	case len(n) == 0:
		return false, refuse("Empty header names are illegal.")
	}
	return false, refuse("Illegal header '%s'.", printable(n, 100))
}

// printable returns b cut to at most max bytes, for an error text.
func printable(b []byte, most int) string {
	if len(b) > most {
		b = b[:most]
	}
	return cleanName(string(b))
}

// trimLineEnd cuts LF and the CRs before it, or trailing CRs at the end of the
// message. "\r\r\n" is one line end: that is what a CRLF file becomes when it
// is converted to CRLF once more.
func trimLineEnd(line []byte) []byte {
	n := len(line)
	if n > 0 && line[n-1] == '\n' {
		n--
	}
	for n > 0 && line[n-1] == '\r' {
		n--
	}
	return line[:n]
}

// A fieldSpan collects the lines of one field. As long as they are clean it is
// a slice of the message; else it is a copy.
type fieldSpan struct {
	raw   []byte // nil: no field is open
	name  int
	from  []byte // the message from the first line on, while clean
	clean bool
}

func (s *fieldSpan) open(msg, line, text []byte, colon int) {
	*s = fieldSpan{raw: msg[:0], from: msg, clean: true, name: len(bytes.TrimRight(text[:colon], " \t"))}
	s.add(line, text)
}

func (s *fieldSpan) add(line, text []byte) {
	clean := len(line) == len(text)+2 && line[len(line)-1] == '\n' && bytes.IndexByte(text, '\r') < 0 && bytes.IndexByte(text, 0) < 0
	blank := len(bytes.TrimLeft(text, " \t\r\x00")) == 0
	if s.clean && clean && !blank {
		s.raw = s.from[:len(s.raw)+len(line)]
		return
	}
	if s.clean {
		s.raw = append(make([]byte, 0, len(s.raw)+len(text)+2), s.raw...)
		s.clean = false
	}
	if blank {
		return // a line of white space only: some programs would end the header here
	}
	start := len(s.raw)
	s.raw = append(s.raw, text...)
	for i, c := range s.raw[start:] {
		if c == '\r' || c == 0 {
			s.raw[start+i] = ' '
		}
	}
	s.raw = append(s.raw, '\r', '\n')
}

func (s *fieldSpan) close(h *Header) {
	if s.raw != nil {
		h.fields = append(h.fields, field{raw: s.raw[:len(s.raw):len(s.raw)], name: s.name})
	}
	*s = fieldSpan{}
}
