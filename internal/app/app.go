package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sestina-mail/sestina/internal/accept"
	"github.com/sestina-mail/sestina/internal/auth"
	"github.com/sestina-mail/sestina/internal/awswire"
	"github.com/sestina-mail/sestina/internal/bounce"
	"github.com/sestina-mail/sestina/internal/clock"
	"github.com/sestina-mail/sestina/internal/config"
	"github.com/sestina-mail/sestina/internal/deliver"
	"github.com/sestina-mail/sestina/internal/ownapi"
	"github.com/sestina-mail/sestina/internal/prepare"
	"github.com/sestina-mail/sestina/internal/publish"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/smtpd"
	"github.com/sestina-mail/sestina/internal/store"
	"github.com/sestina-mail/sestina/internal/svc/ses"
	"github.com/sestina-mail/sestina/internal/svc/sns"
	"github.com/sestina-mail/sestina/internal/svc/sqs"
	"github.com/sestina-mail/sestina/internal/svc/sts"
	"github.com/sestina-mail/sestina/internal/work"
)

// A clean stop takes less than 10 s. All at the same time, the doors have
// doorTimeout to finish open requests and SMTP transactions, then these are cut;
// the work engine begins nothing more and has workGrace to finish attempts, then
// their context ends, which a relay's final reply may outlast by 3 s.
const (
	doorTimeout = 4 * time.Second
	workGrace   = 2 * time.Second
)

// An App is the program with all its parts, built but not started.
type App struct {
	cfg     config.Config
	version string
	log     *slog.Logger
	clock   *clock.Clock
	ids     *sestina.IDs

	store   store.Store
	cache   *store.Cache
	keys    *auth.Keys
	offset  *store.Documents[clockDocument]
	door    *accept.Door
	engine  *work.Engine
	sns     *sns.Service
	sqs     *sqs.Service
	api     *ownapi.API
	mux     *awswire.Mux
	smtp    *smtpd.Server
	metrics *metrics
	deliver *deliver.Worker
	relay   *deliver.Relay // nil without --relay
	tls     tlsSource

	http, smtpPlain, smtpTLS, metricsListener net.Listener
}

// New opens the data folder, builds every part and opens the listeners, so
// that a wrong address or a folder in use is an error before anything runs.
// Close the App when Run is not called.
func New(ctx context.Context, cfg config.Config, version string, log *slog.Logger) (_ *App, err error) {
	a := &App{cfg: cfg, version: version, log: log, clock: clock.New(0), ids: &sestina.IDs{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Close())
		}
	}()
	if a.store, err = openStore(ctx, cfg, a.clock, log); err != nil {
		return nil, err
	}
	if err = a.listen(); err != nil {
		return nil, err
	}
	if err = a.build(); err != nil {
		return nil, err
	}
	if err = a.cache.Load(ctx); err != nil {
		return nil, err
	}
	if err = a.keys.Check(); err != nil {
		return nil, err
	}
	if err = a.sns.Load(ctx); err != nil {
		return nil, err
	}
	a.restoreClock()
	return a, nil
}

// listen opens the listeners.
func (a *App) listen() error {
	for _, l := range []struct {
		what, addr string
		to         *net.Listener
	}{
		{"http", a.cfg.HTTP, &a.http}, {"smtp", a.cfg.SMTP, &a.smtpPlain},
		{"smtps", a.cfg.SMTPS, &a.smtpTLS}, {"metrics", a.cfg.MetricsAddress, &a.metricsListener},
	} {
		if l.addr == "" {
			continue
		}
		ln, err := net.Listen("tcp", l.addr)
		if err != nil {
			return fmt.Errorf("listen for %s (choose another address with --%s): %w", l.what, l.what, err)
		}
		*l.to = ln
	}
	return nil
}

// baseURL is how others reach the HTTP port.
func (a *App) baseURL() string {
	if a.cfg.PublicURL != "" {
		return a.cfg.PublicURL
	}
	return "http://" + dialable(a.http.Addr())
}

// dialable is an address one can connect to: the loopback one for a listener on
// all addresses.
func dialable(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return addr.String()
	}
	return fmt.Sprintf("127.0.0.1:%d", tcp.Port)
}

// build makes the parts, lowest first.
func (a *App) build() (err error) {
	cfg := a.cfg
	dev := cfg.Mode == config.Dev
	a.cache = store.NewCache(a.store)
	a.cache.Shared = shared(cfg)
	sets := store.Register[sestina.ConfigurationSet](a.cache, "configuration-set")
	identities := store.Register[sestina.Identity](a.cache, "identity")
	accounts := store.Register[sestina.Account](a.cache, "account")
	a.offset = store.Register[clockDocument](a.cache, "clock")
	ring, err := auth.OpenKeyring(cfg.Data)
	if err != nil {
		return err
	}
	a.keys = auth.NewKeys(a.store, a.cache, ring, a.clock)
	if a.tls, err = newTLS(cfg, a.clock, a.log); err != nil {
		return err
	}

	outbox := &publish.Outbox{Sets: sets, IDs: a.ids}
	a.door = accept.New(accept.Options{
		Store: a.store, Clock: a.clock, Outbox: outbox, Identities: identities, Accounts: accounts, Logger: a.log, AnySender: cfg.AnySender,
	})
	a.sqs = sqs.New(sqs.Options{Store: a.store, Cache: a.cache, Clock: a.clock, IDs: a.ids, Logger: a.log, Shared: shared(a.cfg)})
	if a.sns, err = a.newSNS(); err != nil {
		return err
	}
	destinations := map[sestina.DestinationKind]publish.Destination{sestina.DestinationSNS: a.sns.Destination()}
	if err = a.newDeliver(sets, outbox); err != nil {
		return err
	}
	a.engine = work.New(work.Options{Store: a.store, Clock: a.clock, Logger: a.log, Grace: workGrace, Poll: pollOthers(a.cfg), Kinds: []work.Kind{
		a.deliver.Kind(),
		{
			Kind: store.KindPublication, Name: "publication", Batch: func(string) int { return 32 }, Concurrency: func(string) int { return 4 },
			Handler: &publish.Worker{Store: a.store, Sets: sets, Destinations: destinations, Clock: a.clock, Horizon: cfg.PublishWindow},
		},
		a.sns.Kind(),
	}})
	a.store.Subscribe(a.engine)
	a.api = a.newOwnAPI(sets)
	a.store.Subscribe(a.api)
	a.metrics = newMetrics(a)
	a.buildAWS(dev, sets, identities, accounts, destinations)
	return a.buildSMTP(dev)
}

func (a *App) newSNS() (*sns.Service, error) {
	o := sns.Options{
		Store: a.store, Cache: a.cache, Clock: a.clock, IDs: a.ids, Logger: a.log, PublicURL: a.baseURL(),
		Queues: queues{a.sqs}, Mailer: mailer{a.door}, Wake: func(k store.Kind, lane string) { a.engine.Wake(k, lane) },
		MailFrom: "no-reply@" + a.noticeDomain(), Horizon: a.cfg.PublishWindow, LoopbackHTTP: a.cfg.Mode == config.Dev,
	}
	if !a.cfg.AllowPrivate {
		o.DialControl = refusePrivate
	}
	if pool := a.tls.roots(); pool != nil {
		o.TLSConfig = pool
	}
	if a.cfg.SNSSigningKey != "" {
		var err error
		if o.SigningKey, err = os.ReadFile(a.cfg.SNSSigningKey); err != nil {
			return nil, fmt.Errorf("read SNS signing key: %w", err)
		}
		if o.SigningCertificate, err = os.ReadFile(a.cfg.SNSSigningCert); err != nil {
			return nil, fmt.Errorf("read SNS signing certificate: %w", err)
		}
	}
	return sns.New(o)
}

// noticeDomain is the domain of Sestina's own notices.
func (a *App) noticeDomain() string {
	if a.cfg.Hostname != "" {
		return a.cfg.Hostname
	}
	return "sns." + a.cfg.Region + ".amazonaws.com"
}

func (a *App) newDeliver(sets *store.Documents[sestina.ConfigurationSet], outbox *publish.Outbox) error {
	var transport deliver.Transport = &deliver.Inbox{Clock: a.clock}
	if a.cfg.Relay != "" {
		o, err := deliver.ParseRelayURL(a.cfg.Relay)
		if err != nil {
			return err
		}
		o.Clock, o.HelloName, o.Timeouts = a.clock, a.cfg.Hostname, deliver.ServeTimeouts()
		if a.cfg.Mode == config.Dev {
			o.Timeouts = deliver.DevTimeouts()
		}
		a.relay = deliver.NewRelay(o)
		transport = a.relay
	} else if a.cfg.Mode == config.Serve {
		a.log.Warn("no --relay is given and this version does not deliver to MX hosts: mail is accepted and waits, and bounces after the retry window")
		transport = noRoute{a.clock}
	}
	schedule := deliver.ServeSchedule()
	if a.cfg.Mode == config.Dev {
		schedule = deliver.DevSchedule()
	}
	if len(a.cfg.RetrySchedule) > 0 {
		schedule.Steps = a.cfg.RetrySchedule
	}
	schedule.Window = a.cfg.RetryWindow
	a.deliver = deliver.New(deliver.Options{
		Store: a.store, Sets: sets, Outbox: outbox, Clock: a.clock, Logger: a.log, Transport: transport,
		Reporter: &bounce.Reporter{IDs: a.ids, HostName: a.cfg.Hostname},
		Prepare:  prepare.New(prepare.EICAR{}, a.store.OpenBody, 0),
		Schedule: schedule,
	})
	return nil
}

// buildAWS makes the AWS protocols' mux and registers the services.
func (a *App) buildAWS(dev bool, sets *store.Documents[sestina.ConfigurationSet], identities *store.Documents[sestina.Identity],
	accounts *store.Documents[sestina.Account], destinations map[sestina.DestinationKind]publish.Destination) {
	o := awswire.Options{
		Account: a.cfg.Account, Region: a.cfg.Region, Regions: a.cfg.Regions, BaseURL: a.cfg.PublicURL, TrustedProxies: a.cfg.TrustedProxies,
		MaxBodiesInFlight: a.cfg.MaxBodiesInFlight, Logger: a.log, Observe: a.metrics.observeCall,
	}
	if !dev {
		o.Credentials = a.keys
	}
	a.mux = awswire.NewMux(o)
	ses.New(ses.Options{
		Store: a.store, Clock: a.clock, IDs: a.ids, Logger: a.log, Door: a.door, Sets: sets, Identities: identities, Accounts: accounts,
		Destinations: destinations, VerifyAtOnce: dev, WakeLane: func(lane string) { a.engine.Wake(store.KindPublication, lane) },
	}).Register(a.mux)
	a.sns.Register(a.mux)
	sqs.Register(a.mux, a.sqs)
	sts.Register(a.mux, sts.New(sts.Options{Credentials: o.Credentials}))
}

func (a *App) buildSMTP(dev bool) error {
	o := smtpd.Options{
		Acceptor: smtpDoor{a.door}, Scope: sestina.Scope{Account: a.cfg.Account, Region: a.cfg.Region},
		Hostname: a.cfg.Hostname, MaxConnections: a.cfg.MaxConnections, Logger: a.log, TLS: a.tls.config(),
	}
	if o.Hostname == "" {
		o.Hostname = "email-smtp." + a.cfg.Region + ".amazonaws.com"
	}
	if dev {
		o.Authenticator, o.PlainAuth = auth.Anyone(a.cfg.Account), smtpd.PlainAuthLoopback
	} else {
		o.Authenticator, o.RequireTLS, o.RequireAuth = auth.SMTPLogin{Keys: a.keys, Region: a.cfg.Region}, true, true
	}
	a.smtp = smtpd.New(o)
	return nil
}

// ReadyLine is what the program prints once everything accepts requests.
func (a *App) ReadyLine() string {
	return fmt.Sprintf("sestina: ready http=http://%s smtp=%s", dialable(a.http.Addr()), dialable(a.smtpPlain.Addr()))
}

// Run starts everything, calls ready once requests are accepted, and returns
// when ctx ended and everything stopped.
func (a *App) Run(ctx context.Context, ready func()) error {
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	background, doors := &errgroup.Group{}, &errgroup.Group{}
	background.Go(func() error { return a.engine.Run(work) })
	background.Go(func() error { a.sqs.Run(work); return nil })
	background.Go(func() error { a.sweep(work); return nil })
	background.Go(func() error { // the key is made while the first requests come in
		if err := a.sns.EnsureKey(work); err != nil && work.Err() == nil {
			a.log.Warn("the SNS signing key could not be made now; the first use will", "error", err)
		}
		return nil
	})

	web := a.webServer()
	failed, cancel := context.WithCancel(ctx)
	defer cancel()
	serve := func(what string, fn func() error) {
		doors.Go(func() error {
			defer cancel() // one door that fails stops the program
			if err := fn(); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, smtpd.ErrServerClosed) {
				return fmt.Errorf("serve %s: %w", what, err)
			}
			return nil
		})
	}
	serve("http", func() error { return web.Serve(a.tls.listener(a.http)) })
	serve("smtp", func() error { return a.smtp.Serve(a.smtpPlain) })
	if a.smtpTLS != nil {
		serve("smtps", func() error { return a.smtp.ServeTLS(a.smtpTLS) })
	}
	var side *http.Server
	if a.metricsListener != nil {
		side = a.sideServer()
		serve("metrics", func() error { return side.Serve(a.metricsListener) })
	}
	ready()

	<-failed.Done()
	a.log.Info("stopping")
	stop, done := context.WithTimeout(context.WithoutCancel(ctx), doorTimeout)
	defer done()
	a.sqs.EndPolls()
	a.api.EndStreams()
	stopWork() // what the doors still take in waits on disk for the next start
	closing := &errgroup.Group{}
	closing.Go(func() error { return shutdownWeb(stop, web) })
	closing.Go(func() error { return shutdownWeb(stop, side) })
	closing.Go(func() error { return shutdownSMTP(stop, a.smtp) })
	return errors.Join(closing.Wait(), doors.Wait(), background.Wait(), a.Close())
}

func shutdownWeb(ctx context.Context, s *http.Server) error {
	if s == nil || s.Shutdown(ctx) == nil {
		return nil
	}
	return s.Close() // out of time: cut what is left
}

// shutdownSMTP cuts what is left at the end of ctx, which is no fault: those
// clients got no answer and will come back.
func shutdownSMTP(ctx context.Context, s *smtpd.Server) error {
	if err := s.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// Close closes what New opened. Run calls it.
func (a *App) Close() error {
	for _, l := range []net.Listener{a.http, a.smtpPlain, a.smtpTLS, a.metricsListener} {
		if l != nil {
			_ = l.Close() // closed already after Run
		}
	}
	if a.sns != nil {
		a.sns.Close()
	}
	if a.relay != nil {
		_ = a.relay.Close() // says QUIT; the other side may be gone
	}
	if a.store == nil {
		return nil
	}
	if err := a.store.Close(); err != nil {
		return fmt.Errorf("close the store in %s: %w", filepath.Clean(a.cfg.Data), err)
	}
	return nil
}

// logLevel is the slog level of a configured name.
func logLevel(name string) slog.Level {
	var l slog.Level
	_ = l.UnmarshalText([]byte(strings.ToUpper(name))) // checked by the flag
	return l
}

// NewLogger returns the program's logger: to standard error, as configured.
func NewLogger(cfg config.Config) *slog.Logger {
	o := &slog.HandlerOptions{Level: logLevel(cfg.LogLevel)}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, o))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, o))
}
