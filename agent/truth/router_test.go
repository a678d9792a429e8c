package truth

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/netpilot/netpilot/agent/netfilter"
	"github.com/netpilot/netpilot/agent/source"
	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/nlbwmon/nlbwmontest"
	"github.com/netpilot/netpilot/pkg/usage"
)

// fakeKernel is a simulated kernel: what it says is set by the test.
type fakeKernel struct {
	tables    []netfilter.Flowtable
	tablesErr error
	silent    bool // no event comes
	eventErr  error
	free      uint64
	spaceErr  error
	ran       []string // services
	runErr    error
}

func (k *fakeKernel) Flowtables(context.Context) ([]netfilter.Flowtable, error) {
	return k.tables, k.tablesErr
}
func (k *fakeKernel) Event(context.Context) (bool, int, error) {
	return !k.silent, 40000, k.eventErr
}
func (k *fakeKernel) Space(string) (uint64, uint64, error) { return k.free, 64 << 20, k.spaceErr }
func (k *fakeKernel) Service(_ context.Context, path, action string) error {
	k.ran = append(k.ran, filepath.Base(path)+" "+action)
	if filepath.Base(path) == "firewall" {
		k.tables = nil // it makes them anew, as it is told
	}
	return k.runErr
}

// staged is a healthy router on a fake root, for a test to break.
type staged struct {
	*Router
	t      *testing.T
	kernel *fakeKernel
	daemon *nlbwmontest.Daemon
	agent  Daemon
	now    time.Time
}

func hexOf(addr string) string {
	a := netip.MustParseAddr(addr).As4()
	return fmt.Sprintf("%08X", binary.NativeEndian.Uint32(a[:]))
}

// routeTable is /proc/net/route with a WAN on eth1 and a LAN on br-lan.
func routeTable(wan string) string {
	lines := "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
	for _, r := range [][4]string{
		{"eth1", "0.0.0.0", strings.TrimSuffix(wan, ".0") + ".1", "0.0.0.0"},
		{"eth1", wan, "0.0.0.0", "255.255.255.0"},
		{"br-lan", "192.168.1.0", "0.0.0.0", "255.255.255.0"},
	} {
		lines += fmt.Sprintf("%s\t%s\t%s\t0003\t0\t0\t0\t%s\t0\t0\t0\n", r[0], hexOf(r[1]), hexOf(r[2]), hexOf(r[3]))
	}
	return lines
}

const (
	nlbwmonText = "config nlbwmon\n\toption database_directory '/mnt/usb'\n\toption database_interval '1'\n\toption database_limit '10000'\n" +
		"\tlist local_network '192.168.0.0/16'\n"
	networkText = "config interface 'loopback'\n\toption device 'lo'\n\toption proto 'static'\n" +
		"config interface 'lan'\n\toption device 'br-lan'\n\toption proto 'static'\n\toption ipaddr '192.168.1.1'\n\toption netmask '255.255.255.0'\n" +
		"config interface 'wan'\n\toption device 'eth1'\n\toption proto 'dhcp'\n"
	netlinkText = "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n" +
		"0 12 1234 00000007 0 0 0 2 0 1\n0 12 999 00000007 0 0 0 2 77 2\n0 0 1234 00000000 0 0 0 2 55 3\n"
)

func baseFiles() map[string]string {
	return map[string]string{
		"/usr/sbin/nlbwmon":  "x",
		"/proc/1234/comm":    "nlbwmon\n",
		"/proc/77/comm":      "dnsmasq\n",
		"/proc/net/route":    routeTable("203.0.113.0"),
		"/proc/net/if_inet6": "fe800000000000000000000000000001 02 40 20 80 br-lan\n",
		"/proc/net/netlink":  netlinkText,
		"/proc/net/ipv6_route": "00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003 eth1\n" +
			"00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200 lo\n",
		"/proc/net/nf_conntrack":             "ipv4     2 udp      17 29 src=127.0.0.1 dst=127.0.0.1 sport=5555 dport=40000 [UNREPLIED] src=127.0.0.1 dst=127.0.0.1 sport=40000 dport=5555 mark=0 use=1\n",
		"/proc/mounts":                       "overlayfs:/overlay / overlay rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/sda1 /mnt/usb ext4 rw 0 0\n",
		conntrackDir + "nf_conntrack_acct":   "1\n",
		conntrackDir + "nf_conntrack_events": "2\n",
		conntrackDir + "nf_conntrack_count":  "5\n",
		"/proc/sys/net/core/rmem_max":        "1048576\n",
		nlbwmonConfig:                        nlbwmonText,
		networkConfig:                        networkText,
		firewallConfig:                       "config defaults\n\toption input 'REJECT'\n",
		"/etc/openwrt_release":               "DISTRIB_ID='OpenWrt'\nDISTRIB_RELEASE='24.10.1'\n",
		authorities:                          "-----BEGIN CERTIFICATE-----\n",
		"/etc/init.d/nlbwmon":                "#!/bin/sh\n", "/etc/init.d/firewall": "#!/bin/sh\n",
		"/etc/init.d/sysntpd": "#!/bin/sh\n", "/etc/init.d/netpilot-agent": "#!/bin/sh\n",
		"/sys/class/net/eth1/ifindex": "4\n", "/sys/class/net/eth1/type": "1\n",
		"/sys/class/net/eth1/statistics/rx_bytes": "0\n", "/sys/class/net/eth1/statistics/rx_packets": "0\n",
		"/sys/class/net/eth1/statistics/tx_bytes": "0\n", "/sys/class/net/eth1/statistics/tx_packets": "0\n",
	}
}

func healthy(t *testing.T) *staged {
	t.Helper()
	root, err := os.MkdirTemp("", "tr") // short, as a socket's path must be
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	s := &staged{t: t, kernel: &fakeKernel{free: 10 << 20}, agent: Daemon{Running: true, Link: true}, now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	s.Router = &Router{
		Root: Root(root), Kernel: s.kernel, Build: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Now: func() time.Time { return s.now },
		patience: time.Hour, // what is found is looked at, however long this machine takes
		Relay:    "relay.example", Secure: true, Daemon: func(context.Context) Daemon { return s.agent },
	}
	s.Source = &source.Router{SocketPath: s.Root.Path("/s"), SocketWithin: time.Hour, SnapshotPath: s.Root.Path("/tmp/0.db"), LockPath: s.Root.Path("/lock"), Location: time.UTC}
	for path, text := range baseFiles() {
		s.write(path, text)
	}
	for _, dir := range []string{"/tmp", "/mnt/usb"} {
		s.mkdir(dir)
	}
	if err := os.Symlink("tmp", s.Root.Path("/var")); err != nil {
		t.Fatal(err)
	}
	s.daemon, err = nlbwmontest.Start(nlbwmontest.Options{Socket: s.Root.Path("/s"), Dir: s.Root.Path("/mnt/usb"), SnapshotPath: s.Root.Path("/tmp/0.db"),
		Interval: nlbwmon.Interval{Type: nlbwmon.IntervalMonthly, Value: 1}, Now: func() time.Time { return s.now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.daemon.Close() })
	if err := s.daemon.Refresh(); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *staged) mkdir(path string) {
	s.t.Helper()
	if err := os.MkdirAll(s.Root.Path(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
}

func (s *staged) write(path, text string) {
	s.t.Helper()
	s.mkdir(filepath.Dir(path))
	if err := os.WriteFile(s.Root.Path(path), []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func (s *staged) remove(path string) {
	s.t.Helper()
	if err := os.RemoveAll(s.Root.Path(path)); err != nil {
		s.t.Fatal(err)
	}
}

// rows makes nlbwmon's table n rows long.
func (s *staged) rows(n int) {
	s.t.Helper()
	rows := make([]usage.Record, n)
	for i := range rows {
		rows[i] = usage.Record{MAC: usage.MAC{2, 0, 0, 0, byte(i >> 8), byte(i)}, Family: usage.FamilyIPv4, Addr: [16]byte{192, 168, 1, byte(i)}, Conns: 1, RxBytes: 1}
	}
	s.daemon.Add(rows)
	if err := s.daemon.Refresh(); err != nil {
		s.t.Fatal(err)
	}
}

// ids are those found, sorted.
func (s *staged) ids() []string {
	s.t.Helper()
	return s.idsOf(s.Examine(s.t.Context()))
}

func (s *staged) idsOf(report Report) []string {
	s.t.Helper()
	var ids []string
	for _, f := range report.Findings {
		ids = append(ids, f.ID)
		if f.Text == "" || f.Evidence == "" || f.Cure == "" || f.Fixable && f.Undo == "" {
			s.t.Errorf("%s: something is not said: %+v", f.ID, f)
		}
		if !slices.Contains(IDs(), f.ID) && !strings.HasSuffix(f.ID, "-unread") {
			s.t.Errorf("%s is not in the table", f.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

var errBroken = errors.New("broken on purpose")
