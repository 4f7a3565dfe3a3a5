package sdk

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"
	"github.com/aws/aws-sdk-go-v2/service/sesv2/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
)

// own reads a path of Sestina's own API.
func (l *lab) own(t *testing.T, path string, out any) {
	t.Helper()
	check(t, json.Unmarshal(l.Own(t.Context(), "GET", path, ""), out))
}

var (
	host      = regexp.MustCompile(`^[a-z]\d+-\d+\.smtp-out\.[a-z0-9.-]*amazonses\.com$`)
	timestamp = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`)
)

// checked takes members that differ from run to run out of an object and
// requires their form.
func checked(t *testing.T, object map[string]any, forms map[string]*regexp.Regexp) map[string]any {
	t.Helper()
	for name, form := range forms {
		if text, _ := object[name].(string); !form.MatchString(text) {
			t.Errorf("%s: %v does not match %s", name, object[name], form)
		}
		delete(object, name)
	}
	return object
}

// simulator checks every address of the mailbox simulator, record by record,
// with and without a label.
func simulator(t *testing.T, l *lab) {
	p := l.place(t)
	bounced := func(address, diagnostic string) map[string]any {
		return map[string]any{"bounceType": "Permanent", "bounceSubType": "General", "remoteMtaIp": "127.0.0.1", "bouncedRecipients": []any{
			map[string]any{"emailAddress": address, "action": "failed", "status": "5.1.1", "diagnosticCode": diagnostic}}}
	}
	const domain = "@simulator.amazonses.com"
	for _, label := range []string{"", "+order17"} {
		for _, c := range []struct {
			mailbox string
			types   []string
			bounce  func(address string) map[string]any
		}{
			{"success", []string{"Delivery", "Send"}, nil},
			{"bounce", []string{"Bounce", "Send"}, func(a string) map[string]any { return bounced(a, "smtp; 550 5.1.1 As requested: user unknown <"+a+">") }},
			{"suppressionlist", []string{"Bounce", "Send"}, func(a string) map[string]any {
				return bounced(a, "smtp; 550 5.1.1 As requested: user unknown (suppressed address: "+a+")")
			}},
			{"complaint", []string{"Complaint", "Delivery", "Send"}, nil},
			{"ooto", []string{"Bounce", "Delivery", "Send"}, func(a string) map[string]any {
				return map[string]any{"bounceType": "Transient", "bounceSubType": "General", "bouncedRecipients": []any{map[string]any{"emailAddress": a}}}
			}},
			{"no-such-row", []string{"Bounce", "Send"}, func(a string) map[string]any { return bounced(a, "smtp; 550 5.1.1 As requested: user unknown <"+a+">") }},
		} {
			address := c.mailbox + label + domain
			t.Run(c.mailbox+label, func(t *testing.T) {
				records := p.records(t, p.send(t, email(address)), len(c.types))
				var got []string
				for _, r := range records {
					got = append(got, r.EventType)
					same(t, r.EventType+" destination", r.Mail.Destination, []string{address})
					checkSimulated(t, &r, address, c.bounce)
				}
				slices.Sort(got)
				same(t, "events", got, c.types)
			})
		}
	}
}

func checkSimulated(t *testing.T, r *record, address string, bounce func(string) map[string]any) {
	t.Helper()
	switch r.EventType {
	case "Delivery":
		ms, ok := r.Delivery["processingTimeMillis"].(float64)
		if !ok || ms < 0 || ms > 60_000 {
			t.Errorf("processingTimeMillis %v", r.Delivery["processingTimeMillis"])
		}
		delete(r.Delivery, "processingTimeMillis")
		same(t, "delivery", checked(t, r.Delivery, map[string]*regexp.Regexp{"timestamp": timestamp, "reportingMTA": host}),
			map[string]any{"recipients": []string{address}, "smtpResponse": "250 Ok", "remoteMtaIp": "127.0.0.1"})
	case "Bounce":
		forms := map[string]*regexp.Regexp{"timestamp": timestamp, "feedbackId": messageID}
		if r.Bounce["bounceType"] == "Permanent" {
			mta, _ := r.Bounce["reportingMTA"].(string)
			if name, ok := strings.CutPrefix(mta, "dns; "); !ok || !host.MatchString(name) {
				t.Errorf("reportingMTA %q", mta)
			}
			delete(r.Bounce, "reportingMTA")
		}
		same(t, "bounce", checked(t, r.Bounce, forms), bounce(address))
	case "Complaint":
		if r.Complaint["arrivalDate"] != r.Complaint["timestamp"] {
			t.Errorf("arrivalDate %v, timestamp %v", r.Complaint["arrivalDate"], r.Complaint["timestamp"])
		}
		same(t, "complaint", checked(t, r.Complaint, map[string]*regexp.Regexp{"timestamp": timestamp, "arrivalDate": timestamp, "feedbackId": messageID}), map[string]any{
			"complaintSubType": nil, "complainedRecipients": []any{map[string]any{"emailAddress": address}},
			"userAgent": "Amazon SES Mailbox Simulator", "complaintFeedbackType": "abuse"})
	}
}

// simulatorTogether: recipients of one message that fail alike share a record,
// and others of the message are delivered.
func simulatorTogether(t *testing.T, l *lab) {
	p := l.place(t)
	to := []string{"bounce+1@simulator.amazonses.com", "success@simulator.amazonses.com", "bounce+2@simulator.amazonses.com", "lena@example.net"}
	records := p.records(t, p.send(t, email(to...)), 4)
	var delivered []string
	for _, r := range records {
		same(t, r.EventType+" destination", r.Mail.Destination, to)
		switch r.EventType {
		case "Delivery":
			for _, x := range r.Delivery["recipients"].([]any) {
				delivered = append(delivered, x.(string))
			}
		case "Bounce":
			var got []string
			for _, x := range r.Bounce["bouncedRecipients"].([]any) {
				got = append(got, x.(map[string]any)["emailAddress"].(string))
			}
			same(t, "bounced", got, []string{to[0], to[2]})
		}
	}
	slices.Sort(delivered)
	same(t, "delivered", delivered, []string{"lena@example.net", "success@simulator.amazonses.com"})
}

// deletedTopic: an event for a topic that was deleted becomes a dead letter that
// says so, and arrives when it is redriven after the topic is there again.
func deletedTopic(t *testing.T, l *lab) {
	p, ctx := l.place(t), t.Context()
	p.set(t, "s")
	q := p.topic(t, "gone")
	q.publishTo(t, "s", "d", "SEND")
	_, err := p.sns.DeleteTopic(ctx, &sns.DeleteTopicInput{TopicArn: &q.arn})
	check(t, err)
	in := email("x@example.net")
	in.ConfigurationSetName = aws.String("s")
	id := p.send(t, in)
	var dead struct {
		DeadLetters []struct{ ID, MessageID, Answer string }
	}
	scope := "account=000000000000&region=" + p.region
	for range 500 { // each round waits for two events of another message
		if p.own(t, "dead-letters?kind=publication&"+scope, &dead); len(dead.DeadLetters) > 0 {
			break
		}
		p.records(t, p.send(t, email("x@example.net")), 2)
	}
	if d := dead.DeadLetters; len(d) != 1 || d[0].MessageID != id || d[0].Answer != "the topic "+q.arn+" was deleted before this event was published" {
		t.Fatalf("dead letters: %+v", d)
	}
	again, err := p.sns.CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String("gone")})
	check(t, err)
	_, err = p.sns.Subscribe(ctx, &sns.SubscribeInput{TopicArn: again.TopicArn, Protocol: aws.String("sqs"), Endpoint: aws.String(p.arn("sqs", "gone"))})
	check(t, err)
	p.Own(ctx, "POST", "dead-letters/redrive", `{"account":"000000000000","region":"`+p.region+`","kind":"publication","ids":["`+dead.DeadLetters[0].ID+`"]}`)
	if got := q.next(t, 1)[0]; !strings.Contains(got, id) {
		t.Errorf("redriven: %s", got)
	}
}

// disabledDestination: a disabled destination gets nothing, and nothing is kept
// for it.
func disabledDestination(t *testing.T, l *lab) {
	p, ctx := l.place(t), t.Context()
	p.set(t, "s")
	q := p.topic(t, "quiet")
	q.publishTo(t, "s", "d", "SEND")
	update := func(enabled bool) {
		_, err := p.v2.UpdateConfigurationSetEventDestination(ctx, &sesv2.UpdateConfigurationSetEventDestinationInput{
			ConfigurationSetName: aws.String("s"), EventDestinationName: aws.String("d"),
			EventDestination: &types.EventDestinationDefinition{Enabled: enabled, MatchingEventTypes: []types.EventType{"SEND"}, SnsDestination: &types.SnsDestination{TopicArn: &q.arn}}})
		check(t, err)
		if got := q.next(t, 1)[0]; got != validated {
			t.Errorf("published: %q", got)
		}
	}
	in := email("x@example.net")
	in.ConfigurationSetName = aws.String("s")
	update(false)
	p.records(t, p.send(t, in), 2)
	update(true)
	id := p.send(t, in)
	if got := q.next(t, 1)[0]; !strings.Contains(got, id) {
		t.Errorf("the first record after enabling is not of message %s: %s", id, got)
	}
}
