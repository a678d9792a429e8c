package command

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/netpilot/netpilot/pkg/usage"
)

// healthWithin bounds the whole check: below the 30 s after which Docker gives
// one up, but a busy machine is not an ill relay.
const healthWithin = 20 * time.Second

func (p *program) healthCommand() *cli.Command {
	flags := append([]cli.Flag{
		&cli.StringFlag{Name: "config", Usage: "read options from `FILE` (TOML)"},
		dataFlag(),
	}, serveFlags()...)
	for _, f := range flags { // all are taken, as serve takes them; few matter here
		switch name := f.Names()[0]; f := f.(type) {
		case *cli.StringFlag:
			f.Hidden = name != "config" && name != "listen" && name != "tls-cert" && name != "tls-key" && name != "acme-domain" && name != "behind-proxy"
		case *cli.BoolFlag:
			f.Hidden = true
		case *cli.IntFlag:
			f.Hidden = true
		case *cli.Float64Flag:
			f.Hidden = true
		}
	}
	return &cli.Command{
		Name:  "health",
		Usage: "ask the relay of this machine whether it is healthy",
		Description: `It finds the relay by the options that serve was started with, in the same
places: command line, environment, file. Exit code 0 if it answers.

Examples:

   netpilot-relay health
   netpilot-relay health --config /etc/netpilot-relay.toml`,
		Flags:  withEnv(flags),
		Action: p.health,
	}
}

func (p *program) health(c *cli.Context) error {
	if err := arguments(c); err != nil {
		return err
	}
	if err := readConfig(c); err != nil {
		return err
	}
	cfg, err := p.config(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context, healthWithin)
	defer cancel()
	said, err := cfg.askHealth(ctx)
	if err != nil {
		return fmt.Errorf("no healthy relay at %s: %w; see its log, or start one: netpilot-relay serve", cfg.Listen, err)
	}
	_, err = fmt.Fprintln(p.stdout, said)
	return err
}

// askHealth asks the relay that serves with the configuration, and gives what
// it says.
func (cfg *Config) askHealth(ctx context.Context) (string, error) {
	host, port, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return "", err
	}
	if addr, err := netip.ParseAddr(host); host == "" || err == nil && addr.IsUnspecified() {
		host = "127.0.0.1"
	}
	transport := &http.Transport{DisableKeepAlives: true}
	url := "http://" + net.JoinHostPort(host, port) + "/health"
	if cfg.secure() {
		if transport.TLSClientConfig, err = cfg.trust(); err != nil {
			return "", err
		}
		url = "https" + url[len("http"):]
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return "", errors.Unwrap(err) // which repeats the URL
	}
	defer resp.Body.Close()
	var answer struct {
		Success bool
		Data    struct{ Message string }
		Error   struct{ Message string }
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&answer); err != nil {
		return "", fmt.Errorf("what answers is no relay: %s", resp.Status)
	}
	switch {
	case resp.StatusCode == http.StatusForbidden && len(cfg.Proxies) > 0:
		return "The relay answers; only its proxy may ask more", nil
	case !answer.Success:
		return "", fmt.Errorf("it answers %s: %s", resp.Status, usage.Clean(answer.Error.Message, 200))
	}
	return usage.Clean(answer.Data.Message, 200), nil
}

// trust is how the relay's certificate is checked: by the name in it, against
// the system's roots and the relay's own file.
func (cfg *Config) trust() (*tls.Config, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if len(cfg.TLS.ACMEDomains) > 0 {
		return &tls.Config{RootCAs: pool, ServerName: cfg.TLS.ACMEDomains[0]}, nil
	}
	text, err := os.ReadFile(cfg.TLS.CertFile)
	if err != nil {
		return nil, fmt.Errorf("read the relay's certificate: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(cfg.TLS.CertFile, cfg.TLS.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("read the relay's certificate: %w", err)
	}
	pool.AppendCertsFromPEM(text)
	name := ""
	switch leaf := pair.Leaf; {
	case len(leaf.DNSNames) > 0:
		name = strings.Replace(leaf.DNSNames[0], "*", "relay", 1)
	case len(leaf.IPAddresses) > 0:
		name = leaf.IPAddresses[0].String()
	}
	return &tls.Config{RootCAs: pool, ServerName: name}, nil
}
