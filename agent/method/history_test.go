package method

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/netpilot/netpilot/agent/history"
	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
)

// fakeHistory answers with its slots, whatever is asked, if the subject fits.
type fakeHistory map[history.By][]usage.Slot

func (f fakeHistory) Query(_ context.Context, q history.Query, visit func(usage.Slot) error) (history.Info, error) {
	for _, s := range f[q.By] {
		if err := visit(s); err != nil {
			return history.Info{}, err
		}
	}
	return history.Info{Slots: len(f[q.By])}, nil
}

func (f fakeHistory) Gaps(r usage.Range) ([]usage.Gap, error) {
	return []usage.Gap{{Range: usage.Range{From: r.From, To: r.From.Add(time.Minute)}, Reason: "the router <rebooted>"}}, nil
}

func TestNoHistory(t *testing.T) {
	a, _ := newAgent(t, "live-lab")
	table := New(a)
	if _, err := table.Call(t.Context(), AccessRead, "usage.history", nil); usage.KindOf(err) != usage.Unavailable || !strings.Contains(err.Error(), "service netpilot-agent") {
		t.Errorf("without a history: got %v", err)
	}
}

// TestHistoryPages: a long answer stays in a frame, and its pages hold every
// row once.
func TestHistoryPages(t *testing.T) {
	a, _ := newAgent(t, "live-lab")
	start := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	var slots []usage.Slot
	var want uint64
	for i := range 9000 {
		s := usage.Slot{Start: start.Add(time.Duration(i/60) * time.Hour), Length: time.Hour, MAC: usage.MAC{2, 0, 0, 0, byte(i >> 8), byte(i)}, Counters: usage.Counters{RxBytes: uint64(i)}}
		want += s.RxBytes
		slots = append(slots, s)
	}
	a.History = fakeHistory{history.Device: slots}
	table := New(a)
	seen := make(map[string]bool)
	for offset := 0; ; {
		params, _ := json.Marshal(map[string]any{"by": "device", "days": 30, "offset": offset})
		reply, err := table.Call(t.Context(), AccessRead, "usage.history", params)
		if err != nil {
			t.Fatal(err)
		}
		if len(reply) > wire.MaxResult {
			t.Fatalf("%d bytes", len(reply))
		}
		var answer struct {
			Buckets    []struct{ MAC string }
			Gaps       []struct{ Reason string }
			NextOffset int    `json:"next_offset"`
			TotalBytes uint64 `json:"total_bytes"`
		}
		if err := json.Unmarshal(reply, &answer); err != nil || answer.TotalBytes != want || len(answer.Gaps) != 1 {
			t.Fatalf("%v, %d bytes, gaps %v", err, answer.TotalBytes, answer.Gaps)
		}
		for _, b := range answer.Buckets {
			if seen[b.MAC] {
				t.Fatalf("%s twice", b.MAC)
			}
			seen[b.MAC] = true
		}
		if answer.NextOffset == 0 {
			break
		}
		offset = answer.NextOffset
	}
	if len(seen) != len(slots) {
		t.Errorf("%d rows, want %d", len(seen), len(slots))
	}
}

func TestSummary(t *testing.T) {
	a, _ := newAgent(t, "live-lab")
	day := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	c := func(rx uint64) usage.Counters { return usage.Counters{RxBytes: rx} }
	one, two := usage.MAC{2, 0, 0, 0, 0, 1}, usage.MAC{2, 0, 0, 0, 0, 2}
	a.History = fakeHistory{
		history.Total:   {{Start: day, Length: usage.Day, Counters: c(30)}, {Start: day.AddDate(0, 0, 1), Length: usage.Day, Counters: c(70)}},
		history.Device:  {{Start: day, MAC: one, Counters: c(30)}, {Start: day.AddDate(0, 0, 1), MAC: one, Counters: c(5)}, {Start: day.AddDate(0, 0, 1), MAC: two, Counters: c(65)}},
		history.Service: {{Start: day, Service: "HTTPS", Counters: c(100)}},
	}
	reply, err := New(a).Call(t.Context(), AccessRead, "usage.summary", json.RawMessage(`{"days":2,"limit":1}`))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		PeriodDays int    `json:"period_days"`
		TotalBytes uint64 `json:"total_bytes"`
		Devices    []struct {
			MAC        string
			TotalBytes uint64 `json:"total_bytes"`
			Percentage float64
		} `json:"top_devices"`
		TotalDevices int `json:"total_devices"`
		Days         []struct {
			Date  string
			Bytes uint64
		} `json:"daily_totals"`
	}
	if err := json.Unmarshal(reply, &got); err != nil {
		t.Fatalf("%v: %s", err, reply)
	}
	if got.PeriodDays != 2 || got.TotalBytes != 100 || got.TotalDevices != 2 || len(got.Devices) != 1 ||
		got.Devices[0].MAC != two.String() || got.Devices[0].TotalBytes != 65 || got.Devices[0].Percentage != 65 {
		t.Errorf("got %+v", got)
	}
	if !slices.Equal(got.Days, []struct {
		Date  string
		Bytes uint64
	}{{"2026-11-22", 30}, {"2026-11-23", 70}}) {
		t.Errorf("days %+v", got.Days)
	}
}
