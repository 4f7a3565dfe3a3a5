package ses

import (
	"context"
	"fmt"
	"time"

	"github.com/sestina-mail/sestina/internal/accept"
	"github.com/sestina-mail/sestina/internal/awsapi/sesv2"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// unlimited is how SES spells a quota that is not limited.
const unlimited = -1

// account returns the settings of a scope, to read.
func (s *Service) account(scope sestina.Scope) *sestina.Account {
	if a := s.Accounts.Get(scope, accept.AccountName); a != nil {
		return a
	}
	return &sestina.Account{}
}

func (s *Service) changeAccount(ctx context.Context, scope sestina.Scope, fn func(*sestina.Account) error) error {
	_, err := s.Accounts.Change(ctx, scope, accept.AccountName, func(_ store.Tx, cur *sestina.Account) (*sestina.Account, error) {
		if cur == nil {
			cur = &sestina.Account{}
		}
		return cur, fn(cur)
	})
	return err
}

// setAccount is changeAccount for changes that cannot be refused.
func (s *Service) setAccount(ctx context.Context, fn func(*sestina.Account)) error {
	return s.changeAccount(ctx, scopeOf(ctx), func(a *sestina.Account) error { fn(a); return nil })
}

// sentLast24Hours counts recipients, as the quota does.
func (s *Service) sentLast24Hours(ctx context.Context, scope sestina.Scope) (float64, error) {
	_, recipients, err := s.Store.CountMessages(ctx, scope, s.Clock.Now().Add(-24*time.Hour))
	if err != nil {
		return 0, fmt.Errorf("count messages of the last 24 hours: %w", err)
	}
	return float64(recipients), nil
}

func (s *Service) v2GetAccount(ctx context.Context, _ *sesv2.GetAccountInput) (*sesv2.GetAccountOutput, error) {
	scope := scopeOf(ctx)
	sent, err := s.sentLast24Hours(ctx, scope)
	if err != nil {
		return nil, err
	}
	a := s.account(scope)
	suppression := &sesv2.SuppressionAttributes{SuppressedReasons: a.SuppressionReasons}
	if a.SuppressionReasons == nil {
		suppression.SuppressedReasons = []string{"BOUNCE", "COMPLAINT"}
	}
	if t := threshold(a.Validation); t != nil {
		suppression.ValidationAttributes = &sesv2.SuppressionValidationAttributes{ConditionThreshold: t}
	}
	return &sesv2.GetAccountOutput{
		DedicatedIpAutoWarmupEnabled: new(a.AutoWarmup), EnforcementStatus: new("HEALTHY"), ProductionAccessEnabled: new(true),
		SendingEnabled: new(!a.SendingOff),
		SendQuota: &sesv2.SendQuota{
			Max24HourSend: new(float64(unlimited)), MaxSendRate: new(float64(unlimited)), SentLast24Hours: new(sent),
		},
		SuppressionAttributes: suppression, VdmAttributes: toV2AccountVDM(a.VDM), Details: toV2Details(a.Details),
	}, nil
}

func toV2AccountVDM(v *sestina.AccountVDM) *sesv2.VdmAttributes {
	if v == nil {
		return nil
	}
	out := &sesv2.VdmAttributes{VdmEnabled: new(v.Enabled)}
	if v.EngagementMetrics != "" {
		out.DashboardAttributes = &sesv2.DashboardAttributes{EngagementMetrics: new(v.EngagementMetrics)}
	}
	if v.OptimizedSharedDelivery != "" {
		out.GuardianAttributes = &sesv2.GuardianAttributes{OptimizedSharedDelivery: new(v.OptimizedSharedDelivery)}
	}
	return out
}

// toV2Details shows the details as reviewed: there is nobody who would refuse
// them.
func toV2Details(d *sestina.AccountDetails) *sesv2.AccountDetails {
	if d == nil {
		return nil
	}
	return &sesv2.AccountDetails{
		MailType: new(d.MailType), WebsiteURL: new(d.WebsiteURL), ContactLanguage: optional(d.ContactLanguage),
		UseCaseDescription: optional(d.UseCaseDescription), AdditionalContactEmailAddresses: d.AdditionalContacts,
		ReviewDetails: &sesv2.ReviewDetails{Status: new("GRANTED")},
	}
}

func (s *Service) v2PutAccountSending(ctx context.Context, in *sesv2.PutAccountSendingAttributesInput) (*sesv2.PutAccountSendingAttributesOutput, error) {
	return &sesv2.PutAccountSendingAttributesOutput{}, s.setAccount(ctx, func(a *sestina.Account) {
		a.SendingOff = !isTrue(in.SendingEnabled)
	})
}

func (s *Service) v2PutAccountSuppression(ctx context.Context, in *sesv2.PutAccountSuppressionAttributesInput) (*sesv2.PutAccountSuppressionAttributesOutput, error) {
	return &sesv2.PutAccountSuppressionAttributesOutput{}, s.setAccount(ctx, func(a *sestina.Account) {
		a.SuppressionReasons = append([]string{}, in.SuppressedReasons...)
		if v := in.ValidationAttributes; v != nil {
			a.Validation = &sestina.SuppressionOptions{}
			readThreshold(a.Validation, v.ConditionThreshold)
		}
	})
}

func (s *Service) v2PutAccountVDM(ctx context.Context, in *sesv2.PutAccountVdmAttributesInput) (*sesv2.PutAccountVdmAttributesOutput, error) {
	v := sestina.AccountVDM{Enabled: *in.VdmAttributes.VdmEnabled}
	if d := in.VdmAttributes.DashboardAttributes; d != nil {
		v.EngagementMetrics = str(d.EngagementMetrics)
	}
	if g := in.VdmAttributes.GuardianAttributes; g != nil {
		v.OptimizedSharedDelivery = str(g.OptimizedSharedDelivery)
	}
	return &sesv2.PutAccountVdmAttributesOutput{}, s.setAccount(ctx, func(a *sestina.Account) { a.VDM = &v })
}

func (s *Service) v2PutAccountDetails(ctx context.Context, in *sesv2.PutAccountDetailsInput) (*sesv2.PutAccountDetailsOutput, error) {
	d := sestina.AccountDetails{
		MailType: *in.MailType, WebsiteURL: *in.WebsiteURL, ContactLanguage: str(in.ContactLanguage),
		UseCaseDescription: str(in.UseCaseDescription), AdditionalContacts: in.AdditionalContactEmailAddresses,
	}
	return &sesv2.PutAccountDetailsOutput{}, s.setAccount(ctx, func(a *sestina.Account) { a.Details = &d })
}

func (s *Service) v2PutAccountWarmup(ctx context.Context, in *sesv2.PutAccountDedicatedIpWarmupAttributesInput) (*sesv2.PutAccountDedicatedIpWarmupAttributesOutput, error) {
	return &sesv2.PutAccountDedicatedIpWarmupAttributesOutput{}, s.setAccount(ctx, func(a *sestina.Account) {
		a.AutoWarmup = isTrue(in.AutoWarmupEnabled)
	})
}
