package command

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"github.com/urfave/cli/v2"
)

func (p *program) serveCommand() *cli.Command {
	return &cli.Command{
		Name:  "serve",
		Usage: "serve routers and backends until told to stop",
		Description: `Plain HTTP is for this machine only: on any other address the relay wants a
certificate. On SIGTERM it finishes what it is doing, within ten seconds.

Examples:

   netpilot-relay serve
   netpilot-relay serve --listen :443 --tls-cert relay.crt --tls-key relay.key --data /var/lib/netpilot-relay`,
		Flags: []cli.Flag{
			dataFlag(),
			&cli.StringFlag{Name: "listen", Usage: "listen on `ADDRESS`; port 0 takes any free one",
				Value: "127.0.0.1:8080", EnvVars: []string{"NETPILOT_RELAY_LISTEN"}},
			&cli.StringFlag{Name: "tls-cert", Usage: "certificate chain in PEM `FILE`", EnvVars: []string{"NETPILOT_RELAY_TLS_CERT"}},
			&cli.StringFlag{Name: "tls-key", Usage: "its private key in PEM `FILE`", EnvVars: []string{"NETPILOT_RELAY_TLS_KEY"}},
			&cli.StringFlag{Name: "log-level", Usage: "log `LEVEL` and above: debug, info, warn or error",
				Value: "info", EnvVars: []string{"NETPILOT_RELAY_LOG_LEVEL"}},
			&cli.StringFlag{Name: "ready-file", Usage: "write the URL into `FILE` when serving"},
		},
		Action: p.serve,
	}
}

func (p *program) serve(c *cli.Context) error {
	if err := arguments(c); err != nil {
		return err
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.String("log-level"))); err != nil {
		return misusef(c, "--log-level is debug, info, warn or error, not %q", c.String("log-level"))
	}
	cfg := Config{
		Version: p.version,
		Listen:  c.String("listen"),
		TLSCert: c.String("tls-cert"),
		TLSKey:  c.String("tls-key"),
		Log:     slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: level})),
	}
	cfg.Data, _ = dataDir(c)
	if err := cfg.check(); err != nil {
		return misusef(c, "%s", err)
	}
	if file := c.String("ready-file"); file != "" {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the old ready file: %w", err)
		}
		cfg.Ready = func(url string) error { return writeReady(file, url) }
	}
	return Serve(c.Context, cfg)
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
