package sestina

import "strings"

// Account holds the settings of one account in one region that apply to all
// its mail. The zero value is a new account.
type Account struct {
	SendingOff         bool     // the negation of SendingEnabled
	SuppressionReasons []string // nil: both BOUNCE and COMPLAINT
	// Validation has ValidationAttributes in its ConditionThreshold and
	// ConfidenceThreshold; nil when they were never set.
	Validation *SuppressionOptions `json:",omitempty"`
	VDM        *AccountVDM         `json:",omitempty"`
	Details    *AccountDetails     `json:",omitempty"`
	AutoWarmup bool                `json:",omitempty"` // DedicatedIpAutoWarmupEnabled
	// Pools are the dedicated IP pools by name, at most MaxDedicatedIPPools.
	Pools map[string]DedicatedIPPool `json:",omitempty"`
	Tags  []Tag                      `json:",omitempty"`
}

// AccountVDM are the account's Virtual Deliverability Manager switches.
type AccountVDM struct {
	Enabled string // ENABLED or DISABLED
	VDMOptions
}

// AccountDetails say what an account sends, and why. ses-model:AccountDetails
type AccountDetails struct {
	MailType           string // MARKETING or TRANSACTIONAL
	WebsiteURL         string
	ContactLanguage    string   `json:",omitempty"` // EN or JA
	UseCaseDescription string   `json:",omitempty"`
	AdditionalContacts []string `json:",omitempty"` // at most 4
}

// A DedicatedIPPool is a named group of sending addresses. A configuration set
// names the pool its mail is sent with. ses-guide:dedicated-ip-pools
type DedicatedIPPool struct {
	ScalingMode string // STANDARD or MANAGED
	Tags        []Tag  `json:",omitempty"`
}

// MaxDedicatedIPPools is the most pools of an account in a region.
// ses-guide:quotas
const MaxDedicatedIPPools = 50

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
