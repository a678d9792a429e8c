package truth

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netpilot/netpilot/agent/netfilter"
	"github.com/netpilot/netpilot/agent/netfilter/netfiltertest"
	"github.com/netpilot/netpilot/agent/source"
)

// thisMachine is the machine the test runs on, as a router.
func thisMachine() *Router {
	return &Router{Root: "/", Kernel: Linux{}, Now: time.Now, Source: &source.Router{SnapshotPath: "/nonexistent", Location: time.UTC}}
}

func has(found []Finding, id string) bool {
	for _, f := range found {
		if f.ID == id {
			return true
		}
	}
	return false
}

// TestKernelAccounting: the real switch, off and on, and by the fix's own
// step. The namespace's switch is its own.
func TestKernelAccounting(t *testing.T) {
	if !netfiltertest.InNamespace(t) {
		return
	}
	path := conntrackDir + "nf_conntrack_acct"
	if err := os.WriteFile(path, []byte("0"), 0o644); err != nil {
		t.Skipf("no conntrack in this kernel: %v", err)
	}
	r := thisMachine()
	found, err := checkConntrack(t.Context(), r)
	if err != nil || !has(found, "conntrack-acct") {
		t.Fatalf("off: got %+v, %v", found, err)
	}
	live := step{Kind: kindValue, Path: path, Existed: true, Old: "0\n", New: "1\n"}
	if err := r.apply([]step{live}); err != nil {
		t.Fatal(err)
	}
	if found, err := checkConntrack(t.Context(), r); err != nil || has(found, "conntrack-acct") {
		t.Errorf("after the fix: got %+v, %v", found, err)
	}
	if err := r.move(live, true, live.New, true, live.Old, true); err != nil {
		t.Fatal(err)
	}
	if found, err := checkConntrack(t.Context(), r); err != nil || !has(found, "conntrack-acct") {
		t.Errorf("undone: got %+v, %v", found, err)
	}
}

// TestKernelEvents: a real flow is told of; with the kernel's events off it is
// not, though it stands in the table, as when a module takes the events away.
func TestKernelEvents(t *testing.T) {
	if !netfiltertest.InNamespace(t) {
		return
	}
	r := thisMachine()
	if found, err := checkEvents(t.Context(), r); err != nil || len(found) != 0 {
		t.Errorf("nothing is tracked: got %+v, %v", found, err)
	}
	if err := netfiltertest.Track(); err != nil {
		t.Skipf("no nftables with connection tracking in this kernel: %v", err)
	}
	heard, port, err := netfilter.Event(t.Context())
	if err != nil || !heard {
		t.Fatalf("heard %t of a flow to %d, %v", heard, port, err)
	}
	if found, err := checkEvents(t.Context(), r); err != nil || len(found) != 0 {
		t.Errorf("got %+v, %v", found, err)
	}
	if err := os.WriteFile(conntrackDir+"nf_conntrack_events", []byte("0"), 0o644); err != nil {
		t.Skipf("this kernel's events cannot be switched: %v", err)
	}
	if found, err := checkConntrack(t.Context(), r); err != nil || !has(found, "conntrack-events-off") {
		t.Errorf("got %+v, %v", found, err)
	}
	// The same kernel without its switch, so that only the flow can tell.
	root := t.TempDir()
	for link, to := range map[string]string{
		"proc/net": "/proc/net", "proc/sys/net/netfilter/nf_conntrack_count": conntrackDir + "nf_conntrack_count",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, link)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	r.Root = Root(root)
	found, err := checkEvents(t.Context(), r)
	if err != nil || len(found) != 1 || found[0].ID != "conntrack-events" || found[0].Severity != Error {
		t.Errorf("swallowed events: got %+v, %v", found, err)
	}
}

// TestKernelDrops: a process called nlbwmon that does not read its events
// loses them, and the kernel's count of that is found.
func TestKernelDrops(t *testing.T) {
	if !netfiltertest.InNamespace(t) {
		return
	}
	if err := netfiltertest.Track(); err != nil {
		t.Skipf("no nftables with connection tracking in this kernel: %v", err)
	}
	if err := os.WriteFile("/proc/self/comm", []byte("nlbwmon"), 0); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4096); err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 7}); err != nil {
		t.Fatal(err)
	}
	r := thisMachine()
	if found, err := checkNetlink(t.Context(), r); err != nil || has(found, "netlink-drops") {
		t.Fatalf("before: got %+v, %v", found, err)
	}
	for port := range 200 {
		conn, err := net.Dial("udp4", "127.0.0.1:"+strconv.Itoa(20000+port))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write([]byte("x"))
		_ = conn.Close()
	}
	if found, err := checkNetlink(t.Context(), r); err != nil || !has(found, "netlink-drops") {
		text, _ := os.ReadFile("/proc/net/netlink")
		t.Errorf("after: got %+v, %v\n%s", found, err, text)
	}
}

// TestKernelOffload: the real nftables, without a flowtable and with one, as
// far as this kernel has them.
func TestKernelOffload(t *testing.T) {
	if !netfiltertest.InNamespace(t) {
		return
	}
	tables, err := netfilter.Flowtables(t.Context())
	if err != nil || len(tables) != 0 {
		t.Fatalf("got %+v, %v, want none", tables, err)
	}
	if err := netfiltertest.AddFlowtable("fw4", "ft"); err != nil {
		t.Skipf("this kernel has no flowtables: %v", err)
	}
	found, err := checkOffload(t.Context(), thisMachine())
	if err != nil || !has(found, "offload-software") {
		t.Errorf("got %+v, %v", found, err)
	}
}

// underThisKernel is a router whose configuration lies below a root of its
// own and whose /proc is this machine's.
func underThisKernel(t *testing.T, files map[string]string) *Router {
	t.Helper()
	r := thisMachine()
	r.Root = Root(t.TempDir())
	if err := os.Symlink("/proc", r.Root.Path("/proc")); err != nil {
		t.Fatal(err)
	}
	for path, text := range files {
		if err := os.MkdirAll(filepath.Dir(r.Root.Path(path)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(r.Root.Path(path), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// TestKernelNetworks: the kernel's own routes and addresses, IPv6 too, against
// what nlbwmon takes for local.
func TestKernelNetworks(t *testing.T) {
	if !netfiltertest.InNamespace(t) {
		return
	}
	netfiltertest.Links(t,
		"link add br-lan type veth peer name lan0", "addr add 192.168.1.1/24 dev br-lan", "link set lan0 up", "link set br-lan up",
		"link add eth1 type veth peer name wan0", "addr add 192.168.178.2/24 dev eth1", "link set wan0 up", "link set eth1 up",
		"route add default via 192.168.178.1")
	local := func(list string) string { return "config nlbwmon\n" + list }
	r := underThisKernel(t, map[string]string{networkConfig: networkText})
	look := func(name, list string, want ...string) {
		t.Helper()
		if err := os.WriteFile(r.Root.Path(nlbwmonConfig), []byte(local(list)), 0o644); err != nil {
			t.Fatal(err)
		}
		found, err := checkNetworks(t.Context(), r)
		if err != nil || len(found) != len(want)/2 {
			t.Errorf("%s: got %+v, %v, want %q", name, found, err, want)
			return
		}
		for i, f := range found {
			if f.ID != want[2*i] || !strings.Contains(f.Text+f.Evidence, want[2*i+1]) {
				t.Errorf("%s: got %+v, want %q", name, f, want[2*i:2*i+2])
			}
		}
	}
	look("by name", " list local_network lan\n")
	look("by subnet", " list local_network 192.168.1.0/24\n")
	look("another subnet", " list local_network 10.0.0.0/8\n", "local-network", "192.168.1.0/24 is on br-lan")
	look("nothing", "", "local-network", "(nothing)")
	look("the WAN too", " list local_network 192.168.0.0/16\n", "wan-local", "192.168.178.0/24 is on eth1")
	look("the WAN instead", " list local_network 192.168.178.0/24\n", "local-network", "192.168.1.0/24", "wan-local", "192.168.178.0/24")

	netfiltertest.Links(t, "-6 addr add fd77::1/64 dev br-lan nodad")
	look("IPv6", " list local_network 192.168.1.0/24\n", "local-network", "fd77::/64 is on br-lan")
	look("IPv6 by subnet", " list local_network 192.168.1.0/24\n list local_network fd00::/8\n")
}

// TestKernelDisk: a file system of two megabytes, empty and filled until the
// kernel refuses.
func TestKernelDisk(t *testing.T) {
	if !netfiltertest.InNamespace(t) {
		return
	}
	r := underThisKernel(t, map[string]string{nlbwmonConfig: "config nlbwmon\n option database_directory /mnt/usb\n"})
	for _, dir := range []string{"/mnt/usb", "/etc", "/tmp"} {
		if err := os.MkdirAll(r.Root.Path(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if free, _, err := r.Kernel.Space(r.Root.Path("/etc")); err != nil || free < leastFree {
		t.Skipf("%d bytes free here, %v", free, err)
	}
	netfiltertest.Mount(t, "tmpfs", r.Root.Path("/mnt/usb"), "size=2m")
	if found, err := checkDisk(t.Context(), r); err != nil || len(found) != 0 {
		t.Errorf("empty: got %+v, %v", found, err)
	}
	netfiltertest.Fill(t, r.Root.Path("/mnt/usb/fill"))
	found, err := checkDisk(t.Context(), r)
	if err != nil || len(found) != 1 || found[0].ID != "disk-full" || !strings.Contains(found[0].Evidence, "0 of 2097152 bytes free at /mnt/usb") {
		t.Errorf("filled: got %+v, %v", found, err)
	}
}

// TestPermission: nlbwmon's socket as an unprivileged user meets it.
func TestPermission(t *testing.T) {
	const child = "TRUTH_TEST_SOCKET"
	if path := os.Getenv(child); path != "" {
		r := &Router{Root: "/", Now: time.Now, Source: &source.Router{SocketPath: path}}
		found, err := checkNlbwmon(t.Context(), r)
		if err != nil || !has(found, "nlbwmon-permission") {
			t.Fatalf("got %+v, %v", found, err)
		}
		return
	}
	if os.Getuid() != 0 {
		t.Skip("needs root, to become somebody else")
	}
	s := healthy(t)
	for _, path := range []string{string(s.Root), s.Root.Path("/s")} {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// The binary lies in a directory of root's.
	text, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	binary := s.Root.Path("/test")
	if err := os.WriteFile(binary, text, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "-test.run=^TestPermission$", "-test.v")
	cmd.Dir = "/"
	cmd.Env = []string{child + "=" + s.Root.Path("/s")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
