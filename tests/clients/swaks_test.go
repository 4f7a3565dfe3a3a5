package clients

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sestina-mail/sestina/tests/harness"
)

var dataAnswer = regexp.MustCompile(`(?m)^<[-~]+ +250 Ok ([0-9A-Za-z-]+)\r?$`)

// TestSwaks sends by SMTP with swaks: plain, with AUTH, and over STARTTLS.
func TestSwaks(t *testing.T) {
	t.Parallel()
	swaks := need(t, "swaks")
	hook := harness.NewHook(t)
	d := newDesk(t, nil, hook)
	cases := []struct {
		name string
		args []string
		said []string // lines of the conversation
	}{
		{"plain", nil, []string{"<-  220 email-smtp.us-east-1.amazonaws.com"}},
		{"AUTH PLAIN", []string{"--auth", "PLAIN", "--auth-user", "any", "--auth-password", "any"}, []string{"<-  235 "}},
		{"AUTH LOGIN", []string{"--auth", "LOGIN", "--auth-user", "any", "--auth-password", "any"}, []string{"<-  334 VXNlcm5hbWU6", "<-  235 "}},
		{"STARTTLS", []string{"--tls"}, []string{"=== TLS started"}},
		{"STARTTLS and AUTH", []string{"--tls", "--auth", "LOGIN", "--auth-user", "any", "--auth-password", "any"}, []string{"=== TLS started", "<~  235 "}},
		{"pipelined", []string{"--pipeline"}, []string{"<-  354"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			tag := strings.ReplaceAll(c.name, " ", "-")
			out := client{name: swaks, args: append([]string{
				"--server", d.SMTP, "--helo", "client.example", "--from", "a@example.com", "--to", "bounce@simulator.amazonses.com",
				"--header", "Subject: swaks", "--body", "hello\n.a line with a dot\n",
				"--header", "X-SES-CONFIGURATION-SET: spring", "--header", "X-SES-MESSAGE-TAGS: kind=" + tag,
			}, c.args...)}.run(t)
			for _, line := range c.said {
				if !strings.Contains(out, line) {
					t.Errorf("no %q in the conversation:\n%s", line, out)
				}
			}
			m := dataAnswer.FindStringSubmatch(out)
			if m == nil {
				t.Fatalf("DATA was not answered with 250 Ok and an id:\n%s", out)
			}
			records := hook.Records(2)
			wantEvents(t, "at the endpoint", records, m[1], "Bounce", "Send")
			for _, r := range records {
				if got := r.Mail.Tags["kind"]; !slices.Equal(got, []string{tag}) {
					t.Errorf("tag kind of %s: %v", r.EventType, got)
				}
			}
			if raw := d.Own(t.Context(), "GET", "messages/"+m[1]+"/raw", ""); !strings.Contains(string(raw), "\r\n.a line with a dot\r\n") {
				t.Errorf("the message arrived as %q", raw)
			}
		})
	}
	t.Run("refused", func(t *testing.T) {
		_, out, err := client{name: swaks, args: []string{"--server", d.SMTP, "--from", "a@unknown.example.org", "--to", "b@example.net"}}.try(t.Context())
		if err == nil || !strings.Contains(out, "<** 554 Message rejected: Email address is not verified.") {
			t.Errorf("an unverified sender: %v\n%s", err, out)
		}
	})
}
