package awswire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/sestina-mail/sestina/internal/awsapi/cloudwatch"
	"github.com/sestina-mail/sestina/internal/awsapi/eventbridge"
	"github.com/sestina-mail/sestina/internal/awsapi/pinpoint"
	"github.com/sestina-mail/sestina/internal/awsapi/ses"
	"github.com/sestina-mail/sestina/internal/awsapi/sesv2"
	"github.com/sestina-mail/sestina/internal/awsapi/sns"
	"github.com/sestina-mail/sestina/internal/awsapi/sqs"
	"github.com/sestina-mail/sestina/internal/sestina"
)

// failing registers handlers of every protocol that return err.
func failing(m *Mux, err func() error) {
	Handle(m, sesv2.OpGetAccount, func(context.Context, *sesv2.GetAccountInput) (*sesv2.GetAccountOutput, error) { return nil, err() })
	Handle(m, ses.OpGetSendQuota, func(context.Context, *ses.GetSendQuotaInput) (*ses.GetSendQuotaOutput, error) { return nil, err() })
	Handle(m, sns.OpListTopics, func(context.Context, *sns.ListTopicsInput) (*sns.ListTopicsOutput, error) { return nil, err() })
	Handle(m, sqs.OpListQueues, func(context.Context, *sqs.ListQueuesInput) (*sqs.ListQueuesOutput, error) { return nil, err() })
	Handle(m, cloudwatch.OpListMetrics, func(context.Context, *cloudwatch.ListMetricsInput) (*cloudwatch.ListMetricsOutput, error) {
		return nil, err()
	})
	Handle(m, eventbridge.OpListRules, func(context.Context, *eventbridge.ListRulesInput) (*eventbridge.ListRulesOutput, error) {
		return nil, err()
	})
	Handle(m, pinpoint.OpGetApps, func(context.Context, *pinpoint.GetAppsInput) (*pinpoint.GetAppsOutput, error) { return nil, err() })
}

// failingCalls reach the handlers of failing, by service and protocol.
func failingCalls() map[string]wire {
	target := func(scope, v, target string) wire {
		return wire{"POST", "/", scope, map[string]string{"X-Amz-Target": target, "Content-Type": "application/x-amz-json-" + v, "X-Amzn-Query-Mode": "true"}, "{}"}
	}
	return map[string]wire{
		"sesv2":            {"GET", "/v2/email/account", "ses", nil, ""},
		"ses":              {"POST", "/", "ses", nil, "Action=GetSendQuota"},
		"sns":              {"POST", "/", "sns", nil, "Action=ListTopics"},
		"sqs":              target("sqs", "1.0", "AmazonSQS.ListQueues"),
		"sqs query":        {"POST", "/", "sqs", nil, "Action=ListQueues"},
		"cloudwatch":       target("monitoring", "1.0", "GraniteServiceVersion20100801.ListMetrics"),
		"cloudwatch query": {"POST", "/", "monitoring", nil, "Action=ListMetrics"},
		"cloudwatch cbor": {"POST", "/service/GraniteServiceVersion20100801/operation/ListMetrics", "monitoring",
			map[string]string{"Smithy-Protocol": "rpc-v2-cbor"}, ""},
		"eventbridge": target("events", "1.1", "AWSEvents.ListRules"),
		"pinpoint":    {"GET", "/v1/apps", "mobiletargeting", nil, ""},
	}
}

// answer returns status, code and legacy code of a call.
func answer(t *testing.T, m *Mux, c wire) (status int, code, legacy, body string) {
	t.Helper()
	w := httptest.NewRecorder()
	m.ServeHTTP(w, c.request())
	status, code = errorOf(w)
	body = w.Body.String()
	if w.Header().Get("Smithy-Protocol") != "" {
		var e map[string]string
		if err := cbor.Unmarshal(w.Body.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		code, body = e["__type"], e["message"]
	}
	return status, code, w.Header().Get("x-amzn-query-error"), body
}

// TestInternalFailures checks that errors and panics are answered 500 without
// their text, and logged once.
func TestInternalFailures(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func() error{
		"Error": func() error { return errors.New("secret detail") },
		"Panic": func() error { panic("secret detail") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			m := NewMux(Options{Logger: slog.New(slog.NewJSONHandler(&log, nil))})
			failing(m, fail)
			want := map[string]string{
				"sesv2": "InternalServiceErrorException", "ses": "InternalFailure", "sns": "InternalError",
				"sqs": "com.amazon.coral.service#InternalFailure", "sqs query": "InternalFailure",
				"cloudwatch": "com.amazonaws.cloudwatch.v2010_08_01#InternalServiceFault", "cloudwatch query": "InternalServiceError",
				"cloudwatch cbor": "com.amazonaws.cloudwatch.v2010_08_01#InternalServiceFault",
				"eventbridge":     "InternalException", "pinpoint": "InternalServerErrorException",
			}
			for call, c := range failingCalls() {
				log.Reset()
				status, code, legacy, body := answer(t, m, c)
				if status != 500 || code != want[call] || strings.Contains(body, "secret") {
					t.Errorf("%s: %d %q %s", call, status, code, body)
				}
				if legacy != "" && !strings.HasSuffix(legacy, ";Receiver") {
					t.Errorf("%s: legacy code %q", call, legacy)
				}
				if n := strings.Count(log.String(), "secret detail"); n != 1 || strings.Count(log.String(), "request_id") != 1 {
					t.Errorf("%s: logged %d times: %s", call, n, log.String())
				}
			}
		})
	}
}

type unavailable struct{}

func (unavailable) Error() string     { return "disk is full" }
func (unavailable) Unavailable() bool { return true }

func TestUnavailable(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{
		"Marked":   fmt.Errorf("append: %w", unavailable{}),
		"Deadline": fmt.Errorf("append: %w", context.DeadlineExceeded),
	} {
		m := NewMux(Options{Logger: discard()})
		failing(m, func() error { return err })
		for call, c := range failingCalls() {
			status, code, _, body := answer(t, m, c)
			code = code[strings.LastIndexByte(code, '#')+1:]
			if status != 503 || strings.TrimSuffix(code, "Exception") != "ServiceUnavailable" || strings.Contains(body, "disk") {
				t.Errorf("%s %s: %d %q %s", name, call, status, code, body)
			}
		}
	}
}

// TestDomainErrors checks code, status and legacy code of the errors that
// handlers return.
func TestDomainErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		call   string
		err    *sestina.Error
		status int
		code   string
		legacy string
		text   string
	}{
		{"sesv2", sestina.SESErrorf("Throttling", "TooManyRequestsException", "Rate"), 429, "TooManyRequestsException", "", `{"message":"Rate"}`},
		{"ses", sestina.SESErrorf("Throttling", "TooManyRequestsException", "Rate"), 400, "Throttling", "", "<Type>Sender</Type>"},
		{"ses", sestina.SESErrorf("MessageRejected", "MessageRejected", "a <b>"), 400, "MessageRejected", "", "a &lt;b&gt;"},
		{"ses", &sestina.Error{Code: "AccessDenied", Message: "no", Status: 403}, 403, "AccessDenied", "", "no"},
		{"sns", sestina.Errorf("AuthorizationError", "no"), 403, "AuthorizationError", "", "<Type>Sender</Type>"},
		{"sns", sestina.Errorf("NotFoundException", "no"), 404, "NotFound", "", "no"},
		{"sns", sestina.Errorf("Throttled", "Rate exceeded"), 429, "Throttled", "", "Rate exceeded"},
		{"sqs", sestina.Errorf("QueueDoesNotExist", "The specified queue does not exist."), 400, "com.amazonaws.sqs#QueueDoesNotExist",
			"AWS.SimpleQueueService.NonExistentQueue;Sender", `"The specified queue does not exist."`},
		{"sqs query", sestina.Errorf("QueueDoesNotExist", "The specified queue does not exist."), 400, "AWS.SimpleQueueService.NonExistentQueue",
			"", "The specified queue does not exist for this wsdl version."},
		{"sqs", sestina.Errorf("AWS.SimpleQueueService.NonExistentQueue", "x"), 400, "com.amazonaws.sqs#QueueDoesNotExist",
			"AWS.SimpleQueueService.NonExistentQueue;Sender", "x"},
		{"sqs query", sestina.Errorf("InvalidParameterValueException", "x"), 400, "InvalidParameterValue", "", "x"},
		{"sqs", sestina.Errorf("InvalidParameterValue", "x"), 400, "com.amazonaws.sqs#InvalidParameterValueException", "InvalidParameterValue;Sender", "x"},
		{"sqs", sestina.Errorf("OverLimit", "x"), 403, "com.amazonaws.sqs#OverLimit", "OverLimit;Sender", "x"},
		{"cloudwatch cbor", sestina.Errorf("ResourceNotFound", ""), 404, "com.amazonaws.cloudwatch.v2010_08_01#ResourceNotFound", "ResourceNotFound;Sender", ""},
		{"cloudwatch", sestina.Errorf("DashboardNotFoundError", "x"), 404, "com.amazonaws.cloudwatch.v2010_08_01#DashboardNotFoundError", "ResourceNotFound;Sender", "x"},
		{"cloudwatch query", sestina.Errorf("MissingRequiredParameterException", "x"), 400, "MissingParameter", "", "x"},
		{"eventbridge", sestina.Errorf("ResourceNotFoundException", "x"), 400, "ResourceNotFoundException", "", `"message":"x"`},
		{"pinpoint", sestina.Errorf("NotFoundException", "x"), 404, "NotFoundException", "", `{"Message":"x","RequestID":"`},
	} {
		m := NewMux(Options{})
		failing(m, func() error { return fmt.Errorf("wrapped: %w", c.err) })
		status, code, legacy, body := answer(t, m, failingCalls()[c.call])
		if status != c.status || code != c.code || legacy != c.legacy || !strings.Contains(body, c.text) {
			t.Errorf("%s %v: %d %q %q %s", c.call, c.err, status, code, legacy, body)
		}
	}
}

// TestQueryModeStatus checks that JSON clients that do not ask for the query
// protocol's statuses get 400.
func TestQueryModeStatus(t *testing.T) {
	t.Parallel()
	m := NewMux(Options{})
	failing(m, func() error { return sestina.Errorf("OverLimit", "x") })
	c := failingCalls()["sqs"]
	delete(c.header, "X-Amzn-Query-Mode")
	if status, _, legacy, _ := answer(t, m, c); status != 400 || legacy != "OverLimit;Sender" {
		t.Errorf("%d %q", status, legacy)
	}
}

// TestSerializationErrors checks how input that cannot be decoded is answered.
func TestSerializationErrors(t *testing.T) {
	t.Parallel()
	m := NewMux(Options{})
	accept(m, sesv2.OpSendEmail)
	accept(m, sqs.OpSendMessage)
	accept(m, cloudwatch.OpListMetrics)
	for _, c := range []struct {
		wire       wire
		code, body string
	}{
		{wire{"POST", "/v2/email/outbound-emails", "ses", nil, `{"FromEmailAddress":5}`}, "SerializationException", `{"message":"NUMBER_VALUE can not be converted to a String"}`},
		{wire{"POST", "/v2/email/outbound-emails", "ses", nil, `{"FromEmailAddress":`}, "SerializationException", `{"message":""}`},
		{wire{"POST", "/", "sqs", map[string]string{"X-Amz-Target": "AmazonSQS.SendMessage"}, `[]`}, "com.amazon.coral.service#SerializationException", "Expected structure or null"},
		{wire{"POST", "/", "sqs", nil, `Action=SendMessage&DelaySeconds=x`}, "MalformedInput", "can not be converted to an Integer"},
		{wire{"POST", "/service/GraniteServiceVersion20100801/operation/ListMetrics", "monitoring", map[string]string{"Smithy-Protocol": "rpc-v2-cbor"}, "\xff"},
			"com.amazon.coral.service#SerializationException", ""},
	} {
		status, code, _, body := answer(t, m, c.wire)
		if status != 400 || code != c.code || !strings.Contains(body, c.body) {
			t.Errorf("%+v: %d %q %s", c.wire, status, code, body)
		}
	}
}
