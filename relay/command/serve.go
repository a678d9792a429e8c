package command

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/netpilot/netpilot/relay/front"
)

func (p *program) serveCommand() *cli.Command {
	return &cli.Command{
		Name:  "serve",
		Usage: "serve routers and backends until told to stop",
		Description: `Plain HTTP is for this machine only: on any other address the relay wants a
certificate, its own or of the proxy before it. On SIGTERM it finishes what it
is doing, within ten seconds, and tells routers when to come back.

Each option may also stand in the file of --config, by its name, or in the
environment. The command line wins over the environment, that over the file.
There is no option that is a secret.

Examples:

   netpilot-relay serve
   netpilot-relay serve --listen :443 --tls-cert relay.crt --tls-key relay.key --data /var/lib/netpilot-relay
   netpilot-relay serve --listen :443 --acme-domain relay.example
   netpilot-relay serve --listen 10.0.0.5:8080 --behind-proxy 10.0.0.2
   netpilot-relay serve --config /etc/netpilot-relay.toml`,
		Flags: withEnv(append([]cli.Flag{
			&cli.StringFlag{Name: "config", Usage: "read options from `FILE` (TOML)"},
			dataFlag(),
		}, serveFlags()...)),
		Action: p.serve,
	}
}

// serveFlags are what the sample of the configuration file documents.
func serveFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "listen", Usage: "listen on `ADDRESS`; port 0 takes any free one", Value: "127.0.0.1:8080"},
		&cli.StringFlag{Name: "tls-cert", Usage: "certificate chain in PEM `FILE`, read again when it changes"},
		&cli.StringFlag{Name: "tls-key", Usage: "its private key in PEM `FILE`"},
		&cli.StringFlag{Name: "acme-domain", Usage: "get a certificate for `NAME` by ACME, or for several with commas between; accepts the CA's terms"},
		&cli.StringFlag{Name: "acme-cache", Usage: "keep ACME's account and certificates in `DIR`", DefaultText: "acme in the data directory"},
		&cli.StringFlag{Name: "acme-email", Usage: "the CA may write to `ADDRESS`"},
		&cli.StringFlag{Name: "acme-directory", Usage: "ask the CA at `URL`", DefaultText: "Let's Encrypt"},
		&cli.StringFlag{Name: "client-ca", Usage: "routers may show certificates signed by the CA in PEM `FILE`"},
		&cli.BoolFlag{Name: "require-client-cert", Usage: "routers must show one, besides their secret"},
		&cli.StringFlag{Name: "behind-proxy", Usage: "serve plain HTTP to the proxy at `ADDRESS` only; networks and several with commas between are taken too"},
		&cli.StringFlag{Name: "store", Usage: "keep routers' history in `ENGINE`: sqlite, or none to keep nothing of what they used", Value: "sqlite"},
		&cli.Float64Flag{Name: "key-rate", Usage: "answer `N` requests a second of each key; 0 for no limit", Value: 1000},
		&cli.Float64Flag{Name: "address-rate", Usage: "answer `N` requests a second without a good key of each address; 0 for no limit", Value: 10},
		&cli.Float64Flag{Name: "link-rate", Usage: "let `N` routers a second connect, send more away for a while; 0 for no limit", Value: 500},
		&cli.IntFlag{Name: "max-waiting", Usage: "keep at most `N` connections open on which nothing is asked; links of routers do not count", Value: 4096},
		&cli.StringFlag{Name: "audit-keep", Usage: "keep the audit log for `TIME`, like 90d", Value: "365d"},
		&cli.IntFlag{Name: "audit-rows", Usage: "keep at most `N` rows of it", Value: 1_000_000},
		&cli.StringFlag{Name: "metrics-listen", Usage: "answer GET /metrics without a key on `ADDRESS`, too; on --listen it wants a key of scope admin"},
		&cli.IntFlag{Name: "metrics-usage", Usage: "answer GET /metrics/usage, too, where /metrics is: counters of at most `N` devices; 0 for not"},
		&cli.StringFlag{Name: "legacy-upstream", Usage: "pass what the relay has no path for on to the old commands server at `URL`"},
		&cli.BoolFlag{Name: "shadow", Usage: "compare the relay's answers on the old server's paths with the old server's; log and count differences"},
		&cli.BoolFlag{Name: "no-dashboard", Usage: "serve no dashboard at /; what browsers ask for there is then answered as any other path"},
		&cli.StringFlag{Name: "log-level", Usage: "log `LEVEL` and above: debug, info, warn or error", Value: "info"},
		&cli.StringFlag{Name: "log-format", Usage: "log as `FORMAT`: text or json", Value: "text"},
		&cli.StringFlag{Name: "ready-file", Usage: "write the URL into `FILE` when serving"},
	}
}

func (p *program) serve(c *cli.Context) error {
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
	if file := c.String("ready-file"); file != "" {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the old ready file: %w", err)
		}
		cfg.Ready = func(url string) error { return writeReady(file, url) }
	}
	return Serve(c.Context, cfg)
}

// config checks the flags.
func (p *program) config(c *cli.Context) (Config, error) {
	log, err := logger(c, p.stderr)
	if err != nil {
		return Config{}, err
	}
	cfg := Config{
		Version: p.version,
		Listen:  c.String("listen"),
		Legacy:  c.String("legacy-upstream"),
		Shadow:  c.Bool("shadow"),
		TLS: front.TLS{
			CertFile: c.String("tls-cert"), KeyFile: c.String("tls-key"),
			ACMEDomains: list(c, "acme-domain"), ACMECache: c.String("acme-cache"),
			ACMEEmail: c.String("acme-email"), ACMEDirectory: c.String("acme-directory"),
			ClientCAFile: c.String("client-ca"), Log: log,
		},
		RequireClientCert: c.Bool("require-client-cert"),
		NoDashboard:       c.Bool("no-dashboard"),
		NoHistory:         c.String("store") == "none",
		KeyRate:           c.Float64("key-rate"),
		AddressRate:       c.Float64("address-rate"),
		LinkRate:          c.Float64("link-rate"),
		MaxWaiting:        c.Int("max-waiting"),
		AuditRows:         c.Int("audit-rows"),
		Metrics:           c.String("metrics-listen"),
		MetricsUsage:      c.Int("metrics-usage"),
		Log:               log,
	}
	if engine := c.String("store"); engine != "sqlite" && engine != "none" {
		return cfg, misusef(c, "--store is sqlite or none, not %q", engine)
	}
	if cfg.Proxies, err = front.ParseProxies(c.String("behind-proxy")); err != nil {
		return cfg, misusef(c, "--behind-proxy: %s", err)
	}
	if cfg.AuditKeep, err = span(c, "audit-keep"); err != nil {
		return cfg, err
	}
	cfg.Data, _ = dataDir(c)
	if cfg.TLS.ACMECache == "" {
		cfg.TLS.ACMECache = filepath.Join(cfg.Data, "acme")
	}
	if err := cfg.check(); err != nil {
		return cfg, misusef(c, "%s", err)
	}
	return cfg, nil
}

// logger makes the log of --log-level and --log-format.
func logger(c *cli.Context, w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.String("log-level"))); err != nil {
		return nil, misusef(c, "--log-level is debug, info, warn or error, not %q", c.String("log-level"))
	}
	options := &slog.HandlerOptions{Level: level}
	switch format := c.String("log-format"); format {
	case "text":
		return slog.New(slog.NewTextHandler(w, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	default:
		return nil, misusef(c, "--log-format is text or json, not %q", format)
	}
}

// writeReady writes the file whole or not at all, for whoever waits for it.
func writeReady(file, url string) error {
	part := file + ".part"
	if err := os.WriteFile(part, []byte(url+"\n"), 0o644); err != nil {
		return fmt.Errorf("write the ready file: %w", err)
	}
	if err := os.Rename(part, file); err != nil {
		return fmt.Errorf("write the ready file: %w", err)
	}
	return nil
}
