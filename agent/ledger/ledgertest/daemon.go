package ledgertest

import (
	"slices"
	"time"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
)

// Signal is how nlbwmon ends.
type Signal uint8

// The ends of nlbwmon.
const (
	Term Signal = iota // saves, removes 0.db
	Int                // saves, rewrites 0.db
	Kill               // saves nothing; 0.db of the last refresh stays
	Wipe               // as Kill, and someone removes 0.db
)

// Start starts nlbwmon: 0.db wins over the clock's period's file, and both
// become the table of the period of now. It stays down if it would refuse
// the file: a compressed one with more rows than the limit.
func (r *Router) Start() bool {
	if r.Daemon != 0 {
		return true
	}
	t := newTable(r.Limit)
	pristine := true
	now := r.clockPeriod()
	if r.snapshot != nil {
		t.load(r.fit(r.snapshot.rows))
		pristine = false
	} else if f := r.dir[now]; f != nil {
		if f.gz != nil && r.Limit > 0 && len(f.gz.rows) > r.Limit {
			return false
		}
		rows, _ := f.read()
		t.load(r.fit(rows))
		pristine = false
	}
	r.lives++
	r.compress = r.Compress
	r.Daemon, r.table, r.period, r.pristine = r.Now+time.Duration(r.lives), t, now, pristine
	r.nextRefresh, r.nextCommit = r.Now+r.Refresh, r.Now+r.Config.Commit
	r.WasFull = r.WasFull || r.AtLimit()
	return true
}

// fit is database_restore_mmap: rows above the limit are left out.
func (r *Router) fit(rows []usage.Record) []usage.Record {
	if r.Limit > 0 && len(rows) > r.Limit {
		return rows[:r.Limit]
	}
	return rows
}

// Stop ends nlbwmon.
func (r *Router) Stop(s Signal) {
	if r.Daemon == 0 {
		return
	}
	switch s {
	case Term:
		r.persist(r.clockPeriod())
		r.snapshot = nil
	case Int:
		r.persist(r.clockPeriod())
		r.snapshot = r.save()
	case Wipe:
		r.snapshot = nil
	}
	r.Daemon = 0
}

// PowerCut reboots the router with the clock as given: RAM is lost, and with
// it 0.db, the flows and, unless it is on flash, the database directory.
func (r *Router) PowerCut(clock time.Time) {
	r.Daemon, r.snapshot, r.flows = 0, nil, nil
	if !r.Flash {
		r.dir = map[nlbwmon.Period]*files{}
	}
	r.Boot++
	r.Now, r.wallOff = 0, clock
	r.Start()
}

// refresh is handle_refresh: no conntrack dump and no 0.db in the refresh
// that changes the period.
func (r *Router) refresh() {
	if !r.archive() {
		return
	}
	r.conntrack(false)
	r.snapshot = r.save()
}

// archive is database_archive: if the clock's period is later than the
// table's, the table is saved and emptied and open flows are inserted anew.
// It answers whether a refresh may go on.
func (r *Router) archive() bool {
	next := r.clockPeriod()
	if next <= r.period {
		return true
	}
	if r.pristine && r.dir[r.period] != nil {
		return false // "File exists": stays so until the next commit
	}
	r.write(r.period)
	r.RolledFrom = append(r.RolledFrom, r.period)
	r.table.empty()
	r.period = next
	r.conntrack(true)
	return false
}

// Commit is the socket's command; it refuses where a timed commit merges.
func (r *Router) Commit() bool {
	p := r.clockPeriod()
	if r.Daemon == 0 || r.pristine && r.dir[p] != nil {
		return false
	}
	r.write(p)
	return true
}

// persist is save_persistent, without the merge.
func (r *Router) persist(p nlbwmon.Period) {
	if r.pristine && r.dir[p] != nil {
		r.Merges++
		return
	}
	r.write(p)
}

func (r *Router) write(p nlbwmon.Period) {
	f := r.dir[p]
	if f == nil {
		f = &files{}
		r.dir[p] = f
	}
	if r.compress {
		f.gz = r.save()
	} else {
		f.plain = r.save()
	}
	r.pristine = false
}

func (r *Router) save() *saved {
	return &saved{rows: r.table.copyRows(), seen: Seen{len(r.Counted), len(r.RolledFrom), r.Daemon}, at: r.Now, wall: r.Wall()}
}

func (f *files) read() (rows []usage.Record, twofold bool) {
	if f.gz != nil {
		return f.gz.rows, f.plain != nil
	}
	return f.plain.rows, false
}

// Remove deletes a period's files.
func (r *Router) Remove(p nlbwmon.Period) { delete(r.dir, p) }

// periods are those that have a file, oldest first.
func (r *Router) periods() []nlbwmon.Period {
	names := make([]nlbwmon.Period, 0, len(r.dir))
	for p := range r.dir {
		names = append(names, p)
	}
	slices.Sort(names)
	return names
}
