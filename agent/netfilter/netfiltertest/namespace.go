package netfiltertest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// child makes a test binary a process in namespaces of its own.
const child = "NETPILOT_TEST_IN_NAMESPACE"

// Inside tells whether this process is one that InNamespace started.
func Inside() bool { return os.Getenv(child) != "" }

// hangs is when a test in a namespace is given up.
const hangs = 2 * time.Minute

// InNamespace runs the calling test again in a new network and a new mount
// namespace, where it may break what it likes, and returns true there, with
// loopback up. The real kernel answers; only root may do this.
func InNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv(child) == t.Name() {
		if err := LoopbackUp(); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		return true
	}
	if os.Getuid() != 0 {
		t.Skip("needs root, to make a network namespace")
	}
	ctx, cancel := context.WithTimeout(t.Context(), hangs)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), child+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EINVAL):
		t.Skipf("no namespaces here: %v", err)
	case err != nil:
		t.Fatalf("%v\n%s", err, out)
	case strings.Contains(string(out), "--- SKIP: "+t.Name()+" "):
		t.Skipf("in the namespace: %s", out)
	case !strings.Contains(string(out), "--- PASS: "+t.Name()+" "):
		t.Fatalf("the test did not run in the namespace\n%s", out)
	}
	t.Logf("in the namespace: %s", out)
	return false
}

// Links makes interfaces by lines of the program ip, without that word; the
// test is skipped where there is none, or the kernel lacks what is asked for.
func Links(t *testing.T, lines ...string) {
	t.Helper()
	for _, line := range lines {
		out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput()
		if err != nil {
			t.Skipf("ip %s: %v %s", line, err, out)
		}
	}
}

// Mount mounts a file system for the rest of the test, and makes the directory
// it is mounted on.
func Mount(t *testing.T, kind, on, options string) {
	t.Helper()
	if err := os.MkdirAll(on, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(kind, on, kind, 0, options); err != nil {
		t.Skipf("mount %s on %s: %v", kind, on, err)
	}
	t.Cleanup(func() { _ = unix.Unmount(on, unix.MNT_DETACH) })
}

// Fill writes path until the kernel has no more room for it.
func Fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 4096); err == nil; {
		_, err = f.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}
