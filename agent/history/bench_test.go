package history_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netpilot/netpilot/agent/history"
	"github.com/netpilot/netpilot/pkg/usage"
)

// filled is a Store on disk with the household's last days.
func filled(t testing.TB, days int) (*history.Store, time.Time) {
	t.Helper()
	o := options(nil)
	o.FS, o.Dir, o.FlashDir = history.OS{}, t.TempDir(), ""
	s := open(t, o)
	h := newHousehold(1)
	h.busy = true
	end := epoch.Add(time.Duration(days) * 24 * time.Hour)
	for now := epoch; now.Before(end); now = now.Add(tick) {
		must(t, s.Add(usage.Range{From: now, To: now.Add(tick)}, h.deltas(now)))
		if now.Minute() == 55 { // not each bucket, for the time it takes
			must(t, s.Advance(now.Add(tick)))
		}
	}
	return s, end
}

func summary(t testing.TB, s *history.Store, end time.Time, days int) (n int) {
	q := history.Query{Range: usage.Range{From: end.Add(-time.Duration(days) * 24 * time.Hour), To: end}, Resolution: 24 * time.Hour, By: history.Device}
	_, err := s.Query(context.Background(), q, func(usage.Slot) error { n++; return nil })
	must(t, err)
	return n
}

// cpu is what this thread has computed since it began: unlike the clock it
// does not run while others do.
func cpu(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	must(t, unix.Getrusage(unix.RUSAGE_THREAD, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestQueryCost: a summary of 35 days by device and day takes at most 20 ms of
// CPU and 2 MB, and no more memory at once than one of two days.
func TestQueryCost(t *testing.T) {
	s, end := filled(t, 36)
	cost := func(days int) (time.Duration, uint64) {
		var m0, m1 runtime.MemStats
		best := time.Hour
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		runtime.ReadMemStats(&m0)
		for range 5 {
			start := cpu(t)
			if n := summary(t, s, end, days); n != days*60 {
				t.Fatalf("got %d slots, want %d", n, days*60)
			}
			best = min(best, cpu(t)-start)
		}
		runtime.ReadMemStats(&m1)
		return best, (m1.TotalAlloc - m0.TotalAlloc) / 5
	}
	two, twoBytes := cost(2)
	all, allBytes := cost(35)
	t.Logf("2 days: %s, %d bytes allocated; 35 days: %s, %d bytes allocated", two, twoBytes, all, allBytes)
	if allBytes > 2<<20 {
		t.Errorf("got %d bytes allocated, want at most 2 MiB", allBytes)
	}
	// What grows with the days is opening their files.
	if grown := int64(allBytes) - int64(twoBytes); grown > 33*4096 {
		t.Errorf("got %d bytes more for 35 days than for 2, want at most 4 KiB a day", grown)
	}
	if all > 20*time.Millisecond && !raceEnabled {
		t.Errorf("got %s, want at most 20 ms of CPU", all)
	}
}

// TestAtRest: an open Store of 35 days holds little.
func TestAtRest(t *testing.T) {
	var m0, m1 runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m0)
	s, end := filled(t, 36)
	summary(t, s, end, 35)
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m1)
	held := int64(m1.HeapAlloc) - int64(m0.HeapAlloc)
	t.Logf("%d bytes held", held)
	if held > 512<<10 {
		t.Errorf("got %d bytes held, want at most 512 KiB", held)
	}
	runtime.KeepAlive(s)
}

func BenchmarkSummary(b *testing.B) {
	s, end := filled(b, 36)
	for _, days := range []int{1, 7, 35} {
		b.Run(fmt.Sprintf("%dd", days), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				summary(b, s, end, days)
			}
		})
	}
}

func BenchmarkSince(b *testing.B) {
	s, _ := filled(b, 36)
	var newest history.Cursor
	must(b, s.Since(context.Background(), 0, func(c *history.Change) error { newest = c.Cursor; return nil }))
	for name, from := range map[string]history.Cursor{"all": 0, "newest": newest - 1, "nothing": newest} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				must(b, s.Since(context.Background(), from, func(*history.Change) error { return nil }))
			}
		})
	}
}

// BenchmarkAdd is one sample of 1000 rows.
func BenchmarkAdd(b *testing.B) {
	o := options(nil)
	o.FS, o.Dir, o.FlashDir = history.OS{}, b.TempDir(), ""
	s := open(b, o)
	rows := make([]usage.Record, 1000)
	for i := range rows {
		rows[i] = usage.Record{MAC: device(i % 60), Family: usage.FamilyIPv4, Port: uint16(i % 15), RxBytes: 1, Conns: 1}
	}
	b.ReportAllocs()
	for b.Loop() {
		must(b, s.Add(usage.Range{From: epoch, To: epoch.Add(time.Minute)}, rows))
	}
}

// BenchmarkAdvance closes one bucket of 40 devices.
func BenchmarkAdvance(b *testing.B) {
	o := options(nil)
	o.FS, o.Dir, o.FlashDir = history.OS{}, b.TempDir(), ""
	s := open(b, o)
	h := newHousehold(1)
	now := epoch
	b.ReportAllocs()
	for b.Loop() {
		must(b, s.Add(usage.Range{From: now, To: now.Add(tick)}, h.deltas(now)))
		now = now.Add(tick)
		must(b, s.Advance(now))
	}
}

func BenchmarkOpen(b *testing.B) {
	o := options(nil)
	o.FS, o.Dir, o.FlashDir = history.OS{}, b.TempDir(), b.TempDir()
	s := open(b, o)
	h := newHousehold(1)
	end := live(b, s, h, epoch, month, nil)
	must(b, s.Close(end))
	b.ReportAllocs()
	for b.Loop() {
		s := open(b, o)
		must(b, s.Close(end))
	}
}
