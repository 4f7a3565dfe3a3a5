package sns

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssns "github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
)

const topicPrefix = "arn:aws:sns:us-east-1:000000000000:"

func TestCreateTopic(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	create := func(name string, attrs map[string]string, tags ...types.Tag) error {
		_, err := e.sns.CreateTopic(t.Context(), &awssns.CreateTopicInput{Name: &name, Attributes: attrs, Tags: tags})
		return err
	}
	tag := func(k, v string) types.Tag { return types.Tag{Key: &k, Value: &v} }
	if arn := *e.topicNamed("ses-events"); arn != topicPrefix+"ses-events" {
		t.Errorf("ARN %s", arn)
	}
	for _, name := range []string{"", "a b", "a.b", "ä", ".fifo", "x.fifo", strings.Repeat("x", 257)} {
		wantError(t, create(name, nil), "InvalidParameter", "Invalid parameter: Topic Name")
	}
	wantError(t, create("plain", pairs("FifoTopic", "true")), "InvalidParameter", "Invalid parameter: Topic Name")
	wantError(t, create("t", pairs("Nonsense", "x")), "InvalidParameter", "Invalid parameter: Attributes Reason: Unknown attribute Nonsense")
	wantError(t, create("t", pairs("ContentBasedDeduplication", "true")), "InvalidParameter", "Invalid parameter: Attributes Reason: Unknown attribute ContentBasedDeduplication")
	wantError(t, create("t", nil, tag("a", "1"), tag("a", "2")), "InvalidParameter", "Invalid parameter: Duplicated keys are not allowed.")

	// Creating again is no fault when nothing differs of what is given.
	if err := create("again", pairs("DisplayName", "Events"), tag("a", "1")); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{create("again", nil), create("again", pairs("DisplayName", "Events")), create("again", nil, tag("a", "1"))} {
		if err != nil {
			t.Error(err)
		}
	}
	wantError(t, create("again", pairs("DisplayName", "Other")), "InvalidParameter", "Invalid parameter: Attributes Reason: Topic already exists with different attributes")
	wantError(t, create("again", pairs("SignatureVersion", "2")), "InvalidParameter", "Invalid parameter: Attributes Reason: Topic already exists with different attributes")
	wantError(t, create("again", nil, tag("a", "2")), "InvalidParameter", "Invalid parameter: Tags Reason: Topic already exists with different tags")
}

func TestTopicAttributes(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	arn := e.topicNamed("t")
	get := func(arn *string) map[string]string {
		return must[*awssns.GetTopicAttributesOutput](t)(e.sns.GetTopicAttributes(t.Context(), &awssns.GetTopicAttributesInput{TopicArn: arn})).Attributes
	}
	set := func(arn *string, name, v string) error {
		_, err := e.sns.SetTopicAttributes(t.Context(), &awssns.SetTopicAttributesInput{TopicArn: arn, AttributeName: &name, AttributeValue: &v})
		return err
	}
	fresh := get(arn)
	want := []string{"DisplayName", "EffectiveDeliveryPolicy", "Owner", "Policy", "SubscriptionsConfirmed", "SubscriptionsDeleted", "SubscriptionsPending", "TopicArn"}
	if got := slices.Sorted(maps.Keys(fresh)); !slices.Equal(got, want) {
		t.Errorf("a fresh topic has %v", got)
	}
	const policy = `{"Version":"2008-10-17","Id":"__default_policy_ID","Statement":[{"Sid":"__default_statement_ID","Effect":"Allow","Principal":{"AWS":"*"},` +
		`"Action":["SNS:GetTopicAttributes","SNS:SetTopicAttributes","SNS:AddPermission","SNS:RemovePermission","SNS:DeleteTopic","SNS:Subscribe","SNS:ListSubscriptionsByTopic","SNS:Publish"],` +
		`"Resource":"arn:aws:sns:us-east-1:000000000000:t","Condition":{"StringEquals":{"AWS:SourceOwner":"000000000000"}}}]}`
	if fresh["Policy"] != policy {
		t.Errorf("policy %s", fresh["Policy"])
	}
	for name, v := range map[string]string{
		"DisplayName": "Ereignisse", "SignatureVersion": "2", "TracingConfig": "Active", "KmsMasterKeyId": "alias/x",
		"Policy":         `{ "Statement" : {"Effect":"Allow"} }`,
		"DeliveryPolicy": `{"http":{"defaultHealthyRetryPolicy":{"numRetries":5}}}`, "HTTPSuccessFeedbackSampleRate": "100", "SQSFailureFeedbackRoleArn": "arn:aws:iam::0:role/x",
	} {
		if err := set(arn, name, v); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got := get(arn)[name]; got != v {
			t.Errorf("%s: got %q", name, got)
		}
	}
	if !strings.Contains(get(arn)["EffectiveDeliveryPolicy"], `"numRetries":5`) {
		t.Error("the delivery policy is not effective")
	}
	if err := set(arn, "DeliveryPolicy", ""); err != nil || get(arn)["DeliveryPolicy"] != "" {
		t.Errorf("the delivery policy cannot be removed: %v", err)
	}
	for _, c := range []struct{ name, value, want string }{
		{"Nonsense", "x", "AttributeName"},
		{"FifoTopic", "true", "AttributeName"},
		{"ContentBasedDeduplication", "true", "AttributeName"},
		{"DisplayName", strings.Repeat("x", 101), "DisplayName"},
		{"SignatureVersion", "3", "SignatureVersion: Invalid value [3]. Must be 1 or 2."},
		{"TracingConfig", "x", "TracingConfig: Invalid value [x]. Must be PassThrough or Active."},
		{"Policy", "x", "Policy Error: null"},
		{"Policy", "{}", "Policy Error: null"},
		{"DeliveryPolicy", `{"http":{"x":1}}`, "DeliveryPolicy: Unexpected JSON member: x"},
		{"HTTPSuccessFeedbackSampleRate", "101", "HTTPSuccessFeedbackSampleRate: Invalid value [101]. Must be a number from 0 to 100."},
		{"ArchivePolicy", `{"MessageRetentionPeriod":"30"}`, "ArchivePolicy: Message archiving is not supported"},
	} {
		wantError(t, set(arn, c.name, c.value), "InvalidParameter", "Invalid parameter: "+c.want)
	}
	wantError(t, set(aws.String(topicPrefix+"none"), "DisplayName", "x"), "NotFound", "Topic does not exist")

	fifo := e.topicNamed("t.fifo", "FifoTopic", "true")
	if got := get(fifo); got["FifoTopic"] != "true" || got["ContentBasedDeduplication"] != "false" {
		t.Errorf("FIFO attributes %v", got)
	}
	if err := set(fifo, "ContentBasedDeduplication", "true"); err != nil || get(fifo)["ContentBasedDeduplication"] != "true" {
		t.Error(err)
	}
	if err := set(fifo, "FifoThroughputScope", "MessageGroup"); err != nil {
		t.Error(err)
	}
}

func TestTopicARNs(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	for _, c := range []struct{ arn, code, want string }{
		{"x", "InvalidParameter", "Invalid parameter: TopicArn Reason: An ARN must have at least 6 elements, not 1"},
		{"arn:aws:sns:us-east-1:000000000000", "InvalidParameter", "Invalid parameter: TopicArn Reason: An ARN must have at least 6 elements, not 5"},
		{"arn:aws:sqs:us-east-1:000000000000:t", "InvalidParameter", "Invalid parameter: TopicArn"},
		{"arn:aws:sns:eu-west-1:000000000000:t", "InvalidParameter", "Invalid parameter: TopicArn"},
		{"arn:aws:sns:us-east-1:000000000000:t:x", "InvalidParameter", "Invalid parameter: TopicArn"},
		{topicPrefix + "t", "NotFound", "Topic does not exist"},
	} {
		_, err := e.sns.GetTopicAttributes(t.Context(), &awssns.GetTopicAttributesInput{TopicArn: &c.arn})
		wantError(t, err, c.code, c.want)
	}
	_, err := e.sns.GetTopicAttributes(t.Context(), &awssns.GetTopicAttributesInput{TopicArn: aws.String("arn:aws:sns:us-east-1:111122223333:t")})
	wantError(t, err, "AuthorizationError", "User: arn:aws:iam::000000000000:root is not authorized to perform: SNS:GetTopicAttributes on resource: "+
		"arn:aws:sns:us-east-1:111122223333:t because no resource-based policy allows the SNS:GetTopicAttributes action")
}

func TestListAndDeleteTopics(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	for i := range 205 {
		e.topicNamed(fmt.Sprintf("t%03d", i))
	}
	var got []string
	pages := 0
	for p := awssns.NewListTopicsPaginator(e.sns, nil); p.HasMorePages(); pages++ {
		for _, topic := range must[*awssns.ListTopicsOutput](t)(p.NextPage(t.Context())).Topics {
			got = append(got, *topic.TopicArn)
		}
	}
	if len(got) != 205 || pages != 3 || !slices.IsSorted(got) {
		t.Errorf("%d topics on %d pages", len(got), pages)
	}
	_, err := e.sns.ListTopics(t.Context(), &awssns.ListTopicsInput{NextToken: aws.String("%")})
	wantError(t, err, "InvalidParameter", "Invalid parameter: NextToken")

	// Deleting takes the subscriptions along and can be repeated.
	arn := aws.String(topicPrefix + "t000")
	sub := e.subscribeTo(arn, "sqs", "arn:aws:sqs:us-east-1:000000000000:q")
	for range 2 {
		if _, err := e.sns.DeleteTopic(t.Context(), &awssns.DeleteTopicInput{TopicArn: arn}); err != nil {
			t.Error(err)
		}
	}
	_, err = e.sns.GetSubscriptionAttributes(t.Context(), &awssns.GetSubscriptionAttributesInput{SubscriptionArn: sub})
	wantError(t, err, "NotFound", "Subscription does not exist")
	e.topicNamed("t000")
	if got := e.listed(arn); len(got) != 0 {
		t.Errorf("a new topic of the name has the subscriptions %v", got)
	}
}

func TestTopicTagsAndPermissions(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	arn := e.topicNamed("t")
	tag := func(arn string, kv ...string) error {
		var tags []types.Tag
		for i := 0; i < len(kv); i += 2 {
			tags = append(tags, types.Tag{Key: &kv[i], Value: &kv[i+1]})
		}
		_, err := e.sns.TagResource(t.Context(), &awssns.TagResourceInput{ResourceArn: &arn, Tags: tags})
		return err
	}
	if err := tag(*arn, "a", "1", "b", "2"); err != nil {
		t.Fatal(err)
	}
	if err := tag(*arn, "b", "3", "c", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := e.sns.UntagResource(t.Context(), &awssns.UntagResourceInput{ResourceArn: arn, TagKeys: []string{"a", "x"}}); err != nil {
		t.Error(err)
	}
	var got []string
	for _, x := range must[*awssns.ListTagsForResourceOutput](t)(e.sns.ListTagsForResource(t.Context(), &awssns.ListTagsForResourceInput{ResourceArn: arn})).Tags {
		got = append(got, *x.Key+"="+*x.Value)
	}
	if !slices.Equal(got, []string{"b=3", "c="}) {
		t.Errorf("tags %v", got)
	}
	var many []string
	for i := range 49 {
		many = append(many, fmt.Sprint("k", i), "v")
	}
	wantError(t, tag(*arn, many...), "TagLimitExceeded", "Could not complete request: tag quota of per resource exceeded")
	wantError(t, tag(topicPrefix+"none", "a", "b"), "ResourceNotFound", "Resource does not exist")
	_, err := e.sns.ListTagsForResource(t.Context(), &awssns.ListTagsForResourceInput{ResourceArn: aws.String(topicPrefix + "none")})
	wantError(t, err, "ResourceNotFound", "Resource does not exist")

	permit := func(label string, actions ...string) error {
		_, err := e.sns.AddPermission(t.Context(), &awssns.AddPermissionInput{TopicArn: arn, Label: &label, AWSAccountId: []string{"111122223333"}, ActionName: actions})
		return err
	}
	if err := permit("l", "Publish"); err != nil {
		t.Fatal(err)
	}
	wantError(t, permit("l", "Publish"), "InvalidParameter", "Invalid parameter: Statement already exists")
	wantError(t, permit("m", "Sing"), "InvalidParameter", "Invalid parameter: Policy statement action out of service scope!")
	policy := func() string {
		return must[*awssns.GetTopicAttributesOutput](t)(e.sns.GetTopicAttributes(t.Context(), &awssns.GetTopicAttributesInput{TopicArn: arn})).Attributes["Policy"]
	}
	const added = `{"Sid":"l","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"SNS:Publish","Resource":"arn:aws:sns:us-east-1:000000000000:t"}`
	if p := policy(); !strings.HasSuffix(p, ","+added+"]}") || !json.Valid([]byte(p)) {
		t.Errorf("policy %s", p)
	}
	if _, err := e.sns.RemovePermission(t.Context(), &awssns.RemovePermissionInput{TopicArn: arn, Label: aws.String("l")}); err != nil {
		t.Error(err)
	}
	if strings.Contains(policy(), `"l"`) {
		t.Error("the permission is still there")
	}
}

func TestTopicLimits(t *testing.T) {
	t.Parallel()
	e := newEnv(t, func(o *Options) {
		o.Limits = Limits{Topics: 3, FIFOTopics: 1, Subscriptions: 1, FilterPoliciesOfTopic: 1}
	})
	arn := e.topicNamed("a")
	e.topicNamed("a.fifo", "FifoTopic", "true")
	_, err := e.sns.CreateTopic(t.Context(), &awssns.CreateTopicInput{Name: aws.String("b.fifo"), Attributes: pairs("FifoTopic", "true")})
	wantError(t, err, "TopicLimitExceeded", "Topic limit exceeded: at most 1 topics of this type can exist")
	e.topicNamed("b")
	_, err = e.sns.CreateTopic(t.Context(), &awssns.CreateTopicInput{Name: aws.String("c")})
	wantError(t, err, "TopicLimitExceeded", "Topic limit exceeded: at most 3 topics of this type can exist")
	sub := e.subscribeTo(arn, "sqs", "arn:aws:sqs:us-east-1:000000000000:q", "FilterPolicy", `{"a":["x"]}`)
	_, err = e.sns.Subscribe(t.Context(), &awssns.SubscribeInput{TopicArn: arn, Protocol: aws.String("sqs"), Endpoint: aws.String("arn:aws:sqs:us-east-1:000000000000:r")})
	wantError(t, err, "SubscriptionLimitExceeded", "Subscription limit exceeded: a topic of this type can have at most 1 subscriptions")
	_, err = e.sns.SetSubscriptionAttributes(t.Context(), &awssns.SetSubscriptionAttributesInput{SubscriptionArn: sub, AttributeName: aws.String("FilterPolicy"), AttributeValue: aws.String(`{"a":["y"]}`)})
	if err != nil {
		t.Errorf("a filter policy cannot be replaced at the limit: %v", err)
	}
}

// FuzzAccessPolicy checks that a statement can be added to every policy that is
// accepted, and that removing it leaves the others as they were.
func FuzzAccessPolicy(f *testing.F) {
	f.Add(`{"Version":"2008-10-17","Statement":[{"Sid":"a","Effect":"Allow"}]}`)
	f.Add(`{"Statement":{"Effect":"Deny","Sid":5}}`)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parseAccessPolicy(text)
		if err != nil {
			return
		}
		topic := &Topic{Name: "t", Attributes: map[string]string{"Policy": text}}
		const label = "a label of the test"
		for _, raw := range p.Statement {
			if sidOf(raw) == label {
				return
			}
		}
		if err := topic.addPermission(testScope, label, []string{"111122223333", "222233334444"}, []string{"Publish", "Subscribe"}); err != nil {
			t.Fatal(err)
		}
		more, err := topic.accessPolicy(testScope)
		if err != nil || len(more.Statement) != len(p.Statement)+1 {
			t.Fatalf("added: %v, %v", more, err)
		}
		if err := topic.removePermission(testScope, label); err != nil {
			t.Fatal(err)
		}
		again, err := topic.accessPolicy(testScope)
		if err != nil || !sameText(string(mustJSON(again)), string(mustJSON(p))) {
			t.Fatalf("removed: %s, was %s, %v", mustJSON(again), mustJSON(p), err)
		}
	})
}
