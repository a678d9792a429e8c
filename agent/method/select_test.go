package method

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/netpilot/netpilot/agent/history"
	"github.com/netpilot/netpilot/agent/identity"
	"github.com/netpilot/netpilot/pkg/usage"
)

// owned are devices the owner named: 2 is an interface of 1.
type owned struct{ nobody }

func (owned) Identity(mac usage.MAC, _ time.Time) usage.Identity {
	switch mac {
	case usage.MAC{2, 1}:
		return usage.Identity{Alias: "Anna", Group: "kids"}
	case usage.MAC{2, 2}:
		return usage.Identity{Hostname: "anna-eth", Primary: usage.MAC{2, 1}}
	}
	return usage.Identity{Hostname: "tv", Category: "streaming"}
}

func (owned) IPs(usage.MAC) []netip.Addr { return nil }

// TestHistoryOfSome: the history of a group, a category or a name, with the
// interfaces of a device together, is the sum of its devices'.
func TestHistoryOfSome(t *testing.T) {
	a, _ := newAgent(t, "")
	a.Names = func() (usage.Names, error) { return owned{}, nil }
	start := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	h := fakeHistory{}
	for hour := range 3 {
		at := start.Add(time.Duration(hour) * time.Hour)
		for n, rx := range map[byte]uint64{0: 1000, 1: 1, 2: 10, 3: 100} {
			mac := usage.MAC{2, n}
			if n == 0 {
				mac = usage.MAC{}
			}
			h[history.Device] = append(h[history.Device], usage.Slot{Start: at, Length: time.Hour, MAC: mac, Counters: usage.Counters{RxBytes: rx}})
		}
		h[history.Total] = append(h[history.Total], usage.Slot{Start: at, Length: time.Hour, Counters: usage.Counters{RxBytes: 1111}})
	}
	h[history.Service] = []usage.Slot{{Start: start, Length: time.Hour, Service: "HTTPS", Counters: usage.Counters{RxBytes: 1111}}}
	a.History = h
	type answer struct {
		Buckets []struct {
			MAC   string
			Alias string
			Rx    uint64 `json:"bytes_rx"`
		}
		Total uint64 `json:"total_bytes"`
	}
	for params, want := range map[string]struct {
		rows int
		sum  uint64
	}{
		`{}`:                                {3, 3333},
		`{"group":"KIDS"}`:                  {3, 33},
		`{"name":"anna"}`:                   {3, 33},
		`{"category":"streaming"}`:          {3, 300},
		`{"group":"none"}`:                  {0, 0},
		`{"mac":"02:02:00:00:00:00"}`:       {3, 33},
		`{"by":"device"}`:                   {9, 3333},
		`{"by":"device","group":"kids"}`:    {3, 33},
		`{"by":"device","category":"work"}`: {0, 0},
	} {
		var got answer
		call(t, a, AccessRead, "usage.history", params, &got)
		if len(got.Buckets) != want.rows || got.Total != want.sum {
			t.Errorf("%s: got %+v, want %d rows of %d bytes", params, got, want.rows, want.sum)
		}
		for _, b := range got.Buckets {
			if b.MAC == "02:02:00:00:00:00" || b.MAC == "02:01:00:00:00:00" && (b.Alias != "Anna" || b.Rx != 11) {
				t.Errorf("%s: got the row %+v", params, b)
			}
		}
	}
	// By a label every byte is in one row, that of no device too; of the
	// labels only those in a slot.
	for params, want := range map[string]string{
		`{"by":"group"}`:                        "null 1100, kids 11, null 1100, kids 11, null 1100, kids 11",
		`{"by":"category"}`:                     "null 1011, streaming 100, null 1011, streaming 100, null 1011, streaming 100",
		`{"by":"group","category":"streaming"}`: "null 100, null 100, null 100",
		`{"by":"category","group":"kids"}`:      "null 11, null 11, null 11",
		`{"by":"group","limit":1,"offset":1}`:   "kids 11",
	} {
		var got struct {
			Buckets []struct {
				MAC             *string
				Group, Category *string
				Rx              uint64 `json:"bytes_rx"`
			}
		}
		call(t, a, AccessRead, "usage.history", params, &got)
		var rows []string
		for _, b := range got.Buckets {
			label := "null"
			for _, l := range []*string{b.Group, b.Category} {
				if l != nil {
					label = *l
				}
			}
			if b.MAC != nil {
				label = *b.MAC
			}
			rows = append(rows, fmt.Sprint(label, " ", b.Rx))
		}
		if got := strings.Join(rows, ", "); got != want {
			t.Errorf("%s: got %s, want %s", params, got, want)
		}
	}
	var sums struct {
		By     string
		Groups []struct {
			Group      *string
			Devices    int
			Rx         uint64 `json:"bytes_rx"`
			Percentage float64
		}
		Rows int `json:"total_groups"`
	}
	call(t, a, AccessRead, "usage.summary", `{"by":"group","limit":2}`, &sums)
	if g := sums.Groups; sums.By != "group" || len(g) != 2 || sums.Rows != 2 || g[0].Group != nil || g[0].Devices != 1 || g[0].Rx != 3300 ||
		*g[1].Group != "kids" || g[1].Devices != 1 || g[1].Rx != 33 || g[1].Percentage != 0.99 {
		t.Errorf("got %+v", sums)
	}
	for params, method := range map[string]string{`{"by":"vendor"}`: "usage.summary", `{"by":"group","service":"HTTPS"}`: "usage.history"} {
		if _, err := New(a).Call(t.Context(), AccessRead, method, []byte(params)); usage.KindOf(err) != usage.Invalid {
			t.Errorf("%s %s: got %v", method, params, err)
		}
	}
	var s struct {
		Top      []struct{ MAC string }     `json:"top_devices"`
		Services []struct{ Service string } `json:"top_services"`
		Total    uint64                     `json:"total_bytes"`
	}
	call(t, a, AccessRead, "usage.summary", `{"group":"kids"}`, &s)
	if len(s.Top) != 1 || s.Top[0].MAC != "02:01:00:00:00:00" || s.Total != 33 || len(s.Services) != 0 {
		t.Errorf("got %+v", s)
	}
	call(t, a, AccessRead, "usage.summary", ``, &s)
	if len(s.Top) != 3 || s.Total != 3333 || len(s.Services) != 1 {
		t.Errorf("got %+v", s)
	}
	if _, err := New(a).Call(t.Context(), AccessRead, "usage.history", []byte(`{"by":"service","group":"kids"}`)); usage.KindOf(err) != usage.Invalid {
		t.Errorf("by service of a group: got %v", err)
	}
}

// TestSetDeviceParams: what makes no sense is refused with the next step.
func TestSetDeviceParams(t *testing.T) {
	a, _ := newAgent(t, "")
	for _, params := range []string{
		`{}`, `{"mac":"x"}`, `{"mac":"00:00:00:00:00:00","alias":"a"}`, `{"mac":"01:00:00:00:00:01","alias":"a"}`, `{"mac":"02:00:00:00:00:01"}`,
		`{"mac":"02:00:00:00:00:01","alias":5}`, `{"mac":"02:00:00:00:00:01","alias":"\u202e"}`, `{"mac":"02:00:00:00:00:01","category":"fun"}`,
		`{"mac":"02:00:00:00:00:01","same_as":"02:00:00:00:00:01"}`, `{"mac":"02:00:00:00:00:01","forget":true,"alias":null}`,
		`{"mac":"02:00:00:00:00:01","group":"0123456789012345678901234567890123456789012345678901234567890123"}`,
	} {
		if _, err := New(a).Call(t.Context(), AccessWrite, "devices.set", []byte(params)); usage.KindOf(err) != usage.Invalid {
			t.Errorf("%s: got %v, want invalid", params, err)
		}
	}
	var got struct {
		Device struct{ Alias, Group *string }
	}
	call(t, a, AccessWrite, "devices.set", `{"mac":"02:00:00:00:00:01","alias":"a","group":"g"}`, &got)
	call(t, a, AccessWrite, "devices.set", `{"mac":"02:00:00:00:00:01","alias":null}`, &got)
	if got.Device.Alias != nil || got.Device.Group == nil || *got.Device.Group != "g" {
		t.Errorf("got %+v", got)
	}
	a.Devices = func() *identity.Keeper {
		return identity.Open(identity.Options{Root: t.TempDir() + "/none", Now: time.Now})
	}
	var list struct {
		Total int `json:"total_devices"`
	}
	if call(t, a, AccessRead, "devices.list", ``, &list); list.Total != 0 {
		t.Errorf("got %+v", list)
	}
}
