package wireless

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netpilot/netpilot/pkg/usage"
)

// TestHwsim: two of the kernel's own simulated radios (mac80211_hwsim), one an
// access point of hostapd, the other joined to it. What the kernel says of the
// station is what iw prints of it, before and after.
func TestHwsim(t *testing.T) {
	ap, sta := radios(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conf := filepath.Join(t.TempDir(), "hostapd.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, "interface=%s\ndriver=nl80211\nssid=netpilot\nhw_mode=g\nchannel=1\n", ap.Name), 0o600); err != nil {
		t.Fatal(err)
	}
	hostapd := exec.CommandContext(ctx, "hostapd", conf)
	out, err := hostapd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaints bytes.Buffer
	hostapd.Stderr = &complaints
	if err := hostapd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = hostapd.Wait() }) // it ends with the context
	lines := bufio.NewScanner(out)
	said := ""
	for !strings.Contains(said, "AP-ENABLED") && lines.Scan() {
		said += lines.Text() + "\n"
	}
	if !strings.Contains(said, "AP-ENABLED") {
		cancel()
		t.Fatalf("hostapd: %v %s%s", hostapd.Wait(), said, &complaints)
	}
	if stations, err := Stations(ctx); err != nil || len(stations) != 0 {
		t.Errorf("nobody joined: got %+v, %v", stations, err)
	}
	run(ctx, t, "ip", "link", "set", sta.Name, "up")
	run(ctx, t, "iw", "dev", sta.Name, "connect", "-w", "netpilot")
	up := send(t, sta, ap, 100)
	down := send(t, ap, sta, 50)

	before := dumped(ctx, t, ap)
	stations, err := Stations(ctx)
	after := dumped(ctx, t, ap)
	if err != nil || len(stations) != 1 || stations[0].MAC != usage.MAC(sta.HardwareAddr) {
		t.Fatalf("got %+v, %v, want %v", stations, err, sta.HardwareAddr)
	}
	got := stations[0].Counters
	for name, n := range map[string]uint64{"rx bytes": got.TxBytes, "tx bytes": got.RxBytes, "rx packets": got.TxPackets, "tx packets": got.RxPackets} {
		if n < before[name] || n > after[name] || before[name] == 0 {
			t.Errorf("%s of the access point: got %d, iw has %d before and %d after", name, n, before[name], after[name])
		}
	}
	if got.TxBytes < up || got.RxBytes < down || got.TxBytes > 2*up || got.RxBytes > 2*down {
		t.Errorf("got %d bytes sent and %d received, want little more than %d and %d", got.TxBytes, got.RxBytes, up, down)
	}
	t.Logf("got %+v of %d bytes sent and %d received", got, up, down)
}

// radios finds or makes two simulated radios.
func radios(t *testing.T) (ap, sta *net.Interface) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root, to make simulated radios")
	}
	for _, tool := range []string{"hostapd", "iw", "ip"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs the program %s", tool)
		}
	}
	if _, err := os.Stat("/sys/class/mac80211_hwsim"); err != nil {
		if out, err := exec.Command("modprobe", "mac80211_hwsim", "radios=2").CombinedOutput(); err != nil {
			t.Skipf("no simulated radios in this kernel: %v %s", err, out)
		}
	}
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	var found []*net.Interface
	for i := range all {
		if on, err := os.Readlink("/sys/class/net/" + all[i].Name + "/device/subsystem"); err == nil && filepath.Base(on) == "mac80211_hwsim" {
			found = append(found, &all[i])
		}
	}
	if len(found) < 2 {
		t.Skipf("%d simulated radios, want 2", len(found))
	}
	return found[0], found[1]
}

func run(ctx context.Context, t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v %s", args, err, out)
	}
	return string(out)
}

// send puts n frames of a kilobyte on the air, of a protocol nobody answers
// (IEEE 802, local experimental), and tells how many bytes they carry.
func send(t *testing.T, from, to *net.Interface, n int) uint64 {
	t.Helper()
	const local, size = 0x88b5, 1000
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	addr := &unix.SockaddrLinklayer{Protocol: binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, local)), Ifindex: from.Index, Halen: 6}
	copy(addr.Addr[:], to.HardwareAddr)
	for range n {
		if err := unix.Sendto(fd, make([]byte, size), 0, addr); err != nil {
			t.Fatal(err)
		}
	}
	return uint64(n) * size
}

// dumped is what iw prints of the one station.
func dumped(ctx context.Context, t *testing.T, ap *net.Interface) map[string]uint64 {
	t.Helper()
	numbers := make(map[string]uint64)
	for line := range strings.Lines(run(ctx, t, "iw", "dev", ap.Name, "station", "dump")) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 64); err == nil {
			numbers[name] = n
		}
	}
	return numbers
}
