package sns

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	awssns "github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/sestina-mail/sestina/internal/publish"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

const record = `{"eventType":"Bounce","bounce":{"bounceType":"Permanent"},"mail":{"tags":{"ses:configuration-set":["spring"]}}}`

func (e *env) item() publish.Item {
	now := e.clock.Now()
	return publish.Item{
		Unit: store.Unit{ID: e.IDs.New(now), Scope: testScope, MessageID: e.IDs.New(now), EventID: e.IDs.New(now)}, Record: []byte(record),
	}
}

func (e *env) commit(effects store.Effects) {
	e.t.Helper()
	if err := e.store.Do(e.t.Context(), &store.Write{Effects: effects}); err != nil {
		e.t.Fatal(err)
	}
}

func TestDestinationCheck(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	topic := e.topicNamed("t")
	fifo := e.topicNamed("t.fifo", "FifoTopic", "true")
	url, arn := e.queueNamed("q")
	e.subscribeTo(topic, "sqs", *arn)
	d := e.Destination()
	for _, c := range []struct{ arn, want string }{
		{topicPrefix + "none", "SNS topic <" + topicPrefix + "none> not found."},
		{"x", "SNS topic <x> not found."},
		{"arn:aws:sns:eu-west-1:000000000000:t", "SNS topic <arn:aws:sns:eu-west-1:000000000000:t> not found."},
		{"arn:aws:sns:us-east-1:111122223333:t", "SNS topic <arn:aws:sns:us-east-1:111122223333:t> not found."},
		{"arn:aws:sqs:us-east-1:000000000000:t", "SNS topic <arn:aws:sqs:us-east-1:000000000000:t> not found."},
		{*fifo, "SNS topic <" + *fifo + "> is a FIFO topic. FIFO topics are not supported."},
	} {
		_, err := d.Check(t.Context(), testScope, sestina.EventDestination{Kind: sestina.DestinationSNS, TopicARN: c.arn})
		var se *sestina.Error
		if !errors.As(err, &se) || se.Code != "InvalidSNSDestination" || se.REST != "BadRequestException" || se.Message != c.want {
			t.Errorf("%s: %v", c.arn, err)
		}
	}
	effects := must[store.Effects](t)(d.Check(t.Context(), testScope, sestina.EventDestination{Kind: sestina.DestinationSNS, TopicARN: *topic}))
	if got := e.bodies(url); len(got) != 0 {
		t.Errorf("checking alone publishes %v", got)
	}
	e.commit(effects)
	got := e.bodies(url)
	if len(got) != 1 || !strings.Contains(got[0], `"Message":"Successfully validated SNS topic for Amazon SES event publishing."`) || strings.Contains(got[0], "Subject") {
		t.Errorf("test message %v", got)
	}
}

func TestDestinationPublish(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	topic := e.topicNamed("t", "SignatureVersion", "2")
	url, arn := e.queueNamed("q")
	ep := newEndpoint(t)
	queueSub := e.subscribeTo(topic, "sqs", *arn, "FilterPolicyScope", "MessageBody", "FilterPolicy", `{"mail":{"tags":{"ses:configuration-set":["spring"]}},"eventType":["Bounce"]}`)
	httpSub := e.confirmed(topic, ep, ep.URL)
	e.subscribeTo(topic, "sqs", *arn+"x", "FilterPolicyScope", "MessageBody", "FilterPolicy", `{"eventType":["Open"]}`)
	items := []publish.Item{e.item(), e.item()}
	target := sestina.EventDestination{Kind: sestina.DestinationSNS, TopicARN: *topic}
	outs := e.Destination().Publish(t.Context(), target, items)
	again := e.Destination().Publish(t.Context(), target, items[:1])
	for i, out := range outs {
		id := sestina.DerivedUUID(items[i].Unit.ID, "sns")
		if out.Fault != publish.NoFault || out.Answer != fmt.Sprintf("published as %s to 2 subscriptions; 1 filtered it out", id) {
			t.Errorf("outcome %+v", out)
		}
		e.commit(out.Effects)
	}
	if again[0].Answer != outs[0].Answer {
		t.Errorf("another attempt has another id: %s", again[0].Answer)
	}
	got := e.bodies(url)
	if len(got) != 2 {
		t.Fatalf("the queue has %v", got)
	}
	for range 2 {
		got = append(got, ep.next(t).body)
	}
	for _, body := range got {
		var m map[string]string
		if err := json.Unmarshal([]byte(body), &m); err != nil || m["Subject"] != "Amazon SES Email Event Notification" || m["Message"] != record+"\n" || m["SignatureVersion"] != "2" {
			t.Errorf("%v: %s", err, body)
		}
		if err := verify(body, fetch); err != nil {
			t.Error(err)
		}
		if id := m["MessageId"]; id != sestina.DerivedUUID(items[0].Unit.ID, "sns") && id != sestina.DerivedUUID(items[1].Unit.ID, "sns") {
			t.Errorf("MessageId %s", id)
		}
	}
	// The timeline of the email shows both hops.
	e.eventually("both units are done", func() bool {
		hops := map[string]string{}
		for _, u := range must[[]store.Unit](t)(e.store.UnitsOfMessage(t.Context(), testScope, items[0].Unit.MessageID)) {
			if u.State == store.Done && u.EventID == items[0].Unit.EventID && u.Attempts == 1 {
				hops[u.Lane] = u.Answer
			}
		}
		return hops[laneOf(queueSub)] == "queued in "+*arn && hops[laneOf(httpSub)] == "200 OK"
	})

	if _, err := e.sns.DeleteTopic(t.Context(), &awssns.DeleteTopicInput{TopicArn: topic}); err != nil {
		t.Fatal(err)
	}
	out := e.Destination().Publish(t.Context(), target, items[:1])[0]
	if out.Fault != publish.Gone || out.Answer != "the topic "+*topic+" was deleted before this event was published" {
		t.Errorf("outcome %+v", out)
	}
}

func TestDestinationLargeFanOut(t *testing.T) {
	t.Parallel()
	const n = fanOutChunk + 7
	e := newEnv(t)
	topic := e.topicNamed("t")
	url, arn := e.queueNamed("q")
	ep := newEndpoint(t)
	var endpoints []string
	for i := range n {
		endpoints = append(endpoints, fmt.Sprintf("%s/%d", ep.URL, i))
	}
	e.inserted("t", "http", endpoints...)
	e.subscribeTo(topic, "sqs", *arn) // the last one
	it := e.item()
	out := e.Destination().Publish(t.Context(), sestina.EventDestination{Kind: sestina.DestinationSNS, TopicARN: *topic}, []publish.Item{it})[0]
	if out.Fault != publish.NoFault || !strings.HasSuffix(out.Answer, " to 500 and more subscriptions") {
		t.Errorf("outcome %+v", out.Answer)
	}
	if len(out.Effects.Envelopes) != 1 || len(out.Effects.Units) != fanOutChunk+1 {
		t.Errorf("%d envelopes, %d units", len(out.Effects.Envelopes), len(out.Effects.Units))
	}
	e.commit(out.Effects)
	got := map[string]bool{}
	for range n {
		got[ep.next(t).uri] = true
	}
	var body []string
	e.eventually("the last subscription gets it", func() bool {
		body = append(body, e.bodies(url)...)
		return len(body) > 0
	})
	if len(got) != n || len(body) != 1 || !strings.Contains(body[0], sestina.DerivedUUID(it.Unit.ID, "sns")) {
		t.Errorf("%d endpoints, queue %v", len(got), body)
	}
}
