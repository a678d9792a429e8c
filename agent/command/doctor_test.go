package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netpilot/netpilot/agent/local"
	"github.com/netpilot/netpilot/agent/netfilter/netfiltertest"
	"github.com/netpilot/netpilot/agent/truth"
	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/nlbwmon/nlbwmontest"
	"github.com/netpilot/netpilot/pkg/usage"
)

const conntrack = "/proc/sys/net/netfilter/nf_conntrack_"

// TestDoctorEverythingBroken: a router with everything broken at once, in a
// network namespace and under a root directory of its own, on the real
// kernel: doctor names each cause. nlbwmon takes connections and says nothing,
// the name server too, or the relay's network swallows what is sent to it.
//
// That this takes at most five seconds is a matter of doctor's own deadlines,
// which TestWithinFiveSeconds and TestHangs of agent/truth prove; how long it
// took is in the log.
func TestDoctorEverythingBroken(t *testing.T) {
	if !netfiltertest.InNamespace(t) {
		return
	}
	broken := breakEverything(t)
	for _, way := range []struct {
		name, relay, want, text string
	}{
		{"the name server is silent", "https://relay.example:8443", "relay-dns", "the name server does not answer"},
		{"the relay is black-holed", "https://203.0.113.9:8443", "relay-connect", "did not answer in time"},
	} {
		identity := fmt.Sprintf(`{"relay":%q,"router_id":%q,"secret":"a-secret-of-some-length-0123456789"}`, way.relay, strings.Repeat("9c", 32))
		writeFile(t, "/etc/netpilot/identity.json", identity, 0o600)
		var out, complaints bytes.Buffer
		began := time.Now()
		exit := Run(t.Context(), []string{"netpilot-agent", "doctor", "--json"}, Build{Version: "1.2.3", Time: "4102444800"}, // made in 2100
			strings.NewReader(""), &out, &complaints)
		took := time.Since(began)
		if exit != exitFailed || complaints.Len() > 0 {
			t.Errorf("%s: exit code %d, stderr %s", way.name, exit, &complaints)
		}
		var report truth.Report
		if err := json.Unmarshal(out.Bytes(), &report); err != nil || report.Healthy {
			t.Fatalf("%s: %v, %s", way.name, err, &out)
		}
		t.Logf("%s: %d findings in %v", way.name, len(report.Findings), took)
		want := maps.Clone(broken)
		want[way.want] = way.text
		for _, f := range report.Findings {
			text, ok := want[f.ID]
			if !ok || !strings.Contains(f.Text+f.Evidence, text) {
				t.Errorf("%s: got %s, want %q in its text or evidence: %+v", way.name, f.ID, text, f)
			}
			delete(want, f.ID)
		}
		for id := range want {
			t.Errorf("%s: %s was not found", way.name, id)
		}
	}
}

// TestDoctorAgentSilent: an agent whose socket takes the question and gives
// no answer is neither stopped nor in trouble with its history.
func TestDoctorAgentSilent(t *testing.T) {
	root, err := os.MkdirTemp("", "np") // short, as a socket's path must be
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	path := filepath.Join(root, local.Path)
	writeFile(t, filepath.Join(filepath.Dir(path), ".keep"), "", 0o644)
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // ends with the listener
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = conn.Write([]byte("\n"))
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done })
	exit, stdout, stderr := runAgent(t, "--root", root, "doctor", "--json")
	if exit != exitFailed || !strings.Contains(stdout, `"id": "agent-silent"`) || strings.Contains(stdout, "agent-stopped") || strings.Contains(stdout, `"id": "history"`) {
		t.Errorf("got exit code %d, %s%s", exit, stdout, stderr)
	}
}

// breakEverything puts the process on a router where nothing works, and tells
// what doctor must find, and what it must have seen.
func breakEverything(t *testing.T) map[string]string {
	netfiltertest.Links(t,
		"link add br-lan type veth peer name lan0", "addr add 192.168.1.1/24 dev br-lan", "link set lan0 up", "link set br-lan up",
		"link add eth1 type veth peer name wan0", "addr add 10.0.0.2/24 dev eth1", "link set wan0 up", "link set eth1 up",
		// The gateway's MAC is known, and nobody has it: no error ever comes back.
		"neigh add 10.0.0.1 lladdr 02:77:00:00:00:99 dev eth1 nud permanent", "route add default via 10.0.0.1")
	if err := netfiltertest.Track(); err != nil {
		t.Skipf("no nftables with connection tracking in this kernel: %v", err)
	}
	found := map[string]string{
		"nlbwmon-frozen": "hangs", "conntrack-acct": "nf_conntrack_acct is 0", "conntrack-events": "a new one to 127.0.0.1", "netlink-drops": "lost ",
		"local-network": "192.168.1.0/24 is on br-lan", "wan-local": "10.0.0.0/24 is on eth1", "table-full": "50 rows", "period-interval": `"monthly"`,
		"database-ram": "tmpfs at /tmp", "stale-gz": "20261001.db.gz", "disk-full": "0 of", "clock-unset": "this program was made 2100-01-01",
		"ca-bundle": "holds no certificate", "agent-stopped": "",
	}
	if netfiltertest.AddFlowtable("fw4", "ft") == nil { // not every kernel has them
		found["offload-software"] = "fw4 ft"
	}
	loseEvents(t)
	enterRouter(t)
	if _, err := os.Stat("/proc/sys/net/core/rmem_max"); err == nil { // not every kernel shows it in a namespace
		over(t, "/proc/sys/net/core/rmem_max", "212992\n")
		found["rmem-max"] = "212992"
	}
	if err := os.WriteFile(conntrack+"acct", []byte("0"), 0o644); err != nil {
		t.Fatal(err)
	}
	// Events stay away while the switch says that they are on: as where a
	// module takes them.
	if err := os.WriteFile(conntrack+"events", []byte("0"), 0o644); err != nil {
		t.Skipf("this kernel's events cannot be switched: %v", err)
	}
	over(t, conntrack+"events", "1\n")

	full := make([]usage.Record, 50)
	for i := range full {
		full[i] = usage.Record{MAC: usage.MAC{2, 0, 0, 0, 0, byte(i)}, Family: usage.FamilyIPv4, Addr: [16]byte{192, 168, 1, byte(i)}, Conns: 1, RxBytes: 1}
	}
	d, err := nlbwmontest.Start(nlbwmontest.Options{Socket: "/var/run/nlbwmon.sock", SnapshotPath: "/tmp/0.db", Frozen: true,
		Interval: nlbwmon.Interval{Type: nlbwmon.IntervalMonthly, Value: 1}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	d.SetRows(full)
	if err := d.Refresh(); err != nil {
		t.Fatal(err)
	}
	silent, err := net.ListenPacket("udp4", "127.0.0.1:53")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	netfiltertest.Fill(t, "/tmp/fill")
	return found
}

// loseEvents makes this process one called nlbwmon that did not take its
// events of the kernel, so that some were lost.
func loseEvents(t *testing.T) {
	t.Helper()
	if err := os.WriteFile("/proc/self/comm", []byte("nlbwmon"), 0); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4096); err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 7}); err != nil {
		t.Fatal(err)
	}
	for port := range 200 {
		conn, err := net.Dial("udp4", "127.0.0.1:"+strconv.Itoa(20000+port))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write([]byte("x"))
		_ = conn.Close()
	}
}

// enterRouter makes a directory with a router's files this process's root.
func enterRouter(t *testing.T) {
	t.Helper()
	root := t.TempDir()
	netfiltertest.Mount(t, "tmpfs", root, "size=16m")
	netfiltertest.Mount(t, "proc", filepath.Join(root, "proc"), "")
	netfiltertest.Mount(t, "sysfs", filepath.Join(root, "sys"), "") // of this network namespace
	netfiltertest.Mount(t, "tmpfs", filepath.Join(root, "tmp"), "size=256k")
	out, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Chroot(root); err != nil {
		t.Fatal(err)
	}
	if err := os.Chdir("/"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // back, for the mounts' end
		_ = out.Chdir()
		_ = unix.Chroot(".")
		_ = out.Close()
	})
	if err := os.Symlink("tmp", "/var"); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	for path, text := range map[string]string{
		"/usr/sbin/nlbwmon": "", "/etc/resolv.conf": "nameserver 127.0.0.1\n", "/etc/hosts": "127.0.0.1 localhost\n",
		"/etc/config/nlbwmon": "config nlbwmon\n option database_directory /var/lib/nlbwmon\n option database_interval monthly\n option database_limit 50\n" +
			" list local_network 10.0.0.0/8\n",
		"/etc/config/network":  "config interface lan\n option device br-lan\n option proto static\nconfig interface wan\n option device eth1\n option proto dhcp\n",
		"/etc/openwrt_release": "DISTRIB_RELEASE='24.10.1'\n", "/etc/ssl/certs/ca-certificates.crt": "",
		"/var/lib/nlbwmon/20261001.db.gz": "old", "/var/lib/nlbwmon/20261001.db": "new", "/var/run/.keep": "",
	} {
		writeFile(t, path, text, 0o644)
		if strings.HasSuffix(path, ".gz") {
			if err := os.Chtimes(path, old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func writeFile(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// over puts a file with another text in the place of one of the kernel's.
func over(t *testing.T, path, text string) {
	t.Helper()
	instead := "/over-" + filepath.Base(path)
	writeFile(t, instead, text, 0o644)
	if err := unix.Mount(instead, path, "", unix.MS_BIND, ""); err != nil {
		t.Skipf("mount over %s: %v", path, err)
	}
	t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
}
