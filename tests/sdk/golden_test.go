package sdk

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ses"
	v1types "github.com/aws/aws-sdk-go-v2/service/ses/types"

	"github.com/sestina-mail/sestina/tests/harness"
)

var update = flag.Bool("update", false, "write the golden files")

var variable = regexp.MustCompile(`0[0-9a-f]{15}-[0-9a-f-]{36}-000000|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|` +
	`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z|"processingTimeMillis":\d+|----=_Part_\d+_\d+\.\d+`)

// normal replaces what differs from run to run by its kind, and ids by numbers
// in the order of their first appearance, so that equal ids stay equal.
func normal(text string) string {
	ids := map[string]string{}
	return variable.ReplaceAllStringFunc(text, func(s string) string {
		switch {
		case strings.HasPrefix(s, `"processing`):
			return `"processingTimeMillis":0`
		case strings.HasPrefix(s, "----"):
			return "BOUNDARY"
		case strings.HasSuffix(s, "Z"):
			return "TIME"
		}
		if ids[s] == "" {
			ids[s] = fmt.Sprint("ID-", len(ids)+1)
		}
		return ids[s]
	})
}

// golden compares the records that arrive in a queue behind a topic, byte for
// byte but for ids and times, with testdata: one message per path and outcome.
func golden(t *testing.T, l *lab) {
	p, ctx := l.placeIn(t, l.AWS().Region), t.Context()
	set := aws.String("golden")
	p.set(t, *set)
	q := p.topic(t, "golden")
	q.publishTo(t, *set, "all", "SEND", "DELIVERY", "BOUNCE", "COMPLAINT", "REJECT")

	const to = "Lena <lena@example.net>"
	simple := email(to)
	simple.ConfigurationSetName, simple.EmailTags = set, tags("campaign", "spring")
	simple.FromEmailAddress, simple.ReplyToAddresses = aws.String("Sestina Demo <news@example.com>"), []string{"reply@example.com"}
	simple.Destination.CcAddresses, simple.Destination.BccAddresses = []string{"copy@example.net"}, []string{"hidden@example.net"}
	simple.Content = content("hello")
	simple.Content.Simple.Body.Html = simple.Content.Simple.Body.Text
	raw := "From: Sestina Demo <news@example.com>\nTo: " + to + "\nSubject: =?UTF-8?Q?Fr=C3=BChling?=\nDate: Tue, 3 Mar 2026 10:15:00 +0000\nMessage-ID: <mine@example.com>\n" +
		"X-SES-CONFIGURATION-SET: golden\nX-SES-MESSAGE-TAGS: campaign=spring\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\nhello\n"
	failed := email("bounce+1@simulator.amazonses.com", "bounce+2@simulator.amazonses.com")
	failed.ConfigurationSetName = set
	complained := email("complaint@simulator.amazonses.com")
	complained.ConfigurationSetName = set
	away := email("ooto@simulator.amazonses.com")
	away.ConfigurationSetName = set
	rejected := rawEmail(raw + `X5O!P%@AP[4\PZX54(P^)7CC)7}` + "$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*\n")

	v1 := v1Email("news@example.com", "lena@example.net")
	v1.ConfigurationSetName, v1.Tags = set, []v1types.MessageTag{{Name: aws.String("campaign"), Value: aws.String("spring")}}
	v1Raw := &ses.SendRawEmailInput{RawMessage: &v1types.RawMessage{Data: []byte(strings.ReplaceAll(raw, "\n", "\r\n"))}}
	for name, send := range map[string]func() (id string, records int){
		"simple":     func() (string, int) { return p.send(t, simple), 2 },
		"raw":        func() (string, int) { return p.send(t, rawEmail(raw)), 2 },
		"bounce":     func() (string, int) { return p.send(t, failed), 2 },
		"complaint":  func() (string, int) { return p.send(t, complained), 3 },
		"auto-reply": func() (string, int) { return p.send(t, away), 3 },
		"reject":     func() (string, int) { return p.send(t, rejected), 2 },
		"v1": func() (string, int) {
			out, err := p.v1.SendEmail(ctx, v1)
			check(t, err)
			return *out.MessageId, 2
		},
		"v1-raw": func() (string, int) {
			out, err := p.v1.SendRawEmail(ctx, v1Raw)
			check(t, err)
			return *out.MessageId, 2
		},
		"smtp": func() (string, int) {
			id, err := harness.SMTPSend(l.SMTP, "news@example.com", []string{"lena@example.net"}, raw)
			check(t, err)
			return id, 2
		},
	} {
		id, n := send()
		for _, text := range q.next(t, n) {
			var r record
			check(t, json.Unmarshal([]byte(text), &r))
			if r.Mail.MessageID != id {
				t.Errorf("%s: a record of message %s, want %s", name, r.Mail.MessageID, id)
			}
			compare(t, filepath.Join("testdata", "records", name+"-"+strings.ToLower(r.EventType)+".json"), normal(text))
		}
	}
}

func compare(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		check(t, os.MkdirAll(filepath.Dir(path), 0o755))
		check(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	check(t, err)
	if got != string(want) {
		t.Errorf("%s differs:\n got %s\nwant %s", path, got, want)
	}
}
