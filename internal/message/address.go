package message

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// An Address is one mailbox. rfc5322#3.4
type Address struct {
	Name   string // display name, decoded; "" if none; never holds control characters
	Local  string // left of the @, without quotes, 7-bit ASCII
	Domain string // right of the @, ASCII (punycode), in the case given
}

// maxAddress is the longest address accepted, in octets: 64 for the local
// part, 255 for the domain, and the @. rfc5321#4.5.3.1
const maxAddress = 320

// Addr returns local@domain as the SMTP envelope wants it, the local part
// quoted where it must be.
func (a Address) Addr() string {
	if a.Local == "" && a.Domain == "" {
		return ""
	}
	if isDotAtom(a.Local) {
		return a.Local + "@" + a.Domain
	}
	return quote(a.Local) + "@" + a.Domain
}

// String returns the mailbox as a header field holds it: ASCII only, without
// line ends, the name quoted or in encoded words where it must be. Parsing it
// gives the same Address.
func (a Address) String() string {
	if a.Name == "" {
		return a.Addr()
	}
	return formatPhrase(a.Name) + " <" + a.Addr() + ">"
}

// Domain returns the domain of an address or mailbox in lower case and
// punycode, or "" if s has none that could be one.
func Domain(s string) string {
	if a, err := ParseAddress(s); err == nil {
		return strings.ToLower(a.Domain)
	}
	return ""
}

// ParseAddress reads one mailbox: a bare address, an address in angle
// brackets, or one with a display name. Domains outside ASCII become punycode;
// local parts outside ASCII and all control characters are refused. Errors are
// *sestina.Error with the texts of SES.
func ParseAddress(s string) (Address, error) {
	if hasControl(s) {
		return Address{}, refuse("Local address contains control or whitespace")
	}
	return parseMailbox(s)
}

// ParseAddressList reads the mailboxes of an unfolded address field. An empty
// list is nil. Groups are refused unless they are empty, as in
// "undisclosed-recipients:;".
func ParseAddressList(s string) ([]Address, error) {
	if hasControl(s) {
		return nil, refuse("Local address contains control or whitespace")
	}
	items, err := splitList(s)
	if err != nil {
		return nil, err
	}
	var out []Address
	for _, it := range items {
		if it.group {
			if !it.emptyGroup {
				return nil, refuse("Group address is not allowed")
			}
			continue
		}
		a, err := parseMailbox(it.text)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

// checkAddrSpec splits and checks local@domain. The order of the checks is the
// one behind the texts SES answers: characters first, structure after.
func checkAddrSpec(s string) (Address, error) {
	if s == "" {
		return Address{}, refuse("Empty address")
	}
	local, domain, err := cutLocal(s)
	if err != nil {
		return Address{}, err
	}
	domain, err = checkDomain(domain)
	if err != nil {
		return Address{}, err
	}
	if len(local)+1+len(domain) > maxAddress {
		return Address{}, refuse("Address is longer than %d characters", maxAddress)
	}
	return Address{Local: local, Domain: domain}, nil
}

// cutLocal returns the unquoted local part and what follows the @.
func cutLocal(s string) (local, domain string, err error) {
	if s[0] == '"' {
		return cutQuotedLocal(s)
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c == '@':
			if i == 0 {
				return "", "", refuse("Missing local name")
			}
			local = s[:i]
			if strings.HasSuffix(local, ".") {
				return "", "", refuse("Local address ends with dot")
			}
			return local, s[i+1:], nil
		case c >= utf8.RuneSelf:
			return "", "", refuse("Local address contains non-ASCII characters")
		case c <= ' ' || c == 0x7f:
			return "", "", refuse("Local address contains control or whitespace")
		case strings.IndexByte(`()<>,;:\"[]`, c) >= 0:
			return "", "", refuse("Local address contains illegal character")
		case c == '.' && i == 0:
			return "", "", refuse("Local address starts with dot")
		case c == '.' && s[i-1] == '.':
			return "", "", refuse("Local address contains dot-dot")
		}
	}
	return "", "", refuse("Missing final '@domain'")
}

func cutQuotedLocal(s string) (local, domain string, err error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '"':
			if b.Len() == 0 {
				return "", "", refuse("Missing local name")
			}
			if i+1 >= len(s) || s[i+1] != '@' {
				return "", "", refuse("Missing final '@domain'")
			}
			return b.String(), s[i+2:], nil
		case c >= utf8.RuneSelf:
			return "", "", refuse("Local address contains non-ASCII characters")
		case c < ' ' || c == 0x7f:
			return "", "", refuse("Local address contains control or whitespace")
		case c == '\\' && i+1 < len(s):
			i++
			if s[i] < ' ' || s[i] >= 0x7f {
				return "", "", refuse("Local address contains control or whitespace")
			}
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", refuse(`Missing '"'`)
}

// checkDomain returns the domain in ASCII. Address literals are refused: SES
// sends to names only.
func checkDomain(d string) (string, error) {
	if d == "" {
		return "", refuse("Missing domain")
	}
	for _, r := range d {
		if r <= ' ' || r == 0x7f {
			return "", refuse("Domain contains control or whitespace")
		}
		if r < utf8.RuneSelf && !isLetterOrDigit(byte(r)) && r != '-' && r != '.' {
			return "", refuse("Domain contains illegal character")
		}
	}
	if !isASCII(d) {
		ascii, err := idna.Lookup.ToASCII(d)
		if err != nil || ascii == "" { // a soft hyphen alone maps to nothing
			return "", refuse("Domain contains illegal character")
		}
		d = ascii
	}
	switch {
	case d[0] == '.':
		return "", refuse("Domain starts with dot")
	case strings.Contains(d, ".."):
		return "", refuse("Domain contains dot-dot")
	case d[len(d)-1] == '.':
		return "", refuse("Domain ends with dot")
	case len(d) > 253:
		return "", refuse("Domain is longer than 253 characters")
	}
	for label := range strings.SplitSeq(d, ".") {
		if len(label) > 63 {
			return "", refuse("Domain label is longer than 63 characters")
		}
	}
	return d, nil
}

// isDotAtom reports whether s can stand unquoted left of an @. It is as wide as
// cutLocal, so that what was not quoted never becomes quoted.
func isDotAtom(s string) bool {
	if s == "" || s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`()<>,;:\"[]@`, c) >= 0 {
			return false
		}
	}
	return true
}

// isAtext reports whether c may stand in an atom. rfc5322#3.2.3
func isAtext(c byte) bool {
	return isLetterOrDigit(c) || c != 0 && strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

func isLetterOrDigit(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9'
}

func isASCII[T string | []byte](s T) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// hasControl reports whether s has a control character other than a tab.
func hasControl(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return true
		}
	}
	return false
}

func quote(s string) string {
	var b strings.Builder
	b.Grow(len(s) + 2)
	b.WriteByte('"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	b.WriteByte('"')
	return b.String()
}
