package localca

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sestina-mail/sestina/internal/clock"
)

// writePair writes a certificate for the name and its key.
func writePair(t *testing.T, dir, name string) (certFile, keyFile string) {
	t.Helper()
	ca := ensure(t, t.TempDir())
	leaf, err := ca.issue(name, ca.now())
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(ca.leaf)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	if err := writeFile(certFile, 0o644, &pem.Block{Type: "CERTIFICATE", Bytes: leaf.Certificate[0]}); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(keyFile, 0o600, &pem.Block{Type: "PRIVATE KEY", Bytes: key}); err != nil {
		t.Fatal(err)
	}
	return certFile, keyFile
}

func TestFiles(t *testing.T) {
	t.Parallel()
	dir, clk, log := t.TempDir(), new(clock.Clock), new(bytes.Buffer)
	certFile, keyFile := writePair(t, dir, "old.example")
	f, err := LoadFiles(certFile, keyFile, clk, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	served := func() string {
		t.Helper()
		cert, err := f.GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return cert.Leaf.DNSNames[0]
	}

	writePair(t, dir, "new.example.com") // another size, in case the file system's times are coarse
	if got := served(); got != "old.example" {
		t.Errorf("before the recheck %s is served", got)
	}
	clk.Advance(recheck)
	if got := served(); got != "new.example.com" {
		t.Errorf("after the recheck %s is served", got)
	}

	if err := os.WriteFile(certFile, []byte("half a cert"), 0o600); err != nil {
		t.Fatal(err)
	}
	clk.Advance(recheck)
	if got := served(); got != "new.example.com" {
		t.Errorf("with a broken file %s is served", got)
	}
	if !strings.Contains(log.String(), "the old certificate stays") {
		t.Errorf("the log says %q", log.String())
	}
	writePair(t, dir, "repaired.example.com")
	clk.Advance(recheck)
	if got := served(); got != "repaired.example.com" {
		t.Errorf("after the repair %s is served", got)
	}
}

func TestLoadFilesMissing(t *testing.T) {
	t.Parallel()
	_, err := LoadFiles(filepath.Join(t.TempDir(), "none"), "none", new(clock.Clock), slog.Default())
	if err == nil {
		t.Error("missing files were loaded")
	}
}
