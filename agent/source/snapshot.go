package source

import (
	"os"
	"sync"
	"time"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
)

// readSnapshot reads the live table, if it is whole and younger than two
// refreshes.
func (r *Router) readSnapshot(sink usage.Sink) (Reading, error) {
	snap, err := r.Kept.read(r.SnapshotPath, r.Order, r.Now, sink)
	if err != nil {
		return Reading{}, err
	}
	age := r.Now().Sub(snap.ModTime)
	if age > 2*r.Refresh || age < -r.Refresh {
		return Reading{}, usage.Errorf(usage.Unavailable, "%s was written %s and nlbwmon refreshes every %s: stale, or the clock was set",
			r.SnapshotPath, snap.ModTime.In(r.Location).Format(time.RFC3339), r.Refresh)
	}
	return Reading{
		// The snapshot bears no period: nlbwmon means the one at the time of writing.
		Period:   snap.Header.Interval.Period(snap.ModTime.In(r.Location), 0),
		Interval: snap.Header.Interval,
		AsOf:     snap.ModTime,
		Order:    snap.Order,
		Guessed:  snap.Guessed,
	}, nil
}

// Refreshed is when nlbwmon last rewrote its snapshot, which it does at each
// refresh; a dump bears no time of its own.
func (r *Router) Refreshed() time.Time {
	if at, err := nlbwmon.SnapshotTime(r.SnapshotPath); err == nil && !at.After(r.Now()) {
		return at
	}
	return time.Time{}
}

// Kept is the last snapshot in memory: nlbwmon rewrites it every 30 s, and a
// backend asks more often. It costs 72 bytes a row. The zero Kept is empty; a
// nil one keeps nothing.
type Kept struct {
	mu   sync.Mutex // guards below
	snap nlbwmon.Snapshot
	size int64
	rows []usage.Record
}

// maxKept bounds the rows kept, twice nlbwmon's default limit.
const maxKept = 20_000

// settled is how old a snapshot must be to be kept: a second write within the
// clock's tick would leave the file's time as it was.
const settled = time.Second

// read is nlbwmon.ReadSnapshot, from memory where the file has not changed.
func (k *Kept) read(path string, order nlbwmon.AddrOrder, now func() time.Time, sink usage.Sink) (nlbwmon.Snapshot, error) {
	if k == nil {
		return nlbwmon.ReadSnapshot(path, order, func(_ nlbwmon.Header, rows int) { sink.Begin(rows) }, sink.Add)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	info, err := os.Stat(path)
	if err == nil && k.size > 0 && info.Size() == k.size && info.ModTime().Equal(k.snap.ModTime) {
		sink.Begin(len(k.rows))
		for i := range k.rows {
			sink.Add(&k.rows[i])
		}
		return k.snap, nil
	}
	k.size = 0 // nothing is kept until this reading is whole
	snap, err := nlbwmon.ReadSnapshot(path, order,
		func(_ nlbwmon.Header, rows int) {
			sink.Begin(rows)
			if k.rows = k.rows[:0]; cap(k.rows) < min(rows, maxKept) || cap(k.rows) > 2*rows {
				k.rows = make([]usage.Record, 0, min(rows, maxKept))
			}
		},
		func(rec *usage.Record) {
			sink.Add(rec)
			if len(k.rows) < maxKept {
				k.rows = append(k.rows, *rec)
			}
		})
	if err == nil && snap.Header.Entries <= maxKept && now().Sub(snap.ModTime) > settled {
		k.snap, k.size = snap, snap.Header.Size()
	} else {
		k.rows = nil
	}
	return snap, err
}
