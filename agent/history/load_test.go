package history_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/netpilot/netpilot/agent/history"
	"github.com/netpilot/netpilot/agent/history/faultfs"
	"github.com/netpilot/netpilot/pkg/usage"
)

const (
	ram   = "/tmp/netpilot"
	rom   = "/etc/netpilot/history"
	tick  = 5 * time.Minute
	month = 35 * 24 * time.Hour
)

var epoch = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func options(disk history.FS) history.Options {
	return history.Options{Dir: ram, FlashDir: rom, FS: disk, NotBefore: epoch.AddDate(-1, 0, 0),
		Service: func(proto uint8, port uint16) string {
			if port == 0 {
				return ""
			}
			return "SERVICE" + string(rune('A'+port%26))
		}}
}

func open(t testing.TB, o history.Options) *history.Store {
	t.Helper()
	s, err := history.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func device(n int) usage.MAC { return usage.MAC{0x02, 0x77, 0, 0, byte(n >> 8), byte(n)} }

// household is the traffic of 60 devices, 40 of which are active in each hour:
// in two of three of its buckets, a few of them with a lot, over 15 services.
type household struct {
	r      *rand.Rand
	hour   int
	active []int
	rows   []usage.Record
	busy   bool // every active device in every bucket
}

func newHousehold(seed uint64) *household {
	return &household{r: rand.New(rand.NewPCG(seed, 1)), hour: -1}
}

func (h *household) deltas(at time.Time) []usage.Record {
	if at.Hour() != h.hour {
		h.hour, h.active = at.Hour(), h.r.Perm(60)[:40]
	}
	h.rows = h.rows[:0]
	for _, n := range h.active {
		if !h.busy && h.r.IntN(3) == 0 {
			continue
		}
		for range 1 + h.r.IntN(4) {
			// Log-uniform from a kilobyte to 30 MB, as traffic is.
			rx := uint64(1000 * float64(uint64(1)<<h.r.IntN(15)) * (1 + h.r.Float64()))
			tx := rx / uint64(3+h.r.IntN(30))
			h.rows = append(h.rows, usage.Record{
				MAC: device(n), Proto: 6, Port: uint16(1 + h.r.IntN(15)), Family: []uint8{usage.FamilyIPv4, usage.FamilyIPv6}[h.r.IntN(2)],
				RxBytes: rx, TxBytes: tx, RxPackets: rx/1200 + 1, TxPackets: rx/2000 + 1, Conns: uint64(h.r.IntN(20)),
			})
		}
	}
	return h.rows
}

// live plays the household for the span, a sample each bucket, and gives the
// end. at says what else is to be done each time.
func live(t testing.TB, s *history.Store, h *household, from time.Time, span time.Duration, each func(time.Time)) time.Time {
	t.Helper()
	end := from.Add(span)
	for now := from; now.Before(end); {
		next := now.Add(tick)
		must(t, s.Add(usage.Range{From: now, To: next}, h.deltas(now)))
		must(t, s.Advance(next))
		must(t, s.Flush(next))
		now = next
		if each != nil {
			each(now)
		}
	}
	return end
}

// TestNumbers is the budget: 35 days of the household in at most 1.5 MB in RAM
// and on flash, and at most 1 MB written to flash on any day.
func TestNumbers(t *testing.T) {
	for _, test := range []struct {
		name string
		busy bool
	}{{"two of three buckets", false}, {"every bucket", true}} {
		t.Run(test.name, func(t *testing.T) {
			disk := faultfs.New("/tmp")
			s := open(t, options(disk))
			h := newHousehold(1)
			h.busy = test.busy
			var day, most, size int64
			live(t, s, h, epoch, month+3*24*time.Hour, func(now time.Time) {
				size = max(size, disk.Size(ram), disk.Size(rom))
				if now.Hour() == 0 && now.Minute() == 0 {
					n := disk.Written(rom)
					day, most = n, max(most, n-day)
				}
			})
			t.Logf("largest size %d bytes, %d segments, largest day on flash %d bytes", size, s.Health().Segments, most)
			if size > 1_500_000 {
				t.Errorf("got %d bytes on disk, want at most 1500000", size)
			}
			if most > 1_000_000 {
				t.Errorf("got %d bytes written to flash in a day, want at most 1000000", most)
			}
		})
	}
}
