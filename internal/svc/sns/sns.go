package sns

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sestina-mail/sestina/internal/clock"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
	"github.com/sestina-mail/sestina/internal/work"
)

// Options configure a Service. Store, Cache, Clock, IDs and PublicURL are
// required.
type Options struct {
	Store  store.Store
	Cache  *store.Cache
	Clock  *clock.Clock
	IDs    *sestina.IDs
	Logger *slog.Logger // nil means slog.Default

	// PublicURL is the base, without a slash at the end, of the URLs that
	// subscribers are told: SubscribeURL, UnsubscribeURL, SigningCertURL. Many
	// validators demand https.
	PublicURL string

	// Queues takes messages for sqs subscriptions and redrive policies. Nil:
	// such messages become dead letters.
	Queues Queues
	// Mailer sends to email subscriptions. Nil: what is for them is held.
	Mailer Mailer
	// Streams takes records for firehose subscriptions. Nil: subscribing a
	// stream is refused.
	Streams Streams
	// Wake ends a hold of a lane of work; nil is allowed.
	Wake func(store.Kind, string)

	// MailFrom is the address that email subscriptions get mail from. Default
	// no-reply@localhost.
	MailFrom string
	// Horizon is how long an endpoint without a delivery policy is tried.
	// Default 72 h.
	Horizon time.Duration
	// Timeout is how long an endpoint may take for its whole answer. Default
	// 15 s.
	Timeout time.Duration
	// TokenLifetime is how long a confirmation token is valid, and how long a
	// subscription stays pending or can be restored. Default 72 h.
	TokenLifetime time.Duration
	// PerHost is how many requests to one host may be under way at a time, over
	// all subscriptions. Default 64.
	PerHost int

	// DialControl is called before each connection to an endpoint, with the
	// resolved address; an error refuses it (net.Dialer.Control). It is where
	// private addresses are refused.
	DialControl func(network, address string, c syscall.RawConn) error
	// TLSConfig is used towards https endpoints; nil means the system's roots.
	TLSConfig *tls.Config
	// LoopbackHTTP lets protocol https take http endpoints on the loopback
	// interface.
	LoopbackHTTP bool

	// SigningKey and SigningCertificate, both PEM, replace the key that the
	// service makes for itself: an RSA key, PKCS#1 or PKCS#8, and its
	// certificate.
	SigningKey, SigningCertificate []byte

	Limits Limits
}

// Limits are the quotas of one account and region. Zero members mean the
// default.
type Limits struct {
	Topics                int // standard topics, default 100,000
	FIFOTopics            int // default 1,000
	Subscriptions         int // per standard topic, default 12,500,000
	FIFOSubscriptions     int // per FIFO topic, default 100
	FilterPolicies        int // default 10,000
	FilterPoliciesOfTopic int // default 200
}

func (l *Limits) setDefaults() {
	def(&l.Topics, 100_000)
	def(&l.FIFOTopics, 1000)
	def(&l.Subscriptions, 12_500_000)
	def(&l.FIFOSubscriptions, 100)
	def(&l.FilterPolicies, 10_000)
	def(&l.FilterPoliciesOfTopic, 200)
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Document kinds of this package.
const (
	kindTopic        = "topic"
	kindSubscription = "subscription"
	kindDedup        = "sns-dedup"       // name: <topic id>/<shard>
	kindSigningKey   = "sns-signing-key" // of the installation; name: as in the certificate's path
	kindTokenKey     = "sns-token-key"   // of the installation; name: the key's number
)

// format is the format number of this package's documents, envelopes and
// payloads.
const format = 1

// A Service is the embedded SNS. It may be used concurrently.
type Service struct {
	Options
	topics    *store.Documents[Topic]
	subs      *index
	tokens    *tokenKeys
	signer    *signer
	envelopes *lru[sestina.ID, *message]
	groups    [256]sync.Mutex // serialise publishing to one group of a FIFO topic
	pace      pacer
	hosts     *work.Limiter
	client    *http.Client
}

// New returns a Service. It registers its document kinds with the cache and
// subscribes to the store, so it is called before Cache.Load; call Load after.
func New(o Options) (*Service, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	def(&o.MailFrom, "no-reply@localhost")
	def(&o.Horizon, 72*time.Hour)
	def(&o.Timeout, 15*time.Second)
	def(&o.TokenLifetime, 72*time.Hour)
	def(&o.PerHost, 64)
	o.PublicURL = strings.TrimSuffix(o.PublicURL, "/")
	o.Limits.setDefaults()
	s := &Service{
		Options:   o,
		topics:    store.Register[Topic](o.Cache, kindTopic),
		subs:      newIndex(o.Store),
		envelopes: newLRU[sestina.ID, *message](64),
		hosts:     work.NewLimiter(o.PerHost),
		client:    newClient(o),
	}
	s.tokens = &tokenKeys{store: o.Store, docs: store.Register[tokenKey](o.Cache, kindTokenKey)}
	var err error
	s.signer, err = newSigner(o, store.Register[signingKey](o.Cache, kindSigningKey))
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Load reads the subscriptions. Call it after the cache's Load.
func (s *Service) Load(ctx context.Context) error {
	if err := s.subs.refresh(ctx); err != nil {
		return fmt.Errorf("load subscriptions: %w", err)
	}
	return nil
}

// EnsureKey makes the signing key and the token key when the installation has
// none yet, which takes some tenths of a second. Whatever needs them first
// waits for them, and makes them when nobody did.
func (s *Service) EnsureKey(ctx context.Context) error {
	if _, err := s.tokens.current(ctx); err != nil {
		return err
	}
	_, err := s.signer.current(ctx)
	return err
}

// Close closes idle connections to endpoints.
func (s *Service) Close() { s.client.CloseIdleConnections() }

// wake ends a hold of the subscription's lane.
func (s *Service) wake(sub sestina.ID) {
	if s.Wake != nil {
		s.Wake(store.KindNotification, sub.String())
	}
}

// topic returns the topic with the name, or nil. What the cache does not have
// is looked for in the store, where another node may have put it a moment ago.
func (s *Service) topic(ctx context.Context, scope sestina.Scope, name string) (*Topic, error) {
	if t := s.topics.Get(scope, name); t != nil {
		return t, nil
	}
	doc, err := s.Store.Get(ctx, scope, kindTopic, name)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read topic %s of %s: %w", name, scope, err)
	}
	return decode[Topic](doc)
}

// mustTopic is topic that answers NotFound.
func (s *Service) mustTopic(ctx context.Context, scope sestina.Scope, name string) (*Topic, error) {
	t, err := s.topic(ctx, scope, name)
	if err == nil && t == nil {
		err = errNoTopic
	}
	return t, err
}
