package e2e

import (
	"encoding/json"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/store/sqlite"
)

// TestCountingReachesRelay: what an agent pushes says whether its numbers can
// be trusted, in the words of its status, and the relay tells it when the
// router is gone.
func TestCountingReachesRelay(t *testing.T) {
	s, r := newServer(t), newRouter(t, lab, "live-lab")
	r.enrol(s)
	r.run()
	s.online(1)
	id := r.id()
	db, err := sqlite.Open(t.Context(), filepath.Join(s.data, "relay.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var told *usage.Counting
	until(t, "the relay knows how the router counts", func() bool {
		var status struct{ Counting *usage.Counting }
		if a := s.get("/api/device-usage/status?routerId=" + id); json.Unmarshal(a.Data, &status) != nil || status.Counting == nil {
			t.Fatalf("status does not say how it counts: %s", a.Data)
		}
		told = nil
		held, err := db.Replica(t.Context(), usage.RouterID(id))
		if err != nil {
			t.Fatal(err)
		}
		// What it says may change, as when nlbwmon's numbers grow old.
		return held.Counting != nil && json.Unmarshal(held.Counting, &told) == nil && !held.CountingAt.IsZero() && reflect.DeepEqual(told, status.Counting)
	})
	r.stop()
	s.online(0)
	var past struct{ Counting *usage.Counting }
	if a := s.get("/api/device-usage/history?routerId=" + id); json.Unmarshal(a.Data, &past) != nil || !reflect.DeepEqual(past.Counting, told) {
		t.Errorf("the router is gone, and the relay says of its counting: %s %v", a.Data, a.Error)
	}
}
