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
	"time"

	"github.com/netpilot/netpilot/pkg/wire"
	"github.com/netpilot/netpilot/relay/api"
	"github.com/netpilot/netpilot/relay/gateway"
	"github.com/netpilot/netpilot/relay/hub"
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
	TLSCert string // PEM files; both or none
	TLSKey  string
	Data    string // directory, made if it does not exist
	Log     *slog.Logger
	// Ready, if not nil, is called with the relay's URL once it serves; an
	// error ends it.
	Ready func(url string) error
	// Drain is how long stopping may take; 0 is ten seconds.
	Drain time.Duration
}

// check refuses what cannot be served safely.
func (cfg *Config) check() error {
	host, _, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return fmt.Errorf("the listen address %q is not host:port, like 127.0.0.1:8080", cfg.Listen)
	}
	if (cfg.TLSCert == "") != (cfg.TLSKey == "") {
		return errors.New("a certificate and its key go together: give both --tls-cert and --tls-key, or neither")
	}
	if addr, err := netip.ParseAddr(host); cfg.TLSCert == "" && host != "localhost" && (err != nil || !addr.IsLoopback()) {
		return fmt.Errorf("plain HTTP on %s would show keys and secrets to the network; "+
			"give --tls-cert and --tls-key, or listen on 127.0.0.1 behind a proxy that has them", cfg.Listen)
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

	links := hub.NewLocal()
	routers := gateway.New(db, links, cfg.Log)
	backends := api.New(db, links, cfg.Log)
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case wire.EnrolPath:
				routers.ServeEnrol(w, r)
			case wire.ConnectPath:
				routers.ServeConnect(w, r)
			default:
				backends.ServeHTTP(w, r)
			}
		}),
		ReadHeaderTimeout: headerWithin,
		WriteTimeout:      answerWithin,
		IdleTimeout:       idleWithin,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug), // other people's broken connections
	}
	listener, url, err := listen(ctx, &cfg)
	if err != nil {
		return err
	}
	return serve(ctx, &cfg, srv, listener, url, routers)
}

// listen opens the listener, with TLS if there is a certificate.
func listen(ctx context.Context, cfg *Config) (net.Listener, string, error) {
	var chain *tls.Certificate
	if cfg.TLSCert != "" {
		pair, err := tls.LoadX509KeyPair(cfg.TLSCert, cfg.TLSKey)
		if err != nil {
			return nil, "", fmt.Errorf("load the certificate: %w", err)
		}
		chain = &pair
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return nil, "", fmt.Errorf("%w; choose another address with --listen", err)
	}
	if chain == nil {
		return l, "http://" + l.Addr().String(), nil
	}
	// WebSocket as agents speak it needs HTTP/1.1 (RFC 9110 section 7.8), and
	// backends lose nothing by it.
	return tls.NewListener(l, &tls.Config{
		Certificates: []tls.Certificate{*chain},
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"http/1.1"},
	}), "https://" + l.Addr().String(), nil
}

// serve runs the tasks of a relay: one answers, one watches the store. When
// ctx ends or one of them fails, it drains and waits for both.
func serve(ctx context.Context, cfg *Config, srv *http.Server, l net.Listener, url string, routers *gateway.Gateway) error {
	watch, stopWatch := context.WithCancel(context.WithoutCancel(ctx)) // goes on while links are drained
	defer stopWatch()
	ended := make(chan error, 2)
	go func() { ended <- srv.Serve(l) }()       // ends by drain
	go func() { ended <- routers.Run(watch) }() // ends by stopWatch
	cfg.Log.Info("serving", "url", url, "data", cfg.Data, "version", cfg.Version)

	var err error
	if cfg.Ready != nil {
		err = cfg.Ready(url)
	}
	running := 2
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
