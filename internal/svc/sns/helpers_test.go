package sns

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awssns "github.com/aws/aws-sdk-go-v2/service/sns"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"
	"go.uber.org/goleak"

	"github.com/sestina-mail/sestina/internal/awswire"
	"github.com/sestina-mail/sestina/internal/clock"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
	"github.com/sestina-mail/sestina/internal/store/sqlite"
	"github.com/sestina-mail/sestina/internal/svc/sqs"
	"github.com/sestina-mail/sestina/internal/work"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testScope = sestina.Scope{Account: "000000000000", Region: "us-east-1"}

// patience is how long a test waits for what must happen.
const patience = 60 * time.Second

// An env is the service on SQLite with queues, the work engine and the wire,
// and SDK clients that call it.
type env struct {
	*Service
	t      *testing.T
	dir    string
	clock  *clock.Clock
	store  *tapped
	engine *work.Engine
	server *httptest.Server
	queues *sqs.Service
	sns    *awssns.Client
	sqs    *awssqs.Client
	stop   func()
}

// A mailbox is a Mailer that keeps what it is given.
type mailbox struct {
	mails chan Mail
	err   error
}

func (m *mailbox) Compose(_ context.Context, mail Mail) (store.Effects, error) {
	if m.err != nil {
		return store.Effects{}, m.err
	}
	m.mails <- mail
	return store.Effects{}, nil
}

// bridge lets topics reach the queue service.
type bridge struct{ *sqs.Service }

func (b bridge) QueueMessage(arn string, body []byte, attrs map[string]QueueAttribute, groupID, dedupID string, now time.Time) (store.QueueMessage, error) {
	var list []sqs.Attribute
	for name, a := range attrs {
		list = append(list, sqs.Attribute{Name: name, DataType: a.DataType, StringValue: a.StringValue, BinaryValue: a.BinaryValue})
	}
	return b.Row(arn, body, list, groupID, dedupID, now)
}

// patient is a RoundTripper for the SDK. The SDK closes the body of its request
// as soon as there is an answer; when that comes before the transport has seen
// the body's end, the transport takes it for a failed write and closes the
// connection under the answer. So the transport gets a body of its own.
type patient struct{ http.RoundTripper }

func (p patient) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		return p.RoundTripper.RoundTrip(r)
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(b))
	return p.RoundTripper.RoundTrip(r)
}

func newEnv(t *testing.T, change ...func(*Options)) *env {
	t.Helper()
	return openEnv(t, t.TempDir(), change...)
}

// testKey is one signing key for all tests: making one takes long.
var testKey = sync.OnceValues(func() (*signingKey, error) { return makeKey(time.Unix(1_700_000_000, 0)) })

func openEnv(t *testing.T, dir string, change ...func(*Options)) *env {
	t.Helper()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	e := &env{t: t, dir: dir, clock: clock.New(0)}
	real, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir, Reserve: -1, Clock: e.clock, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	st := &tapped{Store: real, changed: make(chan struct{})}
	e.store = st
	cache := store.NewCache(st)
	ids := new(sestina.IDs)
	queues := sqs.New(sqs.Options{Store: st, Cache: cache, Clock: e.clock, IDs: ids, Logger: log})
	e.queues = queues
	mux := awswire.NewMux(awswire.Options{Logger: log})
	web := http.NewServeMux()
	e.server = httptest.NewServer(web)
	key, err := testKey()
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Store: st, Cache: cache, Clock: e.clock, IDs: ids, Logger: log, PublicURL: e.server.URL, Queues: bridge{queues},
		SigningKey: []byte(key.Key), SigningCertificate: []byte(key.Certificate),
		Wake: func(k store.Kind, lane string) { e.engine.Wake(k, lane) },
	}
	for _, f := range change {
		f(&o)
	}
	if e.Service, err = New(o); err != nil {
		t.Fatal(err)
	}
	e.engine = work.New(work.Options{Store: st, Clock: e.clock, Logger: log, Kinds: []work.Kind{e.Kind()}})
	st.Subscribe(e.engine)
	if err := errors.Join(cache.Load(t.Context()), e.Load(t.Context())); err != nil {
		t.Fatal(err)
	}
	e.Register(mux)
	sqs.Register(mux, queues)
	web.Handle(confirmationPath, e.ConfirmationPage())
	web.Handle(unsubscribePath, e.UnsubscribePage())
	certificates := e.CertHandler()
	web.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, certificatePrefix) {
			certificates.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
	cfg := aws.Config{
		Region: testScope.Region, BaseEndpoint: aws.String(e.server.URL),
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
		Retryer:     func() aws.Retryer { return aws.NopRetryer{} },
		HTTPClient:  &http.Client{Transport: patient{e.server.Client().Transport}},
	}
	e.sns, e.sqs = awssns.NewFromConfig(cfg), awssqs.NewFromConfig(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.engine.Run(ctx) }()
	e.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		e.server.Close()
		e.Close()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(e.stop)
	return e
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

// wantError checks code and text of an API error.
func wantError(t *testing.T, err error, code, text string) {
	t.Helper()
	var e smithy.APIError
	if !errors.As(err, &e) {
		t.Errorf("got %v, want %s: %s", err, code, text)
		return
	}
	if e.ErrorCode() != code || e.ErrorMessage() != text {
		t.Errorf("got %s: %s\nwant %s: %s", e.ErrorCode(), e.ErrorMessage(), code, text)
	}
}

// topicNamed creates a topic and returns its ARN.
func (e *env) topicNamed(name string, attrs ...string) *string {
	e.t.Helper()
	return must[*awssns.CreateTopicOutput](e.t)(e.sns.CreateTopic(e.t.Context(), &awssns.CreateTopicInput{Name: &name, Attributes: pairs(attrs...)})).TopicArn
}

func pairs(kv ...string) map[string]string {
	m := map[string]string{}
	for i := 0; i < len(kv); i += 2 {
		m[kv[i]] = kv[i+1]
	}
	return m
}

// queueNamed creates a queue and returns its URL and ARN.
func (e *env) queueNamed(name string, attrs ...string) (url, arn *string) {
	e.t.Helper()
	out := must[*awssqs.CreateQueueOutput](e.t)(e.sqs.CreateQueue(e.t.Context(), &awssqs.CreateQueueInput{QueueName: &name, Attributes: pairs(attrs...)}))
	return out.QueueUrl, aws.String(sestina.NewARN("sqs", testScope, name))
}

// subscribeTo subscribes and returns the subscription's ARN.
func (e *env) subscribeTo(topic *string, protocol, endpoint string, attrs ...string) *string {
	e.t.Helper()
	return must[*awssns.SubscribeOutput](e.t)(e.sns.Subscribe(e.t.Context(), &awssns.SubscribeInput{
		TopicArn: topic, Protocol: &protocol, Endpoint: &endpoint, Attributes: pairs(attrs...), ReturnSubscriptionArn: true,
	})).SubscriptionArn
}

func (e *env) publishTo(topic *string, text string) *string {
	e.t.Helper()
	return must[*awssns.PublishOutput](e.t)(e.sns.Publish(e.t.Context(), &awssns.PublishInput{TopicArn: topic, Message: &text})).MessageId
}

// bodies receives and deletes up to ten messages of a queue.
func (e *env) bodies(url *string) (out []string) {
	e.t.Helper()
	got := must[*awssqs.ReceiveMessageOutput](e.t)(e.sqs.ReceiveMessage(e.t.Context(), &awssqs.ReceiveMessageInput{QueueUrl: url, MaxNumberOfMessages: 10}))
	for _, m := range got.Messages {
		out = append(out, *m.Body)
		must[*awssqs.DeleteMessageOutput](e.t)(e.sqs.DeleteMessage(e.t.Context(), &awssqs.DeleteMessageInput{QueueUrl: url, ReceiptHandle: m.ReceiptHandle}))
	}
	return out
}

// A post is a request that an endpoint got.
type post struct {
	header http.Header
	body   string
	host   string
	uri    string
}

// An endpoint is an HTTP server that subscribers run.
type endpoint struct {
	*httptest.Server
	posts chan post

	mu     sync.Mutex
	answer func(w http.ResponseWriter, p post)
}

// newEndpoint starts an endpoint that answers 200.
func newEndpoint(t *testing.T) *endpoint {
	t.Helper()
	e := &endpoint{posts: make(chan post, 4096)}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		p := post{header: r.Header, body: string(b), host: r.Host, uri: r.RequestURI}
		e.mu.Lock()
		answer := e.answer
		e.mu.Unlock()
		if answer != nil {
			answer(w, p)
		}
		e.posts <- p
	}))
	t.Cleanup(e.Close)
	return e
}

// answers sets how the endpoint answers.
func (e *endpoint) answers(fn func(w http.ResponseWriter, p post)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.answer = fn
}

func status(code int) func(http.ResponseWriter, post) {
	return func(w http.ResponseWriter, _ post) { w.WriteHeader(code) }
}

// next returns the next request.
func (e *endpoint) next(t *testing.T) post {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	select {
	case p := <-e.posts:
		return p
	case <-ctx.Done():
		t.Fatal("the endpoint got no request")
		return post{}
	}
}

// eventually waits until ok holds, looking again after every commit.
func (e *env) eventually(what string, ok func() bool) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), patience)
	defer cancel()
	for {
		changed := e.store.changes()
		if ok() {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			e.t.Fatalf("it did not happen: %s", what)
		}
	}
}

// A tapped store is the real one; it tells when something was committed.
type tapped struct {
	store.Store

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at every commit
}

func (s *tapped) Do(ctx context.Context, c store.Command) error {
	defer s.tell()
	return s.Store.Do(ctx, c)
}

func (s *tapped) Update(ctx context.Context, fn func(store.Tx) error) error {
	defer s.tell()
	return s.Store.Update(ctx, fn)
}

func (s *tapped) tell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}

// changes returns a channel that is closed by the next commit.
func (s *tapped) changes() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// deads returns the dead letters of a lane of notifications.
func (e *env) deads(lane string) []store.Unit {
	e.t.Helper()
	return must[[]store.Unit](e.t)(e.store.DeadUnits(e.t.Context(), testScope, store.KindNotification, lane, sestina.ID{}, 100))
}

// backlog counts a lane of notifications.
func (e *env) backlog(lane string) store.Backlog {
	e.t.Helper()
	return must[store.Backlog](e.t)(e.store.Backlog(e.t.Context(), store.KindNotification, lane))
}

// laneOf is the lane of a subscription.
func laneOf(sub *string) string { return (*sub)[len(*sub)-36:] }
