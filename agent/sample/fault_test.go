package sample

import (
	"os"
	"testing"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

// TestSnapshotTornAtEachByte: a snapshot of which only so many bytes are there
// is not believed; nlbwmon itself is asked, and each byte is booked once.
func TestSnapshotTornAtEachByte(t *testing.T) {
	r := newRouter(t)
	s := r.sampler()
	r.pass(30*time.Second, 1)
	once(t, s)
	info, err := os.Stat(r.source.SnapshotPath)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range info.Size() {
		r.pass(30*time.Second, 10)
		if err := os.Truncate(r.source.SnapshotPath, cut); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(r.source.SnapshotPath, r.now, r.now); err != nil {
			t.Fatal(err)
		}
		if err := s.Once(t.Context()); err != nil {
			t.Fatalf("cut to %d bytes: %v", cut, err)
		}
		if got, want := r.total(), uint64(cut+1)*10; got != want {
			t.Fatalf("cut to %d bytes: got %d bytes, want %d", cut, got, want)
		}
	}
	r.pass(30*time.Second, 7)
	once(t, s)
	if got, want := r.total(), uint64(info.Size())*10+7; got != want || len(r.gaps()) != 0 {
		t.Errorf("got %d bytes, want %d; gaps %v", got, want, r.gaps())
	}
}

// TestClockSteps: whatever somebody does to the clock while the agent runs,
// and back, each byte is booked once, at a time that is set.
func TestClockSteps(t *testing.T) {
	for name, step := range map[string]func(time.Time) time.Time{
		"an hour on":   func(t time.Time) time.Time { return t.Add(time.Hour) },
		"an hour back": func(t time.Time) time.Time { return t.Add(-time.Hour) },
		"a year on":    func(t time.Time) time.Time { return t.AddDate(1, 0, 0) },
		"a year back":  func(t time.Time) time.Time { return t.AddDate(-1, 0, 0) },
		"to 1970":      func(time.Time) time.Time { return time.Unix(60, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRouter(t)
			s := r.sampler()
			r.pass(30*time.Second, 1)
			once(t, s)
			want := uint64(0)
			look := func(n uint64) {
				t.Helper()
				r.pass(30*time.Second, n)
				want += n
				once(t, s)
				if got := r.total(); got > want {
					t.Errorf("got %d bytes, of %d that were counted", got, want)
				}
			}
			look(100)
			since, before := r.since, r.now
			r.now = step(r.now)
			for range 5 {
				look(20)
			}
			r.now = before.Add(r.since - since)
			for range 5 {
				look(3)
			}
			if got := r.total(); got != want {
				t.Errorf("got %d bytes, want %d; gaps %v", got, want, r.gaps())
			}
			if gaps := r.gaps(); len(gaps) != 0 {
				t.Errorf("gaps %v", gaps)
			}
		})
	}
}

// TestNoAllocationPerRow: a look at ten times the rows makes no more garbage
// but for what grew.
func TestNoAllocationPerRow(t *testing.T) {
	allocs := func(rows int) float64 {
		r := newRouter(t)
		list := make([]usage.Record, rows)
		for i := range list {
			list[i] = usage.Record{Family: usage.FamilyIPv4, Proto: 6, Port: 443, MAC: usage.MAC{2, 0, 0, 0, 0, 1}, Addr: [16]byte{10, 0, byte(i >> 8), byte(i)}, Conns: 1, RxBytes: 1, RxPackets: 1}
		}
		r.daemon.SetRows(list)
		s := r.sampler()
		r.pass(30*time.Second, 0)
		once(t, s)
		return testing.AllocsPerRun(20, func() {
			r.idle(30 * time.Second)
			if err := os.Chtimes(r.source.SnapshotPath, r.now, r.now); err != nil {
				t.Fatal(err)
			}
			once(t, s)
		})
	}
	if few, many := allocs(100), allocs(1000); many > few+20 {
		t.Errorf("%g allocations for 100 rows, %g for 1,000", few, many)
	}
}
