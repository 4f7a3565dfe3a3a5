package app

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sestina-mail/sestina/internal/awsapi/awsapitest"
	"github.com/sestina-mail/sestina/internal/awswire"
	"github.com/sestina-mail/sestina/internal/config"
)

var update = flag.Bool("update", false, "write docs/api-operations.md")

// newApp builds the program in a temporary folder, on free ports.
func newApp(t *testing.T) *App {
	t.Helper()
	cfg := config.Config{
		Data: t.TempDir(), HTTP: "127.0.0.1:0", SMTP: "127.0.0.1:0", Account: "000000000000", Region: "us-east-1",
		RetryWindow: 1, PublishWindow: 1, MaxConnections: 1, MaxBodiesInFlight: 1 << 20,
	}
	if err := cfg.Complete(config.Dev); err != nil {
		t.Fatal(err)
	}
	a, err := New(t.Context(), cfg, "test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// TestOperationsPageIsCurrent compares docs/api-operations.md with what the
// program has handlers for.
func TestOperationsPageIsCurrent(t *testing.T) {
	t.Parallel()
	want := operationsPage(newApp(t).Unimplemented())
	path := filepath.Join("..", "..", "docs", "api-operations.md")
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/api-operations.md is not current: go test ./internal/app -run Operations -update")
	}
}

// operationsPage returns the page: all operations of the API models, with yes
// for those that have a handler.
func operationsPage(unimplemented []awswire.OperationName) string {
	missing := make(map[awswire.OperationName]bool, len(unimplemented))
	for _, o := range unimplemented {
		missing[o] = true
	}
	var services []string
	rows := map[string][]string{}
	served := map[string]int{}
	for _, o := range awsapitest.Operations() {
		s, name := o.Service.Name, o.Info().Name
		if rows[s] == nil {
			services = append(services, s)
		}
		answer := "**yes**"
		if missing[awswire.OperationName{Service: s, Operation: name}] {
			answer = "no"
		} else {
			served[s]++
		}
		rows[s] = append(rows[s], "| `"+name+"` | "+answer+" |\n")
	}
	var b strings.Builder
	b.WriteString("# AWS operations\n\nThis page is made from the program; `go test ./internal/app -run Operations -update` writes it. " +
		"What an operation that has a yes does differently from AWS is in [specs.md](specs.md).\n\n" +
		"An operation with a no is answered with an error of the 4xx range that names it, in the form of its protocol. `sesv2` is version 2 of the SES API, `ses` version 1.\n\n" +
		"| Service | Operations with a handler | Operations of the API |\n|---|---|---|\n")
	for _, s := range services {
		fmt.Fprintf(&b, "| [%s](#%s) | %d | %d |\n", s, s, served[s], len(rows[s]))
	}
	for _, s := range services {
		fmt.Fprintf(&b, "\n## %s\n\n| Operation | |\n|---|---|\n%s", s, strings.Join(rows[s], ""))
	}
	return b.String()
}
