package api

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/netpilot/netpilot/relay/store"
)

func TestKeyLimit(t *testing.T) {
	r := newRig(t)
	other := r.grantKey("other", store.ScopeRead, nil)
	synctest.Test(t, func(t *testing.T) {
		r.Limit(10, 0)
		for i := range 20 {
			want(t, fmt.Sprint("request ", i), r.do("GET", "/api/routers", "", nil), 200, "")
		}
		resp := r.do("GET", "/api/routers", "", nil)
		want(t, "one too many", resp, 429, "RATE_LIMITED")
		if got := resp.Header.Get("Retry-After"); got != "1" {
			t.Errorf("got Retry-After %q, want 1", got)
		}
		want(t, "another key", r.do("GET", "/api/routers", "", with(other)), 200, "")
		time.Sleep(time.Second)
		want(t, "a second later", r.do("GET", "/api/routers", "", nil), 200, "")
	})
}

func TestAddressLimit(t *testing.T) {
	r := newRig(t)
	var told []Done
	r.Answered = func(d Done) { told = append(told, d) }
	from := func(address, key string) func(*http.Request) {
		return func(req *http.Request) { req.RemoteAddr = address; with(key)(req) }
	}
	synctest.Test(t, func(t *testing.T) {
		r.Limit(0, 5)
		want(t, "good key", r.do("GET", "/api/routers", "", from("192.0.2.1:1", r.key)), 200, "")
		for i := range 10 {
			want(t, fmt.Sprint("guess ", i), r.do("GET", "/api/routers", "", from("192.0.2.1:1", fmt.Sprint("npk_", i))), 401, "UNAUTHENTICATED")
		}
		want(t, "one guess too many", r.do("GET", "/api/routers", "", from("192.0.2.1:2", "npk_x")), 429, "RATE_LIMITED")
		want(t, "the good key beside it", r.do("GET", "/api/routers", "", from("192.0.2.1:3", r.key)), 200, "")
		want(t, "health beside it", r.do("GET", "/health", "", from("192.0.2.1:3", "")), 200, "")
		want(t, "unknown paths beside it", r.do("GET", "/x", "", from("192.0.2.1:3", "")), 429, "RATE_LIMITED")
		want(t, "another address", r.do("GET", "/api/routers", "", from("192.0.2.2:1", "npk_x")), 401, "UNAUTHENTICATED")
		time.Sleep(200 * time.Millisecond)
		want(t, "a moment later", r.do("GET", "/api/routers", "", from("192.0.2.1:1", "npk_x")), 401, "UNAUTHENTICATED")
	})
	if first, last := told[0], told[len(told)-1]; first.Key.Name != "test" || first.Path != "/api/routers" || first.Status != 200 || first.Changes ||
		last.Key.ID != "" || last.Status != 401 || last.Code != "UNAUTHENTICATED" || last.Address != "192.0.2.1:1" {
		t.Errorf("Answered was told %+v and %+v", first, last)
	}
}
