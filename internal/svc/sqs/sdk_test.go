package sqs_test

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"

	"github.com/sestina-mail/sestina/internal/awswire"
	"github.com/sestina-mail/sestina/internal/clock"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
	"github.com/sestina-mail/sestina/internal/store/sqlite"
	"github.com/sestina-mail/sestina/internal/svc/sqs"
)

// A server is the service behind HTTP, on SQLite.
type server struct {
	*httptest.Server
	svc   *sqs.Service
	store *watchedStore
	clock *clock.Clock
}

// A watchedStore tells when somebody is about to wait for a message.
type watchedStore struct {
	store.Store
	looked chan struct{}
}

func (s *watchedStore) NextVisible(ctx context.Context, queue sestina.ID, now time.Time) (time.Time, error) {
	select {
	case s.looked <- struct{}{}:
	default:
	}
	return s.Store.NextVisible(ctx, queue, now)
}

func newServer(t *testing.T) *server {
	t.Helper()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	srv := &server{clock: clock.New(0)}
	st, err := sqlite.Open(t.Context(), sqlite.Options{Dir: t.TempDir(), Reserve: -1, Clock: srv.clock, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	srv.store = &watchedStore{Store: st, looked: make(chan struct{}, 1)}
	cache := store.NewCache(st)
	srv.svc = sqs.New(sqs.Options{Store: srv.store, Cache: cache, Clock: srv.clock, Logger: log})
	if err := cache.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	mux := awswire.NewMux(awswire.Options{Logger: log})
	sqs.Register(mux, srv.svc)
	srv.Server = httptest.NewServer(mux)
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		srv.svc.Run(ctx)
	}()
	t.Cleanup(func() {
		srv.svc.EndPolls()
		srv.Close()
		cancel()
		<-ran
		_ = st.Close()
	})
	return srv
}

func (s *server) client() *sdk.Client {
	return sdk.NewFromConfig(aws.Config{
		Region: "eu-west-1", BaseEndpoint: aws.String(s.URL), HTTPClient: s.Client(),
		Credentials: credentials.NewStaticCredentialsProvider("AKIAIOSFODNN7EXAMPLE", "secret", ""),
		Retryer:     func() aws.Retryer { return aws.NopRetryer{} },
	})
}

func ok[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func createQueue(t *testing.T, c *sdk.Client, name string, attributes map[string]string) *string {
	t.Helper()
	return ok[*sdk.CreateQueueOutput](t)(c.CreateQueue(t.Context(), &sdk.CreateQueueInput{QueueName: &name, Attributes: attributes})).QueueUrl
}

func received(messages []types.Message) (bodies []string) {
	for _, m := range messages {
		bodies = append(bodies, *m.Body)
	}
	return bodies
}

func TestSDKStandardQueue(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	c, ctx := srv.client(), t.Context()
	q := createQueue(t, c, "orders", map[string]string{"VisibilityTimeout": "10"})
	if !strings.HasPrefix(*q, srv.URL+"/000000000000/") {
		t.Errorf("queue URL %s of server %s", *q, srv.URL)
	}
	sent := ok[*sdk.SendMessageOutput](t)(c.SendMessage(ctx, &sdk.SendMessageInput{
		QueueUrl: q, MessageBody: aws.String("héllo <&>\r\n\""),
		MessageAttributes: map[string]types.MessageAttributeValue{
			"text": {DataType: aws.String("String"), StringValue: aws.String("v")},
			"bin":  {DataType: aws.String("Binary.x"), BinaryValue: []byte{0, 1, 255}},
		},
	}))
	out := ok[*sdk.ReceiveMessageOutput](t)(c.ReceiveMessage(ctx, &sdk.ReceiveMessageInput{
		QueueUrl: q, MessageAttributeNames: []string{"All"}, MessageSystemAttributeNames: []types.MessageSystemAttributeName{"All"},
	}))
	if len(out.Messages) != 1 {
		t.Fatalf("received %v", received(out.Messages))
	}
	m := out.Messages[0]
	if *m.Body != "héllo <&>\r\n\"" || *m.MessageId != *sent.MessageId || *m.MD5OfMessageAttributes != *sent.MD5OfMessageAttributes ||
		!slices.Equal(m.MessageAttributes["bin"].BinaryValue, []byte{0, 1, 255}) || m.Attributes["ApproximateReceiveCount"] != "1" {
		t.Errorf("received %+v", m)
	}
	again := ok[*sdk.ReceiveMessageOutput](t)(c.ReceiveMessage(ctx, &sdk.ReceiveMessageInput{QueueUrl: q}))
	if len(again.Messages) != 0 {
		t.Errorf("a hidden message was received: %v", received(again.Messages))
	}
	ok[*sdk.ChangeMessageVisibilityOutput](t)(c.ChangeMessageVisibility(ctx, &sdk.ChangeMessageVisibilityInput{QueueUrl: q, ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: 0}))
	again = ok[*sdk.ReceiveMessageOutput](t)(c.ReceiveMessage(ctx, &sdk.ReceiveMessageInput{QueueUrl: q}))
	if len(again.Messages) != 1 {
		t.Fatal("the message is not visible again")
	}
	ok[*sdk.DeleteMessageOutput](t)(c.DeleteMessage(ctx, &sdk.DeleteMessageInput{QueueUrl: q, ReceiptHandle: again.Messages[0].ReceiptHandle}))

	_, err := c.PurgeQueue(ctx, &sdk.PurgeQueueInput{QueueUrl: q})
	if err != nil {
		t.Error(err)
	}
	_, err = c.PurgeQueue(ctx, &sdk.PurgeQueueInput{QueueUrl: q})
	var busy *types.PurgeQueueInProgress
	if !errors.As(err, &busy) {
		t.Errorf("second purge: %v", err)
	}
	ok[*sdk.DeleteQueueOutput](t)(c.DeleteQueue(ctx, &sdk.DeleteQueueInput{QueueUrl: q}))
	_, err = c.GetQueueUrl(ctx, &sdk.GetQueueUrlInput{QueueName: aws.String("orders")})
	var gone *types.QueueDoesNotExist
	if !errors.As(err, &gone) || gone.ErrorCode() != "AWS.SimpleQueueService.NonExistentQueue" || gone.ErrorMessage() != "The specified queue does not exist." {
		t.Errorf("deleted queue: %v", err)
	}
}

func TestSDKFIFOQueue(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	c, ctx := srv.client(), t.Context()
	q := createQueue(t, c, "orders.fifo", map[string]string{"FifoQueue": "true", "ContentBasedDeduplication": "true"})
	entries := []types.SendMessageBatchRequestEntry{}
	for _, body := range []string{"1", "2", "3", "1"} {
		entries = append(entries, types.SendMessageBatchRequestEntry{
			Id: aws.String("e" + string(rune('a'+len(entries)))), MessageBody: &body, MessageGroupId: aws.String("g"),
		})
	}
	out := ok[*sdk.SendMessageBatchOutput](t)(c.SendMessageBatch(ctx, &sdk.SendMessageBatchInput{QueueUrl: q, Entries: entries}))
	if len(out.Successful) != 4 || len(out.Failed) != 0 || *out.Successful[3].SequenceNumber != *out.Successful[0].SequenceNumber ||
		*out.Successful[1].SequenceNumber <= *out.Successful[0].SequenceNumber {
		t.Errorf("batch %+v", out)
	}
	first := ok[*sdk.ReceiveMessageOutput](t)(c.ReceiveMessage(ctx, &sdk.ReceiveMessageInput{QueueUrl: q, MaxNumberOfMessages: 2})).Messages
	if got := received(first); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("first receive %q", got)
	}
	if got := ok[*sdk.ReceiveMessageOutput](t)(c.ReceiveMessage(ctx, &sdk.ReceiveMessageInput{QueueUrl: q})).Messages; len(got) != 0 {
		t.Errorf("a busy group was received: %q", received(got))
	}
	deleted := ok[*sdk.DeleteMessageBatchOutput](t)(c.DeleteMessageBatch(ctx, &sdk.DeleteMessageBatchInput{QueueUrl: q, Entries: []types.DeleteMessageBatchRequestEntry{
		{Id: aws.String("a"), ReceiptHandle: first[0].ReceiptHandle}, {Id: aws.String("b"), ReceiptHandle: first[1].ReceiptHandle},
		{Id: aws.String("c"), ReceiptHandle: aws.String("nonsense")},
	}}))
	if len(deleted.Successful) != 2 || len(deleted.Failed) != 1 || *deleted.Failed[0].Code != "ReceiptHandleIsInvalid" {
		t.Errorf("delete %+v", deleted)
	}
	if got := received(ok[*sdk.ReceiveMessageOutput](t)(c.ReceiveMessage(ctx, &sdk.ReceiveMessageInput{QueueUrl: q})).Messages); !slices.Equal(got, []string{"3"}) {
		t.Errorf("last receive %q", got)
	}
}

func TestSDKDeadLettersAndMoveTask(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	c, ctx := srv.client(), t.Context()
	dlq := createQueue(t, c, "dlq", nil)
	arn := ok[*sdk.GetQueueAttributesOutput](t)(c.GetQueueAttributes(ctx, &sdk.GetQueueAttributesInput{QueueUrl: dlq, AttributeNames: []types.QueueAttributeName{"QueueArn"}})).Attributes["QueueArn"]
	if arn != "arn:aws:sqs:eu-west-1:000000000000:dlq" {
		t.Fatalf("ARN %s", arn)
	}
	q := createQueue(t, c, "q", map[string]string{"VisibilityTimeout": "0", "RedrivePolicy": `{"deadLetterTargetArn":"` + arn + `","maxReceiveCount":"1"}`})
	ok[*sdk.SendMessageOutput](t)(c.SendMessage(ctx, &sdk.SendMessageInput{QueueUrl: q, MessageBody: aws.String("poison")}))
	for want := 1; want >= 0; want-- {
		if got := ok[*sdk.ReceiveMessageOutput](t)(c.ReceiveMessage(ctx, &sdk.ReceiveMessageInput{QueueUrl: q})).Messages; len(got) != want {
			t.Fatalf("received %q", received(got))
		}
	}
	got := ok[*sdk.ReceiveMessageOutput](t)(c.ReceiveMessage(ctx, &sdk.ReceiveMessageInput{QueueUrl: dlq, VisibilityTimeout: 1, MessageSystemAttributeNames: []types.MessageSystemAttributeName{"DeadLetterQueueSourceArn"}})).Messages
	if len(got) != 1 || got[0].Attributes["DeadLetterQueueSourceArn"] != "arn:aws:sqs:eu-west-1:000000000000:q" {
		t.Fatalf("dead letters %+v", got)
	}
	srv.clock.Advance(time.Second)
	ok[*sdk.StartMessageMoveTaskOutput](t)(c.StartMessageMoveTask(ctx, &sdk.StartMessageMoveTaskInput{SourceArn: &arn}))
	// The long poll ends when the task brings the message back.
	if got := received(ok[*sdk.ReceiveMessageOutput](t)(c.ReceiveMessage(ctx, &sdk.ReceiveMessageInput{QueueUrl: q, WaitTimeSeconds: 20})).Messages); !slices.Equal(got, []string{"poison"}) {
		t.Errorf("moved back: %q", got)
	}
	tasks := ok[*sdk.ListMessageMoveTasksOutput](t)(c.ListMessageMoveTasks(ctx, &sdk.ListMessageMoveTasksInput{SourceArn: &arn})).Results
	if len(tasks) != 1 || *tasks[0].ApproximateNumberOfMessagesToMove != 1 {
		t.Errorf("tasks %+v", tasks)
	}
}

func TestSDKErrors(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	c, ctx := srv.client(), t.Context()
	q := createQueue(t, c, "q", nil)
	_, receive := c.ReceiveMessage(ctx, &sdk.ReceiveMessageInput{QueueUrl: q, MaxNumberOfMessages: 11})
	_, create := c.CreateQueue(ctx, &sdk.CreateQueueInput{QueueName: aws.String("q"), Attributes: map[string]string{"DelaySeconds": "1"}})
	_, attribute := c.CreateQueue(ctx, &sdk.CreateQueueInput{QueueName: aws.String("new"), Attributes: map[string]string{"Colour": "red"}})
	_, empty := c.SendMessage(ctx, &sdk.SendMessageInput{QueueUrl: q, MessageBody: aws.String("")})
	_, handle := c.DeleteMessage(ctx, &sdk.DeleteMessageInput{QueueUrl: q, ReceiptHandle: aws.String("x")})
	_, entries := c.SendMessageBatch(ctx, &sdk.SendMessageBatchInput{QueueUrl: q, Entries: []types.SendMessageBatchRequestEntry{}})
	_, task := c.CancelMessageMoveTask(ctx, &sdk.CancelMessageMoveTaskInput{TaskHandle: aws.String("x")})
	for _, e := range []struct {
		rule string
		err  error
		code string
		text string
	}{
		{"MaxNumberOfMessages", receive, "InvalidParameterValue", "Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided."},
		{"OtherAttributes", create, "QueueAlreadyExists", "A queue already exists with the same name and a different value for attribute DelaySeconds"},
		{"UnknownAttribute", attribute, "InvalidAttributeName", "Unknown Attribute Colour."},
		{"EmptyBody", empty, "MissingParameter", "The request must contain the parameter MessageBody."},
		{"Handle", handle, "ReceiptHandleIsInvalid", `The input receipt handle "x" is not a valid receipt handle.`},
		{"EmptyBatch", entries, "AWS.SimpleQueueService.EmptyBatchRequest", "There should be at least one SendMessageBatchRequestEntry in the request."},
		{"TaskHandle", task, "InvalidParameterValue", "Value for parameter TaskHandle is invalid."},
	} {
		t.Run(e.rule, func(t *testing.T) {
			t.Parallel()
			var api smithy.APIError
			if !errors.As(e.err, &api) || api.ErrorCode() != e.code || api.ErrorMessage() != e.text {
				t.Errorf("got %v, want %s: %s", e.err, e.code, e.text)
			}
		})
	}
}

// A client that goes away while it waits consumes nothing.
func TestSDKLongPollOfLostClient(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	c := srv.client()
	q := createQueue(t, c, "q", nil)
	ctx, leave := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := c.ReceiveMessage(ctx, &sdk.ReceiveMessageInput{QueueUrl: q, WaitTimeSeconds: 20})
		ended <- err
	}()
	<-srv.store.looked
	leave()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatalf("the lost client got %v", err)
	}
	ok[*sdk.SendMessageOutput](t)(c.SendMessage(t.Context(), &sdk.SendMessageInput{QueueUrl: q, MessageBody: aws.String("m")}))
	out := ok[*sdk.ReceiveMessageOutput](t)(c.ReceiveMessage(t.Context(), &sdk.ReceiveMessageInput{QueueUrl: q, WaitTimeSeconds: 20}))
	if got := received(out.Messages); !slices.Equal(got, []string{"m"}) {
		t.Errorf("received %q", got)
	}
}

// Old clients speak the query protocol, to the queue's URL.
func TestQueryProtocol(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	post := func(path string, form url.Values) (int, string) {
		t.Helper()
		form.Set("Version", "2012-11-05")
		req := ok[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+path, strings.NewReader(form.Encode())))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
		req.Header.Set("X-Amz-Date", time.Now().UTC().Format("20060102T150405Z"))
		req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260101/us-east-1/sqs/aws4_request, SignedHeaders=host;x-amz-date, Signature="+strings.Repeat("0", 64))
		resp := ok[*http.Response](t)(srv.Client().Do(req))
		defer resp.Body.Close()
		return resp.StatusCode, string(ok[[]byte](t)(io.ReadAll(resp.Body)))
	}
	expect := func(status int, body string, want int, texts ...string) {
		t.Helper()
		if status != want {
			t.Errorf("status %d, want %d: %s", status, want, body)
		}
		for _, s := range texts {
			if !strings.Contains(body, s) {
				t.Errorf("no %s in %s", s, body)
			}
		}
	}
	status, body := post("/", url.Values{"Action": {"CreateQueue"}, "QueueName": {"old"}, "Attribute.1.Name": {"DelaySeconds"}, "Attribute.1.Value": {"0"}, "Tag.1.Key": {"k"}, "Tag.1.Value": {"v"}})
	expect(status, body, 200, "<QueueUrl>"+srv.URL+"/000000000000/old</QueueUrl>")
	status, body = post("/000000000000/old", url.Values{"Action": {"SendMessage"}, "MessageBody": {"<b>&"}, "MessageAttribute.1.Name": {"Hello"},
		"MessageAttribute.1.Value.DataType": {"String"}, "MessageAttribute.1.Value.StringValue": {"There"}})
	expect(status, body, 200, "<MD5OfMessageAttributes>a311262e065454b75da111d535b8dacd</MD5OfMessageAttributes>")
	status, body = post("/000000000000/old", url.Values{"Action": {"ReceiveMessage"}, "AttributeName.1": {"SentTimestamp"}, "MessageAttributeName.1": {"All"}})
	expect(status, body, 200, "<Body>&lt;b&gt;&amp;</Body>", "<Name>SentTimestamp</Name>", "<Value><StringValue>There</StringValue>")
	var answer struct {
		Handle string `xml:"ReceiveMessageResult>Message>ReceiptHandle"`
	}
	if err := xml.Unmarshal([]byte(body), &answer); err != nil || answer.Handle == "" {
		t.Fatalf("no handle in %s: %v", body, err)
	}
	status, body = post("/000000000000/old", url.Values{"Action": {"DeleteMessage"}, "ReceiptHandle": {answer.Handle}})
	expect(status, body, 200)
	status, body = post("/000000000000/old", url.Values{"Action": {"ReceiveMessage"}})
	expect(status, body, 200)
	if strings.Contains(body, "<Message>") {
		t.Errorf("the deleted message was received: %s", body)
	}
	status, body = post("/000000000000/none", url.Values{"Action": {"ReceiveMessage"}})
	expect(status, body, 400, "<Code>AWS.SimpleQueueService.NonExistentQueue</Code>", "<Message>The specified queue does not exist for this wsdl version.</Message>")
}
