package sns

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" // SignatureVersion 1 is SHA-1
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/sestina-mail/sestina/internal/clock"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// certificateYears is how long a certificate that the service makes for itself
// is valid. Consumers check the dates when they verify, not when it was signed.
const certificateYears = 30

// A signingKey is a key that messages are signed with, or were: certificates
// stay downloadable, because signed messages wait in queues and dead letters.
// It is a document of the installation.
type signingKey struct {
	Format      int `json:"v"`
	CreatedAt   time.Time
	Key         string `json:",omitempty"` // PEM, PKCS#8; empty for a key that the operator keeps
	Certificate string // PEM

	name    string
	private *rsa.PrivateKey
}

// UnmarshalJSON also reads the key.
func (k *signingKey) UnmarshalJSON(b []byte) error {
	type plain signingKey
	if err := json.Unmarshal(b, (*plain)(k)); err != nil {
		return err
	}
	if k.Key == "" {
		return nil
	}
	parsed, err := parseKeyPair([]byte(k.Key), []byte(k.Certificate))
	if err != nil {
		return err
	}
	k.name, k.private = parsed.name, parsed.private
	return nil
}

// path is the certificate's path below the public URL. Validators match this
// form.
func (k *signingKey) path() string { return certificatePrefix + k.name + ".pem" }

const certificatePrefix = "/SimpleNotificationService-"

// parseKeyPair reads an RSA key and its certificate, both PEM.
func parseKeyPair(keyPEM, certPEM []byte) (*signingKey, error) {
	kb, _ := pem.Decode(keyPEM)
	cb, _ := pem.Decode(certPEM)
	if kb == nil || cb == nil || cb.Type != "CERTIFICATE" {
		return nil, errors.New("the signing key and its certificate must be PEM")
	}
	var key any
	key, err := x509.ParsePKCS8PrivateKey(kb.Bytes)
	if err != nil {
		if key, err = x509.ParsePKCS1PrivateKey(kb.Bytes); err != nil {
			return nil, fmt.Errorf("read the signing key: %w", err)
		}
	}
	private, ok := key.(*rsa.PrivateKey)
	if !ok {
		return nil, errors.New("the signing key must be an RSA key")
	}
	cert, err := x509.ParseCertificate(cb.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read the signing certificate: %w", err)
	}
	if !private.PublicKey.Equal(cert.PublicKey) {
		return nil, errors.New("the signing certificate is not of the signing key")
	}
	sum := sha256.Sum256(cert.Raw)
	return &signingKey{
		Format: format, Certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})),
		Key:  string(pem.EncodeToMemory(&pem.Block{Type: kb.Type, Bytes: kb.Bytes})),
		name: hex.EncodeToString(sum[:16]), private: private,
	}, nil
}

// makeKey makes a key and a self-signed certificate.
func makeKey(now time.Time) (*signingKey, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("make a signing key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "sns.amazonaws.com"}, DNSNames: []string{"sns.amazonaws.com"},
		NotBefore: now.AddDate(0, 0, -2), NotAfter: now.AddDate(certificateYears, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make a signing certificate: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode the signing key: %w", err)
	}
	k, err := parseKeyPair(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
	if err == nil {
		k.CreatedAt = now
	}
	return k, err
}

// A signer signs messages. It may be used concurrently.
type signer struct {
	store    store.Store
	docs     *store.Documents[signingKey]
	clock    *clock.Clock
	operator *signingKey // given in the options, or nil

	mu    sync.Mutex
	ready *signingKey
	busy  chan struct{} // closed when the attempt to get a key is over; nil when there is none

	// signatures are those made last. The scheme is deterministic, so a message
	// to many subscribers is signed once.
	signatures *lru[[sha256.Size]byte, *signature]
}

type signature struct {
	once sync.Once
	text string // base64
	err  error
}

func newSigner(o Options, docs *store.Documents[signingKey]) (*signer, error) {
	g := &signer{store: o.Store, docs: docs, clock: o.Clock, signatures: newLRU[[sha256.Size]byte, *signature](4096)}
	if len(o.SigningKey) == 0 && len(o.SigningCertificate) == 0 {
		return g, nil
	}
	var err error
	if g.operator, err = parseKeyPair(o.SigningKey, o.SigningCertificate); err != nil {
		return nil, err
	}
	g.operator.Key = "" // is not stored
	return g, nil
}

// current returns the key to sign with. The first callers wait until the key is
// read or, in a new installation, made and stored.
func (g *signer) current(ctx context.Context) (*signingKey, error) {
	for {
		g.mu.Lock()
		if g.ready != nil {
			g.mu.Unlock()
			return g.ready, nil
		}
		wait := g.busy
		if wait == nil {
			g.busy = make(chan struct{})
			g.mu.Unlock()
			return g.obtain(ctx)
		}
		g.mu.Unlock()
		select {
		case <-wait: // look again: it is there, or it failed and it is our turn
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the signing key: %w", ctx.Err())
		}
	}
}

func (g *signer) obtain(ctx context.Context) (*signingKey, error) {
	k, err := g.find(ctx)
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil {
		g.ready = k
	}
	close(g.busy)
	g.busy = nil
	return k, err
}

// find returns the operator's key, else the newest stored one, else a new one.
func (g *signer) find(ctx context.Context) (*signingKey, error) {
	k := g.operator
	if k == nil {
		stored, err := g.newest(ctx)
		if stored != nil || err != nil {
			return stored, err
		}
		if k, err = makeKey(g.clock.Now()); err != nil {
			return nil, err
		}
	} else if g.docs.Get(sestina.Scope{}, k.name) != nil {
		return k, nil
	}
	if k.CreatedAt.IsZero() {
		k.CreatedAt = g.clock.Now()
	}
	err := g.store.Update(ctx, func(tx store.Tx) error {
		return change(tx, sestina.Scope{}, kindSigningKey, k.name, func(*signingKey) (*signingKey, error) { return k, nil })
	})
	if err != nil {
		return nil, fmt.Errorf("store the signing key: %w", err)
	}
	return k, nil
}

// newest returns the newest key that the installation has, or nil.
func (g *signer) newest(ctx context.Context) (*signingKey, error) {
	docs, err := g.store.List(ctx, sestina.Scope{}, kindSigningKey, "", 1000)
	if err != nil {
		return nil, fmt.Errorf("read signing keys: %w", err)
	}
	var best *signingKey
	for _, d := range docs {
		k, err := decode[signingKey](d)
		if err != nil {
			return nil, err
		}
		if k.private != nil && (best == nil || !k.CreatedAt.Before(best.CreatedAt)) {
			best = k
		}
	}
	return best, nil
}

// sign returns the signature of a text in base64; version is "1" or "2".
func (g *signer) sign(k *signingKey, version, text string) (string, error) {
	entry, _ := g.signatures.get(sha256.Sum256([]byte(k.name+version+text)), func() *signature { return new(signature) })
	entry.once.Do(func() {
		hash, sum := crypto.SHA1, []byte(nil)
		if version == "2" {
			s := sha256.Sum256([]byte(text))
			hash, sum = crypto.SHA256, s[:]
		} else {
			s := sha1.Sum([]byte(text)) // SignatureVersion 1 is SHA-1
			sum = s[:]
		}
		b, err := rsa.SignPKCS1v15(nil, k.private, hash, sum)
		entry.text, entry.err = base64.StdEncoding.EncodeToString(b), err
	})
	return entry.text, entry.err
}

// CertHandler serves the certificates that messages are signed with, and were,
// on the paths that SigningCertURL names.
func (s *Service) CertHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, ok := strings.CutPrefix(r.URL.Path, certificatePrefix)
		name, isPEM := strings.CutSuffix(name, ".pem")
		k := s.signer.docs.Get(sestina.Scope{}, name)
		if !ok || !isPEM || k == nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/x-pem-file")
		w.Header().Set("Cache-Control", "public, max-age=86400")
		_, _ = w.Write([]byte(k.Certificate))
	})
}
