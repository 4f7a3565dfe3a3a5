package sqs

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"testing"

	"github.com/sestina-mail/sestina/internal/awsapi/sqs"
	"github.com/sestina-mail/sestina/internal/awswire"
	"github.com/sestina-mail/sestina/internal/clock"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
	"github.com/sestina-mail/sestina/internal/store/sqlite"
)

var testScope = sestina.Scope{Account: "000000000000", Region: "us-east-1"}

// An env is a service on SQLite, and a caller of it.
type env struct {
	*Service
	t     *testing.T
	dir   string
	clock *clock.Clock
	ctx   context.Context
}

// newEnv opens a service in a temporary folder. change may alter its options.
func newEnv(t *testing.T, change ...func(*Options)) *env {
	t.Helper()
	return openEnv(t, t.TempDir(), change...)
}

func openEnv(t *testing.T, dir string, change ...func(*Options)) *env {
	t.Helper()
	e := &env{t: t, dir: dir, clock: clock.New(0), ctx: callContext(t.Context(), testScope)}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	st, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir, Reserve: -1, Clock: e.clock, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	cache := store.NewCache(st)
	opt := Options{Store: st, Cache: cache, Clock: e.clock, Logger: log}
	for _, f := range change {
		f(&opt)
	}
	e.Service = New(opt)
	if err := cache.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return e
}

func callContext(ctx context.Context, scope sestina.Scope) context.Context {
	return awswire.WithCall(ctx, &awswire.Call{
		Scope: scope, BaseURL: "http://127.0.0.1:4579", PrincipalARN: "arn:aws:iam::" + scope.Account + ":user/app",
	})
}

// must ends the test when a call fails that should not.
func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// attrs makes a map of names and values.
func attrs(pairs ...string) map[string]string {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return m
}

// create makes a queue and returns its URL.
func (e *env) create(name string, attributes ...string) *string {
	e.t.Helper()
	return must[*sqs.CreateQueueOutput](e.t)(e.CreateQueue(e.ctx, &sqs.CreateQueueInput{QueueName: &name, Attributes: attrs(attributes...)})).QueueUrl
}

// fifo makes a FIFO queue and returns its URL.
func (e *env) fifo(name string, attributes ...string) *string {
	e.t.Helper()
	return e.create(name, append(attributes, "FifoQueue", "true")...)
}

func (e *env) arn(name string) string { return sestina.NewARN("sqs", testScope, name) }

func (e *env) id(name string) sestina.ID {
	e.t.Helper()
	info, ok := e.Queue(e.arn(name))
	if !ok {
		e.t.Fatalf("no queue %s", name)
	}
	return info.ID
}

// send sends bodies to a standard queue and returns the message ids.
func (e *env) send(url *string, bodies ...string) (ids []string) {
	e.t.Helper()
	for _, b := range bodies {
		out := must[*sqs.SendMessageOutput](e.t)(e.SendMessage(e.ctx, &sqs.SendMessageInput{QueueUrl: url, MessageBody: &b}))
		ids = append(ids, *out.MessageId)
	}
	return ids
}

// sendGroup sends bodies to a group of a FIFO queue, each with itself as
// deduplication id.
func (e *env) sendGroup(url *string, group string, bodies ...string) (out []*sqs.SendMessageOutput) {
	e.t.Helper()
	for _, b := range bodies {
		out = append(out, must[*sqs.SendMessageOutput](e.t)(e.SendMessage(e.ctx, &sqs.SendMessageInput{
			QueueUrl: url, MessageBody: &b, MessageGroupId: &group, MessageDeduplicationId: new(group + "-" + b),
		})))
	}
	return out
}

// receive receives up to ten messages without waiting, with all attributes.
func (e *env) receive(url *string, change ...func(*sqs.ReceiveMessageInput)) []sqs.Message {
	e.t.Helper()
	in := &sqs.ReceiveMessageInput{
		QueueUrl: url, MaxNumberOfMessages: new(int32(10)), WaitTimeSeconds: new(int32(0)),
		MessageSystemAttributeNames: []string{"All"}, MessageAttributeNames: []string{"All"},
	}
	for _, f := range change {
		f(in)
	}
	return must[*sqs.ReceiveMessageOutput](e.t)(e.ReceiveMessage(e.ctx, in)).Messages
}

func upTo(n int32) func(*sqs.ReceiveMessageInput) {
	return func(in *sqs.ReceiveMessageInput) { in.MaxNumberOfMessages = &n }
}

func hiddenFor(n int32) func(*sqs.ReceiveMessageInput) {
	return func(in *sqs.ReceiveMessageInput) { in.VisibilityTimeout = &n }
}

func waiting(n int32) func(*sqs.ReceiveMessageInput) {
	return func(in *sqs.ReceiveMessageInput) { in.WaitTimeSeconds = &n }
}

func attempt(id string) func(*sqs.ReceiveMessageInput) {
	return func(in *sqs.ReceiveMessageInput) { in.ReceiveRequestAttemptId = &id }
}

func (e *env) delete(url *string, m sqs.Message) error {
	_, err := e.DeleteMessage(e.ctx, &sqs.DeleteMessageInput{QueueUrl: url, ReceiptHandle: m.ReceiptHandle})
	return err
}

func (e *env) hide(url *string, m sqs.Message, seconds int32) error {
	_, err := e.ChangeMessageVisibility(e.ctx, &sqs.ChangeMessageVisibilityInput{QueueUrl: url, ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: &seconds})
	return err
}

// attributes returns queue attributes.
func (e *env) attributes(url *string, names ...string) map[string]string {
	e.t.Helper()
	out := must[*sqs.GetQueueAttributesOutput](e.t)(e.GetQueueAttributes(e.ctx, &sqs.GetQueueAttributesInput{QueueUrl: url, AttributeNames: names}))
	if out == nil {
		return nil
	}
	return out.Attributes
}

// depth returns visible, in flight and delayed messages.
func (e *env) depth(url *string) [3]string {
	e.t.Helper()
	a := e.attributes(url, "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed")
	return [3]string{a["ApproximateNumberOfMessages"], a["ApproximateNumberOfMessagesNotVisible"], a["ApproximateNumberOfMessagesDelayed"]}
}

func bodies(messages []sqs.Message) []string {
	out := []string{}
	for _, m := range messages {
		out = append(out, *m.Body)
	}
	return out
}

func sameBodies(t *testing.T, got []sqs.Message, want ...string) {
	t.Helper()
	if !slices.Equal(bodies(got), want) {
		t.Fatalf("got %q, want %q", bodies(got), want)
	}
}

// refused checks an error's code and text.
func refused(t *testing.T, err error, code, text string) {
	t.Helper()
	want := ""
	if code != "" {
		want = code + ": " + text
	}
	got := ""
	if err != nil {
		got = err.Error()
	}
	if got != want || sestina.CodeOf(err) != code {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
