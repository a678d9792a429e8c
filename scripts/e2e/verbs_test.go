package e2e

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/netpilot/netpilot/pkg/usage"
)

const laptop = "02:77:00:00:00:11"

// refreshFast makes the agent look each second.
func (r *router) refreshFast() {
	r.t.Helper()
	config := filepath.Join(r.root, "etc/config/nlbwmon")
	if err := os.MkdirAll(filepath.Dir(config), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(config, []byte("config nlbwmon\n\toption refresh_interval '1s'\n"), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

// add has nlbwmon count n bytes more towards the laptop, and refresh.
func (r *router) add(n uint64) {
	r.t.Helper()
	r.daemon.Add([]usage.Record{{Family: usage.FamilyIPv4, Proto: 6, Port: 443, MAC: usage.MAC{2, 0x77, 0, 0, 0, 0x11}, Addr: [16]byte{192, 168, 77, 11}, Conns: 1, RxBytes: n, RxPackets: 1}})
	if err := r.daemon.Refresh(); err != nil {
		r.t.Fatal(err)
	}
}

// total is total_bytes of what a verb prints as JSON, 0 where there is none.
func (r *router) total(args ...string) uint64 {
	_, stdout, _ := r.command("", args...)
	var answer struct {
		TotalBytes uint64 `json:"total_bytes"`
	}
	_ = json.Unmarshal([]byte(stdout), &answer) // nothing until the daemon answers
	return answer.TotalBytes
}

// booked waits until the history has a last single byte, so all before it, and
// tells how much that is.
func (r *router) booked() (total uint64) {
	r.t.Helper()
	until(r.t, "a delta is booked", func() bool { r.add(1000); return r.total("history", "--timeframe", "24h") >= 1000 })
	r.add(1)
	until(r.t, "the last byte is booked", func() bool {
		if err := r.daemon.Refresh(); err != nil { // the snapshot must be younger than two refreshes
			r.t.Fatal(err)
		}
		total = r.total("history", "--timeframe", "24h")
		return total%1000 == 1
	})
	return total
}

// TestVerbsOfTheDaemon: what the plan asked of nlbw and nlbw cannot, by a
// daemon that runs: hours, reset, rates, export.
func TestVerbsOfTheDaemon(t *testing.T) {
	s, r := newServer(t), newRouter(t, lab, "empty")
	r.refreshFast()
	r.enrol(s)
	r.run()
	s.online(1)
	run := func(args ...string) string {
		t.Helper()
		exit, stdout, stderr := r.command("", args...)
		if exit != 0 {
			t.Fatalf("%s: exit code %d: %s", args, exit, stderr)
		}
		return stdout
	}
	past := r.booked()

	// nlbw by the hour.
	rows, err := csv.NewReader(strings.NewReader(strings.ReplaceAll(run("nlbw", "-c", "csv", "-s,", "-g", "mac", "-t", "24"), "\t", ","))).ReadAll()
	if err != nil || len(rows) != 2 || rows[1][0] != laptop || rows[1][2] != fmt.Sprint(past) {
		t.Errorf("nlbw -t 24: %v %v, want %s with %d", rows, err, laptop, past)
	}
	if out := run("nlbw", "-c", "json", "-t", "168", "-i"); !strings.Contains(out, `"laptop"`) || !strings.Contains(out, fmt.Sprint(past)) {
		t.Errorf("nlbw -t 168 -i: %s", out)
	}
	if exit, _, stderr := r.command("", "nlbw", "-c", "json", "-t", "25"); exit == 0 || stderr == "" {
		t.Errorf("nlbw -t 25: exit code %d, %q", exit, stderr)
	}

	// export, to stdout and to a file that appears when it is whole.
	file := filepath.Join(r.root, "month.csv")
	run("export", "--timeframe", "24h", "--by", "device", "-o", file)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(text), run("export", "--timeframe", "24h", "--by", "device")} {
		if got := received(t, text); got != past {
			t.Errorf("export sums up to %d, want %d:\n%s", got, past, text)
		}
	}
	if exit, _, stderr := r.command("", "export", "-o", filepath.Join(r.root, "no/where.csv")); exit != 1 || !strings.Contains(stderr, "no such file") {
		t.Errorf("export to nowhere: exit code %d, %q", exit, stderr)
	}

	// reset: current counts anew, the history stays whole, the id works once.
	whole := r.total("dump")
	first := run("reset", "--yes", "--id", "e2e")
	if got := r.total("dump"); got != 0 {
		t.Errorf("%d bytes after a reset", got)
	}
	r.add(5)
	if again := run("reset", "--yes", "--id", "e2e"); !strings.Contains(again, `"repeated":true`) || strings.Contains(first, `"repeated":true`) {
		t.Errorf("reset twice: %s then %s", first, again)
	}
	if out := run("status", "--json"); !strings.Contains(out, `"reset_at": "20`) {
		t.Errorf("status does not tell of the reset: %s", out)
	}
	id := "?routerId=" + r.id()
	if a := s.get("/api/device-usage/current" + id); a.status != 200 || !strings.Contains(string(a.Data), `"reset_at":"20`) || !strings.Contains(string(a.Data), `"total_bytes":5}`) {
		t.Errorf("REST after a reset: %d %s", a.status, a.Data)
	}
	run("nlbw", "-z")
	if got := r.total("dump"); got != 0 {
		t.Errorf("%d bytes after nlbw -z", got)
	}
	run("reset", "--clear", "--yes")
	if got := r.total("dump"); got != whole+5 {
		t.Errorf("%d bytes after the reset was taken back, want %d", got, whole+5)
	}
	until(t, "the history has all of it", func() bool {
		if err := r.daemon.Refresh(); err != nil {
			t.Fatal(err)
		}
		return r.total("history", "--timeframe", "24h") == past+5
	})

	// Rates, for the technician and over the link.
	rate := func(text string) bool {
		_, rest, found := strings.Cut(text, `"mac":"`+laptop+`"`)
		_, rest, more := strings.Cut(rest, `"rx_bytes_per_second":`)
		return found && more && rest[0] >= '1' && rest[0] <= '9'
	}
	until(t, "top shows who downloads", func() bool {
		r.add(1_000_000)
		exit, stdout, stderr := r.command("", "top", "--once", "--format", "json")
		if exit != 0 {
			t.Fatalf("top: exit code %d: %s", exit, stderr)
		}
		return rate(stdout)
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/api/stream"+id+"&live=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: soon}
	resp, err := client.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("stream: %v %v", resp, err)
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); ; {
		r.add(1_000_000)
		if !lines.Scan() {
			t.Fatalf("the stream ended without a rate: %v", lines.Err())
		}
		if strings.HasPrefix(lines.Text(), "data:") && rate(lines.Text()) {
			break
		}
	}
}

// received is the sum of an export's column bytes_rx.
func received(t *testing.T, text string) (sum uint64) {
	t.Helper()
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil || len(rows) < 2 {
		t.Fatalf("export: %v: %s", err, text)
	}
	column := slices.Index(rows[0], "bytes_rx")
	for _, row := range rows[1:] {
		n, err := strconv.ParseUint(row[column], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	return sum
}
