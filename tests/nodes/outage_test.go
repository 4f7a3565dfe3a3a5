package nodes

import (
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/sestina-mail/sestina/internal/store/postgres/pgtest"
	"github.com/sestina-mail/sestina/tests/harness"
)

// patience is how long a refusal may take while the database is away.
const patience = 10 * time.Second

// commitPatience is the same for requests whose commit was under way when the
// database went away: what became of it is asked for 20 s, since a client that is
// told too soon sends its message again.
const commitPatience = 25 * time.Second

// ready is the status of a node's readiness.
func (n *node) ready() (int, error) {
	resp, err := http.Get(n.HTTP + "/readyz")
	if err != nil {
		return 0, err
	}
	resp.Body.Close()
	return resp.StatusCode, nil
}

func (n *node) isReady(want int) error {
	got, err := n.ready()
	if err == nil && got != want {
		err = fmt.Errorf("%s: /readyz says %d, want %d", n.name, got, want)
	}
	return err
}

// TestDatabaseGoesAway: while the database is away, whoever asks is told to come
// again, in time; when it is back everything goes on by itself, and nothing that
// was accepted is lost.
func TestDatabaseGoesAway(t *testing.T) {
	t.Parallel()
	db := pgtest.Own(t)
	c := newClusterOn(t, db.URL(""), 2)
	hook := harness.NewHook(t)
	queue := c.setUp(hook)
	var ids []string
	byHook, byQueue := ledger{}, ledger{}
	for _, crash := range []bool{true, false} {
		loads := []*load{startLoad(t.Context(), c.nodes[0]), startLoad(t.Context(), c.nodes[1])}
		eventually(t, 20*time.Second, func() error { // under load, with something under way
			for _, l := range loads {
				l.mu.Lock()
				n, err := len(l.accepted), l.refused
				l.mu.Unlock()
				if err != nil {
					t.Fatal(err)
				}
				if n < 10 {
					return fmt.Errorf("%d messages", n)
				}
			}
			return nil
		})
		check(t, db.Stop(crash))
		for _, l := range loads {
			ended := time.Now()
			l.wg.Wait() // every sender is refused sooner or later
			if took := time.Since(ended); took > commitPatience {
				t.Errorf("senders hung for %s", took)
			}
			got, err := l.end()
			if reply := (*textproto.Error)(nil); errors.As(err, &reply) && reply.Code != 451 && reply.Code != 421 {
				t.Errorf("a sender was told %v", err)
			} else if status := statusOf(err); status != 0 && status != http.StatusServiceUnavailable {
				t.Errorf("a sender was told %d: %v", status, err)
			}
			ids = append(ids, got...)
		}
		slowest := c.refuses(t, queue, patience)
		check(t, db.Restart(t.Context()))
		back := time.Now()
		for _, n := range c.nodes {
			eventually(t, 20*time.Second, func() error { return n.isReady(http.StatusOK) })
			for range 3 {
				id, err := n.send(t.Context(), setName, "a@example.com", "after")
				check(t, err)
				ids = append(ids, id)
			}
			id, err := n.submit()
			check(t, err)
			ids = append(ids, id)
		}
		resumed := time.Since(back)
		want := events(ids, "Send", "Delivery")
		twice := byHook.account(t, "the HTTP endpoint", want, time.Minute, atHook(hook))
		if n := byQueue.account(t, "the queue", want, time.Minute, c.inQueue(queue)); n > 0 {
			t.Errorf("%d events are in the queue twice", n)
		}
		fmt.Printf("nodes: the database went away (crash %v): slowest refusal %s, accepting again %s after it was back; "+
			"%d messages accepted so far, %d duplicates at the HTTP endpoint\n",
			crash, slowest.Round(10*time.Millisecond), resumed.Round(10*time.Millisecond), len(ids), twice)
	}
}

// refuses sees that all requests to all nodes are refused in time with 503 or
// 451, and returns how long the slowest took.
func (c *cluster) refuses(t *testing.T, queue string, patience time.Duration) time.Duration {
	t.Helper()
	ctx := t.Context()
	var mu sync.Mutex
	var times []time.Duration
	var wg sync.WaitGroup
	for _, n := range c.nodes {
		for what, call := range map[string]func() error{
			"SendEmail":                   func() error { _, err := n.send(ctx, setName, "a@example.com", "x"); return err },
			"SendEmail, unknown identity": func() error { _, err := n.send(ctx, setName, "a@unknown.example", "x"); return err },
			"GetConfigurationSet, unknown": func() error {
				_, err := n.mail.GetConfigurationSet(ctx, &sesv2.GetConfigurationSetInput{ConfigurationSetName: aws.String("unknown")})
				return err
			},
			"CreateConfigurationSet": func() error {
				_, err := n.mail.CreateConfigurationSet(ctx, &sesv2.CreateConfigurationSetInput{ConfigurationSetName: aws.String("new")})
				return err
			},
			"CreateTopic": func() error {
				_, err := n.topics.CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String("new")})
				return err
			},
			"SendMessage": func() error {
				_, err := n.queues.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: aws.String(queue), MessageBody: aws.String("{}")})
				return err
			},
			"ReceiveMessage": func() error {
				_, err := n.queues.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: aws.String(queue), WaitTimeSeconds: 5})
				return err
			},
			"SMTP":    func() error { _, err := n.submit(); return err },
			"/readyz": func() error { return n.isReady(http.StatusServiceUnavailable) },
		} {
			wg.Go(func() {
				begin := time.Now()
				err := call()
				took := time.Since(begin)
				mu.Lock()
				times = append(times, took)
				mu.Unlock()
				if took > patience {
					t.Errorf("%s at %s took %s", what, n.name, took)
				}
				switch what {
				case "/readyz":
					if err != nil {
						t.Error(err)
					}
				case "SMTP":
					if reply := (*textproto.Error)(nil); !errors.As(err, &reply) || reply.Code != 451 {
						t.Errorf("SMTP at %s answered %v, want 451", n.name, err)
					}
				default:
					if statusOf(err) != http.StatusServiceUnavailable {
						t.Errorf("%s at %s answered %v, want 503", what, n.name, err)
					}
				}
			})
		}
	}
	wg.Wait()
	return longest(times)
}
