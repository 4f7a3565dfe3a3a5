package sns

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssns "github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

func TestPublishErrors(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	topic, fifo := e.topicNamed("t"), e.topicNamed("t.fifo", "FifoTopic", "true")
	attr := func(name, kind, text string, bin []byte) map[string]types.MessageAttributeValue {
		v := types.MessageAttributeValue{DataType: &kind, BinaryValue: bin}
		if text != "-" {
			v.StringValue = &text
		}
		return map[string]types.MessageAttributeValue{name: v}
	}
	long := strings.Repeat("x", 262_144)
	for name, c := range map[string]struct {
		in         awssns.PublishInput
		code, want string
	}{
		"NoTopic":        {awssns.PublishInput{Message: aws.String("x")}, "", "Invalid parameter: TopicArn or TargetArn Reason: no value for required parameter"},
		"Unknown":        {awssns.PublishInput{TopicArn: aws.String(topicPrefix + "none"), Message: aws.String("x")}, "NotFound", "Topic does not exist"},
		"Phone":          {awssns.PublishInput{PhoneNumber: aws.String("+1"), Message: aws.String("x")}, "", "Invalid parameter: PhoneNumber Reason: +1 is not valid to publish to"},
		"TargetOfOther":  {awssns.PublishInput{TargetArn: aws.String("x"), Message: aws.String("x")}, "", "Invalid parameter: TargetArn Reason: An ARN must have at least 6 elements, not 1"},
		"Empty":          {awssns.PublishInput{TopicArn: topic, Message: aws.String("")}, "", "Invalid parameter: Empty message"},
		"Long":           {awssns.PublishInput{TopicArn: topic, Message: aws.String(long + "x")}, "", "Invalid parameter: Message too long"},
		"LongByName":     {awssns.PublishInput{TopicArn: topic, Message: aws.String(long[:262_144-8]), MessageAttributes: attr("a", "String", "xx", nil)}, "", "Invalid parameter: Message too long"},
		"EmptySubject":   {awssns.PublishInput{TopicArn: topic, Message: aws.String("x"), Subject: aws.String("")}, "", "Invalid parameter: Subject"},
		"LongSubject":    {awssns.PublishInput{TopicArn: topic, Message: aws.String("x"), Subject: aws.String(long[:100])}, "", "Invalid parameter: Subject"},
		"SubjectLines":   {awssns.PublishInput{TopicArn: topic, Message: aws.String("x"), Subject: aws.String("a\nb")}, "", "Invalid parameter: Subject"},
		"SubjectSpace":   {awssns.PublishInput{TopicArn: topic, Message: aws.String("x"), Subject: aws.String(" a")}, "", "Invalid parameter: Subject"},
		"Structure":      {awssns.PublishInput{TopicArn: topic, Message: aws.String("x"), MessageStructure: aws.String("xml")}, "", "Invalid parameter: MessageStructure"},
		"StructureBad":   {awssns.PublishInput{TopicArn: topic, Message: aws.String("x"), MessageStructure: aws.String("json")}, "", "Invalid parameter: Message Structure - JSON message body failed to parse"},
		"StructureMore":  {awssns.PublishInput{TopicArn: topic, Message: aws.String(`{"default":"x"}{}`), MessageStructure: aws.String("json")}, "", "Invalid parameter: Message Structure - JSON message body failed to parse"},
		"NoDefault":      {awssns.PublishInput{TopicArn: topic, Message: aws.String(`{"default":5,"sqs":"x"}`), MessageStructure: aws.String("json")}, "", "Invalid parameter: Message Structure - No default entry in JSON message body"},
		"TwoDefaults":    {awssns.PublishInput{TopicArn: topic, Message: aws.String(`{"default":"a","default":"b"}`), MessageStructure: aws.String("json")}, "", "Invalid parameter: Duplicated keys are not allowed."},
		"NoGroup":        {awssns.PublishInput{TopicArn: fifo, Message: aws.String("x")}, "", "Invalid parameter: The MessageGroupId parameter is required for FIFO topics"},
		"NoDedup":        {awssns.PublishInput{TopicArn: fifo, Message: aws.String("x"), MessageGroupId: aws.String("g")}, "", "Invalid parameter: The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly"},
		"DedupStandard":  {awssns.PublishInput{TopicArn: topic, Message: aws.String("x"), MessageDeduplicationId: aws.String("d")}, "", "Invalid parameter: MessageDeduplicationId Reason: The request includes MessageDeduplicationId parameter that is not valid for this topic type"},
		"AttrEmpty":      {awssns.PublishInput{TopicArn: topic, Message: aws.String("x"), MessageAttributes: attr("a", "String", "", nil)}, "ParameterValueInvalid", "The message attribute 'a' must contain non-empty message attribute value for message attribute type 'String'."},
		"AttrType":       {awssns.PublishInput{TopicArn: topic, Message: aws.String("x"), MessageAttributes: attr("a", "Text", "x", nil)}, "ParameterValueInvalid", "The message attribute 'a' has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and String."},
		"AttrNumber":     {awssns.PublishInput{TopicArn: topic, Message: aws.String("x"), MessageAttributes: attr("a", "Number", "x", nil)}, "ParameterValueInvalid", "Could not cast message attribute 'a' value to number."},
		"AttrNumberBin":  {awssns.PublishInput{TopicArn: topic, Message: aws.String("x"), MessageAttributes: attr("a", "Number", "-", []byte("5"))}, "ParameterValueInvalid", "The message attribute 'a' with type 'Number' must use field 'String'."},
		"AttrBinaryText": {awssns.PublishInput{TopicArn: topic, Message: aws.String("x"), MessageAttributes: attr("a", "Binary", "x", nil)}, "ParameterValueInvalid", "The message attribute 'a' with type 'Binary' must use field 'Binary'."},
		"AttrLong":       {awssns.PublishInput{TopicArn: topic, Message: aws.String("x"), MessageAttributes: attr(long[:257], "String", "x", nil)}, "ParameterValueInvalid", "Length of message attribute name must be less than 256 bytes."},
		"AttrDots":       {awssns.PublishInput{TopicArn: topic, Message: aws.String("x"), MessageAttributes: attr("a..b", "String", "x", nil)}, "ParameterValueInvalid", "Message attribute name can not have successive '.' character."},
		"AttrDotFirst":   {awssns.PublishInput{TopicArn: topic, Message: aws.String("x"), MessageAttributes: attr(".a", "String", "x", nil)}, "ParameterValueInvalid", "Invalid message attribute name starting with character '.' was found."},
		"AttrDotLast":    {awssns.PublishInput{TopicArn: topic, Message: aws.String("x"), MessageAttributes: attr("a.", "String", "x", nil)}, "ParameterValueInvalid", "Invalid message attribute name ending with character '.' was found."},
		"AttrName":       {awssns.PublishInput{TopicArn: topic, Message: aws.String("x"), MessageAttributes: attr("a^b", "String", "x", nil)}, "ParameterValueInvalid", "Invalid non-alphanumeric character '#x5E' was found in the message attribute name. Can only include alphanumeric characters, hyphens, underscores, or dots."},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := e.sns.Publish(t.Context(), &c.in)
			if c.code == "" {
				c.code = "InvalidParameter"
			}
			wantError(t, err, c.code, c.want)
		})
	}
	for name, in := range map[string]awssns.PublishInput{
		"Longest":     {TopicArn: topic, Message: &long},
		"TargetArn":   {TargetArn: topic, Message: aws.String("x")},
		"Group":       {TopicArn: topic, Message: aws.String("x"), MessageGroupId: aws.String("g")},
		"UTF8Subject": {TopicArn: topic, Message: aws.String("x"), Subject: aws.String("Über uns")},
		"Reserved":    {TopicArn: topic, Message: aws.String("x"), MessageAttributes: attr("AWS.SNS.SMS.SenderID", "String", "x", nil)},
	} {
		if out, err := e.sns.Publish(t.Context(), &in); err != nil || !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(*out.MessageId) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPublishToQueues(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	topic := e.topicNamed("t")
	plain, plainARN := e.queueNamed("plain")
	raw, rawARN := e.queueNamed("raw")
	filtered, filteredARN := e.queueNamed("filtered")
	sub := e.subscribeTo(topic, "sqs", *plainARN)
	e.subscribeTo(topic, "sqs", *rawARN, "RawMessageDelivery", "true")
	e.subscribeTo(topic, "sqs", *filteredARN, "FilterPolicy", `{"kind":["other"]}`)
	out := must[*awssns.PublishOutput](t)(e.sns.Publish(t.Context(), &awssns.PublishInput{
		TopicArn: topic, Subject: aws.String("s"), Message: aws.String(`{"default":"for all","sqs":"für\nqueues","x":5}`), MessageStructure: aws.String("json"),
		MessageAttributes: map[string]types.MessageAttributeValue{
			"kind": {DataType: aws.String("String"), StringValue: aws.String("this")},
			"bin":  {DataType: aws.String("Binary"), BinaryValue: []byte{0, 1, 2}},
			"n":    {DataType: aws.String("Number.int"), StringValue: aws.String("007")},
		},
	}))
	body := e.bodies(plain)[0]
	if err := verify(body, fetch); err != nil {
		t.Error(err)
	}
	var m struct {
		Type, MessageID, TopicArn, Subject, Message, UnsubscribeURL string
		MessageAttributes                                           map[string]struct{ Type, Value string }
	}
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		t.Fatal(err)
	}
	if m.Type != "Notification" || m.MessageID != *out.MessageId || m.TopicArn != *topic || m.Subject != "s" || m.Message != "für\nqueues" ||
		m.UnsubscribeURL != e.server.URL+"/?Action=Unsubscribe&SubscriptionArn="+*sub || fmt.Sprint(m.MessageAttributes) != "map[bin:{Binary AAEC} kind:{String this} n:{Number.int 007}]" {
		t.Errorf("envelope %s", body)
	}
	got := must[*awssqs.ReceiveMessageOutput](t)(e.sqs.ReceiveMessage(t.Context(), &awssqs.ReceiveMessageInput{QueueUrl: raw, MessageAttributeNames: []string{"All"}})).Messages
	if len(got) != 1 || *got[0].Body != "für\nqueues" || len(got[0].MessageAttributes) != 3 || string(got[0].MessageAttributes["bin"].BinaryValue) != "\x00\x01\x02" ||
		*got[0].MessageAttributes["n"].StringValue != "007" || *got[0].MessageAttributes["n"].DataType != "Number.int" {
		t.Errorf("raw: %+v", got)
	}
	if got := e.bodies(filtered); len(got) != 0 {
		t.Errorf("the filter lets through %v", got)
	}
}

func TestQueueGoneGoesToDeadLetters(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	topic := e.topicNamed("t")
	dlq, dlqARN := e.queueNamed("dlq")
	_, goneARN := e.queueNamed("gone")
	raw, rawARN := e.queueNamed("raw")
	e.subscribeTo(topic, "sqs", *goneARN+"1", "RedrivePolicy", fmt.Sprintf(`{"deadLetterTargetArn":%q}`, *dlqARN))
	lost := e.subscribeTo(topic, "sqs", *goneARN+"2", "RawMessageDelivery", "true")
	many := e.subscribeTo(topic, "sqs", *rawARN, "RawMessageDelivery", "true", "RedrivePolicy", fmt.Sprintf(`{"deadLetterTargetArn":%q}`, *rawARN+"x"))
	e.publishTo(topic, "hello")
	if got := e.bodies(dlq); len(got) != 1 || !strings.Contains(got[0], `"Message":"hello"`) {
		t.Errorf("dead-letter queue: %v", got)
	}
	dead := e.deads(laneOf(lost))
	if len(dead) != 1 || !strings.Contains(dead[0].Answer, "does not exist") {
		t.Fatalf("dead letters: %+v", dead)
	}
	if got := e.bodies(raw); len(got) != 1 || got[0] != "hello" {
		t.Errorf("raw: %v", got)
	}
	attrs := map[string]types.MessageAttributeValue{}
	for i := range 11 {
		attrs[fmt.Sprint("a", i)] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: aws.String("x")}
	}
	must[*awssns.PublishOutput](t)(e.sns.Publish(t.Context(), &awssns.PublishInput{TopicArn: topic, Message: aws.String("x"), MessageAttributes: attrs}))
	if d := e.deads(laneOf(many)); len(d) != 1 || !strings.HasPrefix(d[0].Answer, "the message has 11 attributes; a queue takes at most 10; not moved to") {
		t.Errorf("dead letters: %+v", d)
	}

	// Once there is a queue, the dead letter can be redriven.
	url, _ := e.queueNamed("gone2")
	if err := e.store.Do(t.Context(), &store.Redrive{Kind: store.KindNotification, Scope: testScope, IDs: []sestina.ID{dead[0].ID}, Now: e.clock.Now()}); err != nil {
		t.Fatal(err)
	}
	var got []string
	e.eventually("the dead letter arrives", func() bool {
		got = append(got, e.bodies(url)...)
		return len(got) > 0
	})
	if got[0] != "hello" {
		t.Errorf("redriven: %v", got)
	}
}

func TestPublishBatch(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	topic := e.topicNamed("t")
	url, arn := e.queueNamed("q")
	e.subscribeTo(topic, "sqs", *arn, "RawMessageDelivery", "true")
	entry := func(id, text string) types.PublishBatchRequestEntry {
		return types.PublishBatchRequestEntry{Id: &id, Message: &text}
	}
	batch := func(entries ...types.PublishBatchRequestEntry) (*awssns.PublishBatchOutput, error) {
		return e.sns.PublishBatch(t.Context(), &awssns.PublishBatchInput{TopicArn: topic, PublishBatchRequestEntries: entries})
	}
	var ten []types.PublishBatchRequestEntry
	for i := range 10 {
		ten = append(ten, entry(fmt.Sprint("id-", i), fmt.Sprint("m", i)))
	}
	out := must[*awssns.PublishBatchOutput](t)(batch(ten...))
	if len(out.Successful) != 10 || len(out.Failed) != 0 || *out.Successful[3].Id != "id-3" || *out.Successful[3].MessageId == *out.Successful[4].MessageId {
		t.Errorf("answer %+v", out)
	}
	got := e.bodies(url)
	slices.Sort(got)
	if want := []string{"m0", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "m9"}; !slices.Equal(got, want) {
		t.Errorf("arrived %v", got)
	}
	half := strings.Repeat("x", 131_073)
	for name, c := range map[string]struct {
		entries    []types.PublishBatchRequestEntry
		code, want string
	}{
		"None":     {[]types.PublishBatchRequestEntry{}, "EmptyBatchRequest", "The batch request doesn't contain any entries."},
		"Eleven":   {append(ten, entry("x", "x")), "TooManyEntriesInBatchRequest", "The batch request contains more entries than permissible."},
		"SameID":   {[]types.PublishBatchRequestEntry{entry("a", "x"), entry("a", "y")}, "BatchEntryIdsNotDistinct", "Two or more batch entries in the request have the same Id."},
		"Long":     {[]types.PublishBatchRequestEntry{entry("a", half), entry("b", half)}, "BatchRequestTooLong", "The length of all the messages put together is more than the limit."},
		"LongID":   {[]types.PublishBatchRequestEntry{entry(half[:81], "x")}, "InvalidBatchEntryId", "The Id of a batch entry in the batch request is too long: " + half[:81]},
		"BadID":    {[]types.PublishBatchRequestEntry{entry("a.b", "x")}, "InvalidBatchEntryId", "The Id of a batch entry in the batch request contains an impermissible character: a.b"},
		"OneEmpty": {[]types.PublishBatchRequestEntry{entry("a", "x"), entry("b", "")}, "InvalidParameter", "Invalid parameter: Empty message"},
	} {
		_, err := batch(c.entries...)
		t.Run(name, func(t *testing.T) { wantError(t, err, c.code, c.want) })
	}
	if got := e.bodies(url); len(got) != 0 {
		t.Errorf("refused batches are published: %v", got)
	}
}

func TestFIFO(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	topic := e.topicNamed("t.fifo", "FifoTopic", "true", "ContentBasedDeduplication", "true")
	url, arn := e.queueNamed("q.fifo", "FifoQueue", "true")
	standard, standardARN := e.queueNamed("standard")
	e.subscribeTo(topic, "sqs", *arn)
	e.subscribeTo(topic, "sqs", *standardARN, "RawMessageDelivery", "true")
	publish := func(e *env, group, text string) *awssns.PublishOutput {
		return must[*awssns.PublishOutput](t)(e.sns.Publish(t.Context(), &awssns.PublishInput{TopicArn: topic, Message: &text, MessageGroupId: &group}))
	}
	first := publish(e, "g", "one")
	if same := publish(e, "other", "one"); *same.MessageId != *first.MessageId || *same.SequenceNumber != *first.SequenceNumber {
		t.Errorf("a duplicate was answered %v, the original %v", same, first)
	}
	second := publish(e, "g", "two")
	if !regexp.MustCompile(`^[0-9]{20}$`).MatchString(*first.SequenceNumber) || *second.SequenceNumber <= *first.SequenceNumber {
		t.Errorf("sequence numbers %s, %s", *first.SequenceNumber, *second.SequenceNumber)
	}
	text := "three"
	out := must[*awssns.PublishBatchOutput](t)(e.sns.PublishBatch(t.Context(), &awssns.PublishBatchInput{TopicArn: topic, PublishBatchRequestEntries: []types.PublishBatchRequestEntry{
		{Id: aws.String("a"), Message: &text, MessageGroupId: aws.String("g")},
		{Id: aws.String("b"), Message: &text, MessageGroupId: aws.String("g")},
		{Id: aws.String("c"), Message: aws.String("two"), MessageGroupId: aws.String("g")},
	}}))
	if s := out.Successful; *s[0].MessageId != *s[1].MessageId || *s[2].MessageId != *second.MessageId {
		t.Errorf("batch answered %+v", s)
	}
	got := e.bodies(url)
	if len(got) != 3 || strings.Contains(got[0], "Signature") || !strings.Contains(got[0], `"SequenceNumber":"`+*first.SequenceNumber+`"`) {
		t.Fatalf("arrived %v", got)
	}
	for i, want := range []string{"one", "two", "three"} {
		if !strings.Contains(got[i], `"Message":"`+want+`"`) {
			t.Errorf("at %d: %s", i, got[i])
		}
	}
	plain := e.bodies(standard)
	slices.Sort(plain)
	if !slices.Equal(plain, []string{"one", "three", "two"}) {
		t.Errorf("arrived in the standard queue: %v", plain)
	}
	e.stop()

	// What was published is remembered over a restart, for five minutes.
	e = openEnv(t, e.dir)
	if same := publish(e, "g", "one"); *same.MessageId != *first.MessageId {
		t.Error("a duplicate after a restart is published")
	}
	e.clock.Advance(5 * time.Minute)
	if err := e.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if docs := must[[]store.Document](t)(e.store.List(t.Context(), testScope, kindDedup, "", 100)); len(docs) != 0 {
		t.Errorf("%d documents are kept", len(docs))
	}
	if again := publish(e, "g", "one"); *again.MessageId == *first.MessageId {
		t.Error("after five minutes it is still a duplicate")
	}
	if got := e.bodies(url); len(got) != 1 {
		t.Errorf("arrived %v", got)
	}
}

func TestFIFOPerGroup(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	topic := e.topicNamed("t.fifo", "FifoTopic", "true", "FifoThroughputScope", "MessageGroup")
	ids := map[string]bool{}
	for _, group := range []string{"a", "b", "a"} {
		out := must[*awssns.PublishOutput](t)(e.sns.Publish(t.Context(), &awssns.PublishInput{TopicArn: topic, Message: aws.String("x"), MessageGroupId: &group, MessageDeduplicationId: aws.String("d")}))
		ids[*out.MessageId] = true
	}
	if len(ids) != 2 {
		t.Errorf("%d messages were published", len(ids))
	}
}

// FuzzStructure checks that what is accepted has a default and nothing but
// strings of the JSON.
func FuzzStructure(f *testing.F) {
	f.Add(`{"default":"x","sqs":"y","n":5}`)
	f.Add(`{"default":"x","default":"y"}`)
	f.Add(`{"a":{"default":"x"}}`)
	f.Fuzz(func(t *testing.T, text string) {
		texts, err := readStructure("json", text)
		if err != nil {
			return
		}
		var v map[string]any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatalf("accepted, but no JSON: %v", err)
		}
		if _, ok := texts["default"]; !ok {
			t.Fatal("accepted without default")
		}
		for k, s := range texts {
			if v[k] != s {
				t.Fatalf("%q is %q, not %q", k, v[k], s)
			}
		}
	})
}
