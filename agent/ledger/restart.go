package ledger

import (
	"github.com/netpilot/netpilot/pkg/usage"
)

// restarted books a look at another life of nlbwmon. It begins with 0.db if
// there is one, which is the table of at most one refresh before the end of
// the last life; else with the file of the clock's period; else with nothing.
func (l *Ledger) restarted(d change, fetch Fetcher) (mark, error) {
	l.batch.Flags |= Restarted
	l.gap(Restart, 0)
	if l.at.Period != 0 && l.last.period != 0 && l.at.Period != l.last.period {
		l.batch.Flags |= PeriodChanged
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

// origin is the rule for a table that a restarted nlbwmon has filled.
func (l *Ledger) origin(d change, fetch Fetcher) (rule, error) {
	if !l.last.settled {
		// 0.db may still hold the period before, whose rows are not known any more.
		return rule{withheld: true}, nil
	}
	if !l.notSnapshot(d) && l.savedBelow() {
		return rule{prev: true, added: true}, nil
	}
	clear, err := l.readSaved(fetch)
	switch {
	case err != nil:
		return rule{}, err
	case !clear:
		return rule{withheld: true}, nil
	case l.notSnapshot(d) && !l.unlike:
		return rule{saved: true}, nil
	}
	// Rows overwritten before a look through the socket may be back from an
	// older 0.db.
	evicted := l.last.source == Socket && (l.mayEvict(l.cur) || l.at.Limit != l.last.limit)
	return rule{prev: true, added: !evicted, saved: true}, nil
}

// notSnapshot tells whether 0.db is ruled out as what nlbwmon began with: the
// last look was at 0.db itself, which only grows, and rows are missing.
func (l *Ledger) notSnapshot(d change) bool {
	return l.last.source == Snapshot && d.setBack() && !l.mayEvict(l.cur) && l.at.Limit == l.last.limit
}

// savedBelow tells whether all that nlbwmon can have begun with held, at the
// last look, no more than the table: 0.db and the file of a period that the
// clock did not leave. What lies above the last look's rows is then new,
// however often nlbwmon ended, saved or not.
func (l *Ledger) savedBelow() bool {
	return l.last.below && !l.last.doubted && !l.back && l.at.Period == l.last.period &&
		!l.mayEvict(l.cur) && l.at.Limit == l.last.limit
}

// rebooted books the first look after the router's restart. 0.db lay in RAM,
// so nlbwmon began with a committed file or with nothing; what it counted
// since then is new.
func (l *Ledger) rebooted(fetch Fetcher) (mark, error) {
	l.batch.Flags |= Rebooted | Restarted
	l.gap(Reboot, 0)
	m, err := l.fresh(fetch)
	if err != nil {
		return m, err
	}
	clear, err := l.readSaved(fetch)
	if err != nil {
		return m, err
	}
	if l.known && l.last.period != m.period {
		l.batch.Flags |= PeriodChanged
	}
	// A file that the table has not grown from was saved by a life that ended
	// since: nlbwmon went on from a 0.db of before, and nobody knows from what
	// that had grown. In a full table the file may lack a row that the 0.db had.
	again := l.unlike || l.mayEvict(l.cur) && l.floor != nil && len(l.floor.rows) > 0
	l.book(rule{saved: true, withheld: !clear || again})
	return m, nil
}

// readSaved fills the floor with what nlbwmon may have started from: each file
// whose rows the table could have grown from. It need not be the period's own,
// since the clock may have been set since. In a full table rows may have been
// overwritten, so there every file counts. clear is false if
// nothing is known, as when a file cannot be read whole.
func (l *Ledger) readSaved(fetch Fetcher) (clear bool, err error) {
	if l.at.Source == Snapshot && l.mayEvict(l.cur) {
		// A commit newer than the snapshot may lack a row that was overwritten in between.
		return false, nil
	}
	l.floor = l.scratch()
	l.floor.Begin(0)
	names, err := fetch.Periods()
	if err != nil {
		l.gap(Unread, 0)
		return false, l.putOff(err)
	}
	for _, p := range names {
		t := newTable(l.cur.seed, l.opts.MaxRows)
		t.Begin(0)
		got, err := fetch.Fetch(p, t)
		if err != nil {
			l.gap(Unread, p)
			return false, l.putOff(err)
		}
		// What is cut off of a file newer than the snapshot cannot be compared.
		cut := (got == Damaged || got == Both) && l.at.Source == Snapshot
		if got == Gone || !cut && !l.mayEvict(l.cur) && !l.mayBegin(t) {
			// nlbwmon may have begun with it all the same, if it ended twice.
			l.unlike = l.unlike || got != Gone && (p == l.at.Period || p == l.last.period)
			continue
		}
		if got == Damaged || got == Both || t.over {
			l.gap(Unread, p)
			return false, nil
		}
		for i := range t.rows {
			l.floorRow(&t.rows[i])
		}
	}
	return true, nil
}

// mayBegin tells whether nlbwmon may have begun with t. A commit may be newer
// than the snapshot that was read; then the table lies below t.
func (l *Ledger) mayBegin(t *table) bool {
	return t.within(l.cur) || l.at.Source == Snapshot && l.cur.within(t)
}

// floorRow lifts the floor to r.
func (l *Ledger) floorRow(r *usage.Record) {
	if have := l.floor.find(r); have != nil {
		raise(have, r)
		return
	}
	l.floor.Add(r)
}
