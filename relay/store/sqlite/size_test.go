package sqlite

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/store"
	"github.com/netpilot/netpilot/relay/store/storetest"
)

// TestSize says what a router with all it may keep by default takes: the
// figures of docs/operate.md.
func TestSize(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 5))
	for _, devices := range []int{20, 60} {
		db := mustOpen(t, filepath.Join(t.TempDir(), "relay.db"))
		size := func() int {
			t.Helper()
			var pages, page int
			if err := db.read.QueryRow("SELECT page_count, page_size FROM pragma_page_count(), pragma_page_size()").Scan(&pages, &page); err != nil {
				t.Fatal(err)
			}
			return pages * page
		}
		p := newPusher(t, db)
		before := size()
		start := time.Unix(1_700_006_400, 0)
		add := func(length time.Duration, n int) {
			t.Helper()
			for n > 0 {
				push := store.Push{Router: storetest.RouterID(1), At: start, After: p.cursor, Cursor: p.cursor + 1}
				for range min(n, 64) {
					push.Buckets = append(push.Buckets, made(random, start, length, devices))
					start = start.Add(length)
				}
				n -= len(push.Buckets)
				var err error
				if p.cursor, err = db.Push(t.Context(), &push); err != nil {
					t.Fatal(err)
				}
			}
		}
		add(usage.Day, int(store.KeepDays/usage.Day))
		add(time.Hour, int(store.KeepHours/time.Hour))
		add(usage.FiveMinutes, int((store.KeepFiveMinutes+tidyMargin)/usage.FiveMinutes))
		got := size() - before
		t.Logf("%d devices, all of them active all the time: %.2f MB", devices, float64(got)/1e6)
		if limit := devices * 150_000; got > limit {
			t.Errorf("%d devices take %d bytes, over %d", devices, got, limit)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// made is a bucket in which that many devices move what is usual.
func made(random *rand.Rand, start time.Time, length time.Duration, devices int) usage.Bucket {
	b := usage.Bucket{Start: start, Length: length}
	scale := uint64(length / usage.FiveMinutes)
	some := func() usage.Counters {
		return usage.Counters{RxBytes: random.Uint64N(50e6 * scale), TxBytes: random.Uint64N(5e6 * scale), RxPackets: random.Uint64N(40e3 * scale),
			TxPackets: random.Uint64N(20e3 * scale), Conns: random.Uint64N(200 * scale)}
	}
	for k := range devices {
		b.Devices = append(b.Devices, usage.DeviceSum{MAC: usage.MAC{2, 0, 0, 0, 0, byte(k)}, Counters: some()})
	}
	for k := range 12 {
		b.Services = append(b.Services, usage.ServiceSum{Name: fmt.Sprint("service-", k), Counters: some()})
	}
	b.Families = []usage.FamilySum{{Family: usage.FamilyIPv4, Counters: some()}, {Family: usage.FamilyIPv6, Counters: some()}}
	return b
}
