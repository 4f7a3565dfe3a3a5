package bench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// credential has the form of a SigV4 signature. `sestina dev` takes region and
// service from it and does not check the signature, so the clients make none.
func credential(service string) string {
	return "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/" + time.Now().UTC().Format("20060102") + "/us-east-1/" + service +
		"/aws4_request, SignedHeaders=host;x-amz-date, Signature=" + strings.Repeat("0", 64)
}

// MessageSize is the size of the text of the messages that are sent, in bytes.
const MessageSize = 4 << 10

// text is a readable body of MessageSize bytes.
func text() string {
	line := "The quick brown fox jumps over the lazy dog, again and again and again.\n"
	return strings.Repeat(line, MessageSize/len(line)+1)[:MessageSize]
}

// SendPath is the path of SES v2 SendEmail.
const SendPath = "/v2/email/outbound-emails"

// SendEmail is the JSON of a SES v2 SendEmail call with a Simple message of
// 4 KiB to one recipient; set "" names no configuration set.
func SendEmail(set string) []byte {
	in := map[string]any{
		"FromEmailAddress": "sender@example.com",
		"Destination":      map[string]any{"ToAddresses": []string{"reader@example.net"}},
		"Content": map[string]any{"Simple": map[string]any{
			"Subject": map[string]any{"Data": "A message of four kibibytes"},
			"Body":    map[string]any{"Text": map[string]any{"Data": text()}},
		}},
		"EmailTags": []map[string]string{{"Name": "campaign", "Value": "bench"}},
	}
	if set != "" {
		in["ConfigurationSetName"] = set
	}
	b, err := json.Marshal(in)
	if err != nil {
		panic(err)
	}
	return b
}

// A Sender posts one request again and again over one kept connection. It is
// written by hand because on a small machine the client's CPU time is taken
// from the server under measurement.
type Sender struct {
	conn    net.Conn
	in      *bufio.Reader
	request []byte
	body    []byte // of the last answer
}

// NewSender connects and prepares the request.
func NewSender(base, set string) (*Sender, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, err
	}
	body := SendEmail(set)
	var b bytes.Buffer
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nX-Amz-Date: %s\r\nAuthorization: %s\r\nContent-Length: %d\r\n\r\n",
		SendPath, u.Host, time.Now().UTC().Format("20060102T150405Z"), credential("ses"), len(body))
	b.Write(body)
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		return nil, err
	}
	return &Sender{conn: conn, in: bufio.NewReader(conn), request: b.Bytes()}, nil
}

// Send sends the request and returns the message id that the answer holds.
func (s *Sender) Send() (string, error) {
	if _, err := s.conn.Write(s.request); err != nil {
		return "", err
	}
	status, err := s.in.ReadSlice('\n')
	if err != nil {
		return "", fmt.Errorf("read the answer: %w", err)
	}
	ok := bytes.HasPrefix(status, []byte("HTTP/1.1 200"))
	said := strings.TrimSpace(string(status))
	length := -1
	for {
		line, err := s.in.ReadSlice('\n')
		if err != nil {
			return "", fmt.Errorf("read the answer's header: %w", err)
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			break
		}
		if name, value, _ := bytes.Cut(line, []byte(":")); bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return "", err
			}
		}
	}
	if length < 0 {
		return "", fmt.Errorf("%s: the answer has no Content-Length", said)
	}
	if cap(s.body) < length {
		s.body = make([]byte, length)
	}
	s.body = s.body[:length]
	if _, err := io.ReadFull(s.in, s.body); err != nil {
		return "", err
	}
	if !ok {
		return "", fmt.Errorf("%s: %s", said, s.body)
	}
	_, rest, found := bytes.Cut(s.body, []byte(`"MessageId":"`))
	id, _, ended := bytes.Cut(rest, []byte(`"`))
	if !found || !ended {
		return "", fmt.Errorf("no MessageId in %s", s.body)
	}
	return string(id), nil
}

// Close closes the connection.
func (s *Sender) Close() { _ = s.conn.Close() }

// A Submitter submits one message again and again in one SMTP session, the
// commands of a transaction in one write (PIPELINING).
type Submitter struct {
	c       *textproto.Conn
	command []byte
	data    []byte
}

// NewSubmitter connects and greets.
func NewSubmitter(addr, set string) (*Submitter, error) {
	c, err := textproto.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	if _, _, err := c.ReadResponse(220); err != nil {
		return nil, err
	}
	if err := c.PrintfLine("EHLO bench.example"); err != nil {
		return nil, err
	}
	if _, _, err := c.ReadResponse(250); err != nil {
		return nil, err
	}
	header := "From: sender@example.com\r\nTo: reader@example.net\r\nSubject: A message of four kibibytes\r\n" +
		"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=UTF-8\r\n"
	if set != "" {
		header += "X-SES-CONFIGURATION-SET: " + set + "\r\n"
	}
	return &Submitter{
		c:       c,
		command: []byte("MAIL FROM:<sender@example.com>\r\nRCPT TO:<reader@example.net>\r\nDATA\r\n"),
		data:    []byte(header + "\r\n" + strings.ReplaceAll(text(), "\n", "\r\n") + "\r\n.\r\n"),
	}, nil
}

// Send submits the message and returns the message id of the answer to DATA.
func (s *Submitter) Send() (string, error) {
	if err := s.write(s.command); err != nil {
		return "", err
	}
	for _, code := range []int{250, 250, 354} {
		if _, _, err := s.c.ReadResponse(code); err != nil {
			return "", err
		}
	}
	if err := s.write(s.data); err != nil {
		return "", err
	}
	_, said, err := s.c.ReadResponse(250)
	return strings.TrimPrefix(said, "Ok "), err
}

func (s *Submitter) write(b []byte) error {
	if _, err := s.c.W.Write(b); err != nil {
		return err
	}
	return s.c.W.Flush()
}

// Close ends the session.
func (s *Submitter) Close() { _ = s.c.Close() }

// An API makes the few calls that set a scene or look at it.
type API struct{ Base string }

// Query calls an operation of a query protocol service (sns) and returns the
// answer.
func (a API) Query(service string, params ...string) (string, error) {
	v := url.Values{}
	for i := 0; i < len(params); i += 2 {
		v.Set(params[i], params[i+1])
	}
	return a.call(http.MethodPost, "/", service, "application/x-www-form-urlencoded", "", v.Encode())
}

// SQS calls an operation of SQS.
func (a API) SQS(operation string, in any) (string, error) {
	b, err := json.Marshal(in)
	if err != nil {
		return "", err
	}
	return a.call(http.MethodPost, "/", "sqs", "application/x-amz-json-1.0", "AmazonSQS."+operation, string(b))
}

// SES calls an operation of SES v2.
func (a API) SES(method, path string, in any) (string, error) {
	b, err := json.Marshal(in)
	if err != nil {
		return "", err
	}
	return a.call(method, "/v2/email/"+path, "ses", "application/json", "", string(b))
}

// Get reads a page without a signature.
func (a API) Get(path string) (string, error) { return a.call(http.MethodGet, path, "", "", "", "") }

func (a API) call(method, path, service, contentType, target, body string) (string, error) {
	req, err := http.NewRequest(method, a.Base+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	if service != "" {
		req.Header.Set("Authorization", credential(service))
		req.Header.Set("X-Amz-Date", time.Now().UTC().Format("20060102T150405Z"))
		req.Header.Set("Content-Type", contentType)
	}
	if target != "" {
		req.Header.Set("X-Amz-Target", target)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, out)
	}
	return string(out), nil
}

// Metric returns the sum of the samples of /metrics that begin with prefix,
// such as `sestina_events_total{type="DELIVERY"`.
func (a API) Metric(prefix string) (sum float64, err error) {
	page, err := a.Get("/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(page) {
		if !strings.HasPrefix(line, prefix) {
			continue
		}
		fields := strings.Fields(line)
		v, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		if err != nil {
			return 0, fmt.Errorf("read %q: %w", line, err)
		}
		sum += v
	}
	return sum, nil
}
