package command

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/netpilot/netpilot/relay/store/storetest"
)

// TestRetention: each router's own, by the command line, in the audit log.
func TestRetention(t *testing.T) {
	r := start(t, Config{Data: t.TempDir(), Drain: time.Second})
	r.connect(1)
	id := string(storetest.RouterID(1))
	retention := func(args ...string) (int, string, string) {
		return run(t, append([]string{"router", "retention", "--data", r.data}, args...)...)
	}
	json := func(five, hour, day int) string {
		return strings.NewReplacer("A", strconv.Itoa(five), "B", strconv.Itoa(hour), "C", strconv.Itoa(day)).Replace(`"five_minutes_seconds": A,
  "hours_seconds": B,
  "days_seconds": C`)
	}
	hours := 3600
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, json(48*hours, 35*24*hours, 3*366*24*hours)},
		{[]string{"--5m", "7d", "--1h", "90d"}, json(7*24*hours, 90*24*hours, 3*366*24*hours)},
		{[]string{"--1d", "1000d"}, json(7*24*hours, 90*24*hours, 1000*24*hours)},
		{[]string{"--5m", "default"}, json(48*hours, 90*24*hours, 1000*24*hours)},
	} {
		code, stdout, stderr := retention(append(c.args, "--format", "json", id[:8])...)
		if code != exitDone || !strings.Contains(stdout, c.want) {
			t.Errorf("%q: exit code %d, %s %s, want %s", c.args, code, stdout, stderr, c.want)
		}
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--5m", "100d", id}, exitMisuse, "each at least as long as the one before"},
		{[]string{"--5m", "soon", id}, exitMisuse, "is a time like"},
		{[]string{}, exitMisuse, "ID is missing"},
		{[]string{"--5m", "2d", "ffff"}, exitFailed, "router list"},
	} {
		if code, _, stderr := retention(c.args...); code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%q: exit code %d, %s, want %d and %q", c.args, code, stderr, c.code, c.want)
		}
	}
	if code, stdout, _ := retention("--format", "table", id); code != exitDone || !strings.Contains(stdout, "2d") || !strings.Contains(stdout, "90d") {
		t.Errorf("table: exit code %d, %s", code, stdout)
	}
	if log := must(t, "audit", "--data", r.data, "--format", "json"); !strings.Contains(log, "5m 7d, 1h 90d, 1d default") {
		t.Errorf("audit: %s", log)
	}
}
