package api

import (
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/store"
	"github.com/netpilot/netpilot/relay/store/storetest"
)

func TestOwnKey(t *testing.T) {
	r := newRig(t)
	for _, test := range []struct {
		key    string
		name   string
		scope  store.Scope
		sees   int // -1 for all
		expiry *time.Time
	}{
		{r.key, "test", store.ScopeAdmin, -1, nil},
		{r.grantKey("tenant", store.ScopeRead, []usage.RouterID{storetest.RouterID(connected)}), "tenant", store.ScopeRead, 1, nil},
		{r.grantKey("nobody", store.ScopeWrite, []usage.RouterID{}), "nobody", store.ScopeWrite, 0, nil},
		{r.newKey("short", start.Add(time.Hour)), "short", store.ScopeAdmin, -1, unlessZero(start.Add(time.Hour))},
	} {
		var got keyItem
		if err := json.Unmarshal(want(t, test.name, r.do("GET", "/api/key", "", with(test.key)), 200, "").Data, &got); err != nil {
			t.Fatal(err)
		}
		sees := -1
		if got.Routers != nil {
			sees = *got.Routers
		}
		if got.ID == "" || got.Name != test.name || got.Scope != test.scope || sees != test.sees || (got.ExpiresAt == nil) != (test.expiry == nil) ||
			test.expiry != nil && !got.ExpiresAt.Equal(*test.expiry) {
			t.Errorf("%s: got %+v", test.name, got)
		}
	}
	want(t, "a wrong key", r.do("GET", "/api/key", "", with("npk_wrong")), 401, "UNAUTHENTICATED")
}

// The list of routers tells what each moved, if it is asked for.
func TestRoutersUsage(t *testing.T) {
	r := newRig(t)
	today := start.Truncate(time.Hour)
	r.push(connected, start, "", storetest.Bucket(today.Add(-24*time.Hour), usage.FiveMinutes, 1, 300), storetest.Bucket(today, usage.FiveMinutes, 2, 600))
	list := func(query string) map[string]*routerUsage {
		t.Helper()
		var got struct {
			Routers []struct {
				ID    string
				Usage *routerUsage
			}
		}
		if err := json.Unmarshal(want(t, query, r.do("GET", "/api/routers"+query, "", nil), 200, "").Data, &got); err != nil {
			t.Fatal(err)
		}
		found := make(map[string]*routerUsage)
		for _, item := range got.Routers {
			found[item.ID] = item.Usage
		}
		return found
	}
	day, two := list("?days=1"), list("?days=2&name=ATTIC")
	if u := day[id(connected)]; u == nil || u.Days != 1 || u.TotalBytes != 800 || u.BytesRx != 600 || !u.AsOf.Equal(start.Truncate(time.Millisecond)) {
		t.Errorf("today: got %+v", u)
	}
	if u := two[id(connected)]; len(two) != 1 || u == nil || u.TotalBytes != 1200 {
		t.Errorf("two days of those with a name: got %+v", two)
	}
	if u := day[id(offline)]; len(day) != 3 || u != nil {
		t.Errorf("without a history: got %+v", day)
	}
	if u := list("")[id(connected)]; u != nil {
		t.Errorf("not asked for: got %+v", u)
	}
	want(t, "too long", r.do("GET", "/api/routers?days=32", "", nil), 400, "BAD_REQUEST")
}

func TestRoutersUsageWithoutHistory(t *testing.T) {
	r := newRig(t)
	r.API = New(store.WithoutHistory(r.db), r.routers, slog.New(slog.DiscardHandler))
	r.Now = func() time.Time { return r.now }
	want(t, "no history", r.do("GET", "/api/routers?days=1", "", nil), 200, "")
}
