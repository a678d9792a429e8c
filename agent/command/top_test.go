package command

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"go.uber.org/goleak"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/netpilot/netpilot/agent/local"
	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
)

// fakeRouter is a root with a LAN bridge and nothing else.
func fakeRouter(t *testing.T) string {
	t.Helper()
	root, err := os.MkdirTemp("", "np") // short: a unix socket's path has 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	for path, text := range map[string]string{"sys/class/net/br-lan/address": "02:77:00:00:00:01\n", "var/run/.keep": "", "etc/TZ": "CET-1CEST,M3.5.0,M10.5.0/3\n"} {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// answering serves the local door of a root until the test ends.
func answering(t *testing.T, root string, handle local.Handler) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	door, err := local.Listen(filepath.Join(root, local.Path))
	if err != nil {
		t.Fatal(err)
	}
	go func() { ended <- local.Serve(ctx, door, handle, logger(io.Discard, slog.LevelInfo)) }() // ends by stop
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func ratesAt(asOf *time.Time) usage.Rates {
	return usage.Rates{
		Timestamp: time.Date(2026, 11, 28, 11, 0, 2, 0, time.UTC), AsOf: asOf, Seconds: 30, RefreshSeconds: 30, Rx: 3072, Tx: 1024, TotalDevices: 2,
		Devices: []usage.Rate{
			{MAC: usage.MAC{2, 0, 0, 0, 0, 1}, Hostname: "tv\x1b[2J", Rx: 2048},
			{MAC: usage.MAC{2, 0, 0, 0, 0, 2}, Alias: "mine", Rx: 1000, Tx: 1024},
		},
	}
}

// TestTop: first nothing is known, then rates come from the daemon.
func TestTop(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) }) // after the door has closed
	root := fakeRouter(t)
	asOf := time.Date(2026, 11, 28, 11, 0, 0, 0, time.UTC)
	answering(t, root, func(ctx context.Context, method string, params json.RawMessage) (json.RawMessage, error) {
		if method != "usage.live" || string(params) != `{"action":"start"}` {
			t.Errorf("asked for %s %s", method, params)
		}
		for _, r := range []usage.Rates{{Timestamp: asOf, RefreshSeconds: 30}, ratesAt(&asOf)} {
			text, err := json.Marshal(r)
			if err != nil {
				return nil, err
			}
			wire.PeerOf(ctx).Notify("usage.live", text)
		}
		return json.RawMessage(`{}`), nil
	})
	exit, stdout, stderr := runAgent(t, "--root", root, "top", "--once")
	want := "12:00:02  mean of the 30 s before 12:00:00; nlbwmon refreshes every 30s\n\n   3.0 KiB/s    1.0 KiB/s  all\n    download       upload  device\n" +
		"   2.0 KiB/s        0 B/s  02:00:00:00:00:01  tv[2J\n    1000 B/s    1.0 KiB/s  02:00:00:00:00:02  mine\n\n"
	if exit != exitDone || stdout != want || stderr != "" {
		t.Errorf("exit code %d, %q, got\n%s\nwant\n%s", exit, stderr, stdout, want)
	}
	if exit, stdout, _ = runAgent(t, "--root", root, "top", "--once", "--by", "tx", "--limit", "1"); exit != exitDone || !strings.Contains(stdout, "mine") || strings.Contains(stdout, "tv") {
		t.Errorf("by tx: exit code %d, %s", exit, stdout)
	}
	if exit, stdout, _ = runAgent(t, "--root", root, "top", "--once", "--format", "json"); exit != exitDone || !strings.Contains(stdout, `"total_rx_bytes_per_second":3072`) {
		t.Errorf("json: exit code %d, %s", exit, stdout)
	}
	// At a terminal it takes the other screen and gives it back; Ctrl-C is no
	// failure.
	ctx, cancel := context.WithCancel(t.Context())
	exit, screen := onTerminalUntil(t, ctx, func(shown string) {
		if strings.Contains(shown, "mine") {
			cancel()
		}
	}, "--root", root, "top")
	if exit != exitDone || !strings.HasPrefix(screen, otherScreen) || !strings.HasSuffix(screen, ownScreen) || strings.Contains(screen, "tv\x1b[2J") {
		t.Errorf("terminal: exit code %d, %q", exit, screen)
	}
}

func TestTopMisuse(t *testing.T) {
	for _, args := range [][]string{{"--interval", "1s"}, {"--interval", "2h"}, {"--by", "conns"}, {"--limit", "-1"}, {"--format", "csv"}, {"extra"}} {
		if exit, _, stderr := runAgent(t, append([]string{"top"}, args...)...); exit != exitMisuse || stderr == "" {
			t.Errorf("%q: exit code %d, %s", args, exit, stderr)
		}
	}
	root := fakeRouter(t)
	answering(t, root, func(context.Context, string, json.RawMessage) (json.RawMessage, error) {
		return nil, usage.Errorf(usage.Busy, "end another top")
	})
	if exit, _, stderr := runAgent(t, "--root", root, "top"); exit != exitFailed || !strings.Contains(stderr, "end another top") {
		t.Errorf("busy: exit code %d, %s", exit, stderr)
	}
	if exit, _, stderr := runAgent(t, "--root", fakeRouter(t), "top"); exit != exitFailed || !strings.Contains(stderr, "service nlbwmon") {
		t.Errorf("nothing there: exit code %d, %s", exit, stderr)
	}
}

func TestScreen(t *testing.T) {
	var out bytes.Buffer
	asOf := time.Date(2026, 11, 28, 11, 0, 0, 0, time.UTC)
	s := &screen{w: &out, by: "total", location: time.UTC, rates: ratesAt(&asOf)}
	s.rates.Stale = true
	s.draw()
	if got := out.String(); !strings.Contains(got, "has not refreshed since 11:00:00 and should every 30s; try: service nlbwmon status") || strings.Contains(got, "mine") {
		t.Errorf("stale: %s", got)
	}
	s.inPlace = true // without a terminal's size, 80 by 24
	for i := range 40 {
		s.rates.Devices = append(s.rates.Devices, usage.Rate{MAC: usage.MAC{2, 0, 0, 0, 1, byte(i)}, Hostname: strings.Repeat("x", 63)})
	}
	s.rates.Stale = false
	out.Reset()
	s.draw()
	lines := strings.Split(strings.TrimSuffix(strings.TrimPrefix(out.String(), home), clearBelow), "\n")
	if len(lines) != 24 {
		t.Errorf("%d lines", len(lines))
	}
	for _, line := range lines {
		if n := len([]rune(strings.TrimSuffix(line, clearLine))); n > 80 {
			t.Errorf("%d columns: %q", n, line)
		}
	}
}

// TestExport: whatever the span, the rows are those of the history, each
// once, in pieces; a day in which the clock jumps too.
func TestExport(t *testing.T) {
	root := fakeRouter(t)
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip(err)
	}
	// 23 to 27 October 2026 in CET: the 25th has 25 hours.
	from, to := time.Date(2026, 10, 23, 6, 0, 0, 0, zone), time.Date(2026, 10, 27, 6, 0, 0, 0, zone)
	asked := 0
	answering(t, root, func(_ context.Context, method string, params json.RawMessage) (json.RawMessage, error) {
		var p struct {
			From, To, Resolution, By string
			Limit, Offset            int
		}
		if err := json.Unmarshal(params, &p); err != nil || method != "usage.history" || p.By != "device" {
			return nil, fmt.Errorf("%s %s: %w", method, params, err)
		}
		asked++
		a, err := time.Parse(time.RFC3339Nano, p.From)
		if err != nil {
			return nil, err
		}
		b, err := time.Parse(time.RFC3339Nano, p.To)
		if err != nil {
			return nil, err
		}
		span, err := usage.SpanQuery{From: p.From, To: p.To, Resolution: p.Resolution}.Span(to)
		if err != nil {
			return nil, err
		}
		tl := usage.Timeline{Span: span, By: p.By, Page: usage.Page{Limit: p.Limit, Offset: p.Offset}}
		for at := a; at.Before(b); at = at.Add(time.Hour) {
			tl.Slots = append(tl.Slots, usage.Slot{Start: at, Length: time.Hour, MAC: usage.MAC{2, 5: byte(at.Hour())}, Counters: usage.Counters{RxBytes: uint64(at.Unix())}})
			tl.Total.Add(usage.Counters{RxBytes: uint64(at.Unix())})
		}
		tl.Gaps = []usage.Gap{{Range: usage.Range{From: a, To: a.Add(time.Minute)}, Reason: "a gap"}}
		return tl.AppendJSON(nil, 2500), nil // some nine rows a page
	})
	args := []string{"--root", root, "export", "--from", from.Format(time.RFC3339), "--to", to.Format(time.RFC3339), "--resolution", "1h"}
	exit, stdout, stderr := runAgent(t, args...)
	if exit != exitDone || !strings.Contains(stderr, "unknown: ") {
		t.Fatalf("exit code %d, %s", exit, stderr)
	}
	rows, err := csv.NewReader(strings.NewReader(stdout)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, row := range rows[1:] {
		if seen[row[6]] {
			t.Errorf("twice: %q", row)
		}
		seen[row[6]] = true
	}
	if len(seen) != 4*24+1 || asked < 12 {
		t.Errorf("%d rows of 97, in %d answers", len(seen), asked)
	}
	file := filepath.Join(t.TempDir(), "out.json")
	if exit, stdout, stderr = runAgent(t, append(args, "--format", "json", "-o", file)...); exit != exitDone || stdout != "" {
		t.Fatalf("exit code %d, %s", exit, stderr)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var whole struct {
		Buckets []struct {
			Rx uint64 `json:"bytes_rx"`
		}
		Gaps  []struct{ Reason string }
		Total uint64 `json:"total_bytes"`
	}
	if err := json.Unmarshal(text, &whole); err != nil {
		t.Fatal(err)
	}
	sum := uint64(0)
	for _, b := range whole.Buckets {
		sum += b.Rx
	}
	if len(whole.Buckets) != 97 || sum != whole.Total || len(whole.Gaps) != 1 || whole.Gaps[0].Reason != "a gap" {
		t.Errorf("%d rows, %d bytes of %d, gaps %v", len(whole.Buckets), sum, whole.Total, whole.Gaps)
	}
	// What breaks off leaves no file.
	broken := filepath.Join(t.TempDir(), "none", "out.csv")
	if exit, _, stderr = runAgent(t, append(args, "-o", broken)...); exit != exitFailed || !strings.Contains(stderr, "export") {
		t.Errorf("no directory: exit code %d, %s", exit, stderr)
	}
	if exit, _, stderr = runAgent(t, "--root", fakeRouter(t), "export"); exit != exitFailed || !strings.Contains(stderr, "service netpilot-agent start") {
		t.Errorf("no daemon: exit code %d, %s", exit, stderr)
	}
}
