package message

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"strings"
)

// Simple is formatted mail: what SES v1 SendEmail and the Simple content of SES
// v2 SendEmail are made of. Rendered templates take this way too.
type Simple struct {
	From        Address
	To          []Address
	Cc          []Address
	ReplyTo     []Address
	Subject     Content
	Text        *Content // nil for none
	HTML        *Content // nil for none
	Headers     []Field  // at most 15, see Compose
	Attachments []Attachment
	// Seed makes the MIME boundaries: the SES message id. The same Simple
	// always gives the same bytes.
	Seed string
}

// Content is text and the charset it is to be sent in. Data is UTF-8, as it
// came out of the API. ses-model:Content
type Content struct {
	Data    string
	Charset string // a MIME charset name; "" sends UTF-8
}

// Limits of formatted mail. ses-guide:quotas, ses-model:MessageHeader
const (
	maxSubject      = 998 // characters
	maxExtraHeaders = 15
	maxExtraName    = 126
	maxExtraValue   = 995
	maxExtraBoth    = 996
)

// Compose builds the message. Its fields stand in the order From, Reply-To, To,
// Cc, Subject, MIME-Version, Content-Type, Content-Transfer-Encoding, then the
// extra ones; Date and Message-ID are left to Stamp. No input can make a header
// field of its own.
//
// Refused, with *sestina.Error: unknown charsets, control characters in the
// subject, extra headers beyond the documented limits, extra headers that SES
// writes itself or that may stand only once and do not, attachments with
// forbidden names or values outside the model. Text that its charset cannot
// hold is sent in UTF-8 instead.
func Compose(s Simple) (*Message, error) {
	if s.From.Addr() == "" {
		return nil, refuse("Missing required header 'From'.")
	}
	subject, err := subjectValue(s.Subject)
	if err != nil {
		return nil, err
	}
	if err := checkExtraHeaders(s.Headers); err != nil {
		return nil, err
	}
	root, err := buildTree(s)
	if err != nil {
		return nil, err
	}
	root.setBoundaries(s.Seed)

	m := &Message{}
	h := &m.Header
	h.Append("From", s.From.String())
	appendAddresses(h, "Reply-To", s.ReplyTo)
	appendAddresses(h, "To", s.To)
	appendAddresses(h, "Cc", s.Cc)
	h.Append("Subject", subject)
	h.Append("MIME-Version", "1.0")
	if err := h.appendRaw(root.header()); err != nil {
		return nil, err
	}
	for _, f := range s.Headers {
		h.Append(f.Name, f.Value)
	}
	body := bytes.NewBuffer(make([]byte, 0, root.size()))
	root.writeBody(body)
	m.Body = body.Bytes()
	return m, nil
}

// appendRaw adds fields made in this package as they are.
func (h *Header) appendRaw(raw string) error {
	add, rest, err := parseHeader([]byte(raw), true)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes are no header fields", len(rest))
	}
	if err != nil {
		return fmt.Errorf("compose message header: %w", err)
	}
	h.fields = append(h.fields, add.fields...)
	return nil
}

func appendAddresses(h *Header, name string, list []Address) {
	if len(list) == 0 {
		return
	}
	texts := make([]string, len(list))
	for i, a := range list {
		texts[i] = a.String()
	}
	h.Append(name, strings.Join(texts, ", "))
}

// subjectValue returns the Subject field's value.
func subjectValue(c Content) (string, error) {
	if hasControl(c.Data) {
		return "", refuse("Subject contains control characters")
	}
	if n := len([]rune(c.Data)); n > maxSubject {
		return "", refuse("Subject is longer than %d characters", maxSubject)
	}
	enc, known := lookupCharset(c.Charset)
	if !known {
		return "", unknownCharset(c.Charset)
	}
	if isASCII(c.Data) && foldable(c.Data) {
		return c.Data, nil // encoded words the client made itself stay
	}
	if enc != nil {
		if _, err := enc.NewEncoder().String(c.Data); err == nil {
			return encodeWords(c.Data, c.Charset, enc), nil
		}
	}
	return encodeWords(c.Data, "UTF-8", nil), nil
}

func unknownCharset(name string) error {
	return refuse("Unknown charset: %s", cleanName(name))
}

// reservedHeaders are the fields SES writes itself, or reads as instructions;
// they cannot be given as extra headers.
var reservedHeaders = map[string]bool{
	"from": true, "to": true, "cc": true, "bcc": true, "reply-to": true, "subject": true, "date": true,
	"message-id": true, "return-path": true, "mime-version": true, "content-type": true,
	"content-transfer-encoding": true, "content-disposition": true, "dkim-signature": true,
}

// checkExtraHeaders checks the Headers of a v2 message. ses-model:MessageHeader
func checkExtraHeaders(headers []Field) error {
	if len(headers) > maxExtraHeaders {
		return refuse("Header count exceeds %d.", maxExtraHeaders)
	}
	seen := make(map[string]bool)
	for _, f := range headers {
		lower := strings.ToLower(f.Name)
		switch {
		case f.Name == "":
			return refuse("Empty header names are illegal.")
		case len(f.Name) > maxExtraName || len(f.Value) > maxExtraValue || len(f.Name)+len(f.Value) > maxExtraBoth:
			return refuse("Header '%s' is too long.", printable([]byte(f.Name), maxExtraName))
		case !isHeaderName(f.Name) || reservedHeaders[lower] || strings.HasPrefix(lower, "x-ses-"):
			return refuse("Illegal header '%s'.", printable([]byte(f.Name), maxExtraName))
		case strings.IndexFunc(f.Value, func(r rune) bool { return r < ' ' || r > '~' }) >= 0:
			return refuse("Header '%s' contains illegal characters.", f.Name)
		case seen[lower] && onceOnlyIndex(f.Name) >= 0:
			return refuse("Duplicate header '%s'.", f.Name)
		}
		seen[lower] = true
	}
	return nil
}

func isHeaderName(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f || s[i] == ':' {
			return false
		}
	}
	return s != ""
}

// A node is a part of the message to be built: a leaf or a multipart.
type node struct {
	fields   string // of a leaf: all of its fields, each with CRLF
	body     []byte // of a leaf: encoded
	kind     string // of a multipart: its subtype
	first    string // of multipart/related: the type of its first part
	boundary string
	children []*node
}

// buildTree arranges the parts: text and HTML as alternatives, inline parts with
// a content id beside them, attachments around. rfc2046#5.1, rfc2387
func buildTree(s Simple) (*node, error) {
	var bodies []*node
	for _, t := range []struct {
		kind    string
		content *Content
	}{{"plain", s.Text}, {"html", s.HTML}} {
		if t.content == nil {
			continue
		}
		n, err := textNode(t.kind, *t.content)
		if err != nil {
			return nil, err
		}
		bodies = append(bodies, n)
	}
	if len(bodies) == 0 {
		n, err := textNode("plain", Content{})
		if err != nil {
			return nil, err
		}
		bodies = append(bodies, n)
	}
	root, rootType := bodies[0], "text/plain"
	if len(bodies) == 2 {
		root, rootType = &node{kind: "alternative", children: bodies}, "multipart/alternative"
	} else if s.HTML != nil {
		rootType = "text/html"
	}
	if len(s.Attachments) > maxParts-5 { // two texts and up to three multiparts
		return nil, tooManyParts()
	}
	var inline, attached []*node
	for _, a := range s.Attachments {
		n, err := attachmentNode(a)
		if err != nil {
			return nil, err
		}
		if a.inline() && a.ContentID != "" {
			inline = append(inline, n)
		} else {
			attached = append(attached, n)
		}
	}
	if len(inline) > 0 {
		root = &node{kind: "related", first: rootType, children: append([]*node{root}, inline...)}
	}
	if len(attached) > 0 {
		root = &node{kind: "mixed", children: append([]*node{root}, attached...)}
	}
	return root, nil
}

// setBoundaries gives every multipart its boundary, one that no leaf contains.
func (n *node) setBoundaries(seed string) {
	h := fnv.New64a()
	_, _ = h.Write([]byte(seed))
	sum := h.Sum64()
	for {
		count := 0
		if n.tryBoundaries(sum, &count) {
			return
		}
		sum++
	}
}

func (n *node) tryBoundaries(sum uint64, count *int) bool {
	if n.kind == "" {
		return true
	}
	*count++
	n.boundary = fmt.Sprintf("----=_Part_%d_%d.%d", *count, sum%1e9, sum/1e9)
	for _, c := range n.children {
		if c.contains("--"+n.boundary) || !c.tryBoundaries(sum, count) {
			return false
		}
	}
	return true
}

func (n *node) contains(s string) bool {
	if bytes.Contains(n.body, []byte(s)) {
		return true
	}
	for _, c := range n.children {
		if c.contains(s) {
			return true
		}
	}
	return false
}

// header returns the fields of the part. The parameter of a multipart stands on
// a line of its own; unfolded this is the two spaces that SES event records show.
func (n *node) header() string {
	if n.kind == "" {
		return n.fields
	}
	h := "Content-Type: multipart/" + n.kind + "; \r\n\tboundary=\"" + n.boundary + "\""
	if n.first != "" {
		h += "; \r\n\ttype=\"" + n.first + "\""
	}
	return h + "\r\n"
}

// size returns about how long the body will be, never less.
func (n *node) size() int {
	size := len(n.body) + 8
	for _, c := range n.children {
		size += c.size() + len(c.fields) + 2*len(n.boundary) + 200
	}
	return size
}

func (n *node) writeBody(b *bytes.Buffer) {
	if n.kind == "" {
		b.Write(n.body)
		return
	}
	for _, c := range n.children {
		b.WriteString("--" + n.boundary + "\r\n")
		b.WriteString(c.header())
		b.WriteString("\r\n")
		c.writeBody(b)
		b.WriteString("\r\n")
	}
	b.WriteString("--" + n.boundary + "--\r\n")
}
