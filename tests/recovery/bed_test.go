package recovery

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"
	"github.com/aws/aws-sdk-go-v2/service/sesv2/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/sestina-mail/sestina/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// patience is how long tests wait for what must happen soon.
const patience = 20 * time.Second

// A bed is a running program with a configuration set whose events go to a
// topic. Nothing is subscribed to the topic.
type bed struct {
	*harness.Instance
	topic  string // ARN
	client *http.Client
}

func newBed(t *testing.T, args ...string) *bed {
	t.Helper()
	return furnish(t, harness.Start(t, args...))
}

// furnish makes identity, topic, configuration set and event destination.
func furnish(t *testing.T, s *harness.Instance) *bed {
	t.Helper()
	b := &bed{Instance: s, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}}
	t.Cleanup(b.client.CloseIdleConnections)
	ctx := t.Context()
	b.createTopic(t)
	_, err := b.mail().CreateConfigurationSet(ctx, &sesv2.CreateConfigurationSetInput{ConfigurationSetName: aws.String("spring")})
	check(t, err)
	_, err = b.mail().CreateConfigurationSetEventDestination(ctx, &sesv2.CreateConfigurationSetEventDestinationInput{
		ConfigurationSetName: aws.String("spring"), EventDestinationName: aws.String("all"), EventDestination: b.definition(true),
	})
	check(t, err)
	_, err = b.mail().CreateEmailIdentity(ctx, &sesv2.CreateEmailIdentityInput{EmailIdentity: aws.String("example.com")})
	check(t, err)
	return b
}

// AWS is the instance's, with connections that the bed can close.
func (b *bed) AWS() aws.Config {
	cfg := b.Instance.AWS()
	cfg.HTTPClient = b.client
	return cfg
}

func (b *bed) mail() *sesv2.Client          { return sesv2.NewFromConfig(b.AWS()) }
func (b *bed) topics() *sns.Client          { return sns.NewFromConfig(b.AWS()) }
func (b *bed) queues() *sqs.Client          { return sqs.NewFromConfig(b.AWS()) }
func (b *bed) queueURL(name string) *string { return aws.String(b.HTTP + "/000000000000/" + name) }

func (b *bed) createTopic(t *testing.T) {
	t.Helper()
	out, err := b.topics().CreateTopic(t.Context(), &sns.CreateTopicInput{Name: aws.String("events")})
	check(t, err)
	b.topic = *out.TopicArn
}

func (b *bed) deleteTopic(t *testing.T) {
	t.Helper()
	_, err := b.topics().DeleteTopic(t.Context(), &sns.DeleteTopicInput{TopicArn: &b.topic})
	check(t, err)
}

func (b *bed) definition(enabled bool) *types.EventDestinationDefinition {
	return &types.EventDestinationDefinition{
		Enabled: enabled, MatchingEventTypes: []types.EventType{"SEND", "DELIVERY", "BOUNCE", "DELIVERY_DELAY"}, SnsDestination: &types.SnsDestination{TopicArn: &b.topic},
	}
}

// enable enables or disables the event destination.
func (b *bed) enable(t *testing.T, enabled bool) {
	t.Helper()
	_, err := b.mail().UpdateConfigurationSetEventDestination(t.Context(), &sesv2.UpdateConfigurationSetEventDestinationInput{
		ConfigurationSetName: aws.String("spring"), EventDestinationName: aws.String("all"), EventDestination: b.definition(enabled),
	})
	check(t, err)
}

// subscribe subscribes a hook, confirmed, and returns the subscription's ARN.
func (b *bed) subscribe(t *testing.T, h *harness.Hook) string {
	t.Helper()
	out, err := b.topics().Subscribe(t.Context(), &sns.SubscribeInput{
		TopicArn: &b.topic, Protocol: aws.String("http"), Endpoint: &h.URL, ReturnSubscriptionArn: true,
	})
	check(t, err)
	h.WaitConfirmed()
	return *out.SubscriptionArn
}

// queue makes a queue that is subscribed to the topic.
func (b *bed) queue(t *testing.T, name string) {
	t.Helper()
	_, err := b.queues().CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name})
	check(t, err)
	b.subscribeQueue(t, name)
}

func (b *bed) subscribeQueue(t *testing.T, name string) {
	t.Helper()
	_, err := b.topics().Subscribe(t.Context(), &sns.SubscribeInput{
		TopicArn: &b.topic, Protocol: aws.String("sqs"), Endpoint: aws.String("arn:aws:sqs:us-east-1:000000000000:" + name),
	})
	check(t, err)
}

// take receives and deletes up to ten messages of a queue, waiting up to wait
// seconds.
func (b *bed) take(t *testing.T, name string, wait int32) (bodies []string) {
	t.Helper()
	got, err := b.queues().ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: b.queueURL(name), MaxNumberOfMessages: 10, WaitTimeSeconds: wait})
	check(t, err)
	for _, m := range got.Messages {
		bodies = append(bodies, *m.Body)
		_, err := b.queues().DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: b.queueURL(name), ReceiptHandle: m.ReceiptHandle})
		check(t, err)
	}
	return bodies
}

func (b *bed) trySend(ctx context.Context, to, text string) (string, error) {
	out, err := b.mail().SendEmail(ctx, &sesv2.SendEmailInput{
		ConfigurationSetName: aws.String("spring"), FromEmailAddress: aws.String("a@example.com"),
		Destination: &types.Destination{ToAddresses: []string{to}},
		Content: &types.EmailContent{Simple: &types.Message{
			Subject: &types.Content{Data: aws.String("recovery")}, Body: &types.Body{Text: &types.Content{Data: &text}},
		}},
	})
	if err != nil {
		return "", err
	}
	return *out.MessageId, nil
}

func (b *bed) send(t *testing.T, n int) (ids []string) {
	t.Helper()
	for range n {
		id, err := b.trySend(t.Context(), "lena@example.net", "hello")
		check(t, err)
		ids = append(ids, id)
	}
	return ids
}

const smtpMessage = "From: a@example.com\nTo: lena@example.net\nSubject: recovery\nX-SES-CONFIGURATION-SET: spring\n\nhello\n"

func (b *bed) smtpSend(message string) (string, error) {
	return harness.SMTPSend(b.SMTP, "a@example.com", []string{"lena@example.net"}, message)
}

// expected are the events that messages have, as "id type".
func expected(ids []string, types ...string) map[string]bool {
	want := map[string]bool{}
	for _, id := range ids {
		for _, typ := range types {
			want[id+" "+typ] = true
		}
	}
	return want
}

// collect takes notifications from the hook until all wanted events were there.
// Whenever none comes for a moment the clock moves on, so that attempts that
// wait for their time become due.
func (b *bed) collect(t *testing.T, h *harness.Hook, want map[string]bool) {
	t.Helper()
	end := time.Now().Add(patience)
	for len(want) > 0 {
		select {
		case e := <-h.Notifications:
			if strings.HasPrefix(e.Message, "{") {
				r := harness.ParseRecord(t, e.Message)
				delete(want, r.Mail.MessageID+" "+r.EventType)
			}
		case <-time.After(300 * time.Millisecond):
			if time.Now().After(end) {
				t.Fatalf("%d events did not arrive, such as %s", len(want), first(want))
			}
			b.advance(t, "2m")
		}
	}
}

func (b *bed) advance(t *testing.T, by string) {
	t.Helper()
	b.Own(t.Context(), "POST", "clock", `{"advance":"`+by+`"}`)
}

func first(m map[string]bool) string {
	for k := range m {
		return k
	}
	return ""
}

type deadLetter struct {
	ID, Kind, Answer, State, MessageID string
}

// deadPage returns dead letters of a kind behind one, and where to go on.
func (b *bed) deadPage(t *testing.T, kind, after string) ([]deadLetter, string) {
	t.Helper()
	var out struct {
		DeadLetters []deadLetter
		Next        string
	}
	path := "dead-letters?account=000000000000&region=us-east-1&limit=1000&kind=" + kind
	if after != "" {
		path += "&after=" + after
	}
	check(t, json.Unmarshal(b.Own(t.Context(), "GET", path, ""), &out))
	return out.DeadLetters, out.Next
}

func (b *bed) dead(t *testing.T, kind string) []deadLetter {
	t.Helper()
	list, _ := b.deadPage(t, kind, "")
	return list
}

// waitDead waits until there are n dead letters of a kind that all say why.
func (b *bed) waitDead(t *testing.T, kind string, n int, why string) {
	t.Helper()
	var got []deadLetter
	eventually(t, fmt.Sprintf("%d dead letters (%s)", n, kind), func() bool {
		got = b.dead(t, kind)
		return len(got) >= n
	})
	if len(got) != n {
		t.Errorf("%d dead letters, want %d", len(got), n)
	}
	for _, d := range got {
		if !strings.Contains(d.Answer, why) {
			t.Errorf("a dead letter says %q, want something with %q", d.Answer, why)
		}
	}
}

func (b *bed) redrive(t *testing.T, kind string) int {
	t.Helper()
	var out struct{ Count int }
	check(t, json.Unmarshal(b.Own(t.Context(), "POST", "dead-letters/redrive", `{"account":"000000000000","region":"us-east-1","kind":"`+kind+`"}`), &out))
	return out.Count
}

// destinationHealth is what the own API says of an event destination.
type destinationHealth struct {
	Enabled       bool
	State         string
	Waiting, Dead int
}

func (b *bed) health(t *testing.T) (h destinationHealth) {
	t.Helper()
	check(t, json.Unmarshal(b.Own(t.Context(), "GET", "event-destinations/spring/all?account=000000000000&region=us-east-1", ""), &h))
	return h
}

// eventually asks again and again until ok, which the program has no signal
// for, and fails the test after a while.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited %s in vain for %s", patience, what)
		}
	}
}

// wellBehaved asserts that the program logged no error of its own.
func wellBehaved(t *testing.T, s *harness.Instance) {
	t.Helper()
	for line := range strings.Lines(s.Log()) {
		if strings.Contains(line, "level=ERROR") || strings.HasPrefix(line, "panic") {
			t.Errorf("logged: %s", line)
		}
	}
}

// status reads a number (kB, where the kernel says so) of /proc/PID/status.
func status(t testing.TB, s *harness.Instance, name string) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.PID()))
	check(t, err)
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, name+":"); ok {
			n, err := strconv.Atoi(strings.Fields(v)[0])
			check(t, err)
			return n
		}
	}
	t.Fatalf("no %s in the status of the process", name)
	return 0
}

// descriptors counts the open files of the process.
func descriptors(t testing.TB, s *harness.Instance) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.PID()))
	check(t, err)
	return len(entries)
}
