package clients

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/sestina-mail/sestina/tests/harness"
)

// readmeBlock returns the fenced shell blocks of README.md that follow the
// comment <!-- test: NAME -->, joined. So the README's commands are the test.
func readmeBlock(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(harness.Root(), "README.md"))
	check(t, err)
	marked := regexp.MustCompile("(?ms)^<!-- test: " + regexp.QuoteMeta(name) + " -->\n```sh\n(.*?)^```$")
	var out strings.Builder
	for _, m := range marked.FindAllStringSubmatch(string(text), -1) {
		out.WriteString(m[1])
	}
	if out.Len() == 0 {
		t.Fatalf("README.md has no shell block after <!-- test: %s -->", name)
	}
	return out.String()
}

// TestQuickStart runs the README's quick start as it stands there: the
// subscriber of its second terminal, and every command of its third.
func TestQuickStart(t *testing.T) {
	t.Parallel()
	bash := need(t, "bash")
	for _, tool := range []string{"/usr/bin/aws", "/usr/bin/python3", "swaks", "curl"} {
		need(t, tool)
	}
	s := harness.Start(t)
	port := freePort(t)
	lines := startHook(t, bash, readmeBlock(t, "hook"), port)

	c := client{name: bash, args: []string{"-euo", "pipefail", "-c", readmeBlock(t, "quick start")}, dir: t.TempDir(), env: []string{
		"E=" + s.HTTP, "HTTPS=" + strings.Replace(s.HTTP, "http:", "https:", 1), "SMTP=" + s.SMTP, "DATA=" + s.Dir,
		fmt.Sprintf("HOOK=http://127.0.0.1:%d/hook", port),
	}}
	out := c.run(t)

	messages := ownMessages(t, s, "from=a@example.com")
	if len(messages) != 3 {
		t.Fatalf("the inbox has %d messages of the quick start, want 3: %+v", len(messages), messages)
	}
	want := map[string]bool{} // "id type"
	for _, m := range messages {
		if len(m.Tags["campaign"]) != 1 || m.Tags["campaign"][0] != "spring" {
			t.Errorf("tag campaign of %s: %v", m.ID, m.Tags["campaign"])
		}
		for _, e := range m.Events {
			want[m.ID+" "+e] = true
		}
	}
	seen := func(e string) bool {
		return slices.ContainsFunc(messages, func(m ownMessage) bool { return slices.Contains(m.Events, e) })
	}
	for _, e := range []string{"Send", "Delivery", "Bounce", "Complaint"} {
		if !seen(e) {
			t.Errorf("no message of the quick start had a %s event", e)
		}
	}
	atHook(t, lines, want)
	inQueue(t, s, out, want)
}

// startHook runs the README's subscriber and returns what it prints, line by
// line.
func startHook(t *testing.T, bash, block string, port int) <-chan string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), bash, "-euc", "exec "+strings.TrimSpace(block))
	cmd.Env = environment(fmt.Sprintf("PORT=%d", port))
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	lines := make(chan string, 1000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for in := bufio.NewScanner(stdout); in.Scan(); {
			lines <- in.Text()
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
		_ = cmd.Wait()
	})
	select {
	case first := <-lines:
		if !strings.Contains(first, fmt.Sprint(port)) {
			t.Fatalf("the subscriber's first line: %q", first)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the subscriber of the README did not start within 20 s")
	}
	return lines
}

// atHook waits until every wanted event was printed by the subscriber.
func atHook(t *testing.T, lines <-chan string, want map[string]bool) {
	t.Helper()
	missing := maps.Clone(want)
	deadline := time.After(20 * time.Second)
	for len(missing) > 0 {
		select {
		case line := <-lines:
			if strings.HasPrefix(line, "{") {
				r := harness.ParseRecord(t, line)
				delete(missing, r.Mail.MessageID+" "+r.EventType)
			}
		case <-deadline:
			t.Fatalf("not printed by the subscriber: %v", missing)
		}
	}
}

var envelopeMessage = regexp.MustCompile(`(?m)"Message"\s*:\s*("(?:[^"\\]|\\.)*")`)

// inQueue reads what the quick start left in the queue, and counts what its own
// receive-message printed.
func inQueue(t *testing.T, s *harness.Instance, printed string, want map[string]bool) {
	t.Helper()
	missing := maps.Clone(want)
	found := func(envelopes string) (n int) {
		for _, m := range envelopeMessage.FindAllStringSubmatch(envelopes, -1) {
			var text string
			check(t, json.Unmarshal([]byte(m[1]), &text))
			if strings.HasPrefix(text, "{") {
				r := harness.ParseRecord(t, text)
				delete(missing, r.Mail.MessageID+" "+r.EventType)
			}
			n++
		}
		return n
	}
	if found(printed) == 0 {
		t.Errorf("the receive-message command of the quick start printed no notification:\n%s", printed)
	}
	client := sqs.NewFromConfig(s.AWS())
	queue, err := client.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: aws.String("ses-events")})
	check(t, err)
	for len(missing) > 0 {
		got, err := client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{
			QueueUrl: queue.QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 10, VisibilityTimeout: 600})
		check(t, err)
		if len(got.Messages) == 0 {
			t.Fatalf("not in the queue: %v", missing)
		}
		for _, m := range got.Messages {
			found(*m.Body)
		}
	}
}
