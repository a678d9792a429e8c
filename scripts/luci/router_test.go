package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	agent "github.com/netpilot/netpilot/agent/command"
	"github.com/netpilot/netpilot/agent/config"
	"github.com/netpilot/netpilot/agent/history"
	"github.com/netpilot/netpilot/agent/ledger"
	"github.com/netpilot/netpilot/agent/local"
	"github.com/netpilot/netpilot/pkg/nlbwmon/nlbwmontest"
	"github.com/netpilot/netpilot/pkg/uci"
	"github.com/netpilot/netpilot/pkg/usage"
)

const (
	zone = "CET-1CEST,M3.5.0,M10.5.0/3"
	app0 = "../../" + app
)

// began is the router's time at the start: 21:15 on a Thursday in its zone.
var began = time.Date(2026, 11, 26, 20, 15, 0, 0, time.UTC)

// hostile is a name that a device gave itself: where it is taken for HTML, a
// script runs.
const hostile = `<img/src=x/onerror=window.hurt=1>`

type lan struct {
	mac, ip, name string
	rx, tx        uint64 // in three hours of its history
	rxNow, txNow  uint64 // at each refresh
}

func devices() []lan {
	return []lan{
		{"02:77:00:00:00:11", "192.168.1.11", "laptop", 410 << 20, 52 << 20, 900_000, 120_000},
		{"00:1b:63:00:00:12", "192.168.1.12", "tv", 1300 << 20, 18 << 20, 2_400_000, 30_000},
		{"02:77:00:00:00:13", "192.168.1.13", hostile, 95 << 20, 210 << 20, 40_000, 600_000},
		{"02:77:00:00:00:14", "192.168.1.14", "", 3 << 20, 1 << 20, 0, 0},
	}
}

// router is a fake router: its files, a simulated nlbwmon and, when it is
// started, the real daemon. Its clock starts at began and goes as fast as
// ours.
type router struct {
	t     *testing.T
	root  string
	from  time.Time // by our clock, when the router's began
	clock agent.Clock
	stop  func()
	log   *lockedBuffer
}

type lockedBuffer struct {
	mu  sync.Mutex // guards below
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// startEnv holds, for an agent in a process of its own, when the router's clock
// began.
const startEnv = "LUCI_TEST_START"

// clockFrom is the router's clock, if it began at from by ours.
func clockFrom(from time.Time) agent.Clock {
	return agent.Clock{
		Now: func() time.Time { return began.Add(time.Since(from)) },
		Instant: func() (ledger.Instant, error) {
			return ledger.Instant{Boot: "simulated", Since: time.Hour + time.Since(from)}, nil
		},
	}
}

func build() agent.Build { return agent.Build{Version: "1.2.3", Time: "1700000000"} }

func newRouter(t *testing.T) *router {
	t.Helper()
	root, err := os.MkdirTemp("", "np") // short, for the sockets in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	from := time.Now()
	r := &router{t: t, root: root, from: from, clock: clockFrom(from), stop: func() {}, log: new(lockedBuffer)}
	options, err := os.ReadFile("../../openwrt-package/netpilot-agent/files/netpilot.config")
	if err != nil {
		t.Fatal(err)
	}
	leases, arp := "", "IP address       HW type     Flags       HW address            Mask     Device\n"
	for i, d := range devices() {
		if d.name != "" {
			leases += "1900000000 " + d.mac + " " + d.ip + " " + d.name + " *\n"
		}
		if i < 3 {
			arp += d.ip + "     0x1         0x2         " + d.mac + "     *        br-lan\n"
		}
	}
	for path, text := range map[string]string{
		"sys/class/net/br-lan/address": "02:77:00:00:00:01\n",
		"etc/TZ":                       zone + "\n",
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
		r.write(path, text, 0o644)
	}
	t.Cleanup(func() { r.stop() })
	return r
}

func (r *router) path(path string) string { return filepath.Join(r.root, path) }

func (r *router) write(path, text string, mode os.FileMode) {
	r.t.Helper()
	if err := os.MkdirAll(filepath.Dir(r.path(path)), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(r.path(path), []byte(text), mode); err != nil {
		r.t.Fatal(err)
	}
}

func (r *router) record(d lan, rx, tx uint64) usage.Record {
	mac, err := usage.ParseMAC(d.mac)
	if err != nil {
		r.t.Fatal(err)
	}
	rec := usage.Record{MAC: mac, Proto: 6, Port: 443, RxBytes: rx, TxBytes: tx, RxPackets: rx / 1400, TxPackets: tx / 1400, Conns: 1}
	rec.SetIP(netip.MustParseAddr(d.ip))
	return rec
}

// remember fills the history: thirty days in which the evenings are busier,
// the weekends more so, and of which one night is missing.
func (r *router) remember() {
	r.t.Helper()
	loc, err := config.Location(zone)
	if err != nil {
		r.t.Fatal(err)
	}
	store, err := history.Open(history.Options{Dir: r.path("tmp/netpilot"), FlashDir: r.path("etc/netpilot/history"), Location: loc})
	if err != nil {
		r.t.Fatal(err)
	}
	const each = 3 * time.Hour
	for at := began.Add(-31 * usage.Day).Truncate(each); !at.Add(each).After(began); at = at.Add(each) {
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
		for _, d := range devices() {
			deltas = append(deltas, r.record(d, d.rx*busy, d.tx*busy))
		}
		if err := store.Add(span, deltas); err != nil {
			r.t.Fatal(err)
		}
		if err := store.Advance(span.To); err != nil {
			r.t.Fatal(err)
		}
	}
	if err := store.Close(began); err != nil {
		r.t.Fatal(err)
	}
}

// count starts a simulated nlbwmon whose rows grow four times a second.
func (r *router) count() {
	r.t.Helper()
	d, err := nlbwmontest.Start(nlbwmontest.Options{Socket: r.path("var/run/nlbwmon.sock"), Dir: r.path("var/lib/nlbwmon"), Now: r.clock.Now})
	if err != nil {
		r.t.Fatal(err)
	}
	grow := func() {
		var rows []usage.Record
		for _, dev := range devices() {
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

// run is the agent's command line on this router.
func (r *router) run(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer, args ...string) int {
	return agent.RunBy(ctx, r.clock, append([]string{"netpilot-agent", "--root", r.root}, args...),
		build(), stdin, stdout, stderr)
}

// start runs the daemon until the test ends or stop is called.
func (r *router) start() {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan int, 1)
	go func() { ended <- r.run(ctx, nil, io.Discard, r.log, "run") }() // ends with ctx
	r.stop = sync.OnceFunc(func() {
		cancel()
		if code := <-ended; code != 0 {
			r.t.Errorf("daemon: exit code %d: %s", code, r.log)
		}
	})
	deadline := time.After(soon)
	for {
		if _, err := local.Call(ctx, r.path(local.Path), "hello", nil); err == nil {
			return
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-deadline:
			r.t.Fatalf("no daemon: %s", r.log)
		}
	}
}

// bridge serves the page and plays uhttpd's ubus over HTTP: calls of object
// netpilot go to the real plugin, those of uci to the router's file, and the
// package's own ACL says who may what.
type bridge struct {
	*router
	*httptest.Server

	mu     sync.Mutex // guards below
	absent bool       // the plugin is not installed
}

func (r *router) serve() *bridge {
	b := &bridge{router: r}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /ubus", b.ubus)
	mux.Handle("GET /luci-static/", http.FileServer(http.Dir(app0+"/htdocs")))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, req *http.Request) { http.ServeFile(w, req, "testdata/standin.html") })
	mux.HandleFunc("GET /standin.js", func(w http.ResponseWriter, req *http.Request) { http.ServeFile(w, req, "testdata/standin.js") })
	b.Server = httptest.NewServer(mux)
	r.t.Cleanup(b.Close)
	return b
}

// setAbsent takes the plugin away, or puts it back.
func (b *bridge) setAbsent(absent bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.absent = absent
}

// page is the address of a view as a role sees it.
func (b *bridge) page(view, role string) string {
	return b.URL + "/?view=netpilot/" + view + "&as=" + role
}

// ubus' own codes.
const (
	ubusOK       = 0
	ubusNoObject = 4
	ubusDenied   = 6
	ubusFailed   = 9
)

func (b *bridge) ubus(w http.ResponseWriter, req *http.Request) {
	var call struct {
		ID     int
		Params [4]json.RawMessage
	}
	if err := json.NewDecoder(req.Body).Decode(&call); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var role, object, method string
	for i, v := range []*string{&role, &object, &method} {
		if err := json.Unmarshal(call.Params[i], v); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	code, data := b.answer(req.Context(), role, object, method, call.Params[3])
	result := []any{code}
	if data != nil {
		result = append(result, data)
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(map[string]any{"jsonrpc": "2.0", "id": call.ID, "result": result}); err != nil && req.Context().Err() == nil {
		b.t.Errorf("answer of %s/%s: %v", object, method, err)
	}
}

// acl is what the package grants.
type acl struct {
	Read, Write struct {
		Ubus map[string][]string
		UCI  []string
	}
}

func readACL(t *testing.T) acl {
	t.Helper()
	text, err := os.ReadFile(app0 + "/root/usr/share/rpcd/acl.d/luci-app-netpilot.json")
	if err != nil {
		t.Fatal(err)
	}
	var file map[string]acl
	if err := json.Unmarshal(text, &file); err != nil || len(file) != 1 {
		t.Fatalf("%v: %s", err, text)
	}
	return file["luci-app-netpilot"]
}

func (b *bridge) may(role, object, method string) bool {
	a := readACL(b.t)
	if object == "uci" {
		return method == "get" && slices.Contains(a.Read.UCI, "netpilot") || role == "owner" && slices.Contains(a.Write.UCI, "netpilot")
	}
	return slices.Contains(a.Read.Ubus[object], method) || role == "owner" && slices.Contains(a.Write.Ubus[object], method)
}

func (b *bridge) answer(ctx context.Context, role, object, method string, params json.RawMessage) (int, any) {
	b.mu.Lock()
	absent := b.absent
	b.mu.Unlock()
	switch {
	case !b.may(role, object, method):
		return ubusDenied, nil
	case object == "uci":
		return b.uci(method, params)
	case absent:
		return ubusNoObject, nil
	}
	// rpcd adds who asks.
	with := strings.Replace(string(params), "{", `{"ubus_rpc_session":"0123456789abcdef0123456789abcdef",`, 1)
	if string(params) == "{}" {
		with = `{"ubus_rpc_session":"0123456789abcdef0123456789abcdef"}`
	}
	// A process for each call, as rpcd starts one.
	self, err := os.Executable()
	if err != nil {
		b.t.Error(err)
		return ubusFailed, nil
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, self, "--root", b.root, "rpcd", "call", method)
	cmd.Env = append(os.Environ(), startEnv+"="+strconv.FormatInt(b.from.UnixNano(), 10))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(with), &stdout, &stderr
	if err := cmd.Run(); ctx.Err() != nil {
		return ubusFailed, nil // the page was left
	} else if err != nil || stderr.Len() > 0 {
		b.t.Errorf("%s %s: %v: %s", method, params, err, stderr.String())
		return ubusFailed, nil
	}
	return ubusOK, json.RawMessage(stdout.Bytes())
}

// uci plays what rpcd's uci object does with /etc/config/netpilot.
func (b *bridge) uci(method string, params json.RawMessage) (int, any) {
	var p struct {
		Config, Section, Option string
		Values                  map[string]string
	}
	if err := json.Unmarshal(params, &p); err != nil || p.Config != "netpilot" {
		return ubusFailed, nil
	}
	path := b.path(config.Path)
	switch method {
	case "get":
		file, err := uci.Load(path)
		if err != nil {
			return ubusFailed, nil
		}
		values := make(map[string]map[string]string)
		for _, s := range file.Sections {
			values[s.Name] = make(map[string]string)
			for _, o := range s.Options {
				values[s.Name][o.Name] = o.Values[len(o.Values)-1]
			}
		}
		return ubusOK, map[string]any{"values": values}
	case "set", "delete":
		if method == "delete" {
			p.Values = map[string]string{p.Option: ""}
		}
		err := uci.Revise(path, func(text *uci.Text) error {
			for option, value := range p.Values {
				if err := text.Set(text.File.Section("agent", p.Section), option, value); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.t.Errorf("uci %s: %v", params, err)
			return ubusFailed, nil
		}
	}
	return ubusOK, nil
}
