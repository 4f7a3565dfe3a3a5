package postgres_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/sestina-mail/sestina/internal/store/postgres/pgtest"
)

// TestMain runs the tests, or a node of the crash test.
func TestMain(m *testing.M) {
	if dsn := os.Getenv(crashURL); dsn != "" {
		os.Exit(crashNode(dsn))
	}
	pgtest.Main(func() int {
		code := m.Run()
		if err := goleak.Find(goleak.IgnoreAnyFunction("github.com/sestina-mail/sestina/internal/store/postgres/pgtest.startServer.func1")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
		return code
	})
}
