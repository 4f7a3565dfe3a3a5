package ses

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/sestina-mail/sestina/internal/awsapi/ses"
	"github.com/sestina-mail/sestina/internal/sestina"
)

// v1Status spells a verification status as version 1 does.
func v1Status(id *sestina.Identity) string {
	if id.Verified {
		return "Success"
	}
	return "Pending"
}

func (s *Service) v1Verify(ctx context.Context, name string, domain bool) (*sestina.Identity, error) {
	if strings.Contains(name, "@") == domain {
		if domain {
			return nil, invalid("Invalid domain name %s.", name)
		}
		return nil, invalid("Invalid email address<%s>.", name)
	}
	return s.createIdentity(ctx, scopeOf(ctx), sestina.Identity{Name: name}, true)
}

func (s *Service) v1VerifyEmailIdentity(ctx context.Context, in *ses.VerifyEmailIdentityInput) (*ses.VerifyEmailIdentityOutput, error) {
	_, err := s.v1Verify(ctx, *in.EmailAddress, false)
	return &ses.VerifyEmailIdentityOutput{}, err
}

func (s *Service) v1VerifyEmailAddress(ctx context.Context, in *ses.VerifyEmailAddressInput) (*ses.VerifyEmailAddressOutput, error) {
	_, err := s.v1Verify(ctx, *in.EmailAddress, false)
	return &ses.VerifyEmailAddressOutput{}, err
}

func (s *Service) v1VerifyDomainIdentity(ctx context.Context, in *ses.VerifyDomainIdentityInput) (*ses.VerifyDomainIdentityOutput, error) {
	id, err := s.v1Verify(ctx, *in.Domain, true)
	if err != nil {
		return nil, err
	}
	return &ses.VerifyDomainIdentityOutput{VerificationToken: new(verificationToken(id))}, nil
}

// verificationToken is the value of the _amazonses TXT record: the identity's
// first DKIM token serves, as it is random and known to the owner only.
func verificationToken(id *sestina.Identity) string {
	if len(id.DKIM.Tokens) == 0 {
		return ""
	}
	return id.DKIM.Tokens[0]
}

func (s *Service) v1VerifyDomainDKIM(ctx context.Context, in *ses.VerifyDomainDkimInput) (*ses.VerifyDomainDkimOutput, error) {
	id, err := s.v1Verify(ctx, *in.Domain, true)
	if err != nil {
		return nil, err
	}
	return &ses.VerifyDomainDkimOutput{DkimTokens: id.DKIM.Tokens}, nil
}

func (s *Service) v1ListIdentities(ctx context.Context, in *ses.ListIdentitiesInput) (*ses.ListIdentitiesOutput, error) {
	out := &ses.ListIdentitiesOutput{Identities: []string{}}
	size := pageSize(in.MaxItems, 1000, 1000)
	after, err := pageStart(in.NextToken)
	if err != nil {
		return nil, err
	}
	names, ids := s.Identities.List(scopeOf(ctx), after, 0)
	for i, id := range ids {
		if in.IdentityType != nil && (*in.IdentityType == "Domain") != id.IsDomain() {
			continue
		}
		if len(out.Identities) == size {
			out.NextToken = pageToken(out.Identities[size-1])
			break
		}
		out.Identities = append(out.Identities, names[i])
	}
	return out, nil
}

func (s *Service) v1ListVerified(ctx context.Context, _ *ses.ListVerifiedEmailAddressesInput) (*ses.ListVerifiedEmailAddressesOutput, error) {
	out := &ses.ListVerifiedEmailAddressesOutput{VerifiedEmailAddresses: []string{}}
	names, ids := s.Identities.List(scopeOf(ctx), "", 0)
	for i, id := range ids {
		if id.Verified && !id.IsDomain() {
			out.VerifiedEmailAddresses = append(out.VerifiedEmailAddresses, names[i])
		}
	}
	return out, nil
}

func (s *Service) v1DeleteIdentity(ctx context.Context, in *ses.DeleteIdentityInput) (*ses.DeleteIdentityOutput, error) {
	return &ses.DeleteIdentityOutput{}, s.deleteIdentity(ctx, scopeOf(ctx), *in.Identity, true)
}

func (s *Service) v1DeleteVerified(ctx context.Context, in *ses.DeleteVerifiedEmailAddressInput) (*ses.DeleteVerifiedEmailAddressOutput, error) {
	return &ses.DeleteVerifiedEmailAddressOutput{}, s.deleteIdentity(ctx, scopeOf(ctx), *in.EmailAddress, true)
}

// known calls fn for those of the names that are identities; version 1 leaves
// the others out of its answers.
func (s *Service) known(ctx context.Context, names []string, fn func(name string, id *sestina.Identity)) error {
	for _, n := range names {
		id, err := s.getIdentity(ctx, scopeOf(ctx), n)
		var missing *sestina.Error
		switch {
		case err == nil:
			fn(n, id)
		case !errors.As(err, &missing):
			return err
		}
	}
	return nil
}

func (s *Service) v1GetVerification(ctx context.Context, in *ses.GetIdentityVerificationAttributesInput) (*ses.GetIdentityVerificationAttributesOutput, error) {
	out := &ses.GetIdentityVerificationAttributesOutput{VerificationAttributes: map[string]ses.IdentityVerificationAttributes{}}
	err := s.known(ctx, in.Identities, func(name string, id *sestina.Identity) {
		a := ses.IdentityVerificationAttributes{VerificationStatus: new(v1Status(id))}
		if id.IsDomain() {
			a.VerificationToken = new(verificationToken(id))
		}
		out.VerificationAttributes[name] = a
	})
	return out, err
}

func (s *Service) v1GetDKIM(ctx context.Context, in *ses.GetIdentityDkimAttributesInput) (*ses.GetIdentityDkimAttributesOutput, error) {
	out := &ses.GetIdentityDkimAttributesOutput{DkimAttributes: map[string]ses.IdentityDkimAttributes{}}
	err := s.known(ctx, in.Identities, func(name string, id *sestina.Identity) {
		a := ses.IdentityDkimAttributes{DkimEnabled: new(!id.DKIM.SigningOff), DkimVerificationStatus: new(v1Status(id)), DkimTokens: id.DKIM.Tokens}
		if len(id.DKIM.Tokens) == 0 {
			a.DkimEnabled, a.DkimVerificationStatus = new(false), new("NotStarted")
		}
		out.DkimAttributes[name] = a
	})
	return out, err
}

func (s *Service) v1SetDKIM(ctx context.Context, in *ses.SetIdentityDkimEnabledInput) (*ses.SetIdentityDkimEnabledOutput, error) {
	_, err := s.changeIdentity(ctx, scopeOf(ctx), *in.Identity, func(id *sestina.Identity) error {
		id.DKIM.SigningOff = !isTrue(in.DkimEnabled)
		return nil
	})
	return &ses.SetIdentityDkimEnabledOutput{}, err
}

// v1Behaviors are the MX failure behaviours, version 2 to version 1.
var v1Behaviors = map[string]string{"USE_DEFAULT_VALUE": "UseDefaultValue", "REJECT_MESSAGE": "RejectMessage"}

func (s *Service) v1GetMailFrom(ctx context.Context, in *ses.GetIdentityMailFromDomainAttributesInput) (*ses.GetIdentityMailFromDomainAttributesOutput, error) {
	out := &ses.GetIdentityMailFromDomainAttributesOutput{MailFromDomainAttributes: map[string]ses.IdentityMailFromDomainAttributes{}}
	err := s.known(ctx, in.Identities, func(name string, id *sestina.Identity) {
		a := ses.IdentityMailFromDomainAttributes{MailFromDomain: new(id.MailFrom.Domain), MailFromDomainStatus: new(""), BehaviorOnMXFailure: new("UseDefaultValue")}
		if id.MailFrom.Domain != "" {
			a.MailFromDomainStatus, a.BehaviorOnMXFailure = new(v1Status(id)), new(v1Behaviors[id.MailFrom.BehaviorOnMXFailure])
		}
		out.MailFromDomainAttributes[name] = a
	})
	return out, err
}

func (s *Service) v1SetMailFrom(ctx context.Context, in *ses.SetIdentityMailFromDomainInput) (*ses.SetIdentityMailFromDomainOutput, error) {
	behavior := ""
	for v2, v1 := range v1Behaviors {
		if v1 == str(in.BehaviorOnMXFailure) {
			behavior = v2
		}
	}
	_, err := s.changeIdentity(ctx, scopeOf(ctx), *in.Identity, func(id *sestina.Identity) error {
		return setMailFrom(id, str(in.MailFromDomain), behavior)
	})
	return &ses.SetIdentityMailFromDomainOutput{}, err
}

func (s *Service) v1PutPolicy(ctx context.Context, in *ses.PutIdentityPolicyInput) (*ses.PutIdentityPolicyOutput, error) {
	_, err := s.changeIdentity(ctx, scopeOf(ctx), *in.Identity, func(id *sestina.Identity) error {
		return setPolicy(id, *in.PolicyName, *in.Policy, false)
	})
	return &ses.PutIdentityPolicyOutput{}, err
}

func (s *Service) v1GetPolicies(ctx context.Context, in *ses.GetIdentityPoliciesInput) (*ses.GetIdentityPoliciesOutput, error) {
	id, err := s.getIdentity(ctx, scopeOf(ctx), *in.Identity)
	if err != nil {
		return nil, err
	}
	out := &ses.GetIdentityPoliciesOutput{Policies: map[string]string{}}
	for _, n := range in.PolicyNames {
		if p, ok := id.Policies[n]; ok {
			out.Policies[n] = p
		}
	}
	return out, nil
}

func (s *Service) v1ListPolicies(ctx context.Context, in *ses.ListIdentityPoliciesInput) (*ses.ListIdentityPoliciesOutput, error) {
	id, err := s.getIdentity(ctx, scopeOf(ctx), *in.Identity)
	if err != nil {
		return nil, err
	}
	return &ses.ListIdentityPoliciesOutput{PolicyNames: append([]string{}, slices.Sorted(maps.Keys(id.Policies))...)}, nil
}

func (s *Service) v1DeletePolicy(ctx context.Context, in *ses.DeleteIdentityPolicyInput) (*ses.DeleteIdentityPolicyOutput, error) {
	_, err := s.changeIdentity(ctx, scopeOf(ctx), *in.Identity, func(id *sestina.Identity) error {
		delete(id.Policies, *in.PolicyName)
		return nil
	})
	return &ses.DeleteIdentityPolicyOutput{}, err
}
