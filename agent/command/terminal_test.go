package command

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netpilot/netpilot/pkg/nlbwmon/nlbwmontest"
)

// onTerminal runs a command line at a terminal where typed is typed, and
// returns the exit code and everything the screen showed.
func onTerminal(t *testing.T, clock Clock, typed string, args ...string) (int, string) {
	t.Helper()
	return atTerminal(t, t.Context(), clock, typed, nil, args...)
}

// onTerminalUntil runs a command line that ends with ctx; shown gets all that
// the screen has shown whenever there is more.
func onTerminalUntil(t *testing.T, ctx context.Context, shown func(string), args ...string) (int, string) {
	t.Helper()
	return atTerminal(t, ctx, Clock{}, "", shown, args...)
}

func atTerminal(t *testing.T, ctx context.Context, clock Clock, typed string, shown func(string), args ...string) (int, string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminal here: %v", err)
	}
	defer master.Close()
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	screen := make(chan string)
	go func() { // ends when the last slave is closed, with EIO
		var b []byte
		part := make([]byte, 4<<10)
		for {
			n, err := master.Read(part)
			b = append(b, part[:n]...)
			if shown != nil {
				shown(string(b))
			}
			if err != nil {
				break
			}
		}
		screen <- string(b)
	}()
	if _, err := master.WriteString(typed); err != nil {
		t.Fatal(err)
	}
	exit := RunBy(ctx, clock, append([]string{"netpilot-agent"}, args...), Build{Version: "1.2.3", Time: "1700000000"}, slave, slave, slave)
	slave.Close()
	return exit, <-screen
}

// TestTerminal: dump is a table there, a long wait is explained, and a token
// is asked for.
func TestTerminal(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"var/run", "tmp", "sys/class/net/br-lan"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "sys/class/net/br-lan/address"), []byte("02:77:00:00:00:01\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	opts, err := onRouter(root, recordings+"/live-lab")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(opts.SnapshotPath); err != nil {
		t.Fatal(err)
	}
	opts.SnapshotPath = ""
	d, err := nlbwmontest.Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	patient, impatient := Clock{Exchange: time.Hour, Patience: time.Hour}, Clock{Patience: 1}
	exit, screen := onTerminal(t, patient, "", "--root", root, "--byte-order", "little", "dump", "--limit", "1")
	if exit != exitDone || !strings.Contains(screen, "source socket") || !strings.Contains(screen, "rows 1 to 1 of 4") || strings.Contains(screen, "reading") {
		t.Errorf("exit code %d, screen:\n%s", exit, screen)
	}
	if exit, screen = onTerminal(t, patient, "", "--root", root, "--byte-order", "little", "status"); exit != exitDone || !strings.Contains(screen, "answers, by socket") {
		t.Errorf("exit code %d, screen:\n%s", exit, screen)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	opts.Frozen = true
	if d, err = nlbwmontest.Start(opts); err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	exit, screen = onTerminal(t, impatient, "", "--root", root, "dump", "--source", "socket")
	if exit != exitFailed || !strings.Contains(screen, "netpilot-agent: reading nlbwmon ...") || !strings.Contains(screen, "service nlbwmon restart") {
		t.Errorf("exit code %d, screen:\n%s", exit, screen)
	}
	exit, screen = onTerminal(t, patient, "npt_typed\n", "--root", root, "enroll", "--relay", "http://127.0.0.1:1")
	if exit != exitFailed || !strings.Contains(screen, "Token (from: netpilot-relay enrolment create): ") || !strings.Contains(screen, "is the relay running?") {
		t.Errorf("exit code %d, screen:\n%s", exit, screen)
	}
}
