package nodes

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/sestina-mail/sestina/tests/harness"
)

// TestAnyNodeAnswers: what was sent through one node is seen, in whole, through
// every other, and events of all arrive once in the queue.
func TestAnyNodeAnswers(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	hook := harness.NewHook(t)
	queue := c.setUp(hook)
	var ids []string
	for i, n := range c.nodes {
		large := strings.Repeat("a body that does not fit into its row\n", 3000)
		byAPI, err := n.send(t.Context(), setName, "a@example.com", large)
		check(t, err)
		bySMTP, err := n.submit()
		check(t, err)
		ids = append(ids, byAPI, bySMTP)
		for _, other := range c.nodes {
			if raw := other.Own(t.Context(), "GET", "messages/"+byAPI+"/raw", ""); !strings.Contains(string(raw), large[:30]) || len(raw) < len(large) {
				t.Errorf("through %s, the message sent through node %d has %d bytes", other.name, i, len(raw))
			}
			other.Own(t.Context(), "GET", "messages/"+bySMTP+"/raw", "")
		}
	}
	want := events(ids, "Send", "Delivery")
	account(t, "the hook", want, time.Minute, atHook(hook))
	if again := account(t, "the queue", want, time.Minute, c.inQueue(queue)); again > 0 {
		t.Errorf("%d events are in the queue twice", again)
	}
	for _, n := range c.nodes { // every hop of a message is known to all
		eventually(t, 10*time.Second, func() error {
			timeline := string(n.Own(t.Context(), "GET", "messages/"+ids[0]+"/timeline", ""))
			if strings.Contains(timeline, `"waiting"`) || !strings.Contains(timeline, hook.URL) || !strings.Contains(timeline, `"Delivery"`) {
				return fmt.Errorf("the timeline at %s: %s", n.name, timeline)
			}
			return nil
		})
	}
	// A call that waits finds what another node takes in.
	waiting := make(chan []byte, 1)
	go func() {
		out, _ := c.nodes[1].TryOwn(t.Context(), "GET", "messages?from=late@example.com&wait=20s", "")
		waiting <- out
	}()
	id, err := c.nodes[0].send(t.Context(), setName, "late@example.com", "hello")
	check(t, err)
	if got := <-waiting; !strings.Contains(string(got), id) {
		t.Errorf("waiting for it, the other node answered %s", got)
	}
}

// TestConfirmAtAnotherNode: the token that one node sent is taken by another,
// and unsubscribing at a third is honoured by all.
func TestConfirmAtAnotherNode(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2)
	a, b := c.nodes[0], c.nodes[1]
	got := make(chan harness.Envelope, 10)
	endpoint := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var e harness.Envelope
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
			t.Error(err)
		}
		got <- e
	}))
	t.Cleanup(endpoint.Close)
	wait := func() harness.Envelope {
		t.Helper()
		select {
		case e := <-got:
			return e
		case <-time.After(20 * time.Second):
			t.Fatal("nothing arrived")
			return harness.Envelope{}
		}
	}
	topic, err := a.topics.CreateTopic(t.Context(), &sns.CreateTopicInput{Name: aws.String("t")})
	check(t, err)
	_, err = b.topics.Subscribe(t.Context(), &sns.SubscribeInput{TopicArn: topic.TopicArn, Protocol: aws.String("http"), Endpoint: aws.String(endpoint.URL)})
	check(t, err)
	token := wait().Token
	confirmed, err := a.topics.ConfirmSubscription(t.Context(), &sns.ConfirmSubscriptionInput{TopicArn: topic.TopicArn, Token: aws.String(token)})
	check(t, err)
	again, err := b.topics.ConfirmSubscription(t.Context(), &sns.ConfirmSubscriptionInput{TopicArn: topic.TopicArn, Token: aws.String(token)})
	check(t, err)
	if *confirmed.SubscriptionArn != *again.SubscriptionArn {
		t.Errorf("confirmed as %s and %s", *confirmed.SubscriptionArn, *again.SubscriptionArn)
	}
	for i, n := range c.nodes {
		_, err = n.topics.Publish(t.Context(), &sns.PublishInput{TopicArn: topic.TopicArn, Message: aws.String(fmt.Sprint("hello ", i))})
		check(t, err)
		e := wait()
		if e.Message != fmt.Sprint("hello ", i) {
			t.Errorf("got %q", e.Message)
		}
		// Whoever signed it, the certificate is to be had from every node.
		for _, at := range c.nodes {
			_, path, _ := strings.Cut(strings.TrimPrefix(e.SigningCertURL, "http://"), "/")
			resp, err := http.Get(at.HTTP + "/" + path)
			check(t, err)
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Errorf("%s answers %s for the certificate %s", at.name, resp.Status, path)
			}
		}
	}
}

// TestLongPollsAtAllNodes: one queue is polled at two nodes; every message is
// handed out once, wherever it was sent, soon.
func TestLongPollsAtAllNodes(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2)
	url, _ := c.nodes[0].createQueue(t, "shared")
	const total = 40
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex
	got := map[string]int{}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				out, err := c.nodes[i%2].queues.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: aws.String(url), MaxNumberOfMessages: 3, WaitTimeSeconds: 20, VisibilityTimeout: 600})
				if err != nil {
					if ctx.Err() == nil {
						t.Error(err)
					}
					return
				}
				mu.Lock()
				for _, m := range out.Messages {
					got[*m.Body]++
				}
				if len(got) == total {
					cancel()
				}
				mu.Unlock()
			}
		})
	}
	for i := range total {
		_, err := c.nodes[i%2].queues.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: aws.String(url), MessageBody: aws.String(fmt.Sprint(i))})
		check(t, err)
	}
	eventually(t, 10*time.Second, func() error {
		mu.Lock()
		defer mu.Unlock()
		if len(got) < total {
			return fmt.Errorf("%d of %d messages were received", len(got), total)
		}
		return nil
	})
	cancel()
	wg.Wait()
	for body, times := range got {
		if times != 1 {
			t.Errorf("message %s was handed out %d times", body, times)
		}
	}
	// A poll at one node finds what is sent at the other while it waits.
	begin := time.Now()
	answered := make(chan []string, 1)
	go func() { answered <- c.nodes[1].receive(t, url, 20) }()
	_, err := c.nodes[0].queues.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: aws.String(url), MessageBody: aws.String("late")})
	check(t, err)
	if bodies := <-answered; len(bodies) != 1 || bodies[0] != "late" {
		t.Errorf("received %q", bodies)
	} else if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("it took %s", took)
	}
	// What was received at one node is deleted at the other.
	url, _ = c.nodes[1].createQueue(t, "receipts")
	_, err = c.nodes[1].queues.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: aws.String(url), MessageBody: aws.String("x")})
	check(t, err)
	out, err := c.nodes[0].queues.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: aws.String(url), WaitTimeSeconds: 5})
	check(t, err)
	_, err = c.nodes[1].queues.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: aws.String(url), ReceiptHandle: out.Messages[0].ReceiptHandle})
	check(t, err)
	depth, err := c.nodes[0].queues.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: aws.String(url),
		AttributeNames: []sqstypes.QueueAttributeName{"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"}})
	check(t, err)
	for name, n := range depth.Attributes {
		if n != "0" {
			t.Errorf("%s is %s", name, n)
		}
	}
}

// TestChangesAreHonoured: a change is honoured by the node that made it at once,
// by others within a second, also when those have just lost the connection on
// which they are notified.
func TestChangesAreHonoured(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2)
	a, b := c.nodes[0], c.nodes[1]
	c.setUp(nil)
	paused := func(n *node, want bool) error {
		_, err := n.send(t.Context(), setName, "a@example.com", "hello")
		if err != nil && codeOf(err) != "SendingPausedException" {
			return fmt.Errorf("%s: %w", n.name, err)
		}
		if got := err != nil; got != want {
			return fmt.Errorf("%s: paused is %v", n.name, got)
		}
		return nil
	}
	round := func(i int, before func()) time.Duration {
		from, other := a, b
		off := i%2 == 0
		before()
		_, err := from.mail.PutConfigurationSetSendingOptions(t.Context(), &sesv2.PutConfigurationSetSendingOptionsInput{ConfigurationSetName: aws.String(setName), SendingEnabled: !off})
		check(t, err)
		begin := time.Now()
		check(t, paused(from, off))
		eventually(t, time.Second-time.Since(begin), func() error { return paused(other, off) })
		return time.Since(begin)
	}
	var heard, deaf []time.Duration
	for i := range 20 {
		heard = append(heard, round(i, func() {}))
	}
	for i := range 10 {
		deaf = append(deaf, round(i, func() { c.deafen(b) }))
	}
	fmt.Printf("nodes: changes honoured by the other node after at most %s; %s when its connection had just been lost\n",
		longest(heard).Round(time.Millisecond), longest(deaf).Round(time.Millisecond))
}

// TestJustMade: a node that has not been notified of something new looks for it
// in the database before it says that it does not exist.
func TestJustMade(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2)
	a, b := c.nodes[0], c.nodes[1]
	queue := c.setUp(nil)
	topics, err := a.topics.ListTopics(t.Context(), &sns.ListTopicsInput{})
	check(t, err)
	var ids []string
	for i := range 12 {
		set, identity := fmt.Sprint("set-", i), fmt.Sprintf("domain-%d.example", i)
		c.deafen(b)
		a.createSet(t, set, *topics.Topics[0].TopicArn)
		_, err := a.mail.CreateEmailIdentity(t.Context(), &sesv2.CreateEmailIdentityInput{EmailIdentity: aws.String(identity)})
		check(t, err)
		if i%3 == 0 {
			_, err := b.mail.GetConfigurationSet(t.Context(), &sesv2.GetConfigurationSetInput{ConfigurationSetName: aws.String(set)})
			check(t, err)
			_, err = b.mail.GetEmailIdentity(t.Context(), &sesv2.GetEmailIdentityInput{EmailIdentity: aws.String(identity)})
			check(t, err)
		}
		// The set was made first, its destination was a change of it: b may have
		// heard of the one and has up to a second to hear of the other.
		eventually(t, 2*time.Second, func() error {
			got, err := b.mail.GetConfigurationSetEventDestinations(t.Context(), &sesv2.GetConfigurationSetEventDestinationsInput{ConfigurationSetName: aws.String(set)})
			if err == nil && len(got.EventDestinations) != 1 {
				err = fmt.Errorf("%d event destinations", len(got.EventDestinations))
			}
			return err
		})
		from := []*node{a, b}[i%2] // of what a accepts, b may take the next steps
		id, err := from.send(t.Context(), set, "x@"+identity, "hello")
		check(t, err)
		ids = append(ids, id)
		_, err = b.send(t.Context(), "never-made", "x@"+identity, "hello")
		if codeOf(err) != "NotFoundException" {
			t.Errorf("a set that was never made: %v", err)
		}
		if _, err = b.send(t.Context(), set, "x@never-made.example", "hello"); codeOf(err) != "MessageRejected" {
			t.Errorf("an identity that was never made: %v", err)
		}
	}
	if again := account(t, "the queue", events(ids, "Send", "Delivery"), time.Minute, unlike("test", c.inQueue(queue))); again > 0 {
		t.Errorf("%d events are in the queue twice", again)
	}
	// What was deleted at one node is not brought back by the other's looking.
	for i := range 6 {
		set := fmt.Sprint("set-", i)
		c.deafen(b)
		_, err := a.mail.DeleteConfigurationSet(t.Context(), &sesv2.DeleteConfigurationSetInput{ConfigurationSetName: aws.String(set)})
		check(t, err)
		eventually(t, time.Second, func() error {
			_, err := b.mail.GetConfigurationSet(t.Context(), &sesv2.GetConfigurationSetInput{ConfigurationSetName: aws.String(set)})
			if codeOf(err) != "NotFoundException" {
				return fmt.Errorf("the deleted set: %v", err)
			}
			return nil
		})
	}
}

// unlike makes arrivals of one name unique, since several of it are wanted.
func unlike(name string, next func() []string) func() []string {
	n := 0
	return func() []string {
		out := next()
		for i := range out {
			if out[i] == name {
				n++
				out[i] = fmt.Sprint(name, n)
			}
		}
		return out
	}
}

// TestServeNodes: two nodes of serve with one key file honour the same access
// keys, at once, and send what either accepted to the relay.
func TestServeNodes(t *testing.T) {
	t.Parallel()
	inbox := harness.Start(t, "--any-sender")
	c := newCluster(t, 0)
	args := []string{"--smtps", "none", "--any-sender", "--relay", "smtp://" + inbox.SMTP}
	a, b := c.add("serve", args...), c.add("serve", args...)
	key := map[string]string{}
	out, err := exec.Command(harness.Binary(t), "key", "create", "--data", c.dir, "--user", "mailer", "--database-url", c.url).Output()
	check(t, err)
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		key[name] = value
	}
	var ids []string
	for _, n := range []*node{a, b} {
		cfg := n.AWS()
		_, err := sns.NewFromConfig(cfg).ListTopics(t.Context(), &sns.ListTopicsInput{})
		if codeOf(err) != "InvalidClientTokenId" {
			t.Errorf("an unknown key: %v", err)
		}
		cfg.Credentials = credentials.NewStaticCredentialsProvider(key["AWS_ACCESS_KEY_ID"], key["AWS_SECRET_ACCESS_KEY"], "")
		n.use(cfg)
		if n == a {
			_, err = n.mail.CreateConfigurationSet(t.Context(), &sesv2.CreateConfigurationSetInput{ConfigurationSetName: aws.String("s")})
			check(t, err)
		}
		id, err := n.send(t.Context(), "s", fmt.Sprintf("%s@example.com", n.name), "hello")
		check(t, err)
		ids = append(ids, id)
		conn, err := tls.Dial("tcp", strings.TrimPrefix(n.HTTP, "http://"), &tls.Config{InsecureSkipVerify: true}) // whichever certificate: one answers
		check(t, err)
		check(t, conn.Close())
	}
	for _, n := range []*node{a, b} {
		got := inbox.Own(t.Context(), "GET", "messages?from="+n.name+"@example.com&wait=20s", "")
		if !strings.Contains(string(got), `"subject":"nodes"`) {
			t.Errorf("the relay did not get what %s accepted (%v): %s", n.name, ids, got)
		}
	}
}
