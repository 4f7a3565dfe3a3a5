package awswire

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/sestina-mail/sestina/internal/awsapi"
	"github.com/sestina-mail/sestina/internal/awsapi/awsapitest"
)

// AWS ships what its SDK sends and expects for every operation. These tests
// read those snapshots from the module cache: every request must reach its
// operation and decode without loss, every response and error must be encoded
// as the SDK expects it.

// sdkModules are the SDK modules with snapshots, by service.
var sdkModules = map[string]string{
	"sesv2": "sesv2", "ses": "ses", "sns": "sns", "sqs": "sqs", "cloudwatch": "cloudwatch",
	"firehose": "firehose", "eventbridge": "eventbridge", "sts": "sts",
}

// moduleDir returns where the module of an SDK service is in the module cache.
func moduleDir(t *testing.T, module string) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/aws/aws-sdk-go-v2/service/"+module).Output()
	if err != nil {
		t.Fatalf("find the SDK module %s: %v", module, err)
	}
	return strings.TrimSpace(string(out))
}

// operationsOf returns all operations of a service by name.
func operationsOf(service string) map[string]awsapitest.Operation {
	out := map[string]awsapitest.Operation{}
	for _, o := range awsapitest.Operations() {
		if o.Service.Name == service {
			out[o.Info().Name] = o
		}
	}
	return out
}

func TestConformanceRequests(t *testing.T) {
	t.Parallel()
	for service, module := range sdkModules {
		t.Run(service, func(t *testing.T) {
			t.Parallel()
			files, err := filepath.Glob(filepath.Join(moduleDir(t, module), "request_snapshot", "*.request.snap"))
			if err != nil || len(files) == 0 {
				t.Fatalf("no request snapshots: %v", err)
			}
			ops := operationsOf(service)
			for _, f := range files {
				name := strings.TrimSuffix(filepath.Base(f), ".request.snap")
				t.Run(name, func(t *testing.T) { checkRequest(t, service, ops, name, f) })
				delete(ops, name)
			}
			for name := range ops {
				t.Errorf("the SDK has no snapshot of %s", name)
			}
		})
	}
}

func checkRequest(t *testing.T, service string, ops map[string]awsapitest.Operation, name, file string) {
	op, ok := ops[name]
	if !ok {
		t.Fatalf("no operation %s", name)
	}
	r, body := readRequest(t, file)
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AK/20260101/eu-west-1/"+op.Service.SigningName+"/aws4_request")
	m := NewMux(Options{})
	// Whatever the operation, it must reach its own handler with its own input.
	var got any
	s := m.find(func(s *service_) bool { return s.Service == op.Service })
	s.profile.rules = 0 // snapshots hold values that no service would accept
	s.handlers[op.Index] = handler{
		newInput: op.NewInput,
		call: func(_ context_, in any) (any, error) {
			got = in
			return op.NewOutput(), nil
		},
	}
	w := httptest.NewRecorder()
	m.ServeHTTP(w, r)
	if got == nil {
		t.Fatalf("%s was not routed to its operation: %d %s", name, w.Code, w.Body)
	}
	if want := service; s.Name != want {
		t.Fatalf("served by %s", s.Name)
	}
	in := reflect.ValueOf(got).Elem()
	switch {
	case op.Service.Protocols&awsapi.ProtocolREST != 0:
		checkREST(t, s, op, r, body, in)
	case r.Header.Get("Smithy-Protocol") != "":
		sameCBOR(t, body, encodeCBOR(s.Shapes, op.Info().Input, in, nil))
	case r.Header.Get("X-Amz-Target") != "":
		sameJSON(t, body, encodeJSON(s.Shapes, op.Info().Input, in, nil))
	default:
		sameForm(t, s, op, body, in)
	}
}

// readRequest reads a request snapshot: method and path, headers, body.
func readRequest(t *testing.T, file string) (*http.Request, []byte) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b := bufio.NewReader(bytes.NewReader(raw))
	line, _ := b.ReadString('\n')
	method, target, ok := strings.Cut(strings.TrimSpace(line), " ")
	if !ok {
		t.Fatalf("%s: no request line", file)
	}
	if blank, _ := b.ReadString('\n'); strings.TrimSpace(blank) != "" {
		t.Fatalf("%s: %q where an empty line should be", file, blank)
	}
	header := readHeader(t, b)
	body, err := io.ReadAll(b)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(method, target, bytes.NewReader(body))
	r.Header = header
	return r, body
}

func readHeader(t *testing.T, b *bufio.Reader) http.Header {
	t.Helper()
	h := http.Header{}
	for {
		line, err := b.ReadString('\n')
		if strings.TrimSpace(line) == "" {
			return h
		}
		k, v, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ": ")
		if !ok || err != nil {
			t.Fatalf("malformed header %q", line)
		}
		h.Add(k, v)
	}
}

// checkREST compares labels, query and body of a request with the decoded
// input.
func checkREST(t *testing.T, s *service_, op awsapitest.Operation, r *http.Request, body []byte, in reflect.Value) {
	t.Helper()
	shape := &s.Shapes[op.Info().Input]
	match, _ := s.router.find(r.Method, sentPath(r))
	used := 0
	for i := range shape.Members {
		m := &shape.Members[i]
		var want []string
		switch {
		case m.Location == awsapi.LocationURI:
			v, ok := match.value(m.WireName())
			if !ok {
				t.Errorf("no label %s", m.Name)
			}
			want = []string{v}
		case m.Location == awsapi.LocationQuery && !match.route.Body:
			want = r.URL.Query()[m.WireName()]
			used++
		default:
			continue
		}
		if got := texts(s, m, in.Field(i)); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %q, sent %q", m.Name, got, want)
		}
	}
	if sent := len(r.URL.Query()); !match.route.Body && used != sent {
		t.Errorf("%d members are in the query string, which has %d parameters", used, sent)
	}
	if len(body) == 0 {
		body = []byte("{}")
	}
	e := jsonEncoder{shapes: s.Shapes}
	e.structure(shape, in, !match.route.Body)
	sameJSON(t, body, e.buf)
}

// texts returns the text values of a member bound to label or query string.
func texts(s *service_, m *awsapi.Member, f reflect.Value) []string {
	if f.Kind() == reflect.Pointer {
		f = f.Elem()
	}
	e := xmlEncoder{shapes: s.Shapes}
	if s.Shapes[m.Shape].Kind != awsapi.KindList {
		e.content(m.Shape, m.Format, f)
		return []string{string(e.buf)}
	}
	var out []string
	for i := range f.Len() {
		e.buf = nil
		e.content(s.Shapes[m.Shape].Elem, m.Format, f.Index(i))
		out = append(out, string(e.buf))
	}
	return out
}

func sameJSON(t *testing.T, want, got []byte) {
	t.Helper()
	var w, g any
	if err := json.Unmarshal(want, &w); err != nil {
		t.Fatalf("snapshot: %v\n%s", err, want)
	}
	if err := json.Unmarshal(got, &g); err != nil {
		t.Fatalf("encoded: %v\n%s", err, got)
	}
	if !reflect.DeepEqual(w, g) {
		t.Errorf("want %s\ngot  %s", want, got)
	}
}

func sameCBOR(t *testing.T, want, got []byte) {
	t.Helper()
	if len(want) == 0 {
		want = []byte{0xa0}
	}
	if w, g := cborTree(t, want), cborTree(t, got); !reflect.DeepEqual(w, g) {
		t.Errorf("want %v\ngot  %v", w, g)
	}
}

// cborTree decodes with the CBOR library.
func cborTree(t *testing.T, b []byte) any {
	t.Helper()
	var v any
	if err := cbor.Unmarshal(b, &v); err != nil {
		t.Fatalf("decode %x: %v", b, err)
	}
	return v
}

// sameForm encodes the decoded input as a form again.
func sameForm(t *testing.T, s *service_, op awsapitest.Operation, body []byte, in reflect.Value) {
	t.Helper()
	want, err := url.ParseQuery(string(body))
	if err != nil {
		t.Fatal(err)
	}
	got := url.Values{"Action": {op.Info().Name}, "Version": {s.Version}}
	encodeForm(s, op.Info().Input, in, "", got)
	if !reflect.DeepEqual(want, got) {
		t.Errorf("want %v\ngot  %v", want, got)
	}
}

// encodeForm is what an SDK does to make a query request.
func encodeForm(s *service_, shape int32, v reflect.Value, prefix string, out url.Values) {
	sh := &s.Shapes[shape]
	for i := range sh.Members {
		m := &sh.Members[i]
		if f := v.Field(i); !f.IsNil() {
			if f.Kind() == reflect.Pointer {
				f = f.Elem()
			}
			formValue(s, m.Shape, m.Flattened, f, prefix+m.QueryParam(), out)
		}
	}
}

func formValue(s *service_, shape int32, flattened bool, v reflect.Value, name string, out url.Values) {
	sh := &s.Shapes[shape]
	switch sh.Kind {
	case awsapi.KindStructure:
		n := len(out)
		if encodeForm(s, shape, v, name+".", out); len(out) == n {
			out.Set(name, "")
		}
	case awsapi.KindList:
		if v.Len() == 0 {
			out.Set(name, "")
		}
		infix := ".member."
		if flattened {
			infix = "."
		}
		for i := range v.Len() {
			formValue(s, sh.Elem, false, v.Index(i), name+infix+strconv.Itoa(i+1), out)
		}
	case awsapi.KindMap:
		infix := ".entry."
		if flattened {
			infix = "."
		}
		k, val := mapNames(sh)
		for i, key := range sortedKeys(v) {
			at := name + infix + strconv.Itoa(i+1) + "."
			out.Set(at+k, key.String())
			formValue(s, sh.Elem, false, v.MapIndex(key), at+val, out)
		}
	default:
		e := xmlEncoder{shapes: s.Shapes}
		e.content(shape, awsapi.TimeDefault, v)
		text := string(e.buf)
		if sh.Kind == awsapi.KindString {
			text = v.String()
		} else if sh.Kind == awsapi.KindDouble {
			text = strconv.FormatFloat(v.Float(), 'f', -1, 64)
		}
		out.Set(name, text)
	}
}

func TestConformanceResponses(t *testing.T) {
	t.Parallel()
	for service, module := range sdkModules {
		files, err := filepath.Glob(filepath.Join(moduleDir(t, module), "response_snapshot", "*.response.snap"))
		if err != nil {
			t.Fatal(err)
		}
		ops := operationsOf(service)
		for _, f := range files {
			name := strings.TrimSuffix(filepath.Base(f), ".response.snap")
			t.Run(service+"/"+name, func(t *testing.T) {
				t.Parallel()
				op, ok := ops[name]
				if !ok {
					t.Fatalf("no operation %s", name)
				}
				checkResponse(t, op, f)
			})
		}
	}
}

// checkResponse decodes what the service answers into the Go type and encodes
// that again.
func checkResponse(t *testing.T, op awsapitest.Operation, file string) {
	status, header, body := readResponse(t, file)
	if status != op.Info().Status {
		t.Errorf("status %d, the table says %d", status, op.Info().Status)
	}
	s := &service_{Service: op.Service}
	out := op.NewOutput()
	v := reflect.ValueOf(out).Elem()
	if header.Get("Smithy-Protocol") != "" {
		if err := decodeCBOR(s, op.Info().Output, body, v); err != nil {
			t.Fatal(err)
		}
		sameCBOR(t, body, encodeCBOR(s.Shapes, op.Info().Output, v, nil))
		return
	}
	if len(body) == 0 {
		body = []byte("{}")
	}
	if err := decodeJSON(s, op.Info().Output, body, v, false); err != nil {
		t.Fatal(err)
	}
	sameJSON(t, body, encodeJSON(s.Shapes, op.Info().Output, v, nil))
}

func readResponse(t *testing.T, file string) (int, http.Header, []byte) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b := bufio.NewReader(bytes.NewReader(raw))
	line, _ := b.ReadString('\n')
	status, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	header := readHeader(t, b)
	body, err := io.ReadAll(b)
	if err != nil {
		t.Fatal(err)
	}
	return status, header, body
}

// TestConformanceErrors checks status and code of every error the SDK knows,
// as the client reads them from our responses.
func TestConformanceErrors(t *testing.T) {
	t.Parallel()
	for service, module := range sdkModules {
		files, err := filepath.Glob(filepath.Join(moduleDir(t, module), "response_snapshot", "*.error.snap"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		for _, f := range files {
			name := strings.TrimSuffix(filepath.Base(f), ".error.snap")
			t.Run(service+"/"+name, func(t *testing.T) {
				t.Parallel()
				checkError(t, service, name, f)
			})
		}
	}
}

func checkError(t *testing.T, service, name, file string) {
	status, header, body := readResponse(t, file)
	w := httptest.NewRecorder()
	x := errorExchange(service, w, header)
	x.respond(nil, domainFault(x.svc, x.proto, sestinaError(name, "__Message__")))
	if w.Code != status {
		t.Errorf("status %d, the SDK expects %d", w.Code, status)
	}
	want, got := map[string]any{}, map[string]any{}
	decode := json.Unmarshal
	if x.proto == awsapi.ProtocolCBOR {
		decode = cbor.Unmarshal
	}
	if err := errors.Join(decode(body, &want), decode(w.Body.Bytes(), &got)); err != nil {
		t.Fatal(err)
	}
	code := w.Header().Get("x-amzn-ErrorType")
	if x.proto != awsapi.ProtocolREST {
		code = fmt.Sprint(got["__type"])
		code = code[strings.LastIndexByte(code, '#')+1:]
	}
	if code != want["__type"] {
		t.Errorf("code %q, the SDK expects %q", code, want["__type"])
	}
	message := want["message"]
	if message == nil {
		message = want["Message"]
	}
	if message != nil && got["message"] != message {
		t.Errorf("message %q, the SDK expects %q", got["message"], message)
	}
}
