package history

import (
	"github.com/netpilot/netpilot/pkg/sorting"
)

// find is the segment of the kind whose span has t, nil if there is none.
func (s *Store) find(k kind, t int64) *segment {
	for _, g := range s.segs {
		if g.kind == k && g.has(t) {
			return g
		}
	}
	return nil
}

// place finds the segment in which the five minutes that start at t are kept,
// making one if there is none, and the slot they belong to. Time that was
// compacted stays as coarse as it is: what comes late is added to its hour or
// its day.
func (s *Store) place(t int64) (*segment, span) {
	if g, slot, ok := s.placed(t); ok {
		return g, slot
	}
	g := s.find(fiveMin, t)
	switch {
	case g == nil:
		g = s.makeFiveMin(t)
	case g.written > int64(s.opts.MaxBytes)/4 && t > g.start:
		// One quarter of a day must not fill the store: go on in a new
		// segment, so that the old one can be compacted.
		rest := *g
		g = s.insert(&segment{kind: fiveMin, span: span{t, rest.end}, day: rest.day, month: rest.month})
	}
	return g, g.slot(t)
}

// placed is place without making anything.
func (s *Store) placed(t int64) (*segment, span, bool) {
	for _, k := range [...]kind{daily, hourly} {
		if g := s.find(k, t); g != nil {
			if _, ok := g.sealed(t); ok {
				return g, g.slot(t), true
			}
		}
	}
	return nil, span{}, false
}

// makeFiveMin makes the segment for t. Its day and month are the router's,
// unless t lies in one already begun in another zone, and do not overlap any:
// a new time zone takes effect with the next day.
func (s *Store) makeFiveMin(t int64) *segment {
	month, day, own := monthOf(s.opts.Location, t), dayOf(s.opts.Location, t), span{}
	var hasMonth, hasDay bool
	for _, g := range s.segs {
		if g.month.has(t) {
			month, hasMonth = g.month, true
		}
		if g.kind != daily && g.day.has(t) {
			day, hasDay = g.day, true
		}
	}
	for _, g := range s.segs {
		if !hasMonth {
			month = month.clip(g.month, t)
		}
		if !hasDay && g.kind != daily {
			day = day.clip(g.day, t)
		}
		if !hasDay && g.kind == daily {
			for _, sealed := range g.seals {
				day = day.clip(sealed, t)
			}
		}
	}
	if !hasDay {
		day = span{max(day.start, month.start), min(day.end, month.end)}
	}
	own = quarterOf(day, t)
	for _, g := range s.segs {
		if g.kind == fiveMin {
			own = own.clip(g.span, t)
		}
		if g.kind == hourly {
			for _, sealed := range g.seals {
				own = own.clip(sealed, t)
			}
		}
	}
	return s.insert(&segment{kind: fiveMin, span: own, day: day, month: month})
}

// parent is the segment that takes child's compaction, made if there is none.
func (s *Store) parent(child *segment) *segment {
	k := child.kind + 1
	if g := s.find(k, child.start); g != nil {
		return g
	}
	own := child.day
	if k == daily {
		own = child.month
	}
	for _, g := range s.segs {
		if g.kind == k {
			own = own.clip(g.span, child.start)
		}
	}
	return s.insert(&segment{kind: k, span: own, day: own, month: child.month})
}

// insert takes g up, with a name that no file has which is not ours to touch.
func (s *Store) insert(g *segment) *segment {
	for g.turn < maxTurn {
		if _, taken := s.foreign[g.name()]; !taken {
			break
		}
		g.turn++
	}
	s.segs = append(s.segs, g)
	sortSegments(s.segs)
	return g
}

// sortSegments sorts by kind and time. A segment ends where the next begins.
func sortSegments(segs []*segment) {
	sorting.Func(segs, func(a, b *segment) int {
		if a.kind != b.kind {
			return int(a.kind) - int(b.kind)
		}
		return int((a.start - b.start) / slotSecs)
	})
	for i, g := range segs[1:] {
		if before := segs[i]; before.kind == g.kind && before.start < g.start {
			before.end = min(before.end, g.start)
		}
	}
}
