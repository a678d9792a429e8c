package zone

import "time"

const hourSecs = 3600

// Grid cuts time into a query's slots: from each midnight on, the last of a
// day being shorter where the resolution does not divide it, or whole days.
type Grid struct {
	loc  *time.Location
	secs int64 // below a day
	days int   // or this many days
	from int64 // the query's start, from whose day days are counted
	day  Span  // the day looked up last
	last Span  // of more than one day, the slot looked up last
}

// NewGrid makes a grid of the resolution, which is a multiple of five minutes
// below a day, or of 24 hours, which are calendar days. Several days are
// counted from the day of from on.
func NewGrid(loc *time.Location, resolution time.Duration, from int64) *Grid {
	g := &Grid{loc: loc, from: from, secs: int64(resolution / time.Second)}
	if resolution >= 24*time.Hour {
		g.days = int(resolution / (24 * time.Hour))
	}
	return g
}

// Location is the grid's zone.
func (g *Grid) Location() *time.Location { return g.loc }

// Slot is the grid's slot that has t.
func (g *Grid) Slot(t int64) Span {
	if g.days > 1 {
		return g.manyDays(t)
	}
	if !g.day.Has(t) {
		g.day = Day(g.loc, t)
	}
	if g.days == 1 {
		return g.day
	}
	start := t - (t-g.day.Start)%g.secs
	return Span{start, min(start+g.secs, g.day.End)}
}

func (g *Grid) manyDays(t int64) Span {
	if g.last.Has(t) {
		return g.last
	}
	y, m, d := time.Unix(g.from, 0).In(g.loc).Date()
	first := time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	y, m, d = time.Unix(Day(g.loc, t).Start, 0).In(g.loc).Date()
	// Not Sub, which ends at 292 years; from may be the zero time.
	n := (time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() - first.Unix()) / (24 * hourSecs)
	d -= int(n % int64(g.days)) // t is not before from
	g.last = Span{upToSlot(Midnight(g.loc, y, m, d)), upToSlot(Midnight(g.loc, y, m, d+g.days))}
	return g.last
}
