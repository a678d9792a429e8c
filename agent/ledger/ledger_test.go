package ledger_test

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/netpilot/netpilot/agent/ledger"
	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/nlbwmon/nlbwmontest"
	"github.com/netpilot/netpilot/pkg/usage"
)

// dir is a database directory in memory, for readable cases.
type dir map[nlbwmon.Period][]usage.Record

func (d dir) Periods() (names []nlbwmon.Period, err error) {
	for p := range d {
		names = append(names, p)
	}
	return names, nil
}

func (d dir) Fetch(p nlbwmon.Period, sink usage.Sink) (ledger.Fetched, error) {
	rows, ok := d[p]
	if !ok {
		return ledger.Gone, nil
	}
	fill(sink, rows)
	return ledger.Whole, nil
}

// Written has later periods' files be newer.
func (d dir) Written(p nlbwmon.Period) time.Time {
	return time.Date(2026, time.Month(p/100%100), int(p%100), 0, 0, 0, 0, time.UTC)
}

func fill(sink usage.Sink, rows []usage.Record) {
	sink.Begin(len(rows))
	for i := range rows {
		sink.Add(&rows[i])
	}
}

// row is a host's row with so many bytes down and one connection.
func row(host byte, port uint16, rx uint64) usage.Record {
	return usage.Record{
		Family: usage.FamilyIPv4, Proto: 6, Port: port, MAC: usage.MAC{2, 0, 0, 0, 0, host},
		Addr: [16]byte{192, 168, 77, host}, Conns: 1, RxBytes: rx, RxPackets: rx/1400 + 1,
	}
}

// at is a look by the socket, seconds after boot.
func at(seconds int, p nlbwmon.Period) ledger.Look {
	return ledger.Look{
		Instant: ledger.Instant{Boot: "a", Since: time.Duration(seconds) * time.Second},
		Source:  ledger.Socket, Period: p, Daemon: time.Second,
	}
}

func observe(t *testing.T, l *ledger.Ledger, look ledger.Look, d dir, rows ...usage.Record) *ledger.Batch {
	t.Helper()
	fill(l, rows)
	b, err := l.Observe(look, d)
	if err != nil {
		t.Fatalf("look at %s: %v", look.Since, err)
	}
	return b
}

// sum is the bytes down of a list.
func sum(list []usage.Record) (rx uint64) {
	for i := range list {
		rx += list[i].RxBytes
	}
	return rx
}

func kindsOf(b *ledger.Batch) (kinds []ledger.Kind) {
	for _, g := range b.Gaps {
		kinds = append(kinds, g.Kind)
	}
	return kinds
}

const oct, nov, dec = 20261001, 20261101, 20261201

func TestRules(t *testing.T) {
	big := row(9, 443, 1_000_000)
	type look struct {
		ledger.Look
		rows  []usage.Record
		files dir
		want  uint64 // bytes down
		gaps  []ledger.Kind
		flags ledger.Flags
	}
	snap := func(l ledger.Look) ledger.Look { l.Source = ledger.Snapshot; return l }
	life := func(l ledger.Look) ledger.Look { l.Daemon = l.Since - time.Second; return l }
	boot := func(l ledger.Look) ledger.Look { l.Boot = "b"; return l }
	limit := func(l ledger.Look, n int) ledger.Look { l.Limit = n; return l }
	rows := func(r ...usage.Record) []usage.Record { return r }
	first := look{Look: at(100, oct), rows: rows(row(1, 80, 500), big), flags: ledger.First}
	firstSnap := first
	firstSnap.Look = snap(at(100, oct))
	thenSnap := look{Look: snap(at(110, oct)), rows: first.rows}
	for name, looks := range map[string][]look{
		"grown and new":         {first, {Look: at(130, oct), rows: rows(row(1, 80, 700), big, row(2, 80, 30)), want: 230}},
		"a key twice in a look": {first, {Look: at(130, oct), rows: rows(row(1, 80, 400), big, row(1, 80, 300)), want: 200}},
		"period change": {first, {Look: at(130, nov), rows: rows(row(1, 80, 40)), want: 100 + 40, flags: ledger.PeriodChanged,
			files: dir{oct: rows(row(1, 80, 600), big)}}},
		"period change, open flow inserted again with no bytes": {first, {Look: at(130, nov), rows: rows(row(1, 80, 0)), want: 100,
			flags: ledger.PeriodChanged, files: dir{oct: rows(row(1, 80, 600), big)}}},
		"period change, file gone": {first, {Look: at(130, nov), rows: rows(row(1, 80, 40)), want: 40,
			flags: ledger.PeriodChanged, gaps: []ledger.Kind{ledger.Tail}}},
		"period change, file of an earlier commit": {first, {Look: at(130, nov), rows: rows(row(1, 80, 40)), want: 40,
			flags: ledger.PeriodChanged, gaps: []ledger.Kind{ledger.Tail}, files: dir{oct: rows(row(1, 80, 300), big)}}},
		"two period changes while nobody looked": {first, {Look: at(5_000_000, dec), rows: rows(row(1, 80, 7)), want: 100 + 2000 + 7,
			flags: ledger.PeriodChanged, files: dir{oct: rows(row(1, 80, 600), big), nov: rows(row(1, 80, 2000))}}},
		"a later file that was there before": {
			{Look: at(100, oct), rows: rows(row(1, 80, 500)), flags: ledger.First, files: dir{nov: rows(big)}},
			{Look: at(130, dec), rows: rows(row(1, 80, 7)), want: 100 + 7, flags: ledger.PeriodChanged, gaps: []ledger.Kind{ledger.Ambiguous},
				files: dir{oct: rows(row(1, 80, 600)), nov: rows(big)}}},
		"old numbers committed under the new period": {first, {Look: at(130, nov), rows: rows(row(1, 80, 40)), want: 100 + 40,
			flags: ledger.PeriodChanged, files: dir{oct: rows(row(1, 80, 600), big), nov: rows(row(1, 80, 550), big)}}},
		"restart, saved": {first, thenSnap, {Look: life(at(130, oct)), rows: rows(row(1, 80, 700), big), want: 200,
			flags: ledger.Restarted, gaps: []ledger.Kind{ledger.Restart}, files: dir{oct: rows(row(1, 80, 600), big)}}},
		"restart from an earlier commit": {first, thenSnap, {Look: life(at(130, oct)), rows: rows(row(1, 80, 450), row(3, 80, 5)), want: 150 + 5,
			flags: ledger.Restarted, gaps: []ledger.Kind{ledger.Restart}, files: dir{oct: rows(row(1, 80, 300))}}},
		"restart, 0.db of the old period came back": {
			{Look: at(100, nov), rows: rows(row(1, 80, 5)), flags: ledger.First},
			{Look: life(at(130, nov)), rows: rows(row(1, 80, 900), big), flags: ledger.Restarted, gaps: []ledger.Kind{ledger.Restart}}},
		"reboot, directory in RAM": {first, {Look: boot(at(50, oct)), rows: rows(row(1, 80, 90)), want: 90,
			flags: ledger.Rebooted | ledger.Restarted, gaps: []ledger.Kind{ledger.Reboot}}},
		"reboot, directory on flash": {first, {Look: boot(at(50, oct)), rows: rows(row(1, 80, 390)), want: 90,
			flags: ledger.Rebooted | ledger.Restarted, gaps: []ledger.Kind{ledger.Reboot}, files: dir{oct: rows(row(1, 80, 300))}}},
		"evicted and come again": {{Look: limit(at(100, oct), 2), rows: rows(row(1, 80, 500), big), flags: ledger.First | ledger.Full},
			{Look: limit(at(130, oct), 2), rows: rows(row(1, 80, 40), big), want: 40, flags: ledger.Full, gaps: []ledger.Kind{ledger.Limit}}},
		"full and nothing overwritten": {{Look: limit(at(100, oct), 2), rows: rows(row(1, 80, 500), big), flags: ledger.First | ledger.Full},
			{Look: limit(at(130, oct), 2), rows: rows(row(1, 80, 540), big), want: 40, flags: ledger.Full}},
		"emptied without a new period": {first, {Look: at(130, oct), rows: rows(row(1, 80, 40)), want: 140,
			flags: ledger.PeriodChanged, gaps: []ledger.Kind{ledger.Hidden}, files: dir{oct: rows(row(1, 80, 600), big)}}},
		"a first look by 0.db with the clock behind nlbwmon's period": {firstSnap, {Look: at(130, nov), rows: rows(row(1, 80, 700), big), want: 200}},
		"the same, and every row moved": {{Look: snap(at(100, oct)), rows: rows(row(1, 80, 500)), flags: ledger.First},
			{Look: at(130, nov), rows: rows(row(1, 80, 700)), want: 200, flags: ledger.PeriodChanged, gaps: []ledger.Kind{ledger.Ambiguous}}},
		"the clock in an older period": {firstSnap, {Look: snap(at(130, 20260901)), rows: rows(row(1, 80, 700), big), want: 200}},
	} {
		t.Run(name, func(t *testing.T) {
			l := ledger.New(ledger.Options{})
			for _, o := range looks {
				b := observe(t, l, o.Look, o.files, o.rows...)
				if got := sum(b.Deltas); got != o.want {
					t.Errorf("at %s got %d bytes, want %d", o.Since, got, o.want)
				}
				if !slices.Equal(kindsOf(b), o.gaps) || b.Flags != o.flags {
					t.Errorf("at %s got gaps %v, flags %05b, want %v, %05b", o.Since, kindsOf(b), b.Flags, o.gaps, o.flags)
				}
				// A restart of the agent between any two looks changes nothing.
				var err error
				if l, err = ledger.Restore(l.State(nil), ledger.Options{}); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestQuarantine(t *testing.T) {
	l := ledger.New(ledger.Options{LinkSpeed: 1000, Refresh: 30 * time.Second})
	observe(t, l, at(100, oct), nil, row(1, 80, 1), row(2, 80, 1))
	b := observe(t, l, at(130, oct), nil, row(1, 80, 60_001), row(2, 80, 60_002))
	if sum(b.Deltas) != 60_000 || sum(b.Quarantined) != 60_001 {
		t.Errorf("got %d delivered, %d quarantined; want 60000 and 60001", sum(b.Deltas), sum(b.Quarantined))
	}
}

func TestAttribute(t *testing.T) {
	mac := usage.MAC{2, 2, 2, 2, 2, 2}
	l := ledger.New(ledger.Options{Attribute: func(a netip.Addr, when ledger.Instant) (usage.MAC, bool) {
		return mac, a == netip.MustParseAddr("192.168.77.1") && when.Since == 130*time.Second
	}})
	a, b := row(1, 80, 10), row(2, 80, 20)
	a.MAC, b.MAC = usage.MAC{}, usage.MAC{}
	observe(t, l, at(100, oct), nil)
	got := observe(t, l, at(130, oct), nil, a, b)
	if got.Attributed != 1 || got.Unresolved.RxBytes != 20 || got.Deltas[0].MAC != mac || !got.Deltas[1].MAC.IsZero() {
		t.Errorf("got %+v", got)
	}
}

func TestRefused(t *testing.T) {
	l := ledger.New(ledger.Options{MaxRows: 2})
	if _, err := l.Observe(at(1, oct), dir{}); !errors.Is(err, ledger.ErrNoRows) {
		t.Errorf("without rows: %v", err)
	}
	observe(t, l, at(100, oct), nil, row(1, 80, 10))
	for name, c := range map[string]struct {
		look ledger.Look
		rows int
		want error
	}{
		"older":     {at(100, oct), 1, ledger.ErrStale},
		"too many":  {at(130, oct), 3, ledger.ErrTooMany},
		"no boot":   {ledger.Look{Source: ledger.Socket}, 1, ledger.ErrInvalid},
		"no source": {ledger.Look{Instant: ledger.Instant{Boot: "a", Since: 1}}, 1, ledger.ErrInvalid},
		"0.db of another life": {ledger.Look{Instant: ledger.Instant{Boot: "a", Since: 130 * time.Second},
			Source: ledger.Snapshot, Daemon: 131 * time.Second}, 1, ledger.ErrStale},
	} {
		for i := range c.rows {
			if i == 0 {
				l.Begin(0)
			}
			r := row(byte(i+1), 80, 10_000)
			l.Add(&r)
		}
		if _, err := l.Observe(c.look, dir{}); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	if b := observe(t, l, at(130, oct), nil, row(1, 80, 15)); sum(b.Deltas) != 5 {
		t.Errorf("after refused looks got %d bytes, want 5", sum(b.Deltas))
	}
}

func TestBefore(t *testing.T) {
	l := ledger.New(ledger.Options{KeepBefore: true})
	if b := observe(t, l, at(100, oct), nil, row(1, 80, 10)); sum(b.Before) != 10 || len(b.Deltas) != 0 {
		t.Errorf("got %d before and %d deltas, want 10 and none", sum(b.Before), len(b.Deltas))
	}
}

// steady is a table of n rows of which each look finds one in four grown.
func steady(n int) (next func() ledger.Look, l *ledger.Ledger, rows []usage.Record) {
	rows = nlbwmontest.Generate(n, 1)
	l = ledger.New(ledger.Options{})
	seconds := 100
	next = func() ledger.Look {
		seconds += 30
		for i := seconds / 30 % 4; i < len(rows); i += 4 {
			rows[i].RxBytes += 1400
			rows[i].RxPackets++
		}
		return at(seconds, oct)
	}
	return next, l, rows
}

func TestNoAllocation(t *testing.T) {
	next, l, rows := steady(1000)
	look := func() {
		o := next()
		l.Begin(0)
		for i := range rows {
			l.Add(&rows[i])
		}
		if _, err := l.Observe(o, nil); err != nil {
			t.Fatal(err)
		}
	}
	fill(l, rows)
	if _, err := l.Observe(next(), dir{}); err != nil {
		t.Fatal(err)
	}
	for range 8 {
		look()
	}
	if n := testing.AllocsPerRun(100, look); n > 0 {
		t.Errorf("got %v allocations a look, want none", n)
	}
}

func BenchmarkLook(b *testing.B) {
	for name, n := range map[string]int{"100": 100, "1000": 1000, "10000": 10_000} {
		b.Run(name, func(b *testing.B) {
			next, l, rows := steady(n)
			fill(l, rows)
			if _, err := l.Observe(next(), dir{}); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				o := next()
				fill(l, rows)
				if _, err := l.Observe(o, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
