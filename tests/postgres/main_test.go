package main

import (
	"bufio"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sestina-mail/sestina/internal/store/postgres/pgtest"
)

// The server can be used from the line on, and is gone when the input ends.
func TestServerLivesAsLongAsItsInput(t *testing.T) {
	t.Parallel()
	if _, err := pgtest.Find(); errors.Is(err, pgtest.ErrNotInstalled) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	in, end := io.Pipe()
	lines, out := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := run(in, out)
		_ = out.CloseWithError(err)
		done <- err
	}()
	line, err := bufio.NewReader(lines).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "postgres: ready url=")
	if !ok {
		t.Fatalf("the line is %q", line)
	}
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	var fsync string
	if err := c.QueryRow(t.Context(), "SHOW fsync").Scan(&fsync); err != nil || fsync != "on" {
		t.Errorf("fsync is %q: %v", fsync, err)
	}
	if err := errors.Join(end.Close(), <-done); err != nil {
		t.Fatal(err)
	}
	if err := c.Ping(t.Context()); err == nil {
		t.Error("the server still answers")
	}
	_ = c.Close(t.Context())
}
