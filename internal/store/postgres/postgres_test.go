package postgres_test

import (
	"io"
	"log/slog"
	"sync"
	"testing"

	"github.com/sestina-mail/sestina/internal/clock"
	"github.com/sestina-mail/sestina/internal/store"
	"github.com/sestina-mail/sestina/internal/store/postgres"
	"github.com/sestina-mail/sestina/internal/store/postgres/pgtest"
	"github.com/sestina-mail/sestina/internal/store/storetest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	var urls sync.Map // of the stores, for reopening
	open := func(t *testing.T) store.Store {
		url := pgtest.NewURL(t)
		s := openStore(t, postgres.Options{URL: url})
		urls.Store(s, url)
		return s
	}
	reopen := func(t *testing.T, s store.Store) store.Store {
		url, _ := urls.Load(s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		return openStore(t, postgres.Options{URL: url.(string)})
	}
	storetest.Run(t, open, reopen)
}

func openWithClock(t *testing.T, url string) (*postgres.Store, *clock.Clock) {
	c := clock.New(0)
	return openStore(t, postgres.Options{URL: url, Clock: c}), c
}

// openStore opens a store that is closed at the end of the test.
func openStore(t testing.TB, o postgres.Options) *postgres.Store {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	s, err := postgres.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		postgres.CheckPlans(t, s)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
