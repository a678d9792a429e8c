package ledger

import (
	"slices"
	"time"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
)

// same books a look at the daemon of the last look: its table was counted on,
// overwritten at the limit, or emptied for a new period. Nothing else happens
// to a table in one life of nlbwmon.
func (l *Ledger) same(d change, fetch Fetcher) (mark, error) {
	// Within one life periods only grow: an older one is the clock's, not nlbwmon's.
	later := l.at.Period != 0 && l.last.period != 0 && l.at.Period > l.last.period
	switch {
	case later && l.at.Source == Socket && !l.last.doubted:
		return l.emptied(l.at.Period, fetch)
	case later && !d.setBack() && d.witness:
		// By the clock a new period, but nlbwmon has not yet begun it; or it had
		// at the last look, when only the clock was asked.
		return l.counted(d), nil
	case later && (!d.setBack() || l.mayEvict(l.cur)):
		begun, err := l.hasBegun(fetch)
		switch {
		case err != nil:
			return mark{}, err
		case begun:
			return l.emptied(l.at.Period, fetch)
		}
		// One of the two periods is told by the clock, and the rows do not say
		// whether nlbwmon has begun another one.
		l.batch.Flags |= PeriodChanged
		l.gap(Ambiguous, 0)
		m, err := l.fresh(fetch)
		if err == nil {
			l.book(rule{prev: true, back: true, added: true})
		}
		return m, err
	case later:
		return l.emptied(l.at.Period, fetch)
	case d.setBack() && !l.mayEvict(l.cur):
		l.gap(Hidden, 0)
		m, err := l.emptied(max(l.at.Period, l.last.period), fetch)
		m.doubted = true
		return m, err
	}
	return l.counted(d), nil
}

// hasBegun tells whether the old period's file shows that the table was
// emptied: the table counted on would reach each earlier copy of itself.
func (l *Ledger) hasBegun(fetch Fetcher) (bool, error) {
	if l.last.doubted || l.back || l.mayEvict(l.cur) {
		return false, nil
	}
	t := l.scratch()
	t.Begin(0)
	got, err := fetch.Fetch(l.last.period, t)
	if err != nil {
		return false, l.putOff(err)
	}
	if len(l.prev.rows)+len(t.rows) == 0 {
		return got == Whole, nil // as good as: there was nothing to empty
	}
	return got == Whole && l.prev.within(t) && !t.within(l.cur), nil
}

// counted books a look at a table that was only counted on, or overwritten at
// the limit: a row that was set back was overwritten and came again.
func (l *Ledger) counted(d change) mark {
	l.noteLimit(l.cur, d)
	l.book(rule{prev: true, back: true, added: true})
	return l.carry()
}

// noteLimit declares a gap if rows may have been overwritten unseen: always
// in a full table, except if no row is missing and one stood still. nlbwmon
// overwrites from the oldest row on, so then none was.
func (l *Ledger) noteLimit(t *table, d change) {
	switch {
	case l.full(t) && (d.setBack() || !d.witness):
		l.gap(Limit, 0)
	case l.at.Limit == UnknownLimit && d.setBack():
		l.gap(Limit, 0)
	}
}

// emptied books a period change: the old period's last bytes from its file,
// periods closed since then, and the new table from zero.
func (l *Ledger) emptied(now nlbwmon.Period, fetch Fetcher) (mark, error) {
	l.batch.Flags |= PeriodChanged
	m, err := l.fresh(fetch)
	if err != nil {
		return m, err
	}
	m.period = now
	closed, err := l.closed(now, fetch)
	if err != nil {
		return m, err
	}
	// A later period's file may be a copy of an earlier one's table, which
	// nlbwmon commits under the clock's period until it begins that. Then it is
	// older than the file with which the earlier one ended, and its own period
	// never began.
	ended := false
	var at time.Time
	for _, f := range closed {
		written := fetch.Written(f.period)
		switch {
		case f.period == l.last.period:
			ended, at = l.bookTail(f), written
		case !ended || at.IsZero() || written.Equal(at):
			l.gap(Ambiguous, f.period)
		case written.Before(at):
		default:
			at = written
			l.noteLimit(f.rows, change{})
			for n := range f.rows.rows {
				l.emit(&f.rows.rows[n], f.rows.rows[n].Counters())
			}
		}
	}
	l.noteLimit(l.cur, change{})
	l.book(rule{})
	return m, nil
}

// file is a closed period's rows as read.
type file struct {
	period nlbwmon.Period
	got    Fetched
	rows   *table
}

// closed reads the files of the period that ran at the last look and of those
// that began and ended since. Only names that were not there when the period
// began can be such: routers boot with a clock of the past, and then later
// periods' files are old.
func (l *Ledger) closed(now nlbwmon.Period, fetch Fetcher) ([]file, error) {
	if l.last.period == 0 || l.last.doubted || l.back {
		l.gap(Tail, 0)
		return nil, nil
	}
	wanted := []nlbwmon.Period{l.last.period}
	names, err := fetch.Periods()
	if err := l.putOff(err); err != nil {
		return nil, err
	}
	if err != nil {
		l.gap(Unread, 0)
	}
	slices.Sort(names)
	for _, p := range slices.Compact(names) {
		switch {
		case p <= l.last.period || p >= now:
		case !l.last.listed || len(wanted) > maxBetween || slices.Contains(l.last.later, p):
			l.gap(Ambiguous, p)
		default:
			wanted = append(wanted, p)
		}
	}
	var files []file
	for _, p := range wanted {
		f := file{period: p, rows: l.scratch()}
		f.rows.Begin(0)
		if f.got, err = fetch.Fetch(p, f.rows); err != nil {
			if err := l.putOff(err); err != nil {
				return nil, err
			}
			l.gap(Unread, p)
			continue
		}
		if f.got != Whole {
			l.gap(Tail, p)
		}
		if f.got == Whole || f.got == Damaged {
			files = append(files, f)
		}
	}
	return files, nil
}

// bookTail books what the old period's file has above the last look: within a
// life and while the clock is not set back nlbwmon writes no other table under
// that name. It books nothing and answers false if the file is older than the
// last look.
func (l *Ledger) bookTail(f file) bool {
	d := f.rows.since(l.prev)
	evicts := l.mayEvict(f.rows)
	switch {
	case d.back > 0 && !evicts, d.gone > 0 && !evicts && f.got != Damaged:
		l.gap(Tail, f.period)
		return false
	case d.added == 0 && !l.moved(f.rows):
		return f.got == Whole && !evicts // nothing to book: whichever copy it is
	}
	l.noteLimit(f.rows, d)
	for n := range f.rows.rows {
		row := &f.rows.rows[n]
		p := l.prev.find(row)
		switch {
		case p != nil && reaches(row, p):
			l.emit(row, less(row.Counters(), p))
		case p == nil && !evicts && f.got == Whole:
			l.emit(row, row.Counters())
		default:
			// The file may be an older one, from before the row was overwritten.
			l.gap(Tail, f.period)
		}
	}
	return f.got == Whole && !evicts
}

// moved tells whether a row of t stands higher than at the last look.
func (l *Ledger) moved(t *table) bool {
	for i := range t.rows {
		if p := l.prev.find(&t.rows[i]); p != nil && p.Counters() != t.rows[i].Counters() {
			return true
		}
	}
	return false
}
