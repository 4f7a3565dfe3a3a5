package clients

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sestina-mail/sestina/tests/harness"
)

// TestBoto3 runs flows of a Python program: SES v1 and v2, SNS, SQS, STS.
func TestBoto3(t *testing.T) {
	t.Parallel()
	python := need(t, "/usr/bin/python3")
	if err := (client{name: python, args: []string{"-c", "import boto3"}}).quietly(t); err != nil {
		missing(t, "boto3 (python3-boto3)")
	}
	s := harness.Start(t)
	client{name: python, args: []string{"-B", script(t, "python", "flows.py")}, env: []string{"E=" + s.HTTP}}.run(t)
}

// quietly runs the client and returns only whether it succeeded.
func (c client) quietly(t *testing.T) error {
	_, _, err := c.try(t.Context())
	return err
}

// node returns a client that runs one of the JavaScript test files.
func node(t *testing.T, file string, env ...string) client {
	t.Helper()
	bin := need(t, "node")
	if _, err := os.Stat(script(t, "js", "node_modules")); err != nil {
		missing(t, "the npm packages of tests/clients/js")
	}
	return client{name: bin, args: []string{"--test", "--test-reporter=spec", file}, dir: script(t, "js"), env: env}
}

// TestJavaScriptSDK runs flows of a JavaScript program.
func TestJavaScriptSDK(t *testing.T) {
	t.Parallel()
	s := harness.Start(t)
	node(t, "sdk.test.mjs", "E="+s.HTTP).run(t)
}

// TestSNSValidator has notifications verified by the npm package
// sns-validator, unpatched. It insists on https, so the public URL is https, on
// the same port, and Node.js is told to trust the local CA.
func TestSNSValidator(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"127.0.0.1", "localhost"} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			port := freePort(t)
			base := fmt.Sprintf("https://%s:%d", host, port)
			s := harness.Start(t, "--http", fmt.Sprintf("127.0.0.1:%d", port), "--public-url", base)
			cert, key := leaf(t, s)
			node(t, "sns-validator.test.mjs", "E="+base, "NODE_EXTRA_CA_CERTS="+filepath.Join(s.Dir, "ca.pem"), "CERT="+cert, "KEY="+key).run(t)
		})
	}
}

// TestNodemailer sends with the npm package nodemailer, over STARTTLS.
func TestNodemailer(t *testing.T) {
	t.Parallel()
	s := harness.Start(t)
	node(t, "nodemailer.test.mjs", "E="+s.HTTP, "SMTP="+s.SMTP, "NODE_EXTRA_CA_CERTS="+filepath.Join(s.Dir, "ca.pem")).run(t)
}

// leaf makes a certificate for 127.0.0.1 from Sestina's local CA, as a developer
// would for an https endpoint of their own, and returns its files.
func leaf(t *testing.T, s *harness.Instance) (certFile, keyFile string) {
	t.Helper()
	ca, err := x509.ParseCertificate(pemBlock(t, filepath.Join(s.Dir, "ca.pem")))
	check(t, err)
	caKey, err := x509.ParsePKCS8PrivateKey(pemBlock(t, filepath.Join(s.Dir, "ca.key")))
	check(t, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	now := time.Now()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "subscriber"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, ca, key.Public(), caKey)
	check(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	check(t, err)
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	check(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	check(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600))
	return certFile, keyFile
}

func pemBlock(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	check(t, err)
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatalf("%s holds no PEM block", file)
	}
	return block.Bytes
}
