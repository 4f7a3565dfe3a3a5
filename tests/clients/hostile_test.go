package clients

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/sestina-mail/sestina/tests/harness"
)

// A hostile endpoint confirms its subscription like any other and answers
// notifications as its name says.
func hostile(t *testing.T, answer func(net.Conn)) *harness.Hook {
	t.Helper()
	h := harness.NewHook(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Amz-Sns-Message-Type") != "Notification" {
			h.ServeHTTP(w, r)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		c, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			answer(c)
			c.Close()
		}
	})}}
	s.Start()
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	h.URL = s.URL + "/hook"
	return h
}

// TestHostileSubscribers: endpoints that answer without end, with redirects in
// a circle, or with rubbish cost nobody else time, and no memory.
func TestHostileSubscribers(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	forever := func(head, line string) func(net.Conn) {
		return func(c net.Conn) {
			asked.Add(1)
			_, _ = io.WriteString(c, head)
			for line := []byte(strings.Repeat(line, 100)); ; {
				if _, err := c.Write(line); err != nil {
					return
				}
			}
		}
	}
	say := func(text string) func(net.Conn) {
		return func(c net.Conn) { asked.Add(1); _, _ = io.WriteString(c, text) }
	}
	healthy := harness.NewHook(t)
	hooks := []*harness.Hook{
		healthy,
		hostile(t, forever("HTTP/1.1 200 OK\r\n\r\n", "an endless body\r\n")),
		hostile(t, forever("HTTP/1.1 500 No\r\n\r\n", "an endless body\r\n")),
		hostile(t, forever("HTTP/1.1 200 OK\r\n", "X-Endless: header\r\n")),
		hostile(t, forever("", "HTTP/1.1 100 Continue\r\n\r\n")),
		hostile(t, forever("HTTP/1.1 200 ", "an endless line")),
		hostile(t, say("HTTP/1.1 302 Found\r\nLocation: /hook\r\nContent-Length: 0\r\n\r\n")),
		hostile(t, say("HTTP/1.1 307 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")),
		hostile(t, say("SSH-2.0-OpenSSH_9.2\r\n")),
		hostile(t, say("HTTP/1.1 999 \x00\xff\r\n\r\n")),
		hostile(t, say("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nshort")),
		hostile(t, say("")),
	}
	d := newDesk(t, nil, hooks...)
	healthy.Wait()
	before := readGauge(t, d.Instance)
	for i := range 20 {
		id := d.send(t, fmt.Sprintf("lena%d@example.net", i))
		wantEvents(t, "healthy endpoint", healthy.Records(2), id, "Delivery", "Send")
	}
	if asked.Load() < 11 {
		t.Errorf("only %d hostile answers were given", asked.Load())
	}
	if grown := readGauge(t, d.Instance).resident - before.resident; grown > 100<<20 {
		t.Errorf("the process grew by %.0f MB", grown/1e6)
	}
	unharmed(t, d.Instance)
}

// TestNoticesAreNotInjectable: what a caller names a topic, publishes or
// subscribes ends up in the headers of mail to subscribers.
func TestNoticesAreNotInjectable(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil, harness.NewHook(t))
	ctx := t.Context()
	for _, protocol := range []string{"email", "email-json"} {
		for _, bad := range []string{breaks, strings.ReplaceAll(breaks, "\r\n", "\n"), strings.ReplaceAll(breaks, "\r\n", "\r")} {
			_, err := d.sns.SetTopicAttributes(ctx, &sns.SetTopicAttributesInput{
				TopicArn: aws.String(d.topic), AttributeName: aws.String("DisplayName"), AttributeValue: aws.String(bad)})
			if s := statusOf(err); err != nil && s != 400 {
				t.Errorf("display name %q: %v", bad, err)
			}
			_, err = d.sns.Subscribe(ctx, &sns.SubscribeInput{TopicArn: aws.String(d.topic), Protocol: aws.String(protocol), Endpoint: aws.String("b@example.net" + bad)})
			if s := statusOf(err); s != 400 {
				t.Errorf("%s subscription of a broken address: %v, want status 400", protocol, err)
			}
		}
		to := protocol + "@example.net"
		_, err := d.sns.Subscribe(ctx, &sns.SubscribeInput{TopicArn: aws.String(d.topic), Protocol: aws.String(protocol), Endpoint: aws.String(to)})
		check(t, err)
		confirmByMail(t, d, to)
	}
	const subject = "Flowers & <Trees>"
	_, err := d.sns.Publish(ctx, &sns.PublishInput{TopicArn: aws.String(d.topic), Message: aws.String(breaks), Subject: aws.String(subject)})
	check(t, err)
	for _, to := range []string{"email@example.net", "email-json@example.net"} {
		notices := ownMessages(t, d.Instance, "wait=20s&subject="+url.QueryEscape(subject)+"&recipient="+to)
		if len(notices) != 1 {
			t.Fatalf("%d notices to %s, want 1", len(notices), to)
		}
		// In the body it may stand, as the message; never before it.
		raw := string(d.Own(ctx, "GET", "messages/"+notices[0].ID+"/raw", ""))
		if head, _, _ := strings.Cut(raw, "\r\n\r\n"); strings.Contains(head, "injected body") || strings.Contains(head, "\r\nX-Injected") {
			t.Errorf("injected into a notice to %s: %q", to, raw)
		}
	}
	if got := ownMessages(t, d.Instance, "recipient=victim@example.net"); len(got) != 0 {
		t.Errorf("a recipient was injected: %+v", got)
	}
	// Names that end up in records and answers are refused or kept as they are.
	_, err = d.ses.CreateConfigurationSet(ctx, &sesv2.CreateConfigurationSetInput{ConfigurationSetName: aws.String("a\r\nb")})
	if s := statusOf(err); s != 400 {
		t.Errorf("a configuration set with a line break in its name: %v, want status 400", err)
	}
	unharmed(t, d.Instance)
}

// confirmByMail visits the link in the newest mail to an address.
func confirmByMail(t *testing.T, d *desk, to string) {
	t.Helper()
	d.Own(t.Context(), "GET", "messages?wait=20s&recipient="+to, "")
	messages := ownMessages(t, d.Instance, "recipient="+to)
	if len(messages) == 0 {
		t.Fatalf("no confirmation mail to %s", to)
	}
	notInjected(t, d, "confirmation mail to "+to, messages[0].ID)
	var m struct{ Text, HTML string }
	check(t, json.Unmarshal(d.Own(t.Context(), "GET", "messages/"+messages[0].ID, ""), &m))
	text := strings.ReplaceAll(m.Text, `\u0026`, "&")
	at := strings.Index(text, d.HTTP)
	if at < 0 {
		t.Fatalf("no link in the confirmation mail: %q", m.Text)
	}
	link, _, _ := strings.Cut(strings.FieldsFunc(text[at:], func(r rune) bool { return r <= ' ' || r == '"' || r == '>' })[0], "\\")
	resp, err := http.Post(link, "", nil) // GET only asks: mail scanners open links
	check(t, err)
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	check(t, err)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("the link %s of the confirmation mail: %s: %.500s", link, resp.Status, page)
	}
}
