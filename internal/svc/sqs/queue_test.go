package sqs

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sestina-mail/sestina/internal/awsapi/sqs"
	"github.com/sestina-mail/sestina/internal/sestina"
)

func TestParseQueueURL(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		url, account, name string
		ok                 bool
	}{
		{"http://127.0.0.1:4579/000000000000/q", "000000000000", "q", true},
		{"https://sqs.us-east-1.amazonaws.com/123456789012/q.fifo", "123456789012", "q.fifo", true},
		{"https://example.com/base/path/123456789012/q", "123456789012", "q", true},
		{"/123456789012/q", "123456789012", "q", true},
		{"123456789012/q", "123456789012", "q", true},
		{"http://host/123456789012/q/?Action=x", "123456789012", "q", true},
		{"http://host/q", "", "", false},
		{"http://host", "", "", false},
		{"host//q", "", "", false},
		{"q", "", "", false},
		{"", "", "", false},
	} {
		account, name, ok := parseQueueURL(c.url)
		if ok != c.ok || ok && (account != c.account || name != c.name) {
			t.Errorf("%q: %q, %q, %v", c.url, account, name, ok)
		}
	}
}

func FuzzParseQueueURL(f *testing.F) {
	for _, s := range []string{"http://127.0.0.1:4579/000000000000/q", "a/b", "://x/y/z", "http://h/a/b?c#d", "", "////"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, url string) {
		account, name, ok := parseQueueURL(url)
		if !ok {
			return
		}
		if account == "" || name == "" || strings.ContainsAny(account+name, "/?#") {
			t.Fatalf("%q: account %q, name %q", url, account, name)
		}
		// Whatever host it is reached by, it is the same queue.
		a, n, ok := parseQueueURL("https://example.com/" + account + "/" + name)
		if !ok || a != account || n != name {
			t.Fatalf("%q and its canonical form differ: %q %q", url, a, n)
		}
	})
}

func TestCreateQueue(t *testing.T) {
	t.Parallel()
	const (
		fifoName = "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with .fifo suffix and be 1 to 80 in length."
		name     = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
		ipv      = "InvalidParameterValueException"
		iav      = "InvalidAttributeValue"
		ian      = "InvalidAttributeName"
		allow    = "Amazon SQS can't create the redrive allow policy"
		sse      = "You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE or SQS SSE."
	)
	e := newEnv(t)
	e.create("dlq")
	e.fifo("dlq.fifo")
	e.create("denying", "RedriveAllowPolicy", `{"redrivePermission":"denyAll"}`)
	dlq := func(arn string, rest string) string { return `{"deadLetterTargetArn":"` + arn + `"` + rest + `}` }
	value := func(v, parameter, reason string) string {
		return "Value " + v + " for parameter " + parameter + " is invalid. Reason: " + reason
	}
	eleven := `{"redrivePermission":"byQueue","sourceQueueArns":["1","2","3","4","5","6","7","8","9","10","11"]}`
	for _, c := range []struct {
		rule, name, attribute, value string
		code, text                   string
	}{
		{"Plain", "q-1_A", "", "", "", ""},
		{"LongestName", strings.Repeat("x", 80), "", "", "", ""},
		{"NoName", "", "", "", ipv, "Value for parameter QueueName is invalid. Reason: Must specify a queue name."},
		{"LongName", strings.Repeat("x", 81), "", "", ipv, name},
		{"SpaceInName", "a b", "", "", ipv, name},
		{"SuffixOfFIFO", "q.fifo", "", "", ipv, name},
		{"FIFOWithoutSuffix", "q", "FifoQueue", "true", ipv, fifoName},
		{"FIFONameIsSuffix", ".fifo", "FifoQueue", "true", ipv, fifoName},
		{"FIFONameTooLong", strings.Repeat("x", 76) + ".fifo", "FifoQueue", "true", ipv, fifoName},
		{"FIFOFalse", "q2", "FifoQueue", "false", ian, "Unknown Attribute FifoQueue."},
		{"UnknownAttribute", "q2", "Colour", "red", ian, "Unknown Attribute Colour."},
		{"ReadOnlyAttribute", "q2", "QueueArn", "x", ian, "Unknown Attribute QueueArn."},
		{"ContentBasedOfStandard", "q2", "ContentBasedDeduplication", "true", ian, "Unknown Attribute ContentBasedDeduplication."},
		{"ScopeOfStandard", "q2", "DeduplicationScope", "queue", ian, "You can specify the DeduplicationScope only when FifoQueue is set to true."},
		{"ThroughputOfStandard", "q2", "FifoThroughputLimit", "perQueue", ian, "You can specify the FifoThroughputLimit only when FifoQueue is set to true."},
		{"Delay", "q3", "DelaySeconds", "900", "", ""},
		{"DelayTooLong", "q2", "DelaySeconds", "901", iav, "Invalid value for the parameter DelaySeconds."},
		{"DelayNegative", "q2", "DelaySeconds", "-1", iav, "Invalid value for the parameter DelaySeconds."},
		{"DelayWithSpace", "q2", "DelaySeconds", " 2", iav, "Invalid value for the parameter DelaySeconds."},
		{"DelayEmpty", "q2", "DelaySeconds", "", iav, "Invalid value for the parameter DelaySeconds."},
		{"SizeTooSmall", "q2", "MaximumMessageSize", "1023", iav, "Invalid value for the parameter MaximumMessageSize."},
		{"SizeTooLarge", "q2", "MaximumMessageSize", "1048577", iav, "Invalid value for the parameter MaximumMessageSize."},
		{"RetentionTooShort", "q2", "MessageRetentionPeriod", "59", iav, "Invalid value for the parameter MessageRetentionPeriod."},
		{"RetentionTooLong", "q2", "MessageRetentionPeriod", "1209601", iav, "Invalid value for the parameter MessageRetentionPeriod."},
		{"WaitTooLong", "q2", "ReceiveMessageWaitTimeSeconds", "21", iav, "Invalid value for the parameter ReceiveMessageWaitTimeSeconds."},
		{"VisibilityTooLong", "q2", "VisibilityTimeout", "43201", iav, "Invalid value for the parameter VisibilityTimeout."},
		{"NotABoolean", "q2", "SqsManagedSseEnabled", "yes", iav, "Invalid value for the parameter SqsManagedSseEnabled."},
		{"KeyReuseTooShort", "q2", "KmsDataKeyReusePeriodSeconds", "59", iav, "Invalid value for the parameter KmsDataKeyReusePeriodSeconds."},
		{"PolicyIsNull", "q2", "Policy", "null", iav, "Invalid value for the parameter Policy."},
		{"PolicyIsNotJSON", "q2", "Policy", "{", iav, "Invalid value for the parameter Policy."},

		{"RedriveIsNotJSON", "q2", "RedrivePolicy", " ", ipv, "Invalid value for the parameter RedrivePolicy. Reason: Redrive policy is not a valid JSON map."},
		{"RedriveIsAList", "q2", "RedrivePolicy", "[]", ipv, "Invalid value for the parameter RedrivePolicy. Reason: Redrive policy is not a valid JSON map."},
		{"RedriveIsNull", "q2", "RedrivePolicy", "null", ipv, "Invalid value for the parameter RedrivePolicy. Reason: Redrive policy is not a valid JSON map."},
		{"RedriveWithoutCount", "q2", "RedrivePolicy", dlq("x", ""), ipv, value(dlq("x", ""), "RedrivePolicy", "Redrive policy does not contain mandatory attribute: maxReceiveCount.")},
		{"RedriveWithoutTarget", "q2", "RedrivePolicy", `{"maxReceiveCount":5}`, ipv, value(`{"maxReceiveCount":5}`, "RedrivePolicy", "Redrive policy does not contain mandatory attribute: deadLetterTargetArn.")},
		{"RedriveUnknownMember", "q2", "RedrivePolicy", `{"maxReceiveCount":5,"x":1}`, ipv, value(`{"maxReceiveCount":5,"x":1}`, "RedrivePolicy", "Only following attributes are supported: [maxReceiveCount, deadLetterTargetArn].")},
		{"RedriveCountZero", "q2", "RedrivePolicy", dlq(e.arn("dlq"), `,"maxReceiveCount":0`), ipv, value(dlq(e.arn("dlq"), `,"maxReceiveCount":0`), "RedrivePolicy", "Invalid value for maxReceiveCount: 0, valid values are from 1 to 1000 both inclusive.")},
		{"RedriveCountTooHigh", "q2", "RedrivePolicy", dlq(e.arn("dlq"), `,"maxReceiveCount":1001`), ipv, value(dlq(e.arn("dlq"), `,"maxReceiveCount":1001`), "RedrivePolicy", "Invalid value for maxReceiveCount: 1001, valid values are from 1 to 1000 both inclusive.")},
		{"RedriveTargetIsNoARN", "q2", "RedrivePolicy", dlq("dummy", `,"maxReceiveCount":42`), ipv, value(dlq("dummy", `,"maxReceiveCount":42`), "RedrivePolicy", "Invalid value for deadLetterTargetArn.")},
		{"RedriveTargetIsATopic", "q2", "RedrivePolicy", dlq("arn:aws:sns:us-east-1:000000000000:t", `,"maxReceiveCount":5`), ipv, value(dlq("arn:aws:sns:us-east-1:000000000000:t", `,"maxReceiveCount":5`), "RedrivePolicy", "Only SQS queues are valid resources for deadLetterTargetArn.")},
		{"RedriveTargetOfOtherType", "q2", "RedrivePolicy", dlq(e.arn("dlq.fifo"), `,"maxReceiveCount":5`), ipv, value(dlq(e.arn("dlq.fifo"), `,"maxReceiveCount":5`), "RedrivePolicy", "Dead-letter queue must be same type of queue as the source..")},
		{"RedriveTargetMissing", "q2", "RedrivePolicy", dlq(e.arn("nothing"), `,"maxReceiveCount":5`), ipv, value(dlq(e.arn("nothing"), `,"maxReceiveCount":5`), "RedrivePolicy", "Dead letter target does not exist.")},
		{"RedriveTargetDenies", "q2", "RedrivePolicy", dlq(e.arn("denying"), `,"maxReceiveCount":5`), ipv, value(dlq(e.arn("denying"), `,"maxReceiveCount":5`), "RedrivePolicy", "Queue "+e.arn("q2")+" doesn't have permission to use "+e.arn("denying")+" as a dead-letter queue.")},
		{"Redrive", "q4", "RedrivePolicy", dlq(e.arn("dlq"), `,"maxReceiveCount":1000`), "", ""},
		{"RedriveCountAsText", "q5", "RedrivePolicy", dlq(e.arn("dlq"), `,"maxReceiveCount":"3"`), "", ""},

		{"AllowIsNotJSON", "q2", "RedriveAllowPolicy", "badjson", iav, "Invalid value for the parameter RedriveAllowPolicy. Reason: " + allow + ", as it’s in an unsupported format."},
		{"AllowWithoutPermission", "q2", "RedriveAllowPolicy", "{}", iav, "Invalid value for the parameter RedriveAllowPolicy. Reason: " + allow + ", as it’s in an unsupported format."},
		{"AllowByQueueWithoutQueues", "q2", "RedriveAllowPolicy", `{"redrivePermission":"byQueue","sourceQueueArns":[]}`, ipv, value(`{"redrivePermission":"byQueue","sourceQueueArns":[]}`, "RedriveAllowPolicy", allow+". When you specify the byQueue permission type, you must also specify one or more sourceQueueArns values.")},
		{"AllowAllWithQueues", "q2", "RedriveAllowPolicy", `{"redrivePermission":"allowAll","sourceQueueArns":["x"]}`, ipv, value(`{"redrivePermission":"allowAll","sourceQueueArns":["x"]}`, "RedriveAllowPolicy", allow+". To specify one or more source queue ARNs, you must set redrivePermission to byQueue.")},
		{"AllowTooManyQueues", "q2", "RedriveAllowPolicy", eleven, ipv, value(eleven, "RedriveAllowPolicy", allow+". The maximum number of source queue ARNs you can specify is 10.")},
	} {
		t.Run(c.rule, func(t *testing.T) {
			t.Parallel()
			in := &sqs.CreateQueueInput{QueueName: &c.name}
			if c.attribute != "" {
				in.Attributes = attrs(c.attribute, c.value)
			}
			out, err := e.CreateQueue(e.ctx, in)
			refused(t, err, c.code, c.text)
			if err == nil && *out.QueueUrl != "http://127.0.0.1:4579/000000000000/"+c.name {
				t.Errorf("queue URL %s", *out.QueueUrl)
			}
			if _, found := e.Queue(e.arn(c.name)); found != (err == nil) {
				t.Errorf("queue exists: %v", found)
			}
		})
	}
	t.Run("TwoKindsOfEncryption", func(t *testing.T) {
		t.Parallel()
		_, err := e.CreateQueue(e.ctx, &sqs.CreateQueueInput{QueueName: new("q6"), Attributes: attrs("KmsMasterKeyId", "alias/k", "SqsManagedSseEnabled", "true")})
		refused(t, err, ian, sse)
	})
	t.Run("FIFOAttributes", func(t *testing.T) {
		t.Parallel()
		create := func(pairs ...string) error {
			_, err := e.CreateQueue(e.ctx, &sqs.CreateQueueInput{QueueName: new("f.fifo"), Attributes: attrs(append(pairs, "FifoQueue", "true")...)})
			return err
		}
		refused(t, create("DeduplicationScope", "group"), iav, "Invalid value for the parameter DeduplicationScope.")
		refused(t, create("FifoThroughputLimit", "perMessageGroupId"), iav,
			"Invalid value for the parameter FifoThroughputLimit. Reason: The perMessageGroupId value is allowed only when the value for DeduplicationScope is messageGroup.")
		refused(t, create("FifoThroughputLimit", "perMessageGroupId", "DeduplicationScope", "messageGroup", "ContentBasedDeduplication", "true"), "", "")
	})
}

func TestCreateQueueAgain(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	policy := `{"deadLetterTargetArn":"` + e.arn("dlq") + `","maxReceiveCount":3}`
	e.create("dlq")
	e.create("q", "DelaySeconds", "5", "RedrivePolicy", policy)
	id := e.id("q")
	for _, c := range []struct{ rule, attribute, value, differs string }{
		{"Nothing", "", "", ""},
		{"SameValue", "DelaySeconds", "5", ""},
		{"Default", "VisibilityTimeout", "30", ""},
		{"SameJSON", "RedrivePolicy", strings.ReplaceAll(policy, ",", " , "), ""},
		{"OtherValue", "DelaySeconds", "6", "DelaySeconds"},
		{"OtherThanDefault", "VisibilityTimeout", "31", "VisibilityTimeout"},
		{"OtherJSON", "RedrivePolicy", strings.ReplaceAll(policy, "3", "4"), "RedrivePolicy"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			t.Parallel()
			in := &sqs.CreateQueueInput{QueueName: new("q"), Tags: attrs("new", "tag")}
			if c.attribute != "" {
				in.Attributes = attrs(c.attribute, c.value)
			}
			_, err := e.CreateQueue(e.ctx, in)
			if c.differs == "" {
				refused(t, err, "", "")
			} else {
				refused(t, err, "QueueNameExists", "A queue already exists with the same name and a different value for attribute "+c.differs)
			}
			if e.id("q") != id {
				t.Error("it is another queue now")
			}
		})
	}
}

func TestGetQueueAttributes(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	now := fmt.Sprint(e.clock.Now().Unix())
	standard, fifo := e.create("q"), e.fifo("q.fifo")
	all := e.attributes(standard, "All")
	for _, name := range []string{"CreatedTimestamp", "LastModifiedTimestamp"} {
		if all[name] < now {
			t.Errorf("%s is %s, the queue was made at %s", name, all[name], now)
		}
		delete(all, name)
	}
	want := attrs("QueueArn", "arn:aws:sqs:us-east-1:000000000000:q", "ApproximateNumberOfMessages", "0",
		"ApproximateNumberOfMessagesNotVisible", "0", "ApproximateNumberOfMessagesDelayed", "0", "DelaySeconds", "0",
		"MaximumMessageSize", "1048576", "MessageRetentionPeriod", "345600", "ReceiveMessageWaitTimeSeconds", "0",
		"VisibilityTimeout", "30", "SqsManagedSseEnabled", "true")
	if !maps.Equal(all, want) {
		t.Errorf("standard queue: %v", all)
	}
	all = e.attributes(fifo, "All")
	for name, v := range attrs("FifoQueue", "true", "ContentBasedDeduplication", "false", "DeduplicationScope", "queue", "FifoThroughputLimit", "perQueue") {
		if all[name] != v {
			t.Errorf("FIFO queue: %s is %q, want %q", name, all[name], v)
		}
	}
	if got := e.attributes(standard, "DelaySeconds", "Policy", "FifoQueue"); !maps.Equal(got, attrs("DelaySeconds", "0")) {
		t.Errorf("named attributes: %v", got)
	}
	if got := e.attributes(standard); got != nil {
		t.Errorf("nothing asked for: %v", got)
	}
	_, err := e.GetQueueAttributes(e.ctx, &sqs.GetQueueAttributesInput{QueueUrl: standard, AttributeNames: []string{"Colour"}})
	refused(t, err, "InvalidAttributeName", "Unknown Attribute Colour.")
}

func TestSetQueueAttributes(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.create("dlq")
	standard, fifo := e.create("q", "KmsMasterKeyId", "alias/k"), e.fifo("q.fifo")
	set := func(url *string, pairs ...string) error {
		_, err := e.SetQueueAttributes(e.ctx, &sqs.SetQueueAttributesInput{QueueUrl: url, Attributes: attrs(pairs...)})
		return err
	}
	if got := e.attributes(standard, "KmsDataKeyReusePeriodSeconds", "SqsManagedSseEnabled"); !maps.Equal(got, attrs("KmsDataKeyReusePeriodSeconds", "300", "SqsManagedSseEnabled", "false")) {
		t.Errorf("with a key: %v", got)
	}
	before := e.attributes(standard, "LastModifiedTimestamp")["LastModifiedTimestamp"]
	e.clock.Advance(2 * time.Second)
	refused(t, set(standard, "VisibilityTimeout", "7", "SqsManagedSseEnabled", "true"), "", "")
	got := e.attributes(standard, "All")
	if got["VisibilityTimeout"] != "7" || got["LastModifiedTimestamp"] <= before || got["KmsMasterKeyId"] != "" {
		t.Errorf("after the change: %v", got)
	}
	refused(t, set(standard, "VisibilityTimeout", "x", "DelaySeconds", "9"), "InvalidAttributeValue", "Invalid value for the parameter VisibilityTimeout.")
	if got := e.attributes(standard, "DelaySeconds")["DelaySeconds"]; got != "0" {
		t.Errorf("a refused change set the delay to %s", got)
	}
	refused(t, set(standard), "MissingRequiredParameterException", "The request must contain the parameter Attributes.")
	refused(t, set(standard, "FifoQueue", "true"), "InvalidAttributeName", "Unknown Attribute FifoQueue.")
	refused(t, set(fifo, "FifoQueue", "false"), "InvalidAttributeValue", "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported.")
	refused(t, set(fifo, "FifoQueue", "true", "ContentBasedDeduplication", "true"), "", "")

	refused(t, set(standard, "RedrivePolicy", `{"deadLetterTargetArn":"`+e.arn("dlq")+`","maxReceiveCount":2}`, "Policy", `{"Statement":[]}`), "", "")
	if got := e.attributes(standard, "RedrivePolicy", "Policy"); len(got) != 2 {
		t.Errorf("policies: %v", got)
	}
	refused(t, set(standard, "RedrivePolicy", "", "Policy", ""), "", "")
	if got := e.attributes(standard, "RedrivePolicy", "Policy"); got != nil {
		t.Errorf("removed policies: %v", got)
	}
}

func TestQueueLookup(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.create("q")
	other := callContext(t.Context(), sestina.Scope{Account: testScope.Account, Region: "eu-west-1"})
	const gone = "The specified queue does not exist."
	for _, c := range []struct{ rule, url, code, text string }{
		{"OtherHost", "https://sqs.us-east-1.amazonaws.com/000000000000/q", "", ""},
		{"Missing", "http://h/000000000000/nothing", "QueueDoesNotExist", gone},
		{"OtherAccount", "http://h/111111111111/q", "QueueDoesNotExist", gone},
		{"NoURL", "q", "InvalidAddress", "The address q is not valid for this endpoint."},
	} {
		t.Run(c.rule, func(t *testing.T) {
			t.Parallel()
			_, err := e.ListQueueTags(e.ctx, &sqs.ListQueueTagsInput{QueueUrl: &c.url})
			refused(t, err, c.code, c.text)
		})
	}
	t.Run("OtherRegion", func(t *testing.T) {
		t.Parallel()
		_, err := e.ListQueueTags(other, &sqs.ListQueueTagsInput{QueueUrl: new("http://h/000000000000/q")})
		refused(t, err, "QueueDoesNotExist", gone)
	})
	t.Run("GetQueueUrl", func(t *testing.T) {
		t.Parallel()
		out := must[*sqs.GetQueueUrlOutput](t)(e.GetQueueUrl(e.ctx, &sqs.GetQueueUrlInput{QueueName: new("q"), QueueOwnerAWSAccountId: new("000000000000")}))
		if *out.QueueUrl != "http://127.0.0.1:4579/000000000000/q" {
			t.Errorf("queue URL %s", *out.QueueUrl)
		}
		_, err := e.GetQueueUrl(e.ctx, &sqs.GetQueueUrlInput{QueueName: new("q"), QueueOwnerAWSAccountId: new("111111111111")})
		refused(t, err, "QueueDoesNotExist", gone)
		_, err = e.GetQueueUrl(e.ctx, &sqs.GetQueueUrlInput{QueueName: new("")})
		refused(t, err, "InvalidParameterValueException", "Value for parameter QueueName is invalid. Reason: Must specify a queue name.")
	})
}

// A queue made by another node is in the store before it is in the cache.
func TestQueueMissingInCache(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.create("q")
	blind := &Service{store: e.store, queues: newEnv(t).queues}
	q, err := blind.byName(t.Context(), testScope, "q")
	if err != nil || q.ID != e.id("q") {
		t.Errorf("queue %v, error %v", q.settings, err)
	}
}

func TestListQueues(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	list := func(in sqs.ListQueuesInput) (names []string, next *string) {
		t.Helper()
		out := must[*sqs.ListQueuesOutput](t)(e.ListQueues(e.ctx, &in))
		for _, u := range out.QueueUrls {
			names = append(names, u[strings.LastIndex(u, "/")+1:])
		}
		return names, out.NextToken
	}
	if names, _ := list(sqs.ListQueuesInput{}); names != nil {
		t.Errorf("no queues: %v", names)
	}
	for _, n := range []string{"b-2", "a-1", "b-3", "b-1", "c"} {
		e.create(n)
	}
	if names, next := list(sqs.ListQueuesInput{QueueNamePrefix: new("b-")}); !slices.Equal(names, []string{"b-1", "b-2", "b-3"}) || next != nil {
		t.Errorf("prefix: %v, token %v", names, next)
	}
	first, next := list(sqs.ListQueuesInput{QueueNamePrefix: new("b-"), MaxResults: new(int32(2))})
	if !slices.Equal(first, []string{"b-1", "b-2"}) || next == nil {
		t.Fatalf("first page: %v, token %v", first, next)
	}
	second, next := list(sqs.ListQueuesInput{QueueNamePrefix: new("b-"), MaxResults: new(int32(2)), NextToken: next})
	if !slices.Equal(second, []string{"b-3"}) || next != nil {
		t.Errorf("second page: %v, token %v", second, next)
	}
	_, err := e.ListQueues(e.ctx, &sqs.ListQueuesInput{MaxResults: new(int32(1001))})
	refused(t, err, "InvalidParameterValueException", "Value 1001 for parameter MaxResults is invalid. Reason: Must be between 1 and 1000, if provided.")
	_, err = e.ListQueues(e.ctx, &sqs.ListQueuesInput{MaxResults: new(int32(1)), NextToken: new("?")})
	refused(t, err, "InvalidParameterValueException", "Invalid or expired next token.")
}

func TestListDeadLetterSourceQueues(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	dlq := e.create("dlq")
	list := func(in sqs.ListDeadLetterSourceQueuesInput) *sqs.ListDeadLetterSourceQueuesOutput {
		t.Helper()
		in.QueueUrl = dlq
		return must[*sqs.ListDeadLetterSourceQueuesOutput](t)(e.ListDeadLetterSourceQueues(e.ctx, &in))
	}
	if out := list(sqs.ListDeadLetterSourceQueuesInput{}); out.QueueUrls == nil || len(out.QueueUrls) != 0 {
		t.Errorf("no sources: %v", out.QueueUrls)
	}
	e.create("other")
	policy := `{"deadLetterTargetArn":"` + e.arn("dlq") + `","maxReceiveCount":1}`
	a, b := e.create("a", "RedrivePolicy", policy), e.create("b", "RedrivePolicy", policy)
	if out := list(sqs.ListDeadLetterSourceQueuesInput{}); !slices.Equal(out.QueueUrls, []string{*a, *b}) {
		t.Errorf("sources: %v", out.QueueUrls)
	}
	out := list(sqs.ListDeadLetterSourceQueuesInput{MaxResults: new(int32(1))})
	if !slices.Equal(out.QueueUrls, []string{*a}) || out.NextToken == nil {
		t.Errorf("first page: %v", out.QueueUrls)
	}
}

func TestDeleteQueue(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	url := e.create("q")
	e.send(url, "old")
	old := e.id("q")
	must[*sqs.DeleteQueueOutput](t)(e.DeleteQueue(e.ctx, &sqs.DeleteQueueInput{QueueUrl: url}))
	_, err := e.DeleteQueue(e.ctx, &sqs.DeleteQueueInput{QueueUrl: url})
	refused(t, err, "QueueDoesNotExist", "The specified queue does not exist.")

	e.create("q")
	if e.id("q") == old {
		t.Error("the new queue has the old one's id")
	}
	sameBodies(t, e.receive(url))
	if left := must[[]string](t)(peek(e, old)); len(left) != 0 {
		t.Errorf("messages of the deleted queue: %q", left)
	}
}

func peek(e *env, id sestina.ID) (out []string, err error) {
	messages, err := e.store.PeekQueue(e.ctx, id, 100)
	for _, m := range messages {
		out = append(out, string(m.Body))
	}
	return out, err
}

func TestPurgeQueue(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	url, other := e.create("q"), e.create("other")
	e.send(url, "1", "2", "3")
	e.send(other, "4")
	e.receive(url, upTo(1))
	purge := func() error {
		_, err := e.PurgeQueue(e.ctx, &sqs.PurgeQueueInput{QueueUrl: url})
		return err
	}
	refused(t, purge(), "", "")
	if got := e.depth(url); got != [3]string{"0", "0", "0"} {
		t.Errorf("after the purge: %v", got)
	}
	e.send(url, "5")
	refused(t, purge(), "PurgeQueueInProgress", "Only one PurgeQueue operation on q is allowed every 60 seconds.")
	sameBodies(t, e.receive(url, hiddenFor(0)), "5")
	e.clock.Advance(time.Minute)
	refused(t, purge(), "", "")
	sameBodies(t, e.receive(url))
	sameBodies(t, e.receive(other), "4")
}

func TestTags(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	url := e.create("q")
	list := func() map[string]string {
		t.Helper()
		return must[*sqs.ListQueueTagsOutput](t)(e.ListQueueTags(e.ctx, &sqs.ListQueueTagsInput{QueueUrl: url})).Tags
	}
	tag := func(tags map[string]string) error {
		_, err := e.TagQueue(e.ctx, &sqs.TagQueueInput{QueueUrl: url, Tags: tags})
		return err
	}
	untag := func(keys ...string) error {
		_, err := e.UntagQueue(e.ctx, &sqs.UntagQueueInput{QueueUrl: url, TagKeys: keys})
		return err
	}
	if got := list(); got == nil || len(got) != 0 {
		t.Errorf("no tags: %v", got)
	}
	refused(t, tag(attrs("a", "1", "b", "", "c", "3")), "", "")
	refused(t, tag(attrs("a", "2")), "", "")
	refused(t, untag("c", "nothing"), "", "")
	if got := list(); !maps.Equal(got, attrs("a", "2", "b", "")) {
		t.Errorf("tags: %v", got)
	}
	const ipv = "InvalidParameterValueException"
	many := map[string]string{}
	for i := range 49 {
		many[fmt.Sprint("key", i)] = ""
	}
	refused(t, tag(many), ipv, "Too many tags added for queue q.")
	refused(t, tag(attrs("", "x")), ipv, "Tag keys must be between 1 and 128 characters in length.")
	refused(t, tag(attrs(strings.Repeat("é", 129), "x")), ipv, "Tag keys must be between 1 and 128 characters in length.")
	refused(t, tag(attrs("AWS:x", "x")), ipv, "Tag keys cannot start with the reserved prefix 'aws:'.")
	refused(t, tag(attrs("x", strings.Repeat("x", 257))), ipv, "Tag values must be between 0 and 256 characters in length.")
	refused(t, tag(nil), "MissingRequiredParameterException", "The request must contain the parameter Tags.")
	refused(t, untag(), "MissingRequiredParameterException", "The request must contain the parameter TagKeys.")
	if got := list(); len(got) != 2 {
		t.Errorf("refused tags were added: %v", got)
	}
}

func TestDepths(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	a := e.create("a")
	e.create("b")
	e.create("c")
	e.send(a, "1", "2", "3")
	e.receive(a, upTo(1))
	_ = must[*sqs.SendMessageOutput](t)(e.SendMessage(e.ctx, &sqs.SendMessageInput{QueueUrl: a, MessageBody: new("4"), DelaySeconds: new(int32(60))}))
	got := must[[]Depth](t)(e.Depths(t.Context(), 10))
	if len(got) != 3 || !slices.Contains(got, Depth{Scope: testScope, Name: "a", Visible: 2, InFlight: 1, Delayed: 1}) {
		t.Errorf("depths: %+v", got)
	}
	if got := must[[]Depth](t)(e.Depths(t.Context(), 2)); len(got) != 2 {
		t.Errorf("two depths: %+v", got)
	}
}
