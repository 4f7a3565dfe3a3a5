package localca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sestina-mail/sestina/internal/clock"
)

// The names of the authority's files inside the data folder.
const (
	CertFile = "ca.pem" // its certificate, for everybody
	KeyFile  = "ca.key" // its private key, mode 0600
)

const (
	caLife   = 10 * 365 * 24 * time.Hour
	caRenew  = 365 * 24 * time.Hour // made anew when less is left
	leafLife = 90 * 24 * time.Hour
	// leafRenew is how much of a leaf's life is left when it is issued again.
	leafRenew = 30 * 24 * time.Hour
	// backdate allows for clients whose clocks are behind.
	backdate  = time.Hour
	maxLeaves = 256
)

// Options say what the authority's certificates are for.
type Options struct {
	// Hosts are names and addresses of this server besides localhost, 127.0.0.1
	// and ::1, such as the host of the public URL.
	Hosts []string
}

// A CA is a certificate authority for this machine. It may be used concurrently.
type CA struct {
	path  string
	clock *clock.Clock
	cert  *x509.Certificate
	key   *ecdsa.PrivateKey
	leaf  *ecdsa.PrivateKey // of all leaves; never leaves the process
	hosts []string

	mu     sync.Mutex
	leaves map[string]*tls.Certificate // by the name they were issued for; "" is the server's own
}

// Ensure reads the authority kept in dir, or makes one and returns after it is
// on disk. One that has expired, or soon will, is replaced. It takes a few
// milliseconds.
func Ensure(dir string, clk *clock.Clock, o Options) (*CA, error) {
	c := &CA{path: filepath.Join(dir, CertFile), clock: clk, leaves: map[string]*tls.Certificate{}}
	c.hosts = []string{"localhost", "127.0.0.1", "::1"}
	for _, h := range o.Hosts {
		if h = normalName(h); h != "" && !slices.Contains(c.hosts, h) {
			c.hosts = append(c.hosts, h)
		}
	}
	var err error
	if c.leaf, err = newKey(); err != nil {
		return nil, err
	}
	err = c.load(filepath.Join(dir, KeyFile))
	if err == nil && c.cert.NotAfter.Sub(c.now()) >= caRenew {
		return c, nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("local certificate authority: %w", err)
	}
	if err := c.create(filepath.Join(dir, KeyFile)); err != nil {
		return nil, fmt.Errorf("create local certificate authority: %w", err)
	}
	return c, nil
}

// now is the real time: clients judge certificates by their own clocks, not by
// one that was moved forward for a test.
func (c *CA) now() time.Time { return c.clock.Now().Add(-c.clock.Offset()) }

func newKey() (*ecdsa.PrivateKey, error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate key: %w", err)
	}
	return k, nil
}

// load reads the two files. os.ErrNotExist when either is missing: a key
// without its certificate, or the reverse, is of no use.
func (c *CA) load(keyPath string) error {
	certPEM, err := os.ReadFile(c.path)
	if err != nil {
		return err
	}
	keyPEM, err := os.ReadFile(keyPath)
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return fmt.Errorf("%s and %s: %w", c.path, keyPath, err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || !pair.Leaf.IsCA {
		return fmt.Errorf("%s is not the certificate of an authority with an ECDSA key", c.path)
	}
	c.cert, c.key = pair.Leaf, key
	return nil
}

func (c *CA) create(keyPath string) error {
	key, err := newKey()
	if err != nil {
		return err
	}
	now := c.now()
	host, _ := os.Hostname()
	tmpl := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{Organization: []string{"Sestina"}, CommonName: strings.TrimSpace("Sestina local CA " + host)},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(caLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return err
	}
	if c.cert, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	c.key = key
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	// The key goes first, after an old certificate went: a certificate on disk
	// always has its key, wherever the program is killed.
	if err := os.Remove(c.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := writeFile(keyPath, 0o600, &pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}); err != nil {
		return err
	}
	return writeFile(c.path, 0o644, &pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// writeFile puts a file in place durably, whole or not at all.
func writeFile(path string, mode os.FileMode, block *pem.Block) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	err = errors.Join(f.Chmod(mode), pem.Encode(f, block), f.Sync())
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func serial() *big.Int {
	var b [16]byte
	_, _ = rand.Read(b[:])  // never fails, see crypto/rand
	b[0] = b[0]&0x7f | 0x40 // positive, and always 16 bytes. rfc5280#4.1.2.2
	return new(big.Int).SetBytes(b[:])
}

// CertPath returns the path of the authority's certificate.
func (c *CA) CertPath() string { return c.path }

// CertPool returns a pool that holds the authority alone.
func (c *CA) CertPool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(c.cert)
	return p
}

// TLSConfig returns a server configuration that issues certificates on demand.
// protos are the application protocols offered by ALPN.
func (c *CA) TLSConfig(protos ...string) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.GetCertificate, NextProtos: protos}
}

// GetCertificate returns a certificate for the name that the client asked for
// or, when it named none, for the server's own names and the address the
// connection came to.
func (c *CA) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := normalName(hello.ServerName)
	if name == "" && hello.Conn != nil {
		if a, ok := hello.Conn.LocalAddr().(*net.TCPAddr); ok && a.IP != nil {
			name = a.IP.String()
		}
	}
	if slices.Contains(c.hosts, name) {
		name = ""
	}
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if leaf := c.leaves[name]; leaf != nil && leaf.Leaf.NotAfter.Sub(now) >= leafRenew {
		return leaf, nil
	}
	leaf, err := c.issue(name, now)
	if err != nil {
		return nil, fmt.Errorf("issue certificate for %q: %w", name, err)
	}
	if _, known := c.leaves[name]; !known && len(c.leaves) >= maxLeaves {
		for other := range c.leaves { // any one
			delete(c.leaves, other)
			break
		}
	}
	c.leaves[name] = leaf
	return leaf, nil
}

// issue signs a certificate for the server's own names and name.
func (c *CA) issue(name string, now time.Time) (*tls.Certificate, error) {
	notAfter := now.Add(leafLife)
	if notAfter.After(c.cert.NotAfter) {
		notAfter = c.cert.NotAfter
	}
	tmpl := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{Organization: []string{"Sestina"}},
		NotBefore:             now.Add(-backdate),
		NotAfter:              notAfter,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, h := range append([]string{name}, c.hosts...) {
		if ip := net.ParseIP(h); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else if h != "" {
			tmpl.DNSNames = append(tmpl.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, c.cert, c.leaf.Public(), c.key)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: c.leaf, Leaf: parsed}, nil
}

// normalName returns a host name in lower case or an address in its one form,
// and "" for text that is neither.
func normalName(h string) string {
	if ip := net.ParseIP(h); ip != nil {
		return ip.String()
	}
	h = strings.ToLower(strings.TrimSuffix(h, "."))
	if len(h) > 253 {
		return ""
	}
	for label := range strings.SplitSeq(h, ".") {
		if label == "" || len(label) > 63 || strings.IndexFunc(label, notInLabel) >= 0 {
			return ""
		}
	}
	return h
}

func notInLabel(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
}
