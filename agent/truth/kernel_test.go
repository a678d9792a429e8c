package truth

import (
	"errors"
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

// kernelChild makes the test binary a process in a network namespace of its
// own, where it may break what it likes.
const kernelChild = "TRUTH_TEST_IN_NAMESPACE"

// inNamespace runs the calling test again in a new network namespace, and
// returns true there, with loopback up. The real kernel answers; only root
// may do this.
func inNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv(kernelChild) == t.Name() {
		if err := netfiltertest.LoopbackUp(); err != nil {
			t.Fatal(err)
		}
		return true
	}
	if os.Getuid() != 0 {
		t.Skip("needs root, to make a network namespace")
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), kernelChild+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EINVAL) {
		t.Skipf("no network namespace here: %v", err)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if strings.Contains(string(out), "--- SKIP") {
		t.Skipf("in the namespace: %s", out)
	}
	return false
}

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
	if !inNamespace(t) {
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
	if !inNamespace(t) {
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
	if !inNamespace(t) {
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
	if !inNamespace(t) {
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
