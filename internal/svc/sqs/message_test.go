package sqs

import (
	"maps"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sestina-mail/sestina/internal/awsapi/sqs"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

func text(name, v string) Attribute {
	return Attribute{Name: name, DataType: "String", StringValue: v}
}

// The digests were answered by SQS itself for these attributes.
func TestAttributeDigest(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		attrs []Attribute
		want  string
	}{
		{"One", []Attribute{text("Hello", "There")}, "a311262e065454b75da111d535b8dacd"},
		{"SortedByName", []Attribute{text("Hello", "There"), text("General", "Kenobi")}, "fca026605781cb4126a1e9044df24232"},
		{"Three", []Attribute{text("Help.Me", "Me"), text("Hello", "There"), text("General", "Kenobi")}, "4c360f3fdafd970e05fae2f149d997f5"},
		{"Binary", []Attribute{{Name: "attr1", DataType: "Binary", BinaryValue: []byte("traceparent\x1e00-774062d6c37081a5a0b9b5b88e30627c-2d2482211f6489da-01")}}, "8cbe4db156db8a94db8b801b7addb984"},
		{"CustomType", []Attribute{{Name: "UserId", DataType: "Number.bigint", StringValue: "1234567890123456789012"}}, "797ab158d73dcb5242dedc4412c8e855"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			sortAttributes(c.attrs)
			if got := attributeDigest(c.attrs); got == nil || *got != c.want {
				t.Errorf("got %v, want %s", got, c.want)
			}
		})
	}
	if got := attributeDigest(nil); got != nil {
		t.Errorf("no attributes: %s", *got)
	}
	if got := *bodyDigest("msg"); got != "6e2baaf3b97dbeef01c0043275f9a0e7" {
		t.Errorf("body: %s", got)
	}
}

func TestSendMessageRefuses(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	standard, fifo, small := e.create("q"), e.fifo("q.fifo"), e.create("small", "MaximumMessageSize", "1024")
	const (
		ipv     = "InvalidParameterValueException"
		mrp     = "MissingRequiredParameterException"
		allowed = "the set of allowed characters is #x9 | #xA | #xD | [#x20-#xD7FF] | [#xE000-#xFFFD] | [#x10000-#x10FFFF]."
		type_   = "The request include parameter that is not valid for this queue type."
		chars   = "Message (user) attributes name can only contain upper and lower score characters, digits, periods, hyphens and underscores. "
		dots    = "Message (user) attribute names can not start or end with a period, nor have successive periods."
		own     = "You can't use message attribute names beginning with 'AWS.' or 'Amazon.'. These strings are reserved for internal use."
	)
	attr := func(name, dataType, v string) func(*sqs.SendMessageInput) {
		return func(in *sqs.SendMessageInput) {
			if in.MessageAttributes == nil {
				in.MessageAttributes = map[string]sqs.MessageAttributeValue{}
			}
			in.MessageAttributes[name] = sqs.MessageAttributeValue{DataType: &dataType, StringValue: &v}
		}
	}
	body := func(s string) func(*sqs.SendMessageInput) {
		return func(in *sqs.SendMessageInput) { in.MessageBody = &s }
	}
	delay := func(n int32) func(*sqs.SendMessageInput) {
		return func(in *sqs.SendMessageInput) { in.DelaySeconds = &n }
	}
	ids := func(group, dedup string) func(*sqs.SendMessageInput) {
		return func(in *sqs.SendMessageInput) {
			if group != "-" {
				in.MessageGroupId = &group
			}
			if dedup != "-" {
				in.MessageDeduplicationId = &dedup
			}
		}
	}
	long := strings.Repeat("x", 129)
	for _, c := range []struct {
		rule       string
		url        *string
		change     func(*sqs.SendMessageInput)
		code, text string
	}{
		{"Plain", standard, func(*sqs.SendMessageInput) {}, "", ""},
		{"NoBody", standard, body(""), mrp, "The request must contain the parameter MessageBody."},
		{"LargestBody", standard, body(strings.Repeat("x", 1<<20)), "", ""},
		{"BodyTooLarge", standard, body(strings.Repeat("x", 1<<20+1)), ipv, "One or more parameters are invalid. Reason: Message must be shorter than 1048576 bytes."},
		{"BodyOfQueuesSize", small, body(strings.Repeat("x", 1024)), "", ""},
		{"BodyAboveQueuesSize", small, body(strings.Repeat("x", 1025)), ipv, "One or more parameters are invalid. Reason: Message must be shorter than 1024 bytes."},
		{"AttributesCount", small, attr("n", "String", strings.Repeat("x", 1024-4-1-6)), "", ""},
		{"AttributesTooLarge", small, attr("n", "String", strings.Repeat("x", 1024-4-1-6+1)), ipv, "One or more parameters are invalid. Reason: Message must be shorter than 1024 bytes."},
		{"AllowedCharacters", standard, body("\t\n\r ~é퟿�𐀀"), "", ""},
		{"ControlCharacter", standard, body("a\x01"), "InvalidMessageContents", "Invalid binary character '#x1' was found in the message body, " + allowed},
		{"NotACharacter", standard, body("a\uffff"), "InvalidMessageContents", "Invalid binary character '#xFFFF' was found in the message body, " + allowed},
		{"BrokenUTF8", standard, body("a\xff"), "InvalidMessageContents", "Invalid binary character '#xFF' was found in the message body, " + allowed},
		{"Delay", standard, delay(900), "", ""},
		{"DelayTooLong", standard, delay(901), ipv, "Value 901 for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900."},
		{"DelayNegative", standard, delay(-1), ipv, "Value -1 for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900."},
		{"GroupOfFairQueue", standard, ids("g", "-"), "", ""},
		{"DedupOfStandard", standard, ids("-", "d"), ipv, "Value d for parameter MessageDeduplicationId is invalid. Reason: " + type_},

		{"FIFO", fifo, ids("g", "d1"), "", ""},
		{"FIFOPunctuation", fifo, ids("!~", "#$%&'()*+,-./:;<=>?@[\\]^_`{|}"), "", ""},
		{"FIFOWithoutGroup", fifo, ids("-", "d"), mrp, "The request must contain the parameter MessageGroupId."},
		{"FIFOWithoutDedup", fifo, ids("g", "-"), ipv, "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly"},
		{"FIFOGroupTooLong", fifo, ids(long, "d"), ipv, "Value " + long + " for parameter MessageGroupId is invalid. Reason: MessageGroupId can only include alphanumeric and punctuation characters. 1 to 128 in length."},
		{"FIFOGroupWithSpace", fifo, ids("a b", "d"), ipv, "Value a b for parameter MessageGroupId is invalid. Reason: MessageGroupId can only include alphanumeric and punctuation characters. 1 to 128 in length."},
		{"FIFODedupEmpty", fifo, ids("g", ""), ipv, "Value  for parameter MessageDeduplicationId is invalid. Reason: MessageDeduplicationId can only include alphanumeric and punctuation characters. 1 to 128 in length."},
		{"FIFODelay", fifo, func(in *sqs.SendMessageInput) { ids("g", "d2")(in); delay(2)(in) }, ipv, "Value 2 for parameter DelaySeconds is invalid. Reason: " + type_},
		{"FIFODelayZero", fifo, func(in *sqs.SendMessageInput) { ids("g", "d3")(in); delay(0)(in) }, "", ""},

		{"AttributeName", standard, attr(strings.Repeat("n", 256), "String", "x"), "", ""},
		{"AttributeWithoutName", standard, attr("", "String", "x"), ipv, "The request must contain non-empty message (user) attribute names."},
		{"AttributeNameTooLong", standard, attr(strings.Repeat("n", 257), "String", "x"), ipv, "Message (user) attribute names must be shorter than 256 Bytes"},
		{"AttributeNameWithSpace", standard, attr("a b", "String", "x"), ipv, chars},
		{"AttributeNameNotASCII", standard, attr("é", "String", "x"), ipv, chars},
		{"AttributeNameOfAWS", standard, attr("aws.x", "String", "x"), ipv, own},
		{"AttributeNameOfAmazon", standard, attr("AMAZON.x", "String", "x"), ipv, own},
		{"AttributeNameBeginsWithDot", standard, attr(".x", "String", "x"), ipv, dots},
		{"AttributeNameEndsWithDot", standard, attr("x.", "String", "x"), ipv, dots},
		{"AttributeNameWithTwoDots", standard, attr("x..y", "String", "x"), ipv, dots},
		{"AttributeWithoutType", standard, attr("x", "", "x"), ipv, "The message (user) attribute 'x' must contain a non-empty message attribute type."},
		{"AttributeTypeTooLong", standard, attr("x", "String."+strings.Repeat("x", 250), "x"), ipv, "Message (user) attribute type must be shorter than 256 bytes."},
		{"AttributeTypeUnknown", standard, attr("x", "Text", "x"), ipv, "The type of message (user) attribute 'x' is invalid. You must use only the following supported type prefixes: Binary, Number, String."},
		{"AttributeTypePrefix", standard, attr("x", "Stringlike", "x"), ipv, "The type of message (user) attribute 'x' is invalid. You must use only the following supported type prefixes: Binary, Number, String."},
		{"AttributeEmpty", standard, attr("ErrorDetails", "String", ""), ipv, "Message (user) attribute 'ErrorDetails' must contain a non-empty value of type 'String'."},
		{"AttributeBinaryEmpty", standard, attr("x", "Binary.gif", "x"), ipv, "Message (user) attribute 'x' must contain a non-empty value of type 'Binary'."},
		{"AttributeNumber", standard, attr("x", "Number.float", "-1.5e10"), "", ""},
		{"AttributeNotANumber", standard, attr("Hello", "Number", "world"), ipv, "Can't cast the value of message (user) attribute 'Hello' to a number."},
		{"AttributeHexIsNoNumber", standard, attr("Hello", "Number", "0x10"), ipv, "Can't cast the value of message (user) attribute 'Hello' to a number."},
		{"AttributeControlCharacter", standard, attr("x", "String", "a\x00"), "InvalidMessageContents", "Invalid binary character '#x0' was found in the value of message (user) attribute 'x', " + allowed},
		{"AttributeList", standard, func(in *sqs.SendMessageInput) {
			in.MessageAttributes = map[string]sqs.MessageAttributeValue{"x": {DataType: new("String"), StringListValues: []string{"a"}}}
		}, "UnsupportedOperation", "Message attribute list values in SendMessage operation are not supported."},
		{"ElevenAttributes", standard, func(in *sqs.SendMessageInput) {
			for _, n := range "abcdefghijk" {
				attr(string(n), "String", "x")(in)
			}
		}, ipv, "Number of message attributes [11] exceeds the allowed maximum [10]."},
		{"SystemAttributeUnknown", standard, func(in *sqs.SendMessageInput) {
			in.MessageSystemAttributes = map[string]sqs.MessageSystemAttributeValue{"Hello": {DataType: new("String"), StringValue: new("x")}}
		}, ipv, "Message system attribute name 'Hello' is invalid."},
		{"SystemAttributeBinary", standard, func(in *sqs.SendMessageInput) {
			in.MessageSystemAttributes = map[string]sqs.MessageSystemAttributeValue{"AWSTraceHeader": {DataType: new("Binary"), BinaryValue: []byte("x")}}
		}, ipv, "Message (system) attribute 'AWSTraceHeader' must contain a non-empty value of type 'String'."},
	} {
		t.Run(c.rule, func(t *testing.T) {
			t.Parallel()
			in := &sqs.SendMessageInput{QueueUrl: c.url, MessageBody: new("body")}
			c.change(in)
			_, err := e.SendMessage(e.ctx, in)
			refused(t, err, c.code, c.text)
		})
	}
}

func TestSendAndReceive(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	url := e.create("q")
	sentAt := e.clock.Now()
	out := must[*sqs.SendMessageOutput](t)(e.SendMessage(e.ctx, &sqs.SendMessageInput{
		QueueUrl: url, MessageBody: new("msg"),
		MessageAttributes: map[string]sqs.MessageAttributeValue{
			"Hello": {DataType: new("String"), StringValue: new("There")}, "General": {DataType: new("String"), StringValue: new("Kenobi")},
			"Help.Me": {DataType: new("String"), StringValue: new("Me")},
		},
		MessageSystemAttributes: map[string]sqs.MessageSystemAttributeValue{"AWSTraceHeader": {DataType: new("String"), StringValue: new("some-trace-id")}},
	}))
	if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(*out.MessageId) {
		t.Errorf("message id %s", *out.MessageId)
	}
	if *out.MD5OfMessageBody != "6e2baaf3b97dbeef01c0043275f9a0e7" || *out.MD5OfMessageAttributes != "4c360f3fdafd970e05fae2f149d997f5" ||
		*out.MD5OfMessageSystemAttributes != "fdce4f2818803f2f73becc09a54792c0" || out.SequenceNumber != nil {
		t.Errorf("answer %+v", out)
	}
	e.clock.Advance(time.Minute)
	for _, c := range []struct {
		rule   string
		system []string
		user   []string
		digest string
		names  string
	}{
		{"Nothing", nil, nil, "", ""},
		{"AllOfUser", nil, []string{"All"}, "4c360f3fdafd970e05fae2f149d997f5", "General Hello Help.Me"},
		{"Wildcard", nil, []string{".*"}, "4c360f3fdafd970e05fae2f149d997f5", "General Hello Help.Me"},
		{"Missing", nil, []string{"Foo", "Help"}, "", ""},
		{"SomeMissing", nil, []string{"Hello", "Foo"}, "a311262e065454b75da111d535b8dacd", "Hello"},
		{"Prefix", nil, []string{"Hel.*"}, "83fee93c1bcd8b9a5a923ffacdc636c7", "Hello Help.Me"},
		{"Illegal", nil, []string{"AWS.", ".."}, "", ""},
		{"System", []string{"SenderId", "AWSTraceHeader"}, nil, "", ""},
		{"AllOfSystem", []string{"All"}, nil, "", ""},
	} {
		received := e.receive(url, hiddenFor(0), func(in *sqs.ReceiveMessageInput) {
			in.MessageSystemAttributeNames, in.MessageAttributeNames = c.system, c.user
		})
		sameBodies(t, received, "msg")
		m := received[0]
		if *m.MessageId != *out.MessageId || *m.MD5OfBody != *out.MD5OfMessageBody {
			t.Errorf("%s: message id %s, digest %s", c.rule, *m.MessageId, *m.MD5OfBody)
		}
		if got := value(m.MD5OfMessageAttributes); got != c.digest {
			t.Errorf("%s: digest of attributes %s, want %s", c.rule, got, c.digest)
		}
		for _, n := range strings.Fields(c.names) {
			if m.MessageAttributes[n].StringValue == nil {
				t.Errorf("%s: no attribute %s", c.rule, n)
			}
		}
		if len(m.MessageAttributes) != len(strings.Fields(c.names)) || (m.MessageAttributes == nil) != (c.names == "") {
			t.Errorf("%s: attributes %v", c.rule, m.MessageAttributes)
		}
		switch {
		case c.system == nil:
			if m.Attributes != nil {
				t.Errorf("%s: system attributes %v", c.rule, m.Attributes)
			}
		case len(c.system) == 2:
			if !maps.Equal(m.Attributes, attrs("SenderId", sestina.UserID("arn:aws:iam::000000000000:user/app"), "AWSTraceHeader", "some-trace-id")) {
				t.Errorf("%s: system attributes %v", c.rule, m.Attributes)
			}
		default:
			checkAllAttributes(t, m.Attributes, sentAt)
		}
	}
}

func checkAllAttributes(t *testing.T, got map[string]string, sentAt time.Time) {
	t.Helper()
	if got["ApproximateReceiveCount"] != "9" || len(got) != 5 {
		t.Errorf("system attributes %v", got)
	}
	ms := func(name string) time.Time {
		n, ok := parseNumber(got[name][:len(got[name])-3], 0, 1<<31-1)
		if !ok {
			t.Errorf("%s is %s", name, got[name])
		}
		return time.Unix(int64(n), 0)
	}
	if d := ms("SentTimestamp").Sub(sentAt); d < -time.Second || d > 30*time.Second {
		t.Errorf("sent %s after it was sent", d)
	}
	if d := ms("ApproximateFirstReceiveTimestamp").Sub(sentAt); d < 59*time.Second || d > 90*time.Second {
		t.Errorf("first received %s after it was sent", d)
	}
}

func TestSendMessageBatch(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	url, fifo := e.create("q"), e.fifo("q.fifo")
	entry := func(id, body string) sqs.SendMessageBatchRequestEntry {
		return sqs.SendMessageBatchRequestEntry{Id: &id, MessageBody: &body}
	}
	batch := func(url *string, entries ...sqs.SendMessageBatchRequestEntry) (*sqs.SendMessageBatchOutput, error) {
		return e.SendMessageBatch(e.ctx, &sqs.SendMessageBatchInput{QueueUrl: url, Entries: entries})
	}
	t.Run("PartialFailure", func(t *testing.T) {
		late := entry("late", "x")
		late.DelaySeconds = new(int32(1800))
		out := must[*sqs.SendMessageBatchOutput](t)(batch(url, entry("1", "one"), late, entry("bad", "\x01"), entry("2", "two")))
		if len(out.Successful) != 2 || *out.Successful[0].Id != "1" || *out.Successful[1].Id != "2" || *out.Successful[1].MD5OfMessageBody != *bodyDigest("two") {
			t.Errorf("successful: %+v", out.Successful)
		}
		if len(out.Failed) != 2 || *out.Failed[0].Id != "late" || *out.Failed[0].Code != "InvalidParameterValue" || !*out.Failed[0].SenderFault ||
			*out.Failed[0].Message != "Value 1800 for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900." ||
			*out.Failed[1].Code != "InvalidMessageContents" {
			t.Errorf("failed: %+v", out.Failed)
		}
		sameBodies(t, e.receive(url), "one", "two")
	})
	t.Run("AllFail", func(t *testing.T) {
		out := must[*sqs.SendMessageBatchOutput](t)(batch(url, entry("1", "")))
		if out.Successful == nil || len(out.Successful) != 0 || len(out.Failed) != 1 || *out.Failed[0].Code != "MissingParameter" {
			t.Errorf("answer %+v", out)
		}
	})
	const idText = "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long."
	grouped := entry("1", "x")
	grouped.MessageGroupId = new("g")
	for _, c := range []struct {
		rule       string
		url        *string
		entries    []sqs.SendMessageBatchRequestEntry
		code, text string
	}{
		{"Empty", url, nil, "EmptyBatchRequest", "There should be at least one SendMessageBatchRequestEntry in the request."},
		{"TooMany", url, make([]sqs.SendMessageBatchRequestEntry, 20), "TooManyEntriesInBatchRequest", "Maximum number of entries per request are 10. You have sent 20."},
		{"NoID", url, make([]sqs.SendMessageBatchRequestEntry, 1), "MissingRequiredParameterException", "The request must contain the parameter SendMessageBatchRequestEntry.1.Id."},
		{"EmptyID", url, []sqs.SendMessageBatchRequestEntry{entry("", "x")}, "InvalidBatchEntryId", idText},
		{"BadID", url, []sqs.SendMessageBatchRequestEntry{entry("invalid:id", "x")}, "InvalidBatchEntryId", idText},
		{"LongID", url, []sqs.SendMessageBatchRequestEntry{entry(strings.Repeat("x", 81), "x")}, "InvalidBatchEntryId", idText},
		{"SameID", url, []sqs.SendMessageBatchRequestEntry{entry("a", "x"), entry("a", "y")}, "BatchEntryIdsNotDistinct", "Id a repeated."},
		{"TooLong", url, []sqs.SendMessageBatchRequestEntry{entry("a", strings.Repeat("x", 1<<20)), entry("b", "y")}, "BatchRequestTooLong", "Batch requests cannot be longer than 1048576 bytes. You have sent 1048577 bytes."},
		{"FIFOWithoutGroup", fifo, []sqs.SendMessageBatchRequestEntry{entry("a", "x")}, "InvalidParameterValueException", "The request must contain the parameter MessageGroupId."},
		{"FIFOWithoutDedup", fifo, []sqs.SendMessageBatchRequestEntry{grouped}, "InvalidParameterValueException", "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			t.Parallel()
			_, err := batch(c.url, c.entries...)
			refused(t, err, c.code, c.text)
		})
	}
}

func TestDelay(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	url, fifo := e.create("q", "DelaySeconds", "10"), e.fifo("q.fifo", "DelaySeconds", "10")
	e.send(url, "queue's")
	e.sendGroup(fifo, "g", "fifo")
	_ = must[*sqs.SendMessageOutput](t)(e.SendMessage(e.ctx, &sqs.SendMessageInput{QueueUrl: url, MessageBody: new("none"), DelaySeconds: new(int32(0))}))
	_ = must[*sqs.SendMessageOutput](t)(e.SendMessage(e.ctx, &sqs.SendMessageInput{QueueUrl: url, MessageBody: new("long"), DelaySeconds: new(int32(20))}))
	if got := e.depth(url); got != [3]string{"1", "0", "2"} {
		t.Errorf("depth %v", got)
	}
	sameBodies(t, e.receive(url), "none")
	sameBodies(t, e.receive(fifo))
	e.clock.Advance(10 * time.Second)
	sameBodies(t, e.receive(url), "queue's")
	sameBodies(t, e.receive(fifo), "fifo")
	e.clock.Advance(10 * time.Second)
	sameBodies(t, e.receive(url), "long")
}

func TestRetention(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	url := e.create("q", "MessageRetentionPeriod", "60")
	e.send(url, "old")
	e.clock.Advance(59 * time.Second)
	sameBodies(t, e.receive(url, hiddenFor(0)), "old")
	e.clock.Advance(time.Second)
	sameBodies(t, e.receive(url))
	if got := e.depth(url); got != [3]string{"0", "0", "0"} {
		t.Errorf("depth %v", got)
	}
}

func TestRow(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	url := e.create("q", "DelaySeconds", "5", "MessageRetentionPeriod", "120", "MaximumMessageSize", "1024")
	fifo := e.fifo("q.fifo", "ContentBasedDeduplication", "true", "DeduplicationScope", "messageGroup")
	now := e.clock.Now()
	row := must[store.QueueMessage](t)(e.Row(e.arn("q"), []byte("hello"), []Attribute{text("b", "2"), text("a", "1")}, "", "ignored", now))
	if !row.VisibleAt.Equal(now.Add(5*time.Second)) || !row.ExpiresAt.Equal(now.Add(2*time.Minute)) || !row.SentAt.Equal(now) || row.DedupID != "" {
		t.Errorf("row %+v", row)
	}
	put := func(rows ...store.QueueMessage) {
		t.Helper()
		if err := e.store.Do(t.Context(), &store.Write{Effects: store.Effects{Queued: rows}}); err != nil {
			t.Fatal(err)
		}
	}
	put(row)
	e.clock.Advance(5 * time.Second)
	got := e.receive(url)
	sameBodies(t, got, "hello")
	if *got[0].MD5OfMessageAttributes != *attributeDigest([]Attribute{text("a", "1"), text("b", "2")}) || *got[0].MessageId != row.MessageID {
		t.Errorf("received %+v", got[0])
	}

	// One deduplication id, in two groups and twice in one.
	now = e.clock.Now()
	for _, group := range []string{"g1", "g2", "g1"} {
		put(must[store.QueueMessage](t)(e.Row(e.arn("q.fifo"), []byte("same"), nil, group, "", now)))
	}
	sameBodies(t, e.receive(fifo), "same", "same")

	for _, c := range []struct {
		rule, arn, body, group string
		attributes             int
		code                   string
	}{
		{"NoQueue", e.arn("nothing"), "x", "", 0, "QueueDoesNotExist"},
		{"NoARN", "q", "x", "", 0, "QueueDoesNotExist"},
		{"TopicARN", "arn:aws:sns:us-east-1:000000000000:q", "x", "", 0, "QueueDoesNotExist"},
		{"ElevenAttributes", e.arn("q"), "x", "", 11, "InvalidParameterValueException"},
		{"TooLong", e.arn("q"), strings.Repeat("x", 1025), "", 0, "InvalidParameterValueException"},
		{"FIFOWithoutGroup", e.arn("q.fifo"), "x", "", 0, "MissingRequiredParameterException"},
	} {
		var attributes []Attribute
		for i := range c.attributes {
			attributes = append(attributes, text(string(rune('a'+i)), "x"))
		}
		if _, err := e.Row(c.arn, []byte(c.body), attributes, c.group, "", now); sestina.CodeOf(err) != c.code {
			t.Errorf("%s: %v", c.rule, err)
		}
	}
}

func FuzzAttributes(f *testing.F) {
	f.Add("a", "String", "b", []byte("c"), "trace")
	f.Add("é", "Binary.x", "", []byte{0, 255}, "")
	f.Add("", "Number", "1e9", []byte(nil), "\x00")
	f.Fuzz(func(t *testing.T, name, dataType, v string, b []byte, trace string) {
		a := Attribute{Name: name, DataType: dataType, StringValue: v}
		if a.binary() {
			a.StringValue, a.BinaryValue = "", b
		}
		if checkAttributes([]Attribute{a}) != nil {
			return
		}
		if _, bad := invalidCharacter(trace + dataType); bad {
			return // no protocol lets these in
		}
		raw, err := encodeAttributes([]Attribute{a}, trace)
		if err != nil {
			t.Fatal(err)
		}
		got, back, err := decodeAttributes(raw)
		if err != nil || back != trace || len(got) != 1 || *attributeDigest(got) != *attributeDigest([]Attribute{a}) {
			t.Fatalf("%+v came back as %+v, trace %q as %q: %v", a, got, trace, back, err)
		}
	})
}
