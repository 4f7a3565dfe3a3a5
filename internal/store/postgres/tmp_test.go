package postgres_test
import ("testing";"os";"strconv"
"github.com/sestina-mail/sestina/internal/store"
"github.com/sestina-mail/sestina/internal/store/postgres"
"github.com/sestina-mail/sestina/internal/store/postgres/pgtest"
"github.com/sestina-mail/sestina/internal/store/storetest")
func BenchmarkTmp(b *testing.B) {
	w, _ := strconv.Atoi(os.Getenv("W"))
	storetest.Benchmark(b, func(b *testing.B) store.Store {
		return openStore(b, postgres.Options{URL: pgtest.NewURL(b), Writers: w})
	})
}
