package app

import (
	"context"
	"fmt"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// clockDocument keeps how far the dev clock was moved forward, so that a
// restart does not go back in time.
type clockDocument struct{ Offset time.Duration }

const clockName = "offset"

func (a *App) restoreClock() {
	if d := a.offset.Get(sestina.Scope{}, clockName); d != nil {
		a.clock.Advance(d.Offset)
	}
}

// advance moves the clock forward: first on disk, then for everybody.
func (a *App) advance(ctx context.Context, d time.Duration) error {
	_, err := a.offset.Change(ctx, sestina.Scope{}, clockName, func(_ store.Tx, cur *clockDocument) (*clockDocument, error) {
		if cur == nil {
			cur = &clockDocument{}
		}
		cur.Offset += d
		return cur, nil
	})
	if err != nil {
		return fmt.Errorf("keep the clock's offset: %w", err)
	}
	a.clock.Advance(d)
	return nil
}

// reset empties the installation but for the control plane.
func (a *App) reset(ctx context.Context) error {
	if err := a.store.Reset(ctx); err != nil {
		return fmt.Errorf("empty the store: %w", err)
	}
	a.engine.Forget()
	return nil
}
