package home

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	relay "github.com/netpilot/netpilot/relay/command"
	"github.com/netpilot/netpilot/scripts/loopback"
)

// Relay is one that serves on loopback until the test ends or Stop is called.
type Relay struct {
	URL  string
	Data string // its data directory
	Stop func()

	t       *testing.T
	address string // also when it does not serve
	changes []func(*relay.Config)
}

// NewRelay starts a relay with a data directory of its own, configured as the
// changes say.
func NewRelay(t *testing.T, changes ...func(*relay.Config)) *Relay {
	t.Helper()
	r := &Relay{t: t, address: Reserve(t), changes: changes, Data: filepath.Join(t.TempDir(), "relay")}
	r.Serve()
	t.Cleanup(func() { r.Stop() })
	return r
}

// Reserve takes an address of loopback that nobody else gets until the test
// ends: who calls while the relay is away is refused, and the relay finds its
// place again.
func Reserve(t testing.TB) string {
	t.Helper()
	address, release, err := loopback.Hold()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return address
}

// Serve starts it, at first or after Stop, at the same address.
func (r *Relay) Serve() {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan string, 1), make(chan error, 1)
	cfg := relay.Config{
		Version: "1.2.3", Listen: r.address, Data: r.Data, Log: slog.New(slog.DiscardHandler), Drain: time.Second,
		Ready: func(url string) error { ready <- url; return nil },
	}
	for _, change := range r.changes {
		change(&cfg)
	}
	go func() { ended <- relay.Serve(ctx, cfg) }() // ends with ctx
	r.Stop = func() {
		r.Stop = func() {}
		cancel()
		if err := <-ended; err != nil {
			r.t.Errorf("relay: %v", err)
		}
	}
	select {
	case r.URL = <-ready:
	case err := <-ended:
		cancel()
		r.Stop = func() {}
		r.t.Fatalf("relay: %v", err)
	}
}

// Admin runs one of netpilot-relay's commands and returns what it printed.
func (r *Relay) Admin(args ...string) string {
	r.t.Helper()
	var out, complaints bytes.Buffer
	args = slices.Concat([]string{"netpilot-relay"}, args[:2], []string{"--data", r.Data}, args[2:])
	if exit := relay.Run(context.Background(), "1.2.3", args, strings.NewReader(""), &out, &complaints); exit != 0 {
		r.t.Fatalf("%s: exit code %d: %s", args, exit, complaints.String())
	}
	return strings.TrimSpace(out.String())
}
