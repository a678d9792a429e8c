package truth

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/netpilot/netpilot/agent/source"
	"github.com/netpilot/netpilot/pkg/usage"
)

// wan moves the WAN's counters on.
type wan struct {
	*staged
	m           *Meter
	since       time.Duration
	bytes, pkts uint64
	first       bool
}

func newWAN(t *testing.T) *wan {
	s := healthy(t)
	return &wan{staged: s, m: NewMeter(s.Root), first: true}
}

func (w *wan) look(d time.Duration, ip, packets, attributed uint64) {
	w.t.Helper()
	w.since += d
	w.now = w.now.Add(d)
	w.bytes += ip + 14*packets
	w.pkts += packets
	w.write("/sys/class/net/eth1/statistics/rx_bytes", fmt.Sprintln(w.bytes))
	w.write("/sys/class/net/eth1/statistics/rx_packets", fmt.Sprintln(w.pkts))
	w.m.Look(w.since, w.now, attributed, w.first)
	w.first = false
}

func (w *wan) counting(span time.Duration) *usage.Counting {
	c := &usage.Counting{OK: true}
	w.m.Accuracy(c, usage.Range{From: w.now.Add(-span), To: w.now.Add(time.Second)})
	return c
}

func ids(c *usage.Counting) string {
	var all []string
	for _, r := range c.Reasons {
		all = append(all, r.ID)
	}
	return strings.Join(all, " ")
}

func TestAccuracy(t *testing.T) {
	w := newWAN(t)
	w.look(30*time.Second, 1<<30, 1000, 1<<40) // of before the first look
	if c := w.counting(time.Hour); c.Accuracy != nil || !c.OK || ids(c) != "accuracy-unknown" {
		t.Errorf("at first: got %+v", c)
	}
	for range 120 { // an hour
		w.look(30*time.Second, 1_000_000, 700, 970_000)
	}
	c := w.counting(time.Hour)
	if c.Accuracy == nil || math.Abs(*c.Accuracy-0.97) > 1e-9 || !c.OK || ids(c) != "" {
		t.Errorf("got %+v of %v", ids(c), c.Accuracy)
	}
	if c := w.counting(24 * time.Hour); c.Accuracy == nil || !c.OK || ids(c) != "accuracy-part" {
		t.Errorf("a day: got %+v", c)
	}
	// Half of it goes uncounted.
	for range 120 {
		w.look(30*time.Second, 1_000_000, 700, 500_000)
	}
	if c := w.counting(time.Hour - 5*time.Minute); c.OK || ids(c) != "accuracy-low" || math.Abs(*c.Accuracy-0.5) > 1e-9 {
		t.Errorf("half: got %+v, %v", ids(c), *c.Accuracy)
	}
	for range 120 {
		w.look(30*time.Second, 1_000_000, 700, 2_000_000)
	}
	if c := w.counting(time.Hour - 5*time.Minute); c.OK || ids(c) != "accuracy-high" {
		t.Errorf("double: got %+v", ids(c))
	}
}

// TestAccuracyUnknown: what cannot be compared is null with its reason.
func TestAccuracyUnknown(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(w *wan)
		why   string
	}{
		{"idle", func(w *wan) {}, "hardly anything"},
		{"no default route", func(w *wan) { w.write("/proc/net/route", "Iface\n"); w.write("/proc/net/ipv6_route", "") }, "no default route"},
		{"no routes at all", func(w *wan) { w.remove("/proc/net/route") }, "route"},
		{"a bridge", func(w *wan) { w.mkdir("/sys/class/net/eth1/bridge") }, "no gateway"},
		{"no counters", func(w *wan) { w.remove("/sys/class/net/eth1/statistics") }, "has no counters"},
		{"hostile counter", func(w *wan) { w.write("/sys/class/net/eth1/statistics/tx_bytes", "-5\n") }, "tx_bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWAN(t)
			for range 60 {
				w.look(30*time.Second, 10, 1, 10)
			}
			tt.spoil(w)
			if tt.name != "idle" {
				w.m.slots = nil
				w.look(30*time.Second, 1<<20, 1, 1<<20)
			}
			c := w.counting(time.Hour)
			if c.Accuracy != nil || !c.OK || ids(c) != "accuracy-unknown" || !strings.Contains(c.Reasons[0].Text, tt.why) {
				t.Errorf("got %+v", c)
			}
		})
	}
	c := &usage.Counting{OK: true}
	(*Meter)(nil).Accuracy(c, usage.Range{})
	if c.Accuracy != nil || ids(c) != "accuracy-unknown" {
		t.Errorf("without a daemon: got %+v", c)
	}
}

// TestCountersFall: a 32-bit counter that began anew is followed, any other
// fall, and another interface under the same name, is no comparison.
func TestCountersFall(t *testing.T) {
	w := newWAN(t)
	w.bytes = 1<<32 - 1000 - 14
	w.look(time.Second, 0, 0, 0)
	wrapped := func(bytes uint64) uint64 {
		w.m.slots = nil
		w.write("/sys/class/net/eth1/statistics/rx_bytes", fmt.Sprintln(bytes))
		w.since += 30 * time.Second
		w.m.Look(w.since, w.now, 0, false)
		if len(w.m.slots) == 0 {
			return 0
		}
		return w.m.slots[0].wan
	}
	if got := wrapped(1000); got != 2014 {
		t.Errorf("a wrap: got %d bytes, want 2014", got)
	}
	if got := wrapped(900); got != 0 || w.m.why == "" {
		t.Errorf("a reset: got %d bytes, %q", got, w.m.why)
	}
	if got := wrapped(1900); got != 1000 {
		t.Errorf("after it: got %d bytes, want 1000", got)
	}
	w.write("/sys/class/net/eth1/ifindex", "9\n")
	if got := wrapped(2900); got != 0 || w.m.why == "" {
		t.Errorf("another interface: got %d bytes, %q", got, w.m.why)
	}
	if got := wrapped(3900); got != 1000 {
		t.Errorf("after it: got %d bytes, want 1000", got)
	}
	// The clock is not set: nothing is booked under a wrong time.
	w.m.slots = nil
	w.since += 30 * time.Second
	w.m.Look(w.since, time.Time{}, 5, false)
	if len(w.m.slots) != 0 {
		t.Errorf("booked %+v", w.m.slots)
	}
}

// TestMeterMemory: 40 days of looks take a bounded memory, and sums stay.
func TestMeterMemory(t *testing.T) {
	m := NewMeter("/nonexistent")
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for range 40 * 24 * 12 {
		now = now.Add(5 * time.Minute)
		m.add(now, 5*time.Minute, 1<<20, 1<<20)
	}
	if n := len(m.slots); n > 35*24+24*12+30 {
		t.Errorf("%d slots", n)
	}
	sum := uint64(0)
	for i, s := range m.slots {
		sum += s.wan
		if i > 0 && m.slots[i-1].start+int64(m.slots[i-1].length) > s.start {
			t.Fatalf("slots overlap: %+v, %+v", m.slots[i-1], s)
		}
	}
	if days := float64(sum) / (1 << 20) / 288; days < 34.9 || days > 35.1 {
		t.Errorf("%.2f days are kept, want 35", days)
	}
	m.add(now.Add(-48*time.Hour), time.Minute, 1, 1) // the clock was set back
	for i, s := range m.slots[1:] {
		if m.slots[i].start > s.start {
			t.Fatalf("slots out of order: %+v, %+v", m.slots[i], s)
		}
	}
}

func TestUplinks(t *testing.T) {
	line := func(dev, dst, mask string) string {
		return fmt.Sprintf("%s\t%s\t%s\t0003\t0\t0\t0\t%s\t0\t0\t0\n", dev, hexOf(dst), hexOf("10.0.0.1"), hexOf(mask))
	}
	for _, tt := range []struct{ name, four, six, want string }{
		{"one", line("eth1", "0.0.0.0", "0.0.0.0"), "", "[eth1]"},
		{"two lines", line("wan", "0.0.0.0", "0.0.0.0") + line("wwan0", "0.0.0.0", "0.0.0.0"), "", "[wan wwan0]"},
		{"a VPN over it", line("wan", "0.0.0.0", "0.0.0.0") + line("wg0", "0.0.0.0", "128.0.0.0") + line("wg0", "128.0.0.0", "128.0.0.0"), "", "[wg0]"},
		{"IPv6 alone", "", "00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe80 00000400 00000001 00000000 00000003 pppoe-wan\n", "[pppoe-wan]"},
		{"rejected", "", "00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe80 00000400 00000001 00000000 00000203 eth1\n", "[]"},
		{"none", line("eth1", "10.0.0.0", "255.0.0.0"), "", "[]"},
		{"nonsense", "Iface\nx\ty\n" + strings.Repeat("z", 1000), "x\n", "[]"},
	} {
		s := healthy(t)
		s.write("/proc/net/route", tt.four)
		s.write("/proc/net/ipv6_route", tt.six)
		got, err := s.Root.uplinks()
		if fmt.Sprint(got) != tt.want || err != nil {
			t.Errorf("%s: got %v, %v, want %s", tt.name, got, err, tt.want)
		}
	}
}

// TestTeller: each kind of answer says what is known of its numbers.
func TestTeller(t *testing.T) {
	w := newWAN(t)
	for range 120 {
		w.look(30*time.Second, 1_000_000, 700, 970_000)
	}
	found := []Finding{{ID: "x", Text: "t", Cure: "c", skews: true}, {ID: "y", Severity: Error}}
	teller := &Teller{Quick: func() ([]Finding, error) { return found, nil }, Meter: w.m, Now: func() time.Time { return w.now }}
	if c := teller.History(usage.Range{From: w.now.Add(-time.Hour), To: w.now}); c.OK || ids(c) != "x" || c.Accuracy == nil {
		t.Errorf("history: got %+v", c)
	}
	for _, tt := range []struct {
		r    source.Reading
		ok   bool
		want string
	}{
		{source.Reading{Source: source.Snapshot, Period: 20261101}, false, "x accuracy-part"},
		{source.Reading{Source: source.Socket}, false, "x accuracy-part"},
		{source.Reading{Source: "/tmp/20261101.db.gz"}, true, "file"},
		{source.Reading{Source: source.SQLite, Damage: errBroken}, false, "damage file"},
		{source.Reading{Source: source.Conntrack, Blind: []string{"only connections that live"}}, false, "source-conntrack"},
	} {
		if c := teller.Reading(&tt.r, time.UTC); c.OK != tt.ok || ids(c) != tt.want {
			t.Errorf("%s: got %t, %q, want %t, %q", tt.r.Source, c.OK, ids(c), tt.ok, tt.want)
		}
	}
	if (*Teller)(nil).History(usage.Range{}) != nil || (*Teller)(nil).Reading(&source.Reading{}, time.UTC) != nil {
		t.Error("nobody looked, and something was said")
	}
}
