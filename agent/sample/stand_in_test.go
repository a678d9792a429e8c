//go:build amd64 || arm64

package sample

import (
	"context"
	"database/sql"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // writes the file that stands in; the agent has no engine

	"github.com/netpilot/netpilot/agent/ledger"
	"github.com/netpilot/netpilot/agent/source"
	"github.com/netpilot/netpilot/agent/wireless"
	"github.com/netpilot/netpilot/pkg/usage"
)

// TestStandsInNever: while nlbwmon is away others answer a technician, but what
// they count, the same bytes in other rows, is never booked.
func TestStandsInNever(t *testing.T) {
	r := newRouter(t)
	mac := usage.MAC{2, 0, 0, 0, 0, 1}
	r.source.Kernel = &source.Kernel{
		ConntrackPath: filepath.Join(r.dir, "nf_conntrack"), DevPath: filepath.Join(r.dir, "dev"), Counted: func() bool { return false },
		Local: func() (func(netip.Addr) bool, error) { return func(a netip.Addr) bool { return a.IsPrivate() }, nil },
		MAC:   func(netip.Addr) usage.MAC { return mac },
		Stations: func(context.Context) ([]wireless.Station, error) {
			return []wireless.Station{{MAC: mac, Counters: usage.Counters{RxBytes: 1 << 30}}}, nil
		},
	}
	r.source.SQLitePath = filepath.Join(r.dir, "nlbw.db")
	r.source.NlbwPath = filepath.Join(r.dir, "nlbw")
	db, err := sql.Open("sqlite", r.source.SQLitePath)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec("CREATE TABLE traffic (mac TEXT, bytes_rx INTEGER, bytes_tx INTEGER); INSERT INTO traffic VALUES ('02:00:00:00:00:01', 99, 99)")
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{
		r.source.NlbwPath:             "#!/bin/sh\necho '{\"columns\":[\"mac\",\"conns\",\"rx_bytes\",\"rx_pkts\",\"tx_bytes\",\"tx_pkts\"],\"data\":[[\"02:00:00:00:00:01\",1,99,1,99,1]]}'\n",
		r.source.Kernel.ConntrackPath: "ipv4 2 tcp 6 431999 ESTABLISHED src=192.168.1.2 dst=203.0.113.9 sport=40000 dport=443 packets=10 bytes=1000 src=203.0.113.9 dst=198.51.100.1 sport=443 dport=40000 packets=20 bytes=20000 [ASSURED] mark=0 zone=0 use=2\n",
		r.source.Kernel.DevPath:       "Inter-|   Receive  |  Transmit\n face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed\n  eth0: 5000 50 0 0 0 0 0 0 6000 60 0 0 0 0 0 0\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s := r.sampler()
	var looks []ledger.Source
	s.opts.Watch = func(l *ledger.Ledger, _ *ledger.Batch, _ time.Time) { looks = append(looks, sourceOf(l)) }
	r.pass(30*time.Second, 1)
	once(t, s)

	snapshot, socket := r.source.SnapshotPath, r.source.SocketPath
	r.source.SnapshotPath, r.source.SocketPath = snapshot+".gone", socket+".gone"
	nlbw := r.source.NlbwPath
	for _, stands := range []string{source.Nlbw, source.SQLite, source.Conntrack, source.Stations, source.Interfaces} {
		got, err := r.source.Read(t.Context(), source.Request{}, &usage.Tally{})
		if err != nil || got.Source != stands {
			t.Fatalf("got %q, %v, want %s to stand in", got.Source, err, stands)
		}
		r.idle(30 * time.Second)
		if err := s.Once(t.Context()); err == nil || !strings.Contains(err.Error(), "service nlbwmon status") {
			t.Errorf("while %s stands in: got %v, want what to do", stands, err)
		}
		switch stands {
		case source.Nlbw:
			r.source.NlbwPath += ".gone"
		case source.SQLite:
			r.source.SQLitePath += ".gone"
		case source.Conntrack:
			r.source.Kernel.Counted = func() bool { return true }
		case source.Stations:
			r.source.Kernel.Stations = nil
		}
	}
	r.source.SnapshotPath, r.source.SocketPath, r.source.NlbwPath = snapshot, socket, nlbw
	r.pass(30*time.Second, 77)
	once(t, s)
	if got := r.total(); got != 77 || len(looks) != 2 {
		t.Errorf("got %d bytes of looks %v, want 77 of two", got, looks)
	}
}
