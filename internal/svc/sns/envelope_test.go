package sns

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha1" // SignatureVersion 1 is SHA-1
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

var update = flag.Bool("update", false, "write golden files")

// verify checks the signature of a message as consumers do, from the JSON
// alone: it knows nothing of how the service makes it.
func verify(body string, fetch func(url string) ([]byte, error)) error {
	var m map[string]any
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		return err
	}
	keys := []string{"Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"}
	if m["Type"] != "Notification" {
		keys = []string{"Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"}
	}
	text := ""
	for _, k := range keys {
		if v, ok := m[k].(string); ok {
			text += k + "\n" + v + "\n"
		}
	}
	b, err := fetch(m["SigningCertURL"].(string))
	if err != nil {
		return err
	}
	block, _ := pem.Decode(b)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return err
	}
	signature, err := base64.StdEncoding.DecodeString(m["Signature"].(string))
	if err != nil {
		return err
	}
	// x509 refuses SHA-1 on principle, so the key is used directly.
	key := cert.PublicKey.(*rsa.PublicKey)
	if m["SignatureVersion"] == "2" {
		sum := sha256.Sum256([]byte(text))
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature)
	}
	sum := sha1.Sum([]byte(text)) // SignatureVersion 1 is SHA-1
	return rsa.VerifyPKCS1v15(key, crypto.SHA1, sum[:], signature)
}

func fetch(url string) ([]byte, error) {
	res, err := http.Get(url) // the test's own server
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	return io.ReadAll(res.Body)
}

func TestGoldenEnvelopes(t *testing.T) {
	t.Parallel()
	e := newEnv(t, func(o *Options) { o.PublicURL = "https://sns.example.net" })
	at := time.Date(2026, 4, 26, 20, 45, 4, 0, time.UTC) // .000 becomes .001
	id, _ := sestina.ParseID("01970000-0000-7000-8000-000000000001")
	sub := &Subscription{ID: id, TopicName: "ses-events", Protocol: protocolHTTPS, scope: testScope}
	subject := "Ämazon \"SES\" <Email>"
	notification := func() *message {
		return &message{
			Type: typeNotification, TopicARN: topicARN(testScope, "ses-events"), MessageID: "165545c9-2a5c-472c-8df2-7ff2be2b3b1b", At: at,
			Message: "{\"eventType\":\"Bounce\",\"x\":\"<&>\u00fc\u2028\"}\n", Subject: &subject, SignatureVersion: "1",
		}
	}
	token := strings.Repeat("2336", 65)
	for name, m := range map[string]*message{
		"notification": notification(),
		"attributes": func() *message {
			m := notification()
			m.Subject, m.SignatureVersion = nil, "2"
			m.Attributes = []attribute{{"a", "String", "v"}, {"b", "Binary", "AAEC"}, {"n", "Number.int", "5"}, {"s", "String.Array", `["x",1]`}}
			return m
		}(),
		"fifo": func() *message {
			m := notification()
			m.SignatureVersion, m.Sequence = "", "10000000000000003000"
			return m
		}(),
		"confirmation": {
			Type: typeConfirmation, TopicARN: topicARN(testScope, "ses-events"), MessageID: "165545c9-2a5c-472c-8df2-7ff2be2b3b1b", At: at,
			Message: "You have chosen to subscribe.\nVisit.", SignatureVersion: "1", Token: token,
		},
		"unsubscribed": {
			Type: typeUnsubscribed, TopicARN: topicARN(testScope, "ses-events"), MessageID: "165545c9-2a5c-472c-8df2-7ff2be2b3b1b", At: at,
			Message: "You have chosen to deactivate.", SignatureVersion: "2", Token: token,
		},
	} {
		t.Run(name, func(t *testing.T) {
			fs := must[[]field](t)(e.fields(t.Context(), m, sub))
			pretty, compact := prettyJSON(fs), compactJSON(fs)
			var a, b map[string]any
			if json.Unmarshal(pretty, &a) != nil || json.Unmarshal(compact, &b) != nil || string(mustJSON(a)) != string(mustJSON(b)) {
				t.Errorf("the layouts differ:\n%s\n%s", pretty, compact)
			}
			if m.SignatureVersion != "" {
				err := verify(string(pretty), func(string) ([]byte, error) {
					k, err := testKey()
					return []byte(k.Certificate), err
				})
				if err != nil {
					t.Errorf("signature: %v", err)
				}
			}
			// The signature and the key's name change from run to run.
			got := regexp.MustCompile(`("Signature" ?: ?)"[^"]+"`).ReplaceAll(append(append(pretty, '\n'), append(compact, '\n')...), []byte(`$1"…"`))
			got = regexp.MustCompile(`Service-[0-9a-f]{32}`).ReplaceAll(got, []byte("Service-…"))
			golden(t, name+".txt", got)
		})
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", "envelopes", name)
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path) // a fixed folder
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

func TestSigningKeyIsMadeOnceAndKept(t *testing.T) {
	t.Parallel()
	own := func(o *Options) { o.SigningKey, o.SigningCertificate = nil, nil }
	e := newEnv(t, own)
	url, arn := e.queueNamed("q")
	topic := e.topicNamed("t")
	e.subscribeTo(topic, "sqs", *arn)
	if err := e.EnsureKey(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.publishTo(topic, "one")
	body := e.bodies(url)[0]
	if err := verify(body, fetch); err != nil {
		t.Error(err)
	}
	first := must[*signingKey](t)(e.signer.current(t.Context()))
	block, rest := pem.Decode([]byte(first.Certificate))
	cert := must[*x509.Certificate](t)(x509.ParseCertificate(block.Bytes))
	if cert.Subject.CommonName != "sns.amazonaws.com" || len(rest) != 0 || strings.Contains(first.Certificate, "\r") {
		t.Errorf("certificate of %s, then %q", cert.Subject, rest)
	}
	if now := e.clock.Now(); now.Before(cert.NotBefore) || cert.NotAfter.Before(now.AddDate(20, 0, 0)) {
		t.Errorf("valid from %s to %s", cert.NotBefore, cert.NotAfter)
	}
	e.stop()

	// Another start with the same folder: the same key. A start with the
	// operator's: that one, and the old certificate can still be had.
	again := openEnv(t, e.dir, own)
	if k := must[*signingKey](t)(again.signer.current(t.Context())); k.name != first.name {
		t.Errorf("the key was %s and is %s", first.name, k.name)
	}
	again.stop()
	operator := openEnv(t, e.dir)
	url, _ = operator.queueNamed("q")
	operator.publishTo(topic, "two")
	body = operator.bodies(url)[0]
	if err := verify(body, fetch); err != nil {
		t.Error(err)
	}
	if strings.Contains(body, first.name) {
		t.Error("the operator's key is not used")
	}
	if b := must[[]byte](t)(fetch(operator.server.URL + first.path())); string(b) != first.Certificate {
		t.Errorf("the old certificate is %q", b)
	}
	operator.stop()
	if k := must[*signingKey](t)(openEnv(t, e.dir, own).signer.current(t.Context())); k.name != first.name {
		t.Error("without the operator's key the old one is not used again")
	}
}

func TestFirstUsersWaitForOneKey(t *testing.T) {
	t.Parallel()
	e := newEnv(t, func(o *Options) { o.SigningKey, o.SigningCertificate = nil, nil })
	names := make(chan string, 8)
	for range cap(names) {
		go func() {
			k, err := e.signer.current(t.Context())
			if err != nil {
				t.Error(err)
				k = new(signingKey)
			}
			names <- k.name
		}()
	}
	first := <-names
	for range cap(names) - 1 {
		if n := <-names; n != first {
			t.Errorf("keys %s and %s", first, n)
		}
	}
	if docs := must[[]store.Document](t)(e.store.List(t.Context(), sestina.Scope{}, kindSigningKey, "", 10)); len(docs) != 1 {
		t.Errorf("%d keys are stored", len(docs))
	}
}

func TestOperatorsKeyIsChecked(t *testing.T) {
	t.Parallel()
	key := must[*signingKey](t)(testKey())
	other := must[*signingKey](t)(makeKey(time.Unix(1_700_000_000, 0)))
	for name, c := range map[string][2]string{
		"NoPEM":           {"x", key.Certificate},
		"NoCertificate":   {key.Key, ""},
		"OtherKey":        {other.Key, key.Certificate},
		"KeyForBoth":      {key.Key, key.Key},
		"CertificateOnly": {"", key.Certificate},
	} {
		if _, err := newSigner(Options{SigningKey: []byte(c[0]), SigningCertificate: []byte(c[1])}, nil); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestCertificatePath(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	k := must[*signingKey](t)(e.signer.current(t.Context()))
	if !regexp.MustCompile(`^/SimpleNotificationService-[0-9a-f]{32}\.pem$`).MatchString(k.path()) {
		t.Errorf("path %s", k.path())
	}
	for _, path := range []string{"/SimpleNotificationService-.pem", "/SimpleNotificationService-" + strings.Repeat("0", 32) + ".pem", "/SimpleNotificationService-" + k.name} {
		res := must[*http.Response](t)(http.Get(e.server.URL + path)) // the test's own server
		_ = res.Body.Close()
		if res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	now := e.clock.Now()
	var topic sestina.ID
	topic[0] = 7
	h := hashEndpoint("http", "http://x")
	token := must[string](t)(e.tokens.make(t.Context(), topic, h, now.Add(time.Hour)))
	if !regexp.MustCompile(`^[0-9a-f]{256,288}$`).MatchString(token) {
		t.Errorf("token %s", token)
	}
	if name, err := e.tokens.read(token, now); err != nil || name != subscriptionName(topic, h) {
		t.Errorf("read: %s, %v", name, err)
	}
	if _, err := e.tokens.read(token, now.Add(time.Hour)); err != errUnknownToken {
		t.Errorf("expired: %v", err)
	}
	for i := range len(token) {
		changed := []byte(token)
		changed[i] ^= 1
		if changed[i] < '0' || changed[i] > '9' && changed[i] < 'a' {
			continue
		}
		if _, err := e.tokens.read(string(changed), now); err == nil {
			t.Fatalf("changed at %d it is still valid", i)
		}
	}
	for _, bad := range []string{"", "x", token[2:], token + "00"} {
		if _, err := e.tokens.read(bad, now); err != errMalformedToken {
			t.Errorf("%.10q: %v", bad, err)
		}
	}
}

// FuzzToken checks that nothing but what the service made is taken for a token.
func FuzzToken(f *testing.F) {
	keys := &tokenKeys{docs: new(store.Documents[tokenKey])}
	now := time.Unix(1_700_000_000, 0)
	f.Add("23" + strings.Repeat("01", 129))
	f.Add("x")
	f.Fuzz(func(t *testing.T, token string) {
		if name, err := keys.read(token, now); err == nil {
			t.Fatalf("%q is taken for %s", token, name)
		}
	})
}

func BenchmarkEnvelope(b *testing.B) {
	key, err := testKey()
	if err != nil {
		b.Fatal(err)
	}
	sub := &Subscription{TopicName: "t", Protocol: protocolHTTP, scope: testScope}
	for _, cached := range []bool{true, false} {
		b.Run(fmt.Sprintf("signed=%v", cached), func(b *testing.B) {
			s := &Service{signer: &signer{ready: key, signatures: newLRU[[sha256.Size]byte, *signature](4096)}}
			m := &message{Type: typeNotification, TopicARN: topicPrefix + "t", MessageID: "165545c9-2a5c-472c-8df2-7ff2be2b3b1b", At: time.Unix(1, 0), Message: record, SignatureVersion: "1"}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if !cached {
					m.MessageID = fmt.Sprint(i)
				}
				fs, err := s.fields(b.Context(), m, sub)
				if err != nil || len(prettyJSON(fs)) == 0 {
					b.Fatal(err)
				}
			}
		})
	}
}
