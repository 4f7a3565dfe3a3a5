package app

import (
	"context"
	"errors"
	"log/slog"

	"github.com/sestina-mail/sestina/internal/auth"
	"github.com/sestina-mail/sestina/internal/clock"
	"github.com/sestina-mail/sestina/internal/store"
	"github.com/sestina-mail/sestina/internal/store/sqlite"
)

// WithKeys opens the access keys in a data folder that no other process uses,
// for the command line.
func WithKeys(ctx context.Context, dir string, fn func(*auth.Keys) error) (err error) {
	clk := clock.New(0)
	s, err := sqlite.Open(ctx, sqlite.Options{Dir: dir, Clock: clk, Logger: slog.Default()})
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
