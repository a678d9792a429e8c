package history

import "time"

// midnight is when a calendar day begins in loc. That is not always 00:00:
// some zones set their clock at midnight (Beirut, Cairo), which then does not
// exist, or exists twice.
func midnight(loc *time.Location, year int, month time.Month, day int) time.Time {
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
	return s - mod(s, slotSecs)
}

// mod is the remainder that is never negative.
func mod(a, b int64) int64 { return (a%b + b) % b }

// dayOf is the router's day that has t.
func dayOf(loc *time.Location, t int64) span {
	y, m, d := time.Unix(t, 0).In(loc).Date()
	return around(t, func(i int) int64 { return upToSlot(midnight(loc, y, m, d+i)) })
}

// monthOf is the router's month that has t.
func monthOf(loc *time.Location, t int64) span {
	y, m, _ := time.Unix(t, 0).In(loc).Date()
	return around(t, func(i int) int64 { return upToSlot(midnight(loc, y, m+time.Month(i), 1)) })
}

// around finds the span with t among those that begin at begin(-1), begin(0)
// and begin(1): rounding can move t out of the middle one.
func around(t int64, begin func(i int) int64) span {
	s := span{begin(0), begin(1)}
	switch {
	case t < s.start:
		return span{begin(-1), s.start}
	case t >= s.end:
		return span{s.end, begin(2)}
	}
	return s
}

const quarterSecs = 6 * hourSecs

// quarterOf is the quarter of the day that has t: 6 hours, the last one also
// 5 or 7.
func quarterOf(day span, t int64) span {
	q := min((t-day.start)/quarterSecs, 3)
	s := span{day.start + q*quarterSecs, day.start + (q+1)*quarterSecs}
	if q == 3 || s.end > day.end {
		s.end = day.end
	}
	return s
}
