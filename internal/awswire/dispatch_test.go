package awswire

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/sestina-mail/sestina/internal/awsapi"
	"github.com/sestina-mail/sestina/internal/awsapi/awsapitest"
	"github.com/sestina-mail/sestina/internal/awsapi/cloudwatch"
	"github.com/sestina-mail/sestina/internal/awsapi/sesv2"
	"github.com/sestina-mail/sestina/internal/awsapi/sqs"
)

// A wire is a request written by hand.
type wire struct {
	method, target, scope string
	header                map[string]string
	body                  string
}

// request makes the request, signed for the scope's service unless that is
// empty.
func (x wire) request() *http.Request {
	r := httptest.NewRequest(x.method, x.target, strings.NewReader(x.body))
	for k, v := range x.header {
		r.Header.Set(k, v)
	}
	if x.scope != "" {
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AK/20260101/us-east-1/"+x.scope+"/aws4_request, SignedHeaders=host, Signature=0")
	}
	return r
}

// serveAll returns a Mux where every operation answers with its own name in
// Observe and its input in got.
func serveAll(got *any, rec *recorder) *Mux {
	m := NewMux(Options{Observe: rec.observe, Logger: discard()})
	for _, op := range awsapitest.Operations() {
		s := m.serviceOf(op.Service)
		s.handlers[op.Index] = handler{newInput: op.NewInput, call: func(_ context.Context, in any) (any, error) {
			*got = in
			return op.NewOutput(), nil
		}}
	}
	for _, s := range m.services {
		s.profile.rules = 0
	}
	return m
}

func TestDispatch(t *testing.T) {
	t.Parallel()
	form := map[string]string{"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
	target := func(v, t string) map[string]string {
		return map[string]string{"Content-Type": "application/x-amz-json-" + v, "X-Amz-Target": t}
	}
	cborHeader := map[string]string{"Smithy-Protocol": "rpc-v2-cbor", "Content-Type": "application/cbor"}
	for _, c := range []struct {
		name string
		wire wire
		want string // service.operation, or status and code
	}{
		// One action name, three services: the scope decides.
		{"TagResourceOfSNS", wire{"POST", "/", "sns", form, "Action=TagResource&Version=2010-03-31"}, "sns.TagResource"},
		{"TagResourceOfCloudWatch", wire{"POST", "/", "monitoring", form, "Action=TagResource&Version=2010-08-01"}, "cloudwatch.TagResource"},
		{"AddPermissionOfSQS", wire{"POST", "/", "sqs", form, "Action=AddPermission"}, "sqs.AddPermission"},
		{"QueryByGET", wire{"GET", "/?Action=ListTopics&Version=2010-03-31", "sns", nil, ""}, "sns.ListTopics"},
		{"QueryInBoth", wire{"POST", "/?Action=ListTopics", "sns", form, "Action=CreateTopic&Name=t"}, "sns.CreateTopic"},
		{"QueryOfSESv1", wire{"POST", "/", "ses", form, "Action=GetSendQuota&Version=2010-12-01"}, "ses.GetSendQuota"},
		{"QueryOfSTS", wire{"POST", "/", "sts", form, "Action=GetCallerIdentity&Version=2011-06-15"}, "sts.GetCallerIdentity"},
		{"QueueURLAsEndpointQuery", wire{"POST", "/000000000000/q", "sqs", form, "Action=SendMessage&MessageBody=b"}, "sqs.SendMessage"},
		{"QueueURLAsEndpointJSON", wire{"POST", "/000000000000/q", "sqs", target("1.0", "AmazonSQS.SendMessage"), "{}"}, "sqs.SendMessage"},
		{"CloudWatchJSON", wire{"POST", "/", "monitoring", target("1.0", "GraniteServiceVersion20100801.PutMetricData"), "{}"}, "cloudwatch.PutMetricData"},
		{"FirehoseJSON", wire{"POST", "/", "firehose", target("1.1", "Firehose_20150804.PutRecord"), ""}, "firehose.PutRecord"},
		{"EventBridgeJSON", wire{"POST", "/", "events", target("1.1", "AWSEvents.PutEvents"), "{}"}, "eventbridge.PutEvents"},
		{"CBORWinsOverTarget", wire{"POST", "/service/GraniteServiceVersion20100801/operation/ListMetrics", "monitoring",
			map[string]string{"Smithy-Protocol": "rpc-v2-cbor", "X-Amz-Target": "AmazonSQS.SendMessage"}, ""}, "cloudwatch.ListMetrics"},
		{"CBORBelowAPrefix", wire{"POST", "/base/path/service/com.amazonaws.cloudwatch.v2010_08_01%23GraniteServiceVersion20100801/operation/ListMetrics", "monitoring", cborHeader, ""}, "cloudwatch.ListMetrics"},
		{"SESv2", wire{"GET", "/v2/email/account", "ses", nil, ""}, "sesv2.GetAccount"},
		{"SESv2TrailingSlash", wire{"GET", "/v2/email/insights/m/", "ses", nil, ""}, "sesv2.GetMessageInsights"},
		{"SESv2NoTrailingSlash", wire{"GET", "/v2/email/insights/m", "ses", nil, ""}, "sesv2.GetMessageInsights"},
		{"SESv2OldList", wire{"GET", "/v2/email/configuration-sets?PageSize=3", "ses", nil, ""}, "sesv2.ListConfigurationSets"},
		{"SESv2NewList", wire{"POST", "/v2/email/list-configuration-sets", "ses", nil, `{"PageSize":3}`}, "sesv2.ListConfigurationSets"},
		{"Pinpoint", wire{"GET", "/v1/apps/x", "mobiletargeting", nil, ""}, "pinpoint.GetApp"},

		{"UnknownAction", wire{"POST", "/", "sns", form, "Action=Nonsense"}, "400 InvalidAction"},
		{"NoAction", wire{"POST", "/", "sns", form, ""}, "400 MissingAction"},
		{"UnknownTarget", wire{"POST", "/", "sqs", target("1.0", "AmazonSQS.Nonsense"), "{}"}, "400 com.amazon.coral.service#UnknownOperationException"},
		{"UnknownTargetBare", wire{"POST", "/", "firehose", target("1.1", "Firehose_20150804.Nonsense"), "{}"}, "400 UnknownOperationException"},
		{"UnknownTargetPrefix", wire{"POST", "/", "sqs", target("1.0", "Nonsense.SendMessage"), "{}"}, "400 UnknownOperationException"},
		{"TargetWithoutDot", wire{"POST", "/", "sqs", target("1.0", "Nonsense"), "{}"}, "400 UnknownOperationException"},
		{"JSONServiceWithoutTarget", wire{"POST", "/", "firehose", nil, "{}"}, "400 UnknownOperationException"},
		{"UnknownPath", wire{"GET", "/v2/email/nonsense", "ses", nil, ""}, "404 UnknownOperationException"},
		{"WrongMethod", wire{"PATCH", "/v2/email/account", "ses", nil, ""}, "404 UnknownOperationException"},
		{"PinpointEmail", wire{"GET", "/v1/email/account", "ses", nil, ""}, "404 UnknownOperationException"},
		{"UnknownService", wire{"POST", "/", "s3", form, "Action=X"}, "403 SignatureDoesNotMatch"},
		{"ScopeOfOtherService", wire{"POST", "/", "sns", target("1.0", "AmazonSQS.SendMessage"), "{}"}, "400 com.amazon.coral.service#InvalidSignatureException"},
		{"BadEscape", wire{"POST", "/", "sns", form, "Action=%zz"}, "400 MalformedInput"},
		{"Favicon", wire{"GET", "/favicon.ico", "", nil, ""}, "403 MissingAuthenticationToken"},
		{"UnsignedREST", wire{"GET", "/v2/email/account", "", nil, ""}, "403 MissingAuthenticationTokenException"},
		{"UnsignedPinpoint", wire{"GET", "/v1/apps", "", nil, ""}, "403 MissingAuthenticationTokenException"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var in any
			rec := &recorder{}
			m := serveAll(&in, rec)
			w := httptest.NewRecorder()
			m.ServeHTTP(w, c.wire.request())
			seen := rec.last(t)
			got := seen.call.Service + "." + seen.call.Operation
			if w.Code >= 300 {
				status, code := errorOf(w)
				got = fmt.Sprintf("%d %s", status, code)
			}
			if got != c.want {
				t.Errorf("got %s, want %s\n%s", got, c.want, w.Body)
			}
			if w.Header().Get("x-amzn-RequestId") != seen.call.RequestID || len(seen.call.RequestID) != 36 {
				t.Errorf("request id %q, observed %q", w.Header().Get("x-amzn-RequestId"), seen.call.RequestID)
			}
		})
	}
}

func TestDispatchUnknownCBOR(t *testing.T) {
	t.Parallel()
	m := NewMux(Options{})
	for _, target := range []string{
		"/service/GraniteServiceVersion20100801/operation/Nonsense", "/service/Nonsense/operation/PutMetricData",
		"/service/GraniteServiceVersion20100801", "/", "/service/GraniteServiceVersion20100801/operation/PutMetricData",
	} {
		w := httptest.NewRecorder()
		m.ServeHTTP(w, wire{"POST", target, "monitoring", map[string]string{"Smithy-Protocol": "rpc-v2-cbor"}, ""}.request())
		var body map[string]string
		if err := cbor.Unmarshal(w.Body.Bytes(), &body); err != nil {
			t.Fatal(err)
		}
		if w.Code != 400 || !strings.HasSuffix(body["__type"], "UnknownOperationException") || w.Header().Get("Smithy-Protocol") != "rpc-v2-cbor" {
			t.Errorf("%s: %d %v %v", target, w.Code, body, w.Header())
		}
	}
}

// TestUnimplemented checks that every operation without a handler is answered
// with a client error that names it, in its protocol.
func TestUnimplemented(t *testing.T) {
	t.Parallel()
	m := NewMux(Options{})
	all := m.Unimplemented()
	if want := len(awsapitest.Operations()); len(all) != want {
		t.Fatalf("%d operations are unimplemented, want all %d", len(all), want)
	}
	Handle(m, sesv2.OpGetAccount, func(context.Context, *sesv2.GetAccountInput) (*sesv2.GetAccountOutput, error) { return nil, nil })
	if got := len(m.Unimplemented()); got != len(all)-1 {
		t.Errorf("%d are left after one was registered", got)
	}
	w := httptest.NewRecorder()
	m.ServeHTTP(w, wire{"POST", "/", "sns", nil, "Action=CreatePlatformApplication"}.request())
	if w.Code != 400 || !strings.Contains(w.Body.String(), "CreatePlatformApplication") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	w = httptest.NewRecorder()
	m.ServeHTTP(w, wire{"GET", "/v2/email/tags", "ses", nil, ""}.request())
	if w.Code != 404 || !strings.Contains(w.Body.String(), "ListTagsForResource") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestHandleTwicePanics(t *testing.T) {
	t.Parallel()
	m := NewMux(Options{})
	f := func(context.Context, *sesv2.GetAccountInput) (*sesv2.GetAccountOutput, error) { return nil, nil }
	Handle(m, sesv2.OpGetAccount, f)
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	Handle(m, sesv2.OpGetAccount, f)
}

func TestOldSQSClient(t *testing.T) {
	t.Parallel()
	m := NewMux(Options{})
	var in *sqs.SendMessageInput
	Handle(m, sqs.OpSendMessage, func(_ context.Context, got *sqs.SendMessageInput) (*sqs.SendMessageOutput, error) {
		in = got
		return &sqs.SendMessageOutput{MessageId: new("m")}, nil
	})
	body := "Action=SendMessage&MessageBody=b&MessageAttribute.2.Name=two&MessageAttribute.2.Value.DataType=Binary&MessageAttribute.2.Value.BinaryValue=AAE%3D" +
		"&MessageAttribute.10.Name=ten&MessageAttribute.10.Value.DataType=String&MessageAttribute.10.Value.StringValue=x&DelaySeconds=5"
	w := httptest.NewRecorder()
	m.ServeHTTP(w, wire{"POST", "/000000000000/q", "sqs", nil, body}.request())
	want := `<SendMessageResponse xmlns="http://queue.amazonaws.com/doc/2012-11-05/"><SendMessageResult><MessageId>m</MessageId></SendMessageResult>`
	if w.Code != 200 || !strings.HasPrefix(w.Body.String(), want) || w.Header().Get("Content-Type") != "text/xml" {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	if *in.QueueUrl != "http://example.com/000000000000/q" || *in.DelaySeconds != 5 || len(in.MessageAttributes) != 2 ||
		!bytes.Equal(in.MessageAttributes["two"].BinaryValue, []byte{0, 1}) || *in.MessageAttributes["ten"].StringValue != "x" {
		t.Errorf("%+v", in)
	}
}

func TestQueryResponses(t *testing.T) {
	t.Parallel()
	m := NewMux(Options{})
	Handle(m, sqs.OpReceiveMessage, func(context.Context, *sqs.ReceiveMessageInput) (*sqs.ReceiveMessageOutput, error) {
		return &sqs.ReceiveMessageOutput{Messages: []sqs.Message{{
			Body: new("<a&b>\"c'\r\n\t\x01"), Attributes: map[string]string{"SenderId": "s", "A": "b"},
			MessageAttributes: map[string]sqs.MessageAttributeValue{"k": {DataType: new("Binary"), BinaryValue: []byte{1}}},
		}, {Body: new("2")}}}, nil
	})
	Handle(m, sqs.OpDeleteQueue, func(context.Context, *sqs.DeleteQueueInput) (*sqs.DeleteQueueOutput, error) { return nil, nil })
	Handle(m, cloudwatch.OpGetMetricStatistics, func(context.Context, *cloudwatch.GetMetricStatisticsInput) (*cloudwatch.GetMetricStatisticsOutput, error) {
		return &cloudwatch.GetMetricStatisticsOutput{Label: new(""), Datapoints: []cloudwatch.Datapoint{
			{Timestamp: &testTime, Sum: new(3.0), Average: new(1e10), Minimum: new(-0.25), Maximum: new(1.5e-7)},
		}}, nil
	})
	for _, c := range []struct{ scope, body, want string }{
		{
			"sqs", "Action=ReceiveMessage&QueueUrl=q",
			`<ReceiveMessageResponse xmlns="http://queue.amazonaws.com/doc/2012-11-05/"><ReceiveMessageResult>` +
				`<Message><Body>&lt;a&amp;b&gt;&quot;c'&#xD;` + "\n\t\ufffd" + `</Body>` +
				`<Attribute><Name>A</Name><Value>b</Value></Attribute><Attribute><Name>SenderId</Name><Value>s</Value></Attribute>` +
				`<MessageAttribute><Name>k</Name><Value><BinaryValue>AQ==</BinaryValue><DataType>Binary</DataType></Value></MessageAttribute></Message>` +
				`<Message><Body>2</Body></Message></ReceiveMessageResult>`,
		},
		{"sqs", "Action=DeleteQueue&QueueUrl=q", `<DeleteQueueResponse xmlns="http://queue.amazonaws.com/doc/2012-11-05/">`},
		{
			"monitoring", "Action=GetMetricStatistics&Namespace=N&MetricName=m&StartTime=2026-01-01T00:00:00Z&EndTime=2026-01-01T00:00:00.5Z&Period=60",
			`<GetMetricStatisticsResponse xmlns="http://monitoring.amazonaws.com/doc/2010-08-01/"><GetMetricStatisticsResult><Label></Label><Datapoints><member>` +
				`<Timestamp>2026-01-31T12:30:15.250Z</Timestamp><Average>1.0E10</Average><Sum>3.0</Sum><Minimum>-0.25</Minimum><Maximum>1.5E-7</Maximum>` +
				`</member></Datapoints></GetMetricStatisticsResult>`,
		},
	} {
		w := httptest.NewRecorder()
		m.ServeHTTP(w, wire{"POST", "/", c.scope, nil, c.body}.request())
		got := w.Body.String()
		i := strings.Index(got, "<ResponseMetadata><RequestId>")
		if w.Code != 200 || i < 0 || got[:i] != c.want {
			t.Errorf("%s: %d\ngot  %s\nwant %s", c.body, w.Code, got, c.want)
		}
	}
}

// TestRoutes checks that no two operations share a route and that each finds
// itself, with its labels, also when these contain escaped slashes.
func TestRoutes(t *testing.T) {
	t.Parallel()
	for _, api := range apis {
		if api.Protocols&awsapi.ProtocolREST == 0 {
			continue
		}
		r := newRouter(api)
		for i, op := range api.Operations {
			for _, route := range op.Routes {
				path, want := fill(route.Path)
				m, ok := r.find(route.Method, path)
				if !ok || m.op != i {
					t.Errorf("%s %s does not lead to %s", route.Method, path, op.Name)
					continue
				}
				if !reflect.DeepEqual(m.values, want) {
					t.Errorf("%s: labels %q, want %q", op.Name, m.values, want)
				}
			}
		}
	}
}

// fill replaces the labels of a template by values that need escaping.
func fill(template string) (path string, values []string) {
	for _, seg := range strings.Split(template, "/") {
		if strings.HasPrefix(seg, "{") {
			v := fmt.Sprintf("%s/ü%%%d", seg, len(values))
			values = append(values, v)
			seg = url.PathEscape(v)
		}
		path += "/" + seg
	}
	return strings.TrimPrefix(path, "/"), values
}

func TestRouterRules(t *testing.T) {
	t.Parallel()
	r := newRouter(&awsapi.Service{Operations: []awsapi.OperationInfo{
		{Name: "Label", Routes: []awsapi.Route{{Method: "GET", Path: "/a/{L}"}}},
		{Name: "Literal", Routes: []awsapi.Route{{Method: "GET", Path: "/a/b"}}},
		{Name: "PutLabel", Routes: []awsapi.Route{{Method: "PUT", Path: "/a/{L}"}}},
		{Name: "Deep", Routes: []awsapi.Route{{Method: "GET", Path: "/a/{L}/c/"}}},
		{Name: "Greedy", Routes: []awsapi.Route{{Method: "GET", Path: "/g/{Rest+}"}}},
	}})
	for _, c := range []struct {
		method, path string
		op           int // -1: none
		values       string
	}{
		{"GET", "/a/b", 1, ""},
		{"GET", "/a/%62", 1, ""},
		{"PUT", "/a/b", 2, "b"}, // the literal has no PUT
		{"GET", "/a/x", 0, "x"},
		{"GET", "/a/x/", 0, "x"},
		{"GET", "/a/b/c", 3, "b"},
		{"GET", "/a/x%2Fy/c", 3, "x/y"},
		{"GET", "/a//c", -1, ""},
		{"GET", "/a/%zz", -1, ""},
		{"GET", "/g/x/y%2Fz", 4, "x/y/z"},
		{"DELETE", "/a/b", -1, ""},
		{"GET", "/", -1, ""},
		{"GET", "/a/" + strings.Repeat("x/", 100), -1, ""},
	} {
		m, ok := r.find(c.method, c.path)
		switch {
		case !ok && c.op < 0:
		case ok != (c.op >= 0) || m.op != c.op || strings.Join(m.values, ",") != c.values:
			t.Errorf("%s %s: %+v %v, want %d %q", c.method, c.path, m, ok, c.op, c.values)
		}
	}
}

// FuzzRouter checks that a path that is routed consists of the template's
// literals and the labels that were found.
func FuzzRouter(f *testing.F) {
	f.Add("GET", "/v2/email/identities/a%40b")
	f.Add("POST", "/v1/apps//events")
	f.Add("DELETE", "/v1/tags/%2F%2F")
	f.Add("GET", "//%")
	var routers []*router
	for _, api := range apis {
		if api.Protocols&awsapi.ProtocolREST != 0 {
			routers = append(routers, newRouter(api))
		}
	}
	f.Fuzz(func(t *testing.T, method, path string) {
		for _, r := range routers {
			m, ok := r.find(method, path)
			if !ok {
				continue
			}
			want := splitPath(m.route.Path)
			got := splitPath(path)
			if len(m.values) != len(m.labels) || len(got) != len(want) || m.route.Method != method {
				t.Fatalf("%s %s was routed to %+v", method, path, m)
			}
			n := 0
			for i, seg := range got {
				plain, err := url.PathUnescape(seg)
				if err != nil {
					t.Fatalf("%s has a bad escape", path)
				}
				if strings.HasPrefix(want[i], "{") {
					if plain == "" || plain != m.values[n] {
						t.Errorf("label %q, segment %q", m.values[n], plain)
					}
					n++
				} else if plain != want[i] {
					t.Errorf("segment %q, template %q", plain, want[i])
				}
			}
		}
	})
}
