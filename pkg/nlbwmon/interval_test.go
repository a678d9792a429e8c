package nlbwmon_test

import (
	"encoding/binary"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
)

func utc(year int, month time.Month, day, hour int) time.Time {
	return time.Date(year, month, day, hour, 0, 0, 0, time.UTC)
}

// generations are the recorded daemons with several periods: option -I and
// clock.
var generations = map[string]struct {
	spec  string
	clock time.Time
}{
	"generations-monthly":      {"1", utc(2026, 11, 23, 12)},
	"generations-gap":          {"1", utc(2026, 11, 23, 12)},
	"generations-day-31":       {"31", utc(2026, 11, 23, 12)},
	"generations-negative-day": {"-1", utc(2026, 11, 30, 12)},
	"generations-ndays":        {"2026-01-05/7", utc(2026, 11, 24, 8)},
}

// The names are those the daemon listed, and its headers hold the interval.
func TestPeriodAgreesWithList(t *testing.T) {
	for name, g := range generations {
		interval, err := nlbwmon.ParseInterval(g.spec, time.UTC)
		if err != nil {
			t.Fatal(err)
		}
		if interval.String() != g.spec {
			t.Errorf("%s: got %q back, want %q", name, interval, g.spec)
		}
		h, _ := decode(t, load(t, filepath.Join(recordings, name, "raw/dump0.bin")), nlbwmon.OrderLittle)
		if h.Interval != interval {
			t.Errorf("%s: got interval %+v in the header, want %+v", name, h.Interval, interval)
		}
		list := load(t, filepath.Join(recordings, name, "raw/list.bin"))
		for i := 0; len(list) > 0; i, list = i-1, list[4:] {
			if got, want := interval.Period(g.clock, i), nlbwmon.Period(binary.LittleEndian.Uint32(list)); got != want {
				t.Errorf("%s, %d back: got %v, want %v", name, -i, got, want)
			}
		}
	}
}

// At 2026-11-29 a period counted from the month's end is named twice.
func TestPeriodNamedTwice(t *testing.T) {
	want := strings.Fields(string(load(t, recordings+"/generations-negative-day/list-at-2026-11-29.out")))
	interval := nlbwmon.Interval{Type: nlbwmon.IntervalMonthly, Value: -1}
	var got []string
	for i := range want {
		got = append(got, interval.Period(utc(2026, 11, 29, 12), -i).String())
	}
	if !slices.Equal(got, want) || len(want) < 3 || want[1] != want[2] {
		t.Errorf("got %v, want %v with a name twice", got, want)
	}
}

func TestPeriod(t *testing.T) {
	east, west := time.FixedZone("", 2*3600), time.FixedZone("", -5*3600)
	for _, tt := range []struct {
		spec   string
		now    time.Time
		offset int
		want   nlbwmon.Period
	}{
		{"1", utc(2026, 1, 1, 0), 0, 20260101},
		{"1", utc(2026, 1, 1, 0), -1, 20251201},
		{"1", utc(2026, 1, 1, 0), -13, 20241201},
		{"1", utc(2026, 12, 31, 23), 1, 20270101},
		{"1", time.Date(2026, 12, 1, 1, 0, 0, 0, east), 0, 20261201}, // local month, still November in UTC
		{"1", time.Date(2026, 11, 30, 23, 0, 0, 0, west), 0, 20261101},
		{"15", utc(2026, 1, 14, 12), 0, 20251215},
		{"15", utc(2026, 1, 15, 0), 0, 20260115},
		{"31", utc(2026, 3, 1, 0), 0, 20260231}, // no such day
		{"99", utc(2026, 3, 31, 0), 0, 20260299},
		{"0", utc(2026, 2, 28, 12), 0, 20260228}, // last day
		{"0", utc(2028, 2, 28, 12), 0, 20280131}, // leap year
		{"0", utc(2026, 11, 30, 0), 0, 20261130},
		{"-1", utc(2026, 11, 29, 0), 0, 20261129}, // the day before the last
		{"-1", utc(2026, 11, 28, 0), 0, 20261030},
		{"-2", utc(2026, 11, 28, 0), 0, 20261128},
		{"-100", utc(2026, 11, 1, 0), 0, 20261101},
		{"-2147483648", utc(2026, 11, 1, 0), 0, 20261101},

		{"2026-01-05/7", utc(2026, 1, 5, 0), 0, 20260105},
		{"2026-01-05/7", utc(2026, 1, 11, 23), 0, 20260105},
		{"2026-01-05/7", utc(2026, 1, 12, 0), 0, 20260112},
		{"2026-01-05/7", utc(2026, 1, 12, 0), -2, 20251229},  // before the base, in whole steps
		{"2026-12-07/7", utc(2026, 11, 23, 12), 0, 20261123}, // base in the future
		// In other zones the name is the day before, and periods change at
		// midnight UTC: here at 02:00 and at 19:00.
		{"2026-01-05/7", time.Date(2026, 1, 12, 12, 0, 0, 0, east), 0, 20260111},
		{"2026-01-05/7", time.Date(2026, 1, 11, 1, 0, 0, 0, east), 0, 20260104},
		{"2026-01-05/7", time.Date(2026, 1, 11, 3, 0, 0, 0, east), 0, 20260111},
		{"2026-01-05/7", time.Date(2026, 1, 11, 18, 0, 0, 0, west), 0, 20260104},
		{"2026-01-05/7", time.Date(2026, 1, 11, 20, 0, 0, 0, west), 0, 20260111},
	} {
		interval, err := nlbwmon.ParseInterval(tt.spec, tt.now.Location())
		if err != nil {
			t.Fatal(err)
		}
		if got := interval.Period(tt.now, tt.offset); got != tt.want {
			t.Errorf("%s at %v, offset %d: got %v, want %v", tt.spec, tt.now, tt.offset, got, tt.want)
		}
	}
}

// What a damaged header may hold is harmless.
func TestPeriodOfUnusableInterval(t *testing.T) {
	for _, i := range []nlbwmon.Interval{{}, {Type: 9, Value: 1}, {Type: nlbwmon.IntervalFixed}, {Type: nlbwmon.IntervalFixed, Value: -7}} {
		if got := i.Period(utc(2026, 11, 23, 0), 0); got != 0 {
			t.Errorf("%+v: got %v, want 0", i, got)
		}
		if s := i.String(); i.Type == 9 && s != "" {
			t.Errorf("%+v: got %q", i, s)
		}
	}
	extreme := nlbwmon.Interval{Type: nlbwmon.IntervalFixed, Base: -1 << 63, Value: 1<<31 - 1}
	_ = extreme.Period(utc(2026, 11, 23, 0), -1<<31) // does not panic
}

func TestParseInterval(t *testing.T) {
	fixed := nlbwmon.Interval{Type: nlbwmon.IntervalFixed, Base: utc(2026, 1, 5, 0).Unix(), Value: 7}
	for spec, want := range map[string]nlbwmon.Interval{
		"1":               {Type: nlbwmon.IntervalMonthly, Value: 1},
		" +31":            {Type: nlbwmon.IntervalMonthly, Value: 31},
		"-1":              {Type: nlbwmon.IntervalMonthly, Value: -1},
		"0":               {Type: nlbwmon.IntervalMonthly},
		"2026-01-05/7":    fixed,
		"2026-1-5/7":      fixed,
		"2026-01-05/7abc": fixed,
		" 2026- 1- 5/ 7":  fixed,
	} {
		if got, err := nlbwmon.ParseInterval(spec, time.UTC); err != nil || got != want {
			t.Errorf("%q: got %+v, %v, want %+v", spec, got, err, want)
		}
	}
	for _, spec := range []string{
		"", "x", "1x", "1 ", "2026-01-05", "2026-01-05/", "2026-01-05/0", "2026-01-05/-7", "1999-01-05/7", "3001-01-05/7",
		"2026-00-05/7", "2026-13-05/7", "2026-02-29/7", "2026-01-00/7", "2026-01-005/7", "20260-1-05/7", "99999999999",
	} {
		if got, err := nlbwmon.ParseInterval(spec, time.UTC); usage.KindOf(err) != usage.Invalid || err == nil {
			t.Errorf("%q: got %+v, %v, want a usage.Invalid error", spec, got, err)
		}
	}
}

func TestParsePeriod(t *testing.T) {
	for s, want := range map[string]nlbwmon.Period{"20261101": 20261101, "2026-11-01": 20261101, "2026-09-31": 20260931, "20260299": 20260299} {
		p, err := nlbwmon.ParsePeriod(s)
		if err != nil || p != want {
			t.Errorf("%q: got %d, %v, want %d", s, p, err, want)
		}
	}
	if got := nlbwmon.Period(20260931).String(); got != "2026-09-31" {
		t.Errorf("got %q", got)
	}
	for _, s := range []string{"", "0", "0.db", "2026-1-1", "2026110", "202611011", "20261301", "20260001", "20261100", "2026-11-0x", "2026/11/01", "-2026-1-01", "٢٠٢٦١١٠١"} {
		if p, err := nlbwmon.ParsePeriod(s); usage.KindOf(err) != usage.Invalid || err == nil {
			t.Errorf("%q: got %d, %v, want a usage.Invalid error", s, p, err)
		}
	}
}
