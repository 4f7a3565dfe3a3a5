// Command sestina is a self-hosted email sending service that speaks the
// Amazon SES API.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/sestina-mail/sestina/internal/config"
)

// version is set by the build.
var version = "dev"

type commands struct {
	Dev          devCmd          `cmd:"" help:"Run beside an application under development: mail is captured, every access key is accepted."`
	Serve        serveCmd        `cmd:"" help:"Run as a sender in place of SES."`
	Key          keyCmd          `cmd:"" help:"Manage access keys."`
	SMTPPassword smtpPasswordCmd `cmd:"" name:"smtp-password" help:"Print the SMTP password that belongs to a secret access key (read from standard input)."`
	Config       configCmd       `cmd:"" help:"Check or print the configuration."`
	Version      versionCmd      `cmd:"" help:"Print the version."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "sestina:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	var c commands
	parser, err := kong.New(&c,
		kong.Name("sestina"),
		kong.Description("A self-hosted email sending service that speaks the Amazon SES API."),
		kong.UsageOnError(),
		kong.DefaultEnvars("SESTINA"),
		config.Resolver(args),
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
	if err != nil {
		return err
	}
	k, err := parser.Parse(args)
	if err != nil {
		return fmt.Errorf("%w (see sestina --help)", err)
	}
	return k.Run()
}
