package sample

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netpilot/netpilot/pkg/nlbwmon/nlbwmontest"
)

// BenchmarkOnce is a whole sample of 1,000 rows, one in four of which grew:
// reading 0.db, making deltas, booking them and saving the state in RAM. Of
// nlbwmon's own work nothing counts. cpu-us/op is what the process computed.
func BenchmarkOnce(b *testing.B) {
	r := newRouter(b)
	rows := nlbwmontest.Generate(1000, 1)
	s := r.sampler()
	n := 0
	refresh := func() {
		n++
		for i := n % 4; i < len(rows); i += 4 {
			rows[i].RxBytes += 1400
			rows[i].RxPackets++
		}
		r.daemon.SetRows(rows)
		r.pass(30*time.Second, 0)
	}
	cpu := func() time.Duration {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	refresh()
	if err := s.Once(b.Context()); err != nil {
		b.Fatal(err)
	}
	var spent time.Duration
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		refresh()
		start := cpu()
		b.StartTimer()
		if err := s.Once(b.Context()); err != nil {
			b.Fatal(err)
		}
		spent += cpu() - start
	}
	b.ReportMetric(float64(spent.Microseconds())/float64(b.N), "cpu-us/op")
}
