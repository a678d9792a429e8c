package api

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/store"
	"github.com/netpilot/netpilot/relay/store/storetest"
)

func TestFleetSummary(t *testing.T) {
	r := newRig(t)
	today := start.Truncate(time.Hour)
	r.push(connected, start, `{"ok":true,"accuracy":0.99,"reasons":[]}`,
		storetest.Bucket(today.Add(-24*time.Hour), usage.FiveMinutes, 1, 300), storetest.Bucket(today, usage.FiveMinutes, 2, 600))
	unresolved := storetest.Bucket(today.Add(-time.Hour), usage.FiveMinutes, 0, 30)
	unresolved.Devices[0].MAC = usage.MAC{}
	r.push(offline, start, `{"ok":false,"accuracy":null,"reasons":[{"id":"offload","text":"x","cure":"y"}]}`,
		storetest.Bucket(today.Add(-40*24*time.Hour), usage.FiveMinutes, 9, 9000), unresolved, storetest.Bucket(today, usage.FiveMinutes, 3, 1500))
	r.db.KeepAnswer(storetest.RouterID(offline), "usage.current", store.Answer{At: start,
		Result: fmt.Appendf(nil, `{"devices":[{"mac":%q,"hostname":"tv","alias":"Telly"}]}`, mac(3))})
	get := func(query, key string) (f fleetItem) {
		t.Helper()
		e := want(t, query, r.do("GET", "/api/fleet/summary"+query, "", with(key)), 200, "")
		if err := json.Unmarshal(e.Data, &f); err != nil {
			t.Fatal(err)
		}
		return f
	}
	f := get("", r.key)
	if f.TotalRouters != 3 || f.Online != 1 || f.WithHistory != 2 || f.TotalBytes != 3240 || f.BytesRx != 2430 || f.BytesTx != 810 || f.TotalBroken != 1 || f.TotalUncertain != 1 || !f.AsOf.Equal(start.Truncate(time.Millisecond)) {
		t.Errorf("got %+v", f)
	}
	if len(f.TopRouters) != 2 || f.TopRouters[0].RouterID != storetest.RouterID(offline) || f.TopRouters[0].TotalBytes != 2040 || f.TopRouters[1].Name != "attic" || !f.TopRouters[1].Online {
		t.Errorf("got routers %+v", f.TopRouters)
	}
	if len(f.TopDevices) != 3 || f.TopDevices[0].MAC != mac(3).String() || *f.TopDevices[0].Alias != "Telly" || *f.TopDevices[0].Hostname != "tv" || f.TopDevices[0].RouterName != "r2" ||
		f.TopDevices[1].MAC != mac(2).String() || f.TopDevices[1].Hostname != nil {
		t.Errorf("got devices %+v", f.TopDevices)
	}
	if len(f.DailyTotals) != 2 || f.DailyTotals[0].Date != "2026-11-22" || f.DailyTotals[0].Bytes != 400 || f.DailyTotals[1].Bytes != 2840 {
		t.Errorf("got days %+v", f.DailyTotals)
	}
	if counting, _ := json.Marshal(f.Broken); len(f.Broken) != 1 || f.Broken[0].Name != "r2" || !strings.Contains(string(counting), `"cure":"y"`) {
		t.Errorf("got broken %s", counting)
	}
	if f := get("?days=1&limit=1", r.key); f.TotalBytes != 2840 || len(f.TopRouters) != 1 || len(f.TopDevices) != 1 || f.PeriodDays != 1 {
		t.Errorf("of today: got %+v", f)
	}
	// A part is used again for a while, and a tenant sees its own only.
	r.push(revoked, start, "", storetest.Bucket(today, usage.FiveMinutes, 4, 300))
	if f := get("", r.key); f.TotalBytes != 3240 {
		t.Errorf("got %d, want the parts remembered", f.TotalBytes)
	}
	r.now = start.Add(partFor)
	if f := get("", r.key); f.TotalBytes != 3640 || f.WithHistory != 3 {
		t.Errorf("got %d, want them made anew", f.TotalBytes)
	}
	tenant := r.grantKey("tenant", store.ScopeRead, []usage.RouterID{storetest.RouterID(connected)})
	if f := get("", tenant); f.TotalRouters != 1 || f.TotalBytes != 1200 || f.TotalBroken != 0 || len(f.TopRouters) != 1 {
		t.Errorf("the tenant: got %+v", f)
	}
	if f := get("", r.grantKey("nobody", store.ScopeRead, []usage.RouterID{})); f.TotalRouters != 0 || f.TotalBytes != 0 {
		t.Errorf("nobody: got %+v", f)
	}
	for _, query := range []string{"?days=0", "?days=32", "?limit=0", "?limit=101", "?days=x"} {
		want(t, query, r.do("GET", "/api/fleet/summary"+query, "", nil), 400, "BAD_REQUEST")
	}
	a := New(store.WithoutHistory(r.db), r.routers, slog.New(slog.DiscardHandler))
	r.API = a
	want(t, "a relay that keeps nothing", r.do("GET", "/api/fleet/summary", "", nil), 501, "NO_HISTORY")
	want(t, "its list", r.do("GET", "/api/routers", "", nil), 200, "")
}

// A sum that takes too long fails, and what was done of it is not lost.
func TestFleetSummaryGoesOn(t *testing.T) {
	r := newRig(t)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	router := store.Router{ID: storetest.RouterID(connected)}
	if _, err := r.partOf(gone, &router, 7); err == nil {
		t.Error("a part after the end: got no error")
	}
	done, err := r.partOf(t.Context(), &router, 7)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := r.partOf(gone, &router, 7); err != nil || again != done {
		t.Errorf("got %v, %v, want the part that was made", again, err)
	}
}

func TestRouterFilters(t *testing.T) {
	r := newRig(t)
	r.push(connected, start, `{"ok":true,"accuracy":1,"reasons":[]}`)
	r.push(offline, start.Add(-time.Hour), `{"ok":false,"accuracy":null,"reasons":[]}`)
	ids := func(query string) (list []string, total int) {
		t.Helper()
		e := want(t, query, r.do("GET", "/api/routers?"+query, "", nil), 200, "")
		var page routersItem
		if err := json.Unmarshal(e.Data, &page); err != nil {
			t.Fatal(err)
		}
		for _, item := range page.Routers {
			list = append(list, item.Name)
		}
		return list, page.Total
	}
	for query, want := range map[string]struct {
		names []string
		total int
	}{
		"":                         {[]string{"attic", "r2", "r3"}, 3},
		"online=true":              {[]string{"attic"}, 1},
		"online=false":             {[]string{"r2", "r3"}, 2},
		"online=false&limit=1":     {[]string{"r2"}, 2},
		"online=false&offset=1":    {[]string{"r3"}, 2},
		"online=false&offset=5":    {nil, 2},
		"counting=ok":              {[]string{"attic"}, 1},
		"counting=broken":          {[]string{"r2"}, 1},
		"counting=unknown":         {[]string{"r3"}, 1},
		"counting=ok&online=false": {nil, 0},
		"revoked=true":             {[]string{"r3"}, 1},
		"revoked=false":            {[]string{"attic", "r2"}, 2},
		"name=R":                   {[]string{"r2", "r3"}, 2},
		"name=ATT":                 {[]string{"attic"}, 1},
		"name=%27%20OR%201=1--":    {nil, 0},
		"name=%25":                 {nil, 0},
	} {
		if names, total := ids(query); !slices.Equal(names, want.names) || total != want.total {
			t.Errorf("%s: got %q of %d, want %q of %d", query, names, total, want.names, want.total)
		}
	}
	for _, query := range []string{"online=1", "counting=no", "revoked=x", "name=" + strings.Repeat("x", 64)} {
		want(t, query, r.do("GET", "/api/routers?"+query, "", nil), 400, "BAD_REQUEST")
	}
	e := want(t, "one", r.do("GET", "/api/routers/"+id(offline), "", nil), 200, "")
	if !strings.Contains(string(e.Data), `"counting":{"ok":false,`) || !strings.Contains(string(e.Data), `"history_as_of":"2026-11-23T13:55:26.997Z"`) {
		t.Errorf("got %s", e.Data)
	}
}
