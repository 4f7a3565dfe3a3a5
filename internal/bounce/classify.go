package bounce

import (
	"strconv"
	"strings"
)

// A Classifier reads replies by a table of rules. The zero value uses Rules. It
// may be used concurrently.
type Classifier struct {
	// First are rules tried before Rules, in order: an operator's own. A rule
	// without a type, subtype or delay leaves that to the next match.
	First []Rule
}

// A Meaning is what a reply means for the sender.
type Meaning struct {
	Rule    string // that decided the bounce type
	Type    string
	SubType string
	Delay   string
}

// Classify says what an outcome's reply means. It always gives a pair of type
// and subtype that SES documents.
func (c *Classifier) Classify(o *Outcome) Meaning {
	var m Meaning
	r := reply{code: strconv.Itoa(o.Code), enhanced: o.Enhanced, text: strings.ToLower(o.Text)}
	for _, rules := range [][]Rule{c.First, Rules} {
		for i := range rules {
			if m.complete() {
				return m
			}
			if rules[i].matches(&r) {
				m.take(&rules[i])
			}
		}
	}
	return m
}

func (m *Meaning) complete() bool { return m.Type != "" && m.Delay != "" }

func (m *Meaning) take(r *Rule) {
	if m.Type == "" && validPair(r.Type, r.SubType) {
		m.Rule, m.Type, m.SubType = r.Name, r.Type, r.SubType
	}
	if m.Delay == "" {
		m.Delay = r.Delay
	}
}

// GivenUp is the meaning of a temporary failure when time runs out: always
// Transient, with the subtype when it is one that Transient has.
func (m Meaning) GivenUp() Meaning {
	if m.Type != Transient {
		m.SubType = General
	}
	m.Type = Transient
	return m
}

// pairs are the documented types and subtypes.
var pairs = map[string][]string{
	Undetermined: {Undetermined},
	Permanent: {
		General, "NoEmail", "Suppressed", "OnAccountSuppressionList", "OnTenantSuppressionList",
		"EmailValidationSuppressed", "UnsubscribedRecipient",
	},
	Transient: {General, MailboxFull, MessageTooLarge, CustomTimeoutExceeded, ContentRejected, AttachmentRejected},
}

func validPair(typ, sub string) bool {
	for _, s := range pairs[typ] {
		if s == sub {
			return true
		}
	}
	return false
}

type reply struct{ code, enhanced, text string }

// matches: codes and enhanced codes are alternatives when a rule has both, the
// text is a condition of its own.
func (r *Rule) matches(p *reply) bool {
	if len(r.Codes)+len(r.Enhanced) > 0 && !r.matchesCode(p.code) && !r.matchesEnhanced(p.enhanced) {
		return false
	}
	if len(r.Text) == 0 {
		return true
	}
	for _, pattern := range r.Text {
		if containsPattern(p.text, pattern) {
			return true
		}
	}
	return false
}

func (r *Rule) matchesCode(code string) bool {
	for _, c := range r.Codes {
		if len(c) != len(code) {
			continue
		}
		ok := true
		for i := range len(c) {
			ok = ok && (c[i] == code[i] || c[i] == 'x')
		}
		if ok {
			return true
		}
	}
	return false
}

func (r *Rule) matchesEnhanced(status string) bool {
	got := strings.Split(status, ".")
	for _, e := range r.Enhanced {
		want := strings.Split(e, ".")
		if len(want) != len(got) {
			continue
		}
		ok := true
		for i := range want {
			ok = ok && (want[i] == got[i] || want[i] == "*" && (i > 0 || got[0] != "2"))
		}
		if ok {
			return true
		}
	}
	return false
}

// containsPattern reports whether the parts of pattern between stars occur in
// text, in order. A part begins at the beginning of a word, so that "rbl" is
// not found in "marble".
func containsPattern(text, pattern string) bool {
	for part := range strings.SplitSeq(strings.ToLower(pattern), "*") {
		i := indexWord(text, part)
		if i < 0 {
			return false
		}
		text = text[i+len(part):]
	}
	return true
}

func indexWord(text, part string) int {
	for from := 0; ; {
		i := strings.Index(text[from:], part)
		if i < 0 {
			return -1
		}
		i += from
		if i == 0 || part == "" || !isWord(text[i-1]) || !isWord(part[0]) {
			return i
		}
		from = i + 1
	}
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c >= 0x80
}
