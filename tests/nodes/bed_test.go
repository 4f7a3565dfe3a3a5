package nodes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"
	"github.com/aws/aws-sdk-go-v2/service/sesv2/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
	"github.com/jackc/pgx/v5"

	"github.com/sestina-mail/sestina/internal/store/postgres/pgtest"
	"github.com/sestina-mail/sestina/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// setName is the configuration set that a bed's messages are sent with.
const setName = "nodes"

// A node is one process with the SDK's clients for it.
type node struct {
	*harness.Instance
	name   string // as the database knows its connections
	smtp   string // its SMTP address, which stays
	mail   *sesv2.Client
	topics *sns.Client
	queues *sqs.Client
}

// A cluster is some nodes with one database and one data folder.
type cluster struct {
	t     testing.TB
	url   string
	dir   string
	nodes []*node
}

// newCluster starts n nodes of `sestina dev` on a database of their own.
func newCluster(t testing.TB, n int, args ...string) *cluster {
	t.Helper()
	return newClusterOn(t, pgtest.NewURL(t), n, args...)
}

func newClusterOn(t testing.TB, url string, n int, args ...string) *cluster {
	t.Helper()
	c := &cluster{t: t, url: url, dir: filepath.Join(t.TempDir(), "data")}
	for range n {
		c.add("dev", args...)
	}
	return c
}

// add starts another node.
func (c *cluster) add(mode string, args ...string) *node {
	c.t.Helper()
	name := fmt.Sprintf("node-%d", len(c.nodes))
	s := harness.StartMode(c.t, mode, append([]string{"--data", c.dir, "--database-url", c.url + "&application_name=" + name}, args...)...)
	n := &node{Instance: s, name: name, smtp: s.SMTP}
	n.use(s.AWS())
	c.nodes = append(c.nodes, n)
	return n
}

func (n *node) use(cfg aws.Config) {
	n.mail, n.topics, n.queues = sesv2.NewFromConfig(cfg), sns.NewFromConfig(cfg), sqs.NewFromConfig(cfg)
}

// query returns the first column of a query's rows.
func (c *cluster) query(sql string, args ...any) (out []any) {
	c.t.Helper()
	conn, err := pgx.Connect(c.t.Context(), c.url)
	check(c.t, err)
	defer func() { _ = conn.Close(context.WithoutCancel(c.t.Context())) }()
	rows, err := conn.Query(c.t.Context(), sql, args...)
	check(c.t, err)
	for rows.Next() {
		values, err := rows.Values()
		check(c.t, err)
		out = append(out, values[0])
	}
	check(c.t, rows.Err())
	return out
}

// deafen ends the connection on which a node is notified of changed documents,
// once it has one.
func (c *cluster) deafen(n *node) {
	c.t.Helper()
	eventually(c.t, 10*time.Second, func() error {
		if len(c.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1 AND query LIKE 'LISTEN%'`, n.name)) == 0 {
			return errors.New("it does not listen")
		}
		return nil
	})
}

// setUp makes a topic with the hook (confirmed) and a queue as subscribers, a
// configuration set that publishes all that happens to it, and an identity, and
// waits until every node knows them. It returns the queue's URL.
func (c *cluster) setUp(hook *harness.Hook) (queueURL string) {
	c.t.Helper()
	t, ctx, n := c.t, c.t.Context(), c.nodes[0]
	topic, err := n.topics.CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String("events")})
	check(t, err)
	if hook != nil {
		_, err = n.topics.Subscribe(ctx, &sns.SubscribeInput{TopicArn: topic.TopicArn, Protocol: aws.String("http"), Endpoint: aws.String(hook.URL)})
		check(t, err)
		hook.WaitConfirmed()
	}
	url, arn := n.createQueue(t, "events")
	_, err = n.topics.Subscribe(ctx, &sns.SubscribeInput{TopicArn: topic.TopicArn, Protocol: aws.String("sqs"), Endpoint: aws.String(arn)})
	check(t, err)
	n.createSet(t, setName, *topic.TopicArn)
	_, err = n.mail.CreateEmailIdentity(ctx, &sesv2.CreateEmailIdentityInput{EmailIdentity: aws.String("example.com")})
	check(t, err)
	for _, other := range c.nodes[1:] { // what was made last is known last
		eventually(t, 5*time.Second, func() error {
			got, err := other.mail.ListEmailIdentities(ctx, &sesv2.ListEmailIdentitiesInput{})
			if err == nil && len(got.EmailIdentities) == 0 {
				err = errors.New("the identity is not known")
			}
			return err
		})
	}
	return url
}

func (n *node) createQueue(t testing.TB, name string) (url, arn string) {
	t.Helper()
	queue, err := n.queues.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String(name)})
	check(t, err)
	attrs, err := n.queues.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: queue.QueueUrl, AttributeNames: []sqstypes.QueueAttributeName{"QueueArn"}})
	check(t, err)
	return *queue.QueueUrl, attrs.Attributes["QueueArn"]
}

// createSet makes a configuration set that publishes to a topic.
func (n *node) createSet(t testing.TB, name, topicARN string) {
	t.Helper()
	_, err := n.mail.CreateConfigurationSet(t.Context(), &sesv2.CreateConfigurationSetInput{ConfigurationSetName: aws.String(name)})
	check(t, err)
	_, err = n.mail.CreateConfigurationSetEventDestination(t.Context(), &sesv2.CreateConfigurationSetEventDestinationInput{
		ConfigurationSetName: aws.String(name), EventDestinationName: aws.String("all"),
		EventDestination: &types.EventDestinationDefinition{
			Enabled: true, MatchingEventTypes: []types.EventType{"SEND", "DELIVERY", "BOUNCE"}, SnsDestination: &types.SnsDestination{TopicArn: aws.String(topicARN)},
		},
	})
	check(t, err)
}

// send sends a message by the API and returns its id.
func (n *node) send(ctx context.Context, set, from, text string) (string, error) {
	out, err := n.mail.SendEmail(ctx, &sesv2.SendEmailInput{
		ConfigurationSetName: aws.String(set), FromEmailAddress: aws.String(from),
		Destination: &types.Destination{ToAddresses: []string{"lena@example.net"}},
		Content: &types.EmailContent{Simple: &types.Message{
			Subject: &types.Content{Data: aws.String("nodes")}, Body: &types.Body{Text: &types.Content{Data: aws.String(text)}},
		}},
	})
	if err != nil {
		return "", err
	}
	return *out.MessageId, nil
}

// submit sends a message by SMTP and returns its id.
func (n *node) submit() (string, error) {
	return harness.SMTPSend(n.smtp, "a@example.com", []string{"lena@example.net"},
		"From: a@example.com\nTo: lena@example.net\nSubject: nodes\nX-SES-CONFIGURATION-SET: "+setName+"\n\nhello\n")
}

// events are the arrivals that messages must lead to, as "id type".
func events(ids []string, kinds ...string) []string {
	var out []string
	for _, id := range ids {
		for _, kind := range kinds {
			out = append(out, id+" "+kind)
		}
	}
	return out
}

// arrivalOf names the event that a notification's message is about, or nothing
// for the test message to a new destination.
func arrivalOf(message string) []string {
	var r harness.Record
	if !strings.HasPrefix(message, "{") || json.Unmarshal([]byte(message), &r) != nil {
		return nil
	}
	return []string{r.Mail.MessageID + " " + r.EventType}
}

// account is the account of a new ledger.
func account(t testing.TB, where string, want []string, within time.Duration, next func() []string) (duplicates int) {
	t.Helper()
	return ledger{}.account(t, where, want, within, next)
}

// A ledger holds what has arrived at some place.
type ledger map[string]bool

// account takes arrivals until every wanted one was there and, then, until there
// are no more for the moment. It returns how many came more than once, the
// wanted ones and others.
func (got ledger) account(t testing.TB, where string, want []string, within time.Duration, next func() []string) (duplicates int) {
	t.Helper()
	missing := map[string]bool{}
	for _, k := range want {
		if !got[k] {
			missing[k] = true
		}
	}
	for deadline := time.Now().Add(within); ; {
		arrived := next()
		if len(arrived) == 0 && len(missing) == 0 {
			return duplicates
		}
		for _, k := range arrived {
			if got[k] {
				duplicates++
			}
			got[k] = true
			delete(missing, k)
		}
		if time.Now().After(deadline) {
			n := 0
			for k := range missing {
				if n++; n <= 10 {
					t.Errorf("lost on the way to %s: %s", where, k)
				}
			}
			t.Fatalf("%d of %d events did not arrive at %s within %s", len(missing), len(want), where, within)
		}
	}
}

// atHook returns what arrived at the hook by now, or the next that arrives.
func atHook(h *harness.Hook) func() []string {
	return func() []string {
		select {
		case e := <-h.Notifications:
			return orTest(arrivalOf(e.Message))
		case <-time.After(time.Second):
			return nil
		}
	}
}

// orTest makes an arrival of the test message too, so that it does not look
// like none; it comes once to a hook and a queue.
func orTest(arrived []string) []string {
	if len(arrived) == 0 {
		return []string{"test"}
	}
	return arrived
}

// inQueue receives from a queue through one node after the other.
func (c *cluster) inQueue(url string) func() []string {
	turn := 0
	return func() (out []string) {
		c.t.Helper()
		turn++
		for _, body := range c.nodes[turn%len(c.nodes)].receive(c.t, url, 1) {
			var e harness.Envelope
			check(c.t, json.Unmarshal([]byte(body), &e))
			out = append(out, orTest(arrivalOf(e.Message))...)
		}
		return out
	}
}

// receive takes up to ten messages from a queue, waiting for some seconds.
func (n *node) receive(t testing.TB, url string, wait int32) (bodies []string) {
	t.Helper()
	got, err := n.queues.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{
		QueueUrl: aws.String(url), MaxNumberOfMessages: 10, WaitTimeSeconds: wait, VisibilityTimeout: 600})
	check(t, err)
	for _, m := range got.Messages {
		bodies = append(bodies, *m.Body)
	}
	return bodies
}

// eventually calls fn until it returns nil, and fails the test when that takes
// longer than it may. It returns how long it took.
func eventually(t testing.TB, within time.Duration, fn func() error) time.Duration {
	t.Helper()
	begin := time.Now()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := fn()
		took := time.Since(begin)
		if err == nil && took <= within {
			return took
		}
		if took > within {
			t.Fatalf("not within %s but after %s: %v", within, took, err)
		}
		<-tick.C
	}
}

// longest returns the longest of some times.
func longest(times []time.Duration) time.Duration { return slices.Max(times) }

// statusOf is the HTTP status of a refused call, or 0.
func statusOf(err error) int {
	var r *awshttp.ResponseError
	if errors.As(err, &r) {
		return r.HTTPStatusCode()
	}
	return 0
}

// codeOf is the AWS code of a refused call, or "".
func codeOf(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return ""
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
