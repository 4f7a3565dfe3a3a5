package sdk

import (
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ses"
	sestypes "github.com/aws/aws-sdk-go-v2/service/ses/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/sestina-mail/sestina/tests/harness"
)

// types returns the event types of the records about a message, sorted.
func typesOf(records []harness.Record, id string) []string {
	var out []string
	for _, r := range records {
		if r.Mail.MessageID == id {
			out = append(out, r.EventType)
		}
	}
	slices.Sort(out)
	return out
}

func wantTypes(t *testing.T, records []harness.Record, id string, want ...string) {
	t.Helper()
	if got := typesOf(records, id); !slices.Equal(got, want) {
		t.Errorf("events of message %s: %v, want %v", id, got, want)
	}
}

func TestSpine(t *testing.T) {
	t.Parallel()
	s := newSpine(t)
	who, err := sts.NewFromConfig(s.AWS()).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	check(t, err)
	if *who.Account != "000000000000" {
		t.Errorf("account %s", *who.Account)
	}

	bounce := s.send(t, "bounce+x@simulator.amazonses.com")
	delivered := s.send(t, "lena@example.net")
	records := s.hook.Records(4)
	wantTypes(t, records, bounce, "Bounce", "Send")
	wantTypes(t, records, delivered, "Delivery", "Send")
	for _, r := range records {
		if got := r.Mail.Tags["campaign"]; !slices.Equal(got, []string{"spring"}) {
			t.Errorf("tag campaign of %s: %v", r.EventType, got)
		}
		if got := r.Mail.Tags["ses:configuration-set"]; !slices.Equal(got, []string{"spring"}) {
			t.Errorf("tag ses:configuration-set of %s: %v", r.EventType, got)
		}
		if r.EventType == "Bounce" && (r.Bounce.BounceType != "Permanent" || r.Bounce.BounceSubType != "General" ||
			r.Bounce.BouncedRecipients[0].EmailAddress != "bounce+x@simulator.amazonses.com") {
			t.Errorf("bounce: %+v", r.Bounce)
		}
	}
	queued := s.receive(t, 4)
	wantTypes(t, queued, bounce, "Bounce", "Send")
	wantTypes(t, queued, delivered, "Delivery", "Send")
}

func TestSMTPWithHeaders(t *testing.T) {
	t.Parallel()
	s := newSpine(t)
	id := s.smtpSend(t, "a@example.com", []string{"complaint@simulator.amazonses.com"},
		"From: a@example.com\nTo: complaint@simulator.amazonses.com\nSubject: hi\nX-SES-CONFIGURATION-SET: spring\n"+
			"X-SES-MESSAGE-TAGS: campaign=spring, kind=test\n\nhello\n")
	records := s.hook.Records(3)
	wantTypes(t, records, id, "Complaint", "Delivery", "Send")
	if got := records[0].Mail.Tags["kind"]; !slices.Equal(got, []string{"test"}) {
		t.Errorf("tag kind: %v", got)
	}
}

func TestSESVersion1(t *testing.T) {
	t.Parallel()
	s := newSpine(t)
	v1 := ses.NewFromConfig(s.AWS())
	out, err := v1.SendEmail(t.Context(), &ses.SendEmailInput{
		ConfigurationSetName: aws.String("spring"), Source: aws.String("a@example.com"),
		Destination: &sestypes.Destination{ToAddresses: []string{"ooto@simulator.amazonses.com"}},
		Message: &sestypes.Message{
			Subject: &sestypes.Content{Data: aws.String("v1")},
			Body:    &sestypes.Body{Text: &sestypes.Content{Data: aws.String("hello")}},
		},
	})
	check(t, err)
	wantTypes(t, s.hook.Records(3), *out.MessageId, "Bounce", "Delivery", "Send")

	set, err := v1.DescribeConfigurationSet(t.Context(), &ses.DescribeConfigurationSetInput{
		ConfigurationSetName:           aws.String("spring"),
		ConfigurationSetAttributeNames: []sestypes.ConfigurationSetAttribute{"eventDestinations", "reputationOptions"},
	})
	check(t, err)
	want := []sestypes.EventType{"bounce", "complaint", "delivery", "reject", "send"}
	if d := set.EventDestinations; len(d) != 1 || !slices.Equal(d[0].MatchingEventTypes, want) || *d[0].SNSDestination.TopicARN != s.topic {
		t.Errorf("event destinations: %+v", d)
	}
	if set.TrackingOptions != nil || set.ReputationOptions == nil || !set.ReputationOptions.SendingEnabled {
		t.Errorf("only what was asked for: %+v", set)
	}
}
