package method

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/netpilot/netpilot/agent/baseline"
	"github.com/netpilot/netpilot/agent/config"
	"github.com/netpilot/netpilot/agent/identity"
	"github.com/netpilot/netpilot/agent/live"
	"github.com/netpilot/netpilot/agent/source"
	"github.com/netpilot/netpilot/agent/truth"
	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/nlbwmon/nlbwmontest"
	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
)

const recordings = "../../pkg/nlbwmon/testdata/recordings/"

type nobody struct{}

func (nobody) Identity(usage.MAC, time.Time) usage.Identity { return usage.Identity{} }
func (nobody) Hostname(usage.MAC) string                    { return "" }
func (nobody) IPs(usage.MAC) []netip.Addr                   { return nil }

// named gives every device the same long name, worst in JSON.
type named struct{ nobody }

func (named) Identity(usage.MAC, time.Time) usage.Identity {
	worst := strings.Repeat("\"", usage.MaxName)
	return usage.Identity{Hostname: worst, Alias: worst, Vendor: worst, Group: worst, Category: "streaming", NameSource: usage.NameOdhcpd}
}

// nobodyThere is a door whose other end takes nothing.
type nobodyThere struct{}

func (nobodyThere) Notify(string, json.RawMessage) {}
func (nobodyThere) Done() <-chan struct{}          { return nil }

// newAgent is an agent on a router with an nlbwmon that plays a recording.
// With recording "" there is none.
func newAgent(t *testing.T, recording string) (*Agent, *nlbwmontest.Daemon) {
	t.Helper()
	dir, err := os.MkdirTemp("", "mt") // short, as a socket's path must be
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	a := &Agent{
		Router: &source.Router{
			SnapshotPath: filepath.Join(dir, "0.db"), SocketPath: filepath.Join(dir, "nlbwmon.sock"), LockPath: filepath.Join(dir, "lock"),
			NlbwPath: filepath.Join(dir, "nlbw"), DatabaseDir: dir, Refresh: 30 * time.Second, Location: time.UTC, Now: time.Now,
		},
		Protocols: recordings + "protocols",
		Services:  func() (*nlbwmon.Protocols, error) { return nlbwmon.LoadProtocols(recordings + "protocols") },
		Names:     func() (usage.Names, error) { return nobody{}, nil },
		Status:    func(context.Context) Status { return Status{Version: "1.2.3", Warnings: []string{}} },
		Hello:     func() wire.Hello { return wire.Hello{AgentVersion: "1.2.3"} },
		Limit:     10_000,
		Now:       time.Now,
	}
	a.Baseline = &baseline.Store{Path: filepath.Join(dir, "reset"), Now: time.Now, Boot: func() string { return "boot" }}
	if err := a.Baseline.Load(); err != nil {
		t.Fatal(err)
	}
	keeper := identity.Open(identity.Options{Root: dir, Now: time.Now})
	t.Cleanup(func() { _ = keeper.Close() })
	a.Devices = func() *identity.Keeper { return keeper }
	if recording == "" {
		return a, nil
	}
	opts, err := nlbwmontest.FromRecording(recordings+recording, dir)
	if err != nil {
		t.Fatal(err)
	}
	a.Router.Order = opts.Order
	d, err := nlbwmontest.Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	freshen(t, a, d)
	return a, d
}

// freshen makes nlbwmon write its snapshot now.
func freshen(t *testing.T, a *Agent, d *nlbwmontest.Daemon) {
	t.Helper()
	now := time.Now()
	if err := errors.Join(d.Refresh(), os.Chtimes(a.Router.SnapshotPath, now, now)); err != nil {
		t.Fatal(err)
	}
}

// call calls a method that must answer, into v.
func call(t *testing.T, a *Agent, access Access, name, params string, v any) {
	t.Helper()
	result, err := New(a).Call(t.Context(), access, name, json.RawMessage(params))
	if err != nil {
		t.Fatalf("%s %s: %v", name, params, err)
	}
	if len(result) > wire.MaxResult || !json.Valid(result) {
		t.Fatalf("%s %s: got %d bytes, valid %t", name, params, len(result), json.Valid(result))
	}
	if err := json.Unmarshal(result, v); err != nil {
		t.Fatalf("%s %s: %v", name, params, err)
	}
}

// TestRemoteAccess is who may call what: the relay where remote_access has each
// of its values, and the router's own shell. The closed set stands here again,
// so that a new method is a decision.
func TestRemoteAccess(t *testing.T) {
	a, _ := newAgent(t, "live-lab")
	a.History = fakeHistory{}
	a.Live = live.New(&live.Stream{})
	a.Doctor = func(context.Context) truth.Report { return truth.Report{Healthy: true} }
	table := New(a)
	ctx := wire.WithPeer(t.Context(), nobodyThere{})
	const (
		no = iota
		yes
	)
	rows := []struct {
		method, params         string
		off, read, full, shell int
	}{
		{"audit", ``, no, no, no, yes},
		{"hello", ``, no, yes, yes, yes},
		{"status", ``, no, yes, yes, yes},
		{"doctor", ``, no, yes, yes, yes},
		{"devices.list", ``, no, yes, yes, yes},
		{"devices.set", `{"mac":"02:77:00:00:00:11","alias":"x"}`, no, no, yes, yes},
		{"network.scan", ``, no, yes, yes, yes},
		{"usage.current", ``, no, yes, yes, yes},
		{"usage.device", `{"mac":"02:77:00:00:00:11"}`, no, yes, yes, yes},
		{"usage.records", ``, no, yes, yes, yes},
		{"usage.history", ``, no, yes, yes, yes},
		{"usage.summary", ``, no, yes, yes, yes},
		{"usage.live", `{"action":"stop"}`, no, yes, yes, yes},
		{"usage.reset", `{"id":"1"}`, no, no, yes, yes},
		{"preferences.get", ``, no, yes, yes, yes},
		{"preferences.set", `{}`, no, no, yes, yes},
		{"preferences.set", `{"ca_file":"/x"}`, no, no, no, yes},
		{"router.text", `{"what":"nlbwmon"}`, no, yes, yes, yes},
		{"nlbw", `{"args":["-c","json"]}`, no, yes, yes, yes},
		{"nlbw", `{"args":["-z"]}`, no, no, yes, yes},
		{"nlbw", `{"args":["-c","commit"]}`, no, no, yes, yes},
		{"nlbw", `{"args":["-c","json","-S","/x"]}`, no, no, no, yes},
	}
	a.Root = t.TempDir()
	for _, dir := range []string{"etc/config", "proc"} {
		if err := os.MkdirAll(filepath.Join(a.Root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	named := map[string]bool{}
	for _, row := range rows {
		named[row.method] = true
		for access, allowed := range map[Access]int{
			Remote(config.AccessOff): row.off, Remote(config.AccessRead): row.read, Remote(config.AccessFull): row.full, AccessOwner: row.shell,
		} {
			_, err := table.Call(ctx, access, row.method, json.RawMessage(row.params))
			if (allowed == yes) != (err == nil) || allowed == no && usage.KindOf(err) != usage.Forbidden {
				t.Errorf("%s %s with access %d: got %v, want allowed %t", row.method, row.params, access, err, allowed == yes)
			}
			if access == AccessNone && (err == nil || !strings.Contains(err.Error(), "turned remote access off")) {
				t.Errorf("%s: got %v", row.method, err)
			}
			// A method may be there and refuse some of its params.
			if listed := slices.Contains(table.Names(access), row.method); !listed && (allowed == yes || access == AccessOwner) {
				t.Errorf("%s with access %d is not listed", row.method, access)
			}
		}
	}
	if names := table.Names(AccessOwner); len(names) != len(named) || !slices.IsSorted(names) {
		t.Errorf("got methods %q, of which %d are in this test", names, len(named))
	}
	if got := Remote("nonsense"); got != AccessNone {
		t.Errorf("an unknown word gives access %d", got)
	}
}

func TestUnknownMethod(t *testing.T) {
	a, _ := newAgent(t, "")
	for _, name := range []string{"", "Status", "usage", "sh", "status ", strings.Repeat("x", 10_000), "\x1b[31m"} {
		_, err := New(a).Call(t.Context(), AccessOwner, name, nil)
		if usage.KindOf(err) != usage.Invalid || len(err.Error()) > 400 || strings.Contains(err.Error(), "\x1b") || !strings.Contains(err.Error(), "usage.current") {
			t.Errorf("%.20q: got %v, want what there is", name, err)
		}
	}
	if _, err := New(a).Call(t.Context(), AccessNone, "sh", nil); strings.Contains(err.Error(), "status") {
		t.Errorf("who may call nothing is told what there is: %v", err)
	}
}

// TestGoodParams is what is no fault: nothing, unknown members, huge numbers
// that mean all.
func TestGoodParams(t *testing.T) {
	a, _ := newAgent(t, "live-lab")
	for _, params := range []string{"", "null", " ", "{}", `{"future":1}`, `{"limit":9223372036854775807}`, fmt.Sprintf(`{"limit":%d,"offset":%d}`, math.MaxInt, 1), `{"mac":"","period":"","sort":""}`, `{"source":"/etc/passwd"}`} {
		var got struct {
			Source  string
			Total   int              `json:"total_devices"`
			Devices []map[string]any `json:"devices"`
		}
		call(t, a, AccessRead, "usage.current", params, &got)
		want := 4
		if strings.Contains(params, `"offset":1`) {
			want = 3
		}
		if got.Source != source.Snapshot || got.Total != 4 || len(got.Devices) != want {
			t.Errorf("%q: got %+v, want %d devices", params, got, want)
		}
	}
}

func TestDevice(t *testing.T) {
	a, _ := newAgent(t, "live-lab")
	var got struct {
		Device struct {
			MAC string
			IPs []string
			Rx  uint64 `json:"bytes_rx"`
		}
		Services []struct {
			Service string
			Rx      uint64 `json:"bytes_rx"`
		}
		Total int `json:"total_services"`
	}
	call(t, a, AccessRead, "usage.device", `{"mac":"02-77-00-00-00-11"}`, &got)
	var sum uint64
	for _, s := range got.Services {
		sum += s.Rx
	}
	if got.Device.MAC != "02:77:00:00:00:11" || len(got.Device.IPs) != 3 || got.Device.Rx != 7857378 || sum != got.Device.Rx || got.Total != len(got.Services) {
		t.Errorf("got %+v", got)
	}
	for _, params := range []string{`{"mac":"02:77:00:00:00:99"}`, `{"mac":"ff:ff:ff:ff:ff:ff"}`} {
		for _, name := range []string{"usage.device", "usage.current", "usage.records"} {
			if _, err := New(a).Call(t.Context(), AccessRead, name, json.RawMessage(params)); usage.KindOf(err) != usage.NotFound || !strings.Contains(err.Error(), "no device ") {
				t.Errorf("%s %s: got %v, want not found", name, params, err)
			}
		}
	}
	if _, err := New(a).Call(t.Context(), AccessRead, "usage.device", json.RawMessage(`{"mac":"02:77:00:00:00:11","period":"2001-01-01"}`)); usage.KindOf(err) != usage.NotFound {
		t.Errorf("unknown period: got %v, want not found", err)
	}
}

// Names that cannot be read do not cost the numbers.
func TestWithoutNames(t *testing.T) {
	a, _ := newAgent(t, "live-lab")
	a.Names = func() (usage.Names, error) { return nil, errors.New("no") }
	a.Services = func() (*nlbwmon.Protocols, error) { return nil, errors.New("no") }
	for _, name := range []string{"usage.current", "usage.records"} {
		var got struct {
			Bytes uint64 `json:"total_bytes"`
		}
		if call(t, a, AccessRead, name, "", &got); got.Bytes != 16816186 {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

// A large network comes in pages that fit a frame, each device exactly once.
func TestPaging(t *testing.T) {
	for _, tt := range []struct {
		devices, addrs int
		once           bool // read once, then page as the method does: half a million rows take their time
	}{{5_000, 1, false}, {600, 100, false}, {5_000, 100, true}} {
		a, _ := newAgent(t, "")
		a.Names = func() (usage.Names, error) { return named{}, nil }
		writeNetwork(t, a.Router.SnapshotPath, tt.devices, tt.addrs)
		info, err := os.Stat(a.Router.SnapshotPath)
		if err != nil {
			t.Fatal(err)
		}
		a.Router.Now = info.ModTime
		page := func(offset int) (text json.RawMessage) {
			text, err := New(a).Call(t.Context(), AccessRead, "usage.current", json.RawMessage(fmt.Sprintf(`{"offset":%d}`, offset)))
			if err != nil {
				t.Fatal(err)
			}
			return text
		}
		if tt.once {
			answer, err := a.Usage(t.Context(), Query{})
			if err != nil {
				t.Fatal(err)
			}
			page = func(offset int) json.RawMessage {
				answer.Page.Offset = offset
				return answer.AppendJSON(nil, wire.MaxResult)
			}
		}
		seen := map[string]bool{}
		for offset, pages := 0, 0; ; pages++ {
			if pages > 50 {
				t.Fatalf("no end after %d pages, %d devices", pages, len(seen))
			}
			text := page(offset)
			var got struct {
				Devices []struct {
					MAC string
					IPs []string
				}
				Next  *int `json:"next_offset"`
				Total int  `json:"total_devices"`
			}
			if err := json.Unmarshal(text, &got); err != nil || len(text) > wire.MaxResult {
				t.Fatalf("got %d bytes, %v", len(text), err)
			}
			for _, d := range got.Devices {
				if seen[d.MAC] || len(d.IPs) != tt.addrs {
					t.Fatalf("%s: again %t, with %d addresses", d.MAC, seen[d.MAC], len(d.IPs))
				}
				seen[d.MAC] = true
			}
			if got.Total != tt.devices {
				t.Fatalf("got a total of %d", got.Total)
			}
			if got.Next == nil {
				if pages == 0 {
					t.Errorf("%d devices are no large network: they fit a page", tt.devices)
				}
				break
			}
			if *got.Next != len(seen) || len(got.Devices) < 100 {
				t.Fatalf("next_offset %d after %d devices, %d on this page", *got.Next, len(seen), len(got.Devices))
			}
			offset = *got.Next
		}
		if len(seen) != tt.devices {
			t.Errorf("got %d devices, want %d", len(seen), tt.devices)
		}
	}
}

// writeNetwork writes a snapshot in which each device has addrs long IPv6
// addresses and large numbers.
func writeNetwork(t *testing.T, path string, devices, addrs int) {
	t.Helper()
	rows := make([]usage.Record, 0, devices*addrs)
	for d := range devices {
		for i := range addrs {
			r := usage.Record{MAC: usage.MAC{2, 0xff, 0xff, 0xff, byte(d >> 8), byte(d)}, Proto: 6, Port: 443, Conns: math.MaxUint32, RxBytes: 1 << 50, RxPackets: 1 << 40, TxBytes: 1 << 50, TxPackets: 1 << 40}
			r.SetIP(netip.AddrFrom16([16]byte{0xfd, 0x77, 0xff, 1, 0xff, 2, 0xff, 3, 0xff, 4, 0xff, 5, byte(d >> 8), byte(d), 0xff, byte(i)}))
			rows = append(rows, r)
		}
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(nlbwmon.Encode(f, nlbwmontest.MonthlyHeader(0), nlbwmon.NativeOrder(), rows), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// Where nlbwmon is absent, the lists fail and the status reports.
func TestStatusWithoutNlbwmon(t *testing.T) {
	a, _ := newAgent(t, "")
	a.Truth = &truth.Teller{Quick: func() ([]truth.Finding, error) { return nil, nil }, Now: a.Now}
	var got Status
	call(t, a, AccessRead, "status", "", &got)
	if c := got.Counting; c == nil || c.OK || len(c.Reasons) == 0 {
		t.Errorf("counting: got %+v, want a fault", c)
	}
	n := got.Nlbwmon
	if n.OK || !strings.Contains(n.Error, "service nlbwmon status") || len(n.Tried) != 3 || n.Rows != 0 || n.AsOf != nil || got.Version != "1.2.3" || got.Timestamp.IsZero() {
		t.Errorf("got %+v", got)
	}
	for i, name := range []string{source.Snapshot, source.Socket, source.Nlbw} {
		if n.Tried[i].Source != name || n.Tried[i].Error == "" {
			t.Errorf("tried %+v, want %s", n.Tried[i], name)
		}
	}
	for _, name := range []string{"usage.current", "usage.records"} {
		if _, err := New(a).Call(t.Context(), AccessRead, name, nil); usage.KindOf(err) != usage.Unavailable {
			t.Errorf("%s: got %v, want unavailable", name, err)
		}
	}
}

func TestStatus(t *testing.T) {
	a, _ := newAgent(t, "live-lab")
	var got Status
	call(t, a, AccessRead, "status", `{"ignored":1}`, &got)
	n := got.Nlbwmon
	if !n.OK || n.Error != "" || n.Source != source.Snapshot || n.Rows != 15 || n.Full || n.Limit != 10_000 || n.RefreshSeconds != 30 || n.Tried == nil || len(n.Tried) != 0 || n.Interval == "" || n.Period == "" {
		t.Errorf("got %+v", n)
	}
	if n.AgeSeconds == nil || *n.AgeSeconds < 0 || *n.AgeSeconds > 30 {
		t.Errorf("got age %v", n.AgeSeconds)
	}
	a.Limit = 15
	if call(t, a, AccessRead, "status", "", &got); !got.Nlbwmon.Full {
		t.Error("15 rows of 15 are not full")
	}
	a.Limit = 0
	if call(t, a, AccessRead, "status", "", &got); got.Nlbwmon.Full {
		t.Error("full without a limit")
	}
}
