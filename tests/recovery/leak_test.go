package recovery

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/sestina-mail/sestina/tests/harness"
)

var goroutines = regexp.MustCompile(`(?m)^go_goroutines (\d+)$`)

func (b *bed) goroutines(t *testing.T) int {
	t.Helper()
	m := goroutines.FindSubmatch(b.metrics(t))
	if m == nil {
		t.Fatal("no go_goroutines in the metrics")
	}
	n, err := strconv.Atoi(string(m[1]))
	check(t, err)
	return n
}

// TestNothingLeaks: clients that break off in every way, and subscribers that
// fail, leave no goroutine and no open file behind.
func TestNothingLeaks(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	h := harness.NewHook(t)
	b.subscribe(t, h)
	_, err := b.queues().CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("empty")})
	check(t, err)
	b.collect(t, h, expected(b.send(t, 20), "Send", "Delivery"))
	b.client.CloseIdleConnections()
	http.DefaultClient.CloseIdleConnections()
	files, routines := descriptors(t, b.Instance), b.goroutines(t)

	addr := strings.TrimPrefix(b.HTTP, "http://")
	breakOff := func(addr, text, until string) {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, text)
		if until == "" {
			return
		}
		in := bufio.NewReader(c)
		for line := ""; !strings.HasPrefix(line, until); {
			if line, err = in.ReadString('\n'); err != nil {
				t.Errorf("waiting for %q after %.40q: %v", until, text, err)
				return
			}
		}
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 15 {
				breakOff(addr, "", "")
				breakOff(addr, "GET /sestina/v1/messages HT", "")
				breakOff(addr, "\x16\x03\x01\x02\x00\x01", "")
				breakOff(addr, "GET /sestina/v1/events/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "HTTP/1.1 200")
				breakOff(addr, "GET /sestina/v1/messages?wait=60s&recipient=nobody@example.net HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "")
				breakOff(addr, "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\nhalf", "")
				breakOff(b.SMTP, "", "220")
				breakOff(b.SMTP, "EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<l@example.net>\r\nDATA\r\n", "354")
				breakOff(b.SMTP, "EHLO x\r\nSTARTTLS\r\n\x16\x03\x01", "220 2")
				ctx, cancel := context.WithCancel(t.Context())
				poll := make(chan struct{})
				go func() {
					defer close(poll)
					_, _ = b.queues().ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: b.queueURL("empty"), WaitTimeSeconds: 20})
				}()
				if _, err := b.trySend(t.Context(), fmt.Sprintf("lena%d@host%d.example", i, i), "hello"); err != nil {
					t.Error(err)
				}
				cancel()
				<-poll
			}
		})
	}
	all.Wait()
	// Some tens of connections to the hook are kept for a minute, and SQLite's
	// readers for ever: neither grows with the load. Every way to break off was
	// taken 120 times, so a leak in one of them is more than this.
	const slack = 100
	var filesNow, routinesNow int
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("before: %d files, %d goroutines; at the end: %d, %d", files, routines, filesNow, routinesNow)
		}
	})
	eventually(t, "goroutines and files to go", func() bool {
		b.client.CloseIdleConnections()
		http.DefaultClient.CloseIdleConnections()
		filesNow, routinesNow = descriptors(t, b.Instance), b.goroutines(t)
		return routinesNow <= routines+slack && filesNow <= files+slack
	})
	wellBehaved(t, b.Instance)
}

// TestManyIdleConnections: thousands of idle connections and long polls neither
// keep others from being served nor make the program large.
func TestManyIdleConnections(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	_, err := b.queues().CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("polled")})
	check(t, err)
	addr := strings.TrimPrefix(b.HTTP, "http://")
	open := func(text string) *bufio.Reader {
		c, err := net.Dial("tcp", addr)
		check(t, err)
		t.Cleanup(func() { _ = c.Close() })
		_, err = io.WriteString(c, text)
		check(t, err)
		return bufio.NewReaderSize(c, 512)
	}
	const idle, polls = 3000, 2000
	for range idle {
		in := open("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
		resp, err := http.ReadResponse(in, nil)
		check(t, err)
		_, _ = io.Copy(io.Discard, resp.Body)
	}
	body := `{"QueueUrl":"` + *b.queueURL("polled") + `","WaitTimeSeconds":20}`
	poll := fmt.Sprintf("POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Amz-Target: AmazonSQS.ReceiveMessage\r\nContent-Type: application/x-amz-json-1.0\r\n"+
		"Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature=00\r\n"+
		"Content-Length: %d\r\n\r\n%s", len(body), body)
	answers := make(chan string, polls)
	for range polls {
		in := open(poll)
		go func() {
			resp, err := http.ReadResponse(in, nil)
			if err != nil {
				answers <- err.Error()
				return
			}
			text, _ := io.ReadAll(resp.Body)
			answers <- resp.Status + " " + string(text)
		}()
	}
	// A connection has a goroutine, one with a call under way has two.
	eventually(t, "all polls to be under way", func() bool { return b.goroutines(t) >= idle+2*polls })
	begin := time.Now()
	b.send(t, 5)
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("five messages took %s beside the others", took)
	}
	_, err = b.queues().SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: b.queueURL("polled"), MessageBody: aws.String("only one")})
	check(t, err)
	if a := <-answers; !strings.Contains(a, "only one") {
		t.Errorf("the first poll to end got %s", a)
	}
	if kb := status(t, b.Instance, "VmRSS"); kb > 300<<10 {
		t.Errorf("%d kB resident", kb)
	} else {
		t.Logf("%d kB resident with %d connections", kb, idle+polls)
	}
	stopInTime(t, b.Instance)
	for range polls - 1 {
		if a := <-answers; strings.Contains(a, "only one") || !strings.HasPrefix(a, "200") {
			t.Fatalf("a poll ended with %s", a)
		}
	}
}
