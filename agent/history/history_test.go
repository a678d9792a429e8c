package history_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/netpilot/netpilot/agent/history"
	"github.com/netpilot/netpilot/agent/history/faultfs"
	"github.com/netpilot/netpilot/pkg/usage"
)

var everything = usage.Range{From: time.Unix(0, 0), To: time.Unix(1<<33, 0)}

func slots(t testing.TB, s *history.Store, q history.Query) []usage.Slot {
	t.Helper()
	if q.Range == (usage.Range{}) {
		q.Range = everything
	}
	var all []usage.Slot
	_, err := s.Query(context.Background(), q, func(slot usage.Slot) error {
		all = append(all, slot)
		return nil
	})
	must(t, err)
	return all
}

func oneRow(rx uint64) []usage.Record {
	return []usage.Record{{MAC: device(1), Family: usage.FamilyIPv4, Proto: 6, Port: 1, RxBytes: rx, TxBytes: rx / 3, RxPackets: rx / 7, TxPackets: rx / 11, Conns: rx % 13}}
}

// TestTwoDaemons: the directory has one owner, and is free after Close or its
// end.
func TestTwoDaemons(t *testing.T) {
	o := history.Options{Dir: t.TempDir(), FlashDir: t.TempDir()}
	s := open(t, o)
	if _, err := history.Open(o); !errors.Is(err, history.ErrLocked) || usage.KindOf(err) != usage.Busy || !strings.Contains(err.Error(), "try: ") {
		t.Errorf("got %v, want ErrLocked and what to do", err)
	}
	must(t, s.Close(time.Now()))
	must(t, s.Close(time.Now()))
	must(t, open(t, o).Close(time.Now()))
}

// TestOS is one life on the real file system.
func TestOS(t *testing.T) {
	o := history.Options{Dir: filepath.Join(t.TempDir(), "ram"), FlashDir: filepath.Join(t.TempDir(), "a", "flash")}
	s := open(t, o)
	m := &model{added: sums{}}
	now := epoch
	for i := range 600 { // two days: compaction too
		next := now.Add(tick)
		r := usage.Range{From: next, To: next}
		rows := scriptRows(i)
		must(t, s.Add(r, rows))
		m.book(r, rows, func(uint8, uint16) string { return "" })
		must(t, s.Advance(next))
		must(t, s.Flush(next))
		now = next
	}
	compare(t, "living", s, m.added)
	must(t, s.PutBlob("ledger", []byte("rows")))
	must(t, s.Close(now))
	s = open(t, o)
	if b := s.Blob("ledger"); string(b) != "rows" {
		t.Errorf("got blob %q, want rows", b)
	}
	compare(t, "restarted", s, m.added)
	must(t, s.Close(now))
	must(t, os.RemoveAll(o.Dir))
	s = open(t, o)
	compare(t, "rebooted", s, m.added)
	if b := s.Blob("ledger"); b != nil {
		t.Errorf("got blob %q after a reboot, want none", b)
	}
	if len(s.Repairs()) > 0 {
		t.Errorf("got repairs %v, want none", s.Repairs())
	}
	must(t, s.Close(now))
}

// TestOptions: what makes no sense is refused with its reason.
func TestOptions(t *testing.T) {
	for _, o := range []history.Options{
		{}, {Dir: "a", FlashDir: "a"}, {Dir: "a", Keep5m: time.Minute}, {Dir: "a", KeepHour: time.Hour}, {Dir: "a", KeepHour: 401 * 24 * time.Hour},
		{Dir: "a", KeepDay: time.Hour}, {Dir: "a", MaxBytes: 1000}, {Dir: "a", FlushEvery: time.Second},
	} {
		o.FS = faultfs.New("/tmp")
		if _, err := history.Open(o); usage.KindOf(err) != usage.Invalid {
			t.Errorf("%+v: got %v, want an invalid option", o, err)
		}
	}
}

// TestSplit: a delta over several buckets is shared by time, and not a byte
// more or less.
func TestSplit(t *testing.T) {
	s := open(t, options(faultfs.New("/tmp")))
	from := epoch.Add(4 * time.Minute)
	must(t, s.Add(usage.Range{From: from, To: from.Add(10 * time.Minute)}, oneRow(1003)))
	got := slots(t, s, history.Query{By: history.Device})
	want := []uint64{100, 501, 402}
	if len(got) != len(want) {
		t.Fatalf("got %v, want %d slots", got, len(want))
	}
	for i := range got {
		if got[i].RxBytes != want[i] {
			t.Errorf("slot %d: got %d bytes, want %d", i, got[i].RxBytes, want[i])
		}
	}
}

// TestSplitAddsUp: of any span, however long, of any numbers.
func TestSplitAddsUp(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for range 300 {
		s := open(t, options(faultfs.New("/tmp")))
		var want usage.Counters
		for range 3 {
			to := epoch.AddDate(1, 0, 0).Add(time.Duration(r.Int64N(int64(month))))
			row := oneRow(r.Uint64() >> (r.IntN(60) + 2))
			must(t, s.Add(usage.Range{From: to.Add(-time.Duration(r.Int64N(1 << r.IntN(52)))), To: to}, row))
			want.Add(row[0].Counters())
		}
		for _, by := range []history.By{history.Total, history.Device, history.Service, history.Family} {
			var got usage.Counters
			for _, slot := range slots(t, s, history.Query{By: by}) {
				got.Add(slot.Counters)
			}
			if got != want {
				t.Fatalf("by %d: got %+v, want %+v", by, got, want)
			}
		}
	}
}

// TestClock: 1970 is refused, an hour back is an addition to what was closed,
// a year ahead ages nothing that is younger, and nothing is ever lost.
func TestClock(t *testing.T) {
	disk := faultfs.New("/tmp")
	o := options(disk)
	o.NotBefore = epoch.AddDate(0, -1, 0)
	s := open(t, o)
	if err := s.Add(usage.Range{From: time.Unix(0, 0), To: time.Unix(3600, 0)}, oneRow(5)); !errors.Is(err, history.ErrClock) {
		t.Errorf("got %v, want ErrClock", err)
	}
	if err := s.Advance(time.Unix(3600, 0)); !errors.Is(err, history.ErrClock) {
		t.Errorf("got %v, want ErrClock", err)
	}
	if err := s.AddGap(usage.Gap{Range: usage.Range{From: time.Unix(0, 0), To: time.Unix(3600, 0)}}); !errors.Is(err, history.ErrClock) {
		t.Errorf("got %v, want ErrClock", err)
	}
	step := func(now time.Time, rx uint64) {
		t.Helper()
		must(t, s.Add(usage.Range{From: now, To: now}, oneRow(rx)))
		must(t, s.Advance(now.Add(time.Second)))
		must(t, s.Advance(now.Add(tick)))
		must(t, s.Flush(now.Add(tick)))
	}
	noon := epoch.Add(12*time.Hour + time.Minute)
	step(noon, 1000)
	var c history.Cursor
	replicate := func() (n int) {
		must(t, s.Since(context.Background(), c, func(ch *history.Change) error {
			c = ch.Cursor
			n++
			return nil
		}))
		return n
	}
	if n := replicate(); n != 1 {
		t.Errorf("got %d changes, want 1", n)
	}
	step(noon.Add(time.Hour), 10)
	step(noon, 100) // an hour back
	if got := slots(t, s, history.Query{}); len(got) != 2 || got[0].RxBytes != 1100 || got[1].RxBytes != 10 {
		t.Errorf("got %v, want 1100 and 10 bytes", got)
	}
	if n := replicate(); n != 2 { // the old slot again, and the new one
		t.Errorf("got %d changes, want 2", n)
	}
	// A year ahead, for some hours, and back.
	for i := range 20 {
		step(noon.AddDate(1, 0, 0).Add(time.Duration(i)*time.Hour), 1)
	}
	step(noon.Add(2*time.Hour), 1)
	if got := slots(t, s, history.Query{Range: usage.Range{From: epoch, To: epoch.AddDate(0, 0, 1)}}); len(got) != 3 || got[0].Length != tick {
		t.Errorf("got %v, want the three buckets as they were", got)
	}
	if got := slots(t, s, history.Query{Resolution: 24 * time.Hour}); len(got) != 3 {
		t.Errorf("got %v, want today and two days of next year", got)
	}
	must(t, s.Close(noon.Add(3*time.Hour)))
}

// TestDays: a day is the router's, of 23, 24 or 25 hours, in each resolution
// it is kept in.
func TestDays(t *testing.T) {
	for _, test := range []struct {
		zone  string
		date  string
		hours float64
	}{
		{"Europe/Berlin", "2026-03-29", 23}, {"Europe/Berlin", "2026-10-25", 25}, {"Europe/Berlin", "2026-06-01", 24},
		{"America/New_York", "2026-03-08", 23}, {"America/New_York", "2026-11-01", 25},
		{"Australia/Lord_Howe", "2026-10-04", 23.5}, {"Australia/Lord_Howe", "2026-04-05", 24.5},
		{"Africa/Cairo", "2026-04-24", 23}, {"Asia/Beirut", "2026-03-29", 23}, {"Asia/Kolkata", "2026-03-29", 24},
		{"Africa/Cairo", "2026-10-29", 25},
	} {
		loc := zone(t, test.zone)
		start, err := time.ParseInLocation(time.DateOnly, test.date, loc)
		must(t, err)
		o := options(faultfs.New("/tmp"))
		o.Location, o.Keep5m, o.KeepHour = loc, 24*time.Hour, 100*time.Hour
		s := open(t, o)
		for now := start.Add(-30 * time.Hour); now.Before(start.Add(60 * time.Hour)); now = now.Add(tick) {
			must(t, s.Add(usage.Range{From: now, To: now.Add(tick)}, oneRow(300)))
			must(t, s.Advance(now.Add(tick)))
		}
		for _, kept := range []string{"five minutes and hours", "hours", "days"} {
			found := false
			for _, slot := range slots(t, s, history.Query{Resolution: 24 * time.Hour}) {
				if slot.Start.Format(time.DateOnly) != test.date {
					continue
				}
				found = true
				if slot.Length.Hours() != test.hours || slot.RxBytes != uint64(test.hours*3600) {
					t.Errorf("%s %s in %s: got %v with %d bytes, want %v hours and as many seconds", test.zone, test.date, kept, slot.Length, slot.RxBytes, test.hours)
				}
			}
			if !found {
				t.Errorf("%s %s in %s: no such day: %v", test.zone, test.date, kept, slots(t, s, history.Query{Resolution: 24 * time.Hour}))
			}
			for n := range 4 { // no jump of the clock: one is watched first
				must(t, s.Advance(start.Add(60*time.Hour+time.Duration(n)*20*time.Hour)))
			}
			if kept == "hours" {
				for n := range 8 {
					must(t, s.Advance(start.Add(120*time.Hour+time.Duration(n)*20*time.Hour)))
				}
			}
		}
	}
}

// TestZoneChange: a new time zone rules the days after it; what is kept stays.
func TestZoneChange(t *testing.T) {
	disk := faultfs.New("/tmp")
	o := options(disk)
	o.Keep5m, o.KeepHour = time.Hour, 72*time.Hour
	now := epoch.Add(3 * time.Hour)
	var want uint64
	for i, name := range []string{"UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "UTC"} {
		o.Location = zone(t, name)
		s := open(t, o)
		for range 30 * (1 + i) {
			must(t, s.Add(usage.Range{From: now, To: now.Add(17 * time.Minute)}, oneRow(1000)))
			now = now.Add(17 * time.Minute)
			want += 1000
			must(t, s.Advance(now))
			must(t, s.Flush(now))
		}
		for _, res := range []time.Duration{tick, time.Hour, 6 * time.Hour, 24 * time.Hour, 72 * time.Hour} {
			var got uint64
			for _, slot := range slots(t, s, history.Query{Resolution: res}) {
				got += slot.RxBytes
			}
			if got != want {
				t.Errorf("%s, by %s: got %d bytes, want %d", name, res, got, want)
			}
		}
		must(t, s.Close(now))
		disk.Reboot(rand.New(rand.NewPCG(1, 1)))
	}
}

// TestQuery: filters, resolutions, what cannot be asked.
func TestQuery(t *testing.T) {
	s := open(t, options(faultfs.New("/tmp")))
	for i := range 24 * 12 {
		now := epoch.Add(time.Duration(i) * tick)
		must(t, s.Add(usage.Range{From: now, To: now.Add(tick)}, []usage.Record{
			{MAC: device(1), Family: usage.FamilyIPv4, Proto: 6, Port: 1, RxBytes: 10, Conns: 1},
			{MAC: device(2), Family: usage.FamilyIPv6, Proto: 6, RxBytes: 1},
		}))
		must(t, s.Advance(now.Add(tick)))
	}
	one := device(1)
	day := usage.Range{From: epoch, To: epoch.Add(24 * time.Hour)}
	for _, test := range []struct {
		name  string
		q     history.Query
		slots int
		rx    uint64
	}{
		{"total", history.Query{}, 288, 288 * 11},
		{"by device", history.Query{By: history.Device}, 576, 288 * 11},
		{"of a device", history.Query{By: history.Device, MAC: &one}, 288, 2880},
		{"total of a device, by hour", history.Query{MAC: &one, Resolution: time.Hour}, 24, 2880},
		{"by service", history.Query{By: history.Service, Resolution: 7 * time.Hour}, 8, 288 * 11},
		{"total of a service", history.Query{Service: "other", Resolution: 24 * time.Hour}, 1, 288},
		{"by family", history.Query{By: history.Family, Resolution: 48 * time.Hour}, 2, 288 * 11},
		{"a part", history.Query{Range: usage.Range{From: epoch.Add(time.Hour), To: epoch.Add(90 * time.Minute)}}, 6, 66},
		{"between buckets", history.Query{Range: usage.Range{From: epoch.Add(time.Minute), To: epoch.Add(2 * time.Minute)}}, 0, 0},
		{"nothing quarantined", history.Query{By: history.Quarantined}, 0, 0},
	} {
		if test.q.Range == (usage.Range{}) {
			test.q.Range = day
		}
		var rx uint64
		got := slots(t, s, test.q)
		for _, slot := range got {
			rx += slot.RxBytes
		}
		if len(got) != test.slots || rx != test.rx {
			t.Errorf("%s: got %d slots of %d bytes, want %d of %d", test.name, len(got), rx, test.slots, test.rx)
		}
	}
	for _, q := range []history.Query{
		{}, {Range: day, Resolution: time.Minute}, {Range: day, Resolution: 25 * time.Hour}, {Range: day, By: 9},
		{Range: day, By: history.Service, MAC: &one}, {Range: day, By: history.Device, Service: "x"}, {Range: day, Service: "x", MAC: &one},
	} {
		if _, err := s.Query(context.Background(), q, nil); usage.KindOf(err) != usage.Invalid {
			t.Errorf("%+v: got %v, want it invalid", q, err)
		}
	}
	stop := errors.New("stop")
	if _, err := s.Query(context.Background(), history.Query{Range: day}, func(usage.Slot) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v, want what visit said", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Query(ctx, history.Query{Range: day}, func(usage.Slot) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want it cancelled", err)
	}
}

// TestCoarser: what is kept as hours is given as hours, and said to be.
func TestCoarser(t *testing.T) {
	s := open(t, scriptOptions(faultfs.New("/tmp")))
	must(t, script(s, func(int) {}))
	info, err := s.Query(context.Background(), history.Query{Range: everything}, func(usage.Slot) error { return nil })
	must(t, err)
	if !info.Coarser || info.Longest != 24*time.Hour {
		t.Errorf("got %+v, want days and to be told", info)
	}
}

// TestQuarantine: counted, and in nothing else.
func TestQuarantine(t *testing.T) {
	disk := faultfs.New("/tmp")
	o := scriptOptions(disk)
	s := open(t, o)
	must(t, s.AddQuarantined(usage.Range{From: epoch, To: epoch.Add(time.Minute)}, oneRow(1<<60)))
	for n := range 5 {
		must(t, s.Advance(epoch.Add(time.Duration(n)*12*time.Hour)))
		if got := slots(t, s, history.Query{By: history.Quarantined}); len(got) != 1 || got[0].RxBytes != 1<<60 || got[0].MAC != device(1) {
			t.Errorf("got %v, want it", got)
		}
		if got := slots(t, s, history.Query{By: history.Device}); len(got) != 0 {
			t.Errorf("got %v among devices", got)
		}
	}
}

// TestGaps: declared once, found in each state of what is around them.
func TestGaps(t *testing.T) {
	disk := faultfs.New("/tmp")
	s := open(t, scriptOptions(disk))
	gap := usage.Gap{Range: usage.Range{From: epoch.Add(-49 * time.Hour), To: epoch.Add(time.Minute)}, Reason: "agent was down\n"}
	must(t, s.AddGap(gap))
	check := func() {
		t.Helper()
		got, err := s.Gaps(usage.Range{From: epoch.Add(-time.Hour), To: epoch})
		must(t, err)
		if len(got) != 1 || !got[0].From.Equal(gap.From) || !got[0].To.Equal(gap.To) || got[0].Reason != "agent was down" {
			t.Errorf("got %v, want %v", got, gap)
		}
		if got, _ := s.Gaps(usage.Range{From: epoch.Add(time.Minute), To: epoch.Add(time.Hour)}); len(got) != 0 {
			t.Errorf("got %v, want none", got)
		}
	}
	check()
	must(t, s.Save())
	disk.Kill()
	s = open(t, scriptOptions(disk))
	check()
	for n := range 6 {
		must(t, s.Advance(epoch.Add(time.Duration(n)*12*time.Hour)))
		must(t, s.Flush(epoch.Add(time.Duration(n)*12*time.Hour)))
		check()
	}
	disk.Reboot(rand.New(rand.NewPCG(1, 1)))
	s = open(t, scriptOptions(disk))
	check()
	n := 0
	must(t, s.Since(context.Background(), 0, func(c *history.Change) error {
		if c.IsGap {
			n++
		}
		return nil
	}))
	if n != 1 {
		t.Errorf("replicated %d gaps, want 1", n)
	}
	for range 200 {
		must(t, s.AddGap(gap))
	}
	check()
}

// TestBlobs: bounds, and the pair with the buckets.
func TestBlobs(t *testing.T) {
	disk := faultfs.New("/tmp")
	s := open(t, options(disk))
	for _, err := range []error{s.PutBlob("", []byte{1}), s.PutBlob(strings.Repeat("x", 65), []byte{1}), s.PutBlob("big", make([]byte, 4<<20+1))} {
		if usage.KindOf(err) != usage.Invalid {
			t.Errorf("got %v, want it invalid", err)
		}
	}
	must(t, s.PutBlob("ledger", []byte("one")))
	must(t, s.Add(usage.Range{From: epoch, To: epoch.Add(time.Minute)}, oneRow(1)))
	must(t, s.Save())
	must(t, s.PutBlob("ledger", []byte("two")))
	must(t, s.Add(usage.Range{From: epoch, To: epoch.Add(time.Minute)}, oneRow(1)))
	disk.Kill()
	s = open(t, options(disk))
	if got := slots(t, s, history.Query{}); string(s.Blob("ledger")) != "one" || got[0].RxBytes != 1 {
		t.Errorf("got %q and %v, want what was saved", s.Blob("ledger"), got)
	}
}

// TestLoss: whoever samples when buckets end loses less than 300 s of traffic
// at a power cut, whenever it comes.
func TestLoss(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for range 50 {
		disk := faultfs.New("/tmp")
		s := open(t, options(disk))
		now := epoch.Add(time.Duration(r.IntN(3600)) * time.Second)
		cut := now.Add(time.Duration(r.IntN(7200)) * time.Second)
		var second uint64 // a byte each second
		for {
			next := now.Add(30 * time.Second)
			if end := history.NextClose(now); end.Before(next) {
				next = end
			}
			if next.After(cut) {
				break
			}
			n := uint64(next.Sub(now) / time.Second)
			second += n
			must(t, s.Add(usage.Range{From: now, To: next}, oneRow(n)))
			must(t, s.Advance(next))
			must(t, s.Flush(next))
			now = next
		}
		total := second + uint64(cut.Sub(now)/time.Second)
		disk.Reboot(r)
		var got uint64
		for _, slot := range slots(t, open(t, options(disk)), history.Query{}) {
			got += slot.RxBytes
		}
		if got > second || total-got > 300 {
			t.Errorf("cut at %s: got %d of %d seconds", cut, got, total)
		}
	}
}

// TestFlood: invented devices cost at most their share, and the cap holds.
func TestFlood(t *testing.T) {
	disk := faultfs.New("/tmp")
	o := options(disk)
	o.MaxBytes = 1 << 20
	s := open(t, o)
	var want uint64
	r := rand.New(rand.NewPCG(1, 9))
	var rows []usage.Record
	for i := range 2 * 288 {
		rows = rows[:0]
		for range 2000 {
			rows = append(rows, usage.Record{MAC: usage.MAC{2, 1, 1, byte(r.IntN(4)), byte(r.IntN(256)), byte(r.IntN(256))}, Family: usage.FamilyIPv4, Proto: 6, Port: uint16(r.IntN(400)), RxBytes: 100})
		}
		want += 200000
		now := epoch.Add(time.Duration(i+1) * tick)
		must(t, s.Add(usage.Range{From: now, To: now}, rows))
		must(t, s.Advance(now))
		if n := disk.Size(ram); n > 1<<20+100<<10 {
			t.Fatalf("after %d buckets: got %d bytes, want at most %d and a bucket", i, n, 1<<20)
		}
	}
	for _, by := range []history.By{history.Total, history.Device, history.Service} {
		var got uint64
		for _, slot := range slots(t, s, history.Query{By: by}) {
			got += slot.RxBytes
		}
		if got != want {
			t.Errorf("by %d: got %d bytes, want %d", by, got, want)
		}
	}
}

// TestRetention: months go when all of their days are too old.
func TestRetention(t *testing.T) {
	disk := faultfs.New("/tmp")
	o := options(disk)
	o.Keep5m, o.KeepHour, o.KeepDay = 2*time.Hour, 48*time.Hour, 60*24*time.Hour
	s := open(t, o)
	for d := range 200 * 2 {
		now := epoch.Add(time.Duration(d) * 12 * time.Hour)
		must(t, s.Add(usage.Range{From: now, To: now}, oneRow(9)))
		must(t, s.Advance(now.Add(tick)))
		must(t, s.Flush(now.Add(tick)))
	}
	got := slots(t, s, history.Query{Resolution: 24 * time.Hour})
	first, last := got[0].Start, epoch.Add(200*24*time.Hour)
	if age := last.Sub(first); age < 60*24*time.Hour || age > 92*24*time.Hour {
		t.Errorf("got %s as the oldest of %s, want 60 days and at most a month", first, last)
	}
	if a, b := len(disk.Files(ram)), len(disk.Files(rom)); a > 12 || b > 10 {
		t.Errorf("got %d and %d files, want a dozen", a, b)
	}
}

// TestKeep: what is to be kept can change while the history is open, and goes
// by the next Advance.
func TestKeep(t *testing.T) {
	disk := faultfs.New("/tmp")
	o := options(disk)
	o.KeepHour = 4 * 24 * time.Hour
	s := open(t, o)
	const days = 20
	rows := make([]usage.Record, 0, 200)
	for i := range 200 {
		rows = append(rows, usage.Record{MAC: device(i), Family: usage.FamilyIPv4, Proto: 6, RxBytes: 1000 + uint64(i)})
	}
	now := epoch
	live := func(n int) {
		for range n {
			now = now.Add(time.Hour)
			must(t, s.Add(usage.Range{From: now, To: now}, rows))
			must(t, s.Advance(now.Add(tick)))
		}
	}
	// hours is how far back hours are told from each other.
	hours := func() time.Duration {
		var first time.Time
		for _, slot := range slots(t, s, history.Query{}) {
			if first.IsZero() && slot.Length <= time.Hour {
				first = slot.Start
			}
		}
		return now.Sub(first)
	}
	live(days * 24)
	if got := hours(); got < 4*24*time.Hour || got > 6*24*time.Hour {
		t.Fatalf("got hours of %s, want of 4 days", got)
	}
	must(t, s.Keep(10*24*time.Hour, history.DefaultMaxBytes))
	live(10 * 24)
	if got := hours(); got < 10*24*time.Hour || got > 12*24*time.Hour {
		t.Errorf("10 days: got hours of %s", got)
	}
	size := disk.Size(ram)
	must(t, s.Keep(10*24*time.Hour, 128<<10))
	live(1)
	if got := disk.Size(ram); size < 256<<10 || got > 228<<10 {
		t.Errorf("128 KiB: got %d bytes, before %d", got, size)
	}
	for _, refused := range []struct {
		hours time.Duration
		bytes int
	}{{time.Hour, 128 << 10}, {401 * 24 * time.Hour, 128 << 10}, {48 * time.Hour, 1000}} {
		if err := s.Keep(refused.hours, refused.bytes); usage.KindOf(err) != usage.Invalid {
			t.Errorf("%+v: got %v, want it invalid", refused, err)
		}
	}
	var got, want uint64
	for _, slot := range slots(t, s, history.Query{By: history.Device}) {
		got += slot.RxBytes
	}
	for i := range rows {
		want += rows[i].RxBytes * (days*24 + 10*24 + 1)
	}
	if got != want {
		t.Errorf("got %d bytes in all, want %d", got, want)
	}
}
