package method

import (
	"encoding/json"
	"testing"

	"github.com/netpilot/netpilot/agent/live"
	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
)

func TestLive(t *testing.T) {
	a, _ := newAgent(t, "")
	ctx := wire.WithPeer(t.Context(), nobodyThere{})
	start := json.RawMessage(`{"action":"start"}`)
	if _, err := New(a).Call(ctx, AccessRead, "usage.live", start); usage.KindOf(err) != usage.Unavailable {
		t.Errorf("without a sampler: got %v", err)
	}
	a.Live = live.New(&live.Stream{})
	for _, params := range []string{``, `{}`, `{"action":"pause"}`, `{"action":1}`} {
		if _, err := New(a).Call(ctx, AccessRead, "usage.live", json.RawMessage(params)); usage.KindOf(err) != usage.Invalid {
			t.Errorf("%q: got %v, want invalid", params, err)
		}
	}
	if _, err := New(a).Call(t.Context(), AccessRead, "usage.live", start); usage.KindOf(err) != usage.Invalid {
		t.Errorf("through no door: got %v, want invalid", err)
	}
	got, err := New(a).Call(ctx, AccessRead, "usage.live", start)
	if want := `{"every_ms":2000,"expires_in_s":60,"refresh_seconds":30}`; err != nil || string(got) != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
}
