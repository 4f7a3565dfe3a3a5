// Package crash kills the real binary under load again and again and accounts
// for every message and event.
package crash

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"
	"github.com/aws/aws-sdk-go-v2/service/sesv2/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/sestina-mail/sestina/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

const (
	kills   = 20
	senders = 8 // of each: API, SMTP
)

// accepted collects the ids of messages that were answered with 200 or 250.
type accepted struct {
	mu  sync.Mutex
	ids map[string]bool
}

func (a *accepted) add(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ids[id] = true
}

// TestKilledUnderLoad: every message answered with 200 or 250 is delivered, and
// each of its events arrives at the HTTP endpoint and in the queue at least
// once, whenever the program is killed.
func TestKilledUnderLoad(t *testing.T) {
	s := harness.Start(t)
	hook := harness.NewHook(t)
	queueURL := setUp(t, s, hook)
	var all accepted
	all.ids = map[string]bool{}

	for round := range kills {
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for i := range senders {
			wg.Go(func() { sendByAPI(ctx, s, &all, round*senders+i) })
			wg.Go(func() { sendBySMTP(ctx, s, &all) })
		}
		moment := time.NewTimer(time.Duration(50+rand.IntN(400)) * time.Millisecond)
		<-moment.C
		s.Kill()
		stop()
		wg.Wait()
		s.Restart()
	}

	want := map[string]int{} // "id type" to arrivals
	for id := range all.ids {
		want[id+" Send"], want[id+" Delivery"] = 0, 0
	}
	if len(all.ids) < kills {
		t.Fatalf("only %d messages were accepted: that is no load", len(all.ids))
	}
	atHook := account(t, "the HTTP endpoint", want, func() []string { return fromHook(hook) })
	inQueue := account(t, "the queue", want, func() []string { return fromQueue(t, s, queueURL) })
	for id := range all.ids {
		if raw := s.Own(t.Context(), "GET", "messages/"+id+"/raw", ""); !strings.Contains(string(raw), "Subject: crash") {
			t.Errorf("the inbox has no such message %s: %.200q", id, raw)
		}
	}
	fmt.Printf("crash: %d kills, %d messages accepted, %d events; duplicates: %d at the HTTP endpoint, %d in the queue\n",
		kills, len(all.ids), len(want), atHook, inQueue)
	if inQueue > 0 {
		t.Errorf("%d events are in the queue twice: inside Sestina every event is there exactly once", inQueue)
	}
}

// account takes arrivals until every wanted one was there, and returns how many
// came more than once.
func account(t *testing.T, where string, want map[string]int, next func() []string) (duplicates int) {
	t.Helper()
	got := map[string]int{}
	missing := len(want)
	for deadline := time.Now().Add(2 * time.Minute); missing > 0; {
		for _, k := range next() {
			if _, ok := want[k]; !ok {
				continue // of a message whose answer was cut off
			}
			if got[k]++; got[k] == 1 {
				missing--
			} else {
				duplicates++
			}
		}
		if time.Now().After(deadline) {
			for k := range want {
				if got[k] == 0 {
					t.Errorf("lost on the way to %s: %s", where, k)
				}
			}
			t.Fatalf("%d of %d events did not arrive at %s", missing, len(want), where)
		}
	}
	return duplicates
}

func fromHook(h *harness.Hook) []string {
	select {
	case e := <-h.Notifications:
		return keys(e.Message)
	case <-time.After(time.Second):
		return nil
	}
}

func fromQueue(t *testing.T, s *harness.Instance, url string) (out []string) {
	t.Helper()
	client := sqs.NewFromConfig(s.AWS())
	got, err := client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{
		QueueUrl: aws.String(url), MaxNumberOfMessages: 10, WaitTimeSeconds: 1, VisibilityTimeout: 600})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range got.Messages {
		var e harness.Envelope
		if err := json.Unmarshal([]byte(*m.Body), &e); err != nil {
			t.Fatal(err)
		}
		out = append(out, keys(e.Message)...)
	}
	return out
}

func keys(message string) []string {
	var r harness.Record
	if !strings.HasPrefix(message, "{") || json.Unmarshal([]byte(message), &r) != nil {
		return nil
	}
	return []string{r.Mail.MessageID + " " + r.EventType}
}

func setUp(t *testing.T, s *harness.Instance, hook *harness.Hook) (queueURL string) {
	t.Helper()
	ctx, cfg := t.Context(), s.AWS()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	topics, queues, mail := sns.NewFromConfig(cfg), sqs.NewFromConfig(cfg), sesv2.NewFromConfig(cfg)
	topic, err := topics.CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String("events")})
	check(err)
	_, err = topics.Subscribe(ctx, &sns.SubscribeInput{TopicArn: topic.TopicArn, Protocol: aws.String("http"), Endpoint: aws.String(hook.URL)})
	check(err)
	hook.WaitConfirmed()
	queue, err := queues.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("events")})
	check(err)
	attrs, err := queues.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: queue.QueueUrl, AttributeNames: []sqstypes.QueueAttributeName{"QueueArn"}})
	check(err)
	_, err = topics.Subscribe(ctx, &sns.SubscribeInput{TopicArn: topic.TopicArn, Protocol: aws.String("sqs"), Endpoint: aws.String(attrs.Attributes["QueueArn"])})
	check(err)
	_, err = mail.CreateConfigurationSet(ctx, &sesv2.CreateConfigurationSetInput{ConfigurationSetName: aws.String("crash")})
	check(err)
	_, err = mail.CreateConfigurationSetEventDestination(ctx, &sesv2.CreateConfigurationSetEventDestinationInput{
		ConfigurationSetName: aws.String("crash"), EventDestinationName: aws.String("all"),
		EventDestination: &types.EventDestinationDefinition{
			Enabled: true, MatchingEventTypes: []types.EventType{"SEND", "DELIVERY", "BOUNCE"}, SnsDestination: &types.SnsDestination{TopicArn: topic.TopicArn},
		},
	})
	check(err)
	_, err = mail.CreateEmailIdentity(ctx, &sesv2.CreateEmailIdentityInput{EmailIdentity: aws.String("example.com")})
	check(err)
	return *queue.QueueUrl
}

// sendByAPI sends until the program is gone. Every fifth message is large, so
// that its body is a file.
func sendByAPI(ctx context.Context, s *harness.Instance, all *accepted, seed int) {
	client := sesv2.NewFromConfig(s.AWS())
	for i := seed; ctx.Err() == nil; i++ {
		text := "hello"
		if i%5 == 0 {
			text = strings.Repeat("a large message is kept in a file of its own\n", 2000)
		}
		out, err := client.SendEmail(ctx, &sesv2.SendEmailInput{
			ConfigurationSetName: aws.String("crash"), FromEmailAddress: aws.String("a@example.com"),
			Destination: &types.Destination{ToAddresses: []string{"lena@example.net"}},
			Content: &types.EmailContent{Simple: &types.Message{
				Subject: &types.Content{Data: aws.String("crash")}, Body: &types.Body{Text: &types.Content{Data: aws.String(text)}},
			}},
		})
		if err != nil {
			return
		}
		all.add(*out.MessageId)
	}
}

func sendBySMTP(ctx context.Context, s *harness.Instance, all *accepted) {
	for ctx.Err() == nil {
		id, err := harness.SMTPSend(s.SMTP, "a@example.com", []string{"lena@example.net"},
			"From: a@example.com\nTo: lena@example.net\nSubject: crash\nX-SES-CONFIGURATION-SET: crash\n\nhello\n")
		if err != nil {
			return
		}
		all.add(id)
	}
}
