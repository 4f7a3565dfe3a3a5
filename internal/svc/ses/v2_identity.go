package ses

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"maps"

	"github.com/sestina-mail/sestina/internal/awsapi/sesv2"
	"github.com/sestina-mail/sestina/internal/sestina"
)

func toV2DKIM(id *sestina.Identity) *sesv2.DkimAttributes {
	d := &sesv2.DkimAttributes{
		SigningEnabled: new(!id.DKIM.SigningOff), Status: new(verificationStatus(id)), Tokens: id.DKIM.Tokens,
		SigningAttributesOrigin: new(id.DKIM.Origin),
	}
	if id.DKIM.Origin == "AWS_SES" {
		d.NextSigningKeyLength, d.CurrentSigningKeyLength = new(id.DKIM.KeyLength), new(id.DKIM.KeyLength)
		d.LastKeyGenerationTimestamp = new(id.CreatedAt)
	}
	if !id.IsDomain() && len(id.DKIM.Tokens) == 0 {
		d.SigningEnabled, d.Status = new(false), new("NOT_STARTED")
	}
	return d
}

// applySigning sets how an identity is signed: Easy DKIM with a key length, or
// the caller's own key. ses-model:DkimSigningAttributes
func applySigning(dkim *sestina.DKIM, a *sesv2.DkimSigningAttributes) error {
	if a == nil {
		return nil
	}
	own := a.DomainSigningPrivateKey != nil || a.DomainSigningSelector != nil
	switch {
	case own && (a.DomainSigningPrivateKey == nil || a.DomainSigningSelector == nil):
		return invalid("DomainSigningSelector and DomainSigningPrivateKey must be given together.")
	case own && a.NextSigningKeyLength != nil:
		return invalid("NextSigningKeyLength cannot be combined with DomainSigningSelector and DomainSigningPrivateKey.")
	case own:
		if err := checkPrivateKey(*a.DomainSigningPrivateKey); err != nil {
			return err
		}
		dkim.Origin, dkim.Tokens, dkim.PrivateKey, dkim.KeyLength = "EXTERNAL", []string{*a.DomainSigningSelector}, *a.DomainSigningPrivateKey, ""
	case a.NextSigningKeyLength != nil:
		dkim.KeyLength = *a.NextSigningKeyLength
	}
	return nil
}

// checkPrivateKey checks a caller's own DKIM key: RSA of 1024 to 2048 bits, as
// base64 of PKCS#1 or PKCS#8 without header lines.
// ses-guide:send-email-authentication-dkim-bring-your-own
func checkPrivateKey(text string) error {
	bad := invalid("DomainSigningPrivateKey must be an RSA private key of 1024 to 2048 bits in PKCS #1 or PKCS #8 form, base64 encoded.")
	der, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return bad
	}
	key, err := x509.ParsePKCS1PrivateKey(der)
	if err != nil {
		parsed, err := x509.ParsePKCS8PrivateKey(der)
		if err != nil {
			return bad
		}
		var ok bool
		if key, ok = parsed.(*rsa.PrivateKey); !ok {
			return bad
		}
	}
	if n := key.N.BitLen(); n < 1024 || n > 2048 {
		return bad
	}
	return nil
}

func (s *Service) v2CreateIdentity(ctx context.Context, in *sesv2.CreateEmailIdentityInput) (*sesv2.CreateEmailIdentityOutput, error) {
	id := sestina.Identity{Name: *in.EmailIdentity, ConfigurationSet: str(in.ConfigurationSetName), Tags: fromV2Tags(in.Tags)}
	if err := applySigning(&id.DKIM, in.DkimSigningAttributes); err != nil {
		return nil, err
	}
	made, err := s.createIdentity(ctx, scopeOf(ctx), id, false)
	if err != nil {
		return nil, err
	}
	return &sesv2.CreateEmailIdentityOutput{
		IdentityType: new(made.Type()), VerifiedForSendingStatus: new(made.Verified), DkimAttributes: toV2DKIM(made),
	}, nil
}

func (s *Service) v2GetIdentity(ctx context.Context, in *sesv2.GetEmailIdentityInput) (*sesv2.GetEmailIdentityOutput, error) {
	id, err := s.getIdentity(ctx, scopeOf(ctx), *in.EmailIdentity)
	if err != nil {
		return nil, err
	}
	out := &sesv2.GetEmailIdentityOutput{
		IdentityType: new(id.Type()), FeedbackForwardingStatus: new(!id.FeedbackForwardingOff),
		VerifiedForSendingStatus: new(id.Verified), VerificationStatus: new(verificationStatus(id)),
		DkimAttributes: toV2DKIM(id), Policies: map[string]string{}, Tags: toV2Tags(id.Tags),
		ConfigurationSetName: optional(id.ConfigurationSet),
		MailFromAttributes:   &sesv2.MailFromAttributes{BehaviorOnMxFailure: new("USE_DEFAULT_VALUE")},
	}
	maps.Copy(out.Policies, id.Policies)
	if id.MailFrom.Domain != "" {
		out.MailFromAttributes = &sesv2.MailFromAttributes{
			MailFromDomain: new(id.MailFrom.Domain), MailFromDomainStatus: new(verificationStatus(id)),
			BehaviorOnMxFailure: new(id.MailFrom.BehaviorOnMXFailure),
		}
	}
	if id.Verified {
		out.VerificationInfo = &sesv2.VerificationInfo{LastCheckedTimestamp: new(id.CreatedAt), LastSuccessTimestamp: new(id.CreatedAt)}
	}
	return out, nil
}

func (s *Service) v2ListIdentities(ctx context.Context, in *sesv2.ListEmailIdentitiesInput) (*sesv2.ListEmailIdentitiesOutput, error) {
	_, ids, next, err := page(s.Identities, scopeOf(ctx), in.NextToken, pageSize(in.PageSize, 1000, 1000))
	if err != nil {
		return nil, err
	}
	out := &sesv2.ListEmailIdentitiesOutput{EmailIdentities: []sesv2.IdentityInfo{}, NextToken: next}
	for _, id := range ids {
		out.EmailIdentities = append(out.EmailIdentities, sesv2.IdentityInfo{
			IdentityType: new(id.Type()), IdentityName: new(id.Name), SendingEnabled: new(id.Verified), VerificationStatus: new(verificationStatus(id)),
		})
	}
	return out, nil
}

func (s *Service) v2DeleteIdentity(ctx context.Context, in *sesv2.DeleteEmailIdentityInput) (*sesv2.DeleteEmailIdentityOutput, error) {
	return &sesv2.DeleteEmailIdentityOutput{}, s.deleteIdentity(ctx, scopeOf(ctx), *in.EmailIdentity, false)
}

func (s *Service) v2PutIdentitySet(ctx context.Context, in *sesv2.PutEmailIdentityConfigurationSetAttributesInput) (*sesv2.PutEmailIdentityConfigurationSetAttributesOutput, error) {
	scope := scopeOf(ctx)
	if name := str(in.ConfigurationSetName); name != "" {
		if _, err := s.getSet(ctx, scope, name); err != nil {
			return nil, err
		}
	}
	_, err := s.changeIdentity(ctx, scope, *in.EmailIdentity, func(id *sestina.Identity) error {
		id.ConfigurationSet = str(in.ConfigurationSetName)
		return nil
	})
	return &sesv2.PutEmailIdentityConfigurationSetAttributesOutput{}, err
}

func (s *Service) v2PutDKIM(ctx context.Context, in *sesv2.PutEmailIdentityDkimAttributesInput) (*sesv2.PutEmailIdentityDkimAttributesOutput, error) {
	_, err := s.changeIdentity(ctx, scopeOf(ctx), *in.EmailIdentity, func(id *sestina.Identity) error {
		id.DKIM.SigningOff = !isTrue(in.SigningEnabled)
		return nil
	})
	return &sesv2.PutEmailIdentityDkimAttributesOutput{}, err
}

func (s *Service) v2PutDKIMSigning(ctx context.Context, in *sesv2.PutEmailIdentityDkimSigningAttributesInput) (*sesv2.PutEmailIdentityDkimSigningAttributesOutput, error) {
	id, err := s.changeIdentity(ctx, scopeOf(ctx), *in.EmailIdentity, func(id *sestina.Identity) error {
		if *in.SigningAttributesOrigin == "EXTERNAL" {
			if a := in.SigningAttributes; a == nil || a.DomainSigningPrivateKey == nil {
				return invalid("SigningAttributes with DomainSigningSelector and DomainSigningPrivateKey are required when the origin is EXTERNAL.")
			}
		} else if id.DKIM.Origin == "EXTERNAL" {
			id.DKIM = sestina.DKIM{SigningOff: id.DKIM.SigningOff, Origin: "AWS_SES", Tokens: newDKIMTokens(), KeyLength: "RSA_2048_BIT"}
		}
		return applySigning(&id.DKIM, in.SigningAttributes)
	})
	if err != nil {
		return nil, err
	}
	return &sesv2.PutEmailIdentityDkimSigningAttributesOutput{DkimStatus: new(verificationStatus(id)), DkimTokens: id.DKIM.Tokens}, nil
}

func (s *Service) v2PutFeedback(ctx context.Context, in *sesv2.PutEmailIdentityFeedbackAttributesInput) (*sesv2.PutEmailIdentityFeedbackAttributesOutput, error) {
	_, err := s.changeIdentity(ctx, scopeOf(ctx), *in.EmailIdentity, func(id *sestina.Identity) error {
		id.FeedbackForwardingOff = !isTrue(in.EmailForwardingEnabled)
		return nil
	})
	return &sesv2.PutEmailIdentityFeedbackAttributesOutput{}, err
}

func (s *Service) v2PutMailFrom(ctx context.Context, in *sesv2.PutEmailIdentityMailFromAttributesInput) (*sesv2.PutEmailIdentityMailFromAttributesOutput, error) {
	_, err := s.changeIdentity(ctx, scopeOf(ctx), *in.EmailIdentity, func(id *sestina.Identity) error {
		return setMailFrom(id, str(in.MailFromDomain), str(in.BehaviorOnMxFailure))
	})
	return &sesv2.PutEmailIdentityMailFromAttributesOutput{}, err
}

func (s *Service) v2CreatePolicy(ctx context.Context, in *sesv2.CreateEmailIdentityPolicyInput) (*sesv2.CreateEmailIdentityPolicyOutput, error) {
	_, err := s.changeIdentity(ctx, scopeOf(ctx), *in.EmailIdentity, func(id *sestina.Identity) error {
		return setPolicy(id, *in.PolicyName, *in.Policy, true)
	})
	return &sesv2.CreateEmailIdentityPolicyOutput{}, err
}

func (s *Service) v2UpdatePolicy(ctx context.Context, in *sesv2.UpdateEmailIdentityPolicyInput) (*sesv2.UpdateEmailIdentityPolicyOutput, error) {
	_, err := s.changeIdentity(ctx, scopeOf(ctx), *in.EmailIdentity, func(id *sestina.Identity) error {
		if _, ok := id.Policies[*in.PolicyName]; !ok {
			return sestina.SESErrorf("InvalidParameterValue", "NotFoundException", "Policy %s does not exist for identity %s.", *in.PolicyName, id.Name)
		}
		return setPolicy(id, *in.PolicyName, *in.Policy, false)
	})
	return &sesv2.UpdateEmailIdentityPolicyOutput{}, err
}

func (s *Service) v2DeletePolicy(ctx context.Context, in *sesv2.DeleteEmailIdentityPolicyInput) (*sesv2.DeleteEmailIdentityPolicyOutput, error) {
	_, err := s.changeIdentity(ctx, scopeOf(ctx), *in.EmailIdentity, func(id *sestina.Identity) error {
		delete(id.Policies, *in.PolicyName)
		return nil
	})
	return &sesv2.DeleteEmailIdentityPolicyOutput{}, err
}

func (s *Service) v2GetPolicies(ctx context.Context, in *sesv2.GetEmailIdentityPoliciesInput) (*sesv2.GetEmailIdentityPoliciesOutput, error) {
	id, err := s.getIdentity(ctx, scopeOf(ctx), *in.EmailIdentity)
	if err != nil {
		return nil, err
	}
	out := &sesv2.GetEmailIdentityPoliciesOutput{Policies: map[string]string{}}
	maps.Copy(out.Policies, id.Policies)
	return out, nil
}
