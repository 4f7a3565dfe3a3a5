package recovery

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/sestina-mail/sestina/tests/harness"
)

// A stubborn relay takes SMTP conversations up to a point and then says nothing
// more, until it is told to behave.
type relay struct {
	addr string
	// stuck hears of conversations that wait.
	stuck chan struct{}

	mu      sync.Mutex
	behaved bool
	script  func(c net.Conn, line string) bool // false: not handled
	got     []string
}

// newRelay starts a relay that hangs after the message's final dot.
func newRelay(t *testing.T) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	r := &relay{addr: l.Addr().String(), stuck: make(chan struct{}, 10000)}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			context.AfterFunc(ctx, func() { _ = c.Close() })
			wg.Go(func() { r.talk(c) })
		}
	})
	t.Cleanup(func() { cancel(); _ = l.Close(); wg.Wait() })
	return r
}

func (r *relay) behave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.behaved = true
}

func (r *relay) messages() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.got)
}

func (r *relay) talk(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	fmt.Fprint(c, "220 relay.example\r\n")
	var data *strings.Builder
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		r.mu.Lock()
		script := r.script
		r.mu.Unlock()
		switch {
		case data != nil && line != ".\r\n":
			data.WriteString(line)
		case data != nil:
			r.mu.Lock()
			behaved := r.behaved
			if behaved {
				r.got = append(r.got, data.String())
			}
			r.mu.Unlock()
			data = nil
			if !behaved {
				r.stuck <- struct{}{}
				_, _ = io.Copy(io.Discard, in)
				return
			}
			fmt.Fprint(c, "250 2.0.0 taken\r\n")
		case script != nil && script(c, line):
		case strings.HasPrefix(line, "DATA"):
			data = &strings.Builder{}
			fmt.Fprint(c, "354 go on\r\n")
		case strings.HasPrefix(line, "QUIT"):
			return
		default:
			fmt.Fprint(c, "250 relay.example\r\n")
		}
	}
}

// stopInTime sends SIGTERM and asserts a clean end within the promised time.
func stopInTime(t *testing.T, s *harness.Instance) {
	t.Helper()
	begin := time.Now()
	s.Stop() // fails the test after 10 s or with another exit code than 0
	if took := time.Since(begin); took > 8*time.Second {
		t.Errorf("stopping took %s, which is too near to 10 s", took)
	} else {
		t.Logf("stopping took %s", took)
	}
}

// TestStopUnderLoad stops the program while everything that can hold it up does:
// clients in the middle of requests and messages, long polls, event streams,
// waiting calls, a subscriber that hangs and a relay that hangs after DATA. What
// was accepted is delivered after the next start, which follows at once.
func TestStopUnderLoad(t *testing.T) {
	t.Parallel()
	r := newRelay(t)
	b := newBed(t, "--relay", "smtp://"+r.addr)
	h := harness.NewHook(t)
	b.subscribe(t, h)
	b.queue(t, "events")
	b.queue(t, "empty")
	hung, leave := make(chan struct{}, 10000), make(chan struct{})
	h.Answer(func(http.ResponseWriter, *http.Request, harness.Envelope) bool {
		hung <- struct{}{}
		<-leave
		return false
	})
	t.Cleanup(sync.OnceFunc(func() { close(leave) }))

	ids := b.send(t, 3)
	<-hung
	<-r.stuck
	var all sync.WaitGroup
	holdUp(t, b, &all)
	var mu sync.Mutex
	ctx, cancel := context.WithCancel(t.Context())
	busy := make(chan struct{}, 1000)
	for i := range 6 {
		all.Go(func() {
			for ctx.Err() == nil {
				var id string
				var err error
				if i%2 == 0 {
					id, err = b.trySend(ctx, "lena@example.net", strings.Repeat("hello ", i*10000))
				} else {
					id, err = b.smtpSend(smtpMessage)
				}
				if err != nil {
					return
				}
				mu.Lock()
				ids = append(ids, id)
				mu.Unlock()
				select {
				case busy <- struct{}{}:
				default:
				}
			}
		})
	}
	for range 20 {
		<-busy
	}
	stopInTime(t, b.Instance)
	cancel()
	all.Wait()
	r.behave()
	h.Answer(nil)
	b.Restart()
	// A relay that may have taken the message makes a DeliveryDelay; Delivery
	// follows in the end.
	b.collect(t, h, expected(ids, "Send", "Delivery"))
	if n := r.messages(); n < len(ids) {
		t.Errorf("the relay has %d messages of %d", n, len(ids))
	}
}

// holdUp opens connections of every kind that does not end by itself.
func holdUp(t *testing.T, b *bed, all *sync.WaitGroup) {
	t.Helper()
	addr := strings.TrimPrefix(b.HTTP, "http://")
	open := func(addr, text string) net.Conn {
		c, err := net.Dial("tcp", addr)
		check(t, err)
		_, err = io.WriteString(c, text)
		check(t, err)
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	const auth = "Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/us-east-1/ses/aws4_request, SignedHeaders=host, Signature=00\r\n"
	for range 5 {
		open(addr, "") // says nothing
		open(addr, "P")
		open(addr, "\x16\x03\x01")
		open(addr, "POST /v2/email/outbound-emails HTTP/1.1\r\nHost: x\r\n"+auth+"Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{\"")
		open(b.SMTP, "")
		c := open(b.SMTP, "EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<lena@example.net>\r\nDATA\r\n")
		in := bufio.NewReader(c)
		for line := ""; !strings.HasPrefix(line, "354"); {
			var err error
			line, err = in.ReadString('\n')
			check(t, err)
		}
		_, err := io.WriteString(c, "Subject: never ends\r\n")
		check(t, err)
		stream := open(addr, "GET /sestina/v1/events/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
		_, err = http.ReadResponse(bufio.NewReader(stream), nil)
		check(t, err)
		open(addr, "GET /sestina/v1/messages?wait=60s&recipient=nobody@example.net HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
		open(addr, "GET /sestina/v1/events?wait=60s&type=COMPLAINT HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
		all.Go(func() {
			_, _ = b.queues().ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: b.queueURL("empty"), WaitTimeSeconds: 20})
		})
	}
}

// TestStopIsPrompt: with nothing but waiting clients the program stops at once.
func TestStopIsPrompt(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	_, err := b.queues().CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("empty")})
	check(t, err)
	idle := b.goroutines(t)
	addr := strings.TrimPrefix(b.HTTP, "http://")
	for _, path := range []string{"events/stream", "messages?wait=60s", "events?wait=60s"} {
		c, err := net.Dial("tcp", addr)
		check(t, err)
		t.Cleanup(func() { _ = c.Close() })
		fmt.Fprintf(c, "GET /sestina/v1/%s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", path)
	}
	polled := make(chan error, 1)
	go func() {
		_, err := b.queues().ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: b.queueURL("empty"), WaitTimeSeconds: 20})
		polled <- err
	}()
	c, err := net.Dial("tcp", b.SMTP)
	check(t, err)
	t.Cleanup(func() { _ = c.Close() })
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "220") {
		t.Fatalf("greeting %q: %v", line, err)
	}
	// A call under way has two goroutines.
	eventually(t, "the calls to be under way", func() bool { return b.goroutines(t) >= idle+8 })
	begin := time.Now()
	b.Stop()
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("stopping took %s although nothing was being done", took)
	}
	<-polled
}

func (b *bed) metrics(t *testing.T) []byte {
	t.Helper()
	resp, err := http.Get(b.HTTP + "/metrics")
	check(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	check(t, err)
	return text
}
