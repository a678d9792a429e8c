package method

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
)

// current is what usage.current and usage.device say of the lab's laptop.
type current struct {
	ResetAt *string `json:"reset_at"`
	Period  string
	Devices []struct {
		MAC string
		Rx  uint64 `json:"bytes_rx"`
	}
	Device struct {
		Rx uint64 `json:"bytes_rx"`
	}
	Total uint64 `json:"total_bytes"`
}

func TestReset(t *testing.T) {
	a, d := newAgent(t, "live-lab")
	var before, after, again current
	call(t, a, AccessRead, "usage.current", "", &before)
	if before.ResetAt != nil || len(before.Devices) != 4 {
		t.Fatalf("before: %+v", before)
	}
	var r, repeat Reset
	call(t, a, AccessWrite, "usage.reset", `{"id":"one"}`, &r)
	if r.ResetAt == nil || r.Repeated || r.ID != "one" {
		t.Fatalf("got %+v", r)
	}
	var status Status
	if call(t, a, AccessRead, "status", `{"brief":true}`, &status); status.ResetAt == nil || !status.ResetAt.Equal(*r.ResetAt) || status.Nlbwmon.OK {
		t.Errorf("brief status: %+v", status)
	}
	call(t, a, AccessRead, "usage.current", "", &after)
	if after.ResetAt == nil || len(after.Devices) != 0 || after.Total != 0 {
		t.Errorf("after: %+v", after)
	}
	laptop := usage.MAC{2, 0x77, 0, 0, 0, 0x11}
	d.Add([]usage.Record{{Family: usage.FamilyIPv4, Proto: 6, Port: 443, MAC: laptop, Addr: [16]byte{192, 168, 77, 11}, RxBytes: 100}})
	freshen(t, a, d)
	call(t, a, AccessWrite, "usage.reset", `{"id":"one"}`, &repeat)
	if !repeat.Repeated || !repeat.ResetAt.Equal(*r.ResetAt) {
		t.Errorf("the same id again: %+v", repeat)
	}
	call(t, a, AccessRead, "usage.current", "", &again)
	if len(again.Devices) != 1 || again.Devices[0].Rx != 100 || again.Total != 100 {
		t.Errorf("later: %+v", again)
	}
	// A quiet device is there with nothing, not missing.
	var tv current
	call(t, a, AccessRead, "usage.device", `{"mac":"02:77:00:00:00:13"}`, &tv)
	if tv.ResetAt == nil || tv.Device.Rx != 0 {
		t.Errorf("quiet device: %+v", tv)
	}
	// An explicit period is nlbwmon's own, whole.
	if err := os.WriteFile(a.Router.DatabaseDir+"/x", nil, 0o600); err != nil { // any file there does not matter
		t.Fatal(err)
	}
	if text := d.Commit(); text != "0 ok" {
		t.Fatal(text)
	}
	var whole current
	call(t, a, AccessRead, "usage.current", `{"period":"`+before.Period+`"}`, &whole)
	if whole.ResetAt != nil || whole.Total != before.Total+100 {
		t.Errorf("the whole period: %+v, want %d bytes", whole, before.Total+100)
	}
	call(t, a, AccessWrite, "usage.reset", `{"id":"two","mac":"02:77:00:00:00:13","clear":true}`, &r)
	call(t, a, AccessWrite, "usage.reset", `{"id":"three","clear":true}`, &r)
	if r.ResetAt != nil {
		t.Errorf("cleared: %+v", r)
	}
	after = current{}
	call(t, a, AccessRead, "usage.current", "", &after)
	if after.ResetAt != nil || after.Total != before.Total+100 {
		t.Errorf("cleared: %+v", after)
	}
}

func TestResetParams(t *testing.T) {
	a, _ := newAgent(t, "live-lab")
	for params, kind := range map[string]usage.Kind{
		``:                 usage.Invalid,
		`{"id":""}`:        usage.Invalid,
		`{"id":"a\u001b"}`: usage.Invalid,
		`{"id":7}`:         usage.Invalid,
		`{"id":"` + strings.Repeat("x", 65) + `"}`: usage.Invalid,
		`{"id":"a","mac":"x"}`:                     usage.Invalid,
		`{"id":"a","mac":"00:00:00:00:00:00"}`:     usage.Invalid,
		`{"id":"a","hard":true}`:                   usage.Forbidden, // not root's router
	} {
		if _, err := New(a).Call(t.Context(), AccessWrite, "usage.reset", json.RawMessage(params)); usage.KindOf(err) != kind {
			t.Errorf("%s: got %v, want %v", params, err, kind)
		}
	}
	a.Fresh = func(context.Context) ([]string, nlbwmon.Period, error) { return []string{"/db/old"}, 20261101, nil }
	for _, params := range []string{`{"id":"a","hard":true,"mac":"02:77:00:00:00:13"}`, `{"id":"a","hard":true,"clear":true}`} {
		if _, err := New(a).Call(t.Context(), AccessWrite, "usage.reset", json.RawMessage(params)); usage.KindOf(err) != usage.Invalid {
			t.Errorf("%s: got %v", params, err)
		}
	}
	var r Reset
	call(t, a, AccessWrite, "usage.reset", `{"id":"a","hard":true}`, &r)
	if len(r.KeptFiles) != 1 || r.KeptFiles[0] != "/db/old" || r.ResetAt == nil {
		t.Errorf("got %+v", r)
	}
	down, _ := newAgent(t, "")
	if _, err := New(down).Call(t.Context(), AccessWrite, "usage.reset", json.RawMessage(`{"id":"a"}`)); usage.KindOf(err) != usage.Unavailable {
		t.Errorf("without nlbwmon: got %v", err)
	}
}
