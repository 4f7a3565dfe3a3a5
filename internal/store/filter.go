package store

import (
	"encoding/json"
	"slices"
	"strings"
)

// PageSize is how many rows a filter asks for: its limit, 100 when that is 0,
// at most 1000.
func PageSize(limit int) int {
	if limit <= 0 {
		return 100
	}
	return min(limit, 1000)
}

// A MessageMatcher compares messages with a filter, but for scope, time and
// paging. Engines read the newest messages first and compare them here, so that
// both understand Unicode alike.
type MessageMatcher struct {
	f         MessageFilter
	recipient string
	source    string
	subject   string
}

// NewMessageMatcher prepares a filter for comparing.
func NewMessageMatcher(f MessageFilter) *MessageMatcher {
	return &MessageMatcher{f: f, recipient: bareAddress(f.Recipient), source: bareAddress(f.Source), subject: strings.ToLower(f.Subject)}
}

// All reports whether every message fits.
func (x *MessageMatcher) All() bool {
	return x.f.Recipient+x.f.Source+x.f.Subject+x.f.ConfigurationSet+x.f.TagName == ""
}

// NeedsMail reports whether the mail object is needed to compare.
func (x *MessageMatcher) NeedsMail() bool { return x.f.TagName != "" }

// Fits compares everything but the tags: what is read without the mail object.
func (x *MessageMatcher) Fits(m *Message) bool {
	if x.f.ConfigurationSet != "" && !strings.EqualFold(x.f.ConfigurationSet, m.ConfigurationSet) {
		return false
	}
	if x.source != "" && !strings.EqualFold(x.source, bareAddress(m.Source)) {
		return false
	}
	if x.subject != "" && !strings.Contains(strings.ToLower(m.Subject), x.subject) {
		return false
	}
	isWanted := func(r string) bool { return strings.EqualFold(x.recipient, bareAddress(r)) }
	return x.recipient == "" || slices.ContainsFunc(m.Recipients, isWanted)
}

// TagsFit compares the tags of the mail object.
func (x *MessageMatcher) TagsFit(m *Message) bool {
	if x.f.TagName == "" {
		return true
	}
	var mail struct {
		Tags map[string][]string `json:"tags"`
	}
	if json.Unmarshal(m.Mail, &mail) != nil {
		return false
	}
	isWanted := func(v string) bool { return strings.EqualFold(x.f.TagValue, v) }
	for name, values := range mail.Tags {
		if strings.EqualFold(x.f.TagName, name) && (x.f.TagValue == "" || slices.ContainsFunc(values, isWanted)) {
			return true
		}
	}
	return false
}

// bareAddress returns the address of "Name <address>", or s itself.
func bareAddress(s string) string {
	s = strings.TrimSpace(s)
	if i := strings.LastIndexByte(s, '<'); i >= 0 && strings.HasSuffix(s, ">") {
		return strings.TrimSpace(s[i+1 : len(s)-1])
	}
	return s
}

// RowOverhead is what a row costs besides its payload, in bytes, roughly.
const RowOverhead = 200

// Size estimates how many bytes the effects add to the database.
func (e *Effects) Size() (n int) {
	for i := range e.Messages {
		m := &e.Messages[i]
		n += RowOverhead + len(m.Mail) + len(m.Payload) + len(m.Body.Inline)
	}
	for i := range e.Events {
		n += RowOverhead + len(e.Events[i].Object)
	}
	for i := range e.Units {
		n += RowOverhead + len(e.Units[i].Payload)
	}
	for i := range e.Envelopes {
		n += RowOverhead + len(e.Envelopes[i].Data)
	}
	for i := range e.Queued {
		n += RowOverhead + len(e.Queued[i].Body)
	}
	return n + RowOverhead*len(e.Attempts)
}
