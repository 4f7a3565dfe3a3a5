package app

import (
	"crypto/tls"
	"log"
	"log/slog"
	"net"
	"strings"

	"github.com/sestina-mail/sestina/internal/clock"
	"github.com/sestina-mail/sestina/internal/config"
	"github.com/sestina-mail/sestina/internal/localca"
)

// A tlsSource is where certificates come from: files, otherwise the local CA.
type tlsSource struct {
	files *localca.Files
	ca    *localca.CA
}

func newTLS(cfg config.Config, clk *clock.Clock, logger *slog.Logger) (s tlsSource, err error) {
	if cfg.TLSCert != "" {
		s.files, err = localca.LoadFiles(cfg.TLSCert, cfg.TLSKey, clk, logger)
		return s, err
	}
	if cfg.Mode == config.Serve {
		logger.Warn("no --tls-cert is given: clients have to trust the local CA, ca.pem in the data folder")
	}
	o := localca.Options{}
	if cfg.Hostname != "" {
		o.Hosts = []string{cfg.Hostname}
	}
	s.ca, err = localca.Ensure(cfg.Data, clk, o)
	return s, err
}

// config returns the server side of TLS.
func (s tlsSource) config(protos ...string) *tls.Config {
	if s.files != nil {
		return s.files.TLSConfig(protos...)
	}
	return s.ca.TLSConfig(protos...)
}

// listener lets an HTTP listener answer TLS too: the first byte decides.
func (s tlsSource) listener(l net.Listener) net.Listener {
	return localca.Listener(l, s.config("http/1.1"))
}

// roots returns the client side of TLS for outgoing HTTP where the local CA is
// used, which it trusts beside the system's, or nil for the usual rules.
func (s tlsSource) roots() *tls.Config {
	if s.ca == nil {
		return nil
	}
	return &tls.Config{RootCAs: s.ca.CertPool(), MinVersion: tls.VersionTLS12}
}

// quietLog takes the HTTP server's own log lines. Failed TLS handshakes are
// what scanners and clients without the CA cause; they are not our errors.
func quietLog(logger *slog.Logger) *log.Logger {
	return log.New(quietWriter{logger}, "", 0)
}

type quietWriter struct{ log *slog.Logger }

func (w quietWriter) Write(p []byte) (int, error) {
	w.log.Debug("http server", "says", strings.TrimSpace(string(p)))
	return len(p), nil
}
