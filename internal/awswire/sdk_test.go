package awswire

import (
	"context"
	"errors"
	"fmt"
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
	sdkcloudwatch "github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	sdkeventbridge "github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	sdkfirehose "github.com/aws/aws-sdk-go-v2/service/firehose"
	fhtypes "github.com/aws/aws-sdk-go-v2/service/firehose/types"
	sdkpinpoint "github.com/aws/aws-sdk-go-v2/service/pinpoint"
	pptypes "github.com/aws/aws-sdk-go-v2/service/pinpoint/types"
	sdkses "github.com/aws/aws-sdk-go-v2/service/ses"
	sestypes "github.com/aws/aws-sdk-go-v2/service/ses/types"
	sdksesv2 "github.com/aws/aws-sdk-go-v2/service/sesv2"
	ses2types "github.com/aws/aws-sdk-go-v2/service/sesv2/types"
	sdksns "github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	sdksqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	sdksts "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/sestina-mail/sestina/internal/awsapi/cloudwatch"
	"github.com/sestina-mail/sestina/internal/awsapi/eventbridge"
	"github.com/sestina-mail/sestina/internal/awsapi/firehose"
	"github.com/sestina-mail/sestina/internal/awsapi/pinpoint"
	"github.com/sestina-mail/sestina/internal/awsapi/ses"
	"github.com/sestina-mail/sestina/internal/awsapi/sesv2"
	"github.com/sestina-mail/sestina/internal/awsapi/sns"
	"github.com/sestina-mail/sestina/internal/awsapi/sqs"
	"github.com/sestina-mail/sestina/internal/awsapi/sts"
	"github.com/sestina-mail/sestina/internal/sestina"
)

const (
	testKey    = "AKIAIOSFODNN7EXAMPLE"
	testSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
)

// keys are Credentials from a map.
type keys map[string]Key

func (k keys) Lookup(_ context.Context, id string) (Key, error) {
	key, ok := k[id]
	if !ok {
		return Key{}, fmt.Errorf("access key %s: %w", id, ErrUnknownKey)
	}
	return key, nil
}

var testKeys = keys{
	testKey: {Secret: testSecret, Account: "111122223333", PrincipalARN: "arn:aws:iam::111122223333:user/app", UserName: "app"},
	"ASIATEMPORARY": {Secret: "temporary", SessionToken: "token", Account: "111122223333",
		Expires: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)},
	"ASIAEXPIRED": {Secret: "temporary", SessionToken: "token", Expires: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)},
}

// A recorder keeps what Observe saw.
type recorder struct {
	mu    sync.Mutex
	calls []observed
}

type observed struct {
	call   Call
	status int
	code   string
}

func (r *recorder) observe(c *Call, status int, code string, _ time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, observed{*c, status, code})
}

func (r *recorder) last(t *testing.T) observed {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.calls) == 0 {
		t.Fatal("nothing was observed")
	}
	return r.calls[len(r.calls)-1]
}

// modes are the two ways of treating signatures.
func modes() map[string]Options {
	return map[string]Options{
		"enforce": {Credentials: testKeys},
		"accept":  {},
	}
}

func discard() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// sdkConfig is how a client is pointed at the server.
func sdkConfig(url string) aws.Config {
	return aws.Config{
		Region: "eu-west-1", BaseEndpoint: aws.String(url),
		Credentials: credentials.NewStaticCredentialsProvider(testKey, testSecret, ""),
		Retryer:     func() aws.Retryer { return aws.NopRetryer{} },
	}
}

func TestSDK(t *testing.T) {
	t.Parallel()
	for mode, opt := range modes() {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			rec := &recorder{}
			opt.Observe, opt.Logger = rec.observe, discard()
			m := NewMux(opt)
			registerEchoes(t, m)
			server := httptest.NewServer(m)
			t.Cleanup(server.Close)
			cfg := sdkConfig(server.URL)
			for name, call := range sdkCalls(cfg) {
				if err := call(t.Context()); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				got := rec.last(t)
				if got.status >= 300 || got.call.Service+"."+got.call.Operation != name {
					t.Errorf("%s: observed %+v", name, got)
				}
				if !got.call.Signed || got.call.Scope.Region != "eu-west-1" || got.call.AccessKeyID != testKey {
					t.Errorf("%s: call %+v", name, got.call)
				}
				if got.call.BaseURL != server.URL {
					t.Errorf("%s: base URL %s, want %s", name, got.call.BaseURL, server.URL)
				}
				if want := map[string]string{"enforce": "111122223333", "accept": "000000000000"}[mode]; got.call.Scope.Account != want {
					t.Errorf("%s: account %s, want %s", name, got.call.Scope.Account, want)
				}
			}
		})
	}
}

var testTime = time.Date(2026, 1, 31, 12, 30, 15, 250e6, time.UTC)

// registerEchoes registers handlers that answer with something of the input.
func registerEchoes(t *testing.T, m *Mux) {
	t.Helper()
	Handle(m, sesv2.OpSendEmail, func(_ context.Context, in *sesv2.SendEmailInput) (*sesv2.SendEmailOutput, error) {
		return &sesv2.SendEmailOutput{MessageId: new(*in.FromEmailAddress + "|" + *in.Content.Simple.Subject.Data)}, nil
	})
	Handle(m, sesv2.OpGetEmailIdentity, func(_ context.Context, in *sesv2.GetEmailIdentityInput) (*sesv2.GetEmailIdentityOutput, error) {
		return &sesv2.GetEmailIdentityOutput{ConfigurationSetName: in.EmailIdentity, VerifiedForSendingStatus: new(true)}, nil
	})
	Handle(m, sesv2.OpListEmailIdentities, func(_ context.Context, in *sesv2.ListEmailIdentitiesInput) (*sesv2.ListEmailIdentitiesOutput, error) {
		return &sesv2.ListEmailIdentitiesOutput{NextToken: in.NextToken}, nil
	})
	Handle(m, sesv2.OpUntagResource, func(_ context.Context, in *sesv2.UntagResourceInput) (*sesv2.UntagResourceOutput, error) {
		if strings.Join(in.TagKeys, ",") != "a b,c+d" {
			return nil, sestina.Errorf("BadRequestException", "got %q", in.TagKeys)
		}
		return nil, nil
	})
	Handle(m, ses.OpSendEmail, func(_ context.Context, in *ses.SendEmailInput) (*ses.SendEmailOutput, error) {
		return &ses.SendEmailOutput{MessageId: new(in.Destination.ToAddresses[1] + "|" + *in.Message.Body.Text.Data)}, nil
	})
	Handle(m, sns.OpPublish, func(_ context.Context, in *sns.PublishInput) (*sns.PublishOutput, error) {
		return &sns.PublishOutput{MessageId: in.MessageAttributes["k"].StringValue}, nil
	})
	Handle(m, sqs.OpReceiveMessage, func(_ context.Context, in *sqs.ReceiveMessageInput) (*sqs.ReceiveMessageOutput, error) {
		if *in.MaxNumberOfMessages == 10 {
			return nil, nil
		}
		return &sqs.ReceiveMessageOutput{Messages: []sqs.Message{{Body: new("a\r\n\"b\""), Attributes: map[string]string{"SenderId": "x"}}}}, nil
	})
	Handle(m, sqs.OpSendMessageBatch, func(context.Context, *sqs.SendMessageBatchInput) (*sqs.SendMessageBatchOutput, error) {
		return &sqs.SendMessageBatchOutput{Failed: []sqs.BatchResultErrorEntry{{Id: new("1"), Code: new("X"), SenderFault: new(true)}}}, nil
	})
	Handle(m, cloudwatch.OpPutMetricData, func(_ context.Context, in *cloudwatch.PutMetricDataInput) (*cloudwatch.PutMetricDataOutput, error) {
		d := in.MetricData[len(in.MetricData)-1]
		if *d.Value != 2.5 || !d.Timestamp.Equal(testTime) {
			return nil, sestina.Errorf("InvalidParameterValueException", "got %v at %v", *d.Value, d.Timestamp)
		}
		return nil, nil
	})
	Handle(m, cloudwatch.OpGetMetricStatistics, func(_ context.Context, in *cloudwatch.GetMetricStatisticsInput) (*cloudwatch.GetMetricStatisticsOutput, error) {
		return &cloudwatch.GetMetricStatisticsOutput{Datapoints: []cloudwatch.Datapoint{{Timestamp: in.StartTime, Sum: new(3.0)}}}, nil
	})
	Handle(m, firehose.OpPutRecord, func(_ context.Context, in *firehose.PutRecordInput) (*firehose.PutRecordOutput, error) {
		return &firehose.PutRecordOutput{RecordId: new(string(in.Record.Data))}, nil
	})
	Handle(m, eventbridge.OpPutEvents, func(_ context.Context, in *eventbridge.PutEventsInput) (*eventbridge.PutEventsOutput, error) {
		return &eventbridge.PutEventsOutput{
			FailedEntryCount: new(int32(0)),
			Entries:          []eventbridge.PutEventsResultEntry{{EventId: new(in.Entries[0].Time.Format(time.RFC3339))}},
		}, nil
	})
	Handle(m, pinpoint.OpCreateApp, func(_ context.Context, in *pinpoint.CreateAppInput) (*pinpoint.CreateAppOutput, error) {
		return &pinpoint.CreateAppOutput{ApplicationResponse: &pinpoint.ApplicationResponse{
			Arn: new("arn"), Id: new("id"), Name: in.CreateApplicationRequest.Name, Tags: in.CreateApplicationRequest.Tags,
		}}, nil
	})
	Handle(m, pinpoint.OpListTagsForResource, func(_ context.Context, in *pinpoint.ListTagsForResourceInput) (*pinpoint.ListTagsForResourceOutput, error) {
		return &pinpoint.ListTagsForResourceOutput{TagsModel: &pinpoint.TagsModel{Tags: map[string]string{"arn": *in.ResourceArn}}}, nil
	})
	Handle(m, pinpoint.OpTagResource, func(context.Context, *pinpoint.TagResourceInput) (*pinpoint.TagResourceOutput, error) {
		return nil, nil
	})
	Handle(m, sts.OpGetCallerIdentity, func(ctx context.Context, _ *sts.GetCallerIdentityInput) (*sts.GetCallerIdentityOutput, error) {
		c := CallFrom(ctx)
		return &sts.GetCallerIdentityOutput{Account: new(c.Scope.Account), Arn: new(c.PrincipalARN), UserId: new("AIDA")}, nil
	})
}

// same is an error unless got is want.
func same[T comparable](got, want T) error {
	if got != want {
		return fmt.Errorf("got %v, want %v", got, want)
	}
	return nil
}

// sdkCalls are calls with the official clients, named service.operation.
func sdkCalls(cfg aws.Config) map[string]func(context.Context) error {
	ses2 := sdksesv2.NewFromConfig(cfg)
	queue := aws.String("http://example.com/111122223333/q")
	return map[string]func(context.Context) error{
		"sesv2.SendEmail": func(ctx context.Context) error {
			out, err := ses2.SendEmail(ctx, &sdksesv2.SendEmailInput{
				FromEmailAddress: aws.String("Ä <a+b@example.com>"), Destination: &ses2types.Destination{ToAddresses: []string{"x@example.com"}},
				Content: &ses2types.EmailContent{Simple: &ses2types.Message{
					Subject: &ses2types.Content{Data: aws.String("“Hé\"llo\\”\n\x7f😀")}, Body: &ses2types.Body{},
				}},
			})
			return check(err, func() error { return same(*out.MessageId, "Ä <a+b@example.com>|“Hé\"llo\\”\n\x7f😀") })
		},
		"sesv2.GetEmailIdentity": func(ctx context.Context) error {
			out, err := ses2.GetEmailIdentity(ctx, &sdksesv2.GetEmailIdentityInput{EmailIdentity: aws.String("a+b/ü %2F:@example.com")})
			return check(err, func() error { return same(*out.ConfigurationSetName, "a+b/ü %2F:@example.com") })
		},
		"sesv2.ListEmailIdentities": func(ctx context.Context) error {
			out, err := ses2.ListEmailIdentities(ctx, &sdksesv2.ListEmailIdentitiesInput{NextToken: aws.String("t&=+ü")})
			return check(err, func() error { return same(*out.NextToken, "t&=+ü") })
		},
		"sesv2.UntagResource": func(ctx context.Context) error {
			_, err := ses2.UntagResource(ctx, &sdksesv2.UntagResourceInput{ResourceArn: aws.String("arn:aws:ses:x"), TagKeys: []string{"a b", "c+d"}})
			return err
		},
		"ses.SendEmail": func(ctx context.Context) error {
			out, err := sdkses.NewFromConfig(cfg).SendEmail(ctx, &sdkses.SendEmailInput{
				Source: aws.String("a@example.com"), Destination: &sestypes.Destination{ToAddresses: []string{"x", "ü+&=%"}},
				Message: &sestypes.Message{
					Subject: &sestypes.Content{Data: aws.String("s")}, Body: &sestypes.Body{Text: &sestypes.Content{Data: aws.String("<&>\"\r\n")}},
				},
			})
			return check(err, func() error { return same(*out.MessageId, "ü+&=%|<&>\"\r\n") })
		},
		"sns.Publish": func(ctx context.Context) error {
			out, err := sdksns.NewFromConfig(cfg).Publish(ctx, &sdksns.PublishInput{
				TopicArn: aws.String("arn"), Message: aws.String("m"),
				MessageAttributes: map[string]snstypes.MessageAttributeValue{"k": {DataType: aws.String("String"), StringValue: aws.String("v")}},
			})
			return check(err, func() error { return same(*out.MessageId, "v") })
		},
		"sqs.ReceiveMessage": func(ctx context.Context) error {
			c := sdksqs.NewFromConfig(cfg, func(o *sdksqs.Options) { o.DisableMessageChecksumValidation = true })
			out, err := c.ReceiveMessage(ctx, &sdksqs.ReceiveMessageInput{QueueUrl: queue, MaxNumberOfMessages: 10})
			if err != nil || len(out.Messages) != 0 {
				return fmt.Errorf("empty receive: %v %w", out, err)
			}
			out, err = c.ReceiveMessage(ctx, &sdksqs.ReceiveMessageInput{QueueUrl: queue, MaxNumberOfMessages: 1})
			return check(err, func() error { return same(*out.Messages[0].Body, "a\r\n\"b\"") })
		},
		"sqs.SendMessageBatch": func(ctx context.Context) error {
			c := sdksqs.NewFromConfig(cfg, func(o *sdksqs.Options) { o.DisableMessageChecksumValidation = true })
			out, err := c.SendMessageBatch(ctx, &sdksqs.SendMessageBatchInput{
				QueueUrl: queue, Entries: []sqstypes.SendMessageBatchRequestEntry{{Id: aws.String("1"), MessageBody: aws.String("b")}},
			})
			return check(err, func() error { return same(out.Successful != nil && out.Failed[0].SenderFault, true) })
		},
		"cloudwatch.PutMetricData": func(ctx context.Context) error {
			data := make([]cwtypes.MetricDatum, 400) // above the size that clients compress
			for i := range data {
				data[i] = cwtypes.MetricDatum{MetricName: aws.String(fmt.Sprintf("metric-%d", i)), Value: aws.Float64(2.5), Timestamp: &testTime}
			}
			_, err := sdkcloudwatch.NewFromConfig(cfg).PutMetricData(ctx, &sdkcloudwatch.PutMetricDataInput{Namespace: aws.String("N"), MetricData: data})
			return err
		},
		"cloudwatch.GetMetricStatistics": func(ctx context.Context) error {
			out, err := sdkcloudwatch.NewFromConfig(cfg).GetMetricStatistics(ctx, &sdkcloudwatch.GetMetricStatisticsInput{
				Namespace: aws.String("N"), MetricName: aws.String("m"), Period: aws.Int32(60), StartTime: &testTime, EndTime: &testTime,
			})
			return check(err, func() error {
				return same(out.Datapoints[0].Timestamp.Equal(testTime) && *out.Datapoints[0].Sum == 3, true)
			})
		},
		"firehose.PutRecord": func(ctx context.Context) error {
			out, err := sdkfirehose.NewFromConfig(cfg).PutRecord(ctx, &sdkfirehose.PutRecordInput{
				DeliveryStreamName: aws.String("s"), Record: &fhtypes.Record{Data: []byte("data\x00")},
			})
			return check(err, func() error { return same(*out.RecordId, "data\x00") })
		},
		"eventbridge.PutEvents": func(ctx context.Context) error {
			out, err := sdkeventbridge.NewFromConfig(cfg).PutEvents(ctx, &sdkeventbridge.PutEventsInput{
				Entries: []ebtypes.PutEventsRequestEntry{{Time: &testTime, Source: aws.String("s"), DetailType: aws.String("d"), Detail: aws.String("{}")}},
			})
			return check(err, func() error { return same(*out.Entries[0].EventId, "2026-01-31T12:30:15Z") })
		},
		"pinpoint.CreateApp": func(ctx context.Context) error {
			out, err := sdkpinpoint.NewFromConfig(cfg).CreateApp(ctx, &sdkpinpoint.CreateAppInput{
				CreateApplicationRequest: &pptypes.CreateApplicationRequest{Name: aws.String("app"), Tags: map[string]string{"a": "b"}},
			})
			return check(err, func() error { return same(*out.ApplicationResponse.Name+out.ApplicationResponse.Tags["a"], "appb") })
		},
		"pinpoint.ListTagsForResource": func(ctx context.Context) error {
			const arn = "arn:aws:mobiletargeting:us-east-1:111122223333:apps/0123"
			out, err := sdkpinpoint.NewFromConfig(cfg).ListTagsForResource(ctx, &sdkpinpoint.ListTagsForResourceInput{ResourceArn: aws.String(arn)})
			return check(err, func() error { return same(out.TagsModel.Tags["arn"], arn) })
		},
		"pinpoint.TagResource": func(ctx context.Context) error {
			_, err := sdkpinpoint.NewFromConfig(cfg).TagResource(ctx, &sdkpinpoint.TagResourceInput{
				ResourceArn: aws.String("arn:x/y"), TagsModel: &pptypes.TagsModel{Tags: map[string]string{"a": "b"}},
			})
			return err
		},
		"sts.GetCallerIdentity": func(ctx context.Context) error {
			out, err := sdksts.NewFromConfig(cfg).GetCallerIdentity(ctx, nil)
			return check(err, func() error { return same(strings.HasPrefix(*out.Arn, "arn:aws:iam::"+*out.Account), true) })
		},
	}
}

func check(err error, f func() error) error {
	if err != nil {
		return err
	}
	return f()
}

func TestPresignedSTS(t *testing.T) {
	t.Parallel()
	for mode, opt := range modes() {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			m := NewMux(opt)
			registerEchoes(t, m)
			server := httptest.NewServer(m)
			t.Cleanup(server.Close)
			p := sdksts.NewPresignClient(sdksts.NewFromConfig(sdkConfig(server.URL)))
			req, err := p.PresignGetCallerIdentity(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			body, status := get(t, req.URL)
			if status != http.StatusOK || !strings.Contains(body, "<Account>") {
				t.Fatalf("%d %s", status, body)
			}
			_, status = get(t, strings.Replace(req.URL, "GetCallerIdentity", "GetSessionToken", 1))
			if want := map[string]int{"enforce": 403, "accept": 400}[mode]; status != want {
				t.Errorf("a changed URL: %d, want %d", status, want)
			}
		})
	}
}

func get(t *testing.T, url string) (string, int) {
	t.Helper()
	resp, err := http.Get(url) // a test server
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() // read only
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), resp.StatusCode
}

// TestSDKErrors checks what the official clients make of refusals: their typed
// errors and codes.
func TestSDKErrors(t *testing.T) {
	t.Parallel()
	m := NewMux(Options{Credentials: testKeys, Logger: discard()})
	Handle(m, sesv2.OpGetConfigurationSet, func(context.Context, *sesv2.GetConfigurationSetInput) (*sesv2.GetConfigurationSetOutput, error) {
		return nil, sestina.SESErrorf("ConfigurationSetDoesNotExist", "NotFoundException", "Configuration set <%s> does not exist.", "x")
	})
	Handle(m, ses.OpDescribeConfigurationSet, func(context.Context, *ses.DescribeConfigurationSetInput) (*ses.DescribeConfigurationSetOutput, error) {
		return nil, sestina.SESErrorf("ConfigurationSetDoesNotExist", "NotFoundException", "Configuration set <%s> does not exist.", "x")
	})
	Handle(m, sns.OpPublish, func(context.Context, *sns.PublishInput) (*sns.PublishOutput, error) {
		return nil, sestina.Errorf("NotFound", "Topic does not exist")
	})
	Handle(m, sqs.OpGetQueueUrl, func(context.Context, *sqs.GetQueueUrlInput) (*sqs.GetQueueUrlOutput, error) {
		return nil, sestina.Errorf("QueueDoesNotExist", "The specified queue does not exist.")
	})
	Handle(m, cloudwatch.OpGetDashboard, func(context.Context, *cloudwatch.GetDashboardInput) (*cloudwatch.GetDashboardOutput, error) {
		return nil, sestina.Errorf("DashboardNotFoundError", "none")
	})
	Handle(m, firehose.OpDescribeDeliveryStream, func(context.Context, *firehose.DescribeDeliveryStreamInput) (*firehose.DescribeDeliveryStreamOutput, error) {
		return nil, sestina.Errorf("ResourceNotFoundException", "none")
	})
	Handle(m, pinpoint.OpGetApp, func(context.Context, *pinpoint.GetAppInput) (*pinpoint.GetAppOutput, error) {
		return nil, sestina.Errorf("NotFoundException", "Resource not found")
	})
	server := httptest.NewServer(m)
	t.Cleanup(server.Close)
	cfg := sdkConfig(server.URL)
	ctx := t.Context()

	_, err := sdksesv2.NewFromConfig(cfg).GetConfigurationSet(ctx, &sdksesv2.GetConfigurationSetInput{ConfigurationSetName: aws.String("x")})
	wantAs[*ses2types.NotFoundException](t, err, "NotFoundException", "Configuration set <x> does not exist.")
	_, err = sdkses.NewFromConfig(cfg).DescribeConfigurationSet(ctx, &sdkses.DescribeConfigurationSetInput{ConfigurationSetName: aws.String("x")})
	wantAs[*sestypes.ConfigurationSetDoesNotExistException](t, err, "ConfigurationSetDoesNotExist", "Configuration set <x> does not exist.")
	_, err = sdksns.NewFromConfig(cfg).Publish(ctx, &sdksns.PublishInput{Message: aws.String("m")})
	wantAs[*snstypes.NotFoundException](t, err, "NotFound", "Topic does not exist")
	_, err = sdksqs.NewFromConfig(cfg).GetQueueUrl(ctx, &sdksqs.GetQueueUrlInput{QueueName: aws.String("q")})
	wantAs[*sqstypes.QueueDoesNotExist](t, err, "AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist.")
	_, err = sdkcloudwatch.NewFromConfig(cfg).GetDashboard(ctx, &sdkcloudwatch.GetDashboardInput{DashboardName: aws.String("d")})
	wantAs[*cwtypes.DashboardNotFoundError](t, err, "ResourceNotFound", "none")
	_, err = sdkfirehose.NewFromConfig(cfg).DescribeDeliveryStream(ctx, &sdkfirehose.DescribeDeliveryStreamInput{DeliveryStreamName: aws.String("d")})
	wantAs[*fhtypes.ResourceNotFoundException](t, err, "ResourceNotFoundException", "none")
	_, err = sdkpinpoint.NewFromConfig(cfg).GetApp(ctx, &sdkpinpoint.GetAppInput{ApplicationId: aws.String("a")})
	wantAs[*pptypes.NotFoundException](t, err, "NotFoundException", "Resource not found")

	cfg.Credentials = credentials.NewStaticCredentialsProvider(testKey, "wrong", "")
	_, err = sdksns.NewFromConfig(cfg).Publish(ctx, &sdksns.PublishInput{Message: aws.String("m")})
	wantCode(t, err, "SignatureDoesNotMatch")
	_, err = sdksesv2.NewFromConfig(cfg).GetAccount(ctx, nil)
	wantCode(t, err, "InvalidSignatureException")
	cfg.Credentials = credentials.NewStaticCredentialsProvider("AKIAUNKNOWN", "wrong", "")
	_, err = sdkfirehose.NewFromConfig(cfg).ListDeliveryStreams(ctx, nil)
	wantCode(t, err, "UnrecognizedClientException")
	cfg.Credentials = credentials.NewStaticCredentialsProvider("ASIATEMPORARY", "temporary", "token")
	_, err = sdksns.NewFromConfig(cfg).Publish(ctx, &sdksns.PublishInput{Message: aws.String("m")})
	wantCode(t, err, "NotFound")
	cfg.Credentials = credentials.NewStaticCredentialsProvider("ASIATEMPORARY", "temporary", "other")
	_, err = sdksns.NewFromConfig(cfg).Publish(ctx, &sdksns.PublishInput{Message: aws.String("m")})
	wantCode(t, err, "InvalidClientTokenId")
	cfg.Credentials = credentials.NewStaticCredentialsProvider("ASIAEXPIRED", "temporary", "token")
	_, err = sdksns.NewFromConfig(cfg).Publish(ctx, &sdksns.PublishInput{Message: aws.String("m")})
	wantCode(t, err, "ExpiredToken")
}

func wantAs[E error](t *testing.T, err error, code, message string) {
	t.Helper()
	var typed E
	if !errors.As(err, &typed) {
		t.Errorf("%v is no %T", err, typed)
	}
	wantCode(t, err, code)
	var api smithy.APIError
	if errors.As(err, &api) && api.ErrorMessage() != message {
		t.Errorf("message %q, want %q", api.ErrorMessage(), message)
	}
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != code {
		t.Errorf("got %v, want code %s", err, code)
	}
}
