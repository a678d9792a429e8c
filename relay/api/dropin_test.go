package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/store"
	"github.com/netpilot/netpilot/relay/store/storetest"
)

// backend calls as the cloud backend does: one base URL with credentials in
// it, ids in the query, a JSON body with everything, a health check before a
// call when the last one is over 30 s old, raw bodies as error texts.
type backend struct {
	t       testing.TB
	http    *http.Client
	base    *url.URL
	now     func() time.Time
	checked time.Time
	healthy bool
	checks  int
}

// newBackend serves the rig and gives a backend that knows only its URL.
func newBackend(r *rig) *backend {
	server := httptest.NewServer(r.API)
	r.t.Cleanup(server.Close)
	base, err := url.Parse(server.URL)
	if err != nil {
		r.t.Fatal(err)
	}
	base.User = url.UserPassword("netpilot", r.key)
	return &backend{t: r.t, http: server.Client(), base: base, now: r.Now}
}

// send makes one request. Go's client, as Python's, makes Basic of the URL's
// credentials.
func (b *backend) send(method, path string, query url.Values, body []byte) (int, []byte) {
	b.t.Helper()
	u := *b.base
	u.Path, u.RawQuery = path, query.Encode()
	var from io.Reader
	if body != nil {
		from = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(b.t.Context(), method, u.String(), from)
	if err != nil {
		b.t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("User-Agent", "CloudBackend/1.0")
	resp, err := b.http.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp.StatusCode, text
}

// call is one call of the backend: its data, or the error text it makes.
func (b *backend) call(method, path, session string, router usage.RouterID, body string) (data json.RawMessage, failure string) {
	b.t.Helper()
	if b.now().Sub(b.checked) > 30*time.Second {
		b.checks++
		status, text := b.send("GET", "/health", nil, nil)
		var e struct{ Success bool }
		b.healthy = json.Unmarshal(text, &e) == nil && e.Success && status < 400
		b.checked = b.now()
	}
	if !b.healthy {
		return nil, "commands server is not available"
	}
	if body == "" {
		body = "{}"
	}
	status, text := b.send(method, path, url.Values{"routerId": {string(router)}, "sessionId": {session}}, []byte(body))
	if status >= 400 {
		return nil, string(text)
	}
	var e struct {
		Success *bool
		Data    json.RawMessage
	}
	if err := json.Unmarshal(text, &e); err != nil || e.Success == nil {
		return nil, "not an answer: " + string(text)
	}
	if string(e.Data) == "null" {
		e.Data = json.RawMessage("{}")
	}
	return e.Data, ""
}

// lan is a router with three devices and an unresolved address.
func lan(_ context.Context, method string, params json.RawMessage) (json.RawMessage, error) {
	row := func(mac, ip string, rx, tx uint64) string {
		return fmt.Sprintf(`{"mac":%q,"ip":%s,"ips":["fd00::9"],"hostname":"h","bytes_rx":%d,"bytes_tx":%d,"connections":3}`, mac, ip, rx, tx)
	}
	switch method {
	case "usage.current":
		return json.RawMessage(`{"devices":[` + strings.Join([]string{
			row("02:77:00:00:00:11", `"192.168.1.5"`, 3<<20, 1<<20),
			row("02:77:00:00:00:12", "null", 5<<20, 1<<19),
			row("02:77:00:00:00:13", `"192.168.2.7"`, 1024, 0), // not more than 1 KiB
			row("02:77:00:00:00:14", `"192.168.2.8"`, 1024, 1),
			row("00:00:00:00:00:00", `"192.168.1.9"`, 9<<20, 0),
		}, ",") + `],"unresolved":[]}`), nil
	case "usage.summary":
		var p struct {
			Timeframe string
			Days      int
		}
		if err := json.Unmarshal(params, &p); err != nil {
			return nil, err
		}
		if p.Timeframe == "7d" {
			return json.RawMessage(`{"top_devices":[` + strings.Join([]string{
				row("02:77:00:00:00:11", `null`, 1<<20, 0), // not more than 1 MiB
				row("02:77:00:00:00:12", "null", 1<<20, 1),
			}, ",") + `]}`), nil
		}
		if p.Days != 23 { // the month to date
			return nil, usage.Errorf(usage.Invalid, "got %s", params)
		}
		return json.RawMessage(`{"top_devices":[` + strings.Join([]string{
			row("02:77:00:00:00:11", `null`, 10<<20, 1),
			row("02:77:00:00:00:12", "null", 10<<20, 0), // not more than 10 MiB
		}, ",") + `]}`), nil
	case "network.scan":
		return json.RawMessage(`{"devices":[
			{"mac":"02:77:00:00:00:13","ip":"192.168.2.7","hostname":null,"vendor":null},
			{"mac":"02:77:00:00:00:11","ip":"192.168.1.5","hostname":"phone","alias":"Anna's","vendor":"Acme"}]}`), nil
	}
	return nil, usage.Errorf(usage.Invalid, "no method %q", method)
}

// COMMANDS_SERVER.md, line by line, by a client that knows nothing else. Each
// step is one call; the answer is its data, or the text of its failure.
func TestDropInContract(t *testing.T) {
	r := newRig(t)
	r.routers.answer = lan
	b := newBackend(r)
	up, away := storetest.RouterID(connected), storetest.RouterID(offline)
	item := func(mac, ip, down, up string) string {
		return `{"mac":"` + mac + `","ip":"` + ip + `","download":` + down + `,"upload":` + up + `,"unit":"MB","connections":3}`
	}
	one := item("02:77:00:00:00:11", "192.168.1.5", "3", "1")
	noSession := `"code":"SESSION_INVALID","message":"Session is not active or has expired","details":null}`
	noIDs := `"code":"BAD_REQUEST","message":"sessionId and routerId are required","details":null}`
	for _, step := range []struct {
		line, method, path, session string
		router                      usage.RouterID
		body                        string
		data                        string // equal to
		failure                     string // has
	}{
		{line: "nothing works without a session", method: "GET", path: "/api/monitor/current", session: "s1", router: up, failure: noSession},
		{line: "scan neither", method: "GET", path: "/api/network/scan", session: "s1", router: up, failure: noSession},
		{line: "execute neither", method: "POST", path: "/api/router/execute", session: "s1", router: up, body: `{"command":"uptime"}`, failure: noSession},
		{line: "end neither", method: "POST", path: "/api/session/end", session: "s1", router: up, failure: noSession},
		{line: "refresh says 404", method: "POST", path: "/api/session/refresh", session: "s1", router: up, failure: `"SESSION_NOT_FOUND"`},
		{line: "start of an offline router", method: "POST", path: "/api/session/start", session: "s1", router: away, failure: `"ROUTER_UNREACHABLE"`},
		{line: "it is not left active", method: "GET", path: "/api/monitor/current", session: "s1", router: up, failure: noSession},
		{line: "start", method: "POST", path: "/api/session/start", session: "s1", router: up,
			data: `{"session_id":"s1","router_reachable":true,"infrastructure_ready":true,"message":"Session established successfully"}`},
		{line: "a second start", method: "POST", path: "/api/session/start", session: "s1", router: up, failure: `"SESSION_ALREADY_ACTIVE"`},
		{line: "a second start, to begin anew", method: "POST", path: "/api/session/start", session: "s1", router: up, body: `{"restart":true}`,
			data: `{"session_id":"s1","router_reachable":true,"infrastructure_ready":true,"message":"Session established successfully"}`},
		{line: "refresh with {}", method: "POST", path: "/api/session/refresh", session: "s1", router: up, data: `{"message":"Session s1 refreshed"}`},
		{line: "current, largest first, over 1 KiB, without MAC zero", method: "GET", path: "/api/monitor/current", session: "s1", router: up,
			data: "[" + item("02:77:00:00:00:12", "fd00::9", "5", "0.5") + "," + one + "," + item("02:77:00:00:00:14", "192.168.2.8", "0", "0") + "]"},
		{line: "last week, over 1 MiB", method: "GET", path: "/api/monitor/last-week", session: "s1", router: up,
			data: "[" + item("02:77:00:00:00:12", "fd00::9", "1", "0") + "]"},
		{line: "last month, to date, over 10 MiB", method: "GET", path: "/api/monitor/last-month", session: "s1", router: up,
			data: "[" + item("02:77:00:00:00:11", "192.168.1.5", "10", "0") + "]"},
		{line: "a device", method: "GET", path: "/api/monitor/device/ 02:77:00:00:00:11 ", session: "s1", router: up,
			data: one[:len(one)-1] + `,"period":"current","timestamp":"STAMP"}`},
		{line: "a device in upper case", method: "GET", path: "/api/monitor/device/02:77:00:00:00:1F", session: "s1", router: up,
			failure: `"code":"COMMAND_FAILED","message":"Command failed: Device with MAC '02:77:00:00:00:1f' not found in current data"`},
		{line: "scan", method: "GET", path: "/api/network/scan", session: "s1", router: up,
			data: `[{"ip":"192.168.1.5","mac":"02:77:00:00:00:11","hostname":"Anna's","vendor":"Acme","usage":{"download":3,"upload":1,"unit":"MB","total_bytes":4194304,"connections":3}},` +
				`{"ip":"192.168.2.7","mac":"02:77:00:00:00:13","hostname":"Unknown","vendor":"Unknown Vendor","usage":{"download":0,"upload":0,"unit":"MB","total_bytes":1024,"connections":3}}]`},
		{line: "one session, several routers: the other is offline", method: "GET", path: "/api/monitor/current", session: "s1", router: away,
			failure: `"code":"COMMAND_FAILED","message":"Command failed: `},
		{line: "an unknown router", method: "GET", path: "/api/monitor/current", session: "s1", router: storetest.RouterID(unknown), failure: `"COMMAND_FAILED"`},
		{line: "no router", method: "GET", path: "/api/monitor/current", session: "s1", failure: noIDs},
		{line: "no session", method: "GET", path: "/api/monitor/current", router: up, failure: noIDs},
		{line: "ids in the body", method: "GET", path: "/api/network/scan", body: `{"sessionId":"s1","routerId":"` + string(up) + `"}`,
			data: `[{"ip":"192.168.1.5","mac":"02:77:00:00:00:11","hostname":"Anna's","vendor":"Acme","usage":{"download":3,"upload":1,"unit":"MB","total_bytes":4194304,"connections":3}},` +
				`{"ip":"192.168.2.7","mac":"02:77:00:00:00:13","hostname":"Unknown","vendor":"Unknown Vendor","usage":{"download":0,"upload":0,"unit":"MB","total_bytes":1024,"connections":3}}]`},
		{line: "a broken body beside ids in the query", method: "POST", path: "/api/session/refresh", session: "s1", router: up, body: `{"a":`, data: `{"message":"Session s1 refreshed"}`},
		{line: "what the relay does not own", method: "GET", path: "/api/wifi/status", session: "s1", router: up, failure: `"code":"NOT_FOUND"`},
		{line: "it neither with DELETE and {}", method: "DELETE", path: "/api/whitelist/devices", session: "s1", router: up, failure: `"code":"NOT_FOUND"`},
		{line: "end", method: "POST", path: "/api/session/end", session: "s1", router: up, data: `{"message":"Session ended"}`},
		{line: "a second end", method: "POST", path: "/api/session/end", session: "s1", router: up, failure: noSession},
		{line: "device-usage needs no session", method: "GET", path: "/api/device-usage/current", router: up, data: "ANY"},
		{line: "but checks one that is named", method: "GET", path: "/api/device-usage/current", session: "s1", router: up, failure: `"SESSION_INVALID"`},
	} {
		data, failure := b.call(step.method, step.path, step.session, step.router, step.body)
		got := regexp.MustCompile(`"timestamp":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}"`).ReplaceAllString(string(data), `"timestamp":"STAMP"`)
		switch {
		case step.failure != "" && !strings.Contains(failure, step.failure), step.failure == "" && failure != "":
			t.Errorf("%s: failed with %q, want %q", step.line, failure, step.failure)
		case step.data != "ANY" && got != step.data:
			t.Errorf("%s: got  %s\nwant %s", step.line, got, step.data)
		}
	}
	if b.checks != 1 {
		t.Errorf("%d health checks within 30 s, want 1", b.checks)
	}
	r.now = r.now.Add(31 * time.Second)
	if _, failure := b.call("POST", "/api/session/start", "s2", up, ""); failure != "" || b.checks != 2 {
		t.Errorf("after 31 s: %d health checks, %s", b.checks, failure)
	}
	// The status of each kind of failure, on the drop-in paths.
	for _, err := range []error{
		usage.Errorf(usage.Invalid, "x"), usage.Errorf(usage.NotFound, "x"), usage.Errorf(usage.Offline, "x"), usage.Errorf(usage.Timeout, "x"),
		usage.Errorf(usage.Busy, "x"), usage.Errorf(usage.Unavailable, "x"), fmt.Errorf("x"),
	} {
		r.answer("", err)
		r.now = r.now.Add(time.Hour) // nothing is remembered
		want(t, "start", r.do("POST", "/api/session/start?sessionId=s3&routerId="+id(connected), "{}", nil), 200, "")
		r.known.forget(up)
		for _, path := range []string{"/api/monitor/last-week", "/api/network/scan", "/api/monitor/device/02:77:00:00:00:11?period=week"} {
			join := "?"
			if strings.Contains(path, "?") {
				join = "&"
			}
			want(t, fmt.Sprint(path, " ", err, usage.KindOf(err)), r.do("GET", path+join+"sessionId=s3&routerId="+id(connected), "{}", nil), 500, "COMMAND_FAILED")
		}
	}
	r.routers.answer = lan
	ids := "?sessionId=s3&routerId=" + id(connected)
	want(t, "a bad period", r.do("GET", "/api/monitor/device/02:77:00:00:00:11"+ids+"&period=year", "{}", nil), 500, "COMMAND_FAILED")
	want(t, "a bad MAC", r.do("GET", "/api/monitor/device/phone"+ids, "{}", nil), 500, "COMMAND_FAILED")
	e := want(t, "metadata", r.do("GET", "/api/monitor/current"+ids, "{}", nil), 200, "")
	if *e.Metadata.SessionID != "s3" || *e.Metadata.RouterID != id(connected) || e.Metadata.Timestamp != r.now.Local().Format("2006-01-02T15:04:05.000000") {
		t.Errorf("got metadata %+v", e.Metadata)
	}
	for word, period := range map[string]string{"week": "weekly", "month": "monthly"} {
		e := want(t, word, r.do("GET", "/api/monitor/device/02:77:00:00:00:99"+ids+"&period="+word, "{}", nil), 500, "COMMAND_FAILED")
		if !strings.HasSuffix(e.Error.Message, "not found in "+period+" data") {
			t.Errorf("%s: got %q", word, e.Error.Message)
		}
	}
	want(t, "no key", r.do("GET", "/api/monitor/current"+ids, "{}", with("npk_wrong")), 401, "SESSION_INVALID")
}

// A router that never answers: the relay does, within 25 s.
func TestAnswersInTime(t *testing.T) {
	r := newRig(t)
	ids := r.inSession()
	r.routers.answer = func(ctx context.Context, _ string, _ json.RawMessage) (json.RawMessage, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	r.Now = time.Now
	for _, path := range []string{"/api/monitor/current", "/api/monitor/last-week", "/api/monitor/device/x", "/api/network/scan"} {
		synctest.Test(t, func(t *testing.T) {
			r.sessions = newSessions(r.db)
			r.t = t
			if err := r.sessions.start(t.Context(), r.ownKey(), "s1", true, time.Now()); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			want(t, path, r.do("GET", path+ids, "{}", nil), 500, "COMMAND_FAILED")
			if took := time.Since(began); took > 25*time.Second {
				t.Errorf("%s took %v", path, took)
			}
		})
	}
}

// ownKey is the id of the rig's key.
func (r *rig) ownKey() string {
	k, err := r.db.KeyByHash(context.Background(), store.HashOf(r.key), start)
	if err != nil {
		r.t.Fatal(err)
	}
	return k.ID
}

// Sessions: idle 30 minutes, any request is activity, of their key alone, and
// a relay that starts again knows them.
func TestSessionRules(t *testing.T) {
	r := newRig(t)
	ids := r.inSession()
	current := "/api/monitor/current" + ids
	works := func(name string, yes bool) {
		t.Helper()
		if yes {
			want(t, name, r.do("GET", current, "{}", nil), 200, "")
		} else {
			want(t, name, r.do("GET", current, "{}", nil), 401, "SESSION_INVALID")
		}
	}
	r.now = r.now.Add(sessionIdle - time.Second)
	works("just before", true)
	r.now = r.now.Add(sessionIdle - time.Second)
	want(t, "any request is activity", r.do("GET", currentOf+id(connected)+"&sessionId=s1", "{}", nil), 200, "")
	r.now = r.now.Add(sessionIdle - time.Second)
	works("after it", true)
	want(t, "of another key", r.do("GET", current, "{}", with(r.grantKey("other", store.ScopeRead, nil))), 401, "SESSION_INVALID")

	// The sweep writes the use down; a relay that was killed then knows it.
	if err := r.sessions.sweep(t.Context(), r.now); err != nil {
		t.Fatal(err)
	}
	again := New(r.db, r.routers, slog.New(slog.DiscardHandler))
	again.Now = r.Now
	r.API = again
	works("after a restart", true)
	e := want(t, "status", r.do("GET", "/api/session/status", "", nil), 200, "")
	var list []sessionItem
	if err := json.Unmarshal(e.Data, &list); err != nil || len(list) != 1 || list[0].SessionID != "s1" || list[0].IdleSeconds != 0 {
		t.Errorf("got %s, %v", e.Data, err)
	}
	e = want(t, "status for another key", r.do("GET", "/api/session/status", "", with(r.grantKey("third", store.ScopeRead, nil))), 200, "")
	if string(e.Data) != "[]" {
		t.Errorf("another key sees %s", e.Data)
	}
	want(t, "status without a key", r.do("GET", "/api/session/status", "", with("")), 401, "SESSION_INVALID")

	r.now = r.now.Add(sessionIdle)
	works("idle for 30 minutes", false)
	if err := r.sessions.sweep(t.Context(), r.now); err != nil {
		t.Fatal(err)
	}
	if kept, err := r.db.Sessions(t.Context()); err != nil || len(kept) != 0 {
		t.Errorf("after the sweep: %v, %v", kept, err)
	}
	want(t, "start again", r.do("POST", "/api/session/start"+ids, "{}", nil), 200, "")
	want(t, "end", r.do("POST", "/api/session/end"+ids, "{}", nil), 200, "")
	works("ended", false)
	for name, session := range map[string]string{"long": strings.Repeat("x", maxSessionID+1), "not printable": "a%00b", "line break": "a%0Ab"} {
		want(t, name, r.do("POST", "/api/session/start?routerId="+id(connected)+"&sessionId="+session, "{}", nil), 400, "BAD_REQUEST")
	}
	tenant := with(r.grantKey("tenant", store.ScopeRead, []usage.RouterID{storetest.RouterID(offline)}))
	foreign := want(t, "foreign", r.do("POST", "/api/session/start"+ids, "{}", tenant), 500, "ROUTER_UNREACHABLE")
	absent := want(t, "absent", r.do("POST", "/api/session/start?sessionId=s1&routerId="+id(unknown), "{}", tenant), 500, "ROUTER_UNREACHABLE")
	if strings.ReplaceAll(foreign.Error.Message, storetest.RouterID(connected).Short(), "") != strings.ReplaceAll(absent.Error.Message, storetest.RouterID(unknown).Short(), "") {
		t.Errorf("a foreign router is told from an unknown one: %q, %q", foreign.Error.Message, absent.Error.Message)
	}
}

func TestSessionsAreBounded(t *testing.T) {
	r := newRig(t)
	if err := r.sessions.sweep(t.Context(), r.now); err != nil { // loads
		t.Fatal(err)
	}
	for i := range maxSessions {
		s := store.Session{ID: fmt.Sprint(i), Key: "k", StartedAt: r.now, UsedAt: r.now}
		r.sessions.active[sessionKey{s.Key, s.ID}] = &s
	}
	want(t, "one more", r.do("POST", "/api/session/start?sessionId=s1&routerId="+id(connected), "{}", nil), 429, "ROUTER_BUSY")
}

// Large networks take several pages; a scan of 250 devices asks the router
// twice, not once a device.
func TestScanOfManyDevices(t *testing.T) {
	r := newRig(t)
	ids := r.inSession()
	calls := 0
	r.routers.answer = func(_ context.Context, method string, params json.RawMessage) (json.RawMessage, error) {
		calls++
		var p struct{ Offset int }
		if len(params) > 0 {
			if err := json.Unmarshal(params, &p); err != nil {
				return nil, err
			}
		}
		var rows []string
		from, to, next := 0, 250, ""
		if method == "usage.current" {
			from, to = p.Offset, min(p.Offset+200, 250)
			if to < 250 {
				next = fmt.Sprintf(`,"next_offset":%d`, to)
			}
		}
		for i := from; i < to; i++ {
			rows = append(rows, fmt.Sprintf(`{"mac":"02:77:00:00:00:%02x","ip":"192.168.1.%d","bytes_rx":%d}`, i, i, 1<<20))
		}
		return json.RawMessage(`{"devices":[` + strings.Join(rows, ",") + `]` + next + `}`), nil
	}
	e := want(t, "scan", r.do("GET", "/api/network/scan"+ids, "{}", nil), 200, "")
	var items []scanItem
	if err := json.Unmarshal(e.Data, &items); err != nil || len(items) != 250 || calls != 3 {
		t.Fatalf("got %d devices with %d calls, %v", len(items), calls, err)
	}
	for i, item := range items {
		if item.IP != fmt.Sprint("192.168.1.", i) || item.Usage == nil || item.Usage.Download != 1 {
			t.Fatalf("device %d: got %+v", i, item)
		}
	}
	// Without usage it is a scan all the same.
	r.known.forget(storetest.RouterID(connected))
	whole := r.routers.answer
	r.routers.answer = func(ctx context.Context, method string, params json.RawMessage) (json.RawMessage, error) {
		if method != "network.scan" {
			return nil, usage.Errorf(usage.Unavailable, "x")
		}
		return whole(ctx, method, params)
	}
	e = want(t, "scan without nlbwmon", r.do("GET", "/api/network/scan"+ids, "{}", nil), 200, "")
	if !strings.Contains(string(e.Data), `"usage":null`) {
		t.Errorf("got %.200s", e.Data)
	}
}
