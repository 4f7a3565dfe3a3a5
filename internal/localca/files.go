package localca

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/sestina-mail/sestina/internal/clock"
)

// recheck is how long a certificate is used before its files are looked at.
const recheck = 10 * time.Second

// Files is a certificate chain and key in PEM files, read again when they
// change, as after a renewal. It may be used concurrently.
type Files struct {
	certFile, keyFile string
	clock             *clock.Clock
	log               *slog.Logger

	mu      sync.Mutex
	cert    *tls.Certificate
	stamp   [2]fileStamp
	checked time.Time
}

type fileStamp struct {
	modified time.Time
	size     int64
}

// LoadFiles reads the two files. Later changes take effect within ten seconds;
// when they cannot be read, the last good pair stays in use and the log says so.
func LoadFiles(certFile, keyFile string, clk *clock.Clock, log *slog.Logger) (*Files, error) {
	f := &Files{certFile: certFile, keyFile: keyFile, clock: clk, log: log}
	if err := f.reload(); err != nil {
		return nil, err
	}
	return f, nil
}

// TLSConfig returns a server configuration with the certificate. protos are
// the application protocols offered by ALPN.
func (f *Files) TLSConfig(protos ...string) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: f.GetCertificate, NextProtos: protos}
}

// GetCertificate returns the certificate, whatever name was asked for.
func (f *Files) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.clock.Since(f.checked) >= recheck {
		if err := f.reload(); err != nil {
			f.log.Error("certificate files changed but cannot be used; the old certificate stays", slog.Any("error", err))
		}
	}
	return f.cert, nil
}

// reload reads the files if they are not the ones read last. f.mu is held,
// except by LoadFiles.
func (f *Files) reload() error {
	f.checked = f.clock.Now()
	var stamp [2]fileStamp
	for i, name := range []string{f.certFile, f.keyFile} {
		st, err := os.Stat(name)
		if err != nil {
			return fmt.Errorf("load certificate: %w", err)
		}
		stamp[i] = fileStamp{st.ModTime(), st.Size()}
	}
	if f.cert != nil && stamp == f.stamp {
		return nil
	}
	cert, err := tls.LoadX509KeyPair(f.certFile, f.keyFile)
	if err != nil {
		return fmt.Errorf("load certificate %s with key %s: %w", f.certFile, f.keyFile, err)
	}
	f.cert, f.stamp = &cert, stamp
	return nil
}
