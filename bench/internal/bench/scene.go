package bench

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"sync"
	"sync/atomic"
	"time"
)

// TopicARN is the ARN of a topic of the bench's account and region.
func TopicARN(name string) string { return "arn:aws:sns:us-east-1:000000000000:" + name }

// Identity makes the sender's identity; dev verifies it at once.
func (a API) Identity() error {
	_, err := a.SES(http.MethodPost, "identities", map[string]any{"EmailIdentity": "example.com"})
	return err
}

// Set makes a configuration set whose one event destination, named "events",
// publishes Send and Delivery events to the topic of the same name. So every
// message causes two publications.
func (a API) Set(name string) error {
	if _, err := a.Query("sns", "Action", "CreateTopic", "Name", name); err != nil {
		return err
	}
	if _, err := a.SES(http.MethodPost, "configuration-sets", map[string]any{"ConfigurationSetName": name}); err != nil {
		return err
	}
	_, err := a.SES(http.MethodPost, "configuration-sets/"+name+"/event-destinations", map[string]any{
		"EventDestinationName": "events", "EventDestination": destination(name, true),
	})
	return err
}

// Enable enables or disables the event destination of a set.
func (a API) Enable(name string, enabled bool) error {
	_, err := a.SES(http.MethodPut, "configuration-sets/"+name+"/event-destinations/events", map[string]any{
		"EventDestination": destination(name, enabled),
	})
	return err
}

func destination(topic string, enabled bool) map[string]any {
	return map[string]any{
		"Enabled": enabled, "MatchingEventTypes": []string{"SEND", "DELIVERY"},
		"SnsDestination": map[string]any{"TopicArn": TopicARN(topic)},
	}
}

// Subscribe subscribes an endpoint to a topic.
func (a API) Subscribe(topic, protocol, endpoint string) error {
	_, err := a.Query("sns", "Action", "Subscribe", "TopicArn", TopicARN(topic), "Protocol", protocol, "Endpoint", endpoint)
	return err
}

// A Queue is a queue of the embedded SQS.
type Queue struct {
	api API
	URL string
}

// Queue makes a queue and subscribes it to a topic of the same name.
func (a API) Queue(name string) (Queue, error) {
	out, err := a.SQS("CreateQueue", map[string]any{"QueueName": name})
	if err != nil {
		return Queue{}, err
	}
	m := regexp.MustCompile(`"QueueUrl":"([^"]+)"`).FindStringSubmatch(out)
	if m == nil {
		return Queue{}, fmt.Errorf("no QueueUrl in %s", out)
	}
	return Queue{a, m[1]}, a.Subscribe(name, "sqs", "arn:aws:sqs:us-east-1:000000000000:"+name)
}

// Depth is how many messages are in the queue.
func (q Queue) Depth() (n int, err error) {
	out, err := q.api.SQS("GetQueueAttributes", map[string]any{"QueueUrl": q.URL, "AttributeNames": []string{"ApproximateNumberOfMessages"}})
	if err != nil {
		return 0, err
	}
	_, err = fmt.Sscanf(regexp.MustCompile(`"ApproximateNumberOfMessages":"\d+`).FindString(out), `"ApproximateNumberOfMessages":"%d`, &n)
	return n, err
}

// Delete deletes the queue.
func (q Queue) Delete() error {
	_, err := q.api.SQS("DeleteQueue", map[string]any{"QueueUrl": q.URL})
	return err
}

// A Hook is an HTTP subscriber. It confirms its subscriptions, answers
// notifications with 200 and notes when each event of a message came.
type Hook struct {
	URL string

	server *http.Server
	ready  chan error
	count  atomic.Int64
	track  atomic.Bool
	delay  atomic.Int64 // nanoseconds before a notification is answered

	mu      sync.Mutex
	arrived map[string]time.Time // by event type, space, message id
}

// NewHook starts a subscriber on the loopback interface.
func NewHook() (*Hook, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	h := &Hook{URL: "http://" + l.Addr().String() + "/hook", ready: make(chan error, 16), arrived: map[string]time.Time{}}
	h.server = &http.Server{Handler: h}
	go func() { _ = h.server.Serve(l) }() // ends with Close
	return h, nil
}

// Close ends the subscriber.
func (h *Hook) Close() { _ = h.server.Close() }

// Subscribe subscribes the hook to a topic and waits until it confirmed that.
func (h *Hook) Subscribe(a API, topic string) error {
	if err := a.Subscribe(topic, "http", h.URL); err != nil {
		return err
	}
	select {
	case err := <-h.ready:
		return err
	case <-time.After(20 * time.Second):
		return fmt.Errorf("the subscription to %s was not confirmed within 20 s", topic)
	}
}

// Count is how many events came so far.
func (h *Hook) Count() int { return int(h.count.Load()) }

// Track makes the hook note the time of every event from now on.
func (h *Hook) Track(on bool) { h.track.Store(on) }

// Delay makes the hook answer notifications only after d from now on.
func (h *Hook) Delay(d time.Duration) { h.delay.Store(int64(d)) }

// Arrived returns when an event of a message came.
func (h *Hook) Arrived(eventType, messageID string) (time.Time, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t, ok := h.arrived[eventType+" "+messageID]
	return t, ok
}

var subscribeURL = regexp.MustCompile(`"SubscribeURL"\s*:\s*"([^"]+)"`)

func (h *Hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	now := time.Now()
	if err != nil {
		return
	}
	if r.Header.Get("x-amz-sns-message-type") == "SubscriptionConfirmation" {
		go h.confirm(body)
		return
	}
	eventType := between(body, `\"eventType\":\"`)
	if eventType == "" {
		return // the message that SES publishes to a new destination
	}
	if h.track.Load() {
		key := eventType + " " + between(body, `\"messageId\":\"`)
		h.mu.Lock()
		if _, again := h.arrived[key]; !again {
			h.arrived[key] = now
		}
		h.mu.Unlock()
	}
	time.Sleep(time.Duration(h.delay.Load()))
	h.count.Add(1)
}

func (h *Hook) confirm(body []byte) {
	m := subscribeURL.FindSubmatch(body)
	if m == nil {
		h.ready <- fmt.Errorf("no SubscribeURL in %s", body)
		return
	}
	resp, err := http.Get(string(m[1]))
	if err == nil {
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("confirm the subscription: %s", resp.Status)
		}
	}
	h.ready <- err
}

// between returns what follows the first mark, up to a backslash.
func between(b []byte, mark string) string {
	_, rest, ok := bytes.Cut(b, []byte(mark))
	v, _, ended := bytes.Cut(rest, []byte(`\`))
	if !ok || !ended {
		return ""
	}
	return string(v)
}
