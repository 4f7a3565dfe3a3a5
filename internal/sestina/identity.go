package sestina

import (
	"strings"
	"time"
)

// An Identity is a domain or address that may send. The zero verification
// state is pending.
type Identity struct {
	Name      string // a domain in lower case, or an address as created
	CreatedAt time.Time
	Verified  bool
	// FeedbackForwardingOff turns off feedback forwarding by email.
	FeedbackForwardingOff bool
	// ConfigurationSet is the default configuration set, or "".
	ConfigurationSet string `json:",omitempty"`
	DKIM             DKIM
	MailFrom         MailFrom
	Policies         map[string]string `json:",omitempty"` // sending authorization, name to JSON
	Tags             []Tag             `json:",omitempty"`
}

// DKIM is how an identity's mail is signed.
type DKIM struct {
	SigningOff bool     // the negation of SigningEnabled
	Origin     string   // AWS_SES or EXTERNAL
	Tokens     []string // three Easy DKIM tokens, or the one BYODKIM selector
	KeyLength  string   // RSA_1024_BIT or RSA_2048_BIT
	// PrivateKey is a BYODKIM key as given (base64 of PKCS#1 or PKCS#8). It is
	// never returned by an API call.
	PrivateKey string `json:",omitempty"`
}

// MailFrom is an identity's custom MAIL FROM domain.
type MailFrom struct {
	Domain              string `json:",omitempty"`
	BehaviorOnMXFailure string `json:",omitempty"` // USE_DEFAULT_VALUE or REJECT_MESSAGE
}

// IsDomain reports whether the identity is a domain rather than an address.
func (i *Identity) IsDomain() bool { return !strings.Contains(i.Name, "@") }

// Type returns EMAIL_ADDRESS or DOMAIN. ses-model:IdentityType
func (i *Identity) Type() string {
	if i.IsDomain() {
		return "DOMAIN"
	}
	return "EMAIL_ADDRESS"
}
