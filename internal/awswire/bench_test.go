package awswire

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/sestina-mail/sestina/internal/awsapi/sesv2"
)

// sign signs a request with the official signer, as of now.
func sign(tb testing.TB, r *http.Request, body []byte, service, region string) {
	tb.Helper()
	signAt(tb, r, body, service, region, time.Now()) //permit:time.Now SigV4 is about real time
}

func signAt(tb testing.TB, r *http.Request, body []byte, service, region string, at time.Time) {
	tb.Helper()
	sum := sha256.Sum256(body)
	creds := aws.Credentials{AccessKeyID: testKey, SecretAccessKey: testSecret}
	if err := v4.NewSigner().SignHTTP(context.Background(), creds, r, hex.EncodeToString(sum[:]), service, region, at); err != nil {
		tb.Fatal(err)
	}
}

// BenchmarkSendEmail is a signed SendEmail of 4 KiB from the request to the
// response: signature, routing, decoding, constraints and encoding, without
// network and without a handler's work. The aim is 60 µs.
func BenchmarkSendEmail(b *testing.B) {
	html := strings.Repeat("<p>Hello, how are you today?</p>", 118)
	body := []byte(`{"FromEmailAddress":"Shop <news@example.com>","Destination":{"ToAddresses":["someone@example.net"]},` +
		`"Content":{"Simple":{"Subject":{"Data":"News of the week"},"Body":{"Html":{"Data":"` + html + `"},"Text":{"Data":"Hello"}}}},` +
		`"ConfigurationSetName":"spring","EmailTags":[{"Name":"campaign","Value":"spring"},{"Name":"list","Value":"7"}]}`)
	m := NewMux(Options{Credentials: testKeys})
	Handle(m, sesv2.OpSendEmail, func(context.Context, *sesv2.SendEmailInput) (*sesv2.SendEmailOutput, error) {
		return &sesv2.SendEmailOutput{MessageId: new("0100000000000000-00000000-0000-0000-0000-000000000000-000000")}, nil
	})
	r := httptest.NewRequest(http.MethodPost, "/v2/email/outbound-emails", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Amz-Sdk-Request", "attempt=1; max=3")
	r.Header.Set("Accept-Encoding", "gzip")
	sign(b, r, body, "ses", "us-east-1")
	src := bytes.NewReader(body)
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		src.Reset(body)
		r.Body = struct {
			*bytes.Reader
			nopClose
		}{Reader: src}
		w := httptest.NewRecorder()
		if m.ServeHTTP(w, r); w.Code != http.StatusOK {
			b.Fatal(w.Body)
		}
	}
}

type nopClose struct{}

func (nopClose) Close() error { return nil }

// BenchmarkNewMux is what the package adds to the start of the program.
func BenchmarkNewMux(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		NewMux(Options{})
	}
}
