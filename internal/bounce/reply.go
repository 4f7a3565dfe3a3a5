package bounce

import (
	"strings"
	"unicode/utf8"
)

// SetReply takes a server's reply into o: the code, and the text after the code
// of each line. The enhanced status code that may lead every line is cut out
// and the lines are joined by spaces. The text is cut at MaxText bytes and made
// valid UTF-8 without control characters. rfc5321#4.2.1 rfc2034#4
func (o *Outcome) SetReply(code int, lines []string) {
	o.Code, o.Enhanced = code, ""
	var text []string
	for _, line := range lines {
		status, rest := splitEnhanced(line)
		if o.Enhanced == "" {
			o.Enhanced = status
		}
		if rest = clean(rest); rest != "" {
			text = append(text, rest)
		}
	}
	o.Text = cut(strings.Join(text, " "), MaxText)
}

// splitEnhanced cuts an enhanced status code off the front of a reply's text.
// Without one the status is "". rfc3463#2
func splitEnhanced(s string) (status, rest string) {
	end := strings.IndexByte(s, ' ')
	if end < 0 {
		end = len(s)
	}
	if !validEnhanced(s[:end]) {
		return "", s
	}
	return s[:end], strings.TrimLeft(s[end:], " ")
}

// validEnhanced reports whether s is class "." subject "." detail.
func validEnhanced(s string) bool {
	parts := strings.Split(s, ".")
	if len(parts) != 3 || len(parts[0]) != 1 || !strings.Contains("245", parts[0]) {
		return false
	}
	for _, p := range parts[1:] {
		if len(p) < 1 || len(p) > 3 || strings.Trim(p, "0123456789") != "" {
			return false
		}
	}
	return true
}

// clean makes a line fit for a record: printable, spaces trimmed.
func clean(s string) string {
	s = strings.ToValidUTF8(s, "?")
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	return strings.TrimSpace(s)
}

// cut shortens valid UTF-8 to at most n bytes.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
