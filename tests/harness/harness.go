// Package harness runs the real sestina binary for tests: on free ports, in a
// temporary folder, with the official AWS SDK and plain SMTP as its clients.
package harness

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/sestina-mail/sestina/internal/store/postgres/pgtest"
)

var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "sestina-test-")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "sestina")
	args := []string{"build", "-o", bin}
	if os.Getenv("SESTINA_TEST_RACE") != "" {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "./cmd/sestina")...)
	cmd.Dir = Root()
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build sestina: %w\n%s", err, out)
	}
	return bin, nil
})

// Main runs a package's tests and removes what they shared: the binary that they
// built, and the PostgreSQL cluster.
func Main(m *testing.M) {
	pgtest.Main(func() int {
		code := m.Run()
		if bin, err := build(); err == nil {
			_ = os.RemoveAll(filepath.Dir(bin))
		}
		return code
	})
}

// OnPostgreSQL reports whether instances get a PostgreSQL database each instead
// of SQLite: SESTINA_TEST_ENGINE=postgres asks for it.
func OnPostgreSQL() bool { return os.Getenv("SESTINA_TEST_ENGINE") == "postgres" }

// Database returns the arguments that give a new database, or none.
func Database(t testing.TB) []string {
	t.Helper()
	if !OnPostgreSQL() {
		return nil
	}
	return []string{"--database-url", pgtest.NewURL(t)}
}

// Root is the repository's root folder.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// Binary builds sestina once per test process and returns its path.
func Binary(t testing.TB) string {
	t.Helper()
	bin, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// An Instance is a running sestina.
type Instance struct {
	HTTP string // base URL
	SMTP string // host:port
	Dir  string // data folder

	t       testing.TB
	args    []string
	under   []string // a program and its arguments that run ours
	cmd     *exec.Cmd
	log     *lockedBuffer
	exited  chan struct{}
	exitErr error
}

// Start runs `sestina dev` on free ports in a temporary folder, with further
// arguments, and stops it when the test ends. The log is shown when the test
// fails.
func Start(t testing.TB, args ...string) *Instance {
	t.Helper()
	return StartMode(t, "dev", args...)
}

// StartMode is Start for dev or serve.
func StartMode(t testing.TB, mode string, args ...string) *Instance {
	t.Helper()
	return start(t, nil, mode, args...)
}

// StartUnder is Start with the program run by another one that in the end
// becomes it, such as unshare.
func StartUnder(t testing.TB, under []string, args ...string) *Instance {
	t.Helper()
	return start(t, under, "dev", args...)
}

func start(t testing.TB, under []string, mode string, args ...string) *Instance {
	t.Helper()
	s := &Instance{t: t, Dir: filepath.Join(t.TempDir(), "data"), log: &lockedBuffer{}, under: under}
	s.args = append([]string{mode, "--data", s.Dir, "--http", "127.0.0.1:0", "--smtp", "127.0.0.1:0"}, args...)
	if !slices.Contains(args, "--database-url") {
		s.args = append(s.args, Database(t)...)
	}
	s.start()
	t.Cleanup(func() {
		s.Stop()
		if t.Failed() {
			t.Logf("log of sestina:\n%s", s.log.tail(16<<10))
		}
	})
	return s
}

var readyLine = regexp.MustCompile(`^sestina: ready http=(http://\S+) smtp=(\S+)$`)

func (s *Instance) start() {
	s.t.Helper()
	line := append(append(slices.Clone(s.under), Binary(s.t)), s.args...)
	s.cmd = exec.Command(line[0], line[1:]...)
	s.cmd.Stderr = s.log
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	if !lines.Scan() {
		_ = s.cmd.Wait()
		s.t.Fatalf("sestina ended before it was ready:\n%s", s.log.tail(16<<10))
	}
	m := readyLine.FindStringSubmatch(lines.Text())
	if m == nil {
		s.t.Fatalf("not the ready line: %q", lines.Text())
	}
	s.HTTP, s.SMTP = m[1], m[2]
	s.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		_, _ = io.Copy(io.Discard, stdout)
		s.exitErr = cmd.Wait()
		close(exited)
	}(s.cmd, s.exited)
}

// Restart starts the program again after Kill or Stop, on the same folder and
// the same ports.
func (s *Instance) Restart() {
	s.t.Helper()
	for i, a := range s.args {
		switch a {
		case "--http":
			s.args[i+1] = strings.TrimPrefix(s.HTTP, "http://")
		case "--smtp":
			s.args[i+1] = s.SMTP
		}
	}
	s.start()
}

// With adds arguments to those of the next start; one that is there already is
// overruled.
func (s *Instance) With(args ...string) { s.args = append(s.args, args...) }

// Under makes the next start run under another program, such as strace.
func (s *Instance) Under(program string, args ...string) {
	s.under = append([]string{program}, args...)
}

// Kill sends SIGKILL and waits for the end.
func (s *Instance) Kill() {
	s.t.Helper()
	_ = s.cmd.Process.Kill()
	<-s.exited
}

// Stop sends SIGTERM and fails the test when the program does not stop cleanly
// within the promised 10 s. It does nothing when the program ended before.
func (s *Instance) Stop() {
	s.t.Helper()
	select {
	case <-s.exited:
		return
	default:
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
		if s.exitErr != nil {
			s.t.Errorf("sestina did not stop cleanly: %v", s.exitErr)
		}
	case <-time.After(10 * time.Second):
		_ = s.cmd.Process.Signal(syscall.SIGQUIT) // shows where it hangs
		<-s.exited
		s.t.Errorf("sestina did not stop within 10 s of SIGTERM")
	}
}

// PID is the process id.
func (s *Instance) PID() int { return s.cmd.Process.Pid }

// Log returns what was logged so far.
func (s *Instance) Log() string { return s.log.tail(1 << 20) }

// AWS returns a configuration for the SDK's clients.
func (s *Instance) AWS() aws.Config {
	return aws.Config{
		Region: "us-east-1", BaseEndpoint: aws.String(s.HTTP),
		Credentials:      credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "any", ""),
		RetryMaxAttempts: 1,
	}
}

// Own calls Sestina's own API and returns the body; it fails the test unless
// the status is 200.
func (s *Instance) Own(ctx context.Context, method, path, body string) []byte {
	s.t.Helper()
	out, err := s.TryOwn(ctx, method, path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// TryOwn is Own with an error.
func (s *Instance) TryOwn(ctx context.Context, method, path, body string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.HTTP+"/sestina/v1/"+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, out)
	}
	return out, nil
}

// A lockedBuffer keeps a process's log.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) tail(n int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.b.Bytes()
	return string(b[max(0, len(b)-n):])
}
