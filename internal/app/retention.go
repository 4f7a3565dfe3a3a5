package app

import (
	"context"
	"errors"
	"time"

	"github.com/sestina-mail/sestina/internal/config"
	"github.com/sestina-mail/sestina/internal/store"
)

// How long finished things are kept. Nothing unfinished expires.
const (
	keepMessages = 60 * 24 * time.Hour // opens, clicks and late bounces need the record
	keepEvents   = 14 * 24 * time.Hour // events, publications, attempts
	sweepEvery   = time.Minute
)

// sweep deletes what the retention clocks allow, every minute until ctx ends.
func (a *App) sweep(ctx context.Context) {
	for next := a.clock.Now().Add(sweepEvery); a.clock.SleepUntil(ctx, next, nil); next = a.clock.Now().Add(sweepEvery) {
		now := a.clock.Now()
		r := store.Retention{Messages: now.Add(-keepMessages), Events: now.Add(-keepEvents), QueueNow: now}
		if a.cfg.Mode == config.Dev && a.relay == nil {
			r.InboxCount, r.InboxBytes = a.cfg.InboxMessages, a.cfg.InboxBytes
		} else {
			r.Bodies = now
		}
		if _, err := a.store.Sweep(ctx, r); err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrUnavailable) {
			a.log.Error("sweep failed", "error", err)
		}
		if err := a.sns.Sweep(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrUnavailable) {
			a.log.Error("sweep of subscriptions failed", "error", err)
		}
	}
}
