package postgres_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/sestina-mail/sestina/internal/store/postgres/pgtest"
)

func TestMain(m *testing.M) {
	pgtest.Main(func() int {
		code := m.Run()
		if err := goleak.Find(goleak.IgnoreAnyFunction("github.com/sestina-mail/sestina/internal/store/postgres/pgtest.startServer.func1")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
		return code
	})
}
