package awswire

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/sestina-mail/sestina/internal/awsapi/firehose"
	"github.com/sestina-mail/sestina/internal/awsapi/sesv2"
	"github.com/sestina-mail/sestina/internal/awsapi/sns"
	"github.com/sestina-mail/sestina/internal/awsapi/sts"
	"github.com/sestina-mail/sestina/internal/sestina"
)

// newSigMux returns a Mux that checks signatures, with a handler per protocol.
func newSigMux(opt Options) *Mux {
	opt.Credentials, opt.Logger = testKeys, discard()
	m := NewMux(opt)
	Handle(m, sns.OpListTopics, func(context.Context, *sns.ListTopicsInput) (*sns.ListTopicsOutput, error) { return nil, nil })
	Handle(m, sns.OpConfirmSubscription, func(ctx context.Context, in *sns.ConfirmSubscriptionInput) (*sns.ConfirmSubscriptionOutput, error) {
		c := CallFrom(ctx)
		return &sns.ConfirmSubscriptionOutput{SubscriptionArn: new(fmt.Sprintf("%s %v %s", *in.TopicArn, c.Signed, c.Scope))}, nil
	})
	Handle(m, sns.OpUnsubscribe, func(context.Context, *sns.UnsubscribeInput) (*sns.UnsubscribeOutput, error) { return nil, nil })
	Handle(m, sesv2.OpGetEmailIdentity, func(context.Context, *sesv2.GetEmailIdentityInput) (*sesv2.GetEmailIdentityOutput, error) {
		return nil, nil
	})
	Handle(m, firehose.OpListDeliveryStreams, func(context.Context, *firehose.ListDeliveryStreamsInput) (*firehose.ListDeliveryStreamsOutput, error) {
		return nil, nil
	})
	Handle(m, sts.OpGetCallerIdentity, func(context.Context, *sts.GetCallerIdentityInput) (*sts.GetCallerIdentityOutput, error) {
		return nil, nil
	})
	return m
}

const snsBody = "Action=ListTopics&Version=2010-03-31"

// snsRequest is a signed query request that the tests then spoil.
func snsRequest(t *testing.T) *http.Request {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(snsBody))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	sign(t, r, []byte(snsBody), "sns", "us-east-1")
	return r
}

func restRequest(t *testing.T) *http.Request {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/v2/email/identities/a%40example.com", nil)
	sign(t, r, nil, "ses", "us-east-1")
	return r
}

func jsonRequest(t *testing.T) *http.Request {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("{}"))
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "Firehose_20150804.ListDeliveryStreams")
	sign(t, r, []byte("{}"), "firehose", "us-east-1")
	return r
}

// errorOf returns status and code of a response.
func errorOf(w *httptest.ResponseRecorder) (int, string) {
	body := w.Body.String()
	if code := w.Header().Get("x-amzn-ErrorType"); code != "" {
		return w.Code, code
	}
	if _, rest, ok := strings.Cut(body, "<Code>"); ok {
		code, _, _ := strings.Cut(rest, "<")
		return w.Code, code
	}
	if _, rest, ok := strings.Cut(body, `"__type":"`); ok {
		code, _, _ := strings.Cut(rest, `"`)
		return w.Code, code
	}
	return w.Code, ""
}

func TestSigV4Refusals(t *testing.T) {
	t.Parallel()
	type want struct {
		status int
		code   string
	}
	replaceAuth := func(old, by string) func(*http.Request) {
		return func(r *http.Request) {
			h := r.Header.Get("Authorization")
			if !strings.Contains(h, old) {
				panic("nothing to replace in " + h)
			}
			r.Header.Set("Authorization", strings.Replace(h, old, by, 1))
		}
	}
	setHeader := func(k, v string) func(*http.Request) { return func(r *http.Request) { r.Header.Set(k, v) } }
	today := time.Now().UTC().Format("20060102") //permit:time.Now SigV4 is about real time
	for _, c := range []struct {
		name              string
		spoil             func(*http.Request)
		query, rest, json want
	}{
		{
			"Untouched", func(*http.Request) {},
			want{200, ""}, want{200, ""}, want{200, ""},
		},
		{
			"NotSigned", func(r *http.Request) { r.Header.Del("Authorization") },
			want{403, "MissingAuthenticationToken"}, want{403, "MissingAuthenticationTokenException"}, want{400, "MissingAuthenticationTokenException"},
		},
		{
			"UnknownKey", replaceAuth(testKey, "AKIAUNKNOWN"),
			want{403, "InvalidClientTokenId"}, want{403, "UnrecognizedClientException"}, want{400, "UnrecognizedClientException"},
		},
		{
			"WrongSignature", replaceAuth("Signature=", "Signature=0"),
			want{403, "SignatureDoesNotMatch"}, want{403, "InvalidSignatureException"}, want{400, "InvalidSignatureException"},
		},
		{
			"SignatureIsNotHex", replaceAuth("Signature=", "Signature=xy"),
			want{403, "SignatureDoesNotMatch"}, want{403, "InvalidSignatureException"}, want{400, "InvalidSignatureException"},
		},
		{
			"OtherRegionInScope", replaceAuth("us-east-1", "us-east-2"),
			want{403, "SignatureDoesNotMatch"}, want{403, "InvalidSignatureException"}, want{400, "InvalidSignatureException"},
		},
		{
			"RegionNotServed", replaceAuth("us-east-1", "eu-north-1"),
			want{403, "SignatureDoesNotMatch"}, want{403, "InvalidSignatureException"}, want{400, "InvalidSignatureException"},
		},
		{
			"RegionIsNone", replaceAuth("us-east-1", "US:EAST"),
			want{400, "IncompleteSignature"}, want{400, "IncompleteSignatureException"}, want{400, "IncompleteSignatureException"},
		},
		{
			"OtherServiceInScope", replaceAuth("us-east-1/", "us-east-1/x"),
			want{403, "SignatureDoesNotMatch"}, want{403, "InvalidSignatureException"}, want{400, "InvalidSignatureException"},
		},
		{
			"OtherDateInScope", replaceAuth("/"+today+"/", "/20200101/"),
			want{403, "SignatureDoesNotMatch"}, want{403, "InvalidSignatureException"}, want{400, "InvalidSignatureException"},
		},
		{
			"OtherTerminator", replaceAuth("aws4_request", "aws5_request"),
			want{400, "IncompleteSignature"}, want{400, "IncompleteSignatureException"}, want{400, "IncompleteSignatureException"},
		},
		{
			"CredentialTooShort", replaceAuth("/aws4_request", ""),
			want{400, "IncompleteSignature"}, want{400, "IncompleteSignatureException"}, want{400, "IncompleteSignatureException"},
		},
		{
			"NoCredential", replaceAuth("Credential=", "Cred="),
			want{400, "IncompleteSignature"}, want{400, "IncompleteSignatureException"}, want{400, "IncompleteSignatureException"},
		},
		{
			"NoSignedHeaders", replaceAuth("SignedHeaders=", "Headers="),
			want{400, "IncompleteSignature"}, want{400, "IncompleteSignatureException"}, want{400, "IncompleteSignatureException"},
		},
		{
			"NoSignature", replaceAuth("Signature=", "Sig="),
			want{400, "IncompleteSignature"}, want{400, "IncompleteSignatureException"}, want{400, "IncompleteSignatureException"},
		},
		{
			"NoEqualSign", setHeader("Authorization", "AWS4-HMAC-SHA256 nonsense"),
			want{400, "IncompleteSignature"}, want{400, "IncompleteSignatureException"}, want{400, "IncompleteSignatureException"},
		},
		{
			"OtherAlgorithm", setHeader("Authorization", "AWS4-ECDSA-P256-SHA256 Credential=A/20260101/sns/aws4_request"),
			want{400, "IncompleteSignature"}, want{400, "IncompleteSignatureException"}, want{400, "IncompleteSignatureException"},
		},
		{
			"BasicAuth", setHeader("Authorization", "Basic dXNlcjpwYXNz"),
			want{400, "IncompleteSignature"}, want{400, "IncompleteSignatureException"}, want{400, "IncompleteSignatureException"},
		},
		{
			"NoDate", func(r *http.Request) { r.Header.Del("X-Amz-Date") },
			want{400, "IncompleteSignature"}, want{400, "IncompleteSignatureException"}, want{400, "IncompleteSignatureException"},
		},
		{
			"DateIsNone", setHeader("X-Amz-Date", "yesterday"),
			want{400, "IncompleteSignature"}, want{400, "IncompleteSignatureException"}, want{400, "IncompleteSignatureException"},
		},
		{
			"TokenForLongTermKey", setHeader("X-Amz-Security-Token", "token"),
			want{403, "InvalidClientTokenId"}, want{403, "UnrecognizedClientException"}, want{400, "UnrecognizedClientException"},
		},
		{
			"HostNotSigned", replaceAuth("host;", ""),
			want{403, "SignatureDoesNotMatch"}, want{403, "InvalidSignatureException"}, want{400, "InvalidSignatureException"},
		},
		{
			"HeaderAddedThatMustBeSigned", setHeader("X-Amz-Content-Sha256", hex.EncodeToString(make([]byte, 32))),
			want{403, "SignatureDoesNotMatch"}, want{403, "InvalidSignatureException"}, want{400, "InvalidSignatureException"},
		},
		{
			"UnsignedPayloadWithoutTLS", setHeader("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD"),
			want{403, "SignatureDoesNotMatch"}, want{403, "InvalidSignatureException"}, want{400, "InvalidSignatureException"},
		},
		{
			"ChunkedPayload", setHeader("X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
			want{403, "SignatureDoesNotMatch"}, want{403, "InvalidSignatureException"}, want{400, "InvalidSignatureException"},
		},
		{
			"OtherBody", func(r *http.Request) { r.Body, r.ContentLength = http.NoBody, 0 },
			want{403, "SignatureDoesNotMatch"}, want{200, ""}, want{400, "InvalidSignatureException"},
		},
		{
			"OtherQuery", func(r *http.Request) { r.URL.RawQuery = "a=b" },
			want{403, "SignatureDoesNotMatch"}, want{403, "InvalidSignatureException"}, want{400, "InvalidSignatureException"},
		},
		{
			"OtherHost", func(r *http.Request) { r.Host = "elsewhere" },
			want{403, "SignatureDoesNotMatch"}, want{403, "InvalidSignatureException"}, want{400, "InvalidSignatureException"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := newSigMux(Options{Regions: []string{"us-east-1", "us-east-2"}})
			for protocol, try := range map[string]struct {
				r    *http.Request
				want want
			}{
				"query": {snsRequest(t), c.query},
				"rest":  {restRequest(t), c.rest},
				"json":  {jsonRequest(t), c.json},
			} {
				c.spoil(try.r)
				w := httptest.NewRecorder()
				m.ServeHTTP(w, try.r)
				if status, code := errorOf(w); status != try.want.status || code != try.want.code {
					t.Errorf("%s: %d %q, want %d %q\n%s", protocol, status, code, try.want.status, try.want.code, w.Body)
				}
			}
		})
	}
}

func TestSigV4Time(t *testing.T) {
	t.Parallel()
	m := newSigMux(Options{ClockSkew: 15 * time.Minute})
	now := time.Now() //permit:time.Now SigV4 is about real time
	for _, c := range []struct {
		name string
		at   time.Time
		text string
	}{
		{"WithinSkewBefore", now.Add(-14 * time.Minute), ""},
		{"WithinSkewAfter", now.Add(14 * time.Minute), ""},
		{"TooOld", now.Add(-16 * time.Minute), "Signature expired: "},
		{"TooNew", now.Add(16 * time.Minute), "Signature not yet current: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(snsBody))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			signAt(t, r, []byte(snsBody), "sns", "us-east-1", c.at)
			w := httptest.NewRecorder()
			m.ServeHTTP(w, r)
			status, code := errorOf(w)
			if c.text == "" {
				if status != 200 {
					t.Errorf("%d %s", status, w.Body)
				}
				return
			}
			if status != 403 || code != "SignatureDoesNotMatch" || !strings.Contains(w.Body.String(), c.text) {
				t.Errorf("%d %s", status, w.Body)
			}
		})
	}
}

func TestSigV4Presigned(t *testing.T) {
	t.Parallel()
	m := newSigMux(Options{})
	now := time.Now() //permit:time.Now SigV4 is about real time
	for _, c := range []struct {
		name    string
		expires string
		at      time.Time
		status  int
		code    string
	}{
		{"Valid", "60", now, 200, ""},
		{"LongAgoButNotExpired", "7200", now.Add(-time.Hour), 200, ""},
		{"Expired", "60", now.Add(-2 * time.Minute), 403, "RequestExpired"},
		{"FromTheFuture", "60", now.Add(time.Hour), 403, "SignatureDoesNotMatch"},
		{"ExpiresTooLong", "604801", now, 400, "IncompleteSignature"},
		{"ExpiresZero", "0", now, 400, "IncompleteSignature"},
		{"ExpiresIsNone", "soon", now, 400, "IncompleteSignature"},
		{"NoExpiresOld", "", now.Add(-16 * time.Minute), 403, "SignatureDoesNotMatch"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			u := "http://example.com/?Action=GetCallerIdentity&Version=2011-06-15"
			if c.expires != "" {
				u += "&X-Amz-Expires=" + c.expires
			}
			signed := presign(t, u, "sts", c.at)
			w := httptest.NewRecorder()
			m.ServeHTTP(w, httptest.NewRequest(http.MethodGet, signed, nil))
			if status, code := errorOf(w); status != c.status || code != c.code {
				t.Errorf("%d %q, want %d %q\n%s", status, code, c.status, c.code, w.Body)
			}
		})
	}
}

func presign(t *testing.T, target, service string, at time.Time) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	empty := sha256.Sum256(nil)
	creds := aws.Credentials{AccessKeyID: testKey, SecretAccessKey: testSecret}
	signed, _, err := v4.NewSigner().PresignHTTP(t.Context(), creds, r, hex.EncodeToString(empty[:]), service, "us-east-1", at)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// TestSigV4UnusualRequests signs requests with everything that clients and
// servers may spell differently.
func TestSigV4UnusualRequests(t *testing.T) {
	t.Parallel()
	m := newSigMux(Options{})
	server := httptest.NewServer(m)
	t.Cleanup(server.Close)
	for _, path := range []string{
		"/v2/email/identities/a%40example.com",
		"/v2/email/identities/a@example.com",
		"/v2/email/identities/a%2Bb%2Fc%20d%25",
		"/v2/email/identities/%C3%BC!$&'()*+,;=:~",
		"/v2/email/identities/x?",
		"/v2/email/identities/x?b=2&a=1&a=0&empty=&flag&%C3%BC=%2B%20~",
		"/v2/email/identities/x?q=a%2Fb",
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("X-Custom", "  many   spaces\tand tabs  ")
			r.Header.Add("X-List", "b")
			r.Header.Add("X-List", "a")
			sign(t, r, nil, "ses", "us-east-1")
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close() // read only
			if resp.StatusCode != http.StatusOK {
				t.Errorf("%s: %s %s", path, resp.Status, resp.Header.Get("x-amzn-ErrorType"))
			}
		})
	}
}

func TestSigV4PathForms(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"/": "/", "": "/", "/a//b/": "/a/b/", "/a/./b/../c": "/a/c", "/../..": "/", "/a/..": "/", "/a/b/.": "/a/b/",
	} {
		if got := normalPath(in); got != want {
			t.Errorf("normalPath(%q) = %q, want %q", in, got, want)
		}
	}
}

// TestSigV4KeyRotation checks that a replaced secret is honoured at once, in
// spite of the cache.
func TestSigV4KeyRotation(t *testing.T) {
	t.Parallel()
	m := newSigMux(Options{})
	rotating := keys{testKey: {Secret: testSecret}}
	m.opt.Credentials = rotating
	w := httptest.NewRecorder()
	m.ServeHTTP(w, snsRequest(t))
	if w.Code != 200 {
		t.Fatal(w.Body)
	}
	rotating[testKey] = Key{Secret: "new"}
	w = httptest.NewRecorder()
	m.ServeHTTP(w, snsRequest(t))
	if _, code := errorOf(w); code != "SignatureDoesNotMatch" {
		t.Error("the old secret was still accepted")
	}
}

func TestSigV4KeyCacheIsBounded(t *testing.T) {
	t.Parallel()
	var c signingKeys
	for i := range 2 * maxSigningKeys {
		s := signingScope{accessKeyID: fmt.Sprint(i), date: "20260101"}
		if c.get(s, "secret") != deriveKey("secret", s) {
			t.Fatal("the cache returned another key")
		}
	}
	if len(c.keys) > maxSigningKeys {
		t.Errorf("%d keys are cached", len(c.keys))
	}
}

// TestUnsigned checks the two operations that need no signature, as links and
// as forms.
func TestUnsigned(t *testing.T) {
	t.Parallel()
	for mode, m := range map[string]*Mux{"enforce": newSigMux(Options{}), "accept": newSigMux(Options{})} {
		if mode == "accept" {
			m.opt.Credentials = nil
		}
		for _, c := range []struct {
			method, target, body string
			status               int
			contains             string
		}{
			{"GET", "/?Action=ConfirmSubscription&TopicArn=arn&Token=t", "", 200, "arn false 000000000000/us-east-1"},
			{"POST", "/", "Action=ConfirmSubscription&TopicArn=arn&Token=t", 200, "arn false"},
			{"POST", "/?Action=ConfirmSubscription&TopicArn=arn&Token=t", "", 200, "arn false"},
			{"GET", "/?Action=Unsubscribe&SubscriptionArn=arn", "", 200, "<UnsubscribeResponse "},
			{"GET", "/?Action=ConfirmSubscription&Version=2010-03-31&TopicArn=arn", "", 400, "ValidationError"},
			{"GET", "/?Action=ConfirmSubscription&Version=2012-11-05&TopicArn=arn&Token=t", "", 403, "MissingAuthenticationToken"},
			{"GET", "/?Action=ListTopics", "", 403, "MissingAuthenticationToken"},
			{"GET", "/?Action=GetCallerIdentity&Version=2011-06-15", "", 403, "MissingAuthenticationToken"},
			{"GET", "/", "", 403, "MissingAuthenticationToken"},
			{"POST", "/", strings.Repeat("x", maxUnsignedBody+1), 413, "RequestEntityTooLarge"},
			{"GET", "/?AWSAccessKeyId=A&Signature=x&SignatureVersion=2&Action=ListTopics", "", 403, "SignatureDoesNotMatch"},
		} {
			r := httptest.NewRequest(c.method, c.target, strings.NewReader(c.body))
			w := httptest.NewRecorder()
			m.ServeHTTP(w, r)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.contains) {
				t.Errorf("%s: %s %s %s: %d %s", mode, c.method, c.target, printable(c.body), w.Code, w.Body)
			}
		}
	}
}

// FuzzSignature feeds arbitrary Authorization headers and query strings. No
// input may pass the check, panic, or be answered as our fault.
func FuzzSignature(f *testing.F) {
	f.Add("AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260101/us-east-1/sns/aws4_request, SignedHeaders=host;x-amz-date, Signature=00", "", "20260101T000000Z")
	f.Add("", "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260101%2Fus-east-1%2Fsts%2Faws4_request&X-Amz-Date=20260101T000000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=00", "")
	f.Add("AWS4-HMAC-SHA256 Credential=,,=", "a=%zz", "")
	f.Add("", "AWSAccessKeyId=x&Signature=y", "")
	m := newSigMux(Options{ClockSkew: 1000000 * time.Hour})
	dev := newSigMux(Options{})
	dev.opt.Credentials = nil
	f.Fuzz(func(t *testing.T, authorization, query, date string) {
		for _, mux := range []*Mux{m, dev} {
			r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader([]byte(snsBody)))
			r.URL = &url.URL{Path: "/", RawQuery: query}
			r.Header.Set("Authorization", authorization)
			r.Header.Set("X-Amz-Date", date)
			if authorization == "" {
				r.Header.Del("Authorization")
			}
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, r)
			unsigned := strings.Contains(query, "Action=")
			if w.Code >= 500 || mux == m && w.Code < 400 && !unsigned {
				t.Errorf("answered %d %s", w.Code, w.Body)
			}
		}
	})
}

// TestSigV4UnsignedPayload checks that a body outside the signature is let in
// over TLS only.
func TestSigV4UnsignedPayload(t *testing.T) {
	t.Parallel()
	m := newSigMux(Options{})
	for _, server := range []*httptest.Server{httptest.NewServer(m), httptest.NewTLSServer(m)} {
		t.Cleanup(server.Close)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, strings.NewReader(snsBody))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
		creds := aws.Credentials{AccessKeyID: testKey, SecretAccessKey: testSecret}
		now := time.Now() //permit:time.Now SigV4 is about real time
		if err := v4.NewSigner().SignHTTP(t.Context(), creds, r, "UNSIGNED-PAYLOAD", "sns", "us-east-1", now); err != nil {
			t.Fatal(err)
		}
		resp, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close() // read only
		if want := map[bool]int{false: 403, true: 200}[r.URL.Scheme == "https"]; resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", r.URL.Scheme, resp.StatusCode, want)
		}
	}
}

// TestAuthenticate checks the signature check that other handlers borrow.
func TestAuthenticate(t *testing.T) {
	t.Parallel()
	m := newSigMux(Options{})
	request := func(service string) *http.Request {
		r := httptest.NewRequest(http.MethodPost, "/sestina/v1/reset?a=b", strings.NewReader("body"))
		sign(t, r, []byte("body"), service, "eu-west-1")
		return r
	}
	for name, c := range map[string]struct {
		r    *http.Request
		max  int64
		code string // empty: accepted
	}{
		"Right":        {request("sestina"), 10, ""},
		"OtherService": {request("sns"), 10, "InvalidSignatureException"},
		"BodyTooLarge": {request("sestina"), 3, "RequestEntityTooLargeException"},
		"NotSigned":    {httptest.NewRequest(http.MethodPost, "/", nil), 10, "MissingAuthenticationTokenException"},
	} {
		call, err := m.Authenticate(httptest.NewRecorder(), c.r, "sestina", c.max)
		if c.code != "" {
			if sestina.CodeOf(err) != c.code {
				t.Errorf("%s: %v, want %s", name, err, c.code)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		body, err := io.ReadAll(c.r.Body)
		if err != nil || string(body) != "body" || call.Scope != (sestina.Scope{Account: "111122223333", Region: "eu-west-1"}) || call.UserName != "app" {
			t.Errorf("%s: %q %+v %v", name, body, call, err)
		}
	}
	if n := m.bodies.used.Load(); n != 0 {
		t.Errorf("%d bytes are still accounted for", n)
	}
}
