package ses

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/sestina-mail/sestina/internal/message"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// maxIdentities is the most identities of an account in a region. ses-guide:quotas
const maxIdentities = 10_000

// domainProfile accepts the names of hosts. rfc5321#4.1.2
var domainProfile = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.CheckHyphens(true), idna.StrictDomainName(true), idna.VerifyDNSLength(true))

// identityName checks and normalises the name of an identity: a domain becomes
// lower case, an address stays as written (addresses compare case-sensitively).
func identityName(name string) (string, error) {
	name = strings.TrimSpace(name)
	if a, err := sestina.ParseARN(name); err == nil && a.Service == "ses" {
		name = strings.TrimPrefix(a.Resource, "identity/")
	}
	if strings.Contains(name, "@") {
		a, err := message.ParseAddress(name)
		if err != nil {
			return "", err
		}
		return a.Addr(), nil
	}
	ascii, err := domainProfile.ToASCII(name)
	if err != nil || !utf8.ValidString(name) || !strings.Contains(ascii, ".") || strings.HasSuffix(ascii, ".") {
		return "", invalid("Invalid email address or domain name <%s>.", name)
	}
	return strings.ToLower(ascii), nil
}

func noIdentity(name string) error {
	return sestina.SESErrorf("InvalidParameterValue", "NotFoundException", "Email identity %s does not exist.", name)
}

// createIdentity stores a new identity. With mayExist an existing one is
// returned instead of an error (v1 Verify… calls are repeatable).
func (s *Service) createIdentity(ctx context.Context, scope sestina.Scope, id sestina.Identity, mayExist bool) (*sestina.Identity, error) {
	name, err := identityName(id.Name)
	if err != nil {
		return nil, err
	}
	if err := checkResourceTags(id.Tags); err != nil {
		return nil, err
	}
	if id.ConfigurationSet != "" {
		if _, err := s.getSet(ctx, scope, id.ConfigurationSet); err != nil {
			return nil, err
		}
	}
	id.Name, id.CreatedAt, id.Verified = name, s.Clock.Now(), s.VerifyAtOnce
	if id.DKIM.Origin == "" {
		id.DKIM.Origin = "AWS_SES"
	}
	if id.DKIM.KeyLength == "" {
		id.DKIM.KeyLength = "RSA_2048_BIT"
	}
	if id.DKIM.Tokens == nil && id.IsDomain() {
		id.DKIM.Tokens = newDKIMTokens()
	}
	return s.Identities.Change(ctx, scope, name, func(tx store.Tx, cur *sestina.Identity) (*sestina.Identity, error) {
		if cur != nil {
			if mayExist {
				return cur, nil
			}
			return nil, sestina.SESErrorf("AlreadyExists", "AlreadyExistsException", "Email identity %s already exist.", name)
		}
		if n, err := s.Identities.Count(tx, scope); err != nil {
			return nil, err
		} else if n >= maxIdentities {
			return nil, sestina.SESErrorf("LimitExceeded", "LimitExceededException", "A maximum of %d identities is allowed.", maxIdentities)
		}
		return &id, nil
	})
}

// newDKIMTokens makes the three selectors of Easy DKIM: 32 lower-case letters
// and digits each.
func newDKIMTokens() []string {
	tokens := make([]string, 3)
	for i := range tokens {
		var b [20]byte
		_, _ = rand.Read(b[:]) // never fails, see crypto/rand
		tokens[i] = strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))
	}
	return tokens
}

// getIdentity returns an identity, to read.
func (s *Service) getIdentity(ctx context.Context, scope sestina.Scope, name string) (*sestina.Identity, error) {
	n, err := identityName(name)
	if err != nil {
		return nil, noIdentity(name)
	}
	id, err := s.Identities.Find(ctx, scope, n)
	if err == nil && id == nil {
		err = noIdentity(name)
	}
	return id, err
}

// changeIdentity changes an existing identity.
func (s *Service) changeIdentity(ctx context.Context, scope sestina.Scope, name string, fn func(*sestina.Identity) error) (*sestina.Identity, error) {
	n, err := identityName(name)
	if err != nil {
		return nil, noIdentity(name)
	}
	return s.Identities.Change(ctx, scope, n, func(_ store.Tx, cur *sestina.Identity) (*sestina.Identity, error) {
		if cur == nil {
			return nil, noIdentity(name)
		}
		return cur, fn(cur)
	})
}

// deleteIdentity deletes an identity. With mayMiss a missing one is no error.
func (s *Service) deleteIdentity(ctx context.Context, scope sestina.Scope, name string, mayMiss bool) error {
	n, err := identityName(name)
	if err != nil {
		if mayMiss {
			return nil
		}
		return noIdentity(name)
	}
	_, err = s.Identities.Change(ctx, scope, n, func(_ store.Tx, cur *sestina.Identity) (*sestina.Identity, error) {
		if cur == nil && !mayMiss {
			return nil, noIdentity(name)
		}
		return nil, nil
	})
	return err
}

// domainVerified reports whether a domain or a parent of it is a verified
// identity.
func (s *Service) domainVerified(scope sestina.Scope, domain string) bool {
	for _, n := range sestina.MatchIdentity("x@" + domain) {
		if id := s.Identities.Get(scope, n); id != nil && id.Verified && id.IsDomain() {
			return true
		}
	}
	return false
}

// verificationStatus is the status that both API versions show, in the
// spelling of version 2.
func verificationStatus(id *sestina.Identity) string {
	if id.Verified {
		return "SUCCESS"
	}
	return "PENDING"
}

// setMailFrom sets or clears the custom MAIL FROM domain.
func setMailFrom(id *sestina.Identity, domain, behavior string) error {
	if domain == "" {
		id.MailFrom = sestina.MailFrom{}
		return nil
	}
	ascii, err := domainProfile.ToASCII(domain)
	if err != nil {
		return invalid("Provided MAIL-FROM domain <%s> is not a valid domain.", domain)
	}
	parent := strings.ToLower(message.Domain(id.Name))
	if id.IsDomain() {
		parent = id.Name
	}
	if !strings.HasSuffix(strings.ToLower(ascii), "."+parent) {
		return invalid("Provided MAIL-FROM domain <%s> is not subdomain of the domain of the identity <%s>.", domain, id.Name)
	}
	if behavior == "" {
		behavior = "USE_DEFAULT_VALUE"
	}
	id.MailFrom = sestina.MailFrom{Domain: strings.ToLower(ascii), BehaviorOnMXFailure: behavior}
	return nil
}

// maxPolicies is the most sending authorization policies of an identity.
const maxPolicies = 20

// setPolicy stores a sending authorization policy.
func setPolicy(id *sestina.Identity, name, policy string, create bool) error {
	if len(name) > sestina.MaxNameLength || !validName(name) {
		return invalid("Invalid policy name <%s>: 1 to 64 alphanumeric ASCII characters, '_' and '-'.", name)
	}
	if err := checkPolicy(policy); err != nil {
		return err
	}
	_, exists := id.Policies[name]
	if exists && create {
		return sestina.SESErrorf("InvalidPolicy", "AlreadyExistsException", "Policy %s already exists for identity %s.", name, id.Name)
	}
	if !exists && len(id.Policies) >= maxPolicies {
		return sestina.SESErrorf("LimitExceeded", "LimitExceededException", "An identity can have at most %d policies.", maxPolicies)
	}
	if id.Policies == nil {
		id.Policies = map[string]string{}
	}
	id.Policies[name] = policy
	return nil
}
