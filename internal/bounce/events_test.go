package bounce

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/sestina-mail/sestina/internal/event"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

var update = flag.Bool("update", false, "write the golden files")

var (
	accepted = time.Date(2026, 3, 3, 10, 15, 0, 120e6, time.UTC)
	answered = time.Date(2026, 3, 3, 10, 15, 1, 4e6, time.UTC)
	expires  = accepted.Add(14 * time.Hour)
)

func testMessage(t *testing.T) *store.Message {
	t.Helper()
	id := sestina.FloorID(accepted)
	mail := event.Mail{
		Timestamp: event.Time(accepted), Source: "News <news@example.com>",
		SourceARN:        "arn:aws:ses:eu-west-1:111122223333:identity/example.com",
		SendingAccountID: "111122223333", MessageID: sestina.MessageID(id, "eu-west-1"),
		Destination: []string{"lena@example.net", "nobody@example.net"},
		Tags:        event.Tags{{Name: "ses:operation", Value: "SendEmail"}, {Name: "campaign", Value: "spring"}},
	}
	frozen, err := mail.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return &store.Message{
		ID: id, Scope: sestina.Scope{Account: "111122223333", Region: "eu-west-1"},
		Recipients: mail.Destination, Mail: frozen,
	}
}

// outcome is what a server said about a recipient.
func outcome(to string, kind Kind, said string) Outcome {
	o := *parse(said)
	o.Recipient, o.Kind, o.At = to, kind, answered
	o.RemoteIP, o.LocalIP, o.TLSVersion, o.Host = "203.0.113.25", "198.51.100.7", "TLSv1.3", "mx.example.net"
	return o
}

var feedbackID = regexp.MustCompile(`("feedbackId":")[0-9a-f-]{60}"`)

// golden compares records, one per line and indented, with a file.
func golden(t *testing.T, name string, m *store.Message, happened []Happening) {
	t.Helper()
	var b bytes.Buffer
	for _, h := range happened {
		object, err := event.Encode(h.Object)
		if err != nil {
			t.Fatal(err)
		}
		var late []byte
		if len(h.LateTags) > 0 {
			if late, err = h.LateTags.MarshalJSON(); err != nil {
				t.Fatal(err)
			}
		}
		record, err := event.Record(h.Type, m.Mail, late, object)
		if err != nil {
			t.Fatal(err)
		}
		record = feedbackID.ReplaceAll(record, []byte(`${1}FEEDBACK"`))
		if err := json.Indent(&b, record, "", "  "); err != nil {
			t.Fatalf("%s: %v", record, err)
		}
		b.WriteByte('\n')
	}
	path := filepath.Join("testdata", "events", filepath.FromSlash(name)+".json")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), want) {
		t.Errorf("%s differs:\n%s", path, b.Bytes())
	}
}

func TestRecords(t *testing.T) {
	t.Parallel()
	const lena, nobody = "lena@example.net", "nobody@example.net"
	late := func(o Outcome) Outcome { o.Late = true; return o }
	noConnection := Outcome{
		Recipient: lena, Kind: Deferred, Code: 421, Enhanced: "4.4.1",
		Text: "Failed to establish connection: connection refused", At: answered,
	}
	complaint := outcome(lena, Delivered, "250 2.0.0 Ok")
	complaint.Complaint = &Report{UserAgent: "ExampleFBL/2.1", FeedbackType: "abuse", Arrived: answered}
	bare := outcome(lena, Delivered, "250 2.0.0 Ok")
	bare.Complaint = &Report{}
	auto := outcome(lena, Delivered, "250 Ok")
	auto.AutoReply = true
	plain := outcome(lena, Delivered, "250 2.0.0 Ok: queued as 4Xy1")
	plain.TLSVersion = ""
	tests := map[string][]Outcome{
		"delivery/one-hand-over": {
			outcome(lena, Delivered, "250 2.0.0 Ok: queued as 4Xy1"), outcome(nobody, Delivered, "250 2.0.0 Ok: queued as 4Xy1"),
		},
		"delivery/two-hand-overs": {
			outcome(lena, Delivered, "250 2.0.0 Ok: queued as 4Xy1"), outcome(nobody, Delivered, "250 2.0.0 Ok: queued as 4Xy2"),
		},
		"delivery/without-tls":     {plain},
		"bounce/permanent-general": {outcome(nobody, Failed, "550 5.1.1 <nobody@example.net>: Recipient address rejected")},
		"bounce/no-enhanced-code":  {outcome(nobody, Failed, "550 user unknown")},
		"bounce/mailbox-full":      {outcome(lena, Failed, "552 5.2.2 mailbox over quota")},
		"bounce/one-cause": {
			outcome(lena, Failed, "550 5.1.1 unknown <lena@example.net>"), outcome(nobody, Failed, "550 5.2.1 disabled <nobody@example.net>"),
		},
		"bounce/two-causes": {
			outcome(lena, Failed, "552 5.2.2 mailbox over quota"), outcome(nobody, Failed, "550 5.1.1 unknown"),
		},
		"bounce/automatic-reply":         {late(auto)},
		"bounce/after-delivery":          {late(outcome(lena, Failed, "550 5.1.1 unknown"))},
		"complaint/feedback-report":      {late(complaint)},
		"complaint/without-report":       {late(bare)},
		"deliveryDelay/mailbox-full":     {outcome(lena, Deferred, "452 4.2.2 mailbox over quota")},
		"deliveryDelay/no-connection":    {noConnection},
		"deliveryDelay/two-delay-types":  {outcome(lena, Deferred, "451 4.3.0 try later"), outcome(nobody, Deferred, "452 4.2.2 full")},
		"deliveryDelay/no-enhanced-code": {outcome(lena, Deferred, "450 try later")},
		"mixed/one-of-each": {
			outcome("b@example.net", Deferred, "451 4.3.0 try later"), complaint, outcome(nobody, Failed, "550 5.1.1 unknown"),
			outcome("c@example.net", Delivered, "250 2.0.0 Ok"),
		},
	}
	for name, outcomes := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &Reporter{IDs: new(sestina.IDs)}
			m := testMessage(t)
			golden(t, name, m, r.Events(m, outcomes, expires))
		})
	}
}

func TestExpiredRecords(t *testing.T) {
	t.Parallel()
	last := []Outcome{
		outcome("lena@example.net", Deferred, "452 4.2.2 mailbox over quota"),
		outcome("nobody@example.net", Deferred, "450 4.1.1 who knows"),
		{Recipient: "never@example.net", Kind: Failed},
	}
	for name, tt := range map[string]struct {
		window time.Duration
		custom bool
	}{
		"bounce/window-over":             {14 * time.Hour, false},
		"bounce/custom-timeout-exceeded": {330 * time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &Reporter{IDs: new(sestina.IDs), HostName: "mail.example.com"}
			m := testMessage(t)
			golden(t, name, m, r.Expired(m, append([]Outcome(nil), last...), tt.window, tt.custom, accepted.Add(tt.window)))
		})
	}
}

func TestReportingMTA(t *testing.T) {
	t.Parallel()
	var r Reporter
	for region, want := range map[string]string{
		"us-east-1": `^a\d+-\d+\.smtp-out\.amazonses\.com$`,
		"eu-west-1": `^b\d+-\d+\.smtp-out\.eu-west-1\.amazonses\.com$`,
	} {
		s := sestina.Scope{Account: "000000000000", Region: region}
		got := r.ReportingMTA(s)
		if !regexp.MustCompile(want).MatchString(got) || got != r.ReportingMTA(s) {
			t.Errorf("%s: %s", region, got)
		}
	}
	r.HostName = "mail.example.com"
	if got := r.ReportingMTA(sestina.Scope{}); got != "mail.example.com" {
		t.Error(got)
	}
}

// Feedback ids differ, so that consumers can drop duplicates by them.
func TestFeedbackIDs(t *testing.T) {
	t.Parallel()
	r := &Reporter{IDs: new(sestina.IDs)}
	m := testMessage(t)
	seen := map[string]bool{}
	for range 100 {
		b := r.Events(m, []Outcome{outcome("a@example.net", Failed, "550 no")}, expires)[0].Object.(event.Bounce)
		if len(b.FeedbackID) != 60 || b.FeedbackID[:4] != "0102" || seen[b.FeedbackID] {
			t.Fatal(b.FeedbackID)
		}
		seen[b.FeedbackID] = true
	}
}
