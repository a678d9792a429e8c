package sample

import (
	"bufio"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/nlbwmon/nlbwmontest"
)

// BenchmarkOnce is a whole sample of 1,000 rows, one in four of which grew:
// reading 0.db, making deltas, booking them and saving the state, all in RAM as
// on a router. Of nlbwmon's own work nothing counts. cpu-us/op is what the
// process computed meanwhile, its garbage collector included.
func BenchmarkOnce(b *testing.B) {
	if unix.Access("/dev/shm", unix.W_OK) == nil {
		b.Setenv("TMPDIR", "/dev/shm")
	}
	r := newRouter(b)
	rows := nlbwmontest.Generate(1000, 1)
	s := r.sampler()
	file, err := os.Create(r.source.SnapshotPath)
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	out := bufio.NewWriterSize(file, 128<<10) // large enough for Encode to make none of its own
	n := 0
	refresh := func() {
		n++
		for i := n % 4; i < len(rows); i += 4 {
			rows[i].RxBytes += 1400
			rows[i].RxPackets++
		}
		r.idle(30 * time.Second)
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			b.Fatal(err)
		}
		if err := nlbwmon.Encode(out, nlbwmontest.MonthlyHeader(0), nlbwmon.NativeOrder(), rows); err != nil {
			b.Fatal(err)
		}
		if err := out.Flush(); err != nil {
			b.Fatal(err)
		}
		if err := os.Chtimes(r.source.SnapshotPath, r.now, r.now); err != nil {
			b.Fatal(err)
		}
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
		b.StartTimer()
		start := cpu()
		if err := s.Once(b.Context()); err != nil {
			b.Fatal(err)
		}
		spent += cpu() - start
	}
	b.ReportMetric(float64(spent.Microseconds())/float64(b.N), "cpu-us/op")
}
