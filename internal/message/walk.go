package message

import (
	"bytes"
	"io"
	"strings"
)

// Limits of the MIME structure. SES takes 500 parts (the message itself is not
// counted); the depth is ours. ses-guide:quotas
const (
	maxParts = 500
	maxDepth = 50
)

// An entity is the header of one MIME part, the message itself included.
type entity struct {
	index       int // in the order of appearance, the message is 0
	depth       int
	nested      bool   // inside an attached message
	kind        string // media type in lower case, "text/plain" by default
	contentType mediaParams
	disposition mediaParams
	encoding    string
	contentID   string
}

// filename returns the name a mail program would show, or "".
func (e *entity) filename() string {
	if n := e.disposition.get("filename"); n != "" {
		return n
	}
	return e.contentType.get("name")
}

// A visitor looks at the parts of a message during a walk.
type visitor interface {
	// part is called at the begin of every part that is not a multipart. The
	// decoded content goes to the sink, unless it is nil or the part is an
	// attached message that is walked into.
	part(e *entity) sink
}

// A walker splits a message into MIME parts while it is written to. It never
// fails, holds one line and one part header at most, and finds the parts of
// broken messages as mail programs do: by boundary lines alone. rfc2046#5.1
type walker struct {
	v       visitor
	descend bool // walk into attached messages
	total   *int // parts seen, shared with inner walkers

	depth      int
	nested     bool
	open       []openMultipart
	inHeader   bool
	digest     bool // default type of the part is message/rfc822
	header     []byte
	leaf       sink
	pendingEOL []byte
	carry      []byte // begin of a line not yet complete
	midLine    bool   // the line's begin was handled already

	tooDeep         bool
	missingBoundary bool
}

// An openMultipart is a multipart entity whose parts are being read.
type openMultipart struct {
	boundary string
	depth    int
	nested   bool
	digest   bool
	begun    bool // its first boundary was seen
}

// maxLineHeld is how much of a line is held back to look for a boundary.
const maxLineHeld = 8 << 10

func newWalker(v visitor, descend bool) *walker {
	return &walker{v: v, descend: descend, total: new(int), inHeader: true}
}

// Write takes the next bytes of the message. It never fails.
func (w *walker) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0 && !w.tooMany(); {
		n := bytes.IndexByte(rest, '\n') + 1
		switch {
		case n > 0 && len(w.carry) == 0:
			w.line(rest[:n])
		case n > 0:
			w.carry = append(w.carry, rest[:n]...)
			w.line(w.carry)
			w.carry = w.carry[:0]
		default:
			n = len(rest)
			w.carry = append(w.carry, rest...)
			if len(w.carry) > maxLineHeld {
				// A CR at the end stays: it may belong to a line end.
				keep := len(w.carry) - 1
				last := w.carry[keep]
				w.line(w.carry[:keep])
				w.carry = append(w.carry[:0], last)
				w.midLine = true
			}
		}
		rest = rest[n:]
	}
	return len(p), nil
}

// tooMany reports whether there were more parts than are looked at. The walk
// sees nothing of what follows.
func (w *walker) tooMany() bool { return *w.total > maxParts+1 }

// close ends the message and the parts that are still open.
func (w *walker) close() {
	if len(w.carry) > 0 {
		w.line(w.carry)
		w.carry = nil
	}
	if w.inHeader && !w.tooMany() {
		w.beginEntity()
	}
	w.write(w.pendingEOL)
	w.endLeaf()
	w.pop(0)
}

// line handles a line with its line end, or a piece of a very long line.
func (w *walker) line(line []byte) {
	text := trimLineEnd(line)
	whole := !w.midLine
	w.midLine = len(text) == len(line)
	if whole && len(w.open) > 0 && len(text) > 2 && text[0] == '-' && text[1] == '-' && w.boundary(text[2:]) {
		return
	}
	if w.inHeader {
		if whole && len(text) == 0 {
			w.beginEntity()
		} else if len(w.header)+len(line) <= maxHeaderBytes {
			w.header = append(w.header, line...)
		}
		return
	}
	if w.leaf == nil {
		return
	}
	w.write(w.pendingEOL)
	w.write(text)
	w.pendingEOL = append(w.pendingEOL[:0], line[len(text):]...)
}

func (w *walker) write(p []byte) {
	if w.leaf != nil && len(p) > 0 {
		w.leaf.write(p)
	}
}

// boundary reports whether text, the line after "--", is a boundary line of an
// open multipart, and if so begins the next part or ends the multipart.
func (w *walker) boundary(text []byte) bool {
	text = bytes.TrimRight(text, " \t")
	for i := len(w.open) - 1; i >= 0; i-- {
		b := w.open[i].boundary
		if len(text) < len(b) || string(text[:len(b)]) != b {
			continue
		}
		tail := text[len(b):]
		last := string(tail) == "--"
		if len(tail) > 0 && !last {
			continue
		}
		if w.inHeader {
			w.beginEntity()
		}
		w.endLeaf()
		w.open[i].begun = true
		w.pop(i + 1)
		m := w.open[i]
		if last {
			w.pop(i)
			w.inHeader = false
			return true
		}
		w.inHeader, w.digest = true, m.digest
		w.depth, w.nested = m.depth+1, m.nested
		return true
	}
	return false
}

// pop closes the multiparts from the n-th on.
func (w *walker) pop(n int) {
	for _, m := range w.open[min(n, len(w.open)):] {
		if !m.begun && !m.nested {
			w.missingBoundary = true
		}
	}
	w.open = w.open[:min(n, len(w.open))]
}

func (w *walker) endLeaf() {
	if w.leaf != nil {
		w.leaf.close()
	}
	w.leaf = nil
	w.pendingEOL = w.pendingEOL[:0]
}

// beginEntity reads the collected part header and decides what its body is.
func (w *walker) beginEntity() {
	e := w.readEntity()
	w.header, w.inHeader, w.digest = w.header[:0], false, false
	*w.total++
	if w.tooMany() {
		return
	}
	if e.depth >= maxDepth {
		w.tooDeep = true
	} else if strings.HasPrefix(e.kind, "multipart/") {
		if b := e.contentType.get("boundary"); b != "" && len(b) <= 1000 {
			w.open = append(w.open, openMultipart{
				boundary: b, depth: e.depth, nested: e.nested, digest: e.kind == "multipart/digest"})
			return
		}
		if !e.nested {
			w.missingBoundary = true
		}
	}
	content := w.v.part(e)
	if w.descend && !w.tooDeep && (e.kind == "message/rfc822" || e.kind == "message/global") {
		if w.inner(e, content) {
			return
		}
	}
	if content != nil {
		w.leaf = newDecoder(e.encoding, content)
	}
}

// inner walks into an attached message. It reports false if the caller has to
// treat it as an ordinary part.
func (w *walker) inner(e *entity, content sink) bool {
	switch strings.ToLower(e.encoding) {
	case "base64", "quoted-printable":
		in := newWalker(w.v, true)
		in.total, in.depth, in.nested = w.total, e.depth+1, true
		w.leaf = newDecoder(e.encoding, &innerSink{in: in, outer: w, also: content})
		return true
	}
	if content != nil {
		content.close()
	}
	w.inHeader, w.depth, w.nested = true, e.depth+1, true
	return true
}

// innerSink feeds a decoded attached message to a walker of its own, and to the
// sink its content had anyway.
type innerSink struct {
	in, outer *walker
	also      sink
}

func (s *innerSink) write(p []byte) {
	_, _ = s.in.Write(p)
	if s.also != nil {
		s.also.write(p)
	}
}

func (s *innerSink) close() {
	s.in.close()
	s.outer.tooDeep = s.outer.tooDeep || s.in.tooDeep
	if s.also != nil {
		s.also.close()
	}
}

func (w *walker) readEntity() *entity {
	e := &entity{index: *w.total, depth: w.depth, nested: w.nested, kind: "text/plain"}
	if w.digest {
		e.kind = "message/rfc822"
	}
	h, _, _ := parseHeader(w.header, false) // lenient parsing has no error
	for _, f := range h.fields {
		switch {
		case f.is("Content-Type"):
			e.contentType.merge(parseParams(f.value()))
		case f.is("Content-Disposition"):
			e.disposition.merge(parseParams(f.value()))
		case f.is("Content-Transfer-Encoding") && e.encoding == "":
			e.encoding = strings.TrimSpace(f.value())
		case f.is("Content-ID") && e.contentID == "":
			e.contentID = strings.Trim(f.value(), "<> \t")
		}
	}
	if strings.Contains(e.contentType.kind, "/") {
		e.kind = e.contentType.kind
	}
	return e
}

// walk sends a whole stream through w.
func (w *walker) walk(r io.Reader) error {
	_, err := io.Copy(w, r)
	w.close()
	return err
}
