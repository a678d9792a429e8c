package command

import (
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/netpilot/netpilot/relay/front"
)

// health finds the relay by the options of serve, checks its certificate, and
// says what is wrong.
func TestHealth(t *testing.T) {
	ask := func(t *testing.T, what string, code int, says string, args ...string) {
		t.Helper()
		got, stdout, stderr := run(t, append([]string{"health"}, args...)...)
		if got != code || !strings.Contains(stdout+stderr, says) {
			t.Errorf("%s: got exit code %d, %s%s, want %d and %q", what, got, stdout, stderr, code, says)
		}
	}
	addr := func(r *relay) string { return r.url[strings.Index(r.url, "://")+3:] }
	t.Run("plain", func(t *testing.T) {
		r := start(t, Config{Data: t.TempDir()})
		ask(t, "plain", exitDone, "Server is healthy", "--listen", addr(r))
		_, port, _ := net.SplitHostPort(addr(r))
		ask(t, "any address", exitDone, "Server is healthy", "--listen", ":"+port, "--behind-proxy", "10.0.0.2")
		t.Setenv("NETPILOT_RELAY_LISTEN", addr(r))
		ask(t, "by the environment", exitDone, "Server is healthy")
	})
	t.Run("TLS", func(t *testing.T) {
		dir := t.TempDir()
		cert, key, _ := selfSigned(t, dir)
		r := start(t, Config{Data: dir, TLS: front.TLS{CertFile: cert, KeyFile: key, Log: slog.New(slog.DiscardHandler)}})
		ask(t, "its certificate", exitDone, "Server is healthy", "--listen", addr(r), "--tls-cert", cert, "--tls-key", key)
		other, otherKey, _ := selfSigned(t, t.TempDir())
		ask(t, "another certificate", exitFailed, "netpilot-relay serve", "--listen", addr(r), "--tls-cert", other, "--tls-key", otherKey)
		ask(t, "plain", exitFailed, "what answers is no relay", "--listen", addr(r))
	})
	t.Run("proxy", func(t *testing.T) {
		proxies, err := front.ParseProxies("10.0.0.2")
		if err != nil {
			t.Fatal(err)
		}
		r := start(t, Config{Data: t.TempDir(), Proxies: proxies})
		ask(t, "behind it", exitDone, "only its proxy", "--listen", addr(r), "--behind-proxy", "10.0.0.2")
		ask(t, "without it", exitFailed, "403", "--listen", addr(r))
	})
	// Not a port that was free a moment ago: another test may get that.
	ask(t, "nobody there", exitFailed, "see its log, or start one", "--listen", "127.0.0.1:1")
	ask(t, "misuse", exitMisuse, "one argument too many", "now")
}
