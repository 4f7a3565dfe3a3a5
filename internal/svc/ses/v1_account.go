package ses

import (
	"context"
	"fmt"
	"time"

	"github.com/sestina-mail/sestina/internal/awsapi/ses"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

func (s *Service) v1GetSendQuota(ctx context.Context, _ *ses.GetSendQuotaInput) (*ses.GetSendQuotaOutput, error) {
	sent, err := s.sentLast24Hours(ctx, scopeOf(ctx))
	if err != nil {
		return nil, err
	}
	return &ses.GetSendQuotaOutput{Max24HourSend: new(float64(unlimited)), MaxSendRate: new(float64(unlimited)), SentLast24Hours: new(sent)}, nil
}

// The points of GetSendStatistics: 15 minutes each, over two weeks.
const (
	statisticsPoint = 15 * time.Minute
	statisticsSpan  = 14 * 24 * time.Hour
)

// v1GetSendStatistics counts events; points without any are left out.
func (s *Service) v1GetSendStatistics(ctx context.Context, _ *ses.GetSendStatisticsInput) (*ses.GetSendStatisticsOutput, error) {
	out := &ses.GetSendStatisticsOutput{SendDataPoints: []ses.SendDataPoint{}}
	points := map[time.Time]int{}
	f := store.EventFilter{
		Scope: scopeOf(ctx), Since: s.Clock.Now().Add(-statisticsSpan), Limit: 1000,
		Types: []sestina.EventType{sestina.Send, sestina.Bounce, sestina.Complaint, sestina.Reject},
	}
	for {
		events, err := s.Store.Events(ctx, f)
		if err != nil {
			return nil, fmt.Errorf("read events of the last two weeks: %w", err)
		}
		for _, e := range events {
			at := e.At.Truncate(statisticsPoint)
			i, ok := points[at]
			if !ok {
				i = len(out.SendDataPoints)
				points[at] = i
				out.SendDataPoints = append(out.SendDataPoints, ses.SendDataPoint{
					Timestamp: new(at), DeliveryAttempts: new(int64(0)), Bounces: new(int64(0)), Complaints: new(int64(0)), Rejects: new(int64(0))})
			}
			p := &out.SendDataPoints[i]
			switch e.Type {
			case sestina.Send:
				*p.DeliveryAttempts++
			case sestina.Bounce:
				*p.Bounces++
			case sestina.Complaint:
				*p.Complaints++
			case sestina.Reject:
				*p.Rejects++
			}
		}
		if len(events) < f.Limit {
			return out, nil
		}
		f.After = events[len(events)-1].ID
	}
}

func (s *Service) v1GetAccountSending(ctx context.Context, _ *ses.GetAccountSendingEnabledInput) (*ses.GetAccountSendingEnabledOutput, error) {
	return &ses.GetAccountSendingEnabledOutput{Enabled: new(!s.account(scopeOf(ctx)).SendingOff)}, nil
}

func (s *Service) v1UpdateAccountSending(ctx context.Context, in *ses.UpdateAccountSendingEnabledInput) (*ses.UpdateAccountSendingEnabledOutput, error) {
	return &ses.UpdateAccountSendingEnabledOutput{}, s.setAccount(ctx, func(a *sestina.Account) {
		a.SendingOff = !isTrue(in.Enabled)
	})
}
