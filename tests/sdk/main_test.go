// Package sdk is the third ring of tests: the whole program in a temporary
// folder, driven by the official AWS SDK for Go and by plain SMTP, its events
// read back at every destination.
package sdk

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"
	"github.com/aws/aws-sdk-go-v2/service/sesv2/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/sestina-mail/sestina/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// spine is a running program with a topic that an HTTP endpoint and a queue
// subscribe, and a configuration set that publishes every event to it.
type spine struct {
	*harness.Instance
	ses      *sesv2.Client
	sns      *sns.Client
	sqs      *sqs.Client
	hook     *harness.Hook
	topic    string
	queueURL string
}

func newSpine(t *testing.T, args ...string) *spine {
	t.Helper()
	s := &spine{Instance: harness.Start(t, args...), hook: harness.NewHook(t)}
	cfg := s.AWS()
	s.ses, s.sns, s.sqs = sesv2.NewFromConfig(cfg), sns.NewFromConfig(cfg), sqs.NewFromConfig(cfg)
	ctx := t.Context()

	topic, err := s.sns.CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String("ses-events")})
	check(t, err)
	s.topic = *topic.TopicArn
	_, err = s.sns.Subscribe(ctx, &sns.SubscribeInput{TopicArn: topic.TopicArn, Protocol: aws.String("http"), Endpoint: aws.String(s.hook.URL)})
	check(t, err)
	queue, err := s.sqs.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("ses-events")})
	check(t, err)
	s.queueURL = *queue.QueueUrl
	attrs, err := s.sqs.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: queue.QueueUrl, AttributeNames: []sqstypes.QueueAttributeName{"QueueArn"}})
	check(t, err)
	_, err = s.sns.Subscribe(ctx, &sns.SubscribeInput{TopicArn: topic.TopicArn, Protocol: aws.String("sqs"), Endpoint: aws.String(attrs.Attributes["QueueArn"])})
	check(t, err)
	s.hook.WaitConfirmed()

	_, err = s.ses.CreateConfigurationSet(ctx, &sesv2.CreateConfigurationSetInput{ConfigurationSetName: aws.String("spring")})
	check(t, err)
	_, err = s.ses.CreateConfigurationSetEventDestination(ctx, &sesv2.CreateConfigurationSetEventDestinationInput{
		ConfigurationSetName: aws.String("spring"), EventDestinationName: aws.String("all"),
		EventDestination: &types.EventDestinationDefinition{
			Enabled:            true,
			MatchingEventTypes: []types.EventType{"SEND", "DELIVERY", "BOUNCE", "COMPLAINT", "REJECT", "DELIVERY_DELAY"},
			SnsDestination:     &types.SnsDestination{TopicArn: topic.TopicArn},
		},
	})
	check(t, err)
	_, err = s.ses.CreateEmailIdentity(ctx, &sesv2.CreateEmailIdentityInput{EmailIdentity: aws.String("example.com")})
	check(t, err)
	return s
}

// send sends a small formatted message and returns its id.
func (s *spine) send(t *testing.T, to ...string) string {
	t.Helper()
	out, err := s.ses.SendEmail(t.Context(), &sesv2.SendEmailInput{
		ConfigurationSetName: aws.String("spring"), FromEmailAddress: aws.String("Demo <a@example.com>"),
		Destination: &types.Destination{ToAddresses: to},
		EmailTags:   []types.MessageTag{{Name: aws.String("campaign"), Value: aws.String("spring")}},
		Content: &types.EmailContent{Simple: &types.Message{
			Subject: &types.Content{Data: aws.String("Spring list")},
			Body:    &types.Body{Text: &types.Content{Data: aws.String("hello")}, Html: &types.Content{Data: aws.String("<p>hello</p>")}},
		}},
	})
	check(t, err)
	return *out.MessageId
}

// receive reads n event records from the queue, skipping the test message.
func (s *spine) receive(t *testing.T, n int) []harness.Record {
	t.Helper()
	var out []harness.Record
	for empty := 0; len(out) < n; {
		got, err := s.sqs.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: aws.String(s.queueURL), MaxNumberOfMessages: 10, WaitTimeSeconds: 10})
		check(t, err)
		if len(got.Messages) == 0 {
			if empty++; empty == 3 {
				t.Fatalf("only %d of %d records arrived in the queue", len(out), n)
			}
		}
		for _, m := range got.Messages {
			_, err := s.sqs.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: aws.String(s.queueURL), ReceiptHandle: m.ReceiptHandle})
			check(t, err)
			var e harness.Envelope
			check(t, json.Unmarshal([]byte(*m.Body), &e))
			if strings.HasPrefix(e.Message, "{") {
				out = append(out, harness.ParseRecord(t, e.Message))
			}
		}
	}
	return out
}

// smtpSend submits a raw message and returns the message id of the DATA answer.
func (s *spine) smtpSend(t *testing.T, from string, to []string, message string) string {
	t.Helper()
	id, err := harness.SMTPSend(s.SMTP, from, to, message)
	check(t, err)
	return id
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
