package source

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/netpilot/netpilot/agent/wireless"
	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
)

const (
	flows = "ipv4     2 tcp      6 431999 ESTABLISHED src=192.168.1.2 dst=203.0.113.9 sport=50000 dport=443 packets=9 bytes=900 src=203.0.113.9 dst=198.51.100.1 sport=443 dport=50000 packets=8 bytes=8000 [ASSURED] mark=0 zone=0 use=2\n" +
		"ipv4     2 udp      17 29 src=192.168.1.2 dst=192.168.1.1 sport=5353 dport=53 packets=1 bytes=60 src=192.168.1.1 dst=192.168.1.2 sport=53 dport=5353 packets=1 bytes=100 mark=0 use=2\n" + // to the router itself
		"ipv4     2 tcp      6 100 ESTABLISHED src=203.0.113.50 dst=198.51.100.1 sport=4000 dport=2222 packets=5 bytes=500 src=192.168.1.3 dst=203.0.113.50 sport=22 dport=4000 packets=6 bytes=6000 mark=0 use=2\n" + // a port forward
		"ipv6     10 tcp      6 300 ESTABLISHED src=fd77:0000:0000:0000:0000:0000:0000:0002 dst=2001:0db8:0000:0000:0000:0000:0000:0001 sport=1 dport=443 packets=2 bytes=200 src=2001:0db8:0000:0000:0000:0000:0000:0001 dst=fd77:0000:0000:0000:0000:0000:0000:0002 sport=443 dport=1 packets=3 bytes=300 mark=0 use=2\n" +
		"ipv4     2 icmp     1 29 src=192.168.1.2 dst=203.0.113.9 type=8 code=0 id=1 packets=1 bytes=84 src=203.0.113.9 dst=198.51.100.1 type=0 code=0 id=1 packets=1 bytes=84 mark=0 use=2\n"
	devText = "Inter-|   Receive                                                |  Transmit\n" +
		" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n" +
		"    lo:  100 1 0 0 0 0 0 0 100 1 0 0 0 0 0 0\n" +
		"  eth1:18446744073709551615 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0\nbr-lan: 5 6 0 0 0 0 0 0 7 8 0 0 0 0 0 0\n"
)

// newKernel is a router on which nlbwmon is not there.
func newKernel(t *testing.T) *Router {
	t.Helper()
	dir := t.TempDir()
	k := &Kernel{
		ConntrackPath: filepath.Join(dir, "nf_conntrack"), DevPath: filepath.Join(dir, "dev"),
		Counted: func() bool { return false },
		Local: func() (func(netip.Addr) bool, error) {
			four, six := netip.MustParsePrefix("192.168.1.0/24"), netip.MustParsePrefix("fd77::/64")
			return func(a netip.Addr) bool { return four.Contains(a) || six.Contains(a) }, nil
		},
		MAC: func(a netip.Addr) usage.MAC {
			if a == netip.MustParseAddr("192.168.1.2") || a.Is6() {
				return usage.MAC{2, 0, 0, 0, 0, 2}
			}
			return usage.MAC{}
		},
		Stations: func(context.Context) ([]wireless.Station, error) { return nil, wireless.ErrNone },
	}
	for path, text := range map[string]string{k.ConntrackPath: flows, k.DevPath: devText} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return &Router{
		SnapshotPath: filepath.Join(dir, "0.db"), SocketPath: filepath.Join(dir, "s"), LockPath: filepath.Join(dir, "lock"), NlbwPath: filepath.Join(dir, "nlbw"),
		Refresh: 30 * time.Second, Location: time.UTC, Now: time.Now, Kernel: k,
	}
}

func TestConntrack(t *testing.T) {
	r := newKernel(t)
	var got rowList
	reading, err := r.Read(t.Context(), Request{}, &got)
	if err != nil || reading.Source != Conntrack || len(reading.Blind) != 1 || len(reading.Tried) != 3 || reading.AsOf.IsZero() {
		t.Fatalf("got %+v, %v", reading, err)
	}
	row := func(ip string, mac byte, proto uint8, port uint16, rx, rxp, tx, txp uint64) usage.Record {
		rec := usage.Record{Proto: proto, Port: port, Conns: 1, RxBytes: rx, RxPackets: rxp, TxBytes: tx, TxPackets: txp}
		rec.SetIP(netip.MustParseAddr(ip))
		if mac != 0 {
			rec.MAC = usage.MAC{2, 0, 0, 0, 0, mac}
		}
		return rec
	}
	want := []usage.Record{
		row("192.168.1.2", 2, 6, 443, 8000, 8, 900, 9),
		row("192.168.1.3", 0, 6, 22, 500, 5, 6000, 6),
		row("fd77::2", 2, 6, 443, 300, 3, 200, 2),
		row("192.168.1.2", 2, 1, 0, 84, 1, 84, 1),
	}
	if !reflect.DeepEqual(got.rows, want) {
		t.Errorf("got %+v\nwant %+v", got.rows, want)
	}
}

// TestKernelOrder: each source stands in for the one before it, is named, and
// says what it cannot see; nothing of it ever stands in for nlbwmon's table.
func TestKernelOrder(t *testing.T) {
	r := newKernel(t)
	read := func(want string) (Reading, rowList) {
		t.Helper()
		var rows rowList
		reading, err := r.Read(t.Context(), Request{}, &rows)
		if err != nil || reading.Source != want || len(reading.Blind) == 0 {
			t.Fatalf("got %+v, %v, want %s", reading, err, want)
		}
		return reading, rows
	}
	read(Conntrack)
	// nlbwmon runs: it zeroes the counters, so they are never read.
	r.Kernel.Counted = func() bool { return true }
	reading, rows := read(Interfaces)
	if len(rows.rows) != 0 || !reflect.DeepEqual(reading.Interfaces, []usage.Interface{
		{Name: "br-lan", Counters: usage.Counters{RxBytes: 5, RxPackets: 6, TxBytes: 7, TxPackets: 8}},
		{Name: "eth1", Counters: usage.Counters{RxBytes: 1<<64 - 1, RxPackets: 2, TxBytes: 3, TxPackets: 4}},
	}) {
		t.Errorf("got %+v, %+v", rows.rows, reading.Interfaces)
	}
	station := wireless.Station{MAC: usage.MAC{2, 9}, Counters: usage.Counters{RxBytes: 1, TxBytes: 2, RxPackets: 3, TxPackets: 4}}
	r.Kernel.Stations = func(context.Context) ([]wireless.Station, error) { return []wireless.Station{station}, nil }
	if _, rows := read(Stations); len(rows.rows) != 1 || rows.rows[0].MAC != station.MAC || rows.rows[0].Counters() != station.Counters {
		t.Errorf("got %+v", rows.rows)
	}
	// Accounting is off.
	r.Kernel.Counted = func() bool { return false }
	uncounted := strings.NewReplacer("packets=9 bytes=900 ", "").Replace(strings.SplitAfter(flows, "\n")[0])
	if err := os.WriteFile(r.Kernel.ConntrackPath, []byte(uncounted), 0o600); err != nil {
		t.Fatal(err)
	}
	reading, _ = read(Stations)
	if last := reading.Tried[len(reading.Tried)-1]; last.Source != Conntrack || !strings.Contains(last.Err.Error(), "nf_conntrack_acct=1") {
		t.Errorf("got %+v", last)
	}
	// As is the table of a kernel without any connection: it tells nothing.
	if err := os.WriteFile(r.Kernel.ConntrackPath, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	read(Stations)
	r.Kernel.Local = func() (func(netip.Addr) bool, error) { return nil, errors.New("no routes") }
	read(Stations)
	r.Kernel.Stations = func(context.Context) ([]wireless.Station, error) { return nil, nil }
	read(Interfaces)
	if _, err := r.Read(t.Context(), Request{Source: Nlbwmon}, &rowList{}); usage.KindOf(err) != usage.Unavailable {
		t.Errorf("the ledger got something: %v", err)
	}
	if _, err := r.Read(t.Context(), Request{Source: Conntrack, Period: nlbwmon.Period(20261101)}, &rowList{}); usage.KindOf(err) != usage.Invalid {
		t.Errorf("a period of the kernel: %v", err)
	}
	// Nothing at all.
	r.Kernel.Stations = nil
	if err := os.Remove(r.Kernel.DevPath); err != nil {
		t.Fatal(err)
	}
	reading, err := r.Read(t.Context(), Request{}, &rowList{})
	if usage.KindOf(err) != usage.Unavailable || len(reading.Tried) != 6 {
		t.Errorf("got %v, %d tried", err, len(reading.Tried))
	}
}

func FuzzConntrack(f *testing.F) {
	f.Add(flows)
	f.Add(devText)
	f.Add("ipv4 2 tcp 6 1 X src=1 src=2 src=3 src=4")
	f.Fuzz(func(t *testing.T, text string) {
		k := &Kernel{MAC: func(netip.Addr) usage.MAC { return usage.MAC{} }}
		lines := strings.Count(text, "\n") + 1
		n := 0
		_ = k.decodeConntrack(strings.NewReader(text), func(a netip.Addr) bool { return a.IsPrivate() }, func(r *usage.Record) {
			if n++; !r.IP().IsPrivate() {
				t.Errorf("got a device %v", r.IP())
			}
		})
		all, _ := decodeDev(strings.NewReader(text))
		if n > lines || len(all) > lines {
			t.Errorf("%d records and %d interfaces of %d lines", n, len(all), lines)
		}
	})
}
