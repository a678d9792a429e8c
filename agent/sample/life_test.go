package sample

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/netpilot/netpilot/agent/history"
	"github.com/netpilot/netpilot/agent/history/faultfs"
	"github.com/netpilot/netpilot/agent/ledger"
	"github.com/netpilot/netpilot/pkg/usage"
)

// gaps are the reasons of those that the history holds.
func (r *router) gaps() (gaps []usage.Gap) {
	r.t.Helper()
	gaps, err := r.store.Gaps(usage.Range{From: built, To: built.AddDate(2, 0, 0)})
	if err != nil {
		r.t.Fatal(err)
	}
	return gaps
}

// reboot restarts the router: RAM is empty, nlbwmon has nothing, and the clock
// comes up as given.
func (r *router) reboot(boot string, clock time.Time) {
	r.t.Helper()
	_ = r.store.Close(built.AddDate(-1, 0, 0)) // as a power cut, but for the lock
	for _, dir := range []string{"ram", "db"} {
		if err := os.RemoveAll(filepath.Join(r.dir, dir)); err != nil {
			r.t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(r.dir, "db"), 0o755); err != nil {
		r.t.Fatal(err)
	}
	r.daemon.SetRows(nil)
	r.boot, r.now, r.since = boot, clock, 0
	r.open()
}

// TestRestartWithClockUnset: what waits for the clock outlives the agent.
func TestRestartWithClockUnset(t *testing.T) {
	r := newRouter(t)
	sane := r.now
	r.now = time.Date(1970, 1, 1, 0, 1, 0, 0, time.UTC)
	r.source.Refresh = 1e6 * time.Hour
	s := r.sampler()
	r.pass(30*time.Second, 1)
	once(t, s)
	for range 3 {
		r.pass(30*time.Second, 10)
		once(t, s)
		if err := r.store.Close(r.now); err != nil {
			t.Fatal(err)
		}
		r.open()
		s = r.sampler()
	}
	if got := len(s.pending.spans); got != 3 {
		t.Errorf("%d spans wait, want 3", got)
	}
	r.now = sane
	r.pass(30*time.Second, 5)
	once(t, s)
	if got := r.total(); got != 35 {
		t.Errorf("got %d bytes, want 35", got)
	}
}

// TestClockBehind: a router without a battery boots at the newest time of its
// files, later than the program's build and yet wrong. Nothing is dated until
// somebody sets it, and then it is dated right.
func TestClockBehind(t *testing.T) {
	r := newRouter(t)
	synchronised := false
	r.synchronised = func() bool { return synchronised }
	r.since = time.Minute // after boot
	behind := r.now
	s := r.sampler()
	r.pass(30*time.Second, 1)
	once(t, s)
	r.pass(30*time.Second, 100)
	once(t, s)
	if got := r.total(); got != 0 || s.Report().Waiting != 1 {
		t.Errorf("%d bytes were booked with a clock nobody had set, %d looks wait; want none and 1", got, s.Report().Waiting)
	}
	r.now = r.now.Add(72 * time.Hour) // NTP
	r.pass(30*time.Second, 20)
	once(t, s)
	var slots []usage.Slot
	if _, err := r.store.Query(t.Context(), history.Query{Range: usage.Range{From: built, To: built.AddDate(2, 0, 0)}},
		func(s usage.Slot) error { slots = append(slots, s); return nil }); err != nil {
		t.Fatal(err)
	}
	for _, s := range slots {
		if s.Start.Before(behind.Add(71 * time.Hour)) {
			t.Errorf("%d bytes are dated %s, before the clock was set", s.RxBytes, s.Start)
		}
	}
	if got := r.total(); got != 120 {
		t.Errorf("got %d bytes, want 120", got)
	}
	// Half an hour after boot a router goes by the clock it has.
	r.reboot("second", behind)
	s = r.sampler()
	r.pass(time.Minute, 1)
	once(t, s)
	r.pass(maxUnconfirmed, 7)
	once(t, s)
	if s.Report().Waiting != 0 {
		t.Error("looks wait although nobody will set the clock")
	}
}

// TestReboot: what nlbwmon counted since the boot is new, and what the record
// lacks is a gap that begins where it ends.
func TestReboot(t *testing.T) {
	r := newRouter(t)
	s := r.sampler()
	r.pass(30*time.Second, 1000)
	once(t, s)
	r.pass(30*time.Second, 100)
	once(t, s)
	if err := r.store.Close(r.now); err != nil {
		t.Fatal(err)
	}
	cut := r.now
	r.reboot("second", r.now.Add(time.Hour))
	s = r.sampler()
	r.pass(2*time.Minute, 40)
	once(t, s)
	if got := r.total(); got != 140 {
		t.Errorf("got %d bytes, want 140: 100 of before and 40 since the boot", got)
	}
	gaps := r.gaps()
	if len(gaps) != 1 || gaps[0].Reason != ledger.Reboot.Text() || gaps[0].From.Sub(cut).Abs() > time.Second || !gaps[0].To.Equal(r.now) {
		t.Errorf("got gaps %v, want one from %s to %s", gaps, cut, r.now)
	}
	// In the same boot an empty directory is no reboot: nothing comes twice.
	if err := r.store.Close(r.now); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(r.dir, "ram")); err != nil {
		t.Fatal(err)
	}
	r.open()
	s = r.sampler()
	r.pass(30*time.Second, 2)
	once(t, s)
	r.pass(30*time.Second, 3)
	once(t, s)
	if got := r.total(); got != 143 {
		t.Errorf("got %d bytes, want 143", got)
	}
	if gaps := r.gaps(); len(gaps) != 2 || gaps[1].Reason != ledger.StateLost.Text() {
		t.Errorf("got gaps %v, want a second one for the lost state", gaps)
	}
}

// TestWeekDown: an agent that was down for a week, and over two ends of
// periods, finds all that nlbwmon kept.
func TestWeekDown(t *testing.T) {
	for name, gone := range map[string][]time.Duration{
		"a week":              {7 * 24 * time.Hour},
		"two ends of periods": {8 * 24 * time.Hour, 31 * 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRouter(t)
			s := r.sampler()
			r.pass(30*time.Second, 1000)
			once(t, s)
			if err := r.store.Close(r.now); err != nil {
				t.Fatal(err)
			}
			var want uint64
			for i, d := range gone {
				r.pass(time.Second, 500)
				r.pass(d, 0) // the refresh that may end the period
				r.pass(time.Second, uint64(i+1)*7000)
				want += 500 + uint64(i+1)*7000
				r.age(i)
			}
			r.open()
			s = r.sampler()
			once(t, s)
			if got := r.total(); got != want {
				t.Errorf("got %d bytes, want %d; gaps %v", got, want, r.gaps())
			}
			if gaps := r.gaps(); len(gaps) != 0 {
				t.Errorf("got gaps %v, want none", gaps)
			}
		})
	}
}

// age gives each new file of a period a time of its own: the test writes them
// within a tick of the file system's clock.
func (r *router) age(i int) {
	names, err := filepath.Glob(filepath.Join(r.dir, "db", "*.db*"))
	if err != nil {
		r.t.Fatal(err)
	}
	for _, name := range names {
		if !r.aged[name] {
			at := built.Add(time.Duration(i) * time.Hour)
			if err := os.Chtimes(name, at, at); err != nil {
				r.t.Fatal(err)
			}
			r.aged[name] = true
		}
	}
}

// TestAttribute: a row without a MAC goes to the device that held its address
// then; the others are listed by address.
func TestAttribute(t *testing.T) {
	r := newRouter(t)
	known, unknown := netip.MustParseAddr("192.168.1.50"), netip.MustParseAddr("fd00::7")
	mac := usage.MAC{2, 0, 0, 0, 0, 50}
	r.attribute = func(addr netip.Addr, at time.Time) (usage.MAC, bool) {
		if at.Sub(r.now).Abs() > time.Second {
			t.Errorf("asked for %s, and it is %s", at, r.now)
		}
		return mac, addr == known
	}
	s := r.sampler()
	r.pass(30*time.Second, 1)
	once(t, s)
	var rows [2]usage.Record
	for i, addr := range []netip.Addr{known, unknown} {
		rows[i] = usage.Record{Proto: 6, Port: 443, Conns: 1, RxBytes: uint64(1000 * (i + 1)), RxPackets: 1}
		rows[i].SetIP(addr)
	}
	r.daemon.Add(rows[:])
	r.pass(30*time.Second, 0)
	once(t, s)
	got := map[usage.MAC]uint64{}
	q := history.Query{Range: usage.Range{From: built, To: built.AddDate(2, 0, 0)}, By: history.Device}
	if _, err := r.store.Query(t.Context(), q, func(s usage.Slot) error { got[s.MAC] += s.RxBytes; return nil }); err != nil {
		t.Fatal(err)
	}
	if got[mac] != 1000 || got[usage.MAC{}] != 2000 {
		t.Errorf("got %v, want 1000 of %s and 2000 of nobody", got, mac)
	}
	report := s.Report()
	if report.Attributed != 1 || len(report.Unresolved) != 1 || report.Unresolved[0].Addr != unknown || report.Unresolved[0].RxBytes != 2000 {
		t.Errorf("got %+v", report)
	}
}

// TestQuarantine: more than the link carries is counted, shown, and in no sum.
func TestQuarantine(t *testing.T) {
	r := newRouter(t)
	speed := uint64(125_000) // 1 Mbit/s
	r.linkSpeed = func() uint64 { return speed }
	s := r.sampler()
	r.pass(30*time.Second, 1)
	once(t, s)
	r.pass(30*time.Second, 60*speed+1)
	once(t, s)
	if got := r.total(); got != 0 {
		t.Errorf("%d bytes are in the sum", got)
	}
	report := s.Report()
	if len(report.Quarantined) != 1 || report.Quarantined[0].RxBytes != 60*speed+1 || report.LinkSpeed != speed {
		t.Errorf("got %+v", report)
	}
	var kept uint64
	q := history.Query{Range: usage.Range{From: built, To: built.AddDate(2, 0, 0)}, By: history.Quarantined}
	if _, err := r.store.Query(t.Context(), q, func(s usage.Slot) error { kept += s.RxBytes; return nil }); err != nil {
		t.Fatal(err)
	}
	if kept != 60*speed+1 {
		t.Errorf("the history keeps %d bytes apart, want %d", kept, 60*speed+1)
	}
	// A link that became slower may have been faster before the look.
	speed /= 10
	r.pass(30*time.Second, 600*speed)
	once(t, s)
	if got := r.total(); got != 600*speed {
		t.Errorf("got %d bytes, want %d", got, 600*speed)
	}
}

// TestLoss: a power cut at any instant costs at most 300 s of what nlbwmon
// counted, at its refreshes.
func TestLoss(t *testing.T) {
	const refresh = 30 * time.Second
	disk := faultfs.New("/tmp")
	r := newRouter(t)
	r.flash = "/etc/netpilot"
	rnd := rand.New(rand.NewPCG(1, 2))
	r.reopen(disk)
	r.now = r.now.Add(13 * time.Second) // refreshes fall beside the ends of buckets
	r.pass(refresh, 1)
	s := r.sampler()
	once(t, s)
	var counted []uint64 // all that nlbwmon had counted after each refresh
	var sum uint64
	next, look := r.now.Add(refresh), r.now.Add(s.wait())
	for i := range 150 {
		// Whatever comes first: nlbwmon's refresh or the look that is due.
		if look.Before(next) {
			r.idle(look.Sub(r.now))
			once(t, s)
			look = r.now.Add(s.wait())
			continue
		}
		d := next.Sub(r.now)
		sum += uint64(i + 1)
		r.pass(d, uint64(i+1))
		counted = append(counted, sum)
		next = r.now.Add(refresh)
		if len(counted) < 12 {
			continue
		}
		// What a power cut now leaves.
		cut := disk.Copy()
		cut.Reboot(rnd)
		kept := r.totalOf(cut)
		if least := counted[len(counted)-11]; kept < least {
			t.Errorf("cut at %s: %d bytes are kept, want at least the %d counted 300 s before", r.now.Format(time.TimeOnly), kept, least)
		}
	}
}

func (r *router) totalOf(disk history.FS) (sum uint64) {
	r.t.Helper()
	store, err := history.Open(history.Options{Dir: "/tmp/ram", FlashDir: r.flash, NotBefore: built, FS: disk})
	if err != nil {
		r.t.Fatal(err)
	}
	defer store.Close(r.now)
	q := history.Query{Range: usage.Range{From: built, To: built.AddDate(2, 0, 0)}, Resolution: usage.Hour}
	if _, err := store.Query(context.Background(), q, func(s usage.Slot) error { sum += s.RxBytes; return nil }); err != nil {
		r.t.Fatal(err)
	}
	return sum
}

// TestAsksSocket: the first look, and one after the clock was set back, learn
// from nlbwmon itself which period its table is of.
func TestAsksSocket(t *testing.T) {
	r := newRouter(t)
	s := r.sampler()
	var asked []ledger.Source
	s.opts.Watch = func(l *ledger.Ledger, _ *ledger.Batch, _ time.Time) { asked = append(asked, sourceOf(l)) }
	r.pass(30*time.Second, 1)
	once(t, s)
	r.pass(30*time.Second, 1)
	once(t, s)
	r.now = r.now.Add(-time.Hour)
	r.pass(30*time.Second, 1)
	once(t, s)
	want := []ledger.Source{ledger.Socket, ledger.Snapshot, ledger.Socket}
	if len(asked) != 3 || asked[0] != want[0] || asked[1] != want[1] || asked[2] != want[2] {
		t.Errorf("got sources %v, want %v", asked, want)
	}
}

// sourceOf is the source of the ledger's last look, as its state says.
func sourceOf(l *ledger.Ledger) ledger.Source { return ledger.Source(l.State(nil)[5]) }

func TestLinkSpeed(t *testing.T) {
	root := t.TempDir()
	write := func(path, text string) {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := LinkSpeed(root); got != 0 {
		t.Errorf("got %d where nothing tells", got)
	}
	write("sys/class/net/eth0/speed", "1000\n")
	write("sys/class/net/lan4/speed", "-1\n")
	write("sys/class/net/eth1/speed", "2500\n")
	if got, want := LinkSpeed(root), uint64(312_500_000); got != want {
		t.Errorf("got %d, want %d", got, want)
	}
	const head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
	write("proc/net/route", head+"eth1\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n")
	if got := LinkSpeed(root); got != 312_500_000 {
		t.Errorf("got %d with a way out by cable", got)
	}
	write("sys/class/net/phy0-sta0/phy80211/name", "phy0")
	write("proc/net/route", head+"phy0-sta0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n")
	if got := LinkSpeed(root); got != 0 {
		t.Errorf("got %d with a way out by radio", got)
	}
}
