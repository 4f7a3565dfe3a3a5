package app

import (
	"context"
	"errors"
	"log/slog"

	"github.com/sestina-mail/sestina/internal/auth"
	"github.com/sestina-mail/sestina/internal/clock"
	"github.com/sestina-mail/sestina/internal/config"
	"github.com/sestina-mail/sestina/internal/store"
)

// WithKeys opens the access keys for the command line: in a data folder that no
// other process uses, or in a PostgreSQL database that may be in use.
func WithKeys(ctx context.Context, dir, databaseURL string, fn func(*auth.Keys) error) (err error) {
	clk := clock.New(0)
	s, err := openStore(ctx, config.Config{Data: dir, DatabaseURL: databaseURL}, clk, slog.Default())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	ring, err := auth.OpenKeyring(dir)
	if err != nil {
		return err
	}
	cache := store.NewCache(s)
	keys := auth.NewKeys(s, cache, ring, clk)
	if err := cache.Load(ctx); err != nil {
		return err
	}
	return fn(keys)
}
