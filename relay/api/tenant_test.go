package api

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/store"
	"github.com/netpilot/netpilot/relay/store/storetest"
)

// grantKey makes a key of that scope and routers, and gives its secret.
func (r *rig) grantKey(name string, scope store.Scope, routers []usage.RouterID) string {
	r.t.Helper()
	secret, hash := store.NewSecret(store.KeyPrefix)
	k := store.Key{ID: store.NewKeyID(), Name: name, Scope: scope, Routers: routers, CreatedAt: start}
	if err := r.db.CreateKey(r.t.Context(), k, hash); err != nil {
		r.t.Fatal(err)
	}
	return secret
}

// with sends the key in place of the rig's own.
func with(key string) func(*http.Request) {
	return func(req *http.Request) { req.Header.Set("Authorization", "Bearer "+key) }
}

// A router of another tenant is answered on every path as one that does not
// exist, to the byte but for its own id.
func TestForeignRouterIsUnknown(t *testing.T) {
	r := newRig(t)
	r.routers.answer = nil // whoever asks a router fails loudly
	tenant := r.grantKey("tenant", store.ScopeAdmin, []usage.RouterID{storetest.RouterID(offline)})
	nobody := r.grantKey("nobody", store.ScopeAdmin, []usage.RouterID{})
	for _, path := range []string{
		"/api/routers/ID",
		"/api/device-usage/current?routerId=ID",
		"/api/device-usage/records?routerId=ID",
		"/api/device-usage/status?routerId=ID",
		"/api/device-usage/device/02:77:00:00:00:11?routerId=ID",
	} {
		for _, key := range []string{tenant, nobody} {
			text := func(n int) string {
				status, body := answerOf(r.do("GET", strings.ReplaceAll(path, "ID", id(n)), "", with(key)))
				if status != http.StatusNotFound || !strings.Contains(body, `"ROUTER_NOT_FOUND"`) {
					t.Errorf("GET %s of router %d: got %d %s, want 404 ROUTER_NOT_FOUND", path, n, status, body)
				}
				body = strings.ReplaceAll(body, id(n), "ID")
				return strings.ReplaceAll(body, storetest.RouterID(n).Short(), "ID")
			}
			if foreign, absent := text(connected), text(unknown); foreign != absent {
				t.Errorf("GET %s tells a foreign router from an unknown one:\n%s\n%s", path, foreign, absent)
			}
		}
	}
	for key, want := range map[string]string{tenant: `"total":1,`, nobody: `"total":0,`, r.key: `"total":3,`} {
		if _, body := answerOf(r.do("GET", "/api/routers", "", with(key))); !strings.Contains(body, want) {
			t.Errorf("GET /api/routers: got %s, want %s", body, want)
		}
	}
	if status, body := answerOf(r.do("GET", "/api/routers/"+id(offline), "", with(tenant))); status != http.StatusOK {
		t.Errorf("the tenant's own router: got %d %s", status, body)
	}
}

func TestKeyRotation(t *testing.T) {
	r := newRig(t)
	old := r.grantKey("backend", store.ScopeRead, nil)
	fresh, hash := store.NewSecret(store.KeyPrefix)
	if _, err := r.db.RotateKey(t.Context(), "backend", hash, r.now, time.Hour); err != nil {
		t.Fatal(err)
	}
	works := func(key string, want int) {
		t.Helper()
		if status, body := answerOf(r.do("GET", "/api/routers", "", with(key))); status != want {
			t.Errorf("at %v: got %d %s, want %d", r.now, status, body, want)
		}
	}
	works(old, 200)
	works(fresh, 200)
	r.now = r.now.Add(time.Hour + trustFor)
	works(old, 401)
	works(fresh, 200)
}

func TestScope(t *testing.T) {
	for _, test := range []struct {
		has, need store.Scope
		want      bool
	}{
		{store.ScopeRead, store.ScopeRead, true},
		{store.ScopeRead, store.ScopeWrite, false},
		{store.ScopeWrite, store.ScopeRead, true},
		{store.ScopeWrite, store.ScopeAdmin, false},
		{store.ScopeAdmin, store.ScopeWrite, true},
		{"", store.ScopeRead, false},
		{"root", store.ScopeRead, false},
		{store.ScopeAdmin, "", false},
		{"", "", false},
	} {
		err := mayDo(&store.Key{Scope: test.has}, test.need)
		if (err == nil) != test.want || err != nil && usage.KindOf(err) != usage.Forbidden {
			t.Errorf("%q for %q: got %v, want allowed %v", test.has, test.need, err, test.want)
		}
	}
}

// answerOf reads an answer whole.
func answerOf(resp *http.Response) (int, string) {
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}
