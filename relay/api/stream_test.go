package api

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/hub"
	"github.com/netpilot/netpilot/relay/store"
	"github.com/netpilot/netpilot/relay/store/storetest"
)

// reader reads server-sent events.
type reader struct {
	t     *testing.T
	lines *bufio.Scanner
	close func()
}

// follow opens a stream with the key and reads its hello.
func (r *rig) followStream(t *testing.T, server *httptest.Server, key, query string) *reader {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", server.URL+"/api/stream"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Last-Event-ID", "41")
	resp, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("got %d %s", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	s := &reader{t: t, lines: bufio.NewScanner(resp.Body), close: func() { cancel(); resp.Body.Close() }}
	t.Cleanup(s.close)
	if name, data := s.next(); name != "hello" || !strings.Contains(data, `"replayed":false`) || !strings.Contains(data, `"missedSince":"41"`) {
		t.Fatalf("got %s %s, want hello", name, data)
	}
	return s
}

// next reads one event; "" at the end.
func (s *reader) next() (name, data string) {
	s.t.Helper()
	for s.lines.Scan() {
		line := s.lines.Text()
		if v, ok := strings.CutPrefix(line, "event: "); ok {
			name = v
		}
		if v, ok := strings.CutPrefix(line, "data: "); ok {
			data = v
		}
		if line == "" && name != "" {
			return name, data
		}
	}
	return "", ""
}

func TestStream(t *testing.T) {
	r := newRig(t)
	server := httptest.NewServer(r.API)
	defer server.Close()
	all := r.followStream(t, server, r.key, "")
	tenant := r.followStream(t, server, r.grantKey("tenant", store.ScopeRead, []usage.RouterID{storetest.RouterID(offline)}), "")
	one := r.followStream(t, server, r.key, "?routerId="+id(offline))
	tell := func(kind hub.EventKind, n int, lost int) {
		r.routers.Publish(hub.Event{Kind: kind, Router: storetest.RouterID(n), At: start, Data: json.RawMessage(`{"a":1}`), Lost: lost})
	}
	tell(hub.EventLive, connected, 0) // nobody asked for it
	tell(hub.EventOnline, connected, 0)
	tell(hub.EventUsage, offline, 3)
	tell(hub.EventOffline, offline, 0)
	event := func(n int) string {
		return `{"routerId":"` + id(n) + `","at":"2026-11-23T14:55:26.997088Z","data":{"a":1}}`
	}
	for name, s := range map[string]*reader{"all": all, "tenant": tenant, "one": one} {
		var want [][2]string
		if name == "all" {
			want = append(want, [2]string{"online", event(connected)})
		}
		want = append(want, [][2]string{{"lost", `{"events":3}`}, {"usage", event(offline)}, {"offline", event(offline)}}...)
		for _, w := range want {
			if kind, data := s.next(); kind != w[0] || data != w[1] {
				t.Errorf("%s: got %s %s, want %v", name, kind, data, w)
			}
		}
	}
	r.Drain()
	r.Drain()
	for name, s := range map[string]*reader{"all": all, "tenant": tenant, "one": one} {
		if kind, data := s.next(); kind != "bye" || !strings.Contains(data, "connect again") {
			t.Errorf("%s: got %s %s, want bye", name, kind, data)
		}
		if kind, _ := s.next(); kind != "" {
			t.Errorf("%s goes on after bye: %s", name, kind)
		}
	}
}

// Live rates are asked of the router once for all who listen, and end with the
// last of them.
func TestStreamLive(t *testing.T) {
	r := newRig(t)
	calls := make(chan string, 16)
	r.routers.answer = func(_ context.Context, method string, params json.RawMessage) (json.RawMessage, error) {
		calls <- method + " " + string(params)
		return json.RawMessage(`{"every_ms":2000}`), nil
	}
	server := httptest.NewServer(r.API)
	defer server.Close()
	query := "?live=true&routerId=" + id(connected)
	first := r.followStream(t, server, r.key, query)
	second := r.followStream(t, server, r.key, query)
	r.routers.Publish(hub.Event{Kind: hub.EventLive, Router: storetest.RouterID(connected), At: start, Data: json.RawMessage(`{"seconds":30}`)})
	for _, s := range []*reader{first, second} {
		if kind, data := s.next(); kind != "usage.live" || !strings.Contains(data, `"data":{"seconds":30}`) {
			t.Errorf("got %s %s", kind, data)
		}
	}
	if got := <-calls; got != `usage.live {"action":"start"}` {
		t.Errorf("the router was asked %s", got)
	}
	first.close()
	second.close()
	if got := <-calls; got != `usage.live {"action":"stop"}` {
		t.Errorf("then %s, want it stopped once", got)
	}
	want(t, "live of which", r.do("GET", "/api/stream?live=true", "", nil), 400, "BAD_REQUEST")
	want(t, "live of one offline", r.do("GET", "/api/stream?live=true&routerId="+id(offline), "", nil), 503, "ROUTER_OFFLINE")
	want(t, "unknown", r.do("GET", "/api/stream?routerId="+id(unknown), "", nil), 404, "ROUTER_NOT_FOUND")
	want(t, "no key", r.do("GET", "/api/stream", "", with("npk_x")), 401, "UNAUTHENTICATED")
	if resp := r.do("HEAD", "/api/stream", "", nil); resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("HEAD: got %d %s", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	server.Close() // and with it the streams of before
	r.streams.mu.Lock()
	r.streams.open = maxStreams
	r.streams.mu.Unlock()
	want(t, "one too many", r.do("GET", "/api/stream", "", nil), 429, "ROUTER_BUSY")
}
