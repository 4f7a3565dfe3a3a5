package awswire

import (
	"context"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/sestina-mail/sestina/internal/awsapi"
	"github.com/sestina-mail/sestina/internal/awsapi/cloudwatch"
	"github.com/sestina-mail/sestina/internal/awsapi/eventbridge"
	"github.com/sestina-mail/sestina/internal/awsapi/firehose"
	"github.com/sestina-mail/sestina/internal/awsapi/ses"
	"github.com/sestina-mail/sestina/internal/awsapi/sesv2"
	"github.com/sestina-mail/sestina/internal/awsapi/sns"
	"github.com/sestina-mail/sestina/internal/awsapi/sqs"
)

// accept registers a handler that accepts everything, so that whatever is
// refused was refused by the constraints.
func accept[In, Out any](m *Mux, op awsapi.Operation[In, Out]) {
	Handle(m, op, func(context.Context, *In) (*Out, error) { return nil, nil })
}

func TestValidation(t *testing.T) {
	t.Parallel()
	m := NewMux(Options{})
	accept(m, sesv2.OpSendEmail)
	accept(m, sesv2.OpCreateConfigurationSet)
	accept(m, sesv2.OpCreateConfigurationSetEventDestination)
	accept(m, sesv2.OpPutAccountDetails)
	accept(m, sesv2.OpBatchGetMetricData)
	accept(m, sesv2.OpPutConfigurationSetDeliveryOptions)
	accept(m, ses.OpCreateConfigurationSet)
	accept(m, ses.OpCreateConfigurationSetEventDestination)
	accept(m, ses.OpListCustomVerificationEmailTemplates)
	accept(m, sns.OpCreateTopic)
	accept(m, sns.OpTagResource)
	accept(m, sqs.OpSendMessage)
	accept(m, sqs.OpSendMessageBatch)
	accept(m, firehose.OpPutRecordBatch)
	accept(m, firehose.OpTagDeliveryStream)
	accept(m, eventbridge.OpPutRule)
	accept(m, cloudwatch.OpPutMetricData)
	post := func(path, body string) wire { return wire{"POST", path, "ses", nil, body} }
	query := func(scope, body string) wire { return wire{"POST", "/", scope, nil, body} }
	target := func(scope, target, body string) wire {
		return wire{"POST", "/", scope, map[string]string{"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.1"}, body}
	}
	const one = "1 validation error detected: "
	for _, c := range []struct {
		name, code, text string
		wire             wire
	}{
		{
			"SESv2Required", "BadRequestException", one + "Value at 'content' failed to satisfy constraint: Member must not be null",
			post("/v2/email/outbound-emails", `{}`),
		},
		{
			"SESv2RequiredInside", "BadRequestException",
			"2 validation errors detected: Value at 'content.simple.subject' failed to satisfy constraint: Member must not be null; " +
				"Value at 'content.simple.body' failed to satisfy constraint: Member must not be null",
			post("/v2/email/outbound-emails", `{"Content":{"Simple":{}}}`),
		},
		{
			"SESv2TagsInAList", "BadRequestException", one + "Value at 'tags.2.member.value' failed to satisfy constraint: Member must not be null",
			post("/v2/email/configuration-sets", `{"ConfigurationSetName":"x","Tags":[{"Key":"a","Value":"b"},{"Key":"c"}]}`),
		},
		{
			"SESv2PatternAndLength", "BadRequestException",
			"2 validation errors detected: Value at 'content.simple.headers.1.member.name' failed to satisfy constraint: Member must have length greater than or equal to 1; " +
				"Value at 'content.simple.headers.1.member.name' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[!-9;-@A-~]+$",
			post("/v2/email/outbound-emails", `{"Content":{"Simple":{"Subject":{"Data":"s"},"Body":{},"Headers":[{"Name":"","Value":"v"}]}}}`),
		},
		{
			"SESv2Range", "BadRequestException",
			one + "Value at 'maxDeliverySeconds' failed to satisfy constraint: Member must have value greater than or equal to 300",
			wire{"PUT", "/v2/email/configuration-sets/x/delivery-options", "ses", nil, `{"MaxDeliverySeconds":5}`},
		},
		{
			"SESv2Enum", "BadRequestException", one + "Value at 'mailType' failed to satisfy constraint: Member must satisfy enum value set: [MARKETING, TRANSACTIONAL]",
			post("/v2/email/account/details", `{"MailType":"Maybe","WebsiteURL":"http://example.com"}`),
		},
		{
			"SESv2EventTypesAreTheHandlers", "", "",
			post("/v2/email/configuration-sets/x/event-destinations", `{"EventDestinationName":"`+strings.Repeat("d", 100)+`","EventDestination":{"MatchingEventTypes":["NOPE"]}}`),
		},
		{
			"SESv2MessageTagsAreTheHandlers", "", "",
			post("/v2/email/outbound-emails", `{"Content":{},"EmailTags":[{"Name":"a b","Value":""}]}`),
		},
		{
			"SESv2ListOfScalars", "BadRequestException",
			one + "Value at 'additionalContactEmailAddresses' failed to satisfy constraint: Member must satisfy constraint: " +
				"[Member must have length less than or equal to 254, Member must have length greater than or equal to 6, Member must satisfy regular expression pattern: ^(.+)@(.+)$]",
			post("/v2/email/account/details", `{"MailType":"MARKETING","WebsiteURL":"http://example.com","AdditionalContactEmailAddresses":["x"]}`),
		},
		{
			"SESv2MapKeys", "BadRequestException",
			one + "Value at 'queries.1.member.dimensions' failed to satisfy constraint: Map keys must satisfy constraint: " +
				"[Member must satisfy enum value set: [EMAIL_IDENTITY, CONFIGURATION_SET, ISP, TENANT_NAME]]",
			post("/v2/email/metrics/batch", `{"Queries":[{"Id":"q","Namespace":"VDM","Metric":"SEND","Dimensions":{"X":"y"},"StartDate":1,"EndDate":2}]}`),
		},
		{
			"SESv1Required", "ValidationError", one + "Value null at 'configurationSet' failed to satisfy constraint: Member must not be null",
			query("ses", "Action=CreateConfigurationSet"),
		},
		{
			"SESv1Range", "ValidationError", one + "Value '51' at 'maxResults' failed to satisfy constraint: Member must have value less than or equal to 50",
			query("ses", "Action=ListCustomVerificationEmailTemplates&MaxResults=51"),
		},
		{
			"SNSRequired", "ValidationError", one + "Value null at 'name' failed to satisfy constraint: Member must not be null",
			query("sns", "Action=CreateTopic"),
		},
		{
			"SNSLengthIsTheHandlers", "", "",
			query("sns", "Action=TagResource&ResourceArn=&Tags.member.1.Key=&Tags.member.1.Value="),
		},
		{
			"SQSRequiredQuery", "MissingParameter", "The request must contain the parameter MessageBody.",
			query("sqs", "Action=SendMessage&QueueUrl=q"),
		},
		{
			"SQSRequiredJSON", "com.amazonaws.sqs#MissingRequiredParameterException", "The request must contain the parameter MessageBody.",
			target("sqs", "AmazonSQS.SendMessage", `{"QueueUrl":"q"}`),
		},
		{
			"SQSMissingInBatchEntryIsTheHandlers", "", "",
			query("sqs", "Action=SendMessageBatch&QueueUrl=q&SendMessageBatchRequestEntry.1.Id=a"),
		},
		{
			"FirehoseListLength", "ValidationException", one + "Value '[]' at 'records' failed to satisfy constraint: Member must have length greater than or equal to 1",
			target("firehose", "Firehose_20150804.PutRecordBatch", `{"DeliveryStreamName":"s","Records":[]}`),
		},
		{
			"FirehosePattern", "ValidationException",
			one + "Value 'a b' at 'deliveryStreamName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+",
			target("firehose", "Firehose_20150804.PutRecordBatch", `{"DeliveryStreamName":"a b","Records":[{"Data":""}]}`),
		},
		{
			"EventBridgeRequired", "ValidationException", one + "Value null at 'name' failed to satisfy constraint: Member must not be null",
			target("events", "AWSEvents.PutRule", `{}`),
		},
		{
			"CloudWatchQuery", "ValidationError", one + "Value null at 'namespace' failed to satisfy constraint: Member must not be null",
			query("monitoring", "Action=PutMetricData&MetricData.member.1.MetricName=m"),
		},
		{
			"CloudWatchJSON", "com.amazon.coral.validate#ValidationException",
			one + "Value null at 'metricData.1.member.metricName' failed to satisfy constraint: Member must not be null",
			target("monitoring", "GraniteServiceVersion20100801.PutMetricData", `{"Namespace":"N","MetricData":[{}]}`),
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := httptest.NewRecorder()
			m.ServeHTTP(w, c.wire.request())
			if c.code == "" {
				if w.Code != 200 {
					t.Errorf("%d %s", w.Code, w.Body)
				}
				return
			}
			status, code := errorOf(w)
			if status != 400 || code != c.code {
				t.Errorf("%d %q, want 400 %q", status, code, c.code)
			}
			want := string(appendXMLText(nil, c.text))
			if strings.HasPrefix(w.Body.String(), "{") {
				quoted := string(appendJSONString(nil, c.text))
				want = quoted[1 : len(quoted)-1]
			}
			if !strings.Contains(w.Body.String(), want) {
				t.Errorf("got  %s\nwant %s", w.Body, want)
			}
		})
	}
}

func TestValidationCBOR(t *testing.T) {
	t.Parallel()
	m := NewMux(Options{})
	accept(m, cloudwatch.OpPutMetricData)
	body, err := cbor.Marshal(map[string]any{"Namespace": "", "MetricData": []any{map[string]any{"MetricName": "m", "StorageResolution": 0}}})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	m.ServeHTTP(w, wire{
		"POST", "/service/GraniteServiceVersion20100801/operation/PutMetricData", "monitoring", map[string]string{"Smithy-Protocol": "rpc-v2-cbor"}, string(body),
	}.request())
	var got map[string]string
	if err := cbor.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if w.Code != 400 || got["__type"] != "com.amazon.coral.validate#ValidationException" ||
		!strings.HasPrefix(got["message"], "3 validation errors detected: Value '' at 'namespace' failed to satisfy constraint: Member must have length greater than or equal to 1; ") ||
		!strings.HasSuffix(got["message"], "Value '0' at 'metricData.1.member.storageResolution' failed to satisfy constraint: Member must have value greater than or equal to 1") ||
		w.Header().Get("X-Amzn-Query-Error") != "ValidationError;Sender" {
		t.Errorf("%d %v %v", w.Code, got, w.Header())
	}
}

// TestViolationsAreBounded checks that a request cannot make an answer much
// larger than itself.
func TestViolationsAreBounded(t *testing.T) {
	t.Parallel()
	m := NewMux(Options{})
	accept(m, sesv2.OpCreateConfigurationSet)
	body := `{"ConfigurationSetName":"x","Tags":[` + strings.Repeat(`{},`, 10000) + `{}]}`
	w := httptest.NewRecorder()
	m.ServeHTTP(w, wire{"POST", "/v2/email/configuration-sets", "ses", nil, body}.request())
	if w.Code != 400 || w.Body.Len() > 8<<10 {
		t.Errorf("%d with %d bytes", w.Code, w.Body.Len())
	}
}

// inexpressible are the patterns that RE2 cannot express and that are
// therefore not checked: they look ahead or behind.
var inexpressible = map[string]bool{
	`jdbc:(redshift|postgresql)://((?!-)[A-Za-z0-9-]{1,63}(?<!-)\.)+(redshift(-serverless)?)\.([a-zA-Z0-9\.\-]+):\d{1,5}/[a-zA-Z0-9_$-]+`: true,
	`^(?!\s*$).+`: true,
	`^(?!aws:)[\p{L}\p{Z}\p{N}_.:\/=+\-@%]*$`: true,
}

func TestPatterns(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, api := range apis {
		for _, s := range api.Shapes {
			if s.Limits == nil || s.Limits.Pattern == "" {
				continue
			}
			seen++
			if re := compilePattern(s.Limits.Pattern); (re == nil) != inexpressible[s.Limits.Pattern] {
				t.Errorf("%s: pattern %q: compiled %v", api.Name, s.Limits.Pattern, re != nil)
			}
		}
	}
	if seen < 100 {
		t.Errorf("only %d patterns were seen", seen)
	}
	if !matches(`[\u0020-\u007E]+`, "abc") || matches(`[\u0020-\u007E]+`, "é") || matches("a|b", "ab") {
		t.Error("a pattern is not matched as Java matches it")
	}
}

// TestExceptions checks that the profiles name members that exist.
func TestExceptions(t *testing.T) {
	t.Parallel()
	members := regexp.MustCompile(`^\w+\$\w+$`)
	for _, api := range apis {
		p, ok := profiles[api.Name]
		if !ok || p.valueNull == "" || p.rules == 0 {
			t.Errorf("%s has no profile", api.Name)
		}
		if p.internal != "" {
			if row := api.ErrorByShape(p.internal); row == nil || row.Status != 500 {
				t.Errorf("%s has no internal error %s", api.Name, p.internal)
			}
		}
		for name := range p.except {
			shape, member, _ := strings.Cut(name, "$")
			found := false
			for _, s := range api.Shapes {
				for _, m := range s.Members {
					found = found || s.Name == shape && m.Name == member
				}
			}
			if !found || !members.MatchString(name) {
				t.Errorf("%s has no member %s", api.Name, name)
			}
		}
	}
}
