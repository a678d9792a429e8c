package history

import (
	"time"

	"github.com/netpilot/netpilot/pkg/zone"
)

// mod is the remainder that is never negative.
func mod(a, b int64) int64 { return (a%b + b) % b }

// dayOf is the router's day that has t.
func dayOf(loc *time.Location, t int64) span {
	d := zone.Day(loc, t)
	return span{d.Start, d.End}
}

// monthOf is the router's month that has t.
func monthOf(loc *time.Location, t int64) span {
	m := zone.Month(loc, t)
	return span{m.Start, m.End}
}

// grid is the grid of a query's slots.
type grid struct{ *zone.Grid }

func (g grid) slot(t int64) span {
	s := g.Slot(t)
	return span{s.Start, s.End}
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
