package sdk

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ses"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"
	"github.com/aws/aws-sdk-go-v2/service/sesv2/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"

	"github.com/sestina-mail/sestina/tests/harness"
)

// A lab is one running program that many tests share. Each works in a region of
// its own, so that they do not meet: resources of regions are separate.
type lab struct {
	*harness.Instance
	regions atomic.Int32
}

// TestSES runs the tests of the SES API against one program.
func TestSES(t *testing.T) {
	t.Parallel()
	l := &lab{Instance: harness.Start(t)}
	for name, fn := range map[string]func(*testing.T, *lab){
		"SetsV2": setsV2, "SetsV1": setsV1, "SetNames": setNames, "ListsPosted": listsPosted,
		"OptionDefaults": optionDefaults, "OptionsV2": optionsV2, "OptionTexts": optionTexts, "OptionsV1": optionsV1, "OptionTextsV1": optionTextsV1,
		"DestinationKinds": destinationKinds, "DestinationKindsV1": destinationKindsV1, "DestinationTexts": destinationTexts,
		"DestinationTextsV1": destinationTextsV1, "DestinationLimit": destinationLimit, "DestinationUpdate": destinationUpdate, "TestMessage": testMessage,
		"IdentitiesV2": identitiesV2, "IdentitiesV1": identitiesV1, "IdentityErrors": identityErrors, "Policies": policies, "MailFrom": mailFrom, "DKIM": dkim,
		"Account": account, "AccountSending": accountSending, "Pools": pools, "ResourceTags": resourceTags, "Unimplemented": unimplemented,
		"Precedence": precedence, "DefaultSet": defaultSet, "TagTexts": tagTexts, "OrderOfChecks": orderOfChecks, "AutoTags": autoTags, "UnknownSet": unknownSet,
		"Recipients": recipientLimit, "Unverified": unverified, "PausedSet": pausedSet, "Regions": separateRegions, "MessageIDs": messageIDs,
		"SizeV1": sizeV1, "SizeV2": sizeV2, "SMTPTexts": smtpTexts, "SMTPSize": smtpSize, "DeletedTopic": deletedTopic, "DisabledDestination": disabledDestination,
		"Bcc": bccIsHidden, "RawHeaders": rawHeaders, "ReturnPath": returnPaths, "Attachments": attachments, "CustomHeaders": customHeaders,
		"HeaderInjection": headerInjection, "RawWithoutHeaders": rawNeedsFrom, "Virus": virus, "Simulator": simulator, "SimulatorTogether": simulatorTogether, "Golden": golden,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fn(t, l)
		})
	}
}

// A place is a region with its clients. The identity example.com is verified.
type place struct {
	*lab
	region string
	v1     *ses.Client
	v2     *sesv2.Client
	sns    *sns.Client
	sqs    *sqs.Client
}

// place returns a region that no other test uses.
func (l *lab) place(t *testing.T) *place {
	t.Helper()
	return l.placeIn(t, fmt.Sprintf("test-region-%d", l.regions.Add(1)))
}

func (l *lab) placeIn(t *testing.T, region string) *place {
	t.Helper()
	cfg := l.AWS()
	cfg.Region = region
	p := &place{lab: l, region: region, v1: ses.NewFromConfig(cfg), v2: sesv2.NewFromConfig(cfg), sns: sns.NewFromConfig(cfg), sqs: sqs.NewFromConfig(cfg)}
	_, err := p.v2.CreateEmailIdentity(t.Context(), &sesv2.CreateEmailIdentityInput{EmailIdentity: aws.String("example.com")})
	if exists := (*types.AlreadyExistsException)(nil); !errors.As(err, &exists) { // another test is in the region, too
		check(t, err)
	}
	return p
}

func (p *place) arn(service, resource string) string {
	return "arn:aws:" + service + ":" + p.region + ":000000000000:" + resource
}

func (p *place) identity(t *testing.T, name string) {
	t.Helper()
	_, err := p.v2.CreateEmailIdentity(t.Context(), &sesv2.CreateEmailIdentityInput{EmailIdentity: &name})
	check(t, err)
}

func (p *place) set(t *testing.T, name string) {
	t.Helper()
	_, err := p.v2.CreateConfigurationSet(t.Context(), &sesv2.CreateConfigurationSetInput{ConfigurationSetName: &name})
	check(t, err)
}

// A queue collects what is published to a topic.
type queue struct {
	p   *place
	url string
	arn string // of the topic
}

// topic makes a topic and a queue that gets its messages without envelope.
func (p *place) topic(t *testing.T, name string) *queue {
	t.Helper()
	ctx := t.Context()
	topic, err := p.sns.CreateTopic(ctx, &sns.CreateTopicInput{Name: &name})
	check(t, err)
	made, err := p.sqs.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &name})
	check(t, err)
	_, err = p.sns.Subscribe(ctx, &sns.SubscribeInput{
		TopicArn: topic.TopicArn, Protocol: aws.String("sqs"), Endpoint: aws.String(p.arn("sqs", name)),
		Attributes: map[string]string{"RawMessageDelivery": "true"},
	})
	check(t, err)
	return &queue{p: p, url: *made.QueueUrl, arn: *topic.TopicArn}
}

// next waits for n messages and deletes them.
func (q *queue) next(t *testing.T, n int) []string {
	t.Helper()
	var out []string
	for empty := 0; len(out) < n; {
		got, err := q.p.sqs.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &q.url, MaxNumberOfMessages: int32(min(10, n-len(out))), WaitTimeSeconds: 10})
		check(t, err)
		if len(got.Messages) == 0 {
			if empty++; empty == 3 {
				t.Fatalf("%d of %d messages arrived in the queue: %q", len(out), n, out)
			}
			continue
		}
		var entries []sqstypes.DeleteMessageBatchRequestEntry
		for i, m := range got.Messages {
			out = append(out, *m.Body)
			entries = append(entries, sqstypes.DeleteMessageBatchRequestEntry{Id: aws.String(fmt.Sprint(i)), ReceiptHandle: m.ReceiptHandle})
		}
		_, err = q.p.sqs.DeleteMessageBatch(t.Context(), &sqs.DeleteMessageBatchInput{QueueUrl: &q.url, Entries: entries})
		check(t, err)
	}
	return out
}

// validated is what SES publishes to a topic when a destination is made.
const validated = "Successfully validated SNS topic for Amazon SES event publishing."

// publishTo adds an enabled destination with the given types and takes its test
// message.
func (q *queue) publishTo(t *testing.T, set, name string, eventTypes ...types.EventType) {
	t.Helper()
	_, err := q.p.v2.CreateConfigurationSetEventDestination(t.Context(), &sesv2.CreateConfigurationSetEventDestinationInput{
		ConfigurationSetName: &set, EventDestinationName: &name, EventDestination: &types.EventDestinationDefinition{
			Enabled: true, MatchingEventTypes: eventTypes, SnsDestination: &types.SnsDestination{TopicArn: &q.arn},
		},
	})
	check(t, err)
	if got := q.next(t, 1)[0]; got != validated {
		t.Fatalf("test message %q", got)
	}
}

// A record is an event record with all members.
type record struct {
	EventType string
	Mail      struct {
		Timestamp, Source, SourceArn, SendingAccountID, MessageID string
		Destination                                               []string
		HeadersTruncated                                          bool
		Headers                                                   []struct{ Name, Value string }
		CommonHeaders                                             map[string]any
		Tags                                                      map[string][]string
	}
	Bounce, Complaint, Delivery, Reject map[string]any
}

func (r *record) header(name string) (values []string) {
	for _, h := range r.Mail.Headers {
		if strings.EqualFold(h.Name, name) {
			values = append(values, h.Value)
		}
	}
	return values
}

// records waits until a message has n events and returns their records.
func (l *lab) records(t *testing.T, id string, n int) []record {
	t.Helper()
	var page struct {
		Events []struct{ Record json.RawMessage }
	}
	check(t, json.Unmarshal(l.Own(t.Context(), "GET", fmt.Sprintf("events?wait=20s&min=%d&messageId=%s", n, id), ""), &page))
	if len(page.Events) < n {
		t.Fatalf("message %s has %d events within 20 s, want %d", id, len(page.Events), n)
	}
	var out []record
	for _, e := range page.Events {
		var r record
		check(t, json.Unmarshal(e.Record, &r))
		out = append(out, r)
	}
	if len(out) > n {
		t.Errorf("message %s has %d events, want %d", id, len(out), n)
	}
	return out
}

// sent returns the Send record of a message.
func (l *lab) sent(t *testing.T, id string) record {
	t.Helper()
	var page struct {
		Events []struct{ Record record }
	}
	check(t, json.Unmarshal(l.Own(t.Context(), "GET", "events?type=SEND&messageId="+id, ""), &page))
	if len(page.Events) != 1 {
		t.Fatalf("message %s has %d Send events", id, len(page.Events))
	}
	return page.Events[0].Record
}

// raw returns a captured message as delivered.
func (l *lab) raw(t *testing.T, id string) string {
	t.Helper()
	return string(l.Own(t.Context(), "GET", "messages/"+id+"/raw", ""))
}

func content(text string) *types.EmailContent {
	return &types.EmailContent{Simple: &types.Message{Subject: &types.Content{Data: aws.String("Spring list")}, Body: &types.Body{Text: &types.Content{Data: &text}}}}
}

func rawContent(message string) *types.EmailContent {
	return &types.EmailContent{Raw: &types.RawMessage{Data: []byte(strings.ReplaceAll(message, "\n", "\r\n"))}}
}

// email is a small message, to be changed before it is sent.
func email(to ...string) *sesv2.SendEmailInput {
	return &sesv2.SendEmailInput{
		FromEmailAddress: aws.String("a@example.com"), Destination: &types.Destination{ToAddresses: to}, Content: content("hello"),
	}
}

func rawEmail(message string) *sesv2.SendEmailInput {
	return &sesv2.SendEmailInput{Content: rawContent(message)}
}

func (p *place) send(t *testing.T, in *sesv2.SendEmailInput) string {
	t.Helper()
	out, err := p.v2.SendEmail(t.Context(), in)
	check(t, err)
	return *out.MessageId
}

func tags(pairs ...string) []types.MessageTag {
	var out []types.MessageTag
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, types.MessageTag{Name: &pairs[i], Value: &pairs[i+1]})
	}
	return out
}

// An apiError is an error type of the SDK.
type apiError interface {
	error
	ErrorMessage() string
}

// wantError requires an error of the SDK's type E with the text.
func wantError[E apiError](t *testing.T, err error, text string) {
	t.Helper()
	var e E
	if !errors.As(err, &e) {
		t.Errorf("error %v, want a %T", err, e)
	} else if e.ErrorMessage() != text {
		t.Errorf("text of %T:\n got %q\nwant %q", e, e.ErrorMessage(), text)
	}
}

// wantFault requires an error with the code and text, for codes that the SDK
// has no type for.
func wantFault(t *testing.T, err error, code, text string) {
	t.Helper()
	var e smithy.APIError
	if !errors.As(err, &e) {
		t.Errorf("error %v, want %s", err, code)
	} else if e.ErrorCode() != code || e.ErrorMessage() != text {
		t.Errorf("error:\n got %s: %q\nwant %s: %q", e.ErrorCode(), e.ErrorMessage(), code, text)
	}
}

// same requires that two values have the same JSON, which is all that a client
// sees of them.
func same(t *testing.T, what string, got, want any) {
	t.Helper()
	g, err := json.Marshal(got)
	check(t, err)
	w, err := json.Marshal(want)
	check(t, err)
	if string(g) != string(w) {
		t.Errorf("%s:\n got %s\nwant %s", what, g, w)
	}
}
