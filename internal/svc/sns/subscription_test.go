package sns

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssns "github.com/aws/aws-sdk-go-v2/service/sns"

	sqsapi "github.com/sestina-mail/sestina/internal/awsapi/sqs"
	"github.com/sestina-mail/sestina/internal/awswire"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// listed returns "arn protocol endpoint" of a topic's subscriptions.
func (e *env) listed(topic *string) (out []string) {
	e.t.Helper()
	for p := awssns.NewListSubscriptionsByTopicPaginator(e.sns, &awssns.ListSubscriptionsByTopicInput{TopicArn: topic}); p.HasMorePages(); {
		for _, s := range must[*awssns.ListSubscriptionsByTopicOutput](e.t)(p.NextPage(e.t.Context())).Subscriptions {
			out = append(out, *s.SubscriptionArn+" "+*s.Protocol+" "+*s.Endpoint)
		}
	}
	return out
}

func (e *env) attributesOf(sub *string) map[string]string {
	e.t.Helper()
	return must[*awssns.GetSubscriptionAttributesOutput](e.t)(e.sns.GetSubscriptionAttributes(e.t.Context(), &awssns.GetSubscriptionAttributesInput{SubscriptionArn: sub})).Attributes
}

func (e *env) setAttribute(sub *string, name, v string) error {
	_, err := e.sns.SetSubscriptionAttributes(e.t.Context(), &awssns.SetSubscriptionAttributesInput{SubscriptionArn: sub, AttributeName: &name, AttributeValue: &v})
	return err
}

func TestSubscribeErrors(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	topic := e.topicNamed("t")
	fifo := e.topicNamed("t.fifo", "FifoTopic", "true")
	const queue = "arn:aws:sqs:us-east-1:000000000000:q"
	for _, c := range []struct {
		topic              *string
		protocol, endpoint string
		attrs              map[string]string
		code, want         string
	}{
		{aws.String(topicPrefix + "none"), "sqs", queue, nil, "NotFound", "Topic does not exist"},
		{topic, "carrier-pigeon", "x", nil, "InvalidParameter", "Amazon SNS does not support this protocol string: carrier-pigeon"},
		{topic, "lambda", "arn:aws:lambda:us-east-1:000000000000:function:f", nil, "InvalidParameter", "Amazon SNS does not support this protocol string: lambda"},
		{topic, "http", "https://example.com", nil, "InvalidParameter", "Endpoint must match the specified protocol"},
		{topic, "https", "http://127.0.0.1", nil, "InvalidParameter", "Endpoint must match the specified protocol"},
		{topic, "http", "example.com", nil, "InvalidParameter", "Endpoint must match the specified protocol"},
		{topic, "http", "http://", nil, "InvalidParameter", "Endpoint"},
		{topic, "http", "http://a b", nil, "InvalidParameter", "Endpoint"},
		{topic, "email", "nobody", nil, "InvalidParameter", "Email address"},
		{topic, "email", "Some One <a@example.com>", nil, "InvalidParameter", "Email address"},
		{topic, "sqs", "http://127.0.0.1/000000000000/q", nil, "InvalidParameter", "SQS endpoint ARN"},
		{topic, "sqs", "arn:aws:sqs:us-east-1:000000000000:q.fifo", nil, "InvalidParameter", "Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to standard SNS topics"},
		{topic, "firehose", "arn:aws:firehose:us-east-1:000000000000:deliverystream/d", pairs("SubscriptionRoleArn", "arn:aws:iam::000000000000:role/r"), "InvalidParameter",
			"Endpoint Reason: the delivery stream arn:aws:firehose:us-east-1:000000000000:deliverystream/d does not exist"},
		{fifo, "http", "http://example.com", nil, "InvalidParameter", "Invalid parameter: Endpoint Reason: Please use FIFO SQS queue"},
		{topic, "sqs", queue, pairs("Nonsense", "x"), "InvalidParameter", "Attributes Reason: AttributeName"},
		{topic, "sqs", queue, pairs("RawMessageDelivery", "x"), "InvalidParameter", "Attributes Reason: RawMessageDelivery: Invalid value [x]. Must be true or false."},
		{topic, "sqs", queue, pairs("FilterPolicyScope", "x"), "InvalidParameter", "Attributes Reason: FilterPolicyScope: Invalid value [x]. Please use either MessageBody or MessageAttributes"},
		{topic, "sqs", queue, pairs("FilterPolicy", `{"a":"x"}`), "InvalidParameter", `Attributes Reason: FilterPolicy: "a" must be an object or an array`},
		{topic, "sqs", queue, pairs("FilterPolicy", `{"a":{"b":["x"]}}`), "InvalidParameter", "Attributes Reason: FilterPolicy: Filter policy scope MessageAttributes does not support nested filter policy"},
		{topic, "sqs", queue, pairs("RedrivePolicy", `{"deadLetterTargetArn":"x"}`), "InvalidParameter", "Attributes Reason: RedrivePolicy: deadLetterTargetArn is an invalid arn"},
		{topic, "sqs", queue, pairs("RedrivePolicy", `{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:000000000000:d"}`), "InvalidParameter", "Attributes Reason: RedrivePolicy: deadLetterTargetArn is an invalid arn"},
		{fifo, "sqs", queue + ".fifo", pairs("RedrivePolicy", `{"deadLetterTargetArn":"`+queue+`"}`), "InvalidParameter",
			"Attributes Reason: RedrivePolicy: must use a FIFO queue as DLQ for a FIFO Subscription to a FIFO Topic."},
		{topic, "http", "http://example.com", pairs("DeliveryPolicy", `{"x":1}`), "InvalidParameter", "Attributes Reason: DeliveryPolicy: Unexpected JSON member: x"},
	} {
		_, err := e.sns.Subscribe(t.Context(), &awssns.SubscribeInput{TopicArn: c.topic, Protocol: &c.protocol, Endpoint: &c.endpoint, Attributes: c.attrs})
		if c.code == "InvalidParameter" {
			c.want = "Invalid parameter: " + c.want
		}
		wantError(t, err, c.code, c.want)
	}
	_, err := e.sns.Subscribe(t.Context(), &awssns.SubscribeInput{TopicArn: topic, Protocol: aws.String("http")})
	wantError(t, err, "InvalidParameter", "Invalid parameter: Endpoint Reason: no value for required parameter")
	if got := append(e.listed(topic), e.listed(fifo)...); len(got) != 0 {
		t.Errorf("refused subscriptions are there: %v", got)
	}
}

func TestLoopbackHTTP(t *testing.T) {
	t.Parallel()
	e := newEnv(t, func(o *Options) { o.LoopbackHTTP = true })
	topic := e.topicNamed("t")
	for endpoint, ok := range map[string]bool{"http://127.0.0.1:1/x": true, "http://localhost:1": true, "http://[::1]:1": true, "http://example.com": false} {
		_, err := e.sns.Subscribe(t.Context(), &awssns.SubscribeInput{TopicArn: topic, Protocol: aws.String("https"), Endpoint: &endpoint})
		if (err == nil) != ok {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
}

func TestSubscriptionAttributes(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	topic := e.topicNamed("t")
	_, queue := e.queueNamed("q")
	sub := e.subscribeTo(topic, "sqs", *queue)
	if !regexp.MustCompile(`^` + *topic + `:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`).MatchString(*sub) {
		t.Errorf("ARN %s", *sub)
	}
	got := e.attributesOf(sub)
	want := []string{"ConfirmationWasAuthenticated", "Endpoint", "Owner", "PendingConfirmation", "Protocol", "RawMessageDelivery", "SubscriptionArn", "SubscriptionPrincipal", "TopicArn"}
	if keys := slices.Sorted(maps.Keys(got)); !slices.Equal(keys, want) {
		t.Errorf("attributes %v", keys)
	}
	if got["PendingConfirmation"] != "false" || got["ConfirmationWasAuthenticated"] != "true" || got["RawMessageDelivery"] != "false" || !strings.HasPrefix(got["SubscriptionPrincipal"], "arn:aws:iam::") {
		t.Errorf("attributes %v", got)
	}
	for _, c := range [][2]string{
		{"RawMessageDelivery", "true"}, {"FilterPolicyScope", "MessageBody"}, {"FilterPolicy", `{ "a" : {"b":["x"]} }`},
		{"RedrivePolicy", `{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:d"}`}, {"DeliveryPolicy", `{"healthyRetryPolicy":{"numRetries":1}}`},
	} {
		if err := e.setAttribute(sub, c[0], c[1]); err != nil {
			t.Errorf("%s: %v", c[0], err)
		}
	}
	got = e.attributesOf(sub)
	if got["FilterPolicyScope"] != "MessageBody" || got["FilterPolicy"] != `{ "a" : {"b":["x"]} }` || !strings.Contains(got["EffectiveDeliveryPolicy"], `"numRetries":1`) {
		t.Errorf("attributes %v", got)
	}
	wantError(t, e.setAttribute(sub, "FilterPolicyScope", "MessageAttributes"), "InvalidParameter", "Invalid parameter: FilterPolicy: Filter policy scope MessageAttributes does not support nested filter policy")
	wantError(t, e.setAttribute(sub, "Nonsense", "x"), "InvalidParameter", "Invalid parameter: AttributeName")
	wantError(t, e.setAttribute(sub, "RawMessageDelivery", "x"), "InvalidParameter", "Invalid parameter: RawMessageDelivery: Invalid value [x]. Must be true or false.")
	wantError(t, e.setAttribute(sub, "ReplayPolicy", `{"PointType":"Timestamp"}`), "InvalidParameter", "Invalid parameter: ReplayPolicy: Message archiving is not supported")
	for _, c := range [][2]string{{"FilterPolicy", "{}"}, {"RedrivePolicy", ""}, {"DeliveryPolicy", ""}} {
		if err := e.setAttribute(sub, c[0], c[1]); err != nil {
			t.Errorf("%s: %v", c[0], err)
		}
	}
	for _, name := range []string{"FilterPolicy", "FilterPolicyScope", "RedrivePolicy", "DeliveryPolicy"} {
		if v, ok := e.attributesOf(sub)[name]; ok {
			t.Errorf("%s is still %q", name, v)
		}
	}
	get := func(arn string) error {
		_, err := e.sns.GetSubscriptionAttributes(t.Context(), &awssns.GetSubscriptionAttributesInput{SubscriptionArn: &arn})
		return err
	}
	wantError(t, get("PendingConfirmation"), "InvalidParameter", "Invalid parameter: SubscriptionArn Reason: An ARN must have at least 6 elements, not 1")
	wantError(t, get(*topic), "InvalidParameter", "Invalid parameter: SubscriptionId")
	wantError(t, get(*topic+":01970000-0000-7000-8000-000000000001"), "NotFound", "Subscription does not exist")

	secret := e.subscribeTo(topic, "http", "http://user:pass@127.0.0.1:1/x?y=z")
	got = e.attributesOf(secret)
	if got["Endpoint"] != "http://user:****@127.0.0.1:1/x?y=z" || got["EffectiveDeliveryPolicy"] == "" || got["PendingConfirmation"] != "true" {
		t.Errorf("attributes %v", got)
	}
}

func TestSubscribeAgain(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	topic := e.topicNamed("t")
	_, queue := e.queueNamed("q")
	first := e.subscribeTo(topic, "sqs", *queue, "RawMessageDelivery", "true")
	for _, attrs := range [][]string{nil, {"RawMessageDelivery", "true"}} {
		if again := e.subscribeTo(topic, "sqs", *queue, attrs...); *again != *first {
			t.Errorf("another subscription: %s", *again)
		}
	}
	_, err := e.sns.Subscribe(t.Context(), &awssns.SubscribeInput{TopicArn: topic, Protocol: aws.String("sqs"), Endpoint: queue, Attributes: pairs("RawMessageDelivery", "false")})
	wantError(t, err, "InvalidParameter", "Invalid parameter: Attributes Reason: Subscription already exists with different attributes")
	if got := e.listed(topic); len(got) != 1 {
		t.Errorf("subscriptions %v", got)
	}
	// After it ended, it is another one.
	if _, err := e.sns.Unsubscribe(t.Context(), &awssns.UnsubscribeInput{SubscriptionArn: first}); err != nil {
		t.Fatal(err)
	}
	if again := e.subscribeTo(topic, "sqs", *queue); *again == *first {
		t.Error("a subscription that ended came back")
	}
}

func TestListSubscriptions(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	for i := range 3 {
		topic := e.topicNamed(fmt.Sprint("t", i))
		for k := range 70 {
			e.subscribeTo(topic, "sqs", fmt.Sprintf("arn:aws:sqs:us-east-1:000000000000:q%d", k))
		}
	}
	gone := strings.Fields(e.listed(aws.String(topicPrefix + "t1"))[5])[0]
	if _, err := e.sns.Unsubscribe(t.Context(), &awssns.UnsubscribeInput{SubscriptionArn: &gone}); err != nil {
		t.Fatal(err)
	}
	seen, pages := map[string]bool{}, 0
	for p := awssns.NewListSubscriptionsPaginator(e.sns, nil); p.HasMorePages(); pages++ {
		for _, s := range must[*awssns.ListSubscriptionsOutput](t)(p.NextPage(t.Context())).Subscriptions {
			seen[*s.SubscriptionArn] = true
			if *s.Owner != testScope.Account || !strings.HasPrefix(*s.SubscriptionArn, *s.TopicArn+":") {
				t.Errorf("subscription %v", s)
			}
		}
	}
	if len(seen) != 209 || pages != 3 || seen[gone] {
		t.Errorf("%d subscriptions on %d pages", len(seen), pages)
	}
	if n := len(e.listed(aws.String(topicPrefix + "t1"))); n != 69 {
		t.Errorf("%d subscriptions of one topic", n)
	}
	_, err := e.sns.ListSubscriptions(t.Context(), &awssns.ListSubscriptionsInput{NextToken: aws.String("eA")})
	wantError(t, err, "InvalidParameter", "Invalid parameter: NextToken")
}

// confirmations returns the message that asks an endpoint to confirm.
func (e *env) confirmation(ep *endpoint) (p post, m map[string]string) {
	e.t.Helper()
	p = ep.next(e.t)
	if err := json.Unmarshal([]byte(p.body), &m); err != nil {
		e.t.Fatalf("%v: %s", err, p.body)
	}
	if err := verify(p.body, fetch); err != nil {
		e.t.Errorf("signature: %v", err)
	}
	return p, m
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	res := must[*http.Response](t)(http.Get(url)) // the test's own server
	defer func() { _ = res.Body.Close() }()
	return res.StatusCode, string(must[[]byte](t)(io.ReadAll(res.Body)))
}

func TestConfirmByURL(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ep := newEndpoint(t)
	topic := e.topicNamed("t")
	in := &awssns.SubscribeInput{TopicArn: topic, Protocol: aws.String("http"), Endpoint: aws.String(ep.URL + "/hook?x=1")}
	if out := must[*awssns.SubscribeOutput](t)(e.sns.Subscribe(t.Context(), in)); *out.SubscriptionArn != "pending confirmation" {
		t.Errorf("answered %s", *out.SubscriptionArn)
	}
	if got := e.listed(topic); len(got) != 1 || !strings.HasPrefix(got[0], "PendingConfirmation http ") {
		t.Errorf("listed %v", got)
	}
	p, m := e.confirmation(ep)
	for name, want := range map[string]string{
		"X-Amz-Sns-Message-Type": "SubscriptionConfirmation", "X-Amz-Sns-Message-Id": m["MessageId"], "X-Amz-Sns-Topic-Arn": *topic,
		"X-Amz-Sns-Subscription-Arn": "", "Content-Type": "text/plain; charset=UTF-8", "User-Agent": "Amazon Simple Notification Service Agent",
		"Accept-Encoding": "gzip,deflate", "Connection": "Keep-Alive", "Authorization": "", "Content-Length": fmt.Sprint(len(p.body)),
	} {
		if got := p.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if p.uri != "/hook?x=1" || "http://"+p.host != ep.URL {
		t.Errorf("posted to %s%s", p.host, p.uri)
	}
	if want := "You have chosen to subscribe to the topic " + *topic + ".\nTo confirm the subscription, visit the SubscribeURL included in this message."; m["Message"] != want {
		t.Errorf("message %q", m["Message"])
	}

	// A pending subscription gets another message when it is asked for again,
	// and nothing that is published.
	e.publishTo(topic, "too early")
	if out := must[*awssns.SubscribeOutput](t)(e.sns.Subscribe(t.Context(), in)); *out.SubscriptionArn != "pending confirmation" {
		t.Errorf("answered %s", *out.SubscriptionArn)
	}
	_, second := e.confirmation(ep)
	if second["Token"] == m["Token"] || second["Type"] != "SubscriptionConfirmation" {
		t.Errorf("second message %v", second)
	}

	// Both tokens confirm, as often as one likes.
	var arn string
	postForm := func(link string) (int, string) {
		u := must[*url.URL](t)(url.Parse(link))
		res := must[*http.Response](t)(http.PostForm(e.server.URL+"/", u.Query())) // the test's own server
		defer func() { _ = res.Body.Close() }()
		return res.StatusCode, string(must[[]byte](t)(io.ReadAll(res.Body)))
	}
	for i, link := range []string{m["SubscribeURL"], m["SubscribeURL"], second["SubscribeURL"], m["SubscribeURL"]} {
		code, body := 0, ""
		if i < 3 {
			code, body = get(t, link)
		} else {
			code, body = postForm(link)
		}
		found := regexp.MustCompile(`<SubscriptionArn>(.*)</SubscriptionArn>`).FindStringSubmatch(body)
		if code != http.StatusOK || found == nil || arn != "" && found[1] != arn {
			t.Fatalf("%d %s", code, body)
		}
		arn = found[1]
	}
	if out := must[*awssns.SubscribeOutput](t)(e.sns.Subscribe(t.Context(), in)); *out.SubscriptionArn != arn {
		t.Errorf("answered %s, want %s", *out.SubscriptionArn, arn)
	}
	if a := e.attributesOf(&arn); a["PendingConfirmation"] != "false" || a["ConfirmationWasAuthenticated"] != "false" {
		t.Errorf("attributes %v", a)
	}
	id := e.publishTo(topic, "hello")
	p = ep.next(t)
	if p.header.Get("X-Amz-Sns-Message-Id") != *id || p.header.Get("X-Amz-Sns-Subscription-Arn") != arn || p.header.Get("X-Amz-Sns-Message-Type") != "Notification" {
		t.Errorf("headers %v", p.header)
	}
	if err := verify(p.body, fetch); err != nil {
		t.Error(err)
	}
}

func TestConfirmErrors(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ep := newEndpoint(t)
	topic := e.topicNamed("t")
	e.subscribeTo(topic, "http", ep.URL)
	_, m := e.confirmation(ep)
	confirm := func(topic, token string) error {
		_, err := e.sns.ConfirmSubscription(t.Context(), &awssns.ConfirmSubscriptionInput{TopicArn: &topic, Token: &token})
		return err
	}
	other := strings.Map(func(r rune) rune {
		if r == 'a' {
			return 'b'
		}
		return r
	}, m["Token"][:len(m["Token"])-1]) + "0"
	wantError(t, confirm(*topic, "x"), "InvalidParameter", "Invalid token")
	wantError(t, confirm(*topic, other), "InvalidParameter", "Invalid parameter: Token")
	wantError(t, confirm("x", m["Token"]), "InvalidParameter", "Invalid parameter: Topic")
	wantError(t, confirm("arn:aws:sns:eu-west-1:000000000000:t", m["Token"]), "InvalidParameter", "Invalid parameter: Topic")
	if code, body := get(t, e.server.URL+"/?Action=ConfirmSubscription&TopicArn="+*topic+"&Token=x"); code != 400 || !strings.Contains(body, "<Message>Invalid token</Message>") {
		t.Errorf("%d %s", code, body)
	}
	e.clock.Advance(72 * time.Hour)
	wantError(t, confirm(*topic, m["Token"]), "InvalidParameter", "Invalid parameter: Token")
	if err := e.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := e.listed(topic); len(got) != 0 {
		t.Errorf("a subscription that nobody confirmed is still there: %v", got)
	}
}

func TestUnsubscribeAndRestore(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ep := newEndpoint(t)
	topic := e.topicNamed("t", "SignatureVersion", "2")
	sub := e.subscribeTo(topic, "http", ep.URL)
	_, m := e.confirmation(ep)
	get(t, m["SubscribeURL"])
	e.publishTo(topic, "hello")
	var n map[string]string
	if err := json.Unmarshal([]byte(ep.next(t).body), &n); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second finds nothing to do
		if code, body := get(t, n["UnsubscribeURL"]); code != 200 || !strings.Contains(body, "UnsubscribeResponse") {
			t.Errorf("%d %s", code, body)
		}
	}
	p, m := e.confirmation(ep)
	if m["Type"] != "UnsubscribeConfirmation" || p.header.Get("X-Amz-Sns-Subscription-Arn") != *sub ||
		m["Message"] != "You have chosen to deactivate subscription "+*sub+".\nTo cancel this operation and restore the subscription, visit the SubscribeURL included in this message." {
		t.Errorf("message %v", m)
	}
	if got := e.listed(topic); len(got) != 0 {
		t.Errorf("listed %v", got)
	}
	a := must[*awssns.GetTopicAttributesOutput](t)(e.sns.GetTopicAttributes(t.Context(), &awssns.GetTopicAttributesInput{TopicArn: topic})).Attributes
	if a["SubscriptionsConfirmed"] != "0" || a["SubscriptionsDeleted"] != "1" {
		t.Errorf("counts %v", a)
	}
	e.publishTo(topic, "nobody listens")
	if code, _ := get(t, m["SubscribeURL"]); code != 200 {
		t.Errorf("restore: %d", code)
	}
	if got := e.listed(topic); len(got) != 1 || !strings.HasPrefix(got[0], *sub) {
		t.Errorf("listed %v", got)
	}
	id := e.publishTo(topic, "back again")
	if p := ep.next(t); p.header.Get("X-Amz-Sns-Message-Id") != *id {
		t.Errorf("got %s", p.body)
	}
	// A signed call by the owner ends it without a word.
	if _, err := e.sns.Unsubscribe(t.Context(), &awssns.UnsubscribeInput{SubscriptionArn: sub}); err != nil {
		t.Fatal(err)
	}
	e.untilIdle(laneOf(sub))
	if len(ep.posts) != 0 {
		t.Errorf("something is sent: %s", ep.next(t).body)
	}
	e.clock.Advance(73 * time.Hour)
	if err := e.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	a = must[*awssns.GetTopicAttributesOutput](t)(e.sns.GetTopicAttributes(t.Context(), &awssns.GetTopicAttributesInput{TopicArn: topic})).Attributes
	if a["SubscriptionsDeleted"] != "0" {
		t.Errorf("counts %v", a)
	}
}

func TestAuthenticateOnUnsubscribe(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ep := newEndpoint(t)
	topic := e.topicNamed("t")
	sub := e.subscribeTo(topic, "http", ep.URL)
	_, m := e.confirmation(ep)
	_, err := e.sns.ConfirmSubscription(t.Context(), &awssns.ConfirmSubscriptionInput{TopicArn: topic, Token: aws.String(m["Token"]), AuthenticateOnUnsubscribe: aws.String("true")})
	if err != nil {
		t.Fatal(err)
	}
	if a := e.attributesOf(sub); a["ConfirmationWasAuthenticated"] != "true" {
		t.Errorf("attributes %v", a)
	}
	if code, body := get(t, e.server.URL+"/?Action=Unsubscribe&SubscriptionArn="+*sub); code != 403 || !strings.Contains(body, "AuthorizationError") {
		t.Errorf("%d %s", code, body)
	}
	if _, err := e.sns.Unsubscribe(t.Context(), &awssns.UnsubscribeInput{SubscriptionArn: sub}); err != nil || len(e.listed(topic)) != 0 {
		t.Errorf("%v", err)
	}
	unsubscribe := func(arn string) error {
		_, err := e.sns.Unsubscribe(t.Context(), &awssns.UnsubscribeInput{SubscriptionArn: &arn})
		return err
	}
	if err := unsubscribe(*topic + ":01970000-0000-7000-8000-000000000001"); err != nil {
		t.Errorf("of a subscription that does not exist: %v", err)
	}
	wantError(t, unsubscribe("x"), "InvalidParameter", "Invalid parameter: SubscriptionArn Reason: An ARN must have at least 6 elements, not 1")
	wantError(t, unsubscribe(*topic), "InvalidParameter", "Invalid parameter: SubscriptionId")
}

func TestEmailSubscription(t *testing.T) {
	t.Parallel()
	box := &mailbox{mails: make(chan Mail, 10)}
	e := newEnv(t, func(o *Options) { o.Mailer, o.MailFrom = box, "no-reply@sns.example.net" })
	topic := e.topicNamed("t", "DisplayName", "Ärger, neu")
	sub := e.subscribeTo(topic, "email", "a+b@example.com")
	next := func() Mail {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		select {
		case m := <-box.mails:
			return m
		case <-ctx.Done():
			t.Fatal("no mail")
			return Mail{}
		}
	}
	m := next()
	if m.Subject != "AWS Notification - Subscription Confirmation" || m.To != "a+b@example.com" || m.From != "=?utf-8?q?=C3=84rger,_neu?= <no-reply@sns.example.net>" || m.Scope != testScope {
		t.Errorf("mail %+v", m)
	}
	link := regexp.MustCompile(`http://\S+`).FindString(m.Text)
	u := must[*url.URL](t)(url.Parse(link))
	if u.Path != "/confirmation.html" || u.Query().Get("TopicArn") != *topic || u.Query().Get("Endpoint") != "a+b@example.com" {
		t.Errorf("link %s", link)
	}
	// Looking at the page changes nothing; its button does.
	if code, body := get(t, link); code != 200 || !strings.Contains(body, `<form method="post">`) || !strings.Contains(body, *topic) {
		t.Errorf("%d %s", code, body)
	}
	if a := e.attributesOf(sub); a["PendingConfirmation"] != "true" {
		t.Error("looking confirms")
	}
	press := func(link string) (int, string) {
		res := must[*http.Response](t)(http.Post(link, "application/x-www-form-urlencoded", nil)) // the test's own server
		defer func() { _ = res.Body.Close() }()
		if !strings.Contains(res.Header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("headers %v", res.Header)
		}
		return res.StatusCode, string(must[[]byte](t)(io.ReadAll(res.Body)))
	}
	if code, body := press(link); code != 200 || !strings.Contains(body, *sub) {
		t.Errorf("%d %s", code, body)
	}
	if code, body := press(strings.Replace(link, "Token=2", "Token=3", 1)); code != 400 || !strings.Contains(body, "Invalid token") {
		t.Errorf("%d %s", code, body)
	}
	must[*awssns.PublishOutput](t)(e.sns.Publish(t.Context(), &awssns.PublishInput{TopicArn: topic, Subject: aws.String("Neues"),
		Message: aws.String(`{"default":"d","email":"Hallo\nWelt"}`), MessageStructure: aws.String("json")}))
	m = next()
	if m.Subject != "Neues" || !strings.HasPrefix(m.Text, "Hallo\nWelt\n\n--\n") {
		t.Errorf("mail %+v", m)
	}
	// Email gets no farewell.
	link = regexp.MustCompile(`http://\S+unsubscribe\S+`).FindString(m.Text)
	if code, body := get(t, link); code != 200 || !strings.Contains(body, *sub) {
		t.Errorf("%d %s", code, body)
	}
	if code, _ := press(link); code != 200 || len(e.listed(topic)) != 0 {
		t.Errorf("%d", code)
	}
	if len(box.mails) != 0 {
		t.Errorf("another mail: %+v", <-box.mails)
	}

	// email-json gets the envelope, and a farewell.
	sub = e.subscribeTo(topic, "email-json", "c@example.com")
	m = next()
	var j map[string]string
	if err := json.Unmarshal([]byte(m.Text), &j); err != nil || verify(m.Text, fetch) != nil {
		t.Fatalf("%v: %s", err, m.Text)
	}
	get(t, j["SubscribeURL"])
	e.publishTo(topic, "hello")
	m = next()
	if err := verify(m.Text, fetch); err != nil || m.Subject != "AWS Notification Message" {
		t.Errorf("%v: %+v", err, m)
	}
	get(t, e.server.URL+"/?Action=Unsubscribe&SubscriptionArn="+*sub)
	if m = next(); !strings.Contains(m.Text, `"Type":"UnsubscribeConfirmation"`) {
		t.Errorf("mail %+v", m)
	}
}

func TestWithoutMailerMailIsHeld(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	topic := e.topicNamed("t")
	sub := e.subscribeTo(topic, "email", "a@example.com")
	e.eventually("the lane is held", func() bool {
		st, err := e.store.Lane(t.Context(), e.Kind().Kind, laneOf(sub))
		return err == nil && st.LastError == "sending email to subscribers is not configured"
	})
	if b := e.backlog(laneOf(sub)); b.Waiting != 1 {
		t.Errorf("backlog %+v", b)
	}
}

func TestQueueOfAnotherAccountConfirms(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	topic := e.topicNamed("t")
	_, err := e.sns.Subscribe(t.Context(), &awssns.SubscribeInput{TopicArn: topic, Protocol: aws.String("sqs"), Endpoint: aws.String("arn:aws:sqs:us-east-1:111122223333:q")})
	wantError(t, err, "InvalidParameter", "Invalid parameter: SQS endpoint ARN") // there is no such queue

	// With credentials of any account a queue of it can be made.
	other := sestina.Scope{Account: "111122223333", Region: testScope.Region}
	ctx := awswire.WithCall(t.Context(), &awswire.Call{Scope: other, BaseURL: e.server.URL, Signed: true})
	queue := must[*sqsapi.CreateQueueOutput](t)(e.queues.CreateQueue(ctx, &sqsapi.CreateQueueInput{QueueName: aws.String("q")}))
	sub := e.subscribeTo(topic, "sqs", sestina.NewARN("sqs", other, "q"))
	receive := func() string {
		got := must[*sqsapi.ReceiveMessageOutput](t)(e.queues.ReceiveMessage(ctx, &sqsapi.ReceiveMessageInput{QueueUrl: queue.QueueUrl})).Messages
		if len(got) != 1 {
			t.Fatalf("the queue has %d messages", len(got))
		}
		return *got[0].Body
	}
	var m map[string]string
	body := receive()
	if err := json.Unmarshal([]byte(body), &m); err != nil || m["Type"] != "SubscriptionConfirmation" || verify(body, fetch) != nil {
		t.Fatalf("%v: %s", err, body)
	}
	if a := e.attributesOf(sub); a["PendingConfirmation"] != "true" {
		t.Errorf("attributes %v", a)
	}
	get(t, m["SubscribeURL"])
	e.publishTo(topic, "hello")
	if body := receive(); !strings.Contains(body, `"Message":"hello"`) {
		t.Errorf("received %s", body)
	}
}

// streams are delivery streams that keep what they are given.
type streams struct {
	mu      sync.Mutex
	records []string
	fault   error
}

func (s *streams) Exists(arn string) bool { return strings.HasSuffix(arn, "/d") }

func (s *streams) Put(_ context.Context, _ string, record []byte) (store.Effects, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault == nil {
		s.records = append(s.records, string(record))
	}
	return store.Effects{}, s.fault
}

func TestFirehose(t *testing.T) {
	t.Parallel()
	out := &streams{fault: sestina.Errorf("ServiceUnavailableException", "Slow down.")}
	e := newEnv(t, func(o *Options) { o.Streams = out })
	topic := e.topicNamed("t")
	const arn, role = "arn:aws:firehose:us-east-1:000000000000:deliverystream/", "arn:aws:iam::000000000000:role/r"
	for endpoint, want := range map[string]string{
		"x":       "Invalid parameter: Firehose endpoint ARN",
		arn + "x": "Invalid parameter: Endpoint Reason: the delivery stream " + arn + "x does not exist",
		arn + "d": "Invalid parameter: Attributes Reason: SubscriptionRoleArn is required for the firehose protocol",
	} {
		_, err := e.sns.Subscribe(t.Context(), &awssns.SubscribeInput{TopicArn: topic, Protocol: aws.String("firehose"), Endpoint: &endpoint})
		wantError(t, err, "InvalidParameter", want)
	}
	sub := e.subscribeTo(topic, "firehose", arn+"d", "SubscriptionRoleArn", role)
	e.publishTo(topic, "hello")
	e.eventually("the first attempt fails", func() bool {
		due, err := e.store.NextDue(t.Context(), store.KindNotification, laneOf(sub))
		return err == nil && due.After(e.clock.Now())
	})
	out.mu.Lock()
	out.fault = nil
	out.mu.Unlock()
	e.untilIdle(laneOf(sub))
	var m map[string]string
	if err := json.Unmarshal([]byte(out.records[0]), &m); err != nil || !strings.HasSuffix(out.records[0], "}\n") {
		t.Fatalf("%v: %q", err, out.records)
	}
	want := []string{"Message", "MessageId", "Timestamp", "TopicArn", "Type", "UnsubscribeURL"}
	if got := slices.Sorted(maps.Keys(m)); !slices.Equal(got, want) || m["Message"] != "hello" {
		t.Errorf("record %s", out.records[0])
	}
	if err := e.setAttribute(sub, "RawMessageDelivery", "true"); err != nil {
		t.Fatal(err)
	}
	e.publishTo(topic, "raw")
	e.untilIdle(laneOf(sub))
	if len(out.records) != 2 || out.records[1] != "raw\n" {
		t.Errorf("records %q", out.records)
	}
}
