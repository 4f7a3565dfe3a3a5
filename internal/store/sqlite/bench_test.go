package sqlite_test

import (
	"testing"

	"github.com/sestina-mail/sestina/internal/store"
	"github.com/sestina-mail/sestina/internal/store/sqlite"
	"github.com/sestina-mail/sestina/internal/store/storetest"
)

func BenchmarkStore(b *testing.B) {
	storetest.Benchmark(b, func(b *testing.B) store.Store {
		return openStore(b, sqlite.Options{Dir: b.TempDir()})
	})
}

func BenchmarkOpenEmpty(b *testing.B) {
	for b.Loop() {
		s, err := sqlite.Open(b.Context(), sqlite.Options{Dir: b.TempDir()})
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
