package app

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sestina-mail/sestina/internal/awswire"
	"github.com/sestina-mail/sestina/internal/store"
)

// metrics are the figures on /metrics. docs/operations.md lists them.
type metrics struct {
	registry *prometheus.Registry
	calls    *prometheus.HistogramVec
	events   *prometheus.CounterVec
}

func newMetrics(a *App) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sestina_api_call_seconds", Help: "Time to answer AWS API calls, by operation and status.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 30},
		}, []string{"service", "operation", "status", "code"}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sestina_events_total", Help: "Sending events, by type.",
		}, []string{"type"}),
	}
	m.registry.MustRegister(m.calls, m.events, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), partsCollector{a})
	a.store.Subscribe(m)
	return m
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

func (m *metrics) observeCall(c *awswire.Call, status int, code string, d time.Duration) {
	m.calls.WithLabelValues(c.Service, c.Operation, strconv.Itoa(status), code).Observe(d.Seconds())
}

// Committed implements store.Listener.
func (m *metrics) Committed(c store.Change) {
	for _, e := range c.Events {
		m.events.WithLabelValues(string(e.Type)).Inc()
	}
}

// DocumentsChanged implements store.Listener.
func (m *metrics) DocumentsChanged([]store.Document) {}

// partsCollector reads the figures that parts of the program keep themselves.
type partsCollector struct{ a *App }

var (
	descResults = prometheus.NewDesc("sestina_work_results_total", "Attempts at units of work, by kind and verdict.", []string{"kind", "verdict"}, nil)
	descDropped = prometheus.NewDesc("sestina_work_dropped_total", "Results that were not stored, by kind and reason: another node took over (fenced), or the store failed (lost).", []string{"kind", "reason"}, nil)
	descActive  = prometheus.NewDesc("sestina_work_active", "Batches being worked on, by kind.", []string{"kind"}, nil)
	descLanes   = prometheus.NewDesc("sestina_work_lanes", "Lanes in memory, by kind and state.", []string{"kind", "state"}, nil)
	descCommits = prometheus.NewDesc("sestina_store_commits_total", "Durable transactions.", nil, nil)
	descCommand = prometheus.NewDesc("sestina_store_commands_total", "Commands answered.", nil, nil)
	descFailure = prometheus.NewDesc("sestina_store_failures_total", "Transactions the database could not take.", nil, nil)
	descQueued  = prometheus.NewDesc("sestina_store_queued", "Commands waiting for the writer.", nil, nil)
	descDB      = prometheus.NewDesc("sestina_store_bytes", "Size of the database and its log.", []string{"file"}, nil)
	descConns   = prometheus.NewDesc("sestina_store_connections", "Open connections to PostgreSQL.", nil, nil)
	descClaims  = prometheus.NewDesc("sestina_store_claims", "Leases in PostgreSQL held by this node.", nil, nil)
	descSMTP    = prometheus.NewDesc("sestina_smtp_connections", "Open SMTP connections.", nil, nil)
	descQueue   = prometheus.NewDesc("sestina_sqs_messages", "Messages in queues.", []string{"account", "region", "queue", "state"}, nil)
)

// maxQueueSeries bounds how many queues are on /metrics.
const maxQueueSeries = 100

// Describe implements prometheus.Collector.
func (c partsCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descResults, descDropped, descActive, descLanes, descCommits, descCommand, descFailure, descQueued, descDB, descConns, descClaims, descSMTP, descQueue} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c partsCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	c.work(gauge, counter)
	s := c.a.store.Stats()
	counter(descCommits, float64(s.Commits))
	counter(descCommand, float64(s.Commands))
	counter(descFailure, float64(s.Failures))
	gauge(descQueued, float64(s.Queued))
	if shared(c.a.cfg) {
		gauge(descConns, float64(s.Connections))
		gauge(descClaims, float64(s.Claims))
	} else {
		gauge(descDB, float64(s.Database), "database")
		gauge(descDB, float64(s.WAL), "wal")
	}
	gauge(descSMTP, float64(c.a.smtp.Connections()))
	c.queues(gauge)
}

func (c partsCollector) work(gauge, counter func(*prometheus.Desc, float64, ...string)) {
	for _, s := range c.a.engine.Snapshot() {
		for verdict, n := range s.Results {
			counter(descResults, float64(n), s.Name, verdict.String())
		}
		counter(descDropped, float64(s.Fenced), s.Name, "fenced")
		counter(descDropped, float64(s.Lost), s.Name, "lost")
		gauge(descActive, float64(s.Active), s.Name)
		gauge(descLanes, float64(s.Waiting), s.Name, "waiting")
		gauge(descLanes, float64(s.Ready), s.Name, "ready")
		gauge(descLanes, float64(s.Failing), s.Name, "failing")
		gauge(descLanes, float64(s.Paused), s.Name, "paused")
	}
}

func (c partsCollector) queues(gauge func(*prometheus.Desc, float64, ...string)) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	depths, err := c.a.sqs.Depths(ctx, maxQueueSeries)
	if err != nil {
		c.a.log.Warn("queue depths are missing on /metrics", "error", err)
		return
	}
	for _, d := range depths {
		for state, n := range map[string]int{"visible": d.Visible, "in-flight": d.InFlight, "delayed": d.Delayed} {
			gauge(descQueue, float64(n), d.Scope.Account, d.Scope.Region, d.Name, state)
		}
	}
}
