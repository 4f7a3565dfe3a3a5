package message

import (
	"bytes"
	"io"
	"strings"
	"time"
)

// A Message is a header and a body. The body has CRLF line ends only and is
// never changed here; it may alias the bytes given to Parse.
type Message struct {
	Header Header
	Body   []byte
}

// Parse splits a message into header and body and makes every line end CRLF.
// It copies the body only if a line end has to change. raw must not change
// while the Message is in use; sizes are the caller's to limit.
//
// Refused are headers that SES refuses too: a field without a name, a name with
// illegal characters, an absurd size. Text outside ASCII in header values is
// kept. What else a message needs is checked by Check.
func Parse(raw []byte) (*Message, error) {
	h, rest, err := parseHeader(raw, true)
	if err != nil {
		return nil, err
	}
	return &Message{Header: h, Body: normalize(rest)}, nil
}

// normalize returns b with CRLF as its only line end. It returns b itself if
// that is so already. CRs before an LF belong to that line end, a lone CR
// becomes one of its own.
func normalize(b []byte) []byte {
	extra, clean := scanLineEnds(b)
	if clean {
		return b
	}
	out := make([]byte, 0, len(b)+extra)
	for len(b) > 0 {
		n := bytes.IndexByte(b, '\n')
		line, end := b, len(b)
		if n >= 0 {
			line, end = b[:n], n+1
			for len(line) > 0 && line[len(line)-1] == '\r' {
				line = line[:len(line)-1]
			}
		}
		for {
			before, after, found := bytes.Cut(line, []byte{'\r'})
			out = append(out, before...)
			if !found {
				break
			}
			out = append(out, '\r', '\n')
			line = after
		}
		if n >= 0 {
			out = append(out, '\r', '\n')
		}
		b = b[end:]
	}
	return out
}

// scanLineEnds reports whether every CR and LF of b is part of a CRLF and, if
// not, how many bytes normalising can add at most.
func scanLineEnds(b []byte) (extra int, clean bool) {
	crs := bytes.Count(b, []byte{'\r'})
	lines, bare := 0, 0
	for rest := b; ; {
		n := bytes.IndexByte(rest, '\n')
		if n < 0 {
			break
		}
		lines++
		if n == 0 || rest[n-1] != '\r' {
			bare++
		}
		rest = rest[n+1:]
	}
	if bare == 0 && crs == lines {
		return 0, true
	}
	return bare + crs, false
}

// onceOnly are the fields a message may have once, in lower case.
// ses-guide:header-fields
var onceOnly = func() map[string]int {
	m := make(map[string]int)
	for i, n := range strings.Fields(`Accept-Language acceptLanguage Archived-At Auto-Submitted Bounces-to
		Comments Content-Alternative Content-Base Content-Class Content-Description Content-Disposition
		Content-Duration Content-ID Content-Language Content-Length Content-Location Content-MD5
		Content-Transfer-Encoding Content-Type Date Delivered-To Disposition-Notification-Options
		Disposition-Notification-To DKIM-Signature DomainKey-Signature Errors-To From Importance In-Reply-To
		Keywords List-Archive List-Help List-Id List-Owner List-Post List-Subscribe List-Unsubscribe
		List-Unsubscribe-Post Message-Context Message-ID MIME-Version Organization Original-From
		Original-Message-ID Original-Recipient Original-Subject Precedence Priority References Reply-To
		Return-Path Return-Receipt-To Sender Solicitation Sensitivity Subject Thread-Index Thread-Topic
		User-Agent VBR-Info`) {
		m[strings.ToLower(n)] = i
	}
	return m
}()

// maxOnceOnly is at least the length of the longest name in onceOnly and their
// number.
const maxOnceOnly = 64

// onceOnlyIndex returns the position of name in onceOnly, or -1.
func onceOnlyIndex[T string | []byte](name T) int {
	if len(name) > maxOnceOnly {
		return -1
	}
	var lower [maxOnceOnly]byte
	for i := range len(name) {
		c := name[i]
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		lower[i] = c
	}
	if i, ok := onceOnly[string(lower[:len(name)])]; ok {
		return i
	}
	return -1
}

// Check refuses what SES refuses in an otherwise readable message: no From
// field, a field twice that may be there once, a multipart without its first
// boundary, forbidden attachment names, too many or too deeply nested parts.
func (m *Message) Check() error {
	var seen [maxOnceOnly]bool
	for _, f := range m.Header.fields {
		i := onceOnlyIndex(f.raw[:f.name])
		if i < 0 {
			continue
		}
		if seen[i] {
			return refuse("Duplicate header '%s'.", f.raw[:f.name])
		}
		seen[i] = true
	}
	if m.Header.Get("From") == "" {
		return refuse("Missing required header 'From'.")
	}
	return m.checkParts()
}

// From returns the mailboxes of the From field, at least one.
func (m *Message) From() ([]Address, error) {
	from, err := ParseAddressList(m.Header.Get("From"))
	if err == nil && len(from) == 0 {
		err = refuse("Missing required header 'From'.")
	}
	if err != nil {
		return nil, err
	}
	return from, nil
}

// A Submission is what Take removes from a message: instructions to SES, as the
// client wrote them. Of a field that is there twice the first one counts. ""
// means the field is absent or empty.
type Submission struct {
	ConfigurationSet      string
	MessageTags           string // read with ParseTags; of no account if the API call gave tags
	SourceARN             string
	FromARN               string
	ReturnPathARN         string
	ListManagementOptions string // read with ParseListManagement
	Tenant                string
	ReturnPath            string   // read with ParseReturnPath
	Bcc                   []string // values of the Bcc fields
}

// Take removes the SES control fields, Return-Path and Bcc and returns what
// they said. ses-guide:header-fields
func (m *Message) Take() Submission {
	var s Submission
	kept := m.Header.fields[:0]
	for _, f := range m.Header.fields {
		if !s.take(f) {
			kept = append(kept, f)
		}
	}
	m.Header.fields = kept
	return s
}

// take reports whether f is a field that Take removes, and keeps its value.
func (s *Submission) take(f field) bool {
	var to *string
	switch f.name {
	case len("Bcc"):
		if f.is("Bcc") {
			s.Bcc = append(s.Bcc, f.value())
			return true
		}
	case len("Return-Path"):
		if f.is("Return-Path") {
			to = &s.ReturnPath
		}
	}
	if f.name > 6 && equalFold(f.raw[:6], "X-SES-") {
		switch strings.ToUpper(string(f.raw[6:f.name])) {
		case "CONFIGURATION-SET":
			to = &s.ConfigurationSet
		case "MESSAGE-TAGS":
			to = &s.MessageTags
		case "SOURCE-ARN":
			to = &s.SourceARN
		case "FROM-ARN":
			to = &s.FromARN
		case "RETURN-PATH-ARN":
			to = &s.ReturnPathARN
		case "LIST-MANAGEMENT-OPTIONS":
			to = &s.ListManagementOptions
		case "TENANT":
			to = &s.Tenant
		}
	}
	if to == nil {
		return false
	}
	if *to == "" {
		*to = f.value()
	}
	return true
}

// Recipients returns the mailboxes of To, Cc and s.Bcc in that order, for a
// submission that names no recipients of its own. There may be none, and the
// same one may be there twice.
func (m *Message) Recipients(s Submission) ([]Address, error) {
	values := append(m.Header.Values("To"), m.Header.Values("Cc")...)
	var out []Address
	for _, v := range append(values, s.Bcc...) {
		list, err := ParseAddressList(v)
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
	}
	return out, nil
}

// Stamp sets Message-ID to the SES message id and Date to the time of
// acceptance in UTC, whatever the client had there. ses-guide:header-fields
func (m *Message) Stamp(id, region string, at time.Time) {
	date := at.UTC().Format("Mon, 2 Jan 2006 15:04:05 -0700")
	msgID := MessageIDHeader(id, region)
	if m.Header.Has("Date") {
		m.Header.Set("Date", date)
	} else {
		m.Header.Prepend(Field{"Date", date})
	}
	if m.Header.Has("Message-ID") {
		m.Header.Set("Message-ID", msgID)
	} else {
		m.Header.insertBefore("Subject", "Message-ID", msgID)
	}
}

// MessageIDHeader returns the Message-ID field's value for an SES message id:
// us-east-1 has a domain of its own.
func MessageIDHeader(id, region string) string {
	if region == "us-east-1" {
		return "<" + id + "@email.amazonses.com>"
	}
	return "<" + id + "@" + region + ".amazonses.com>"
}

// Size returns the length of the message in bytes.
func (m *Message) Size() int64 { return int64(m.Header.Size() + len(m.Body)) }

// Reader returns the message as a stream. The body is not copied.
func (m *Message) Reader() io.Reader {
	head := m.Header.AppendTo(make([]byte, 0, m.Header.Size()))
	return io.MultiReader(bytes.NewReader(head), bytes.NewReader(m.Body))
}

// WriteTo implements io.WriterTo.
func (m *Message) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(m.Header.AppendTo(make([]byte, 0, m.Header.Size())))
	if err != nil {
		return int64(n), err
	}
	k, err := w.Write(m.Body)
	return int64(n + k), err
}

// Bytes returns the message as one new slice.
func (m *Message) Bytes() []byte {
	return append(m.Header.AppendTo(make([]byte, 0, m.Size())), m.Body...)
}
