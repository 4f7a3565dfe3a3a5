package app

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/sestina-mail/sestina/internal/clock"
	"github.com/sestina-mail/sestina/internal/config"
	"github.com/sestina-mail/sestina/internal/store"
	"github.com/sestina-mail/sestina/internal/store/postgres"
	"github.com/sestina-mail/sestina/internal/store/sqlite"
)

// shared reports whether other nodes may use the same store.
func shared(cfg config.Config) bool { return cfg.DatabaseURL != "" }

// openStore opens the engine: PostgreSQL when a URL is given, else SQLite in
// the data folder.
func openStore(ctx context.Context, cfg config.Config, clk *clock.Clock, log *slog.Logger) (store.Store, error) {
	if !shared(cfg) {
		s, err := sqlite.Open(ctx, sqlite.Options{Dir: cfg.Data, Reserve: cfg.DiskReserve, Clock: clk, Logger: log})
		if err != nil {
			return nil, err
		}
		return s, nil
	}
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil { // for the keys, which are not in the database
		return nil, fmt.Errorf("create data folder: %w", err)
	}
	s, err := postgres.Open(ctx, postgres.Options{URL: cfg.DatabaseURL, Clock: clk, Logger: log})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// pollOthers is how often a node looks for work that another one left or gave;
// 0, never, when there are no others.
func pollOthers(cfg config.Config) time.Duration {
	if shared(cfg) {
		return 500 * time.Millisecond
	}
	return 0
}
