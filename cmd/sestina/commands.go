package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/sestina-mail/sestina/internal/app"
	"github.com/sestina-mail/sestina/internal/auth"
	"github.com/sestina-mail/sestina/internal/config"
)

type devCmd struct {
	config.Config `embed:""`
}

func (c *devCmd) Run(ctx context.Context) error { return serve(ctx, c.Config, config.Dev) }

type serveCmd struct {
	config.Config `embed:""`
}

func (c *serveCmd) Run(ctx context.Context) error { return serve(ctx, c.Config, config.Serve) }

// serve runs the program until ctx ends.
func serve(ctx context.Context, cfg config.Config, mode config.Mode) error {
	if err := cfg.Complete(mode); err != nil {
		return err
	}
	a, err := app.New(ctx, cfg, version, app.NewLogger(cfg))
	if err != nil {
		return err
	}
	return a.Run(ctx, func() { fmt.Println(a.ReadyLine()) })
}

// keyCmd works on the store itself. With SQLite a running Sestina has to be
// stopped first: the folder is locked.
type keyCmd struct {
	Create  keyCreateCmd  `cmd:"" help:"Make an access key; its secret is shown once."`
	List    keyListCmd    `cmd:"" help:"List access keys."`
	Disable keyDisableCmd `cmd:"" help:"Disable an access key."`
	Enable  keyEnableCmd  `cmd:"" help:"Enable a disabled access key."`
	Delete  keyDeleteCmd  `cmd:"" help:"Delete an access key."`
}

type keyStore struct {
	Data        string `help:"Data folder." default:"./sestina-data" placeholder:"DIR"`
	DatabaseURL string `name:"database-url" help:"PostgreSQL database, when serve uses one." placeholder:"URL"`
	Account     string `help:"Account id." default:"000000000000" placeholder:"ID"`
}

func (s keyStore) with(ctx context.Context, fn func(*auth.Keys) error) error {
	return app.WithKeys(ctx, s.Data, s.DatabaseURL, fn)
}

type keyCreateCmd struct {
	keyStore `embed:""`
	User     string `help:"User name that the key belongs to." default:"root" placeholder:"NAME"`
	Region   string `help:"Region of the SMTP password." default:"us-east-1" placeholder:"REGION"`
}

func (c *keyCreateCmd) Run(ctx context.Context) error {
	return c.with(ctx, func(keys *auth.Keys) error {
		key, secret, err := keys.CreateKey(ctx, c.Account, c.User)
		if err != nil {
			return err
		}
		fmt.Printf("AWS_ACCESS_KEY_ID=%s\nAWS_SECRET_ACCESS_KEY=%s\n", key.ID, secret)
		fmt.Printf("SMTP_USERNAME=%s\nSMTP_PASSWORD=%s\n", key.ID, auth.SMTPPassword(secret, c.Region))
		return nil
	})
}

type keyListCmd struct {
	keyStore `embed:""`
}

func (c *keyListCmd) Run(ctx context.Context) error {
	return c.with(ctx, func(keys *auth.Keys) error {
		for _, k := range keys.ListKeys(c.Account) {
			state := "enabled"
			if k.Disabled {
				state = "disabled"
			}
			fmt.Printf("%s\t%s\t%s\t%s\n", k.ID, k.UserName, state, k.CreatedAt.Format("2006-01-02T15:04:05Z"))
		}
		return nil
	})
}

type keyDisableCmd struct {
	keyStore `embed:""`
	ID       string `arg:"" help:"Access key id."`
}

func (c *keyDisableCmd) Run(ctx context.Context) error {
	return c.with(ctx, func(keys *auth.Keys) error { return keys.SetDisabled(ctx, c.ID, true) })
}

type keyEnableCmd struct {
	keyStore `embed:""`
	ID       string `arg:"" help:"Access key id."`
}

func (c *keyEnableCmd) Run(ctx context.Context) error {
	return c.with(ctx, func(keys *auth.Keys) error { return keys.SetDisabled(ctx, c.ID, false) })
}

type keyDeleteCmd struct {
	keyStore `embed:""`
	ID       string `arg:"" help:"Access key id."`
}

func (c *keyDeleteCmd) Run(ctx context.Context) error {
	return c.with(ctx, func(keys *auth.Keys) error { return keys.DeleteKey(ctx, c.ID) })
}

type smtpPasswordCmd struct {
	Region string `help:"Region the password is for." default:"us-east-1" placeholder:"REGION"`
}

func (c *smtpPasswordCmd) Run() error {
	secret, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil && err != io.EOF {
		return fmt.Errorf("read the secret access key: %w", err)
	}
	if secret = strings.TrimSpace(secret); secret == "" {
		return fmt.Errorf("give the secret access key on standard input")
	}
	fmt.Println(auth.SMTPPassword(secret, c.Region))
	return nil
}

type configCmd struct {
	Check configCheckCmd `cmd:"" help:"Check the configuration of serve and say what is wrong."`
	Print configPrintCmd `cmd:"" help:"Print the effective configuration of serve; secrets are masked."`
}

type configCheckCmd struct {
	config.Config `embed:""`
}

func (c *configCheckCmd) Run() error {
	if err := c.Complete(config.Serve); err != nil {
		return err
	}
	fmt.Println("the configuration is fine")
	return nil
}

type configPrintCmd struct {
	config.Config `embed:""`
}

func (c *configPrintCmd) Run() error {
	if err := c.Complete(config.Serve); err != nil {
		return err
	}
	return c.Print(os.Stdout)
}

type versionCmd struct{}

func (versionCmd) Run() error {
	fmt.Println("sestina", version)
	return nil
}
