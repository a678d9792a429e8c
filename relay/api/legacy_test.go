package api

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/legacy"
	"github.com/netpilot/netpilot/relay/store"
	"github.com/netpilot/netpilot/relay/store/storetest"
)

// oldServer stands in for the old commands server.
type oldServer struct {
	*httptest.Server
	seen chan string
}

func (r *rig) withOldServer(answer http.HandlerFunc) *oldServer {
	r.t.Helper()
	o := &oldServer{seen: make(chan string, 64)}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		o.seen <- fmt.Sprint(req.Method, " ", req.RequestURI, " ", req.Header.Get("Authorization"), string(body))
		req.Body = io.NopCloser(bytes.NewReader(body))
		answer(w, req)
	}))
	r.t.Cleanup(o.Close)
	up, err := legacy.New(o.URL, slog.New(slog.DiscardHandler))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(up.Close)
	r.Legacy = up
	return o
}

// With an old server behind: what is ours stays ours, the rest passes through
// with method, path, query, body and status, and sessions are told to it.
func TestLegacyUpstream(t *testing.T) {
	r := newRig(t)
	r.routers.answer = lan
	old := r.withOldServer(func(w http.ResponseWriter, req *http.Request) {
		if strings.HasPrefix(req.URL.Path, "/api/session/") {
			fmt.Fprint(w, `{"success":true,"data":{}}`)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusConflict)
		fmt.Fprint(w, `{"success":false,"error":{"code":"WIFI_BUSY"}}`)
	})
	b := newBackend(r)
	up := storetest.RouterID(connected)
	query := "routerId=" + string(up) + "&sessionId=s1"
	sees := func(name, want string) {
		t.Helper()
		select {
		case got := <-old.seen:
			if got != want {
				t.Errorf("%s: the old server saw %s, want %s", name, got, want)
			}
		default:
			if want != "" {
				t.Errorf("%s: the old server saw nothing, want %s", name, want)
			}
		}
	}
	if _, failure := b.call("POST", "/api/session/start", "s1", up, ""); failure != "" {
		t.Fatal(failure)
	}
	if got := <-old.seen; !strings.HasPrefix(got, "POST /api/session/start?") || !strings.Contains(got, `"restart":false`) || !strings.Contains(got, `"sessionId":"s1"`) {
		t.Errorf("start: the old server saw %s", got)
	}
	if _, failure := b.call("GET", "/api/monitor/current", "s1", up, ""); failure != "" {
		t.Error(failure)
	}
	sees("our own path", "")
	for _, method := range []string{"GET", "POST", "PUT", "DELETE", "PATCH"} {
		if _, failure := b.call(method, "/api/wifi/ssid", "s1", up, `{"ssid":"x"}`); failure != `{"success":false,"error":{"code":"WIFI_BUSY"}}` {
			t.Errorf("%s: got %s", method, failure)
		}
		sees(method, method+" /api/wifi/ssid?"+query+` {"ssid":"x"}`)
	}
	// Methods that only the old server has on a path of ours.
	if _, failure := b.call("DELETE", "/api/monitor/current", "s1", up, ""); !strings.Contains(failure, "WIFI_BUSY") {
		t.Errorf("got %s", failure)
	}
	sees("DELETE", "DELETE /api/monitor/current?"+query+" {}")
	want(t, "no key", r.do("GET", "/api/wifi/ssid", "", with("npk_x")), 401, "SESSION_INVALID")
	reader := with(r.grantKey("reader", store.ScopeRead, nil))
	want(t, "a reader changes nothing", r.do("POST", "/api/wifi/ssid", "{}", reader), 403, "FORBIDDEN")
	tenant := with(r.grantKey("tenant", store.ScopeWrite, []usage.RouterID{storetest.RouterID(offline)}))
	want(t, "a tenant names its router", r.do("POST", "/api/wifi/ssid", `{"routerId":"`+id(offline)+`"}`, tenant), 400, "BAD_REQUEST")
	want(t, "and no other", r.do("POST", "/api/wifi/ssid?routerId="+id(connected), "{}", tenant), 404, "ROUTER_NOT_FOUND")
	sees("refusals", "")
	if _, failure := b.call("POST", "/api/session/refresh", "s1", up, ""); failure != "" {
		t.Error(failure)
	}
	if got := <-old.seen; !strings.HasPrefix(got, "POST /api/session/refresh?") {
		t.Errorf("refresh: the old server saw %s", got)
	}
	// The old server goes: a clear failure, and what is ours works on.
	old.Close()
	want(t, "gone", r.do("GET", "/api/wifi/ssid?"+query, "{}", nil), 502, "LEGACY_UNAVAILABLE")
	if _, failure := b.call("POST", "/api/session/end", "s1", up, ""); failure != "" {
		t.Error(failure)
	}
}

// The shadow asks the old server what the backend asked, on every drop-in GET,
// after it was answered; differences are counted and change nothing.
func TestShadowedPaths(t *testing.T) {
	r := newRig(t)
	r.routers.answer = lan
	r.withOldServer(func(w http.ResponseWriter, req *http.Request) {
		switch req.URL.Path {
		case "/api/monitor/last-week":
			fmt.Fprint(w, `{"success":true,"data":[{"mac":"02:77:00:00:00:12","ip":"fd00::9","download":40,"upload":0,"unit":"MB","connections":3}]}`)
		case "/api/monitor/device/02:77:00:00:00:99":
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprint(w, `{"success":false,"error":{"code":"COMMAND_FAILED"}}`)
		case "/health":
			fmt.Fprint(w, `{"success":true,"data":{"message":"Server is healthy"}}`)
		case "/api/session/status": // as the real one
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprint(w, `{"success":false,"error":{"code":"INTERNAL_ERROR"}}`)
		case "/api/network/scan":
			fmt.Fprint(w, `{"success":true,"data":[{"ip":"192.168.1.5","mac":"02:77:00:00:00:11","hostname":"Anna's","vendor":"Acme"},
				{"ip":"192.168.2.7","mac":"02:77:00:00:00:13","hostname":"Unknown","vendor":"Unknown Vendor"}]}`)
		default: // with no rows of a device
			fmt.Fprint(w, `{"success":true,"data":{}}`)
		}
	})
	r.Shadow = legacy.NewShadow(r.Legacy, slog.New(slog.DiscardHandler))
	b := newBackend(r)
	up := storetest.RouterID(connected)
	for _, step := range [][2]string{
		{"POST", "/api/session/start"}, {"GET", "/api/monitor/last-week"}, {"GET", "/api/monitor/device/02:77:00:00:00:99"},
		{"GET", "/api/monitor/current"}, {"GET", "/api/monitor/last-month"}, {"GET", "/api/network/scan"}, {"GET", "/api/session/status"},
		{"GET", "/api/device-usage/current"}, {"GET", "/api/wifi/status"}, {"GET", "/api/nothing"}, {"POST", "/api/session/refresh"},
	} {
		_, failure := b.call(step[0], step[1], "s1", up, "")
		if failure != "" && !strings.Contains(failure, "not found in current data") {
			t.Errorf("%v: %s", step, failure)
		}
		r.Shadow.Wait() // none is one too many
	}
	// Alike: health before the first call, the device that neither has, the
	// scan, and the sessions, which the old server cannot tell. The others of
	// monitor differ; what is not of the drop-in is compared with nothing.
	if got := r.Shadow.Counts(); got != (legacy.Counts{Same: 4, Different: 3}) {
		t.Errorf("got %+v, want four alike and three different", got)
	}
	for _, query := range []string{"limit=1", "offset=1"} {
		if status, body := b.send("GET", "/api/session/status", url.Values{query[:len(query)-2]: {"1"}}, nil); status != 200 {
			t.Errorf("%s: got %d %s", query, status, body)
		}
	}
	r.Shadow.Wait()
	if _, body := b.send("GET", "/health", nil, nil); !strings.Contains(string(body), `"shadow":{"same":4,"different":3,"failed":0,"skipped":0}`) {
		t.Errorf("health: %s", body)
	}
	r.Shadow.Wait()
	r.Shadow.Close()
}
