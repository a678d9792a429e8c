package method

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

func TestText(t *testing.T) {
	a, _ := newAgent(t, "")
	a.Root = t.TempDir()
	a.Now = func() time.Time { return time.Date(2026, 11, 23, 14, 55, 26, 0, time.UTC) }
	put := func(path, text string) {
		t.Helper()
		path = filepath.Join(a.Root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
			err = os.WriteFile(path, []byte(text), 0o644)
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	text := func(what string) string {
		t.Helper()
		var got struct{ Text string }
		call(t, a, AccessRead, "router.text", `{"what":"`+what+`"}`, &got)
		return got.Text
	}
	lease := "1795000000 02:77:00:00:00:11 192.168.1.5 phone *\n"
	put("/tmp/dhcp.leases", lease)
	put("/proc/net/arp", "IP address\n")
	put("/proc/net/dev", "Inter-|\n")
	put("/proc/loadavg", "0.10 0.08 0.01 1/80 4711\n")
	for what, want := range map[string]string{"leases": lease, "arp": "IP address\n", "dev": "Inter-|\n", "nlbwmon": "inactive\n"} {
		if got := text(what); got != want {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
	put("/proc/17/comm", "nlbwmon\n")
	if got := text("nlbwmon"); got != "running\n" {
		t.Errorf("got %q, want running", got)
	}
	for up, want := range map[string]string{
		"59.20 1.00": "0 min", "3599.99 1": "59 min", "3600.00 1": " 1:00", "90061.5 9": "1 day,  1:01", "864000.0 9": "10 days, 0 min",
	} {
		put("/proc/uptime", up+"\n")
		if got, want := text("uptime"), " 14:55:26 up "+want+",  load average: 0.10, 0.08, 0.01\n"; got != want {
			t.Errorf("up %s: got %q, want %q", up, got, want)
		}
	}
	// Larger than what is read of a file: cut, not failed.
	put("/tmp/dhcp.leases", strings.Repeat(lease, 20_000))
	if got := text("leases"); len(got) > 256<<10 || !strings.HasPrefix(got, lease) {
		t.Errorf("got %d bytes", len(got))
	}
	if err := os.Remove(filepath.Join(a.Root, "/tmp/dhcp.leases")); err != nil {
		t.Fatal(err)
	}
	put("/proc/uptime", "soon\n")
	for params, kind := range map[string]usage.Kind{
		`{"what":"leases"}`:        usage.Unavailable, // absent
		`{"what":"uptime"}`:        usage.Unavailable, // broken
		`{"what":"neigh"}`:         usage.Unavailable, // the files of another router
		`{"what":"../etc/shadow"}`: usage.Invalid,
		`{"what":"/proc/net/arp"}`: usage.Invalid,
		`{"what":"arp; reboot"}`:   usage.Invalid,
		`{}`:                       usage.Invalid,
		`{"what":["arp"]}`:         usage.Invalid,
	} {
		if result, err := New(a).Call(t.Context(), AccessRead, "router.text", json.RawMessage(params)); usage.KindOf(err) != kind || err == nil {
			t.Errorf("%s: got %s, %v, want kind %v", params, result, err, kind)
		}
	}
}
