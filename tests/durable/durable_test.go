// Package durable traces the system calls of the real binary. SIGKILL never
// tests fsync: what a killed process wrote is still in the page cache. So this
// asserts the order itself: what makes a message durable is written, then
// synced, and only then is the client answered.
package durable

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"
	"github.com/aws/aws-sdk-go-v2/service/sesv2/types"

	"github.com/sestina-mail/sestina/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// A call is one finished or started system call.
type call struct {
	name     string
	file     string // path of the first argument's descriptor
	args     string
	started  int // line numbers
	finished int
}

func TestAnswersFollowTheSync(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Fatal("this test needs strace: apt-get install strace")
	}
	s := harness.Start(t)
	setUp(t, s)
	s.Stop()

	trace := filepath.Join(t.TempDir(), "trace")
	// -D: the program stays our own child, so that stopping it reaches it; its end
	// is seen when strace, which holds its standard error, has ended too.
	s.Under(strace, "-D", "-f", "-y", "-s", "40000", "-e", "trace=write,writev,pwrite64,fsync,fdatasync,rename,renameat,renameat2", "-o", trace)
	s.Restart()
	ids := map[string]string{
		"small by API":  sendByAPI(t, s, "marker-small-api"),
		"large by API":  sendByAPI(t, s, "marker-large-api "+strings.Repeat("a line of a large message\n", 8000)),
		"small by SMTP": sendBySMTP(t, s, "marker-small-smtp"),
		"large by SMTP": sendBySMTP(t, s, "marker-large-smtp "+strings.Repeat("a line of a large message\n", 8000)),
	}
	s.Stop()

	calls := readTrace(t, trace)
	for name, id := range ids {
		t.Run(name, func(t *testing.T) {
			answer := first(calls, 0, func(c call) bool { return socketWrite(c) && strings.Contains(c.args, id) })
			if answer == nil {
				t.Fatalf("no answer with message id %s in the trace", id)
			}
			// The message's row holds its id in the frozen mail object.
			row := first(calls, 0, func(c call) bool {
				return isWrite(c) && strings.HasSuffix(c.file, "-wal") && strings.Contains(c.args, id)
			})
			if row == nil {
				t.Fatalf("no write of message %s to the log", id)
			}
			synced(t, calls, "the write-ahead log", row, answer, strings.HasSuffix)
			if strings.HasPrefix(name, "large") {
				marker := "marker-large-" + map[bool]string{true: "api", false: "smtp"}[strings.HasSuffix(name, "API")]
				body := first(calls, 0, func(c call) bool {
					return isWrite(c) && strings.Contains(c.file, "/bodies/") && strings.Contains(c.args, marker)
				})
				if body == nil {
					t.Fatalf("no write of the large body to a file")
				}
				synced(t, calls, "the body's file", body, answer, strings.HasSuffix)
				folder := first(calls, body.finished, func(c call) bool {
					return isSync(c) && strings.HasSuffix(c.file, "/bodies") && c.finished < answer.started
				})
				if folder == nil {
					t.Error("the folder of bodies was not synced between the write of the body and the answer")
				}
			}
		})
	}
}

// synced asserts that the file of write was synced between it and the answer.
func synced(t *testing.T, calls []call, what string, write, answer *call, match func(string, string) bool) {
	t.Helper()
	if write.finished >= answer.started {
		t.Errorf("%s was written after the answer", what)
		return
	}
	if first(calls, write.finished, func(c call) bool { return isSync(c) && match(c.file, write.file) && c.finished < answer.started }) == nil {
		t.Errorf("%s was not synced between its last write and the answer", what)
	}
}

func isSync(c call) bool  { return c.name == "fsync" || c.name == "fdatasync" }
func isWrite(c call) bool { return c.name == "write" || c.name == "pwrite64" || c.name == "writev" }
func socketWrite(c call) bool {
	return isWrite(c) && (strings.HasPrefix(c.file, "socket:") || strings.HasPrefix(c.file, "TCP"))
}

func first(calls []call, after int, fits func(call) bool) *call {
	for i := range calls {
		if calls[i].started > after && fits(calls[i]) {
			return &calls[i]
		}
	}
	return nil
}

var (
	callLine    = regexp.MustCompile(`^(\d+)\s+(\w+)\(\d+<([^>]*)>(.*)$`)
	resumedLine = regexp.MustCompile(`^(\d+)\s+<\.\.\. (\w+) resumed>`)
)

// readTrace reads the output of strace -f -y: one call a line, a call that was
// interrupted by another thread's in two.
func readTrace(t *testing.T, path string) []call {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var calls []call
	open := map[string]int{} // pid to index
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 4<<20)
	for n := 1; lines.Scan(); n++ {
		if m := callLine.FindStringSubmatch(lines.Text()); m != nil {
			c := call{name: m[2], file: m[3], args: m[4], started: n, finished: n}
			if strings.HasSuffix(m[4], "<unfinished ...>") {
				c.finished = 1 << 30
				open[m[1]] = len(calls)
			}
			calls = append(calls, c)
		} else if m := resumedLine.FindStringSubmatch(lines.Text()); m != nil {
			if i, ok := open[m[1]]; ok && calls[i].name == m[2] {
				calls[i].finished = n
				delete(open, m[1])
			}
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return calls
}

func setUp(t *testing.T, s *harness.Instance) {
	t.Helper()
	_, err := sesv2.NewFromConfig(s.AWS()).CreateEmailIdentity(t.Context(), &sesv2.CreateEmailIdentityInput{EmailIdentity: aws.String("example.com")})
	if err != nil {
		t.Fatal(err)
	}
}

func sendByAPI(t *testing.T, s *harness.Instance, text string) string {
	t.Helper()
	client := sesv2.NewFromConfig(s.AWS(), func(o *sesv2.Options) { o.HTTPClient = &http.Client{Timeout: time.Minute} })
	out, err := client.SendEmail(t.Context(), &sesv2.SendEmailInput{
		FromEmailAddress: aws.String("a@example.com"), Destination: &types.Destination{ToAddresses: []string{"lena@example.net"}},
		Content: &types.EmailContent{Simple: &types.Message{
			Subject: &types.Content{Data: aws.String("durable")}, Body: &types.Body{Text: &types.Content{Data: aws.String(text)}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return *out.MessageId
}

func sendBySMTP(t *testing.T, s *harness.Instance, text string) string {
	t.Helper()
	id, err := harness.SMTPSend(s.SMTP, "a@example.com", []string{"lena@example.net"},
		fmt.Sprintf("From: a@example.com\nTo: lena@example.net\nSubject: durable\n\n%s\n", text))
	if err != nil {
		t.Fatal(err)
	}
	return id
}
