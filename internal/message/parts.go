package message

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// PartInfo describes one part of a message that is shown as an attachment.
type PartInfo struct {
	Index       int    // position among all parts, for WritePart
	Name        string // file name, "" if none
	ContentType string // media type in lower case
	ContentID   string // without angle brackets
	Inline      bool   // meant to be shown in place
	Size        int64  // decoded, in bytes
}

// A View is a message as a mail program shows it. All text is valid UTF-8.
type View struct {
	Text        string // the first text/plain part that is no attachment
	HTML        string // the first text/html part that is no attachment
	Truncated   bool   // Text or HTML was cut, or the message has more than 500 parts
	Attachments []PartInfo
}

// maxText is how many decoded bytes of a text part a View holds.
const maxText = 2 << 20

// ErrNoPart is returned by WritePart for an index the message does not have.
var ErrNoPart = errors.New("the message has no such part")

// Parts reads a message and returns its texts and the list of its attachments.
// It takes broken mail as it is and never fails because of it; err comes only
// from r. At most 2 MiB of each text and 500 parts are looked at.
func Parts(r io.Reader) (View, error) {
	var c collector
	w := newWalker(&c, false)
	if err := w.walk(r); err != nil {
		return View{}, fmt.Errorf("read message parts: %w", err)
	}
	c.view.Truncated = w.tooMany()
	for _, t := range []*textSink{c.text, c.html} {
		if t != nil {
			c.view.Truncated = c.view.Truncated || t.cut
		}
	}
	c.view.Text, c.view.HTML = c.text.string(), c.html.string()
	return c.view, nil
}

// WritePart writes the decoded content of the part with the index, one that
// Parts listed, to w.
func WritePart(w io.Writer, r io.Reader, index int) (PartInfo, error) {
	f := partFinder{index: index, w: w}
	if err := newWalker(&f, false).walk(r); err != nil {
		return PartInfo{}, fmt.Errorf("read message part %d: %w", index, err)
	}
	switch {
	case !f.found:
		return PartInfo{}, ErrNoPart
	case f.err != nil:
		return PartInfo{}, fmt.Errorf("write message part %d: %w", index, f.err)
	}
	return f.info, nil
}

func (e *entity) info() PartInfo {
	return PartInfo{
		Index:       e.index,
		Name:        cleanName(e.filename()),
		ContentType: strings.ToValidUTF8(e.kind, "\uFFFD"),
		ContentID:   cleanName(e.contentID),
		Inline:      e.disposition.kind == "inline" || e.disposition.kind == "" && e.contentID != "",
	}
}

// collector is the visitor of Parts.
type collector struct {
	view       View
	text, html *textSink
}

func (c *collector) part(e *entity) sink {
	if e.disposition.kind != "attachment" && e.filename() == "" {
		slot := map[string]**textSink{"text/plain": &c.text, "text/html": &c.html}[e.kind]
		if slot != nil && *slot == nil {
			*slot = &textSink{charset: e.contentType.get("charset")}
			return *slot
		}
	}
	if e.index == 0 && strings.HasPrefix(e.kind, "multipart/") {
		return nil // a multipart that cannot be read is no attachment
	}
	c.view.Attachments = append(c.view.Attachments, e.info())
	return &sizeSink{c: c, i: len(c.view.Attachments) - 1}
}

// textSink keeps the begin of a text part.
type textSink struct {
	charset string
	b       []byte
	cut     bool
}

func (s *textSink) write(p []byte) {
	if room := maxText - len(s.b); len(p) > room {
		p, s.cut = p[:room], true
	}
	s.b = append(s.b, p...)
}

func (s *textSink) close() {}

func (s *textSink) string() string {
	if s == nil {
		return ""
	}
	return decodeCharset(s.b, s.charset)
}

// sizeSink counts the bytes of an attachment.
type sizeSink struct {
	c *collector
	i int
}

func (s *sizeSink) write(p []byte) { s.c.view.Attachments[s.i].Size += int64(len(p)) }
func (s *sizeSink) close()         {}

// partFinder is the visitor of WritePart, and the sink of the part it finds.
type partFinder struct {
	index int
	w     io.Writer
	info  PartInfo
	found bool
	err   error
}

func (f *partFinder) part(e *entity) sink {
	if e.index != f.index {
		return nil
	}
	f.found, f.info = true, e.info()
	return f
}

func (f *partFinder) write(p []byte) {
	f.info.Size += int64(len(p))
	if f.err == nil {
		_, f.err = f.w.Write(p)
	}
}

func (f *partFinder) close() {}
