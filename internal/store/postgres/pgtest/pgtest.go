// Package pgtest starts a PostgreSQL server for tests: a new cluster in a
// temporary folder, never one that exists already, with everything that makes
// commits durable switched on. It is gone when the process ends.
package pgtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// ErrNotInstalled says that there is no PostgreSQL server on this machine.
var ErrNotInstalled = errors.New("PostgreSQL is not installed; on Debian: apt-get install postgresql")

// startTimeout is how long a server may take to accept connections.
const startTimeout = time.Minute

// A Cluster is a private PostgreSQL server.
type Cluster struct {
	bin, dir string
	port     int
	password string
	server   *server // nil while stopped
}

// Find returns the folder of the newest installed server's programs.
// ErrNotInstalled.
func Find() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil {
		return "", err
	}
	major := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		return n
	}
	slices.SortFunc(found, func(a, b string) int { return major(b) - major(a) })
	if len(found) > 0 {
		return filepath.Dir(found[0]), nil
	}
	path, err := exec.LookPath("postgres")
	if err != nil {
		return "", ErrNotInstalled
	}
	return filepath.Dir(path), nil
}

// Start makes a cluster and starts it. Stop it with Remove. Root starts it as
// the user postgres, since the server refuses to run as root. ErrNotInstalled.
func Start(ctx context.Context) (_ *Cluster, err error) {
	bin, err := Find()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "sestina-postgres-") // short: it holds a socket
	if err != nil {
		return nil, err
	}
	c := &Cluster{bin: bin, dir: dir, password: rand.Text()}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Remove())
		}
	}()
	if err := c.init(ctx); err != nil {
		return nil, fmt.Errorf("make a PostgreSQL cluster: %w", err)
	}
	return c, c.Restart(ctx)
}

// init makes the cluster's files.
func (c *Cluster) init(ctx context.Context) error {
	secret := filepath.Join(c.dir, "password")
	if err := os.WriteFile(secret, []byte(c.password), 0o600); err != nil {
		return err
	}
	if err := giveAway(c.dir, secret); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, "initdb"), "--pgdata", c.data(), "--username", "postgres",
		"--auth-local", "trust", "--auth-host", "scram-sha-256", "--pwfile", secret,
		"--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions")
	cmd.Dir = c.dir
	asServerUser(cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func (c *Cluster) data() string { return filepath.Join(c.dir, "data") }

// Restart starts the server, on the same port as before, and waits until it
// accepts connections.
func (c *Cluster) Restart(ctx context.Context) error {
	if c.server != nil {
		return errors.New("the server runs already")
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for range 5 { // somebody may take the port meanwhile
		if c.port == 0 {
			port, err := freePort(ctx)
			if err != nil {
				return err
			}
			c.port = port
		}
		log, err := os.Create(filepath.Join(c.dir, "log"))
		if err != nil {
			return err
		}
		c.server = startServer(c.command(log))
		err = errors.Join(log.Close(), c.wait(ctx))
		if err == nil {
			return nil
		}
		_ = c.Stop(true)
		text, _ := os.ReadFile(log.Name())
		if !strings.Contains(string(text), "Address already in use") {
			return fmt.Errorf("start PostgreSQL: %w: %s", err, text)
		}
		c.port = 0
	}
	return errors.New("start PostgreSQL: no free port")
}

// command is the server. Commits are durable; what is set here only spares work
// that a short life does not need.
func (c *Cluster) command(log *os.File) *exec.Cmd {
	args := []string{"-D", c.data(), "-k", c.dir, "-p", strconv.Itoa(c.port)}
	for _, setting := range []string{
		"listen_addresses=127.0.0.1", "max_connections=200", "shared_buffers=128MB",
		"fsync=on", "synchronous_commit=on", "full_page_writes=on",
		"wal_level=minimal", "max_wal_senders=0", "max_wal_size=4GB", "checkpoint_timeout=1h",
		"log_min_messages=fatal", "timezone=UTC",
	} {
		args = append(args, "-c", setting)
	}
	cmd := exec.Command(filepath.Join(c.bin, "postgres"), args...)
	cmd.Dir = c.dir
	cmd.Stdout, cmd.Stderr = log, log
	asServerUser(cmd)
	return cmd
}

// wait waits until the server accepts connections.
func (c *Cluster) wait(ctx context.Context) error {
	for {
		err := c.Exec(ctx, "SELECT 1")
		if err == nil {
			return nil
		}
		pause, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		select {
		case <-c.server.ended:
			cancel()
			return fmt.Errorf("the server ended: %w", errors.Join(c.server.err, err))
		case <-pause.Done():
		}
		cancel()
		if ctx.Err() != nil {
			return err
		}
	}
}

// Stop stops the server and keeps its files: as for a shutdown, which ends all
// connections, or, with crash, at once and without tidying up.
func (c *Cluster) Stop(crash bool) error {
	if c.server == nil {
		return nil
	}
	err := c.server.stop(crash)
	c.server = nil
	return err
}

// Remove stops the server and deletes its files.
func (c *Cluster) Remove() error { return errors.Join(c.Stop(true), os.RemoveAll(c.dir)) }

// URL returns the address of the database postgres over the loopback
// interface, with the schema as its search path ("" for the usual one).
func (c *Cluster) URL(schema string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword("postgres", c.password),
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(c.port)), Path: "/postgres",
	}
	return withSchema(u, url.Values{"sslmode": {"disable"}}, schema)
}

// SocketURL is URL over the server's socket, which connects quicker. Only the
// user of this process, and root, can use it.
func (c *Cluster) SocketURL(schema string) string {
	u := url.URL{Scheme: "postgres", User: url.User("postgres"), Path: "/postgres"}
	return withSchema(u, url.Values{"host": {c.dir}, "port": {strconv.Itoa(c.port)}}, schema)
}

func withSchema(u url.URL, query url.Values, schema string) string {
	if schema != "" {
		query.Set("search_path", schema)
	}
	u.RawQuery = query.Encode()
	return u.String()
}

// Schema makes a new, empty schema and returns its name.
func (c *Cluster) Schema(ctx context.Context) (string, error) {
	name := "t" + strings.ToLower(rand.Text())
	return name, c.Exec(ctx, "CREATE SCHEMA "+name)
}

// Exec runs statements on a connection of their own.
func (c *Cluster) Exec(ctx context.Context, sql string) error {
	conn, err := pgx.Connect(ctx, c.SocketURL(""))
	if err != nil {
		return err
	}
	_, err = conn.PgConn().Exec(ctx, sql).ReadAll()
	return errors.Join(err, conn.Close(ctx))
}

func freePort(ctx context.Context) (int, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}
