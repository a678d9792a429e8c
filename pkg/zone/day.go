package zone

import "time"

// slotSecs is what all spans begin and end at a multiple of.
const slotSecs = 300

// Span is a span of Unix seconds, half-open.
type Span struct{ Start, End int64 }

// Has tells whether t lies in the span.
func (s Span) Has(t int64) bool { return s.Start <= t && t < s.End }

// Midnight is when a calendar day begins in loc. That is not always 00:00:
// some zones set their clock at midnight (Beirut, Cairo), which then does not
// exist, or exists twice.
func Midnight(loc *time.Location, year int, month time.Month, day int) time.Time {
	want := time.Date(year, month, day, 12, 0, 0, 0, loc).Day()
	t := time.Date(year, month, day, 0, 0, 0, 0, loc)
	start, end := t.ZoneBounds()
	if t.Day() != want && !end.IsZero() {
		return end
	}
	if !start.IsZero() {
		_, now := t.Zone()
		_, before := start.Add(-1).Zone()
		first := t.Add(time.Duration(now-before) * time.Second)
		if first.Before(start) && first.Day() == want {
			return first
		}
	}
	return t
}

// upToSlot rounds up to a multiple of slotSecs: a zone whose offset is none
// (local mean time) has its days begin up to five minutes late.
func upToSlot(t time.Time) int64 {
	s := t.Unix() + slotSecs - 1
	return s - (s%slotSecs+slotSecs)%slotSecs
}

// Day is the day of loc that has t.
func Day(loc *time.Location, t int64) Span {
	y, m, d := time.Unix(t, 0).In(loc).Date()
	return around(t, func(i int) int64 { return upToSlot(Midnight(loc, y, m, d+i)) })
}

// Month is the month of loc that has t.
func Month(loc *time.Location, t int64) Span {
	y, m, _ := time.Unix(t, 0).In(loc).Date()
	return around(t, func(i int) int64 { return upToSlot(Midnight(loc, y, m+time.Month(i), 1)) })
}

// around finds the span with t among those that begin at begin(-1), begin(0)
// and begin(1): rounding can move t out of the middle one.
func around(t int64, begin func(i int) int64) Span {
	s := Span{begin(0), begin(1)}
	switch {
	case t < s.Start:
		return Span{begin(-1), s.Start}
	case t >= s.End:
		return Span{s.End, begin(2)}
	}
	return s
}
