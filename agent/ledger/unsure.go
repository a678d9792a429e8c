package ledger

// unsure books a look when it is not known whether nlbwmon restarted since
// the last one: where a restart could explain the rows it is assumed, if that
// counts less.
func (l *Ledger) unsure(d change, fetch Fetcher) (mark, error) {
	moved := l.at.Period != 0 && l.last.period != 0 && l.at.Period != l.last.period
	// Another limit is another life, and the one before may have overwritten
	// rows at its own.
	grown := !moved && !d.setBack() && l.at.Limit == l.last.limit
	switch {
	case grown && (d.added == 0 || !l.mayEvict(l.cur)):
		return l.onward(d), nil
	case l.at.Period > l.last.period && moved && l.notSnapshot(d):
		// A new period, unless a file tells of a start from it.
		clear, err := l.readSaved(fetch)
		if err != nil {
			return mark{}, err
		}
		if clear && len(l.floor.rows) == 0 {
			return l.emptied(l.at.Period, fetch)
		}
	case !moved && l.mayEvict(l.cur) && l.last.source == Snapshot && l.last.limit == l.at.Limit:
		// Overwritten rows begin from zero, or nlbwmon from a file.
		l.gap(Limit, 0)
		clear, err := l.readSaved(fetch)
		if err != nil {
			return mark{}, err
		}
		l.book(rule{prev: true, back: true, added: true, saved: true, withheld: !clear})
		return l.carry(), nil
	}
	l.gap(Ambiguous, 0)
	if moved {
		l.batch.Flags |= PeriodChanged
	}
	if d.setBack() && !l.mayEvict(l.cur) {
		l.batch.Flags |= Restarted
	}
	m, err := l.fresh(fetch)
	if err != nil {
		return m, err
	}
	r, err := l.origin(d, fetch)
	if err != nil {
		return m, err
	}
	l.book(r)
	return m, nil
}

// onward books a look at a table that seems counted on. While 0.db may hold
// the old period's table, a restart could have brought that back: then the
// rows are large and nothing tells.
func (l *Ledger) onward(d change) mark {
	if !l.last.settled {
		l.gap(Ambiguous, 0)
		return l.carry()
	}
	return l.counted(d)
}
