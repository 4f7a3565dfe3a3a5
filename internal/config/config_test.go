package config

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

var update = flag.Bool("update", false, "write docs/configuration.md")

// parse parses a command line as the program does.
func parse(t *testing.T, args ...string) (Config, error) {
	t.Helper()
	var cli struct {
		Serve struct {
			Config `embed:""`
		} `cmd:""`
	}
	k, err := kong.New(&cli, kong.DefaultEnvars("SESTINA"), Resolver(args))
	if err != nil {
		return Config{}, err
	}
	if _, err := k.Parse(append([]string{"serve"}, args...)); err != nil {
		return Config{}, err
	}
	return cli.Serve.Config, cli.Serve.Config.Complete(Serve)
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sestina.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFlagBeatsEnvironmentBeatsFile(t *testing.T) {
	path := write(t, "region: eu-west-1\nhostname: file.example\naccount: \"111122223333\"\nretry-schedule: [1s, 2m]\n")
	t.Setenv("SESTINA_REGION", "eu-central-1")
	t.Setenv("SESTINA_HOSTNAME", "env.example")
	c, err := parse(t, "--config", path, "--hostname", "flag.example")
	if err != nil {
		t.Fatal(err)
	}
	if c.Account != "111122223333" || c.Region != "eu-central-1" || c.Hostname != "flag.example" || len(c.RetrySchedule) != 2 {
		t.Errorf("account %s (file), region %s (environment), hostname %s (flag), retry schedule %v (file)", c.Account, c.Region, c.Hostname, c.RetrySchedule)
	}
}

func TestUnknownKeyIsAnError(t *testing.T) {
	t.Parallel()
	_, err := parse(t, "--config", write(t, "regoin: eu-west-1\n"))
	if err == nil || !strings.Contains(err.Error(), `unknown key "regoin"`) {
		t.Errorf("error %v does not name the unknown key", err)
	}
}

func TestFaultsAreNamed(t *testing.T) {
	t.Parallel()
	_, err := parse(t, "--account", "12", "--region", "x", "--relay", "host:25", "--public-url", "ftp://x", "--tls-cert", "a.pem", "--database-url", "mysql://x")
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"account", "region", "relay", "public-url", "tls-cert", "database-url"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name %s: %v", want, err)
		}
	}
}

func TestPrintMasksPasswords(t *testing.T) {
	t.Parallel()
	c, err := parse(t, "--relay", "smtp://user:geheim@relay.example:587")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := c.Print(&b); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "geheim") || !strings.Contains(b.String(), "relay.example:587") {
		t.Errorf("printed:\n%s", b.String())
	}
	if _, err := read("printed", strings.NewReader(b.String())); err != nil {
		t.Errorf("what is printed is not a configuration file: %v", err)
	}
}

func TestReferencePageIsCurrent(t *testing.T) {
	t.Parallel()
	path := filepath.Join("..", "..", "docs", "configuration.md")
	if *update {
		if err := os.WriteFile(path, []byte(Reference()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != Reference() {
		t.Error("docs/configuration.md is not current: go test ./internal/config -update")
	}
}
