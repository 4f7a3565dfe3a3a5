package sqs

import (
	"testing"
	"time"

	"github.com/sestina-mail/sestina/internal/awsapi/sqs"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

func TestReceiveMessageRefuses(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	url, fifo := e.create("q"), e.fifo("q.fifo")
	const ipv = "InvalidParameterValueException"
	for _, c := range []struct {
		rule       string
		url        *string
		change     func(*sqs.ReceiveMessageInput)
		code, text string
	}{
		{"NoMessages", url, upTo(0), ipv, "Value 0 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided."},
		{"TooManyMessages", url, upTo(11), ipv, "Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided."},
		{"WaitTooLong", url, waiting(21), ipv, "Value 21 for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided."},
		{"WaitNegative", url, waiting(-1), ipv, "Value -1 for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided."},
		{"HiddenTooLong", url, hiddenFor(43201), ipv, "Value 43201 for parameter VisibilityTimeout is invalid. Reason: Must be >= 0 and <= 43200, if provided."},
		{"UnknownAttribute", url, func(in *sqs.ReceiveMessageInput) { in.AttributeNames = []string{"QueueArn"} }, "InvalidAttributeName", "Unknown Attribute QueueArn."},
		{"AttemptOfStandard", url, attempt("a"), ipv, "Value a for parameter ReceiveRequestAttemptId is invalid. Reason: The request include parameter that is not valid for this queue type."},
		{"AttemptWithSpace", fifo, attempt("a b"), ipv, "Value a b for parameter ReceiveRequestAttemptId is invalid. Reason: ReceiveRequestAttemptId can only include alphanumeric and punctuation characters. 1 to 128 in length."},
	} {
		t.Run(c.rule, func(t *testing.T) {
			t.Parallel()
			in := &sqs.ReceiveMessageInput{QueueUrl: c.url}
			c.change(in)
			_, err := e.ReceiveMessage(e.ctx, in)
			refused(t, err, c.code, c.text)
		})
	}
}

func TestVisibility(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	url := e.create("q", "VisibilityTimeout", "10")
	e.send(url, "m")
	first := e.receive(url)
	sameBodies(t, first, "m")
	sameBodies(t, e.receive(url))
	e.clock.Advance(9 * time.Second)
	sameBodies(t, e.receive(url))
	refused(t, e.hide(url, first[0], 5), "", "")
	e.clock.Advance(4 * time.Second)
	sameBodies(t, e.receive(url))
	e.clock.Advance(time.Second)

	second := e.receive(url)
	sameBodies(t, second, "m")
	if *second[0].ReceiptHandle == *first[0].ReceiptHandle || second[0].Attributes["ApproximateReceiveCount"] != "2" {
		t.Errorf("second receive: %+v", second[0])
	}
	refused(t, e.hide(url, second[0], 0), "", "")
	third := e.receive(url, hiddenFor(100))
	sameBodies(t, third, "m")
	e.clock.Advance(99 * time.Second)
	sameBodies(t, e.receive(url))

	refused(t, e.delete(url, third[0]), "", "")
	refused(t, e.delete(url, third[0]), "", "")
	e.clock.Advance(time.Minute)
	sameBodies(t, e.receive(url))
}

// A standard queue deletes by any handle of the message.
func TestDeleteByOldHandle(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	url := e.create("q")
	e.send(url, "m")
	old := e.receive(url, hiddenFor(0))
	e.receive(url)
	refused(t, e.delete(url, old[0]), "", "")
	if got := e.depth(url); got != [3]string{"0", "0", "0"} {
		t.Errorf("depth %v", got)
	}
}

func TestReceiptHandleRefused(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	url, other := e.create("q"), e.create("other")
	e.send(url, "m")
	m := e.receive(url)[0]
	const ipv = "InvalidParameterValueException"
	expired := "Value " + *m.ReceiptHandle + " for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired."
	for _, c := range []struct {
		rule       string
		url        *string
		handle     *string
		code, text string
	}{
		{"Missing", url, nil, "MissingRequiredParameterException", "The request must contain the parameter ReceiptHandle."},
		{"Malformed", url, new("garbage"), "ReceiptHandleIsInvalid", `The input receipt handle "garbage" is not a valid receipt handle.`},
		{"Cut", url, new((*m.ReceiptHandle)[:20]), "ReceiptHandleIsInvalid", `The input receipt handle "` + (*m.ReceiptHandle)[:20] + `" is not a valid receipt handle.`},
		{"OtherQueue", other, m.ReceiptHandle, ipv, expired},
	} {
		t.Run(c.rule, func(t *testing.T) {
			t.Parallel()
			_, err := e.DeleteMessage(e.ctx, &sqs.DeleteMessageInput{QueueUrl: c.url, ReceiptHandle: c.handle})
			refused(t, err, c.code, c.text)
			_, err = e.ChangeMessageVisibility(e.ctx, &sqs.ChangeMessageVisibilityInput{QueueUrl: c.url, ReceiptHandle: c.handle, VisibilityTimeout: new(int32(1))})
			refused(t, err, c.code, c.text)
		})
	}
}

func TestChangeMessageVisibilityRefuses(t *testing.T) {
	t.Parallel()
	const ipv = "InvalidParameterValueException"
	e := newEnv(t)
	url := e.create("q")
	e.send(url, "m")
	m := e.receive(url, hiddenFor(43200))[0]
	refused(t, e.hide(url, m, 43201), ipv, "Value 43201 for parameter VisibilityTimeout is invalid. Reason: VisibilityTimeout must be an integer between 0 and 43200.")
	refused(t, e.hide(url, m, -1), ipv, "Value -1 for parameter VisibilityTimeout is invalid. Reason: VisibilityTimeout must be an integer between 0 and 43200.")
	refused(t, e.hide(url, m, 43200), "", "")
	e.clock.Advance(time.Hour)
	refused(t, e.hide(url, m, 39601), ipv, "Value 39601 for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout for the message is beyond the limit [43200 seconds]")
	refused(t, e.hide(url, m, 39000), "", "")
	refused(t, e.hide(url, m, 0), "", "")
	refused(t, e.hide(url, m, 10), "MessageNotInflight", "The specified message isn't in flight.")
	refused(t, e.delete(url, m), "", "")
	refused(t, e.hide(url, m, 10), ipv, "Value "+*m.ReceiptHandle+" for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available for visibility timeout change.")
}

func TestBatchesOfHandles(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	url := e.create("q")
	e.send(url, "1", "2")
	got := e.receive(url)
	hidden := must[*sqs.ChangeMessageVisibilityBatchOutput](t)(e.ChangeMessageVisibilityBatch(e.ctx, &sqs.ChangeMessageVisibilityBatchInput{
		QueueUrl: url, Entries: []sqs.ChangeMessageVisibilityBatchRequestEntry{
			{Id: new("bad"), ReceiptHandle: new("x"), VisibilityTimeout: new(int32(0))},
			{Id: new("none"), ReceiptHandle: got[0].ReceiptHandle},
			{Id: new("good"), ReceiptHandle: got[0].ReceiptHandle, VisibilityTimeout: new(int32(0))},
		}}))
	if len(hidden.Successful) != 1 || *hidden.Successful[0].Id != "good" || len(hidden.Failed) != 2 ||
		*hidden.Failed[0].Code != "ReceiptHandleIsInvalid" || *hidden.Failed[1].Code != "MissingParameter" {
		t.Errorf("visibility: %+v", hidden)
	}
	sameBodies(t, e.receive(url), *got[0].Body)

	deleted := must[*sqs.DeleteMessageBatchOutput](t)(e.DeleteMessageBatch(e.ctx, &sqs.DeleteMessageBatchInput{
		QueueUrl: url, Entries: []sqs.DeleteMessageBatchRequestEntry{
			{Id: new("a"), ReceiptHandle: got[0].ReceiptHandle}, {Id: new("none")}, {Id: new("b"), ReceiptHandle: got[1].ReceiptHandle},
		}}))
	if len(deleted.Successful) != 2 || len(deleted.Failed) != 1 || *deleted.Failed[0].Id != "none" ||
		*deleted.Failed[0].Message != "The request must contain the parameter ReceiptHandle." {
		t.Errorf("delete: %+v", deleted)
	}
	if got := e.depth(url); got != [3]string{"0", "0", "0"} {
		t.Errorf("depth %v", got)
	}
	_, err := e.DeleteMessageBatch(e.ctx, &sqs.DeleteMessageBatchInput{QueueUrl: url})
	refused(t, err, "EmptyBatchRequest", "There should be at least one DeleteMessageBatchRequestEntry in the request.")
	_, err = e.ChangeMessageVisibilityBatch(e.ctx, &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: url})
	refused(t, err, "EmptyBatchRequest", "There should be at least one ChangeMessageVisibilityBatchRequestEntry in the request.")
}

func TestFIFOOrder(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	url := e.fifo("q.fifo")
	e.sendGroup(url, "a", "a1", "a2", "a3")
	e.sendGroup(url, "b", "b1")

	// Several of one group in one receive, in order; then the group waits.
	first := e.receive(url, upTo(2))
	sameBodies(t, first, "a1", "a2")
	sameBodies(t, e.receive(url), "b1")
	refused(t, e.delete(url, first[0]), "", "")
	sameBodies(t, e.receive(url))
	refused(t, e.delete(url, first[1]), "", "")
	sameBodies(t, e.receive(url), "a3")

	// What comes back comes before what was sent later.
	e.sendGroup(url, "a", "a4")
	e.clock.Advance(30 * time.Second)
	sameBodies(t, e.receive(url), "a3", "b1", "a4")
}

func TestFIFOSequenceAndDeduplication(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	url := e.fifo("q.fifo", "ContentBasedDeduplication", "true")
	send := func(body, group, dedup string) *sqs.SendMessageOutput {
		t.Helper()
		in := &sqs.SendMessageInput{QueueUrl: url, MessageBody: &body, MessageGroupId: &group}
		if dedup != "" {
			in.MessageDeduplicationId = &dedup
		}
		return must[*sqs.SendMessageOutput](t)(e.SendMessage(e.ctx, in))
	}
	one, two := send("one", "g", ""), send("two", "g", "")
	if len(*one.SequenceNumber) != 20 || *one.SequenceNumber >= *two.SequenceNumber {
		t.Errorf("sequence numbers %s, %s", *one.SequenceNumber, *two.SequenceNumber)
	}
	// The same body, in another group too, and the same id with another body.
	for _, again := range []*sqs.SendMessageOutput{send("one", "g", ""), send("one", "h", "")} {
		if *again.MessageId != *one.MessageId || *again.SequenceNumber != *one.SequenceNumber {
			t.Errorf("a duplicate got %s, %s", *again.MessageId, *again.SequenceNumber)
		}
	}
	x, y := send("x", "g", "id"), send("y", "g", "id")
	if *x.MessageId != *y.MessageId || *y.MD5OfMessageBody != *bodyDigest("y") {
		t.Errorf("the same id gave %s, %s", *x.MessageId, *y.MessageId)
	}
	got := e.receive(url)
	sameBodies(t, got, "one", "two", "x")
	a := got[0].Attributes
	if a["SequenceNumber"] != *one.SequenceNumber || a["MessageGroupId"] != "g" || a["MessageDeduplicationId"] != "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed" {
		t.Errorf("attributes %v", a)
	}
	// Deleted messages are remembered too, for five minutes.
	for _, m := range got {
		refused(t, e.delete(url, m), "", "")
	}
	e.clock.Advance(4 * time.Minute)
	send("one", "g", "")
	sameBodies(t, e.receive(url))
	e.clock.Advance(time.Minute)
	if again := send("one", "g", ""); *again.MessageId == *one.MessageId {
		t.Error("deduplicated after five minutes")
	}
	sameBodies(t, e.receive(url), "one")
}

func TestFIFODeduplicationPerGroup(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	url := e.fifo("q.fifo", "ContentBasedDeduplication", "true", "DeduplicationScope", "messageGroup")
	for _, group := range []string{"g", "h", "g"} {
		_ = must[*sqs.SendMessageOutput](t)(e.SendMessage(e.ctx, &sqs.SendMessageInput{QueueUrl: url, MessageBody: new("same"), MessageGroupId: &group}))
	}
	sameBodies(t, e.receive(url), "same", "same")
}

func TestFIFODeleteNeedsNewestHandle(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	url := e.fifo("q.fifo")
	e.sendGroup(url, "g", "m")
	const ipv = "InvalidParameterValueException"
	expired := func(m sqs.Message) string {
		return "Value " + *m.ReceiptHandle + " for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired."
	}
	first := e.receive(url, hiddenFor(5))[0]
	e.clock.Advance(5 * time.Second)
	refused(t, e.delete(url, first), ipv, expired(first)) // visible again
	second := e.receive(url, hiddenFor(5))[0]
	refused(t, e.delete(url, first), ipv, expired(first)) // received since
	refused(t, e.delete(url, second), "", "")
	refused(t, e.delete(url, second), "", "") // gone already
}

func TestReceiveRequestAttempt(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	url := e.fifo("q.fifo")
	e.sendGroup(url, "g", "1", "2")
	first := e.receive(url, attempt("try"), hiddenFor(10))
	sameBodies(t, first, "1", "2")
	sameBodies(t, e.receive(url, attempt("other")))
	e.clock.Advance(9 * time.Second)
	again := e.receive(url, attempt("try"), hiddenFor(10))
	sameBodies(t, again, "1", "2")
	if *again[0].ReceiptHandle != *first[0].ReceiptHandle || again[0].Attributes["ApproximateReceiveCount"] != "1" {
		t.Errorf("repeated: %+v", again[0])
	}
	// The repetition hid them anew.
	e.clock.Advance(9 * time.Second)
	sameBodies(t, e.receive(url))
	refused(t, e.delete(url, again[0]), "", "")
	// One was deleted: the attempt is over, and the rest is in flight.
	sameBodies(t, e.receive(url, attempt("try")))
	e.clock.Advance(time.Minute)
	third := e.receive(url, attempt("try"))
	sameBodies(t, third, "2")
	if third[0].Attributes["ApproximateReceiveCount"] != "2" {
		t.Errorf("received anew: %v", third[0].Attributes)
	}
}

func TestAttemptsAreForgotten(t *testing.T) {
	t.Parallel()
	var a attempts
	now := time.Unix(1_700_000_000, 0)
	got := receipt{messages: make([]store.QueueMessage, 1), at: now}
	queue := sestina.ID{1}
	a.remember(queue, "old", got, now)
	if _, ok := a.recall(queue, "old", now.Add(attemptWindow-1)); !ok {
		t.Error("forgotten too early")
	}
	if _, ok := a.recall(queue, "old", now.Add(attemptWindow)); ok {
		t.Error("remembered for too long")
	}
	got.at = now.Add(attemptWindow)
	a.remember(queue, "new", got, got.at)
	if len(a.byKey) != 1 || len(a.order) != 1 {
		t.Errorf("%d attempts are kept", len(a.byKey))
	}
	for i := range maxAttempts + 5 {
		a.remember(queue, string(rune('ༀ'+i)), got, got.at)
	}
	if len(a.byKey) != maxAttempts || len(a.order) != maxAttempts {
		t.Errorf("%d attempts are kept", len(a.byKey))
	}
}

func TestOverLimit(t *testing.T) {
	t.Parallel()
	e := newEnv(t, func(o *Options) { o.MaxInFlight = 3 })
	url, fifo := e.create("q"), e.fifo("q.fifo")
	e.send(url, "1", "2", "3", "4", "5")
	sameBodies(t, e.receive(url, upTo(2)), "1", "2")
	last := e.receive(url)
	sameBodies(t, last, "3")
	_, err := e.ReceiveMessage(e.ctx, &sqs.ReceiveMessageInput{QueueUrl: url})
	refused(t, err, "OverLimit", "The maximum number of in flight messages is reached.")
	refused(t, e.delete(url, last[0]), "", "")
	sameBodies(t, e.receive(url), "4")

	e.sendGroup(fifo, "g", "1", "2", "3", "4")
	sameBodies(t, e.receive(fifo), "1", "2", "3")
	e.sendGroup(fifo, "h", "5")
	sameBodies(t, e.receive(fifo))
}

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	dlq := e.create("dlq", "MessageRetentionPeriod", "3600")
	url := e.create("q", "VisibilityTimeout", "0", "MessageRetentionPeriod", "600", "RedrivePolicy", `{"deadLetterTargetArn":"`+e.arn("dlq")+`","maxReceiveCount":"2"}`)
	ids := e.send(url, "poison")
	sent := e.receive(url)[0].Attributes["SentTimestamp"]
	e.clock.Advance(time.Minute)
	sameBodies(t, e.receive(url), "poison")
	sameBodies(t, e.receive(dlq))
	e.send(url, "good")
	sameBodies(t, e.receive(url), "good")

	got := e.receive(dlq, hiddenFor(0))
	sameBodies(t, got, "poison")
	a := got[0].Attributes
	if *got[0].MessageId != ids[0] || a["SentTimestamp"] != sent || a["DeadLetterQueueSourceArn"] != e.arn("q") {
		t.Errorf("dead letter %s: %v", *got[0].MessageId, a)
	}
	// Its retention is the dead-letter queue's, counted from the first sending.
	e.clock.Advance(58 * time.Minute)
	sameBodies(t, e.receive(dlq, hiddenFor(0)), "poison")
	e.clock.Advance(time.Minute)
	sameBodies(t, e.receive(dlq))
}

func TestDeadLettersOfFIFO(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	dlq := e.fifo("dlq.fifo")
	url := e.fifo("q.fifo", "VisibilityTimeout", "0", "RedrivePolicy", `{"deadLetterTargetArn":"`+e.arn("dlq.fifo")+`","maxReceiveCount":1}`)
	e.sendGroup(url, "g", "1", "2")
	sent := e.receive(url, upTo(1))[0].Attributes
	e.clock.Advance(time.Minute)
	sameBodies(t, e.receive(url), "2")
	got := e.receive(dlq)
	sameBodies(t, got, "1")
	a := got[0].Attributes
	if a["SentTimestamp"] == sent["SentTimestamp"] || a["MessageGroupId"] != "g" || a["DeadLetterQueueSourceArn"] != e.arn("q.fifo") {
		t.Errorf("dead letter: %v, sent as %v", a, sent)
	}
}

// Without a dead-letter queue that takes them, messages stay where they are.
func TestDeadLetterQueueGone(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	dlq := e.create("dlq")
	url := e.create("q", "VisibilityTimeout", "0", "RedrivePolicy", `{"deadLetterTargetArn":"`+e.arn("dlq")+`","maxReceiveCount":1}`)
	e.send(url, "m")
	sameBodies(t, e.receive(url), "m")
	_ = must[*sqs.SetQueueAttributesOutput](t)(e.SetQueueAttributes(e.ctx, &sqs.SetQueueAttributesInput{QueueUrl: dlq, Attributes: attrs("RedriveAllowPolicy", `{"redrivePermission":"byQueue","sourceQueueArns":["`+e.arn("other")+`"]}`)}))
	sameBodies(t, e.receive(url), "m")
	_ = must[*sqs.DeleteQueueOutput](t)(e.DeleteQueue(e.ctx, &sqs.DeleteQueueInput{QueueUrl: dlq}))
	sameBodies(t, e.receive(url), "m")
	e.create("dlq")
	sameBodies(t, e.receive(url))
}

func FuzzParseHandle(f *testing.F) {
	h := handle{queue: sestina.ID{1}, receipt: store.Receipt{ID: sestina.ID{2}, Receipt: 3}, received: time.UnixMilli(4).UTC()}
	f.Add(h.String())
	f.Add(h.String()[1:])
	f.Add("")
	f.Add("AQEB")
	f.Add("garbage")
	f.Fuzz(func(t *testing.T, s string) {
		h, ok := parseHandle(s)
		if ok && h.String() != s {
			t.Fatalf("%q is read as %+v, which is written %q", s, h, h.String())
		}
		// Any damage is noticed.
		if ok {
			broken := []byte(s)
			broken[len(broken)/2] ^= 1
			if other, ok := parseHandle(string(broken)); ok {
				t.Fatalf("damaged %q is read as %+v", broken, other)
			}
		}
	})
}
