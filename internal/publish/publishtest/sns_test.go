package publishtest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awssns "github.com/aws/aws-sdk-go-v2/service/sns"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"go.uber.org/goleak"

	"github.com/sestina-mail/sestina/internal/awswire"
	"github.com/sestina-mail/sestina/internal/publish/publishtest"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
	"github.com/sestina-mail/sestina/internal/svc/sns"
	"github.com/sestina-mail/sestina/internal/svc/sqs"
	"github.com/sestina-mail/sestina/internal/work"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// queues lets topics reach the queue service.
type queues struct{ *sqs.Service }

func (q queues) QueueMessage(arn string, body []byte, attrs map[string]sns.QueueAttribute, groupID, dedupID string, now time.Time) (store.QueueMessage, error) {
	var list []sqs.Attribute
	for name, a := range attrs {
		list = append(list, sqs.Attribute{Name: name, DataType: a.DataType, StringValue: a.StringValue, BinaryValue: a.BinaryValue})
	}
	return q.Row(arn, body, list, groupID, dedupID, now)
}

// TestSNS runs the suite on embedded topics; a subscribed queue shows what
// arrived.
func TestSNS(t *testing.T) {
	t.Parallel()
	publishtest.Run(t, publishtest.Kind{
		Open: openSNS, Embedded: true, Shows: func(record string) string { return record + "\n" },
	})
}

func openSNS(t *testing.T, r *publishtest.Rig) publishtest.Target {
	q := sqs.New(sqs.Options{Store: r.Store, Cache: r.Cache, Clock: r.Clock, IDs: r.IDs, Logger: r.Logger})
	svc, err := sns.New(sns.Options{
		Store: r.Store, Cache: r.Cache, Clock: r.Clock, IDs: r.IDs, Logger: r.Logger, PublicURL: "http://127.0.0.1:4579", Queues: queues{q},
	})
	check(t, err)
	t.Cleanup(svc.Close)
	check(t, r.Cache.Load(t.Context()))
	check(t, svc.Load(t.Context()))

	mux := awswire.NewMux(awswire.Options{Account: r.Scope.Account, Region: r.Scope.Region, Logger: r.Logger})
	svc.Register(mux)
	sqs.Register(mux, q)
	server := httptest.NewServer(mux)
	t.Cleanup(func() { q.EndPolls(); server.Client().CloseIdleConnections(); server.Close() })
	cfg := aws.Config{Region: r.Scope.Region, BaseEndpoint: &server.URL, HTTPClient: server.Client(), Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "any", "")}
	topics, queues := awssns.NewFromConfig(cfg), awssqs.NewFromConfig(cfg)
	topic, err := topics.CreateTopic(t.Context(), &awssns.CreateTopicInput{Name: aws.String("events")})
	check(t, err)
	queue, err := queues.CreateQueue(t.Context(), &awssqs.CreateQueueInput{QueueName: aws.String("events")})
	check(t, err)
	_, err = topics.Subscribe(t.Context(), &awssns.SubscribeInput{TopicArn: topic.TopicArn, Protocol: aws.String("sqs"),
		Endpoint: aws.String(fmt.Sprintf("arn:aws:sqs:%s:%s:events", r.Scope.Region, r.Scope.Account))})
	check(t, err)

	var arrived []publishtest.Arrival
	return publishtest.Target{
		Destination: svc.Destination(), Kinds: []work.Kind{svc.Kind()},
		Definition: sestina.EventDestination{Kind: sestina.DestinationSNS, TopicARN: *topic.TopicArn},
		Missing:    sestina.EventDestination{Kind: sestina.DestinationSNS, TopicARN: *topic.TopicArn + "-missing"},
		Receive: func(n int) []publishtest.Arrival {
			ctx, cancel := context.WithTimeout(t.Context(), publishtest.Patience)
			defer cancel()
			for wait := int32(20); ; {
				got, err := queues.ReceiveMessage(ctx, &awssqs.ReceiveMessageInput{QueueUrl: queue.QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: wait, VisibilityTimeout: 3600})
				check(t, err)
				for _, m := range got.Messages {
					var e struct{ MessageID, Subject, Message string }
					check(t, json.Unmarshal([]byte(*m.Body), &e))
					if e.Subject == "Amazon SES Email Event Notification" {
						arrived = append(arrived, publishtest.Arrival{ID: e.MessageID, Record: e.Message})
					}
				}
				switch {
				case len(arrived) < n:
				case len(got.Messages) > 0:
					wait = 0 // what there is beyond n, without waiting for more
				default:
					return arrived
				}
			}
		},
		Remove: func() {
			_, err := topics.DeleteTopic(t.Context(), &awssns.DeleteTopicInput{TopicArn: topic.TopicArn})
			check(t, err)
		},
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
