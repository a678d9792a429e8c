package storetest

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/store"
)

// counted reads the counters and checks that none is less than before. Reading
// begins with an empty map.
func (f *fixture) counted(t *testing.T, before map[string]store.DeviceCounter) map[string]store.DeviceCounter {
	t.Helper()
	list, total, err := f.DeviceCounters(t.Context(), 1<<20)
	if err != nil || total != len(list) || len(list) < len(before) {
		t.Fatalf("got %d counters of %d, %v; there were %d", len(list), total, err, len(before))
	}
	now := make(map[string]store.DeviceCounter)
	for _, c := range list {
		now[fmt.Sprint(c.Router, c.MAC)] = c
	}
	for key, was := range before {
		if is := now[key]; is.RxBytes < was.RxBytes || is.TxBytes < was.TxBytes {
			t.Fatalf("a counter went down: %+v, then %+v", was, is)
		}
	}
	return now
}

func (f *fixture) reopened(t *testing.T) {
	t.Helper()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f.Store = f.reopen()
	f.CountDevices()
}

// testCounters: through pushes, corrections, open buckets, summing up,
// deletion, histories pushed anew and restarts no counter goes down, and each
// is what the device truly moved.
func testCounters(t *testing.T, f *fixture) {
	r := f.inBerlin(t, 1)
	five := usage.FiveMinutes
	f.push(t, store.Push{Router: r, Cursor: 1, Buckets: []usage.Bucket{Bucket(noon().Add(-time.Hour), five, 1, 9_000)}})
	if list, total, err := f.DeviceCounters(t.Context(), 9); err != nil || total != 0 || len(list) != 0 {
		t.Fatalf("before counting is asked for: got %+v of %d, %v", list, total, err)
	}
	f.CountDevices()
	if err := f.SetRetention(t.Context(), r, store.Retention{FiveMinutes: time.Hour, Hours: 2 * time.Hour, Days: 10 * usage.Day}); err != nil {
		t.Fatal(err)
	}
	var seen map[string]store.DeviceCounter
	key := func(n byte) string { return fmt.Sprint(r, usage.MAC{2, 0, 0, 0, 0, n}) }
	want := func(what string, n byte, rx uint64) {
		t.Helper()
		if seen = f.counted(t, seen); seen[key(n)].RxBytes != rx {
			t.Errorf("%s: got %d bytes, want %d", what, seen[key(n)].RxBytes, rx)
		}
	}
	at := func(n int) time.Time { return noon().Add(time.Duration(n) * five) }
	f.push(t, store.Push{Router: r, After: 1, Cursor: 2, Buckets: []usage.Bucket{Bucket(at(0), five, 1, 3000), Bucket(at(1), five, 1, 300)}})
	want("two buckets", 1, 3300)
	if c := seen[key(1)]; c.TxBytes != 1100 || c.Router != r {
		t.Errorf("got %+v", c)
	}
	f.push(t, store.Push{Router: r, After: 2, Cursor: 2, AsOf: at(2), Open: []usage.Bucket{Bucket(at(1), five, 1, 600), Bucket(at(2), five, 1, 50)}})
	f.push(t, store.Push{Router: r, After: 2, Cursor: 2, AsOf: at(2), Open: []usage.Bucket{Bucket(at(2), five, 1, 20)}})
	want("open buckets, and less of them", 1, 3300)
	f.push(t, store.Push{Router: r, After: 2, Cursor: 3, Buckets: []usage.Bucket{Bucket(at(1), five, 1, 500)}})
	want("a correction to more", 1, 3500)
	f.push(t, store.Push{Router: r, After: 3, Cursor: 4, Buckets: []usage.Bucket{Bucket(at(1), five, 1, 100)}})
	want("a correction to less", 1, 3500)
	f.push(t, store.Push{Router: r, After: 4, Cursor: 5, Buckets: []usage.Bucket{Bucket(at(3), five, 1, 150)}})
	want("of the next 150 bytes 400 had been told", 1, 3500)
	f.reopened(t)
	f.push(t, store.Push{Router: r, After: 5, Cursor: 6, Buckets: []usage.Bucket{Bucket(at(4), five, 1, 350), Bucket(at(4).Add(five), five, 2, 7)}})
	want("and of 350 more, after a restart, 250", 1, 3600)
	want("another device", 2, 7)

	// Summed up, then of age, then pushed again by a router that begins anew.
	f.push(t, store.Push{Router: r, After: 6, Cursor: 6, AsOf: noon().AddDate(0, 0, 1), Open: []usage.Bucket{}})
	if err := f.Tidy(t.Context(), noon().AddDate(0, 0, 1)); err != nil {
		t.Fatal(err)
	}
	want("summed up", 1, 3600)
	late := store.Push{Router: r, At: f.now, After: 6, Cursor: 7, Buckets: []usage.Bucket{Bucket(at(2), five, 1, 1)}}
	if cursor, err := f.Push(t.Context(), &late); err != nil || cursor != 0 {
		t.Fatalf("a bucket within an hour: got cursor %d, %v, want 0", cursor, err)
	}
	want("what did not fit is gone", 1, 3600)
	all := []usage.Bucket{Bucket(at(0), five, 1, 3000), Bucket(at(1), five, 1, 100), Bucket(at(3), five, 1, 150), Bucket(at(4), five, 1, 350),
		Bucket(at(4).Add(five), five, 2, 7), Bucket(at(7), five, 1, 10)}
	f.push(t, store.Push{Router: r, Cursor: 8, Buckets: all})
	want("pushed anew: the late byte and ten more", 1, 3611)
	f.push(t, store.Push{Router: r, After: 8, Cursor: 8, AsOf: noon().AddDate(0, 0, 20), Open: []usage.Bucket{}})
	if err := f.Tidy(t.Context(), noon().AddDate(0, 0, 20)); err != nil {
		t.Fatal(err)
	}
	f.wantSlots(t, "of age", r, store.HistoryQuery{})
	want("deleted", 1, 3611)
	f.push(t, store.Push{Router: r, After: 8, Cursor: 9, Buckets: all})
	want("what is of age is not counted again", 1, 3611)
	f.push(t, store.Push{Router: r, After: 9, Cursor: 10, Buckets: []usage.Bucket{Bucket(at(1), five, 1, 5)}})
	want("nor corrected", 1, 3611)

	// The ones that came first are told first.
	list, total, err := f.DeviceCounters(t.Context(), 1)
	if err != nil || total != 2 || len(list) != 1 || list[0] != seen[key(1)] {
		t.Errorf("one of two: got %+v of %d, %v", list, total, err)
	}
}

// testCountersRandom: random corrections never take a counter back, and when
// what was told too much is paid, each is what its device moved.
func testCountersRandom(t *testing.T, f *fixture) {
	r := f.inBerlin(t, 1)
	f.CountDevices()
	random := rand.New(rand.NewPCG(3, 4))
	model := make(map[int64]usage.Bucket)
	var seen map[string]store.DeviceCounter
	const devices, paid = 4, 1 << 50
	cursor := uint64(0)
	push := func(list []usage.Bucket) {
		p := store.Push{Router: r, After: cursor, Cursor: cursor + 1, Buckets: list}
		f.push(t, p)
		cursor++
		for _, b := range list {
			model[b.Start.Unix()] = b
		}
		seen = f.counted(t, seen)
	}
	for round := range 60 {
		start := noon().Add(time.Duration(round*3) * usage.FiveMinutes)
		var list []usage.Bucket
		for i := range random.IntN(6) {
			list = append(list, Bucket(start.Add(time.Duration(i)*usage.FiveMinutes), usage.FiveMinutes, byte(random.IntN(devices)), random.Uint64N(1<<40)))
		}
		push(list)
		if round%20 == 19 {
			f.reopened(t)
		}
	}
	for n := range byte(devices) {
		push([]usage.Bucket{Bucket(noon().AddDate(0, 0, 3).Add(time.Duration(n)*usage.FiveMinutes), usage.FiveMinutes, n, paid)})
	}
	want := make(map[string]uint64)
	for _, b := range model {
		want[fmt.Sprint(r, b.Devices[0].MAC)] += b.Devices[0].RxBytes
	}
	if len(seen) != devices || len(want) != devices {
		t.Errorf("got %d counters of %d devices", len(seen), len(want))
	}
	for key, c := range seen {
		if c.RxBytes != want[key] {
			t.Errorf("%s: got %d bytes, want %d", c.MAC, c.RxBytes, want[key])
		}
	}
}

// testCountersBounded: numbers that no router truly has are kept in bounds,
// and so is the number of devices; what those beyond move goes to no device.
func testCountersBounded(t *testing.T, f *fixture) {
	r := f.inBerlin(t, 1)
	f.CountDevices()
	huge := usage.Counters{RxBytes: 1<<64 - 1, TxBytes: 1 << 63}
	var seen map[string]store.DeviceCounter
	for i := range 4 {
		b := usage.Bucket{Start: noon().Add(time.Duration(i) * usage.FiveMinutes), Length: usage.FiveMinutes, Devices: []usage.DeviceSum{{MAC: usage.MAC{2}, Counters: huge}}}
		f.push(t, store.Push{Router: r, After: uint64(i), Cursor: uint64(i) + 1, Buckets: []usage.Bucket{b}})
		seen = f.counted(t, seen)
	}
	const most, more = 10_000, 7
	b := usage.Bucket{Start: noon().Add(time.Hour), Length: usage.FiveMinutes}
	for i := range most + more {
		b.Devices = append(b.Devices, usage.DeviceSum{MAC: usage.MAC{4, 0, 0, byte(i >> 16), byte(i >> 8), byte(i)}, Counters: usage.Counters{RxBytes: 1}})
	}
	f.push(t, store.Push{Router: r, After: 4, Cursor: 5, Buckets: []usage.Bucket{b}})
	seen = f.counted(t, seen)
	if got := seen[fmt.Sprint(r, usage.MAC{})]; len(seen) != most+1 || got.RxBytes != more+1 {
		t.Errorf("got %d counters, of no device %d bytes; want %d and %d", len(seen), got.RxBytes, most+1, more+1)
	}
}
