package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/netpilot/netpilot/agent/local"
	"github.com/netpilot/netpilot/pkg/nlbwmon/nlbwmontest"
)

const lab = "02:77:00:00:00:01"

// TestRecordedUsageReachesREST follows what the real nlbwmon recorded through
// agent and relay, byte for byte the sums that stock nlbw printed then.
func TestRecordedUsageReachesREST(t *testing.T) {
	s, r := newServer(t), newRouter(t, lab, "live-lab")
	r.enrol(s)
	r.run()
	s.online(1)
	id := "?routerId=" + r.id()

	a := s.get("/api/device-usage/current" + id)
	var current struct {
		Source       string
		Devices      []map[string]any
		TotalDevices int    `json:"total_devices"`
		TotalBytes   uint64 `json:"total_bytes"`
	}
	if err := json.Unmarshal(a.Data, &current); err != nil || a.status != http.StatusOK {
		t.Fatalf("status %d, %v: %s", a.status, err, a.Data)
	}
	stock, err := os.ReadFile(recordings + "/live-lab/nlbw-musl/json-g-mac.out")
	if err != nil {
		t.Fatal(err)
	}
	var recorded struct{ Data [][]any }
	if err := json.Unmarshal(stock, &recorded); err != nil {
		t.Fatal(err)
	}
	if len(current.Devices) != len(recorded.Data) || current.TotalDevices != len(recorded.Data) {
		t.Fatalf("%d devices, stock nlbw printed %d", len(current.Devices), len(recorded.Data))
	}
	for _, row := range recorded.Data { // mac conns rx_bytes rx_pkts tx_bytes tx_pkts
		found := false
		for _, d := range current.Devices {
			if d["mac"] == row[0] {
				found = d["connections"] == row[1] && d["bytes_rx"] == row[2] && d["packets_rx"] == row[3] &&
					d["bytes_tx"] == row[4] && d["packets_tx"] == row[5]
			}
		}
		if !found {
			t.Errorf("REST does not say what stock nlbw printed: %v, got %v", row, current.Devices)
		}
	}
	if current.Source != "snapshot" || current.TotalBytes != 16816186 {
		t.Errorf("source %s, %d bytes", current.Source, current.TotalBytes)
	}
	if text := string(a.Data); strings.Contains(text, "\x1b") || strings.Contains(text, "<script>") || strings.Contains(text, "\u202e") {
		t.Errorf("a hostile name came through: %s", text)
	}

	for path, want := range map[string]string{
		"/api/device-usage/current" + id + "&limit=1&offset=1&sort=tx": `"mac":"02:77:00:00:00:12"`,
		"/api/device-usage/device/02:77:00:00:00:11" + id:              `"hostname":"laptop"`,
		"/api/device-usage/device/02-77-00-00-00-11" + id:              `"service":"HTTPS"`,
		"/api/device-usage/records" + id + "&limit=2":                  `"total_records":15`,
		"/api/device-usage/status" + id:                                `"connected":true`,
		"/api/device-usage/current" + id + "&period=2026-11-01":        `"source":"file"`,
	} {
		if a := s.get(path); a.status != http.StatusOK || !strings.Contains(string(a.Data), want) {
			t.Errorf("GET %s: status %d, no %s in %s %v", path, a.status, want, a.Data, a.Error)
		}
	}
	for path, want := range map[string]answer{
		"/api/device-usage/device/02:00:00:00:00:99" + id:               {status: 404, Error: struct{ Code, Message string }{Code: "DEVICE_NOT_FOUND"}},
		"/api/device-usage/device/00:00:00:00:00:00" + id:               {status: 400, Error: struct{ Code, Message string }{Code: "BAD_REQUEST"}},
		"/api/device-usage/device/nonsense" + id:                        {status: 400, Error: struct{ Code, Message string }{Code: "BAD_REQUEST"}},
		"/api/device-usage/current?routerId=" + strings.Repeat("a", 64): {status: 404, Error: struct{ Code, Message string }{Code: "ROUTER_NOT_FOUND"}},
		"/api/device-usage/current":                                     {status: 400, Error: struct{ Code, Message string }{Code: "BAD_REQUEST"}},
		"/api/device-usage/current" + id + "&sort=colour":               {status: 400, Error: struct{ Code, Message string }{Code: "BAD_REQUEST"}},
		"/api/device-usage/current" + id + "&sessionId=x":               {status: 401, Error: struct{ Code, Message string }{Code: "SESSION_INVALID"}},
	} {
		if a := s.get(path); a.status != want.status || a.Error.Code != want.Error.Code || a.Success {
			t.Errorf("GET %s: status %d %v, want %d %s", path, a.status, a.Error, want.status, want.Error.Code)
		}
	}

	if exit, stdout, stderr := r.command("", "status", "--audit"); exit != 0 || !strings.Contains(stdout, `"method":"usage.records","result":"ok"`) ||
		!strings.Contains(stdout, `"method":"usage.device","result":"not_found"`) {
		t.Errorf("audit: exit code %d, %s %s", exit, stdout, stderr)
	}

	key := s.key
	s.key = "npk_" + strings.Repeat("A", 43)
	if a := s.get("/api/device-usage/current" + id); a.status != 401 || a.Error.Code != "UNAUTHENTICATED" {
		t.Errorf("wrong key: %d %v", a.status, a.Error)
	}
	s.key = key

	r.stop()
	s.online(0)
	// The last known, and for what was never asked a clear word.
	if a := s.get("/api/device-usage/current" + id); a.status != 200 || !a.Metadata.Stale || a.Metadata.AsOf == "" {
		t.Errorf("agent gone: %d %v %+v", a.status, a.Error, a.Metadata)
	}
	if a := s.get("/api/device-usage/records" + id); a.status != 503 || a.Error.Code != "ROUTER_OFFLINE" {
		t.Errorf("agent gone: %d %v", a.status, a.Error)
	}
}

// TestBrokenNlbwmon is each way nlbwmon fails: one clear error, and the link
// stays.
func TestBrokenNlbwmon(t *testing.T) {
	s, r := newServer(t), newRouter(t, lab, "live-lab")
	r.enrol(s)
	r.run()
	s.online(1)
	path := "/api/device-usage/current?routerId=" + r.id()
	for name, break_ := range map[string]func(*nlbwmontest.Options){
		"frozen":        func(o *nlbwmontest.Options) { o.Frozen = true },
		"dies mid-dump": func(o *nlbwmontest.Options) { o.Frozen, o.DieAfterRows = false, 2 },
	} {
		r.only(break_)
		if a := s.get(path); a.status != 502 || a.Error.Code != "NLBWMON_UNAVAILABLE" || !strings.Contains(a.Error.Message, "service nlbwmon") {
			t.Errorf("%s: %d %v", name, a.status, a.Error)
		}
	}
	r.only(func(o *nlbwmontest.Options) { o.Frozen, o.DieAfterRows = false, 0 })
	if a := s.get(path); a.status != 200 || !strings.Contains(string(a.Data), `"source":"socket"`) {
		t.Errorf("repaired: %d %v %s", a.status, a.Error, a.Data)
	}
}

// TestEnrolment: a token opens the door once, and no error says more than it
// must.
func TestEnrolment(t *testing.T) {
	s, r := newServer(t), newRouter(t, lab, "live-lab")
	token := s.admin("enrolment", "create")
	if exit, stdout, stderr := r.command(token, "enroll", "--relay", s.url); exit != 0 || !strings.Contains(stdout, "enrolled as router") {
		t.Fatalf("exit code %d: %s %s", exit, stdout, stderr)
	}
	info, err := os.Stat(filepath.Join(r.root, "etc/netpilot/identity.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("identity: %v %v", info, err)
	}
	file := filepath.Join(r.root, "token")
	if err := os.WriteFile(file, []byte("npt_wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	expired := s.admin("enrolment", "create", "--ttl", "1ns")
	for name, args := range map[string][2]string{"used": {token, ""}, "expired": {expired, ""}, "wrong": {"", file}} {
		words := []string{"enroll", "--relay", s.url}
		if args[1] != "" {
			words = append(words, "--token-file", args[1])
		}
		exit, _, stderr := r.command(args[0], words...)
		if exit != 1 || !strings.Contains(stderr, "token is wrong, used or expired") {
			t.Errorf("%s token: exit code %d, %q", name, exit, stderr)
		}
		if strings.Contains(stderr, strings.TrimSpace(token)) {
			t.Errorf("the token stands in %q", stderr)
		}
	}
	if exit, _, stderr := r.command(token, "enroll", "--relay", "http://127.0.0.1:1"); exit != 1 || !strings.Contains(stderr, "is the relay running?") {
		t.Errorf("no relay: exit code %d, %q", exit, stderr)
	}
}

// TestTwoAgentsOneIdentity: the newer link wins, the other agent says why it
// has none and waits, and the answers go on.
func TestTwoAgentsOneIdentity(t *testing.T) {
	s, first, second := newServer(t), newRouter(t, lab, "live-lab"), newRouter(t, lab, "live-lab")
	first.enrol(s)
	first.run()
	s.online(1)
	identity, err := os.ReadFile(filepath.Join(first.root, "etc/netpilot/identity.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(second.root, "etc/netpilot"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(second.root, "etc/netpilot/identity.json"), identity, 0o600); err != nil {
		t.Fatal(err)
	}
	second.run()
	until(t, "the first agent notices", func() bool {
		_, stdout, _ := first.command("", "status", "--json")
		return strings.Contains(stdout, `"connected": false`) && strings.Contains(stdout, "a newer link of this router took over")
	})
	if a := s.get("/api/device-usage/current?routerId=" + first.id()); a.status != 200 {
		t.Errorf("%d %v", a.status, a.Error)
	}
}

// TestRelayRestart: a call in flight ends in one error, and the agent comes
// back by itself.
func TestRelayRestart(t *testing.T) {
	s, r := newServer(t), newRouter(t, lab, "live-lab")
	r.enrol(s)
	r.run()
	s.online(1)
	path := "/api/device-usage/current?routerId=" + r.id()
	asked := make(chan struct{})
	r.only(func(o *nlbwmontest.Options) {
		o.Frozen = false
		o.Reply = func(string) ([]byte, bool) {
			select {
			case <-asked:
			default:
				close(asked)
			}
			return nil, false
		}
		o.RowDelay = 1 << 40 // the first row does not come in this test's life
	})
	type outcome struct {
		a   answer
		err error
	}
	done := make(chan outcome, 1)
	go func() { // ends with the relay's answer or its end
		a, err := s.ask(path)
		done <- outcome{a, err}
	}()
	<-asked
	s.stop()
	if o := <-done; o.err == nil && (o.a.Success || o.a.status < 500) {
		t.Errorf("call in flight: %d %v", o.a.status, o.a.Error)
	}
	s.start()
	s.online(1)
	r.only(func(o *nlbwmontest.Options) { o.RowDelay, o.Reply = 0, nil })
	if a := s.get(path); a.status != 200 {
		t.Errorf("after the restart: %d %v", a.status, a.Error)
	}
}

// TestRevoked: a revoked router loses its live link and is told.
func TestRevoked(t *testing.T) {
	s, r := newServer(t), newRouter(t, lab, "live-lab")
	r.enrol(s)
	r.run()
	s.online(1)
	s.admin("router", "revoke", r.id())
	s.online(0)
	until(t, "the agent knows", func() bool {
		_, stdout, _ := r.command("", "status", "--json")
		return strings.Contains(stdout, "revoked")
	})
	r.stop()
	r.enrol(s) // a new token lets it in again
	r.run()
	s.online(1)
}

// TestRemoteAccessOff: the owner's word stands.
func TestRemoteAccessOff(t *testing.T) {
	s, r := newServer(t), newRouter(t, lab, "live-lab")
	r.enrol(s)
	file := filepath.Join(r.root, "etc/config/netpilot")
	if err := os.WriteFile(file, []byte("config agent 'agent'\n\toption remote_access 'off'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.run()
	s.online(1)
	if a := s.get("/api/device-usage/current?routerId=" + r.id()); a.status != 403 || !strings.Contains(a.Error.Message, "remote_access") {
		t.Errorf("%d %v", a.status, a.Error)
	}
}

// TestRemoteAccessChanges: what the relay may ask for changes with the next
// call, over the same link and in the same process.
func TestRemoteAccessChanges(t *testing.T) {
	s, r := newServer(t), newRouter(t, lab, "live-lab")
	s.key = strings.TrimSpace(s.admin("key", "create", "--name", "writer", "--scope", "write"))
	r.enrol(s)
	r.run()
	s.online(1)
	up := "?routerId=" + r.id()
	current, device, preferences := "/api/device-usage/current"+up, "/api/device-usage/device/02:77:00:00:00:11"+up, "/api/device-usage/preferences"+up
	allows := func(access string, read, write int) {
		t.Helper()
		if a := s.put(device, `{"group":"kids"}`); a.status != write {
			t.Errorf("%s: a change got %d %v, want %d", access, a.status, a.Error, write)
		}
		if a := s.get(current); a.status != read {
			t.Errorf("%s: a question got %d %v, want %d", access, a.status, a.Error, read)
		}
	}
	allows("full", 200, 200)
	if a := s.put(preferences, `{"remote_access":"read","log_level":"debug"}`); a.status != 200 || !strings.Contains(string(a.Data), `"restart_required":[]`) {
		t.Fatalf("got %d %v %s, want it in force", a.status, a.Error, a.Data)
	}
	allows("read", 200, 403)
	for _, step := range []struct {
		access      string
		read, write int
	}{{"off", 403, 403}, {"full", 200, 200}} { // the owner's word, on the router
		if _, err := local.Call(t.Context(), filepath.Join(r.root, local.Path), "preferences.set", json.RawMessage(`{"remote_access":"`+step.access+`"}`)); err != nil {
			t.Fatal(err)
		}
		allows(step.access, step.read, step.write)
	}
	if log := r.log.String(); strings.Count(log, "link up") != 1 || strings.Contains(log, "link closed") || !strings.Contains(log, "level=DEBUG") {
		t.Errorf("want one link and debugging in the log:\n%s", log)
	}
}

// TestConcurrentCalls: answers that arrive back to back do not mix. The race
// detector sees a frame that is read over while its answer is being written.
func TestConcurrentCalls(t *testing.T) {
	s, r := newServer(t), newRouter(t, lab, "live-lab")
	r.enrol(s)
	r.run()
	s.online(1)
	id := "routerId=" + r.id()
	var callers sync.WaitGroup
	for path, want := range map[string]string{ // four at once, as many as an agent takes
		"/api/device-usage/current?limit=1&" + id:               `"next_offset":1`,
		"/api/device-usage/records?" + id:                       `"total_records":15`,
		"/api/device-usage/device/02:77:00:00:00:11?" + id:      `"total_services":3`,
		"/api/device-usage/records?mac=02:77:00:00:00:12&" + id: `"total_records":6`,
	} {
		callers.Go(func() {
			for range 25 {
				if a, err := s.ask(path); err != nil || a.status != http.StatusOK || !strings.Contains(string(a.Data), want) {
					t.Errorf("GET %s: %d %v %v: %s", path, a.status, a.Error, err, a.Data)
				}
			}
		})
	}
	callers.Wait()
}

// TestHistory: what nlbwmon counts while the agent runs is in its history
// once, through a restart of the agent, and the verbs show it.
func TestHistory(t *testing.T) {
	r := newRouter(t, lab, "empty")
	r.refreshFast()
	if exit, _, stderr := r.command("", "history"); exit != 1 || !strings.Contains(stderr, "daemon does not run") {
		t.Errorf("without a daemon: exit code %d, %s", exit, stderr)
	}
	r.add(777) // from before the first look: nobody can tell when it passed
	r.run()
	before := r.booked()
	r.stop()
	r.add(5000) // while no agent looks
	r.run()
	until(t, "all is in the history", func() bool {
		if err := r.daemon.Refresh(); err != nil { // the snapshot must be younger than two refreshes
			t.Fatal(err)
		}
		return r.total("history", "--timeframe", "24h") >= before+5000
	})
	r.add(1)
	until(t, "and the byte after it", func() bool {
		if err := r.daemon.Refresh(); err != nil {
			t.Fatal(err)
		}
		return r.total("history", "--timeframe", "24h") >= before+5001
	})
	if after := r.total("history", "--timeframe", "24h"); after != before+5001 {
		t.Errorf("a restart made %d of %d bytes", after-before, 5001)
	}
	for args, want := range map[string]string{
		"history --by device --format csv":   "02:77:00:00:00:11,laptop,",
		"history --by service --format csv":  ",HTTPS,",
		"history --by family --format table": "IPv4",
		"history --timeframe 1h":             `"counting":{"ok":`,
		"history --format table":             "counting: no fault known",
		"export --format json":               `"counting":{"ok":true`,
		"summary --format table":             "02:77:00:00:00:11 laptop",
		"report":                             "Usage of this router",
		"report --format md":                 "| laptop | 02:77:00:00:00:11 |",
		"report --days 1 --format html":      "<rect class=\"rx\"",
	} {
		exit, stdout, stderr := r.command("", strings.Fields(args)...)
		if exit != 0 || !strings.Contains(stdout, want) {
			t.Errorf("%s: exit code %d, no %q in:\n%s%s", args, exit, want, stdout, stderr)
		}
	}
	// The owner's word is taken by the running daemon, and is in every answer
	// from then on; each can be asked by it.
	const device = "02:77:00:00:00:11"
	for _, args := range [][]string{{"alias", device, "Anna's laptop"}, {"group", device, "kids"}, {"category", device, "work"}} {
		if exit, _, stderr := r.command("", append([]string{"devices"}, args...)...); exit != 0 {
			t.Fatalf("devices %q: exit code %d, %s", args, exit, stderr)
		}
	}
	const label = "Anna's laptop (kids, work)"
	for args, want := range map[string]string{
		"devices --group kids --format table":           "Anna's laptop",
		"dump --group kids --format csv":                ",Anna's laptop,kids,work,",
		"dump --format table":                           label,
		"history --by device --group kids --format csv": ",Anna's laptop,kids,work",
		"history --by device --format table":            label,
		"history --by device --category work":           `"category":"work"`,
		"export --by device --category work":            ",Anna's laptop,kids,work",
		"summary --group kids --format table":           device + " " + label,
		"summary --category work":                       `"group":"kids"`,
		"summary --by group --format table":             "kids, devices: 1",
		"summary --by category":                         `"categories":[{"category":`,
		"history --by group --format table":             "  kids\n",
		"history --by category --format csv":            ",work",
		"export --by group":                             ",kids,",
		"dump --by group --format csv":                  "kids,1,",
		"dump --by category --format table":             "  work\n",
		"report --days 1":                               "kids ",
		"report --group kids":                           label,
		"report --category work --format md":            "| Anna's laptop \\(kids, work\\) | " + device,
		"report --name anna's --format html":            "Nothing was counted",
		"report --group kids --days 1 --format html":    "Anna&#39;s laptop (kids, work)",
		"nlbw -c csv -g mac -i":                         "Anna's laptop",
	} {
		exit, stdout, stderr := r.command("", strings.Fields(args)...)
		if exit != 0 || !strings.Contains(stdout, want) {
			t.Errorf("%s: exit code %d, no %q in:\n%s%s", args, exit, want, stdout, stderr)
		}
	}
	for _, args := range []string{"history --by device --group parents --format csv", "summary --category gaming", "export --group parents", "dump --group parents --format csv"} {
		if exit, stdout, stderr := r.command("", strings.Fields(args)...); exit != 0 || strings.Contains(stdout, device) {
			t.Errorf("%s: exit code %d, %s%s", args, exit, stdout, stderr)
		}
	}
	if exit, _, stderr := r.command("", "devices", "forget", device); exit != 0 {
		t.Errorf("forget: exit code %d, %s", exit, stderr)
	}
	if exit, stdout, stderr := r.command("", "devices", "--mac", device); exit != 0 || strings.Contains(stdout, "Anna") || strings.Contains(stdout, "kids") {
		t.Errorf("after forget: exit code %d, %s%s", exit, stdout, stderr)
	}
	if exit, _, stderr := r.command("", "devices", "forget", "02:77:00:00:00:99"); exit != 1 || !strings.Contains(stderr, "no device 02:77:00:00:00:99") {
		t.Errorf("forget a stranger: exit code %d, %s", exit, stderr)
	}
	for _, args := range []string{"history --by colour", "history --timeframe 2h", "history --days 1 --from 2026-11-01", "report --format pdf", "summary --limit 0"} {
		if exit, _, stderr := r.command("", strings.Fields(args)...); exit != 2 {
			t.Errorf("%s: exit code %d, %s", args, exit, stderr)
		}
	}
}
