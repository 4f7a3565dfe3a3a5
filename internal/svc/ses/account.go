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

func (s *Service) account(scope sestina.Scope) *sestina.Account {
	if a := s.Accounts.Get(scope, accept.AccountName); a != nil {
		return a
	}
	return &sestina.Account{}
}

func (s *Service) changeAccount(ctx context.Context, scope sestina.Scope, fn func(*sestina.Account)) error {
	_, err := s.Accounts.Change(ctx, scope, accept.AccountName, func(_ store.Tx, cur *sestina.Account) (*sestina.Account, error) {
		if cur == nil {
			cur = &sestina.Account{}
		}
		fn(cur)
		return cur, nil
	})
	return err
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
	reasons := a.SuppressionReasons
	if reasons == nil {
		reasons = []string{"BOUNCE", "COMPLAINT"}
	}
	return &sesv2.GetAccountOutput{
		DedicatedIpAutoWarmupEnabled: new(false), EnforcementStatus: new("HEALTHY"), ProductionAccessEnabled: new(true),
		SendingEnabled: new(!a.SendingOff),
		SendQuota: &sesv2.SendQuota{
			Max24HourSend: new(float64(unlimited)), MaxSendRate: new(float64(unlimited)), SentLast24Hours: new(sent),
		},
		SuppressionAttributes: &sesv2.SuppressionAttributes{SuppressedReasons: reasons},
	}, nil
}

func (s *Service) v2PutAccountSending(ctx context.Context, in *sesv2.PutAccountSendingAttributesInput) (*sesv2.PutAccountSendingAttributesOutput, error) {
	return &sesv2.PutAccountSendingAttributesOutput{}, s.changeAccount(ctx, scopeOf(ctx), func(a *sestina.Account) {
		a.SendingOff = !isTrue(in.SendingEnabled)
	})
}

func (s *Service) v2PutAccountSuppression(ctx context.Context, in *sesv2.PutAccountSuppressionAttributesInput) (*sesv2.PutAccountSuppressionAttributesOutput, error) {
	if err := checkReasons(in.SuppressedReasons, func(string) error { return badReasons("suppressedReasons") }); err != nil {
		return nil, err
	}
	return &sesv2.PutAccountSuppressionAttributesOutput{}, s.changeAccount(ctx, scopeOf(ctx), func(a *sestina.Account) {
		a.SuppressionReasons = append([]string{}, in.SuppressedReasons...)
	})
}
