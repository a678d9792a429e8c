package sqlite

import (
	"bytes"
	"context"
	"slices"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/store"
)

const (
	// maxCounted bounds the devices of a router that are counted one by one: a
	// device with a random address is a new one each day.
	maxCounted = 10_000
	// maxMoved bounds what is counted of a device at once, so that no sum
	// overflows: no link moves that many bytes in a day.
	maxMoved = 1 << 52
)

// The statements of counting.
const (
	countKnown = `UPDATE counters SET
		rx = min(1 << 62, rx + max(0, ?3 - rx_owed)), rx_owed = min(1 << 62, max(0, rx_owed - ?3)),
		tx = min(1 << 62, tx + max(0, ?4 - tx_owed)), tx_owed = min(1 << 62, max(0, tx_owed - ?4)) WHERE router = ?1 AND mac = ?2`
	countNew = `INSERT INTO counters (router, mac, rx, rx_owed, tx, tx_owed)
		VALUES (?1, ?2, max(0, ?3), max(0, -?3), max(0, ?4), max(0, -?4))`
	countAll = `SELECT count(*) FROM counters WHERE router = ?`
)

// CountDevices implements store.Store.
func (db *DB) CountDevices() { db.counting.Store(true) }

// DeviceCounters implements store.Store.
func (db *DB) DeviceCounters(ctx context.Context, limit int) (list []store.DeviceCounter, total int, err error) {
	if err := db.read.QueryRowContext(ctx, "SELECT count(*) FROM counters").Scan(&total); err != nil {
		return nil, 0, explain(err)
	}
	rows, err := db.read.QueryContext(ctx, `SELECT replicas.router, mac, rx, tx FROM counters JOIN replicas ON replicas.number = counters.router
		ORDER BY counters.number LIMIT ?`, limit)
	if err != nil {
		return nil, 0, explain(err)
	}
	defer rows.Close()
	list = make([]store.DeviceCounter, 0, min(limit, total))
	for rows.Next() {
		var c store.DeviceCounter
		var mac []byte
		if err := rows.Scan(&c.Router, &mac, &c.RxBytes, &c.TxBytes); err != nil {
			return nil, 0, explain(err)
		}
		copy(c.MAC[:], mac)
		list = append(list, c)
	}
	return list, total, explain(rows.Err())
}

// moved is by how much what is kept of a device grew in one push; less than
// zero if it was corrected.
type moved struct{ rx, tx int64 }

func (m *moved) add(rx, tx uint64, sign int64) {
	step := func(sum int64, n uint64) int64 {
		return max(-maxMoved, min(maxMoved, sum+sign*int64(min(n, maxMoved))))
	}
	m.rx, m.tx = step(m.rx, rx), step(m.tx, tx)
}

// count notes a bucket that is kept, or with sign -1 one that is removed. What
// has come of age was counted when it came first.
func (w *pushWriter) count(r *replicaRow, start int64, devices []usage.DeviceSum, sign int64) {
	if start < r.deletedTo {
		return
	}
	for i := range devices {
		d := &devices[i]
		m := w.moved[d.MAC]
		m.add(d.RxBytes, d.TxBytes, sign)
		w.moved[d.MAC] = m
	}
}

// uncount notes a packed bucket that is removed. Of one that is damaged nobody
// knows what it had.
func (w *pushWriter) uncount(r *replicaRow, start int64, packed []byte) {
	var s sums
	if s.unpack(packed, secDevice) == nil {
		w.count(r, start, s.bucket().Devices, -1)
	}
}

// keepCounts writes down what a push comes to.
func (w *pushWriter) keepCounts(r *replicaRow) error {
	if len(w.moved) == 0 {
		return nil
	}
	macs := make([]usage.MAC, 0, len(w.moved))
	for mac := range w.moved {
		macs = append(macs, mac)
	}
	slices.SortFunc(macs, func(a, b usage.MAC) int { return bytes.Compare(b[:], a[:]) }) // that of no device last, for what others leave to it
	if !macs[len(macs)-1].IsZero() {
		macs = append(macs, usage.MAC{})
	}
	known := -1 // devices of the router that are counted, once somebody wants to know
	for _, mac := range macs {
		m := w.moved[mac]
		if m == (moved{}) {
			continue
		}
		kept, err := w.keepCount(r, mac, m, &known)
		if err != nil {
			return err
		}
		if !kept {
			rest := w.moved[usage.MAC{}]
			rest.rx, rest.tx = rest.rx+m.rx, rest.tx+m.tx
			w.moved[usage.MAC{}] = rest
		}
	}
	clear(w.moved)
	return nil
}

// keepCount says whether the device is counted by itself.
func (w *pushWriter) keepCount(r *replicaRow, mac usage.MAC, m moved, known *int) (bool, error) {
	s := &w.db.stmts
	res, err := w.stmt(s.countKnown).ExecContext(w.ctx, r.number, mac[:], m.rx, m.tx)
	if err != nil {
		return false, err
	}
	if n, err := res.RowsAffected(); err != nil || n > 0 {
		return true, err
	}
	if *known < 0 {
		if err := w.stmt(s.countAll).QueryRowContext(w.ctx, r.number).Scan(known); err != nil {
			return false, err
		}
	}
	if *known >= maxCounted && !mac.IsZero() {
		return false, nil
	}
	*known++
	_, err = w.stmt(s.countNew).ExecContext(w.ctx, r.number, mac[:], m.rx, m.tx)
	return true, err
}
