package api

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/netpilot/netpilot/relay/store/storetest"
)

// Health says what is wrong and stays an answer of success; no router is
// asked.
func TestHealthChecks(t *testing.T) {
	r := newRig(t)
	r.routers.answer = nil
	r.push(connected, start, `{"ok":false,"accuracy":null,"reasons":[]}`)
	r.push(offline, start, `{"ok":false,"accuracy":null,"reasons":[]}`)
	health := func() (c healthChecks) {
		t.Helper()
		e := want(t, "health", r.do("GET", "/health", "", func(req *http.Request) { req.Header = http.Header{} }), 200, "")
		var item healthItem
		if err := json.Unmarshal(e.Data, &item); err != nil || item.Message != "Server is healthy" {
			t.Fatalf("got %s, %v", e.Data, err)
		}
		return item.Checks
	}
	r.checks.look(t.Context(), r.API)
	if c := health(); c.Store == nil || !c.Store.OK || c.Routers != (routersCheck{3, 1}) || *c.Nlbwmon != (nlbwmonCheck{Broken: 1}) {
		t.Errorf("got %+v %+v %+v", c.Store, c.Routers, c.Nlbwmon)
	}
	// A router that is enrolled meanwhile counts at the next look.
	r.enrol(4)
	r.routers.online = storetest.RouterID(4)
	r.checks.look(t.Context(), r.API)
	if c := health(); c.Routers != (routersCheck{4, 1}) || *c.Nlbwmon != (nlbwmonCheck{OK: true, Unknown: 1}) {
		t.Errorf("after one more enrolled: got %+v %+v", c.Routers, c.Nlbwmon)
	}
	r.db.Close()
	r.now = r.now.Add(fleetEvery)
	r.checks.look(t.Context(), r.API)
	if c := health(); c.Store == nil || c.Store.OK || c.Store.Error == "" || strings.Contains(c.Store.Error, "sql") {
		t.Errorf("with a store that is closed: got %+v", c.Store)
	}
	if !strings.Contains(r.log.String(), "look at the store") {
		t.Errorf("the log lacks it: %s", r.log.String())
	}
}
