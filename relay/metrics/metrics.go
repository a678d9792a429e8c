// Package metrics tells Prometheus how a relay does. Every label has a bounded
// number of values: methods and paths come from fixed tables, and of routers
// only so many are told one by one.
package metrics

import (
	"context"
	"encoding/json"
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/api"
	"github.com/netpilot/netpilot/relay/audit"
	"github.com/netpilot/netpilot/relay/hub"
	"github.com/netpilot/netpilot/relay/legacy"
	"github.com/netpilot/netpilot/relay/store"
)

const (
	// maxMethods bounds the methods of routers that are told one by one; the
	// relay itself asks fewer.
	maxMethods = 64
	// maxRouters bounds the routers whose counting is told one by one.
	maxRouters = 2000
	// collectWithin bounds a scrape's look into the store.
	collectWithin = 5 * time.Second
	// healthFor is how long what was read of all routers is told again, so
	// that several scrapers cost one look.
	healthFor = 15 * time.Second
)

// Store is what the metrics look up; see store.Store.
type Store interface {
	Routers(ctx context.Context, q store.RouterQuery) ([]store.Router, int, error)
	Replica(ctx context.Context, router usage.RouterID) (store.Replica, error)
}

// Options is what the metrics are read from.
type Options struct {
	Version string
	Store   Store
	Hub     *hub.Local
	Audit   *audit.Log
	Waiting func() int   // connections that nothing is asked on
	Ended   func() int64 // of those, ended for there being too many
	Size    func() int64 // bytes of the database, -1 if unknown
	Pushing func() int   // pushes of history that wait to be kept
}

// Metrics counts what a relay does. Make it with New.
type Metrics struct {
	registry *prometheus.Registry
	calls    *prometheus.CounterVec
	callTime *prometheus.HistogramVec
	inFlight prometheus.Gauge
	requests *prometheus.CounterVec
	reqTime  *prometheus.HistogramVec
	links    *prometheus.CounterVec
	methods  *words
}

// New makes the metrics of one relay.
func New(o Options) *Metrics {
	// From a quarter of a millisecond, a call's floor on one machine, to the
	// 25 s in which every answer comes.
	buckets := prometheus.ExponentialBucketsRange(0.00025, 25, 14)
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "netpilot_calls_total",
			Help: "Calls to routers by method and result: ok or a kind of error."}, []string{"method", "result"}),
		callTime: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "netpilot_call_seconds",
			Help: "How long routers took to answer.", Buckets: buckets}, []string{"method"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "netpilot_calls_in_flight", Help: "Calls that wait for a router."}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "netpilot_requests_total",
			Help: "REST requests by path and status."}, []string{"path", "status"}),
		reqTime: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "netpilot_request_seconds",
			Help: "How long REST requests took to answer.", Buckets: buckets}, []string{"path"}),
		links: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "netpilot_router_events_total",
			Help: "Enrolments, links opened and closed, and secrets changed, by result."}, []string{"event", "result"}),
		methods: newWords(maxMethods),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "netpilot_build_info", Help: "1, with the version.",
		ConstLabels: prometheus.Labels{"version": o.Version, "go": runtime.Version()}})
	build.Set(1)
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f)
	}
	count := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, f)
	}
	m.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		build, m.calls, m.callTime, m.inFlight, m.requests, m.reqTime, m.links,
		gauge("netpilot_links", "Links that are up.", func() float64 { return float64(o.Hub.Len()) }),
		gauge("netpilot_pushes_waiting", "Pushes of history that wait to be kept.", func() float64 { return float64(o.Pushing()) }),
		gauge("netpilot_audit_waiting", "Audit rows not written yet.", func() float64 { return float64(o.Audit.Waiting()) }),
		count("netpilot_audit_lost_total", "Audit rows given up while the store failed.", func() float64 { return float64(o.Audit.Lost()) }),
		gauge("netpilot_connections_waiting", "Connections on which nothing is asked.", func() float64 { return float64(o.Waiting()) }),
		count("netpilot_connections_ended_total", "Of those, ended for there being too many.", func() float64 { return float64(o.Ended()) }),
		gauge("netpilot_store_bytes", "Size of the database, -1 if unknown.", func() float64 { return float64(o.Size()) }),
		newHealth(o.Store),
	)
	return m
}

// Handler answers with the metrics in Prometheus's text format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 2, ErrorHandling: promhttp.ContinueOnError})
}

// Answered counts a REST request.
func (m *Metrics) Answered(d *api.Done) {
	path := d.Path
	if path == "" {
		path = "unknown"
	}
	m.requests.WithLabelValues(path, strconv.Itoa(d.Status)).Inc()
	m.reqTime.WithLabelValues(path).Observe(d.Took.Seconds())
}

// Shadow has the comparisons with the old server's answers counted, too.
func (m *Metrics) Shadow(counts func() legacy.Counts) {
	for result, of := range map[string]func(legacy.Counts) int64{
		"same":      func(c legacy.Counts) int64 { return c.Same },
		"different": func(c legacy.Counts) int64 { return c.Different },
		"failed":    func(c legacy.Counts) int64 { return c.Failed },
		"skipped":   func(c legacy.Counts) int64 { return c.Skipped },
	} {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "netpilot_shadow_comparisons_total",
			Help: "Answers compared with the old server's (--shadow), by result.", ConstLabels: prometheus.Labels{"result": result}},
			func() float64 { return float64(of(counts())) }))
	}
}

// Recorded counts what the gateway has to say.
func (m *Metrics) Recorded(e *audit.Entry) { m.links.WithLabelValues(e.Method, e.Result).Inc() }

// Calls is the hub with its calls counted.
func (m *Metrics) Calls(h *hub.Local) Hub { return Hub{h, m} }

// Hub is a hub whose calls are counted.
type Hub struct {
	*hub.Local
	m *Metrics
}

// Call implements api.Hub.
func (h Hub) Call(ctx context.Context, router usage.RouterID, method string, params json.RawMessage) (json.RawMessage, error) {
	began := time.Now()
	h.m.inFlight.Inc()
	result, err := h.Local.Call(ctx, router, method, params)
	h.m.inFlight.Dec()
	kind := audit.OK
	if err != nil {
		kind = usage.KindOf(err).String()
		if ctx.Err() == context.Canceled {
			kind = "canceled"
		}
	}
	method = h.m.methods.bound(method)
	h.m.calls.WithLabelValues(method, kind).Inc()
	h.m.callTime.WithLabelValues(method).Observe(time.Since(began).Seconds())
	return result, err
}
