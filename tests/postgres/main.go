// Command postgres starts a private PostgreSQL server in a temporary folder for
// tests and benchmarks that are not written in Go, and removes it when its
// standard input ends or it is told to stop. It prints one line
//
//	postgres: ready url=postgres://…
//
// once the server accepts connections.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/sestina-mail/sestina/internal/store/postgres/pgtest"
)

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "postgres:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cluster, err := pgtest.Start(ctx)
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, in) // its end is all that matters
	}()
	_, err = fmt.Fprintf(out, "postgres: ready url=%s\n", cluster.URL(""))
	if err == nil {
		select {
		case <-ended:
		case <-ctx.Done():
		}
	}
	return errors.Join(err, cluster.Remove())
}
