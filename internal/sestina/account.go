package sestina

import "strings"

// Account holds the settings of one account in one region that apply to all
// its mail. The zero value is a new account.
type Account struct {
	SendingOff         bool     // the negation of SendingEnabled
	SuppressionReasons []string // nil: both BOUNCE and COMPLAINT
	Tags               []Tag    `json:",omitempty"`
}

// MatchIdentity returns the names of the identities that an address may be
// verified by, best first: the address as written, the address without its
// +label, its domain, and the domain's parents. Addresses compare
// case-sensitively, domains do not. ses-guide:verify-addresses-and-domains
func MatchIdentity(address string) []string {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return nil
	}
	local, domain := address[:at], address[at+1:]
	names := []string{address}
	if plus := strings.IndexByte(local, '+'); plus > 0 {
		names = append(names, local[:plus]+"@"+domain)
	}
	for domain = strings.ToLower(domain); strings.Contains(domain, "."); {
		names = append(names, domain)
		_, domain, _ = strings.Cut(domain, ".")
	}
	return append(names, domain)
}
