package postgres_test

import (
	"testing"

	"github.com/sestina-mail/sestina/internal/store"
	"github.com/sestina-mail/sestina/internal/store/postgres"
	"github.com/sestina-mail/sestina/internal/store/postgres/pgtest"
	"github.com/sestina-mail/sestina/internal/store/storetest"
)

func BenchmarkStore(b *testing.B) {
	storetest.Benchmark(b, func(b *testing.B) store.Store {
		return openStore(b, postgres.Options{URL: pgtest.NewURL(b)})
	})
}
