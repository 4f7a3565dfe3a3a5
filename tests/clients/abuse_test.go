package clients

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sestina-mail/sestina/tests/harness"
)

const mail = `{"FromEmailAddress":"a@example.com","Destination":{"ToAddresses":["b@example.net"]},"Content":{"Simple":{"Subject":{"Data":"x"},"Body":{"Text":{"Data":"x"}}}}`

// probes are the bad requests: for each the documented error, or a closed
// connection where HTTP itself is broken.
func probes() []probe {
	return slices.Concat(badSignatures(), badHTTP(), badJSON(), badQueries(), badCBOR(), badOwnCalls())
}

func badSignatures() (out []probe) {
	for name, header := range map[string]string{
		"empty":            "",
		"no scheme":        "Credential=AKID/20260303/us-east-1/ses/aws4_request",
		"other scheme":     "Basic YTpi",
		"no fields":        "AWS4-HMAC-SHA256",
		"no credential":    "AWS4-HMAC-SHA256 SignedHeaders=host, Signature=00",
		"no signature":     "AWS4-HMAC-SHA256 Credential=AKID/20260303/us-east-1/ses/aws4_request, SignedHeaders=host",
		"short scope":      "AWS4-HMAC-SHA256 Credential=AKID/20260303/us-east-1, SignedHeaders=host, Signature=00",
		"long scope":       "AWS4-HMAC-SHA256 Credential=" + strings.Repeat("a/", 1000) + "aws4_request, SignedHeaders=host, Signature=00",
		"only commas":      "AWS4-HMAC-SHA256 ,,,,,,=,=,=",
		"unknown service":  "AWS4-HMAC-SHA256 Credential=AKID/20260303/us-east-1/nothing/aws4_request, SignedHeaders=host, Signature=00",
		"signature v4a":    "AWS4-ECDSA-P256-SHA256 Credential=AKID/20260303/ses/aws4_request, SignedHeaders=host, Signature=00",
		"thousand headers": "AWS4-HMAC-SHA256 Credential=AKID/20260303/us-east-1/ses/aws4_request, SignedHeaders=" + strings.Repeat("a;", 5000) + "host, Signature=00",
		"bytes":            "AWS4-HMAC-SHA256 Credential=\xff\xfe/\xff/\xff/ses/aws4_request, SignedHeaders=\xff, Signature=\xff",
	} {
		out = append(out, probe{name: "signature: " + name, raw: request("POST /", "Authorization: "+header+"\r\nContent-Type: application/x-www-form-urlencoded\r\n", "Action=ListTopics"), status: []int{400, 403}})
	}
	return append(out,
		probe{name: "presigned rubbish", raw: request("GET /?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=%zz&X-Amz-Expires=-1&X-Amz-Signature=", "", ""), status: []int{400, 403}},
		probe{name: "unsigned", raw: request("POST /v2/email/outbound-emails", "Content-Type: application/json\r\n", mail+"}"), status: []int{403}, code: "MissingAuthenticationToken"},
	)
}

func badHTTP() []probe {
	closed := []int{0, 400}
	post := "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + signed("sns")
	return []probe{
		{name: "not HTTP", raw: []byte("\x00\x01\x02 hello\r\n\r\n"), status: closed},
		{name: "a TLS record that is none", raw: []byte("\x16\x03\x01\x00\x05hello\r\n\r\n"), status: closed},
		{name: "SMTP on the HTTP port", raw: []byte("EHLO example.com\r\nMAIL FROM:<a@example.com>\r\n\r\n"), status: closed},
		{name: "no host", raw: []byte("GET / HTTP/1.1\r\n\r\n"), status: []int{400}},
		{name: "negative length", raw: []byte(post + "Content-Length: -5\r\n\r\n"), status: closed},
		{name: "length of letters", raw: []byte(post + "Content-Length: many\r\n\r\n"), status: closed},
		{name: "length beyond 64 bits", raw: []byte(post + "Content-Length: 99999999999999999999\r\n\r\n"), status: closed},
		{name: "length of a petabyte", raw: []byte(post + "Content-Length: 1125899906842624\r\n\r\n"), status: []int{413}},
		{name: "two lengths", raw: []byte(post + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"), status: closed},
		{name: "length and chunks", raw: []byte(post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX"), status: []int{0, 400}},
		{name: "unknown transfer encoding", raw: []byte(post + "Transfer-Encoding: rot13\r\n\r\nhello"), status: []int{0, 400, 501}},
		{name: "broken chunks", raw: []byte(post + "Transfer-Encoding: chunked\r\n\r\nZZ\r\nhello\r\n0\r\n\r\n"), status: []int{400, 408}},
		{name: "chunk of 2^63 bytes", raw: []byte(post + "Transfer-Encoding: chunked\r\n\r\n8000000000000000\r\nhello\r\n"), status: []int{0, 400, 408, 413}, ends: true},
		{name: "fewer bytes than announced", raw: []byte(post + "Content-Length: 100\r\n\r\nhello"), status: []int{0, 400, 408}, ends: true},
		{name: "header of a megabyte", raw: []byte("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Big: " + strings.Repeat("x", 1<<20) + "\r\n\r\n"), status: []int{0, 431}},
		{name: "path of a megabyte", raw: []byte("GET /" + strings.Repeat("x", 1<<20) + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"), status: []int{0, 414, 431}},
		{name: "header name with a space", raw: []byte("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX Y: z\r\n\r\n"), status: closed},
		{name: "folded header", raw: []byte("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: b\r\n c\r\n\r\n"), status: []int{0, 400, 403}},
		{name: "escaped rubbish in the path", raw: request("GET /v2/email/%zz", signed("ses"), ""), status: closed},
		{name: "escaped zero byte in the path", raw: request("GET /v2/email/configuration-sets/%00", signed("ses"), ""), status: []int{400, 404}},
		{name: "way out of the path", raw: request("GET /v2/email/configuration-sets/..%2f..%2f..%2fetc%2fpasswd", signed("ses"), ""), status: []int{400, 404}},
		{name: "deep path", raw: request("GET /v2/email/"+strings.Repeat("a/", 10000), signed("ses"), ""), status: []int{400, 404}},
		{name: "unknown method", raw: request("BREW /v2/email/configuration-sets", signed("ses"), ""), status: []int{400, 404, 405}},
		{name: "CONNECT", raw: []byte("CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n"), status: []int{400, 403, 404, 405}},
		{name: "foreign certificate", raw: request("GET /SimpleNotificationService-00000000000000000000000000000000.pem", "", ""), status: []int{404}},
		{name: "forged confirmation", raw: request("GET /?Action=ConfirmSubscription&TopicArn=arn:aws:sns:us-east-1:000000000000:none&Token="+strings.Repeat("0", 5000), "", ""), status: []int{400, 404}},
	}
}

func badJSON() (out []probe) {
	for name, body := range map[string]string{
		"a string where a structure belongs": `{"Content":"x"}`,
		"a number where a string belongs":    `{"FromEmailAddress":5,"Content":{}}`,
		"a structure where a list belongs":   `{"EmailTags":{"Name":"a"}}`,
		"a list where a structure belongs":   `{"Destination":[]}`,
		"a list":                             `[1,2,3]`,
		"a string":                           `"x"`,
		"no end":                             mail,
		"two values":                         mail + "}{}",
		"not base64":                         `{"Content":{"Raw":{"Data":"***"}}}`,
		"a broken escape":                    `{"FromEmailAddress":"\ud8"}`,
		"bytes":                              "{\"FromEmailAddress\":\"\xff\xfe\"}",
		"deep lists":                         `{"x":` + strings.Repeat("[", 200_000) + strings.Repeat("]", 200_000) + "}",
		"deep structures":                    strings.Repeat(`{"Content":`, 100_000) + "1" + strings.Repeat("}", 100_000),
		"deep and never ended":               strings.Repeat("[", 1_000_000),
	} {
		out = append(out, probe{name: "REST: " + name, raw: restCall(body), status: []int{400}, code: "SerializationException"})
	}
	for name, body := range map[string]string{
		"a structure where a string belongs": `{"QueueName":{}}`,
		"a string where a map belongs":       `{"QueueName":"q","Attributes":"x"}`,
		"a number in a map of strings":       `{"QueueName":"q","Attributes":{"a":1}}`,
		"no end":                             `{"QueueName":"q"`,
		"deep":                               `{"QueueName":` + strings.Repeat(`{"a":`, 100_000) + `1` + strings.Repeat("}", 100_001),
	} {
		out = append(out, probe{name: "JSON: " + name, raw: jsonCall("AmazonSQS.CreateQueue", body), status: []int{400}, code: "SerializationException"})
	}
	numbers := jsonCall("AmazonSQS.ReceiveMessage", `{"QueueUrl":"http://127.0.0.1/000000000000/q","MaxNumberOfMessages":1e400}`)
	return append(out,
		probe{name: "JSON: a number beyond any type", raw: numbers, status: []int{400}},
		probe{name: "JSON: a million entries", raw: jsonCall("AmazonSQS.SendMessageBatch", `{"QueueUrl":"q","Entries":[`+strings.Repeat("{},", 1_000_000)+"{}]}"), status: []int{400}},
		probe{name: "JSON: an operation that does not exist", raw: jsonCall("AmazonSQS.Rubbish\x01", "{}"), status: []int{0, 400}},
		probe{name: "JSON: a service that does not exist", raw: request("POST /", signed("sqs")+"X-Amz-Target: Nothing.Op\r\n", "{}"), status: []int{400}},
		probe{name: "JSON: an operation without a handler", raw: jsonCall("AWSEvents.CreatePartnerEventSource", "{}"), status: []int{400}, code: "CreatePartnerEventSource"},
	)
}

func badQueries() []probe {
	const send = "Action=SendEmail&Version=2010-12-01&Source=a@example.com"
	return []probe{
		{name: "query: nothing", raw: queryCall("sns", ""), status: []int{400}, code: "MissingAction"},
		{name: "query: unknown action", raw: queryCall("sns", "Action=Rubbish"), status: []int{400}, code: "InvalidAction"},
		{name: "query: bad escapes", raw: queryCall("sns", "Action=CreateTopic&Name=%zz"), status: []int{400}},
		{name: "query: a list index that is none", raw: queryCall("ses", send+"&Destination.ToAddresses.member.x=b@example.net"), status: []int{400}},
		{name: "query: a huge list index", raw: queryCall("ses", send+"&Destination.ToAddresses.member.99999999999999999999=b@example.net"), status: []int{400}},
		{name: "query: a negative list index", raw: queryCall("ses", send+"&Destination.ToAddresses.member.-1=b@example.net"), status: []int{400}},
		{name: "query: a structure as a value", raw: queryCall("ses", send+"&Destination=x"), status: []int{400}},
		{name: "query: a flood of parameters", raw: queryCall("sns", "Action=CreateTopic&Name=t"+strings.Repeat("&a=b", 500_000)), status: []int{400, 413}},
		{name: "query: a flood of attributes", raw: queryCall("sns", "Action=CreateTopic&Name=t"+flood("&Attributes.entry.%d.key=k%d", 20_000)), status: []int{400}},
		{name: "query: a deep name", raw: queryCall("ses", send+"&Destination"+strings.Repeat(".member.1", 100_000)+"=x"), status: []int{400, 413}},
		{name: "query: a flood in the address", raw: request("GET /?Action=ListTopics"+strings.Repeat("&a=b", 10_000), signed("sns"), ""), status: []int{200, 400, 414, 431}},
		{name: "query: an XML bomb", raw: request("POST /", signed("sns")+"Content-Type: text/xml\r\n", xmlBomb), status: []int{400}},
		{name: "query: an XML bomb as a form", raw: queryCall("ses", xmlBomb), status: []int{400}},
		{name: "query: a service that speaks JSON only", raw: queryCall("firehose", "Action=ListDeliveryStreams"), status: []int{400}},
	}
}

const xmlBomb = `<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]><a>&c;</a>`

func flood(pattern string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, pattern, i+1, i+1)
	}
	return b.String()
}

func badCBOR() (out []probe) {
	for name, body := range map[string]string{
		"empty text of 2^63 bytes": "\xa1\x69Namespace\x7b\x7f\xff\xff\xff\xff\xff\xff\xff",
		"bytes of 2^64 bytes":      "\xa1\x69Namespace\x5b\xff\xff\xff\xff\xff\xff\xff\xff",
		"list of 2^60 entries":     "\xa1\x6aMetricData\x9b\x10\x00\x00\x00\x00\x00\x00\x00",
		"map of 2^60 entries":      "\xbb\x10\x00\x00\x00\x00\x00\x00\x00",
		"deep lists":               "\xa1\x61x" + strings.Repeat("\x81", 1_000_000) + "\x01",
		"deep endless lists":       "\xa1\x61x" + strings.Repeat("\x9f", 1_000_000),
		"deep tags":                "\xa1\x61x" + strings.Repeat("\xc1", 1_000_000) + "\x01",
		"no end":                   "\xbf\x69Namespace",
		"a break alone":            "\xff",
		"reserved":                 "\x1c\x1d\x1e",
		"a list":                   "\x80",
		"a wrong type":             "\xa1\x69Namespace\x05",
		"text that is not UTF-8":   "\xa1\x69Namespace\x62\xff\xfe",
	} {
		out = append(out, probe{name: "CBOR: " + name, raw: cborCall("PutMetricData", body), status: []int{400}})
	}
	return append(out, probe{name: "CBOR: no such service", status: []int{400, 404},
		raw: request("POST /service/Nothing/operation/Op", signed("monitoring")+"Smithy-Protocol: rpc-v2-cbor\r\n", "\xa0")})
}

func oversized() []probe {
	compressed := func(service, headers, line, body string) []byte {
		return request(line, signed(service)+"Content-Encoding: gzip\r\n"+headers, body)
	}
	zip := bomb(128 << 20)
	return []probe{
		{name: "5 MiB to SQS", raw: jsonCall("AmazonSQS.SendMessage", `{"QueueUrl":"q","MessageBody":"`+strings.Repeat("x", 5<<20)+`"}`), status: []int{413}, code: "RequestEntityTooLarge"},
		{name: "5 MiB to SNS", raw: queryCall("sns", "Action=Publish&Message="+strings.Repeat("x", 5<<20)), status: []int{413}, code: "RequestEntityTooLarge"},
		{name: "gzip bomb to SQS", raw: compressed("sqs", "X-Amz-Target: AmazonSQS.SendMessage\r\n", "POST /", zip), status: []int{413}, code: "RequestEntityTooLarge"},
		{name: "gzip bomb to SES", raw: compressed("ses", "Content-Type: application/json\r\n", "POST /v2/email/outbound-emails", zip), status: []int{413}, code: "RequestEntityTooLarge"},
		{name: "gzip that is none", raw: compressed("sns", "", "POST /", "hello"), status: []int{400}, code: "MalformedInput"},
		{name: "gzip cut off", raw: compressed("sns", "", "POST /", zip[:100]), status: []int{400}, code: "MalformedInput"},
		{name: "unknown encoding", raw: request("POST /", signed("sns")+"Content-Encoding: br\r\n", "x"), status: []int{400, 415}},
	}
}

func badOwnCalls() []probe {
	own := func(line, headers, body string) []byte { return request(line, headers, body) }
	return []probe{
		{name: "own API: foreign host", raw: []byte("GET /sestina/v1/messages HTTP/1.1\r\nHost: evil.example\r\n\r\n"), status: []int{403}, code: "ForeignHost"},
		{name: "own API: foreign page", raw: own("POST /sestina/v1/reset", "Origin: http://evil.example\r\n", ""), status: []int{403}, code: "ForeignOrigin"},
		{name: "own API: page without origin", raw: own("POST /sestina/v1/reset", "Origin: null\r\n", ""), status: []int{403}, code: "ForeignOrigin"},
		{name: "own API: bad number", raw: own("GET /sestina/v1/messages?limit=-5", "", ""), status: []int{400}},
		{name: "own API: endless wait", raw: own("GET /sestina/v1/messages?wait=10000h", "", ""), status: []int{400}},
		{name: "own API: bad time", raw: own("GET /sestina/v1/events?since=yesterday", "", ""), status: []int{400}},
		{name: "own API: bad id", raw: own("GET /sestina/v1/messages/..%2f..%2fetc", "", ""), status: []int{400, 404}},
		{name: "own API: deep JSON", raw: own("POST /sestina/v1/clock", "", strings.Repeat("[", 60_000)), status: []int{400}},
		{name: "own API: long JSON", raw: own("POST /sestina/v1/clock", "", `{"advance":"`+strings.Repeat("1", 10<<20)+`"}`), status: []int{400, 413}},
		{name: "own API: clock to the end of time", raw: own("POST /sestina/v1/clock", "", `{"advance":"9999999999h"}`), status: []int{400}},
		{name: "own API: unknown path", raw: own("GET /sestina/v1/nothing", "", ""), status: []int{404}},
		{name: "own API: wrong method", raw: own("DELETE /sestina/v1/messages", "", ""), status: []int{404, 405}},
	}
}

// TestBadRequests: raw bad input gets the documented error or a closed
// connection, never an internal error, a panic or a growing process.
func TestBadRequests(t *testing.T) {
	t.Parallel()
	s := harness.Start(t)
	all, large := probes(), oversized()
	round := func() {
		for _, p := range large { // one by one, so that memory is comparable between rounds
			p.try(t, hostOf(s))
		}
		var wg sync.WaitGroup
		next := make(chan probe)
		for range 8 {
			wg.Go(func() {
				for p := range next {
					p.try(t, hostOf(s))
				}
			})
		}
		for _, p := range all {
			next <- p
		}
		close(next)
		wg.Wait()
	}
	round()
	round()
	if t.Failed() {
		return
	}
	warm := readGauge(t, s)
	for i := range 4 {
		round()
		// Names that clients make up must not become names of ours.
		for j := range 200 {
			p := probe{name: "made-up names", raw: queryCall("sns", fmt.Sprintf("Action=MadeUp%d-%d", i, j)), status: []int{400}, code: "InvalidAction"}
			p.try(t, hostOf(s))
		}
	}
	settle(t, s, warm)
	unharmed(t, s)
}

// settle waits until the goroutines are gone that requests had, and asserts that
// memory and the page of metrics did not grow with them.
func settle(t *testing.T, s *harness.Instance, before gauge) {
	t.Helper()
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	deadline := time.Now().Add(20 * time.Second)
	after := readGauge(t, s)
	for ; after.goroutines > before.goroutines+20 && time.Now().Before(deadline); after = readGauge(t, s) {
		<-poll.C
	}
	if after.goroutines > before.goroutines+20 {
		t.Errorf("%.0f goroutines, %.0f before", after.goroutines, before.goroutines)
	}
	// A round moves about 400 MB through the process, which needs about as much
	// for it: whatever kept what it read would be far above twice that now.
	if after.resident > 800e6 {
		t.Errorf("the process grew to %.0f MB, from %.0f MB after the first rounds", after.resident/1e6, before.resident/1e6)
	}
	if after.size > before.size+64<<10 {
		t.Errorf("/metrics grew from %d to %d bytes", before.size, after.size)
	}
}

// unharmed asserts that nothing panicked and that a good client is still served.
func unharmed(t *testing.T, s *harness.Instance) {
	t.Helper()
	if log := s.Log(); strings.Contains(log, "panic") || strings.Contains(log, "level=ERROR") {
		t.Errorf("the log tells of a panic or an error")
	}
	p := probe{name: "a good request", raw: queryCall("sts", "Action=GetCallerIdentity&Version=2011-06-15"), status: []int{200}, code: "GetCallerIdentityResult"}
	p.try(t, hostOf(s))
	if _, err := harness.SMTPSend(s.SMTP, "nobody@unknown.example.org", []string{"b@example.net"}, "Subject: x\n\nx\n"); err == nil || !strings.Contains(err.Error(), "554") {
		t.Errorf("an unverified sender by SMTP: %v, want 554", err)
	}
}
