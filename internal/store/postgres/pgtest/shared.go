package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
)

// shared is the one cluster of this process's tests.
var shared struct {
	once    sync.Once
	cluster *Cluster
	err     error
}

// Main runs a package's tests and removes the cluster that they shared; call it
// from TestMain with what m.Run, or goleak, does.
func Main(run func() int) {
	code := run()
	if shared.cluster != nil {
		if err := shared.cluster.Remove(); err != nil {
			fmt.Fprintln(os.Stderr, "remove the PostgreSQL cluster:", err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

// Shared returns the cluster that the tests of this process share. It is
// started when it is first asked for. Without PostgreSQL the test is skipped,
// but fails under CI. The package's TestMain must use Main.
func Shared(t testing.TB) *Cluster {
	t.Helper()
	shared.once.Do(func() {
		shared.cluster, shared.err = Start(context.Background())
	})
	check(t, shared.err)
	return shared.cluster
}

// Own returns a cluster of the test's own, for tests that stop it. It is
// removed when the test ends.
func Own(t testing.TB) *Cluster {
	t.Helper()
	c, err := Start(t.Context())
	check(t, err)
	t.Cleanup(func() {
		if err := c.Remove(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// NewURL returns the address of a new, empty schema of the shared cluster.
func NewURL(t testing.TB) string {
	t.Helper()
	c := Shared(t)
	schema, err := c.Schema(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c.SocketURL(schema)
}

func check(t testing.TB, err error) {
	t.Helper()
	switch {
	case err == nil:
	case errors.Is(err, ErrNotInstalled) && os.Getenv("CI") == "":
		t.Skip(err)
	default:
		t.Fatal(err)
	}
}
