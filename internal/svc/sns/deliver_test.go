package sns

import (
	"crypto/md5" // rfc7616 still knows MD5
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	awssns "github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/sestina-mail/sestina/internal/clock"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// confirmed subscribes an endpoint and confirms it.
func (e *env) confirmed(topic *string, ep *endpoint, url string, attrs ...string) *string {
	e.t.Helper()
	sub := e.subscribeTo(topic, "http", url, attrs...)
	_, m := e.confirmation(ep)
	if code, body := get(e.t, m["SubscribeURL"]); code != http.StatusOK {
		e.t.Fatalf("%d %s", code, body)
	}
	return sub
}

// inserted makes confirmed subscriptions without asking their endpoints, in one
// transaction.
func (e *env) inserted(topic string, protocol string, endpoints ...string) (lanes []string) {
	e.t.Helper()
	t := e.topics.Get(testScope, topic)
	now := e.clock.Now()
	err := e.store.Update(e.t.Context(), func(tx store.Tx) error {
		lanes = nil
		for _, endpoint := range endpoints {
			sub := &Subscription{Format: format, ID: e.IDs.New(now), TopicID: t.ID, TopicName: t.Name, Protocol: protocol, Endpoint: endpoint, State: confirmed, CreatedAt: now}
			lanes = append(lanes, sub.ID.String())
			if err := change(tx, testScope, kindSubscription, sub.documentName(), func(*Subscription) (*Subscription, error) { return sub, nil }); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		e.t.Fatal(err)
	}
	return lanes
}

// attempts returns the failed attempts of a lane's dead units, as the timeline
// shows them.
func (e *env) attempts(units ...store.Unit) []store.Attempt {
	e.t.Helper()
	var ids []sestina.ID
	for _, u := range units {
		ids = append(ids, u.ID)
	}
	return must[[]store.Attempt](e.t)(e.store.Attempts(e.t.Context(), ids))
}

// untilIdle moves the clock, past the longest backoff each time, until the lane
// has nothing that waits.
func (e *env) untilIdle(lane string) {
	e.t.Helper()
	e.eventually("lane "+lane+" has nothing more to do", func() bool {
		if e.backlog(lane).Waiting == 0 {
			return true
		}
		e.clock.Advance(15 * time.Minute)
		return false
	})
}

// TestFailingEndpointsDelayNobody: one endpoint hangs, one answers 500, one is
// down, one is well. The one that is well gets everything at once, the others
// get everything once they are well.
func TestFailingEndpointsDelayNobody(t *testing.T) {
	t.Parallel()
	const messages = 40
	e := newEnv(t, func(o *Options) { o.Timeout = 300 * time.Millisecond })
	topic := e.topicNamed("t")
	well, hangs, fails := newEndpoint(t), newEndpoint(t), newEndpoint(t)
	down := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	address := down.Addr().String()
	lanes := e.inserted("t", "http", hangs.URL, fails.URL, "http://"+address, well.URL)
	if err := down.Close(); err != nil {
		t.Fatal(err)
	}
	recovered := make(chan struct{})
	recover := sync.OnceFunc(func() { close(recovered) })
	defer recover()
	hangs.answers(func(http.ResponseWriter, post) { <-recovered })
	fails.answers(status(500))

	want := map[string]bool{}
	for i := range messages {
		want[*e.publishTo(topic, fmt.Sprint("m", i))] = true
	}
	ids := func(ep *endpoint) (got map[string]int) {
		got = map[string]int{}
		for len(got) < messages {
			got[ep.next(t).header.Get("X-Amz-Sns-Message-Id")]++
		}
		return got
	}
	for id, n := range ids(well) {
		if n != 1 || !want[id] {
			t.Errorf("the endpoint that is well got %s %d times", id, n)
		}
	}
	for i, lane := range lanes[:3] {
		e.eventually("the breaker of "+[]string{"hangs", "fails", "down"}[i]+" opens", func() bool {
			st, err := e.store.Lane(t.Context(), store.KindNotification, lane)
			return err == nil && st.Failures > 0
		})
		if b := e.backlog(lane); b.Waiting != messages || b.Dead != 0 {
			t.Errorf("lane %d: %+v", i, b)
		}
	}

	recover()
	fails.answers(nil)
	again := &endpoint{posts: make(chan post, 4096)}
	again.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { again.posts <- post{header: r.Header} }))
	again.Listener = must[net.Listener](t)(net.Listen("tcp", address))
	again.Start()
	defer again.Close()
	for _, lane := range lanes[:3] {
		e.untilIdle(lane)
	}
	for _, ep := range []*endpoint{hangs, fails, again} {
		for id := range ids(ep) {
			if !want[id] {
				t.Errorf("got %s", id)
			}
		}
	}
}

func TestDeliveryPolicyToDeadLetterQueue(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	topic := e.topicNamed("t")
	ep := newEndpoint(t)
	dlq, dlqARN := e.queueNamed("dlq")
	sub := e.confirmed(topic, ep, ep.URL, "RedrivePolicy", fmt.Sprintf(`{"deadLetterTargetArn":%q}`, *dlqARN), "DeliveryPolicy",
		`{"healthyRetryPolicy":{"numRetries":4,"numNoDelayRetries":1,"numMinDelayRetries":1,"numMaxDelayRetries":1,"minDelayTarget":100,"maxDelayTarget":500},"requestPolicy":{"headerContentType":"application/json"}}`)
	ep.answers(func(w http.ResponseWriter, _ post) { http.Error(w, "out of order", http.StatusBadGateway) })
	id := e.publishTo(topic, "hello")
	var bodies []string
	// The first attempt, one retry at once, and three that wait as the policy
	// says.
	for i, wait := range []time.Duration{0, 0, 100, 100, 500} {
		if wait > 0 {
			e.eventually("the retry waits", func() bool {
				due, err := e.store.NextDue(t.Context(), store.KindNotification, laneOf(sub))
				left := due.Sub(e.clock.Now())
				return err == nil && left > (wait-30)*time.Second && left <= wait*time.Second
			})
			e.clock.Advance(wait * time.Second)
		}
		p := ep.next(t)
		if p.header.Get("Content-Type") != "application/json" || p.header.Get("X-Amz-Sns-Message-Id") != *id {
			t.Errorf("attempt %d: %v", i, p.header)
		}
		bodies = append(bodies, p.body)
	}
	var got []string
	e.eventually("the message is in the dead-letter queue", func() bool {
		got = append(got, e.bodies(dlq)...)
		return len(got) > 0
	})
	for _, b := range append(bodies, got...) {
		if b != bodies[0] {
			t.Errorf("got %s\nfirst %s", b, bodies[0])
		}
	}
	if st, err := e.store.Lane(t.Context(), store.KindNotification, laneOf(sub)); err != nil || st != (store.LaneState{}) {
		t.Errorf("a policy of its own opens the breaker: %+v, %v", st, err)
	}
	if b := e.backlog(laneOf(sub)); b.Waiting+b.Dead != 0 {
		t.Errorf("backlog %+v", b)
	}

	// Without a dead-letter queue it is a dead letter here.
	if err := e.setAttribute(sub, "RedrivePolicy", ""); err != nil {
		t.Fatal(err)
	}
	if err := e.setAttribute(sub, "DeliveryPolicy", `{"healthyRetryPolicy":{"numRetries":1}}`); err != nil {
		t.Fatal(err)
	}
	e.publishTo(topic, "again")
	ep.next(t)
	e.untilIdle(laneOf(sub))
	dead := e.deads(laneOf(sub))
	if len(dead) != 1 || dead[0].Answer != "502 Bad Gateway: out of order\n; given up after 2 attempts" {
		t.Fatalf("dead letters %+v", dead)
	}
	if a := e.attempts(dead...); len(a) != 1 || a[0].Answer != "502 Bad Gateway: out of order\n" {
		t.Errorf("attempts %+v", a)
	}

	// A redriven dead letter has its retries again.
	for range len(ep.posts) {
		<-ep.posts
	}
	if err := e.store.Do(t.Context(), &store.Redrive{Kind: store.KindNotification, Scope: testScope, Lane: laneOf(sub), Now: e.clock.Now()}); err != nil {
		t.Fatal(err)
	}
	ep.next(t)
	e.untilIdle(laneOf(sub))
	ep.next(t)
	if dead := e.deads(laneOf(sub)); len(dead) != 1 || !strings.HasSuffix(dead[0].Answer, "given up after 2 attempts") {
		t.Errorf("dead letters %+v", dead)
	}
}

func TestAnswersOfEndpoints(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status int
		final  bool
	}{{400, true}, {403, true}, {404, true}, {410, true}, {401, true}, {408, false}, {429, false}, {301, false}, {307, false}, {500, false}, {503, false}} {
		t.Run(fmt.Sprint(c.status), func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			topic := e.topicNamed("t")
			ep, other := newEndpoint(t), newEndpoint(t)
			lane := e.inserted("t", "http", ep.URL)[0]
			ep.answers(func(w http.ResponseWriter, _ post) {
				w.Header().Set("Location", other.URL)
				w.WriteHeader(c.status)
			})
			e.publishTo(topic, "hello")
			ep.next(t)
			if c.final {
				e.eventually("a dead letter", func() bool { return e.backlog(lane).Dead == 1 })
				if d := e.deads(lane); !strings.HasPrefix(d[0].Answer, fmt.Sprint(c.status)) {
					t.Errorf("answer %q", d[0].Answer)
				}
				return
			}
			ep.answers(status(202))
			e.untilIdle(lane)
			ep.next(t)
			if b := e.backlog(lane); b.Dead != 0 || len(other.posts) != 0 {
				t.Errorf("backlog %+v, %d requests elsewhere", b, len(other.posts))
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	topic := e.topicNamed("t")
	ep := newEndpoint(t)
	lane := e.inserted("t", "http", ep.URL)[0]
	ep.answers(func(w http.ResponseWriter, _ post) {
		w.Header().Set("Retry-After", "1800")
		w.WriteHeader(429)
	})
	e.publishTo(topic, "hello")
	ep.next(t)
	e.eventually("the unit waits as long as it was told", func() bool {
		due, err := e.store.NextDue(t.Context(), store.KindNotification, lane)
		return err == nil && due.Sub(e.clock.Now()) > 29*time.Minute
	})
}

func TestRawDelivery(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	topic := e.topicNamed("t", "DeliveryPolicy", `{"http":{"defaultRequestPolicy":{"headerContentType":"text/csv; charset=utf-8"}}}`)
	ep := newEndpoint(t)
	sub := e.confirmed(topic, ep, ep.URL, "RawMessageDelivery", "true")
	id := e.publishTo(topic, "a,b\r\n<c>")
	p := ep.next(t)
	for name, want := range map[string]string{
		"X-Amz-Sns-Rawdelivery": "true", "X-Amz-Sns-Message-Id": *id, "X-Amz-Sns-Subscription-Arn": *sub, "Content-Type": "text/csv; charset=utf-8",
		"X-Amz-Sns-Message-Type": "Notification", "X-Amz-Sns-Topic-Arn": *topic,
	} {
		if got := p.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if p.body != "a,b\r\n<c>" {
		t.Errorf("body %q", p.body)
	}
}

func TestCredentialsAreSentWhenAskedFor(t *testing.T) {
	t.Parallel()
	sum := func(s string) string { return fmt.Sprintf("%x", md5.Sum([]byte(s))) } // rfc7616 still knows MD5
	for name, c := range map[string]struct {
		challenge string
		ok        func(p post) bool
	}{
		"Basic": {`Basic realm="x"`, func(p post) bool { return p.header.Get("Authorization") == "Basic dTpwOkBx" }},
		"Digest": {`Digest realm="a \"b\"", nonce="n,1", qop="auth-int, auth", opaque=o`, func(p post) bool {
			scheme, rest, _ := strings.Cut(p.header.Get("Authorization"), " ")
			a := parseChallenge(rest)
			response := sum(strings.Join([]string{sum(`u:a "b":p:@q`), "n,1", a["nc"], a["cnonce"], "auth", sum("POST:/hook?x=1")}, ":"))
			return scheme == "Digest" && a["username"] == "u" && a["uri"] == "/hook?x=1" && a["opaque"] == "o" && a["response"] == response
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			ep := newEndpoint(t)
			topic := e.topicNamed("t")
			ep.answers(func(w http.ResponseWriter, p post) {
				if !c.ok(p) {
					w.Header().Set("WWW-Authenticate", c.challenge)
					w.WriteHeader(401)
				}
			})
			lane := e.inserted("t", "http", strings.Replace(ep.URL, "http://", "http://u:p:%40q@", 1)+"/hook?x=1")[0]
			e.publishTo(topic, "hello")
			first, second := ep.next(t), ep.next(t)
			if first.header.Get("Authorization") != "" {
				t.Errorf("sent without being asked: %v", first.header)
			}
			if !c.ok(second) || second.body != first.body {
				t.Errorf("then %v", second.header)
			}
			e.untilIdle(lane)
			if b := e.backlog(lane); b.Dead != 0 || len(ep.posts) != 0 {
				t.Errorf("backlog %+v and %d more requests", b, len(ep.posts))
			}
		})
	}
}

func TestThrottle(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	topic := e.topicNamed("t")
	ep := newEndpoint(t)
	sub := e.confirmed(topic, ep, ep.URL, "DeliveryPolicy", `{"throttlePolicy":{"maxReceivesPerSecond":20}}`)
	if n := e.concurrency(laneOf(sub)); n != 20 { // no more than may be sent in a second
		t.Errorf("concurrency %d", n)
	}
	took := clock.Stopwatch()
	arrivals := make(chan time.Duration, 11)
	ep.answers(func(http.ResponseWriter, post) { arrivals <- took() })
	for range cap(arrivals) {
		e.publishTo(topic, "x")
	}
	// Delivery i cannot begin before i waits of 50 ms; times are cut to the
	// millisecond.
	for i := range cap(arrivals) {
		ep.next(t)
		if at := <-arrivals; at < time.Duration(i)*50*time.Millisecond-2*time.Millisecond {
			t.Errorf("delivery %d after %s", i, at)
		}
	}
	if err := e.setAttribute(sub, "DeliveryPolicy", `{"throttlePolicy":{"maxReceivesPerSecond":1}}`); err != nil {
		t.Fatal(err)
	}
	if n := e.concurrency(laneOf(sub)); n != 1 {
		t.Errorf("concurrency %d", n)
	}
}

func TestPacer(t *testing.T) {
	t.Parallel()
	var p pacer
	var a, b sestina.ID
	b[0] = 1
	now := time.Unix(1_700_000_000, 0)
	for i := range 9 {
		if got := p.book(a, 4, now).Sub(now); got != time.Duration(i)*250*time.Millisecond {
			t.Errorf("delivery %d after %s", i, got)
		}
	}
	if got := p.book(b, 4, now); got != now {
		t.Errorf("another subscription waits %s", got.Sub(now))
	}
	if later := now.Add(time.Minute); p.book(a, 4, later) != later {
		t.Error("a subscription that was idle waits")
	}
}

// FuzzChallenge checks that parameters that are written quoted are read back,
// and that no challenge makes the answer hold a line break.
func FuzzChallenge(f *testing.F) {
	f.Add("realm", `a "b"`, `Digest realm="x", nonce=abc, qop="auth"`)
	f.Add("nonce", `\`, `Digest nonce="`)
	f.Add("opaque", "x,y=z", `Basic realm="x"`)
	f.Fuzz(func(t *testing.T, name, value, challenge string) {
		if name != "" && onlyNameBytes(name) {
			got := parseChallenge("first=1, " + name + "=" + quote(value) + ` , last="2"`)
			if n := strings.ToLower(name); n != "first" && n != "last" && (got[n] != value || got["first"] != "1" || got["last"] != "2") {
				t.Fatalf("%s=%q is read as %v", name, value, got)
			}
		}
		if strings.ContainsAny(challenge, "\r\n") {
			return // net/http lets no such header in
		}
		u := &url.URL{Scheme: "http", Host: "x", User: url.UserPassword("u", "p")}
		if a := authorization(u, []string{challenge}); strings.ContainsAny(a, "\r\n") {
			t.Fatalf("answer %q", a)
		}
	})
}

func TestBacklogOfDeletedSubscription(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	topic := e.topicNamed("t")
	ep := newEndpoint(t)
	sub := e.confirmed(topic, ep, ep.URL)
	ep.answers(status(500))
	for range 3 {
		e.publishTo(topic, "hello")
	}
	ep.next(t)
	if _, err := e.sns.Unsubscribe(t.Context(), &awssns.UnsubscribeInput{SubscriptionArn: sub}); err != nil {
		t.Fatal(err)
	}
	e.untilIdle(laneOf(sub))
	dead := e.deads(laneOf(sub))
	if len(dead) != 3 {
		t.Fatalf("%d dead letters", len(dead))
	}
	for _, u := range dead {
		if u.Answer != "the subscription was deleted before this message was delivered" {
			t.Errorf("answer %q", u.Answer)
		}
	}
}

func TestHorizon(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	topic := e.topicNamed("t")
	ep := newEndpoint(t)
	lane := e.inserted("t", "http", ep.URL)[0]
	ep.answers(func(w http.ResponseWriter, _ post) { http.Error(w, "no", 500) })
	for range 5 {
		e.publishTo(topic, "hello")
	}
	ep.next(t)
	e.clock.Advance(71 * time.Hour)
	e.eventually("it is tried again", func() bool { return len(ep.posts) > 0 })
	if b := e.backlog(lane); b.Waiting != 5 {
		t.Errorf("backlog %+v", b)
	}
	e.clock.Advance(time.Hour)
	e.untilIdle(lane)
	dead := e.deads(lane)
	if len(dead) != 5 || !strings.HasPrefix(dead[0].Answer, "not delivered within 72h0m0s; last answer: ") {
		t.Fatalf("dead letters %+v", dead)
	}
	// Redriven, they have days again.
	ep.answers(nil)
	for range len(ep.posts) {
		<-ep.posts
	}
	if err := e.store.Do(t.Context(), &store.Redrive{Kind: store.KindNotification, Scope: testScope, Lane: lane, Now: e.clock.Now()}); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		ep.next(t)
	}
}

func TestRestartDeliversBacklog(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	topic := e.topicNamed("t")
	ep := newEndpoint(t)
	sub := e.confirmed(topic, ep, ep.URL)
	ep.answers(status(500))
	id := e.publishTo(topic, "hello")
	first := ep.next(t)
	e.stop()
	ep.answers(nil)
	e = openEnv(t, e.dir, func(o *Options) { o.PublicURL = e.PublicURL })
	e.untilIdle(laneOf(sub))
	if p := ep.next(t); p.header.Get("X-Amz-Sns-Message-Id") != *id || p.body != first.body {
		t.Errorf("after the restart\n%s\nbefore\n%s", p.body, first.body)
	}
	e.publishTo(topic, "more") // the subscription is still there
	ep.next(t)
}

func TestDialControlRefuses(t *testing.T) {
	t.Parallel()
	e := newEnv(t, func(o *Options) {
		o.DialControl = func(_, address string, _ syscall.RawConn) error {
			return errors.New("refused to connect to a private address")
		}
	})
	topic := e.topicNamed("t")
	ep := newEndpoint(t)
	lane := e.inserted("t", "http", strings.Replace(ep.URL, "127.0.0.1", "localhost", 1)+"/?secret=x")[0]
	e.publishTo(topic, "hello")
	e.eventually("the attempt fails", func() bool {
		st, err := e.store.Lane(t.Context(), store.KindNotification, lane)
		return err == nil && strings.Contains(st.LastError, "refused to connect to a private address") && !strings.Contains(st.LastError, "secret")
	})
	if len(ep.posts) != 0 {
		t.Error("the endpoint was reached")
	}
}

func TestHTTPS(t *testing.T) {
	t.Parallel()
	posts := make(chan *http.Request, 10)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { posts <- r }))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	trusting := newEnv(t, func(o *Options) { o.TLSConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12} })
	wary := newEnv(t)
	for _, e := range []*env{trusting, wary} {
		topic := e.topicNamed("t")
		lane := e.inserted("t", "https", server.URL)[0]
		e.publishTo(topic, "hello")
		if e == trusting {
			if r := <-posts; r.Proto != "HTTP/1.1" {
				t.Errorf("protocol %s", r.Proto)
			}
			continue
		}
		e.eventually("the certificate is refused", func() bool {
			st, err := e.store.Lane(t.Context(), store.KindNotification, lane)
			return err == nil && strings.Contains(st.LastError, "certificate")
		})
	}
}

func TestHostLimit(t *testing.T) {
	t.Parallel()
	e := newEnv(t, func(o *Options) { o.PerHost = 2 })
	topic := e.topicNamed("t")
	ep := newEndpoint(t)
	lanes := e.inserted("t", "http", ep.URL+"/a", ep.URL+"/b", ep.URL+"/c")
	var now, most atomic.Int32
	ep.answers(func(http.ResponseWriter, post) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		now.Add(-1)
	})
	for range 10 {
		e.publishTo(topic, "hello")
	}
	e.eventually("all three endpoints have everything", func() bool {
		if len(ep.posts) == 30 {
			return true
		}
		e.clock.Advance(time.Second) // lanes that found the host busy rest a moment
		return false
	})
	for _, lane := range lanes {
		e.untilIdle(lane)
	}
	if len(ep.posts) != 30 || most.Load() > 2 {
		t.Errorf("%d deliveries, %d at a time", len(ep.posts), most.Load())
	}
}

func TestLargeFanOut(t *testing.T) {
	t.Parallel()
	const n = 2*fanOutChunk + 101
	e := newEnv(t)
	topic := e.topicNamed("t")
	ep := newEndpoint(t)
	var endpoints []string
	for i := range n {
		endpoints = append(endpoints, fmt.Sprintf("%s/%d", ep.URL, i))
	}
	e.inserted("t", "http", endpoints...)
	id := e.publishTo(topic, "hello")
	got := map[string]int{}
	for range n {
		p := ep.next(t)
		got[p.uri]++
		if p.header.Get("X-Amz-Sns-Message-Id") != *id {
			t.Fatalf("got %v", p.header)
		}
	}
	if len(got) != n {
		t.Errorf("%d of %d subscriptions got it", len(got), n)
	}
	lane := fanOutLane + e.topics.Get(testScope, "t").ID.String()
	e.eventually("the fan-out ends", func() bool { return e.backlog(lane).Waiting == 0 })
}

// TestFanOutOfADeletedTopic: a message that was published to a part of a topic's
// subscriptions when the topic was deleted is a dead letter that says so.
func TestFanOutOfADeletedTopic(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	topic := e.topicNamed("t")
	id := e.topics.Get(testScope, "t").ID
	lane := fanOutLane + id.String()
	if err := e.engine.Pause(t.Context(), store.KindNotification, lane); err != nil {
		t.Fatal(err)
	}
	var queues []string
	for i := range fanOutChunk + 1 {
		queues = append(queues, fmt.Sprintf("arn:aws:sqs:us-east-1:000000000000:missing-%d", i))
	}
	e.inserted("t", "sqs", queues...)
	e.publishTo(topic, "hello")
	must[any](t)(e.sns.DeleteTopic(t.Context(), &awssns.DeleteTopicInput{TopicArn: topic}))
	e.topicNamed("t") // another one of the name
	if err := e.engine.Resume(t.Context(), store.KindNotification, lane); err != nil {
		t.Fatal(err)
	}
	e.eventually("the rest is a dead letter", func() bool { return e.backlog(lane).Dead == 1 })
	if d := e.deads(lane)[0]; !strings.Contains(d.Answer, "the topic was deleted") {
		t.Errorf("it says %q", d.Answer)
	}
}

func TestConfirmationIsRetriedAndNotKept(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	topic := e.topicNamed("t")
	ep := newEndpoint(t)
	ep.answers(status(503))
	_, dlqARN := e.queueNamed("dlq")
	sub := e.subscribeTo(topic, "http", ep.URL, "RedrivePolicy", fmt.Sprintf(`{"deadLetterTargetArn":%q}`, *dlqARN))
	first := ep.next(t)
	e.eventually("it is tried again", func() bool {
		if len(ep.posts) > 0 {
			return true
		}
		e.clock.Advance(2 * time.Second)
		return false
	})
	if again := ep.next(t); again.body != first.body {
		t.Errorf("again\n%s\nfirst\n%s", again.body, first.body)
	}
	ep.answers(status(404))
	e.untilIdle(laneOf(sub))
	url, _ := e.queueNamed("dlq")
	if b := e.backlog(laneOf(sub)); b.Dead != 0 || len(e.bodies(url)) != 0 {
		t.Errorf("a confirmation is a dead letter: %+v", b)
	}
}
