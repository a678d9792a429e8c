package identity

import (
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netpilot/netpilot/pkg/usage"
)

// largeNetwork is 250 devices with 10,000 leases and as many neighbours: each
// device has 40 addresses, and most leases are of devices long gone.
func largeNetwork(tb testing.TB) *Keeper {
	dir := tb.TempDir()
	var leases strings.Builder
	var neighbours [][]byte
	for i := range 10_000 {
		fmt.Fprintf(&leases, "1900000000 %v 10.1.%d.%d device-%d *\n", usage.MAC{0, 0x1b, 0x63, 0, byte(i >> 8), byte(i)}, i>>8, i&255, i)
		m := usage.MAC{0, 0x1b, 0x63, 0, 0, byte(i % 250)}
		ip := netip.AddrFrom16([16]byte{0xfd, 0x77, 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)})
		if i < 250 {
			ip = netip.AddrFrom4([4]byte{10, 1, 0, byte(i)})
		}
		neighbours = append(neighbours, neighMessage(3, unix.NUD_STALE, ip.String(), m[:], uint32(i)))
	}
	writeTB(tb, dir, "/tmp/dhcp.leases", leases.String())
	k := Open(Options{Root: dir, Now: func() time.Time { return began }})
	tb.Cleanup(func() { _ = k.Close() })
	k.reader.netlink = table(append(neighbours, linkMessage(3, "br-lan"))...)
	k.Look()
	if n := len(k.book.devices); n != 10_000 || k.book.source != neighboursNetlink {
		tb.Fatalf("%d devices from %q", n, k.book.source)
	}
	return k
}

func BenchmarkLook(b *testing.B) {
	k := largeNetwork(b)
	b.ReportAllocs()
	began := processorTime(b)
	for b.Loop() {
		k.Look()
	}
	b.ReportMetric((processorTime(b)-began).Seconds()*1000/float64(b.N), "cpu-ms/op")
}

// processorTime is what this process has had of the processors, the collector
// of garbage included: it is what counts on a machine that does other things.
func processorTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkScan(b *testing.B) {
	k := largeNetwork(b)
	for b.Loop() {
		if n := len(k.Neighbours()); n != 250 {
			b.Fatalf("%d neighbours", n)
		}
	}
}

// TestResident: what the large network costs between two looks.
func TestResident(t *testing.T) {
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	k := largeNetwork(t)
	k.reader.netlink = nil // the kernel's table is the test's
	with := heap()
	facts := cap(k.reader.collect.facts)
	k.book, k.memory, k.reader = nil, nil, reader{}
	without := heap()
	got := int64(with) - int64(without)
	t.Logf("%d bytes, room for %d facts", got, facts)
	if got > 2<<20 {
		t.Errorf("%d bytes resident, over 2 MiB", got)
	}
	runtime.KeepAlive(k)
}
