package app

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/sestina-mail/sestina/internal/config"
	"github.com/sestina-mail/sestina/internal/deliver"
	"github.com/sestina-mail/sestina/internal/ownapi"
	"github.com/sestina-mail/sestina/internal/sestina"
	"github.com/sestina-mail/sestina/internal/store"
)

// webServer serves the HTTP port: fixed paths first, everything else is AWS's.
func (a *App) webServer() *http.Server {
	mux := http.NewServeMux()
	mux.Handle(ownapi.Prefix, a.api)
	a.health(mux)
	mux.Handle("GET /confirmation.html", a.sns.ConfirmationPage())
	mux.Handle("POST /confirmation.html", a.sns.ConfirmationPage())
	mux.Handle("GET /unsubscribe.html", a.sns.UnsubscribePage())
	mux.Handle("POST /unsubscribe.html", a.sns.UnsubscribePage())
	certificates := a.sns.CertHandler()
	s := a.server(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isCertificate(r) {
			certificates.ServeHTTP(w, r)
			return
		}
		if h, pattern := mux.Handler(r); pattern != "" {
			h.ServeHTTP(w, r)
			return
		}
		a.mux.ServeHTTP(w, r)
	}))
	return s
}

func isCertificate(r *http.Request) bool {
	const prefix, suffix = "/SimpleNotificationService-", ".pem"
	p := r.URL.Path
	return len(p) == len(prefix)+32+len(suffix) && p[:len(prefix)] == prefix && p[len(p)-len(suffix):] == suffix
}

// sideServer serves health and metrics alone, on an address of their own.
func (a *App) sideServer() *http.Server {
	mux := http.NewServeMux()
	a.health(mux)
	return a.server(mux)
}

// server returns an HTTP server that slow clients cannot hold: headers have 10
// seconds, a call with its answer five minutes (the longest poll takes one);
// bodies have a shorter time where they are read, streams one per event.
func (a *App) server(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, WriteTimeout: 5 * time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: quietLog(a.log),
	}
}

func (a *App) health(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := a.store.Ping(r.Context()); err != nil {
			http.Error(w, "the storage cannot take writes", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	mux.Handle("GET /metrics", a.metrics.handler())
}

func (a *App) newOwnAPI(sets *store.Documents[sestina.ConfigurationSet]) *ownapi.API {
	o := ownapi.Options{Store: a.store, Clock: a.clock, Logger: a.log, Shared: shared(a.cfg), Sets: sets, SubscriptionName: a.sns.Describe}
	if u, err := url.Parse(a.baseURL()); err == nil {
		o.Hosts = append(o.Hosts, u.Hostname())
	}
	if a.cfg.Mode == config.Dev {
		o.Reset = a.reset
		o.Advance = a.advance
		o.Simulate = func(ctx context.Context, m *store.Message, kind, recipient string) error {
			effects, err := a.deliver.Simulate(ctx, m, deliver.Cause(kind), recipient)
			if err != nil {
				return err
			}
			return a.store.Do(ctx, &store.Write{Effects: effects})
		}
	} else {
		o.Authorize = func(w http.ResponseWriter, r *http.Request) error {
			_, err := a.mux.Authenticate(w, r, "sestina", ownapi.MaxBody)
			return err
		}
	}
	return ownapi.New(o)
}
