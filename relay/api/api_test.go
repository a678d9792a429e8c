package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
	"github.com/netpilot/netpilot/relay/hub"
	"github.com/netpilot/netpilot/relay/store"
	"github.com/netpilot/netpilot/relay/store/sqlite"
	"github.com/netpilot/netpilot/relay/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// routers is a hub whose one router answers as the test says.
type routers struct {
	*hub.Local // for its events
	online     usage.RouterID
	answer     func(ctx context.Context, method string, params json.RawMessage) (json.RawMessage, error)
}

func (r *routers) Call(ctx context.Context, id usage.RouterID, method string, params json.RawMessage) (json.RawMessage, error) {
	if id != r.online {
		return nil, usage.Errorf(usage.Offline, "router is not connected")
	}
	return r.answer(ctx, method, params)
}

func (r *routers) Online(id usage.RouterID) (hub.Presence, bool) {
	if id != r.online {
		return hub.Presence{}, false
	}
	return hub.Presence{Since: start, LastFrame: start.Add(time.Minute), Hello: wire.Hello{Name: "attic", Methods: []string{"status"}}}, true
}

// start is the time in all tests but for what a test adds.
var start = time.Date(2026, 11, 23, 14, 55, 26, 997088000, time.UTC)

const (
	connected = 1 // enrolled and online
	offline   = 2 // enrolled
	revoked   = 3
	unknown   = 4
)

func id(n int) string { return string(storetest.RouterID(n)) }

// rig is an API over a real store and such a hub.
type rig struct {
	*API
	t       testing.TB
	db      *sqlite.DB
	routers *routers
	now     time.Time
	key     string
	log     bytes.Buffer
}

func newRig(t testing.TB) *rig {
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "relay.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	r := &rig{t: t, db: db, now: start}
	for _, n := range []int{connected, offline, revoked} {
		r.enrol(n)
	}
	if err := db.RevokeRouter(t.Context(), storetest.RouterID(revoked), start); err != nil {
		t.Fatal(err)
	}
	r.key = r.newKey("test", time.Time{})
	r.routers = &routers{Local: hub.NewLocal(), online: storetest.RouterID(connected)}
	r.answer(`{"devices": [ ]}`, nil)
	r.API = New(db, r.routers, slog.New(slog.NewTextHandler(&r.log, nil)))
	r.Now = func() time.Time { return r.now }
	return r
}

// enrol enrols the n-th router.
func (r *rig) enrol(n int) {
	r.t.Helper()
	_, token := store.NewSecret("")
	_, secret := store.NewSecret("")
	err := r.db.CreateToken(r.t.Context(), store.Token{CreatedAt: start, ExpiresAt: start.Add(time.Hour)}, token)
	if err == nil {
		err = r.db.Redeem(r.t.Context(), token, store.Router{ID: storetest.RouterID(n), Name: "r" + string(rune('0'+n))}, secret, start)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) newKey(name string, expires time.Time) string {
	r.t.Helper()
	key, hash := store.NewSecret(store.KeyPrefix)
	k := store.Key{ID: store.NewKeyID(), Name: name, Scope: store.ScopeAdmin, CreatedAt: start, ExpiresAt: expires}
	if err := r.db.CreateKey(r.t.Context(), k, hash); err != nil {
		r.t.Fatal(err)
	}
	return key
}

// answer sets what the router answers.
func (r *rig) answer(result string, err error) {
	r.routers.answer = func(context.Context, string, json.RawMessage) (json.RawMessage, error) {
		return json.RawMessage(result), err
	}
}

// do makes a request with the key, edited.
func (r *rig) do(method, target, body string, edit func(*http.Request)) *http.Response {
	r.t.Helper()
	req := httptest.NewRequestWithContext(r.t.Context(), method, target, strings.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+r.key)
	req.Header.Set("Content-Type", "application/json")
	if edit != nil {
		edit(req)
	}
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	return w.Result()
}

// envelope is an answer, decoded.
type envelope struct {
	Success  *bool           `json:"success"`
	Data     json.RawMessage `json:"data"`
	Error    *struct{ Code, Message string }
	Metadata struct {
		SessionID     *string  `json:"sessionId"`
		RouterID      *string  `json:"routerId"`
		Timestamp     string   `json:"timestamp"`
		ExecutionTime *float64 `json:"executionTime"`
		Total         *int     `json:"total"`
	}
}

// want checks an answer's status and code, "" for success, and what every
// answer must have.
func want(t testing.TB, name string, resp *http.Response, status int, code string) envelope {
	t.Helper()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var e envelope
	if err := json.Unmarshal(body, &e); err != nil {
		t.Fatalf("%s: %d %q is no JSON: %v", name, resp.StatusCode, body, err)
	}
	got := ""
	if e.Error != nil {
		got = e.Error.Code
		if e.Error.Message == "" {
			t.Errorf("%s: no message in %s", name, body)
		}
	}
	if resp.StatusCode != status || got != code || e.Success == nil || *e.Success != (code == "") || (string(e.Data) == "null") != (code != "") {
		t.Errorf("%s: got %d %s, want %d %s", name, resp.StatusCode, body, status, code)
	}
	if e.Metadata.Timestamp == "" || e.Metadata.ExecutionTime == nil {
		t.Errorf("%s: metadata lacks members: %s", name, body)
	}
	for header, value := range map[string]string{"Content-Type": "application/json", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"} {
		if got := resp.Header.Get(header); got != value {
			t.Errorf("%s: got %s %q, want %q", name, header, got, value)
		}
	}
	return e
}

func TestEnvelope(t *testing.T) {
	r := newRig(t)
	r.routers.answer = func(context.Context, string, json.RawMessage) (json.RawMessage, error) {
		r.now = r.now.Add(140 * time.Microsecond)
		return json.RawMessage(`{"b" : 1.0, "a":"<é>"}`), nil
	}
	read := func(resp *http.Response) string {
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	got := read(r.do("GET", "/api/device-usage/current?routerId="+id(connected), "", nil))
	want := `{"success":true,"data":{"b" : 1.0, "a":"<é>"},"error":null,"metadata":{"sessionId":null,"routerId":"` + id(connected) +
		`","timestamp":"2026-11-23T14:55:26.997228Z","executionTime":0.000140,"source":"router"}}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	got = read(r.do("GET", "/nowhere", "", nil))
	want = `{"success":false,"data":null,"error":{"code":"NOT_FOUND","message":"there is nothing at /nowhere","details":null},` +
		`"metadata":{"sessionId":null,"routerId":null,"timestamp":"2026-11-23T14:55:26.997228Z","executionTime":0.000000}}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	got = read(r.do("GET", "/health", "", func(req *http.Request) { req.Header = http.Header{} }))
	want = `{"success":true,"data":{"message":"Server is healthy","checks":{"store":null,"routers":{"enrolled":0,"online":0},"nlbwmon":null}},"error":null,"metadata":{"sessionId":null,"routerId":null,"timestamp":"` +
		r.now.Local().Format("2006-01-02T15:04:05.000000") + `","executionTime":0.000000}}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestFailures(t *testing.T) {
	r := newRig(t)
	current := "/api/device-usage/current?routerId="
	for _, test := range []struct {
		name   string
		target string
		err    error // of the router
		status int
		code   string
	}{
		{"invalid", current + id(connected), usage.Errorf(usage.Invalid, "x"), 400, "BAD_REQUEST"},
		{"forbidden", current + id(connected), usage.Errorf(usage.Forbidden, "x"), 403, "FORBIDDEN"},
		{"no such period", current + id(connected), usage.Errorf(usage.NotFound, "x"), 404, "NOT_FOUND"},
		{"no such device", "/api/device-usage/device/02-77-00-00-00-AA?routerId=" + id(connected), usage.Errorf(usage.NotFound, "x"), 404, "DEVICE_NOT_FOUND"},
		{"no records of device", "/api/device-usage/records?mac=02:77:00:00:00:aa&routerId=" + id(connected), usage.Errorf(usage.NotFound, "x"), 404, "DEVICE_NOT_FOUND"},
		{"link lost", current + id(connected), usage.Errorf(usage.Offline, "x"), 503, "ROUTER_OFFLINE"},
		{"offline", current + id(offline), nil, 503, "ROUTER_OFFLINE"},
		{"revoked", current + id(revoked), nil, 503, "ROUTER_OFFLINE"},
		{"unknown router", current + id(unknown), nil, 404, "ROUTER_NOT_FOUND"},
		{"unknown router by id", "/api/routers/" + id(unknown), nil, 404, "ROUTER_NOT_FOUND"},
		{"timeout", current + id(connected), usage.Errorf(usage.Timeout, "x"), 504, "ROUTER_TIMEOUT"},
		{"deadline", current + id(connected), context.DeadlineExceeded, 504, "ROUTER_TIMEOUT"},
		{"busy", current + id(connected), &usage.Error{Kind: usage.Busy, Message: "x", RetryAfter: 1500 * time.Millisecond}, 429, "ROUTER_BUSY"},
		{"unavailable", current + id(connected), usage.Errorf(usage.Unavailable, "x"), 502, "NLBWMON_UNAVAILABLE"},
		{"internal", current + id(connected), usage.Errorf(usage.Internal, "internal"), 500, "INTERNAL"},
		{"not our error", current + id(connected), errors.New("pw=hunter2"), 500, "INTERNAL"},
		{"router plays the relay", current + id(connected), usage.Errorf(usage.Unauthenticated, "x"), 500, "INTERNAL"},
		{"no router", "/api/device-usage/current", nil, 400, "BAD_REQUEST"},
		{"malformed router", current + "../../etc", nil, 400, "BAD_REQUEST"},
		{"malformed router by id", "/api/routers/xyz", nil, 400, "BAD_REQUEST"},
		{"session", current + id(connected) + "&sessionId=s1", nil, 401, "SESSION_INVALID"},
		{"malformed MAC", "/api/device-usage/device/phone?routerId=" + id(connected), nil, 400, "BAD_REQUEST"},
		{"limit", current + id(connected) + "&limit=10001", nil, 400, "BAD_REQUEST"},
		{"negative", current + id(connected) + "&offset=-1", nil, 400, "BAD_REQUEST"},
		{"no number", current + id(connected) + "&limit=1e3", nil, 400, "BAD_REQUEST"},
		{"sort", current + id(connected) + "&sort=name", nil, 400, "BAD_REQUEST"},
		{"period", current + id(connected) + "&period=2026-13-01", nil, 400, "BAD_REQUEST"},
		{"sort of routers", "/api/routers?sort=total", nil, 400, "BAD_REQUEST"},
		{"unknown path", "/api/nothing", nil, 404, "NOT_FOUND"},
		{"root", "/", nil, 404, "NOT_FOUND"},
		{"path to clean", "//api/../api/routers", nil, 404, "NOT_FOUND"},
		{"path above", "/api/device-usage", nil, 404, "NOT_FOUND"},
	} {
		r.answer("", test.err)
		resp := r.do("GET", test.target, "{}", nil)
		e := want(t, test.name, resp, test.status, test.code)
		if e.Error != nil && strings.Contains(e.Error.Message, "hunter2") {
			t.Errorf("%s: internal details in %q", test.name, e.Error.Message)
		}
		if got := resp.Header.Get("Retry-After"); (got != "") != (test.status == 429) || test.status == 429 && got != "2" {
			t.Errorf("%s: got Retry-After %q", test.name, got)
		}
	}
	if !strings.Contains(r.log.String(), "hunter2") {
		t.Errorf("the log lacks the cause of an internal error:\n%s", r.log.String())
	}
}

func TestMethods(t *testing.T) {
	r := newRig(t)
	for _, path := range []string{"/health", "/api/routers", "/api/routers/" + id(connected), "/api/device-usage/current"} {
		resp := r.do("DELETE", path, "{}", nil)
		want(t, path, resp, 405, "METHOD_NOT_ALLOWED")
		if got := resp.Header.Get("Allow"); got != "GET, HEAD" {
			t.Errorf("%s: got Allow %q", path, got)
		}
	}
	if resp := r.do("HEAD", "/api/device-usage/current?routerId="+id(connected), "", nil); resp.StatusCode != 200 {
		t.Errorf("HEAD: got %d, want 200", resp.StatusCode)
	}
}

func TestPanic(t *testing.T) {
	r := newRig(t)
	r.routers.answer = func(context.Context, string, json.RawMessage) (json.RawMessage, error) { panic("hunter2") }
	e := want(t, "panic", r.do("GET", "/api/device-usage/status?routerId="+id(connected), "", nil), 500, "INTERNAL")
	if strings.Contains(e.Error.Message, "hunter2") || !strings.Contains(r.log.String(), "hunter2") {
		t.Errorf("the panic belongs into the log and not into %q", e.Error.Message)
	}
}

// What the wire gets for what is asked.
func TestParams(t *testing.T) {
	r := newRig(t)
	var got string
	r.routers.answer = func(_ context.Context, method string, params json.RawMessage) (json.RawMessage, error) {
		got = method + " " + string(params)
		return json.RawMessage(`{}`), nil
	}
	for target, sent := range map[string]string{
		"current?":                            "usage.current ",
		"current?limit=0&sort=rx&offset=5":    `usage.current {"sort":"rx","offset":5}`,
		"current?period=2026-11-01&mac=x":     `usage.current {"period":"2026-11-01"}`,
		"current?period=2026-09-31":           `usage.current {"period":"2026-09-31"}`,
		"current?limit=&limit=5":              "usage.current ",
		"records?mac=02-77-00-00-00-AA":       `usage.records {"mac":"02:77:00:00:00:aa"}`,
		"device/02:77:00:00:00:AA?sort=total": `usage.device {"mac":"02:77:00:00:00:aa"}`,
		"status?limit=1":                      "status ",
	} {
		r.now = r.now.Add(cacheFor) // each is asked anew
		want(t, target, r.do("GET", "/api/device-usage/"+target+"&routerId="+id(connected), "", nil), 200, "")
		if got != sent {
			t.Errorf("%s: got %s, want %s", target, got, sent)
		}
	}
}

func TestIDs(t *testing.T) {
	r := newRig(t)
	query := "/api/device-usage/current?routerId=" + id(connected)
	inBody := `{"routerId":"` + id(connected) + `"}`
	plain := func(req *http.Request) { req.Header.Set("Content-Type", "text/plain") }
	for _, test := range []struct {
		name, target, body string
		edit               func(*http.Request)
		status             int
		code               string
	}{
		{"query", query, "", nil, 200, ""},
		{"query and {}", query, "{}", nil, 200, ""},
		{"query and broken body", query, `{"routerId":`, nil, 200, ""},
		{"query and other types", query, `{"routerId":5,"sessionId":[]}`, nil, 200, ""},
		{"query wins", query, `{"routerId":"x"}`, nil, 200, ""},
		{"body", "/api/device-usage/current", inBody, nil, 200, ""},
		{"body and empty query", "/api/device-usage/current?routerId=", inBody, nil, 200, ""},
		{"body with charset", "/api/device-usage/current", inBody,
			func(req *http.Request) { req.Header.Set("Content-Type", "application/json; charset=utf-8") }, 200, ""},
		{"body of another type", "/api/device-usage/current", inBody, plain, 400, "BAD_REQUEST"},
		{"broken body", "/api/device-usage/current", `{"routerId":`, nil, 400, "BAD_REQUEST"},
		{"session in body", query, `{"sessionId":"s1"}`, nil, 401, "SESSION_INVALID"},
		{"huge body", query, `"` + strings.Repeat("x", maxBody) + `"`, nil, 413, "BAD_REQUEST"},
		{"huge body of another type", query, strings.Repeat("x", maxBody+1), plain, 200, ""},
	} {
		e := want(t, test.name, r.do("GET", test.target, test.body, test.edit), test.status, test.code)
		if test.code == "SESSION_INVALID" && (e.Metadata.SessionID == nil || *e.Metadata.SessionID != "s1") {
			t.Errorf("%s: got session %v in the metadata, want s1", test.name, e.Metadata.SessionID)
		}
	}
}

func TestRouters(t *testing.T) {
	r := newRig(t)
	var list struct {
		Routers []map[string]any
		Total   int
		Limit   int
		Offset  int
	}
	e := want(t, "list", r.do("GET", "/api/routers?limit=2&sort=name", "", nil), 200, "")
	if err := json.Unmarshal(e.Data, &list); err != nil || len(list.Routers) != 2 || list.Total != 3 || list.Limit != 2 {
		t.Fatalf("got %s, %v", e.Data, err)
	}
	first := list.Routers[0]
	if first["id"] != id(connected) || first["online"] != true || first["name"] != "attic" || first["last_seen"] != "2026-11-23T14:56:26.997Z" {
		t.Errorf("got %v, want the live link's word", first)
	}
	if second := list.Routers[1]; second["online"] != false || second["name"] != "r2" || second["last_seen"] != nil {
		t.Errorf("got %v, want what the store knows", second)
	}
	e = want(t, "past the end", r.do("GET", "/api/routers?offset=9", "", nil), 200, "")
	if !strings.HasPrefix(string(e.Data), `{"routers":[],"total":3,"limit":100`) {
		t.Errorf("got %s", e.Data)
	}
	e = want(t, "one", r.do("GET", "/api/routers/"+id(revoked), "", nil), 200, "")
	var one map[string]any
	if err := json.Unmarshal(e.Data, &one); err != nil || one["revoked_at"] == nil || *e.Metadata.RouterID != id(revoked) {
		t.Errorf("got %s, %v", e.Data, err)
	}
}

func TestKeys(t *testing.T) {
	r := newRig(t)
	short := r.newKey("short", start.Add(time.Hour))
	gone := r.newKey("gone", time.Time{})
	auth := func(value string) func(*http.Request) {
		return func(req *http.Request) { req.Header.Set("Authorization", value) }
	}
	basic := func(user, password string) func(*http.Request) {
		return func(req *http.Request) { req.SetBasicAuth(user, password) }
	}
	check := func(name string, edit func(*http.Request), ok bool) {
		t.Helper()
		resp := r.do("GET", "/api/routers", "", edit)
		if ok {
			want(t, name, resp, 200, "")
			return
		}
		want(t, name, resp, 401, "UNAUTHENTICATED")
		if got := resp.Header.Get("WWW-Authenticate"); !strings.HasPrefix(got, "Bearer") {
			t.Errorf("%s: got WWW-Authenticate %q", name, got)
		}
	}
	check("bearer", nil, true)
	check("scheme in lower case", auth("bearer "+r.key), true)
	check("basic", basic("netpilot", r.key), true)
	check("none", auth(""), false)
	check("wrong", auth("Bearer npk_wrong"), false)
	check("wrong password", basic("netpilot", "x"), false)
	check("key as user", basic(r.key, ""), false)
	check("before it expires", auth("Bearer "+short), true)
	check("before it is revoked", auth("Bearer "+gone), true)

	if _, err := r.db.RevokeKey(t.Context(), "gone", r.now); err != nil {
		t.Fatal(err)
	}
	r.now = r.now.Add(trustFor)
	check("revoked", auth("Bearer "+gone), false)
	r.now = start.Add(time.Hour)
	check("expired", auth("Bearer "+short), false)
	if strings.Contains(r.log.String(), "npk_") {
		t.Errorf("a key is in the log:\n%s", r.log.String())
	}
}

func TestKeyUseIsWrittenDown(t *testing.T) {
	r := newRig(t)
	used := func() time.Time {
		k, err := r.db.KeyByHash(t.Context(), store.HashOf(r.key), r.now)
		if err != nil {
			t.Fatal(err)
		}
		return k.LastUsed
	}
	first := start.Truncate(time.Millisecond)
	for _, step := range []struct{ after, want time.Duration }{{0, 0}, {usedEvery / 2, 0}, {usedEvery, usedEvery}} {
		r.now = first.Add(step.after)
		want(t, "use", r.do("GET", "/api/routers", "", nil), 200, "")
		if err := r.writeUses(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := used(); !got.Equal(first.Add(step.want)) {
			t.Errorf("used after %v: written down %v, want %v", step.after, got, first.Add(step.want))
		}
	}
}

func TestKeyringIsBounded(t *testing.T) {
	r := newRig(t)
	for range maxTrusted {
		_, hash := store.NewSecret("")
		r.keys.trusted[hash] = trust{until: start.Add(time.Hour)}
	}
	want(t, "one more", r.do("GET", "/api/routers", "", nil), 200, "")
	if got := len(r.keys.trusted); got > maxTrusted {
		t.Errorf("got %d keys remembered, want at most %d", got, maxTrusted)
	}
}
