package message

import "strings"

// A listItem is the text of one mailbox or group of an address list.
type listItem struct {
	text       string
	group      bool
	emptyGroup bool
}

// splitList cuts an address list at its top-level commas. Empty elements are
// dropped, as the obsolete syntax allows. rfc5322#4.4
func splitList(s string) ([]listItem, error) {
	var out []listItem
	var start, groupBody int
	inGroup := false
	lastSemicolon := strings.LastIndexByte(s, ';')
	add := func(end int) {
		if t := strings.Trim(s[start:end], " \t"); t != "" {
			out = append(out, listItem{text: t})
		}
		start = end + 1
	}
	for i := 0; i < len(s); {
		switch s[i] {
		case '"', '(', '<':
			end, err := skipDelimited(s, i)
			if err != nil {
				return nil, err
			}
			i = end
			continue
		case ',':
			if !inGroup {
				add(i)
			}
		case ':':
			// A group only if it ends: "Note: Ana <ana@example.com>" is a sloppy name.
			if !inGroup && i < lastSemicolon {
				inGroup, groupBody = true, i+1
			}
		case ';':
			if !inGroup {
				return nil, refuse("Illegal semicolon, not in group")
			}
			empty := strings.Trim(s[groupBody:i], ", \t") == ""
			out = append(out, listItem{text: strings.Trim(s[start:i+1], " \t"), group: true, emptyGroup: empty})
			inGroup, start = false, i+1
		}
		i++
	}
	if inGroup { // the ';' seen ahead was inside quotes
		return nil, refuse("Missing ';'")
	}
	add(len(s))
	return out, nil
}

// skipDelimited returns the index after the quoted string, comment or angle
// brackets that begin at s[i].
func skipDelimited(s string, i int) (int, error) {
	switch s[i] {
	case '"':
		return skipQuoted(s, i)
	case '(':
		return skipComment(s, i)
	}
	for j := i + 1; j < len(s); j++ {
		switch s[j] {
		case '>':
			return j + 1, nil
		case '"':
			end, err := skipQuoted(s, j)
			if err != nil {
				return 0, err
			}
			j = end - 1
		}
	}
	return 0, refuse("Missing '>'")
}

func skipQuoted(s string, i int) (int, error) {
	for j := i + 1; j < len(s); j++ {
		switch s[j] {
		case '\\':
			j++
		case '"':
			return j + 1, nil
		}
	}
	return 0, refuse(`Missing '"'`)
}

func skipComment(s string, i int) (int, error) {
	depth := 0
	for j := i; j < len(s); j++ {
		switch s[j] {
		case '\\':
			j++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return j + 1, nil
			}
		}
	}
	return 0, refuse("Missing ')'")
}

// parseMailbox reads [phrase] "<" addr-spec ">" or addr-spec. A comment after a
// bare address is taken as its name, an old habit that is still met.
func parseMailbox(s string) (Address, error) {
	s = strings.Trim(s, " \t")
	open, err := indexAngle(s)
	if err != nil {
		return Address{}, err
	}
	if open < 0 {
		text, comment, err := cutComments(s)
		if err != nil {
			return Address{}, err
		}
		a, err := checkAddrSpec(text)
		if err != nil {
			return Address{}, err
		}
		a.Name = cleanName(decodeWords(comment))
		return a, nil
	}
	end, err := skipDelimited(s, open)
	if err != nil {
		return Address{}, err
	}
	if rest, _, err := cutComments(s[end:]); err != nil || rest != "" {
		return Address{}, refuse("Extra route-addr")
	}
	inner := strings.Trim(s[open+1:end-1], " \t")
	if strings.HasPrefix(inner, "@") && strings.IndexByte(inner, ':') > 0 {
		return Address{}, refuse("Illegal route-addr")
	}
	a, err := checkAddrSpec(inner)
	if err != nil {
		return Address{}, err
	}
	a.Name = parsePhrase(s[:open])
	return a, nil
}

// indexAngle returns the index of the first '<' outside quoted strings and
// comments, or -1.
func indexAngle(s string) (int, error) {
	for i := 0; i < len(s); {
		switch s[i] {
		case '<':
			return i, nil
		case '"', '(':
			end, err := skipDelimited(s, i)
			if err != nil {
				return 0, err
			}
			i = end
		default:
			i++
		}
	}
	return -1, nil
}

// cutComments returns s without its comments, trimmed, and the text of the last
// comment. Parentheses in quoted strings stay.
func cutComments(s string) (text, comment string, err error) {
	if strings.IndexByte(s, '(') < 0 {
		return strings.Trim(s, " \t"), "", nil
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		end := i + 1
		if s[i] == '"' || s[i] == '(' {
			if end, err = skipDelimited(s, i); err != nil {
				return "", "", err
			}
		}
		if s[i] == '(' {
			comment = strings.Trim(unescape(s[i+1:end-1]), " \t")
		} else {
			b.WriteString(s[i:end])
		}
		i = end
	}
	return strings.Trim(b.String(), " \t"), comment, nil
}

// parsePhrase decodes a display name: quoted strings are unquoted, encoded
// words decoded, comments dropped, runs of white space outside quotes become
// one space. Its quotes and parentheses are known to be closed.
func parsePhrase(s string) string {
	var b strings.Builder
	space := false
	for i := 0; i < len(s); {
		end := i + 1
		text := ""
		switch s[i] {
		case ' ', '\t':
			i, space = end, true
			continue
		case '(':
			i, _ = skipDelimited(s, i)
			space = true
			continue
		case '"':
			end, _ = skipDelimited(s, i)
			text = unescape(s[i+1 : end-1])
		default:
			for end < len(s) && s[end] != '"' && s[end] != '(' {
				end++
			}
			text = strings.Join(strings.FieldsFunc(s[i:end], isBlank), " ")
		}
		if space && b.Len() > 0 {
			b.WriteByte(' ')
		}
		space = isBlank(rune(s[end-1]))
		b.WriteString(decodeWords(text))
		i = end
	}
	return cleanName(b.String())
}

func isBlank(r rune) bool { return r == ' ' || r == '\t' }

func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// cleanName makes a decoded name safe to show and to write: encoded words can
// hide line ends and other control characters.
func cleanName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	return strings.TrimSpace(s)
}

// formatPhrase writes a name so that parsePhrase reads the same name.
func formatPhrase(name string) string {
	if !isASCII(name) || hasControl(name) || strings.Contains(name, "=?") || !foldable(name) {
		return encodeWords(name, "UTF-8", nil)
	}
	plain := true
	for i := range len(name) {
		if name[i] == ' ' && i > 0 && name[i-1] != ' ' {
			continue
		}
		plain = plain && isAtext(name[i])
	}
	if plain {
		return name
	}
	return quote(name)
}
