package nlbwmon

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

// Interval says when nlbwmon begins a new period (struct interval in
// nlbwmon's timing.h). Types nlbwmon does not know are kept as read.
type Interval struct {
	Type  uint8 // IntervalMonthly or IntervalFixed
	Base  int64 // Unix time of a fixed interval's first day at 00:00 UTC; 0 for monthly
	Value int32 // monthly: day of month, counted from its end if <= 0; fixed: days
}

// The types of interval.
const (
	IntervalMonthly = 1
	IntervalFixed   = 2
)

const day = 24 * 60 * 60 // seconds

// ParseInterval reads what nlbwmon's -I takes: "1" is the first of each month,
// "-1" the day before the last, "2026-01-05/7" every seven days from then on.
// loc is the router's time zone: the base is midnight there, rounded down to
// midnight UTC as nlbwmon does. What nlbwmon refuses is a usage.Invalid error.
func ParseInterval(spec string, loc *time.Location) (Interval, error) {
	invalid := usage.Errorf(usage.Invalid, "%q is not an nlbwmon interval; write a day of month like 1 or -1, or first day and days like 2026-01-05/7", usage.Clean(spec, 64))
	if y, m, d, value, ok := scanFixed(spec); ok {
		if y < 2000 || y > 3000 || m < 1 || m > 12 || d < 1 || d > uint64(daysIn(int(y), time.Month(m))) || value <= 0 {
			return Interval{}, invalid
		}
		base := time.Date(int(y), time.Month(m), int(d), 0, 0, 0, 0, loc).Unix()
		return Interval{Type: IntervalFixed, Base: base - base%day, Value: value}, nil
	}
	value, err := strconv.ParseInt(strings.TrimLeft(spec, cSpace), 10, 32)
	if err != nil {
		return Interval{}, invalid
	}
	return Interval{Type: IntervalMonthly, Value: int32(value)}, nil
}

// scanFixed is sscanf(spec, "%4u-%2u-%2u/%d"): text after the number of days
// is not looked at.
func scanFixed(spec string) (year, month, mday uint64, value int32, ok bool) {
	r := strings.NewReader(spec)
	if year, ok = scanUint(r, 4); !ok || !scanByte(r, '-') {
		return 0, 0, 0, 0, false
	}
	if month, ok = scanUint(r, 2); !ok || !scanByte(r, '-') {
		return 0, 0, 0, 0, false
	}
	if mday, ok = scanUint(r, 2); !ok || !scanByte(r, '/') {
		return 0, 0, 0, 0, false
	}
	n, ok := scanUint(r, 0)
	return year, month, mday, int32(uint32(n)), ok
}

// String prints i as -I takes it, the base in UTC; "" for an unknown type.
func (i Interval) String() string {
	switch i.Type {
	case IntervalMonthly:
		return strconv.Itoa(int(i.Value))
	case IntervalFixed:
		return fmt.Sprintf("%s/%d", time.Unix(i.Base, 0).UTC().Format(time.DateOnly), i.Value)
	}
	return ""
}

// Period is what nlbwmon calls the period containing now, offset periods later
// (-1 is the previous one). now carries the router's time zone. It repeats
// interval_timestamp in nlbwmon's timing.c with its oddities: with a day <= 0
// going back from the last days of a month may name a period twice and skip
// another, and a fixed interval changes at midnight UTC but is named in local
// time. An interval nlbwmon cannot use gives 0.
func (i Interval) Period(now time.Time, offset int) Period {
	switch {
	case i.Type == IntervalMonthly:
		return i.monthly(now, offset)
	case i.Type == IntervalFixed && i.Value > 0:
		return i.fixed(now, offset)
	}
	return 0
}

func (i Interval) monthly(now time.Time, offset int) Period {
	year, month, today := now.Date()
	months := year*12 + int(month) - 1 + offset
	start := int64(i.Value)
	if start > 0 {
		// The day is not limited to the month's length.
		if int64(today) < start {
			months--
		}
	} else {
		if int64(today) < start+daysInMonths(months) {
			months--
		}
		start = max(start+daysInMonths(months), 1)
	}
	return period(int64(months/12), int64(months%12+1), start)
}

func (i Interval) fixed(now time.Time, offset int) Period {
	length := int64(i.Value) * day
	today := now.Unix() - now.Unix()%day + int64(offset)*length
	start := today - (today-i.Base)%length
	year, month, mday := time.Unix(start, 0).In(now.Location()).Date()
	return period(int64(year), int64(month), int64(mday))
}

func period(year, month, mday int64) Period { return Period(year*10000 + month*100 + mday) }

// daysInMonths is the length of the month that is n months after January of
// year 0.
func daysInMonths(n int) int64 { return int64(daysIn(n/12, time.Month(n%12+1))) }

// daysIn uses that day 0 of a month is the last of the one before.
func daysIn(year int, month time.Month) int {
	return time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC).Day()
}
