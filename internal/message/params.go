package message

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// Reading MIME parameters must not fail: what a mail program understands
// somehow, a forbidden attachment could hide in. So mime.ParseMediaType, which
// gives up at the first fault, is not used for mail that comes in.

// mediaParams is a Content-Type or Content-Disposition value taken apart.
type mediaParams struct {
	kind   string // "text/plain", "attachment"; lower case
	params []Field
}

// maxParams bounds the parameters that are looked at.
const maxParams = 64

// parseParams reads `kind; name=value; name="value"` leniently. Segments and
// charsets of rfc2231 are resolved, encoded words are decoded.
func parseParams(s string) mediaParams {
	kind, rest := cutParam(s)
	p := mediaParams{kind: strings.ToLower(strings.TrimSpace(kind))}
	var segments []Field
	for n := 0; rest != "" && n < maxParams; n++ {
		var part string
		part, rest = cutParam(rest)
		name, value, ok := strings.Cut(part, "=")
		if !ok {
			continue
		}
		f := Field{Name: strings.ToLower(strings.TrimSpace(name)), Value: paramValue(value)}
		if strings.Contains(f.Name, "*") {
			segments = append(segments, f)
		} else {
			f.Value = decodeWords(f.Value)
			p.params = append(p.params, f)
		}
	}
	p.params = append(p.params, joinSegments(segments)...)
	return p
}

// cutParam cuts s at the first semicolon outside quotes.
func cutParam(s string) (part, rest string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == ';' && !quoted:
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

func paramValue(s string) string {
	s = strings.TrimSpace(s)
	if !strings.HasPrefix(s, `"`) {
		return s
	}
	if end, err := skipQuoted(s, 0); err == nil {
		return unescape(s[1 : end-1])
	}
	return unescape(s[1:])
}

// joinSegments joins name*0, name*1* … and decodes charset'lang'%XX values.
// rfc2231#3
func joinSegments(segments []Field) []Field {
	type joined struct {
		charset string
		parts   map[int]string
	}
	byName := make(map[string]*joined)
	var order []string
	for _, f := range segments {
		name, index, _ := strings.Cut(f.Name, "*")
		extended := index == "" || strings.HasSuffix(index, "*")
		n, _ := strconv.Atoi(strings.TrimSuffix(index, "*"))
		j := byName[name]
		if j == nil {
			j = &joined{parts: make(map[int]string)}
			byName[name] = j
			order = append(order, name)
		}
		value := f.Value
		if extended {
			if n == 0 {
				if c := strings.SplitN(value, "'", 3); len(c) == 3 {
					j.charset, value = c[0], c[2]
				}
			}
			if v, err := url.PathUnescape(value); err == nil {
				value = v
			}
		}
		if _, ok := j.parts[n]; !ok {
			j.parts[n] = value
		}
	}
	var out []Field
	for _, name := range order {
		j := byName[name]
		var b strings.Builder
		for n := range len(segments) {
			b.WriteString(j.parts[n])
		}
		out = append(out, Field{Name: name, Value: decodeCharset([]byte(b.String()), j.charset)})
	}
	return out
}

// merge adds a further field of the same name. The first kind and the first
// value of a parameter count, but no file name stays unseen.
func (p *mediaParams) merge(q mediaParams) {
	if p.kind == "" {
		p.kind = q.kind
	}
	p.params = append(p.params, q.params...)
}

// get returns the first parameter with the name, or "".
func (p mediaParams) get(name string) string {
	for _, f := range p.params {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// formatParam returns `; name="value"` with the line broken before the name, in
// the form of rfc2231 where the value is not ASCII and in segments where it is
// long.
func formatParam(name, value string) string {
	const fold = "; \r\n\t"
	const room = 60
	if isASCII(value) && !hasControl(value) && len(value) <= room {
		return fold + name + "=" + quote(value)
	}
	var segments []string
	var seg strings.Builder
	for _, c := range []byte(strings.ToValidUTF8(value, "\uFFFD")) {
		piece := string(rune(c))
		if !isLetterOrDigit(c) && strings.IndexByte("-._~", c) < 0 {
			piece = fmt.Sprintf("%%%02X", c)
		}
		if seg.Len()+len(piece) > room {
			segments = append(segments, seg.String())
			seg.Reset()
		}
		seg.WriteString(piece)
	}
	segments = append(segments, seg.String())
	if len(segments) == 1 {
		return fold + name + "*=UTF-8''" + segments[0]
	}
	var out strings.Builder
	for i, s := range segments {
		fmt.Fprintf(&out, "%s%s*%d*=", fold, name, i)
		if i == 0 {
			out.WriteString("UTF-8''")
		}
		out.WriteString(s)
	}
	return out.String()
}
