// Acme proves that the relay gets its certificate by ACME: it starts Pebble,
// the small CA that Let's Encrypt tests clients with, on loopback, has a relay
// ask it for a certificate (TLS-ALPN-01, RFC 8737), shakes hands, brings up a
// simulated router over wss, calls it, and starts the relay again with the CA
// gone, to see the certificate kept.
//
//	make acme
//
// Pebble comes from the Go module proxy, as a program of its own: nothing of it
// is in what we build. Where it cannot be had, that is said and nothing is
// proven.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/netpilot/netpilot/agent/config"
	"github.com/netpilot/netpilot/agent/uplink"
	"github.com/netpilot/netpilot/pkg/wire"
	"github.com/netpilot/netpilot/scripts/fleet/play"
	"github.com/netpilot/netpilot/scripts/loopback"
)

const (
	pebble = "github.com/letsencrypt/pebble/v2"
	// version of Pebble; any of its second series should do.
	version = "v2.10.1"
	domain  = "relay.example"
	// within bounds each wait: Pebble makes clients wait on purpose.
	within = 2 * time.Minute
)

// errNotHere is why nothing could be proven.
var errNotHere = errors.New("skipped")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch err := run(ctx, os.Args[1:], os.Stdout); {
	case errors.Is(err, errNotHere):
		fmt.Println(err)
	case err != nil && !errors.Is(err, flag.ErrHelp):
		fmt.Fprintln(os.Stderr, "acme:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	f := flag.NewFlagSet("acme", flag.ContinueOnError)
	bin := f.String("bin", "bin/netpilot-relay", "the relay program")
	if err := f.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "netpilot-acme")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	ca, err := fetch(ctx, dir)
	if err != nil {
		return err
	}
	address, release, err := loopback.Hold()
	if err != nil {
		return err
	}
	defer release()
	port := int(netip.MustParseAddrPort(address).Port())
	stopCA, err := ca.start(ctx, port)
	if err != nil {
		return err
	}
	defer stopCA()
	// The relay trusts the CA's own server by this, as by the system's roots.
	if err := os.Setenv("SSL_CERT_FILE", ca.roots); err != nil {
		return err
	}
	p := &proof{ctx: ctx, out: out, bin: *bin, dir: filepath.Join(dir, "relay"), port: port, directory: ca.directory}
	if p.pool, p.caFile, err = ca.issuer(ctx); err != nil {
		return err
	}
	first, err := p.relay()
	if err != nil {
		return err
	}
	stopCA()
	again, err := p.relay()
	if err != nil {
		return fmt.Errorf("with the CA gone: %w", err)
	}
	if !bytes.Equal(first, again) {
		return errors.New("the relay has another certificate after its restart, with the CA gone")
	}
	fmt.Fprintln(out, "with the CA gone the relay starts with the same certificate: ok")
	return nil
}

// authority is Pebble and the DNS that it asks.
type authority struct {
	dir, bin, certs string
	roots           string // PEM file: trusts its own server
	directory       string // URL
	management      string // URL
}

// fetch builds Pebble and says where it is.
func fetch(ctx context.Context, dir string) (*authority, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	a := &authority{dir: dir, bin: filepath.Join(dir, "bin")}
	command := func(name string, args ...string) ([]byte, error) {
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOBIN="+a.bin, "GOFLAGS=-mod=mod", "CGO_ENABLED=0")
		said := new(bytes.Buffer)
		cmd.Stderr = said
		text, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("%w: %s cannot be had: %w: %s", errNotHere, pebble, err, strings.TrimSpace(said.String()))
		}
		return text, nil
	}
	if _, err := command("go", "install", pebble+"/cmd/pebble@"+version, pebble+"/cmd/pebble-challtestsrv@"+version); err != nil {
		return nil, err
	}
	text, err := command("go", "mod", "download", "-json", pebble+"@"+version)
	if err != nil {
		return nil, err
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(text, &module); err != nil {
		return nil, err
	}
	a.certs = filepath.Join(module.Dir, "test", "certs")
	a.roots = filepath.Join(a.certs, "pebble.minica.pem")
	return a, nil
}

// start starts the CA, for which every name is at 127.0.0.1, and challenges
// are answered at port.
func (a *authority) start(ctx context.Context, port int) (stop func(), err error) {
	var local [3]string
	var releases []func()
	release := func() {
		for _, r := range releases {
			r()
		}
	}
	for i := range local {
		address, r, err := loopback.Hold()
		if err != nil {
			release()
			return nil, err
		}
		local[i], releases = address, append(releases, r)
	}
	defer func() {
		if err != nil {
			release()
		}
	}()
	a.directory, a.management = "https://"+local[0]+"/dir", "https://"+local[1]
	settings, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": local[0], "managementListenAddress": local[1], "tlsPort": port, "httpPort": 1,
		"certificate": filepath.Join(a.certs, "localhost", "cert.pem"), "privateKey": filepath.Join(a.certs, "localhost", "key.pem"),
		"profiles": map[string]any{"default": map[string]any{"description": "ninety days", "validityPeriod": 90 * 86400}},
	}})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(a.dir, "pebble.json")
	if err := os.WriteFile(file, settings, 0o600); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(a.dir, "pebble.log"))
	if err != nil {
		return nil, err
	}
	var running []*exec.Cmd
	stop = sync.OnceFunc(func() {
		for _, cmd := range running {
			_ = cmd.Process.Kill() // it keeps nothing
			_ = cmd.Wait()
		}
		_ = log.Close()
		release()
	})
	for _, line := range [][]string{
		{"pebble-challtestsrv", "-http01", "", "-https01", "", "-doh", "", "-tlsalpn01", "", "-management", "", "-dnsserver", local[2], "-defaultIPv6", ""},
		{"pebble", "-config", file, "-dnsserver", local[2]},
	} {
		cmd := exec.CommandContext(ctx, filepath.Join(a.bin, line[0]), line[1:]...)
		cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1")
		cmd.Stdout, cmd.Stderr = log, log
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // no orphan
		if err := cmd.Start(); err != nil {
			stop()
			return nil, err
		}
		running = append(running, cmd)
	}
	return stop, nil
}

// issuer is the root that signs the CA's certificates, made anew at each of
// its starts, as a pool and as a file.
func (a *authority) issuer(ctx context.Context) (*x509.CertPool, string, error) {
	own, err := os.ReadFile(a.roots)
	if err != nil {
		return nil, "", err
	}
	trust := x509.NewCertPool()
	trust.AppendCertsFromPEM(own)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trust}}, Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	var text []byte
	err = retry(ctx, func() error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.management+"/roots/0", nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		text, err = io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		return err
	})
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(a.dir, "pebble.log"))
		return nil, "", fmt.Errorf("ask Pebble for its root: %w; it said: %.2000s", err, log)
	}
	block, _ := pem.Decode(text)
	pool, file := x509.NewCertPool(), filepath.Join(a.dir, "issuer.pem")
	if block == nil || !pool.AppendCertsFromPEM(text) {
		return nil, "", fmt.Errorf("the root that Pebble gives is none: %.100q", text)
	}
	return pool, file, os.WriteFile(file, text, 0o600)
}

// proof is one relay, started once or more.
type proof struct {
	ctx       context.Context
	out       io.Writer
	bin, dir  string
	port      int
	directory string // of the CA
	pool      *x509.CertPool
	caFile    string
	started   bool
	identity  config.Identity
	key       string
}

// relay starts the relay, shakes hands with it, calls a router through it, and
// stops it. It gives the certificate.
func (p *proof) relay() (leaf []byte, err error) {
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(p.ctx, within)
	defer cancel()
	relay, err := play.StartRelay(ctx, p.bin, p.dir, "--listen", p.addr(), "--acme-domain", domain, "--acme-directory", p.directory)
	if err != nil {
		return nil, err
	}
	defer relay.Stop()
	began := time.Now()
	err = retry(ctx, func() error {
		d := tls.Dialer{NetDialer: &net.Dialer{Timeout: within}, Config: &tls.Config{ServerName: domain, RootCAs: p.pool}}
		conn, err := d.DialContext(ctx, "tcp", p.addr())
		if err != nil {
			return err
		}
		defer conn.Close()
		cert := conn.(*tls.Conn).ConnectionState().PeerCertificates[0]
		leaf = cert.Raw
		fmt.Fprintf(p.out, "certificate for %v of %q after %v: ok\n", cert.DNSNames, cert.Issuer.CommonName, time.Since(began).Round(time.Millisecond))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("shake hands: %w", err)
	}
	if !p.started {
		p.started = true
		if p.key, err = relay.NewKey("acme"); err != nil {
			return nil, err
		}
		if err := p.enrol(ctx); err != nil {
			return nil, err
		}
	}
	return leaf, p.call(ctx)
}

func (p *proof) addr() string { return fmt.Sprintf("127.0.0.1:%d", p.port) }

// dial finds the domain on this machine, whatever DNS says of it.
func (p *proof) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, p.addr())
}

func (p *proof) url() string { return fmt.Sprintf("https://%s:%d", domain, p.port) }

func (p *proof) client() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: p.dial, TLSClientConfig: &tls.Config{RootCAs: p.pool}}, Timeout: 30 * time.Second}
}

// enrol has the simulated router redeem a token over the certificate.
func (p *proof) enrol(ctx context.Context) error {
	token, err := exec.CommandContext(ctx, p.bin, "enrolment", "create", "--data", p.dir).Output()
	if err != nil {
		return fmt.Errorf("make a token: %w", err)
	}
	p.identity.RouterID = (&play.Network{}).ID(0)
	if p.identity.Relay, err = config.ParseRelay(p.url()); err != nil {
		return err
	}
	body, err := json.Marshal(wire.EnrolRequest{Token: strings.TrimSpace(string(token)), RouterID: string(p.identity.RouterID)})
	if err != nil {
		return err
	}
	client := p.client()
	defer client.CloseIdleConnections()
	resp, err := client.Post(p.url()+wire.EnrolPath, "application/json", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("enrol: %w", err)
	}
	defer resp.Body.Close()
	var reply wire.EnrolReply
	if err := json.NewDecoder(resp.Body).Decode(&reply); err != nil || reply.Secret == "" {
		return fmt.Errorf("enrol: %s, %w", resp.Status, err)
	}
	p.identity.Secret = config.Secret(reply.Secret)
	return nil
}

// call brings the simulated router's link up over wss and asks it by REST.
func (p *proof) call(ctx context.Context) error {
	up, stop := context.WithCancel(ctx)
	ready := make(chan struct{}, 1)
	link := uplink.New(uplink.Options{
		Client:   uplink.Client{Version: "0.0.0-simulator", CAFile: p.caFile, BuildTime: time.Unix(0, 0), Dial: p.dial},
		Identity: p.identity,
		Hello: func() wire.Hello {
			return wire.Hello{RouterID: string(p.identity.RouterID), Name: "acme", Model: play.Model, AgentVersion: "0.0.0-simulator"}
		},
		Handle: func(context.Context, string, json.RawMessage) (json.RawMessage, error) {
			return json.RawMessage(`{"simulated":"yes"}`), nil
		},
		Log: slog.New(slog.DiscardHandler),
		Follow: func(context.Context, wire.Welcome, func(context.Context, string, json.RawMessage) (json.RawMessage, error)) {
		},
		Welcome: func(wire.Welcome) {
			select {
			case ready <- struct{}{}:
			default:
			}
		},
	})
	var linked sync.WaitGroup
	linked.Go(func() { _ = link.Run(up) }) // never fails
	defer linked.Wait()
	defer stop()
	select {
	case <-ready:
	case <-ctx.Done():
		return fmt.Errorf("the router's link did not come up: %w", ctx.Err())
	}
	client := p.client()
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url()+"/api/device-usage/records?routerId="+string(p.identity.RouterID), nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+p.key)
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("call: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || !bytes.Contains(body, []byte(`"simulated":"yes"`)) {
		return fmt.Errorf("call: got %s %.300s, %w", resp.Status, body, err)
	}
	fmt.Fprintln(p.out, "a router's link over wss and a call through it: ok")
	return nil
}

// retry does f until it succeeds, for as long as within.
func retry(ctx context.Context, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}
