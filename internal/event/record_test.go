package event

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/sestina-mail/sestina/internal/sestina"
)

var update = flag.Bool("update", false, "write the golden files")

func demoMail(t *testing.T) []byte {
	t.Helper()
	m := Mail{
		Timestamp: "2026-03-03T10:15:00.120Z", Source: "Sestina Demo <news@example.com>",
		SourceARN: "arn:aws:ses:eu-west-1:111122223333:identity/example.com", SendingAccountID: "111122223333",
		MessageID:   "0102019cb2f04d18-1a2b3c4d-5e6f-4711-8a9b-0c1d2e3f4a5b-000000",
		Destination: []string{"lena@example.net"},
		Headers:     []Header{{"From", "Sestina Demo <news@example.com>"}, {"To", "lena@example.net"}, {"Subject", "1 < 2 & 3"}},
		CommonHeaders: CommonHeaders{
			From: []string{"Sestina Demo <news@example.com>"}, To: []string{"lena@example.net"},
			MessageID: "0102019cb2f04d18-1a2b3c4d-5e6f-4711-8a9b-0c1d2e3f4a5b-000000", Subject: "1 < 2 & 3",
		},
		Tags: Tags{{Name: "ses:operation", Value: "SendEmail"}, {Name: "a", Value: "1"}, {Name: "b", Value: "x"}, {Name: "a", Value: "2"}},
	}
	b, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRecordGolden compares the records of this package byte for byte with
// testdata. Order of members and spelling are those of SES; see the reference
// of event publishing contents.
func TestRecordGolden(t *testing.T) {
	t.Parallel()
	late := Tags{{Name: "ses:outgoing-ip", Value: "198.51.100.7"}}
	for name, c := range map[string]struct {
		typ    sestina.EventType
		object Object
		late   Tags
	}{
		"send":   {sestina.Send, Send{}, nil},
		"reject": {sestina.Reject, Reject{Reason: "Bad content"}, nil},
		"delivery": {sestina.Delivery, Delivery{
			Timestamp: "2026-03-03T10:15:01.004Z", ProcessingTimeMillis: 884, Recipients: []string{"lena@example.net"},
			SMTPResponse: "250 2.0.0 Ok: queued as 4Xy1", RemoteMTAIP: "203.0.113.25", ReportingMTA: "b7-12.smtp-out.eu-west-1.amazonses.com",
		}, late},
		"bounce": {sestina.Bounce, Bounce{
			FeedbackID: "0102019cb2f05a77-6c7d8e9f-0a1b-4c2d-8e3f-405162738495-000000", BounceType: "Permanent", BounceSubType: "General",
			BouncedRecipients: []BouncedRecipient{{EmailAddress: "nobody@example.net", Action: "failed", Status: "5.1.1", DiagnosticCode: "smtp; 550 5.1.1 <nobody@example.net>: unknown"}},
			Timestamp:         "2026-03-03T10:15:02.310Z", RemoteMTAIP: "203.0.113.25", ReportingMTA: "dns; b7-12.smtp-out.eu-west-1.amazonses.com",
		}, nil},
		"bounce_without_notification": {sestina.Bounce, Bounce{
			FeedbackID: "0102019cb2f05a77-6c7d8e9f-0a1b-4c2d-8e3f-405162738495-000000", BounceType: "Transient", BounceSubType: "General",
			BouncedRecipients: []BouncedRecipient{{EmailAddress: "away@example.net"}}, Timestamp: "2026-03-03T10:15:02.310Z",
		}, nil},
		"complaint": {sestina.Complaint, Complaint{
			FeedbackID:           "0102019cb2f0aa10-77aa88bb-99cc-4dde-aeef-0011223344ff-000000",
			ComplainedRecipients: []ComplainedRecipient{{"lena@example.net"}}, Timestamp: "2026-03-03T11:00:00.500Z",
			UserAgent: "ExampleFBL/2.1", ComplaintFeedbackType: "abuse", ArrivalDate: "2026-03-03T10:15:01.000Z",
		}, nil},
		"delivery_delay": {sestina.DeliveryDelay, DeliveryDelay{
			Timestamp: "2026-03-03T10:25:00.095Z", DelayType: "MailboxFull", ExpirationTime: "2026-03-04T00:15:00.914Z",
			DelayedRecipients: []DelayedRecipient{{"full@example.net", "4.2.2", "smtp; 452 4.2.2 mailbox over quota"}},
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			object, err := Encode(c.object)
			if err != nil {
				t.Fatal(err)
			}
			var lateJSON []byte
			if c.late != nil {
				if lateJSON, err = c.late.MarshalJSON(); err != nil {
					t.Fatal(err)
				}
			}
			got, err := Record(c.typ, demoMail(t), lateJSON, object)
			if err != nil {
				t.Fatal(err)
			}
			if !json.Valid(got) {
				t.Fatalf("not JSON: %s", got)
			}
			path := filepath.Join("testdata", name+".json")
			if *update {
				if err := os.WriteFile(path, append(got, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if string(want) != string(got)+"\n" {
				t.Errorf("record differs from %s:\n got %s\nwant %s", path, got, want)
			}
		})
	}
}

func TestTagsKeepOrderAndJoinValues(t *testing.T) {
	t.Parallel()
	in := Tags{{Name: "b", Value: "1"}, {Name: "a", Value: "2"}, {Name: "b", Value: "3"}}
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if string(b) != `{"b":["1","3"],"a":["2"]}` {
		t.Errorf("encoded %s", b)
	}
	var out Tags
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	if len(out) != 3 || out[0] != in[0] || out[1] != in[2] || out[2] != in[1] {
		t.Errorf("decoded %v", out)
	}
}

func BenchmarkRecord(b *testing.B) {
	m := Mail{Timestamp: "2026-03-03T10:15:00.120Z", Source: "a@example.com", Headers: make([]Header, 12), Tags: make(Tags, 8)}
	mail, err := m.Encode()
	if err != nil {
		b.Fatal(err)
	}
	object := []byte(`{"timestamp":"2026-03-03T10:15:01.004Z","processingTimeMillis":884}`)
	late := []byte(`{"ses:outgoing-ip":["198.51.100.7"]}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Record(sestina.Delivery, mail, late, object); err != nil {
			b.Fatal(err)
		}
	}
}
