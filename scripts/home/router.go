// Package home is, for tests, the router of a simulated home with a relay: its
// files, its past, a simulated nlbwmon and the real agent.
package home

import (
	"bytes"
	"context"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	agent "github.com/netpilot/netpilot/agent/command"
	"github.com/netpilot/netpilot/agent/config"
	"github.com/netpilot/netpilot/agent/history"
	"github.com/netpilot/netpilot/agent/ledger"
	"github.com/netpilot/netpilot/agent/local"
	"github.com/netpilot/netpilot/pkg/nlbwmon/nlbwmontest"
	"github.com/netpilot/netpilot/pkg/usage"
)

// Zone is the router's.
const Zone = "CET-1CEST,M3.5.0,M10.5.0/3"

// soon bounds every wait for something that is about to happen, on a machine
// that has other things to do.
const soon = 4 * time.Minute

// Hostile is a name that a device gave itself: where it is taken for HTML, a
// script runs.
const Hostile = `<img/src=x/onerror=window.hurt=1>`

// LAN is one device.
type LAN struct {
	MAC, IP, Name string
	rx, tx        uint64 // in three hours of its history
	rxNow, txNow  uint64 // at each refresh
}

// Devices are those of the home.
func Devices() []LAN {
	return []LAN{
		{"02:77:00:00:00:11", "192.168.1.11", "laptop", 410 << 20, 52 << 20, 900_000, 120_000},
		{"00:1b:63:00:00:12", "192.168.1.12", "tv", 1300 << 20, 18 << 20, 2_400_000, 30_000},
		{"02:77:00:00:00:13", "192.168.1.13", Hostile, 95 << 20, 210 << 20, 40_000, 600_000},
		{"02:77:00:00:00:14", "192.168.1.14", "", 3 << 20, 1 << 20, 0, 0},
	}
}

// Router is a fake router: its files, a simulated nlbwmon and, when it is
// started, the real daemon. Its clock goes as fast as ours.
type Router struct {
	Root string
	From time.Time // by our clock, when the router's began
	Log  *Log      // of the daemon
	Stop func()    // ends the daemon

	t     *testing.T
	began time.Time // by the router's clock
	clock agent.Clock
}

// Log is text that one writes while another reads it.
type Log struct {
	mu  sync.Mutex // guards below
	buf bytes.Buffer
}

// Write implements io.Writer.
func (b *Log) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *Log) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// ClockFrom is a router's clock that showed began when ours showed from.
func ClockFrom(began, from time.Time) agent.Clock {
	return agent.Clock{
		Now: func() time.Time { return began.Add(time.Since(from)) },
		Instant: func() (ledger.Instant, error) {
			return ledger.Instant{Boot: "simulated", Since: time.Hour + time.Since(from)}, nil
		},
	}
}

// Build is the agent's.
func Build() agent.Build { return agent.Build{Version: "1.2.3", Time: "1700000000"} }

// New makes a router whose clock shows began now.
func New(t *testing.T, began time.Time) *Router {
	t.Helper()
	root, err := os.MkdirTemp("", "np") // short, for the sockets in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	from := time.Now()
	r := &Router{Root: root, From: from, Log: new(Log), Stop: func() {}, t: t, began: began, clock: ClockFrom(began, from)}
	options, err := os.ReadFile("../../openwrt-package/netpilot-agent/files/netpilot.config")
	if err != nil {
		t.Fatal(err)
	}
	leases, arp := "", "IP address       HW type     Flags       HW address            Mask     Device\n"
	for i, d := range Devices() {
		if d.Name != "" {
			leases += "1900000000 " + d.MAC + " " + d.IP + " " + d.Name + " *\n"
		}
		if i < 3 {
			arp += d.IP + "     0x1         0x2         " + d.MAC + "     *        br-lan\n"
		}
	}
	for path, text := range map[string]string{
		"sys/class/net/br-lan/address": "02:77:00:00:00:01\n",
		"etc/TZ":                       Zone + "\n",
		"etc/config/nlbwmon":           "config nlbwmon\n\toption refresh_interval 1s\n\toption database_limit 10000\n",
		"etc/config/network":           "config interface 'lan'\n\toption device 'br-lan'\n",
		"etc/config/netpilot":          string(options),
		"proc/100/comm":                "nlbwmon\n",
		"proc/100/stat":                "100 (nlbwmon) S 1 1 1 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 4000 1000 200\n",
		"var/lib/nlbwmon/.keep":        "",
		"var/run/.keep":                "",
		"tmp/dhcp.leases":              leases,
		"proc/net/arp":                 arp,
	} {
		r.Write(path, text, 0o644)
	}
	t.Cleanup(func() { r.Stop() })
	return r
}

// Path is where a path of the router is on this machine.
func (r *Router) Path(path string) string { return filepath.Join(r.Root, path) }

// Write writes one of the router's files.
func (r *Router) Write(path, text string, mode os.FileMode) {
	r.t.Helper()
	if err := os.MkdirAll(filepath.Dir(r.Path(path)), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(r.Path(path), []byte(text), mode); err != nil {
		r.t.Fatal(err)
	}
}

func (r *Router) record(d LAN, rx, tx uint64) usage.Record {
	mac, err := usage.ParseMAC(d.MAC)
	if err != nil {
		r.t.Fatal(err)
	}
	rec := usage.Record{MAC: mac, Proto: 6, Port: 443, RxBytes: rx, TxBytes: tx, RxPackets: rx / 1400, TxPackets: tx / 1400, Conns: 1}
	rec.SetIP(netip.MustParseAddr(d.IP))
	return rec
}

// Remember fills the history: thirty days in which the evenings are busier,
// the weekends more so, and of which one night is missing.
func (r *Router) Remember() {
	r.t.Helper()
	loc, err := config.Location(Zone)
	if err != nil {
		r.t.Fatal(err)
	}
	store, err := history.Open(history.Options{Dir: r.Path("tmp/netpilot"), FlashDir: r.Path("etc/netpilot/history"), Location: loc})
	if err != nil {
		r.t.Fatal(err)
	}
	const each = 3 * time.Hour
	for at := r.began.Add(-31 * usage.Day).Truncate(each); !at.Add(each).After(r.began); at = at.Add(each) {
		local := at.In(loc)
		busy := uint64(1 + local.Hour()/6)
		if day := local.Weekday(); day == time.Saturday || day == time.Sunday {
			busy *= 2
		}
		span := usage.Range{From: at, To: at.Add(each)}
		if local.Day() == 22 && local.Hour() < 6 {
			if err := store.AddGap(usage.Gap{Range: span, Reason: "the agent did not run"}); err != nil {
				r.t.Fatal(err)
			}
			continue
		}
		var deltas []usage.Record
		for _, d := range Devices() {
			deltas = append(deltas, r.record(d, d.rx*busy, d.tx*busy))
		}
		if err := store.Add(span, deltas); err != nil {
			r.t.Fatal(err)
		}
		if err := store.Advance(span.To); err != nil {
			r.t.Fatal(err)
		}
	}
	if err := store.Close(r.began); err != nil {
		r.t.Fatal(err)
	}
}

// Count starts a simulated nlbwmon whose rows grow four times a second.
func (r *Router) Count() {
	r.t.Helper()
	d, err := nlbwmontest.Start(nlbwmontest.Options{Socket: r.Path("var/run/nlbwmon.sock"), Dir: r.Path("var/lib/nlbwmon"), Now: r.clock.Now})
	if err != nil {
		r.t.Fatal(err)
	}
	grow := func() {
		var rows []usage.Record
		for _, dev := range Devices() {
			rows = append(rows, r.record(dev, dev.rxNow, dev.txNow))
		}
		d.Add(rows)
	}
	grow()
	ctx, cancel := context.WithCancel(context.Background())
	var growing sync.WaitGroup
	growing.Go(func() { // ends with ctx
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				grow()
			}
		}
	})
	r.t.Cleanup(func() {
		cancel()
		growing.Wait()
		if err := d.Close(); err != nil {
			r.t.Error(err)
		}
	})
}

// Run is the agent's command line on this router.
func (r *Router) Run(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer, args ...string) int {
	return agent.RunBy(ctx, r.clock, append([]string{"netpilot-agent", "--root", r.Root}, args...),
		Build(), stdin, stdout, stderr)
}

// Start runs the daemon until the test ends or Stop is called.
func (r *Router) Start() {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan int, 1)
	go func() { ended <- r.Run(ctx, nil, io.Discard, r.Log, "run") }() // ends with ctx
	r.Stop = sync.OnceFunc(func() {
		cancel()
		if code := <-ended; code != 0 {
			r.t.Errorf("daemon: exit code %d: %s", code, r.Log)
		}
	})
	deadline := time.After(soon)
	for {
		if _, err := local.Call(ctx, r.Path(local.Path), "hello", nil); err == nil {
			return
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-deadline:
			r.t.Fatalf("no daemon: %s", r.Log)
		}
	}
}
