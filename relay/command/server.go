package command

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/netpilot/netpilot/pkg/wire"
	"github.com/netpilot/netpilot/relay/api"
	"github.com/netpilot/netpilot/relay/audit"
	"github.com/netpilot/netpilot/relay/front"
	"github.com/netpilot/netpilot/relay/gateway"
	"github.com/netpilot/netpilot/relay/hub"
	"github.com/netpilot/netpilot/relay/legacy"
	"github.com/netpilot/netpilot/relay/metrics"
	"github.com/netpilot/netpilot/relay/store"
	"github.com/netpilot/netpilot/relay/web"
)

const (
	// drainWithin is how long a stopping relay takes at most. Half of it is
	// for answers that are on their way; then links close, which ends the
	// calls that still wait.
	drainWithin = 10 * time.Second

	headerWithin = 10 * time.Second // a request's header
	answerWithin = 45 * time.Second // a whole answer: 25 s to begin it, 20 s for a slow reader to take it
	idleWithin   = 75 * time.Second // between requests; longer than common proxies keep theirs
	maxHeader    = 16 << 10         // bytes
)

// Config is what a relay is made of.
type Config struct {
	Version string // of this program, for the log
	Listen  string // host:port; port 0 takes any free one
	TLS     front.TLS
	// RequireClientCert has routers show a certificate besides their secret.
	RequireClientCert bool
	NoHistory         bool          // keep nothing of what routers used
	Proxies           front.Proxies // that bring all requests, over plain HTTP
	Data              string        // directory, made if it does not exist
	KeyRate           float64       // requests a second of each key; this and the next two: 0 for no limit
	AddressRate       float64       // requests a second without a good key of each address
	LinkRate          float64       // new links a second
	MaxWaiting        int           // connections that nothing is asked on; 0 for 4096
	AuditKeep         time.Duration // 0 for a year
	AuditRows         int           // 0 for a million
	Metrics           string        // host:port that answers /metrics without a key, port 0 takes any free one; "" for none
	MetricsUsage      int           // devices whose counters /metrics/usage tells; 0 for no such path
	Legacy            string        // URL of the old commands server, "" for none
	Shadow            bool          // compare our answers with its
	NoDashboard       bool          // serve no pages for people at /
	Log               *slog.Logger
	// Ready, if not nil, is called with the relay's URL once it serves; an
	// error ends it.
	Ready func(url string) error
	// Drain is how long stopping may take; 0 is ten seconds.
	Drain time.Duration
}

// secure tells whether the relay speaks TLS itself.
func (cfg *Config) secure() bool { return cfg.TLS.CertFile != "" || len(cfg.TLS.ACMEDomains) > 0 }

// check refuses what cannot be served safely, and fills in defaults.
func (cfg *Config) check() error {
	host, _, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return fmt.Errorf("the listen address %q is not host:port, like 127.0.0.1:8080", cfg.Listen)
	}
	addr, err := netip.ParseAddr(host)
	local := host == "localhost" || err == nil && addr.IsLoopback()
	t := &cfg.TLS
	switch {
	case (t.CertFile == "") != (t.KeyFile == ""):
		return errors.New("a certificate and its key go together: give both --tls-cert and --tls-key, or neither")
	case t.CertFile != "" && len(t.ACMEDomains) > 0:
		return errors.New("the certificate comes from --tls-cert or by --acme-domain, not from both")
	case cfg.secure() && len(cfg.Proxies) > 0:
		return errors.New("behind a proxy the relay speaks plain HTTP: give --behind-proxy or a certificate, not both")
	case t.ClientCAFile != "" && !cfg.secure():
		return errors.New("routers can show certificates over TLS only: --client-ca needs --tls-cert and --tls-key, or --acme-domain")
	case cfg.RequireClientCert && t.ClientCAFile == "":
		return errors.New("--require-client-cert needs --client-ca, to know whose certificates are good")
	case cfg.Shadow && cfg.Legacy == "":
		return errors.New("--shadow compares with the old commands server: say where it is with --legacy-upstream")
	case !cfg.secure() && !local && len(cfg.Proxies) == 0:
		return fmt.Errorf("plain HTTP on %s would show keys and secrets to the network; "+
			"give --tls-cert and --tls-key, or --acme-domain, or name the proxy that has them with --behind-proxy", cfg.Listen)
	case cfg.MetricsUsage > 0 && cfg.NoHistory:
		return errors.New("--metrics-usage counts what is kept of the history, and --store none keeps nothing: give one of them")
	case cfg.KeyRate < 0 || cfg.AddressRate < 0 || cfg.LinkRate < 0 || cfg.MaxWaiting < 0 || cfg.AuditRows < 0 || cfg.MetricsUsage < 0:
		return errors.New("rates and limits are not negative")
	}
	if cfg.MaxWaiting == 0 {
		cfg.MaxWaiting = 4096
	}
	if cfg.AuditKeep == 0 {
		cfg.AuditKeep = 365 * 24 * time.Hour
	}
	if cfg.AuditRows == 0 {
		cfg.AuditRows = 1_000_000
	}
	return nil
}

// Serve runs a relay until ctx ends, then drains it; that is no error. It
// builds all parts and owns them.
func Serve(ctx context.Context, cfg Config) (err error) {
	if err := cfg.check(); err != nil {
		return err
	}
	db, err := openData(ctx, cfg.Data, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := db.Check(ctx); err != nil {
		return err
	}

	record := audit.New(audit.Options{Store: db, Log: cfg.Log, Keep: cfg.AuditKeep, Most: cfg.AuditRows})
	links := hub.NewLocal()
	kept := store.Store(db)
	if cfg.NoHistory {
		kept = store.WithoutHistory(db)
	}
	routers := gateway.New(kept, links, cfg.Log)
	tcp, secured, url, err := listen(ctx, &cfg)
	if err != nil {
		return err
	}
	counted := metrics.New(metrics.Options{Version: cfg.Version, Store: db, Hub: links, Audit: record,
		Waiting: tcp.Waiting, Ended: tcp.Ended, Size: func() int64 { return sizeOf(cfg.Data) }, Pushing: routers.Pushing})
	measured := map[string]http.Handler{"/metrics": counted.Handler()}
	if cfg.MetricsUsage > 0 {
		db.CountDevices()
		measured["/metrics/usage"] = metrics.UsageHandler(db, cfg.MetricsUsage)
	}
	if cfg.Metrics != "" {
		stop, err := serveMetrics(ctx, cfg.Metrics, measured, cfg.Log)
		if err != nil {
			return errors.Join(err, secured.Close())
		}
		defer stop()
	}
	routers.RequireCert = cfg.RequireClientCert
	routers.Audit = func(e audit.Entry) {
		record.Add(e)
		counted.Recorded(&e)
	}
	routers.Pace(cfg.LinkRate)
	backends := api.New(kept, counted.Calls(links), cfg.Log)
	backends.Limit(cfg.KeyRate, cfg.AddressRate)
	backends.Answered = func(d api.Done) {
		recordAnswer(record, &d)
		counted.Answered(&d)
	}
	if cfg.Legacy != "" {
		if backends.Legacy, err = legacy.New(cfg.Legacy, cfg.Log); err != nil {
			return errors.Join(err, secured.Close())
		}
		defer backends.Legacy.Close()
	}
	if cfg.Shadow {
		backends.Shadow = legacy.NewShadow(backends.Legacy, cfg.Log)
		defer backends.Shadow.Close()
		counted.Shadow(backends.Shadow.Counts)
	}
	exposed := make(map[string]http.Handler, len(measured))
	for path, h := range measured {
		exposed[path] = backends.Keyed(path, store.ScopeAdmin, h)
	}
	pages, err := web.New()
	if err != nil {
		return errors.Join(err, secured.Close())
	}
	dashboard := backends.Open("/", pages)
	srv := &http.Server{
		Handler: front.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch path := r.URL.Path; {
			case path == wire.EnrolPath:
				routers.ServeEnrol(w, r)
			case path == wire.ConnectPath:
				routers.ServeConnect(w, r)
			case !cfg.NoDashboard && pages.Has(r):
				dashboard.ServeHTTP(w, r)
			case exposed[path] != nil:
				exposed[path].ServeHTTP(w, r)
			default:
				backends.ServeHTTP(w, r)
			}
		}), cfg.secure() || len(cfg.Proxies) > 0, cfg.Proxies),
		ReadHeaderTimeout: headerWithin, // and a TLS handshake
		WriteTimeout:      answerWithin,
		IdleTimeout:       idleWithin,
		MaxHeaderBytes:    maxHeader,
		ConnState:         tcp.State,
		ErrorLog:          slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug), // other people's broken connections
	}
	tidying, stopTidying := context.WithCancel(ctx)
	tidied := make(chan struct{})
	go func() { // ends by stopTidying
		defer close(tidied)
		var tasks sync.WaitGroup
		tasks.Go(func() { keepSmall(tidying, links.Len) })
		tidy(tidying, kept, cfg.Log)
		tasks.Wait()
	}()
	defer func() { <-tidied }()
	defer stopTidying()
	srv.RegisterOnShutdown(backends.Drain)
	return serve(ctx, &cfg, srv, secured, url, routers, backends, record)
}

// tidyEvery is how often history that has come of age is summed up.
const tidyEvery = 10 * time.Minute

// tidy sums up and deletes what has come of age, now and then, until ctx ends.
func tidy(ctx context.Context, s store.Store, log *slog.Logger) {
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			err := s.Tidy(ctx, now)
			if failed := err != nil && ctx.Err() == nil; failed != failing {
				failing = failed
				if failed {
					log.Error("history cannot be summed up; it is tried again", "err", err)
				}
			}
		}
	}
}

// serveMetrics answers GET of the paths on an address of its own until stop.
func serveMetrics(ctx context.Context, addr string, paths map[string]http.Handler, log *slog.Logger) (stop func(), _ error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%w; choose another address with --metrics-listen", err)
	}
	mux := http.NewServeMux()
	for path, h := range paths {
		mux.Handle("GET "+path, h)
	}
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: headerWithin, WriteTimeout: answerWithin, IdleTimeout: idleWithin,
		MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	ended := make(chan struct{})
	go func() { // ends by stop
		defer close(ended)
		_ = srv.Serve(l)
	}()
	log.Info("serving metrics", "url", "http://"+l.Addr().String())
	return func() { _ = srv.Close(); <-ended }, nil
}

// sizeOf is how many bytes the database takes, -1 if that cannot be told.
func sizeOf(data string) int64 {
	size := int64(-1)
	for _, suffix := range []string{"", "-wal"} {
		if info, err := os.Stat(filepath.Join(data, dbName) + suffix); err == nil {
			size = max(size, 0) + info.Size()
		}
	}
	return size
}

// recordAnswer writes down what a key did, and what was refused. Requests that
// need no key are nobody's.
func recordAnswer(record *audit.Log, d *api.Done) {
	e := audit.Entry{Who: "key:" + d.Key.Name, Key: d.Key.ID, Router: d.Router, Method: d.Method + " " + d.Path,
		Result: d.Code, Address: d.Address, Often: !d.Changes}
	if d.Code == "" {
		e.Result = audit.OK
	}
	if d.Key.ID == "" {
		if d.Status != http.StatusUnauthorized && d.Status != http.StatusTooManyRequests {
			return
		}
		e.Who, e.Often = audit.Nobody, true
	}
	record.Add(e)
}

// listen opens the listener, and TLS over it if there is a certificate.
func listen(ctx context.Context, cfg *Config) (tcp *front.Listener, secured net.Listener, url string, err error) {
	var config *tls.Config
	if cfg.secure() {
		if config, err = cfg.TLS.Config(); err != nil {
			return nil, nil, "", err
		}
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return nil, nil, "", fmt.Errorf("%w; choose another address with --listen", err)
	}
	tcp = front.NewListener(l, cfg.MaxWaiting)
	if config == nil {
		return tcp, tcp, "http://" + l.Addr().String(), nil
	}
	return tcp, tls.NewListener(tcp, config), "https://" + l.Addr().String(), nil
}

// serve runs the tasks of a relay: one answers, one watches the store, one
// keeps sessions and health, one writes the audit log. When ctx ends or one of them fails, it drains and
// waits for all.
func serve(ctx context.Context, cfg *Config, srv *http.Server, l net.Listener, url string, routers *gateway.Gateway, backends *api.API, record *audit.Log) error {
	watch, stopWatch := context.WithCancel(context.WithoutCancel(ctx)) // goes on while links are drained
	defer stopWatch()
	write, stopWrite := context.WithCancel(context.WithoutCancel(ctx)) // goes on while anything is done
	defer stopWrite()
	written := make(chan error, 1)
	go func() { written <- record.Run(write) }() // ends by stopWrite, last of all
	ended := make(chan error, 3)
	go func() { ended <- srv.Serve(l) }()        // ends by drain
	go func() { ended <- routers.Run(watch) }()  // ends by stopWatch
	go func() { ended <- backends.Run(watch) }() // ends by stopWatch
	cfg.Log.Info("serving", "url", url, "data", cfg.Data, "version", cfg.Version)

	var err error
	if cfg.Ready != nil {
		err = cfg.Ready(url)
	}
	running := 3
	if err == nil {
		select {
		case <-ctx.Done():
		case err = <-ended:
			running--
		}
	}
	cfg.Log.Info("stopping")
	drain(cfg, srv, routers)
	stopWatch()
	for range running {
		if taskErr := <-ended; err == nil && !errors.Is(taskErr, http.ErrServerClosed) {
			err = taskErr
		}
	}
	stopWrite()
	if taskErr := <-written; err == nil {
		err = taskErr
	}
	cfg.Log.Info("stopped")
	return err
}

// drain stops accepting, lets answers on their way go out, closes all links,
// and lets the calls that this ends answer.
func drain(cfg *Config, srv *http.Server, routers *gateway.Gateway) {
	within := cfg.Drain
	if within <= 0 {
		within = drainWithin
	}
	whole, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	half, cancelHalf := context.WithTimeout(whole, within/2)
	defer cancelHalf()
	if srv.Shutdown(half) != nil {
		cfg.Log.Info("answers are still on their way; ending the calls they wait for")
	}
	routers.Drain(whole)
	if srv.Shutdown(whole) != nil {
		_ = srv.Close() // cuts who is left
	}
}
