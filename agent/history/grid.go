package history

import "time"

// grid cuts time into a query's slots: from each midnight on, the last of a
// day being shorter where the resolution does not divide it, or whole days.
type grid struct {
	loc  *time.Location
	secs int64 // below a day
	days int   // or this many days
	from int64 // the query's start, from whose day days are counted
	day  span  // the day looked up last
	last span  // of more than one day, the slot looked up last
}

func newGrid(loc *time.Location, resolution time.Duration, from int64) *grid {
	g := &grid{loc: loc, from: from, secs: int64(resolution / time.Second)}
	if resolution >= 24*time.Hour {
		g.days = int(resolution / (24 * time.Hour))
	}
	return g
}

// slot is the grid's slot that has t.
func (g *grid) slot(t int64) span {
	if g.days > 1 {
		return g.manyDays(t)
	}
	if !g.day.has(t) {
		g.day = dayOf(g.loc, t)
	}
	if g.days == 1 {
		return g.day
	}
	start := t - (t-g.day.start)%g.secs
	return span{start, min(start+g.secs, g.day.end)}
}

func (g *grid) manyDays(t int64) span {
	if g.last.has(t) {
		return g.last
	}
	y, m, d := time.Unix(g.from, 0).In(g.loc).Date()
	first := time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	y, m, d = time.Unix(dayOf(g.loc, t).start, 0).In(g.loc).Date()
	// Not Sub, which ends at 292 years; from may be the zero time.
	n := (time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() - first.Unix()) / (24 * hourSecs)
	d -= int(n % int64(g.days)) // t is not before from
	g.last = span{upToSlot(midnight(g.loc, y, m, d)), upToSlot(midnight(g.loc, y, m, d+g.days))}
	return g.last
}
