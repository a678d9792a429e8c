package storetest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/zone"
	"github.com/netpilot/netpilot/relay/store"
)

// Berlin is the zone of the routers in these tests.
const Berlin = "CET-1CEST,M3.5.0,M10.5.0/3"

// noon is 12:00 in Berlin, some hours after its clock went forward.
func noon() time.Time { return time.Date(2026, 3, 29, 10, 0, 0, 0, time.UTC) }

// Bucket makes a bucket in which the n-th device moved some bytes and the
// other sections add up.
func Bucket(start time.Time, length time.Duration, n byte, rx uint64) usage.Bucket {
	c := usage.Counters{RxBytes: rx, TxBytes: rx / 3, RxPackets: rx / 7, TxPackets: rx / 11, Conns: rx % 13}
	return usage.Bucket{
		Start: start, Length: length,
		Devices:  []usage.DeviceSum{{MAC: usage.MAC{2, 0, 0, 0, 0, n}, Counters: c}},
		Services: []usage.ServiceSum{{Name: fmt.Sprintf("service %d", n%5), Counters: c}},
		Families: []usage.FamilySum{{Family: usage.FamilyIPv4, Counters: c}},
	}
}

// inBerlin enrols the n-th router and has it say its zone.
func (f *fixture) inBerlin(t *testing.T, n int) usage.RouterID {
	t.Helper()
	f.enrol(t, n)
	if err := f.Saw(t.Context(), []store.Sighting{{ID: RouterID(n), Facts: &store.Facts{Timezone: Berlin}}}); err != nil {
		t.Fatal(err)
	}
	return RouterID(n)
}

// push keeps a push that must be taken.
func (f *fixture) push(t *testing.T, p store.Push) {
	t.Helper()
	if p.At.IsZero() {
		p.At = f.now
	}
	cursor, err := f.Push(t.Context(), &p)
	if err != nil || cursor != p.Cursor {
		t.Fatalf("Push after %d up to %d: got %d, %v", p.After, p.Cursor, cursor, err)
	}
}

// everything is a range that has all.
func everything() usage.Range {
	return usage.Range{From: time.Unix(0, 0), To: noon().AddDate(20, 0, 0)}
}

func (f *fixture) history(t *testing.T, router usage.RouterID, q store.HistoryQuery) ([]usage.Slot, store.HistoryInfo) {
	t.Helper()
	if q.Range == (usage.Range{}) {
		q.Range = everything()
	}
	var list []usage.Slot
	info, err := f.History(t.Context(), router, q, func(s usage.Slot) error {
		list = append(list, s)
		return nil
	})
	if err != nil || info.Slots != len(list) {
		t.Fatalf("History: got %d slots, said %d, %v", len(list), info.Slots, err)
	}
	return list, info
}

// wantSlots compares starts, lengths and received bytes.
func (f *fixture) wantSlots(t *testing.T, what string, router usage.RouterID, q store.HistoryQuery, want ...string) {
	t.Helper()
	list, _ := f.history(t, router, q)
	var got []string
	for _, s := range list {
		got = append(got, fmt.Sprintf("%s %s %d", s.Start.Format("02 15:04"), s.Length, s.RxBytes))
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func testPush(t *testing.T, f *fixture) {
	r := f.inBerlin(t, 1)
	if got, err := f.Replica(t.Context(), r); err != nil || !reflect.DeepEqual(got, store.Replica{}) {
		t.Errorf("before any push: got %+v, %v", got, err)
	}
	f.wantSlots(t, "before any push", r, store.HistoryQuery{})
	five := usage.FiveMinutes
	first := store.Push{Router: r, Cursor: 20, Counting: json.RawMessage(`{"ok":true}`),
		Buckets: []usage.Bucket{Bucket(noon(), five, 1, 100), Bucket(noon().Add(five), five, 1, 200)},
		Gaps:    []usage.Gap{{Range: usage.Range{From: noon(), To: noon().Add(time.Second)}, Reason: "power cut"}},
	}
	f.push(t, first)
	// The same again, as if the answer had been lost: nothing of it is kept,
	// and the router learns where it is.
	if cursor, err := f.Push(t.Context(), &first); err != nil || cursor != 20 {
		t.Errorf("the same again: got %d, %v, want 20", cursor, err)
	}
	// A bucket that comes again replaces the one before; one that comes
	// coarser replaces all within.
	f.push(t, store.Push{Router: r, After: 20, Cursor: 30, Buckets: []usage.Bucket{Bucket(noon(), five, 2, 150), Bucket(noon().Add(time.Hour), five, 1, 7)}})
	f.wantSlots(t, "an addition", r, store.HistoryQuery{}, "29 12:00 5m0s 150", "29 12:05 5m0s 200", "29 13:00 5m0s 7")
	f.push(t, store.Push{Router: r, After: 30, Cursor: 31, Buckets: []usage.Bucket{Bucket(noon(), time.Hour, 1, 360)}, Counting: json.RawMessage(`{"ok":false}`)})
	f.wantSlots(t, "an hour", r, store.HistoryQuery{}, "29 12:00 1h0m0s 360", "29 13:00 5m0s 7")
	gaps, err := f.Gaps(t.Context(), r, everything())
	if err != nil || len(gaps) != 1 || !gaps[0].From.Equal(noon()) || !gaps[0].To.Equal(noon().Add(time.Second)) || gaps[0].Reason != "power cut" {
		t.Errorf("Gaps: got %+v, %v", gaps, err)
	}
	if gaps, err := f.Gaps(t.Context(), r, usage.Range{From: noon().Add(time.Second), To: noon().Add(time.Hour)}); err != nil || len(gaps) != 0 {
		t.Errorf("Gaps after it: got %+v, %v", gaps, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f.Store = f.reopen()
	f.wantSlots(t, "after opening again", r, store.HistoryQuery{}, "29 12:00 1h0m0s 360", "29 13:00 5m0s 7")
	got, err := f.Replica(t.Context(), r)
	if err != nil || got.Cursor != 31 || !got.PushedAt.Equal(f.now) || !got.AsOf.IsZero() || string(got.Counting) != `{"ok":false}` {
		t.Errorf("got %+v, %v", got, err)
	}
}

func testPushRefused(t *testing.T, f *fixture) {
	r := f.inBerlin(t, 1)
	five := usage.FiveMinutes
	for name, p := range map[string]store.Push{
		"unknown router": {Router: RouterID(9), Cursor: 1},
		"no length":      {Router: r, Cursor: 1, Buckets: []usage.Bucket{Bucket(noon(), 0, 1, 1)}},
		"odd length":     {Router: r, Cursor: 1, Buckets: []usage.Bucket{Bucket(noon(), five+1, 1, 1)}},
		"too long":       {Router: r, Cursor: 1, Buckets: []usage.Bucket{Bucket(noon(), 27*time.Hour, 1, 1)}},
		"odd start":      {Router: r, Cursor: 1, Open: []usage.Bucket{Bucket(noon().Add(1), five, 1, 1), Bucket(noon().Add(time.Second), five, 1, 1)}},
		"early start":    {Router: r, Cursor: 1, Buckets: []usage.Bucket{Bucket(time.Unix(-300, 0), five, 1, 1)}},
		"empty gap":      {Router: r, Cursor: 1, Gaps: []usage.Gap{{Range: usage.Range{From: noon(), To: noon()}}}},
		"cursor":         {Router: r, Cursor: 1 << 63},
	} {
		kind := usage.Invalid
		if name == "unknown router" {
			kind = usage.NotFound
		}
		_, err := f.Push(t.Context(), &p)
		wantKind(t, name, err, kind)
	}
	_, err := f.Replica(t.Context(), RouterID(9))
	wantKind(t, "replica of an unknown router", err, usage.NotFound)
	_, err = f.History(t.Context(), RouterID(9), store.HistoryQuery{Range: everything()}, nil)
	wantKind(t, "history of an unknown router", err, usage.NotFound)
	mac := usage.MAC{1}
	for name, q := range map[string]store.HistoryQuery{
		"empty range":     {Range: usage.Range{From: noon(), To: noon()}},
		"odd resolution":  {Range: everything(), Resolution: 7 * time.Minute},
		"two days":        {Range: everything(), Resolution: 48 * time.Hour},
		"no subject":      {Range: everything(), By: 9},
		"device, service": {Range: everything(), MAC: &mac, Service: "x"},
	} {
		_, err := f.History(t.Context(), r, q, nil)
		wantKind(t, name, err, usage.Invalid)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Push(ctx, &store.Push{Router: r, Cursor: 5}); err == nil {
		t.Error("a push that was given up before it began: got no error")
	}
	if got, err := f.Replica(t.Context(), r); err != nil || got.Cursor != 0 {
		t.Errorf("after refusals: got %+v, %v, want nothing", got, err)
	}
}

// Open buckets hide what they will replace, and are replaced as a whole.
func testOpen(t *testing.T, f *fixture) {
	r := f.inBerlin(t, 1)
	five := usage.FiveMinutes
	f.push(t, store.Push{Router: r, Cursor: 1, Buckets: []usage.Bucket{Bucket(noon(), five, 1, 100)}})
	asOf := noon().Add(11 * time.Minute)
	f.push(t, store.Push{Router: r, After: 1, Cursor: 1, AsOf: asOf,
		Open: []usage.Bucket{Bucket(noon().Add(2*five), five, 1, 3), Bucket(noon(), five, 1, 110)}})
	f.wantSlots(t, "open", r, store.HistoryQuery{}, "29 12:00 5m0s 110", "29 12:10 5m0s 3")
	_, info := f.history(t, r, store.HistoryQuery{})
	if !info.AsOf.Equal(asOf) || !info.Through.Equal(noon()) || info.Cursor != 1 {
		t.Errorf("got %+v, want as of %v, through %v", info, asOf, noon())
	}
	// Closed buckets alone leave the open ones as they were.
	f.push(t, store.Push{Router: r, After: 1, Cursor: 2, Buckets: []usage.Bucket{Bucket(noon().Add(five), five, 1, 20)}})
	f.wantSlots(t, "closed", r, store.HistoryQuery{}, "29 12:00 5m0s 110", "29 12:05 5m0s 20", "29 12:10 5m0s 3")
	asOf = asOf.Add(time.Minute)
	f.push(t, store.Push{Router: r, After: 2, Cursor: 2, AsOf: asOf, Open: []usage.Bucket{}})
	f.wantSlots(t, "none open", r, store.HistoryQuery{}, "29 12:00 5m0s 100", "29 12:05 5m0s 20")
	_, info = f.history(t, r, store.HistoryQuery{})
	if !info.AsOf.Equal(asOf) || !info.Through.Equal(asOf) {
		t.Errorf("got %+v, want as of and through %v", info, asOf)
	}
	f.push(t, store.Push{Router: r, After: 2, Cursor: 2, AsOf: asOf, Open: []usage.Bucket{Bucket(noon(), time.Hour, 1, 500)}})
	f.wantSlots(t, "an open hour", r, store.HistoryQuery{}, "29 12:00 1h0m0s 500")
}

// What does not fit has the router push all anew, once.
func testRestart(t *testing.T, f *fixture) {
	r := f.inBerlin(t, 1)
	five := usage.FiveMinutes
	f.push(t, store.Push{Router: r, Cursor: 50, Buckets: []usage.Bucket{Bucket(noon(), time.Hour, 1, 1000), Bucket(noon().Add(-time.Hour), time.Hour, 1, 30)}})
	late := store.Push{Router: r, At: f.now, After: 50, Cursor: 60, Buckets: []usage.Bucket{Bucket(noon().Add(five), five, 1, 200)}}
	if cursor, err := f.Push(t.Context(), &late); err != nil || cursor != 0 {
		t.Fatalf("a bucket within an hour: got cursor %d, %v, want 0", cursor, err)
	}
	f.push(t, store.Push{Router: r, Cursor: 55, Buckets: []usage.Bucket{Bucket(noon(), five, 1, 800)}})
	// Half in, half out, on the way: no second time.
	f.push(t, store.Push{Router: r, After: 55, Cursor: 60, Buckets: []usage.Bucket{Bucket(noon().Add(-30*time.Minute), time.Hour, 1, 40), Bucket(noon().Add(8*five), five, 1, 201)}})
	f.push(t, store.Push{Router: r, After: 60, Cursor: 60, AsOf: noon(), Open: []usage.Bucket{}})
	f.wantSlots(t, "rebuilt", r, store.HistoryQuery{}, "29 11:30 1h0m0s 40", "29 12:40 5m0s 201")
	late.After = 60
	late.Buckets = []usage.Bucket{Bucket(noon().Add(-25*time.Minute), five, 1, 1)}
	if cursor, err := f.Push(t.Context(), &late); err != nil || cursor != 0 {
		t.Errorf("after it: got cursor %d, %v, want 0", cursor, err)
	}
}

func testQuery(t *testing.T, f *fixture) {
	r := f.inBerlin(t, 1)
	other := f.inBerlin(t, 2)
	five := usage.FiveMinutes
	day := time.Date(2026, 3, 28, 23, 0, 0, 0, time.UTC) // midnight, and the clock goes forward that day
	one, two := Bucket(noon(), five, 1, 100), Bucket(noon(), five, 2, 1000)
	one.Devices, one.Services = append(one.Devices, two.Devices...), append(one.Services, two.Services...)
	six := two.Families[0]
	six.Family = usage.FamilyIPv6
	one.Families = append(one.Families, six)
	one.Quarantined = []usage.DeviceSum{{MAC: usage.MAC{9}, Counters: usage.Counters{RxBytes: 1 << 62}}}
	f.push(t, store.Push{Router: r, Cursor: 9, Buckets: []usage.Bucket{
		Bucket(day.Add(-time.Hour), time.Hour, 1, 1), Bucket(day, five, 1, 2), Bucket(day.Add(time.Hour), time.Hour, 1, 4),
		one, Bucket(day.Add(23*time.Hour), five, 1, 8),
		Bucket(day.AddDate(0, 0, 2), 24*time.Hour, 3, 16),
	}})
	f.push(t, store.Push{Router: other, Cursor: 9, Buckets: []usage.Bucket{Bucket(noon(), five, 1, 12345)}})
	span := usage.Range{From: day, To: day.Add(23 * time.Hour)}
	mac := usage.MAC{2, 0, 0, 0, 0, 1}
	for _, test := range []struct {
		name string
		q    store.HistoryQuery
		want []string
	}{
		{"total", store.HistoryQuery{Range: span}, []string{"29 00:00 5m0s 2", "29 01:00 1h0m0s 4", "29 12:00 5m0s 1100"}},
		{"days", store.HistoryQuery{Resolution: usage.Day}, []string{"28 00:00 24h0m0s 1", "29 00:00 23h0m0s 1106", "30 00:00 24h0m0s 8", "31 01:00 24h0m0s 16"}},
		{"six hours", store.HistoryQuery{Range: span, Resolution: 6 * time.Hour}, []string{"29 00:00 6h0m0s 6", "29 07:00 6h0m0s 1100"}},
		{"device", store.HistoryQuery{Range: span, MAC: &mac}, []string{"29 00:00 5m0s 2", "29 01:00 1h0m0s 4", "29 12:00 5m0s 100"}},
		{"by device", store.HistoryQuery{Range: span, Resolution: usage.Day, By: store.Device}, []string{"29 00:00 23h0m0s 106", "29 00:00 23h0m0s 1000"}},
		{"service", store.HistoryQuery{Range: span, Service: "service 2"}, []string{"29 12:00 5m0s 1000"}},
		{"by service", store.HistoryQuery{Range: span, Resolution: usage.Day, By: store.Service}, []string{"29 00:00 23h0m0s 106", "29 00:00 23h0m0s 1000"}},
		{"by family", store.HistoryQuery{Range: span, Resolution: usage.Day, By: store.Family}, []string{"29 00:00 23h0m0s 106", "29 00:00 23h0m0s 1000"}},
		{"quarantined", store.HistoryQuery{By: store.Quarantined}, []string{fmt.Sprintf("29 12:00 5m0s %d", 1<<62)}},
		{"half open", store.HistoryQuery{Range: usage.Range{From: day.Add(time.Second), To: noon()}}, []string{"29 01:00 1h0m0s 4"}},
	} {
		f.wantSlots(t, test.name, r, test.q, test.want...)
	}
	list, info := f.history(t, r, store.HistoryQuery{Range: span, By: store.Device})
	if len(list) != 4 || list[0].MAC != mac || list[3].MAC != (usage.MAC{2, 0, 0, 0, 0, 2}) || !info.Coarser {
		t.Errorf("got %+v, %+v", list, info)
	}
	if _, info := f.history(t, r, store.HistoryQuery{Range: span, Resolution: time.Hour}); info.Coarser {
		t.Error("hours of hours are called coarser")
	}
	stop := fmt.Errorf("enough")
	if _, err := f.History(t.Context(), r, store.HistoryQuery{Range: span}, func(usage.Slot) error { return stop }); err != stop {
		t.Errorf("error of visit: got %v", err)
	}
}

// Five minutes become hours, hours days, and days go.
func testTidy(t *testing.T, f *fixture) {
	r := f.inBerlin(t, 1)
	five := usage.FiveMinutes
	midnight := time.Date(2026, 3, 28, 23, 0, 0, 0, time.UTC)
	var list []usage.Bucket
	cursor := uint64(0)
	for at := midnight; at.Before(midnight.Add(23 * time.Hour)); at = at.Add(five) {
		list = append(list, Bucket(at, five, byte(at.Hour()), 7))
	}
	q := list[5]
	list[5].Quarantined = q.Devices
	asOf := func(at time.Time) {
		t.Helper()
		f.push(t, store.Push{Router: r, After: cursor, Cursor: 1, Buckets: list, AsOf: at, Open: []usage.Bucket{}})
		cursor, list = 1, nil
		if err := f.Tidy(t.Context(), noon().AddDate(0, 0, 60)); err != nil {
			t.Fatal(err)
		}
	}
	count := func() (n int, rx uint64) {
		t.Helper()
		slots, _ := f.history(t, r, store.HistoryQuery{})
		for _, s := range slots {
			rx += s.RxBytes
		}
		return len(slots), rx
	}
	check := func(what string, want int) {
		t.Helper()
		if n, rx := count(); n != want || rx != 23*12*7 {
			t.Errorf("%s: got %d slots with %d bytes, want %d with %d", what, n, rx, want, 23*12*7)
		}
		if slots, _ := f.history(t, r, store.HistoryQuery{By: store.Quarantined, Resolution: usage.Day}); len(slots) != 1 || slots[0].RxBytes != 7 {
			t.Errorf("%s: got %+v quarantined", what, slots)
		}
	}
	asOf(midnight.Add(48 * time.Hour))
	check("young", 23*12)
	asOf(midnight.Add(48*time.Hour + 8*time.Hour + 2*time.Hour))
	check("two hours are old", 21*12+2)
	asOf(midnight.AddDate(0, 0, 20))
	check("hours", 23)
	if slots, _ := f.history(t, r, store.HistoryQuery{By: store.Device}); len(slots) != 23 || slots[22].RxBytes != 7*12 {
		t.Errorf("by device: got %+v", slots)
	}
	asOf(midnight.AddDate(0, 0, 40))
	check("a day", 1)
	if slots, _ := f.history(t, r, store.HistoryQuery{Resolution: usage.Day}); slots[0].Length != 23*time.Hour || !slots[0].Start.Equal(midnight) {
		t.Errorf("got %+v, want the day of 23 hours", slots)
	}
	later := midnight.AddDate(3, 1, 0)
	if err := f.Tidy(t.Context(), later); err != nil {
		t.Fatal(err)
	}
	check("three years by the relay's clock, and by no router's", 1)
	f.push(t, store.Push{Router: f.inBerlin(t, 2), AsOf: later, Open: []usage.Bucket{}})
	if err := f.Tidy(t.Context(), noon()); err != nil {
		t.Fatal(err)
	}
	check("three years by another router's clock, and not by the relay's", 1)
	if err := f.Tidy(t.Context(), later); err != nil {
		t.Fatal(err)
	}
	if n, _ := count(); n != 0 {
		t.Errorf("after three years: got %d slots", n)
	}
}

func testRetention(t *testing.T, f *fixture) {
	r := f.inBerlin(t, 1)
	wantKind(t, "unknown router", f.SetRetention(t.Context(), RouterID(9), store.Retention{}), usage.NotFound)
	wantKind(t, "hours shorter than minutes", f.SetRetention(t.Context(), r, store.Retention{Hours: time.Hour}), usage.Invalid)
	want := store.Retention{FiveMinutes: time.Hour, Hours: 2 * time.Hour, Days: 10 * usage.Day}
	if got, err := f.Retention(t.Context(), r); err != nil || got != (store.Retention{}) {
		t.Errorf("got %+v, %v, want none", got, err)
	}
	for range 2 {
		if err := f.SetRetention(t.Context(), r, want); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := f.Retention(t.Context(), r); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	f.push(t, store.Push{Router: r, Cursor: 1, Buckets: []usage.Bucket{Bucket(noon(), usage.FiveMinutes, 1, 5)}, AsOf: noon().Add(12 * time.Hour), Open: []usage.Bucket{}})
	if err := f.Tidy(t.Context(), noon().Add(24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	f.wantSlots(t, "after an hour and the margin", r, store.HistoryQuery{}, "29 12:00 1h0m0s 5")
	f.push(t, store.Push{Router: r, After: 1, Cursor: 1, AsOf: noon().AddDate(0, 0, 11), Open: []usage.Bucket{}})
	if err := f.Tidy(t.Context(), noon().AddDate(0, 0, 11)); err != nil {
		t.Fatal(err)
	}
	f.wantSlots(t, "after ten days", r, store.HistoryQuery{})
}

// testRandomHistory compares the store with a plain map through random pushes,
// restarts and tidying.
func testRandomHistory(t *testing.T, f *fixture) {
	r := f.inBerlin(t, 1)
	loc, err := zone.Parse(Berlin)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	model := make(map[int64]usage.Bucket) // by start, of five minutes
	cursor := uint64(0)
	for round := range 60 {
		p := store.Push{Router: r, After: cursor, Cursor: cursor + 1 + random.Uint64N(9), At: f.now}
		seen := make(map[int64]bool)
		for range random.IntN(12) {
			at := noon().Add(time.Duration(round*6+random.IntN(12)) * usage.FiveMinutes)
			if seen[at.Unix()] {
				continue
			}
			seen[at.Unix()] = true
			b := Bucket(at, usage.FiveMinutes, byte(random.IntN(4)), random.Uint64N(1<<40))
			p.Buckets = append(p.Buckets, b)
			model[at.Unix()] = b
		}
		if random.IntN(3) == 0 {
			p.AsOf, p.Open = noon().Add(time.Duration(round)*30*time.Minute), []usage.Bucket{}
		}
		f.push(t, p)
		cursor = p.Cursor
		if round%20 == 19 {
			if err := f.Tidy(t.Context(), noon().AddDate(0, 0, 1)); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			f.Store = f.reopen()
		}
	}
	for _, resolution := range []time.Duration{usage.FiveMinutes, time.Hour, 7 * usage.FiveMinutes, usage.Day} {
		grid := zone.NewGrid(loc, resolution, 0)
		want := make(map[string]usage.Counters)
		for at, b := range model {
			key := fmt.Sprint(grid.Slot(at).Start, b.Devices[0].MAC)
			sum := want[key]
			sum.Add(b.Devices[0].Counters)
			want[key] = sum
		}
		got := make(map[string]usage.Counters)
		slots, _ := f.history(t, r, store.HistoryQuery{Resolution: resolution, By: store.Device})
		for _, s := range slots {
			got[fmt.Sprint(s.Start.Unix(), s.MAC)] = s.Counters
		}
		if !maps.Equal(got, want) {
			t.Errorf("resolution %s: got %d sums, want %d equal ones", resolution, len(got), len(want))
		}
	}
}

// Pushes of many routers at once are all kept, and one that cannot be kept
// harms none.
func testPushTogether(t *testing.T, f *fixture) {
	const routers, each = 20, 10
	for n := range routers {
		f.enrol(t, n)
	}
	var wg sync.WaitGroup
	for n := range routers {
		wg.Go(func() {
			for i := range uint64(each) {
				p := store.Push{Router: RouterID(n), At: f.now, After: i, Cursor: i + 1,
					Buckets: []usage.Bucket{Bucket(noon().Add(time.Duration(i)*usage.FiveMinutes), usage.FiveMinutes, 1, uint64(n)+1)}}
				if cursor, err := f.Push(t.Context(), &p); err != nil || cursor != i+1 {
					t.Errorf("router %d: got %d, %v, want %d", n, cursor, err, i+1)
				}
				p.Router = RouterID(999)
				_, err := f.Push(t.Context(), &p)
				wantKind(t, "unknown router", err, usage.NotFound)
			}
		})
	}
	wg.Wait()
	for n := range routers {
		slots, _ := f.history(t, RouterID(n), store.HistoryQuery{Resolution: usage.Day})
		if len(slots) != 1 || slots[0].RxBytes != each*(uint64(n)+1) {
			t.Errorf("router %d: got %+v", n, slots)
		}
	}
}

func testAnswers(t *testing.T, f *fixture) {
	r := f.inBerlin(t, 1)
	_, err := f.LastAnswer(t.Context(), r, "status")
	wantKind(t, "nothing yet", err, usage.NotFound)
	f.KeepAnswer(r, "status", store.Answer{Result: json.RawMessage(`{"n":1}`), At: f.now})
	f.KeepAnswer(r, "nlbw", store.Answer{Result: json.RawMessage(`{}`), At: f.now})
	f.KeepAnswer(RouterID(9), "status", store.Answer{Result: json.RawMessage(`{}`), At: f.now})
	for range 2 { // from memory, then from disk
		a, err := f.LastAnswer(t.Context(), r, "status")
		if err != nil || string(a.Result) != `{"n":1}` || !a.At.Equal(f.now) {
			t.Errorf("got %s, %v, %v", a.Result, a.At, err)
		}
		_, err = f.LastAnswer(t.Context(), r, "nlbw")
		wantKind(t, "a method that is not remembered", err, usage.NotFound)
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		f.Store = f.reopen()
	}
	_, err = f.LastAnswer(t.Context(), RouterID(9), "status")
	wantKind(t, "an unknown router", err, usage.NotFound)
}
