package sqlite

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/zone"
	"github.com/netpilot/netpilot/relay/store"
)

// kept is a replica as a query sees it.
type kept struct {
	store.Replica
	number int64
	open   []openBucket
	loc    *time.Location
}

// replica reads the router's replica. The number is 0 if there is none.
func replica(ctx context.Context, db querier, router usage.RouterID) (k kept, err error) {
	var pushed, asOf, through, countingAt int64
	var open []byte
	var counting sql.NullString
	var tz string
	err = db.QueryRowContext(ctx, `SELECT coalesce(number, 0), coalesce(cursor, 0), coalesce(pushed_at, 0), coalesce(as_of, 0),
		coalesce(through, 0), open, counting, coalesce(counting_at, 0), timezone
		FROM routers LEFT JOIN replicas ON router = id WHERE id = ?`, router).
		Scan(&k.number, &k.Cursor, &pushed, &asOf, &through, &open, &counting, &countingAt, &tz)
	if err != nil {
		return k, missing(err, "router %s is not enrolled here", router.Short())
	}
	k.PushedAt, k.AsOf, k.CountingAt = moment(pushed), moment(asOf), moment(countingAt)
	if through != 0 {
		k.Through = time.Unix(through, 0).UTC()
	}
	if counting.Valid {
		k.Counting = json.RawMessage(counting.String)
	}
	if k.loc, err = zone.Parse(tz); err != nil {
		k.loc = time.UTC // of a router that never said, or says nonsense
	}
	k.open, err = unpackOpen(open)
	return k, err
}

// Replica implements store.Store.
func (db *DB) Replica(ctx context.Context, router usage.RouterID) (store.Replica, error) {
	k, err := replica(ctx, db.read, router)
	return k.Replica, err
}

// windowRows is how many packed rows are read at once, two days of the
// finest: no more are in memory, and no read lasts as long as its reader likes
// to take, which would keep a connection and let the WAL grow.
const windowRows = 600

// History implements store.Store.
func (db *DB) History(ctx context.Context, router usage.RouterID, q store.HistoryQuery, visit func(usage.Slot) error) (store.HistoryInfo, error) {
	var info store.HistoryInfo
	if err := q.Check(); err != nil {
		return info, err
	}
	k, err := replica(ctx, db.read, router)
	if err != nil {
		return info, err
	}
	a := &answer{q: &q, visit: visit, k: &k, grid: zone.NewGrid(k.loc, q.Resolution, q.From.Unix())}
	a.info.Replica = k.Replica
	if k.number == 0 {
		return a.info, nil
	}
	to := unixUp(q.To)
	open := k.open
	for from := unixUp(q.From); from < to; {
		rows, next, err := db.window(ctx, &k, from, to)
		if err != nil {
			return a.info, err
		}
		for len(open) > 0 && open[0].start < from {
			open = open[1:]
		}
		n := 0
		for n < len(open) && open[n].start < next {
			n++
		}
		for _, r := range overlay(rows, open[:n], k.open) {
			if err := a.add(r); err != nil {
				return a.info, err
			}
		}
		open, from = open[n:], next
	}
	return a.info, a.emit()
}

// unixUp is the first full second not before t.
func unixUp(t time.Time) int64 {
	if t.Nanosecond() > 0 {
		return t.Unix() + 1
	}
	return t.Unix()
}

// window reads the first rows that start in [from, to), and tells up to where
// they reach: that is a midnight, so that a sum of finer rows that takes their
// place meanwhile is seen in whole or not at all.
func (db *DB) window(ctx context.Context, k *kept, from, to int64) (list []openBucket, next int64, err error) {
	rows, err := db.read.QueryContext(ctx, `SELECT start, length, data FROM buckets
		WHERE router = ? AND start >= ? AND start < ? ORDER BY start LIMIT ?`, k.number, from, to, windowRows)
	if err != nil {
		return nil, 0, explain(err)
	}
	defer rows.Close()
	for rows.Next() {
		var r openBucket
		if err := rows.Scan(&r.start, &r.length, &r.data); err != nil {
			return nil, 0, explain(err)
		}
		list = append(list, r)
	}
	if len(list) == windowRows {
		to = list[windowRows-1].start + 1
		if day := zone.Day(k.loc, to-1).Start; day > list[0].start {
			to = day
			list = slices.DeleteFunc(list, func(r openBucket) bool { return r.start >= day })
		}
	}
	return list, to, explain(rows.Err())
}

// overlay puts open buckets in the place of the rows within their spans. all
// are the open ones also before and after the window.
func overlay(rows, open, all []openBucket) []openBucket {
	if len(all) == 0 {
		return rows
	}
	list := slices.DeleteFunc(rows, func(r openBucket) bool {
		return slices.ContainsFunc(all, func(o openBucket) bool {
			return r.start >= o.start && r.start+r.length <= o.start+o.length
		})
	})
	list = append(list, open...)
	slices.SortStableFunc(list, func(a, b openBucket) int { return cmp.Compare(a.start, b.start) })
	return list
}

// answer is one query's work.
type answer struct {
	q     *store.HistoryQuery
	visit func(usage.Slot) error
	k     *kept
	grid  *zone.Grid
	info  store.HistoryInfo
	slot  zone.Span // that is summed
	sum   sums
	any   bool // something was summed
}

// section is the one that answers the query.
func (a *answer) section() int {
	switch {
	case a.q.By == store.Quarantined:
		return secQuarantined
	case a.q.By == store.Device, a.q.MAC != nil:
		return secDevice
	case a.q.By == store.Service, a.q.Service != "":
		return secService
	}
	return secFamily // whose sum is the total
}

func (a *answer) add(r openBucket) error {
	slot := a.grid.Slot(r.start)
	if r.start+r.length > slot.End {
		slot = zone.Span{Start: r.start, End: r.start + r.length} // longer than asked for
	}
	if slot != a.slot {
		if err := a.emit(); err != nil {
			return err
		}
		a.slot = slot
	}
	a.any = true
	return a.sum.unpack(r.data, a.section())
}

// emit gives the slot that was summed.
func (a *answer) emit() error {
	if !a.any {
		return nil
	}
	defer func() {
		a.any = false
		a.sum.clear()
	}()
	slot := usage.Slot{Start: time.Unix(a.slot.Start, 0).In(a.k.loc), Length: time.Duration(a.slot.End-a.slot.Start) * time.Second}
	coarser := a.grid.Slot(a.slot.Start) != a.slot
	give := func(c usage.Counters) error {
		slot.Counters = c
		a.info.Slots++
		a.info.Coarser = a.info.Coarser || coarser
		return a.visit(slot)
	}
	switch a.section() {
	case secQuarantined:
		return a.devices(&a.sum.quarantined, &slot, give)
	case secDevice:
		return a.devices(&a.sum.devices, &slot, give)
	case secService:
		return a.services(&slot, give)
	}
	return a.families(&slot, give)
}

func (a *answer) devices(s *sum[usage.MAC], slot *usage.Slot, give func(usage.Counters) error) error {
	if a.q.MAC != nil {
		i, ok := s.at[*a.q.MAC]
		if !ok {
			return nil
		}
		if a.q.By != store.Total {
			slot.MAC = *a.q.MAC
		}
		return give(s.sums[i])
	}
	return s.each(func(x, y usage.MAC) int { return bytes.Compare(x[:], y[:]) }, func(m usage.MAC, c usage.Counters) error {
		slot.MAC = m
		return give(c)
	})
}

func (a *answer) services(slot *usage.Slot, give func(usage.Counters) error) error {
	if a.q.Service != "" {
		i, ok := a.sum.services.at[a.q.Service]
		if !ok {
			return nil
		}
		if a.q.By != store.Total {
			slot.Service = a.q.Service
		}
		return give(a.sum.services.sums[i])
	}
	return a.sum.services.each(cmp.Compare[string], func(name string, c usage.Counters) error {
		slot.Service = name
		return give(c)
	})
}

func (a *answer) families(slot *usage.Slot, give func(usage.Counters) error) error {
	f := &a.sum.families
	if a.q.By == store.Total {
		var total usage.Counters
		for i := range f.sums {
			total.Add(f.sums[i])
		}
		if len(f.sums) == 0 {
			return nil // only quarantined
		}
		return give(total)
	}
	return f.each(cmp.Compare[uint8], func(family uint8, c usage.Counters) error {
		slot.Family = family
		return give(c)
	})
}

// each visits the subjects in order.
func (s *sum[K]) each(compare func(a, b K) int, visit func(K, usage.Counters) error) error {
	for _, k := range slices.SortedFunc(slices.Values(s.keys), compare) {
		if err := visit(k, s.sums[s.at[k]]); err != nil {
			return err
		}
	}
	return nil
}

// Gaps implements store.Store.
func (db *DB) Gaps(ctx context.Context, router usage.RouterID, r usage.Range) ([]usage.Gap, error) {
	rows, err := db.read.QueryContext(ctx, `SELECT start, until, reason FROM gaps
		WHERE router = (SELECT number FROM replicas WHERE router = ?) AND start < ? AND until > ? ORDER BY start, until`,
		router, r.To.UnixMilli(), r.From.UnixMilli())
	if err != nil {
		return nil, explain(err)
	}
	defer rows.Close()
	var list []usage.Gap
	for rows.Next() {
		var from, to int64
		var g usage.Gap
		if err := rows.Scan(&from, &to, &g.Reason); err != nil {
			return nil, explain(err)
		}
		g.From, g.To = time.UnixMilli(from), time.UnixMilli(to)
		list = append(list, g)
	}
	return list, explain(rows.Err())
}

type answerKey struct {
	router usage.RouterID
	method string
}

// maxAnswers bounds the answers that wait to be written.
const maxAnswers = 20_000

// KeepAnswer implements store.Store.
func (db *DB) KeepAnswer(router usage.RouterID, method string, a store.Answer) {
	if !slices.Contains(store.AnswerMethods(), method) {
		return
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	key := answerKey{router, method}
	if _, known := db.answers[key]; known || len(db.answers) < maxAnswers {
		db.answers[key] = a
	}
}

// flushAnswers writes the remembered answers. What fails is tried again, or
// replaced by a newer one.
func (db *DB) flushAnswers() {
	db.mu.Lock()
	list := db.answers
	db.answers = make(map[answerKey]store.Answer)
	db.mu.Unlock()
	if len(list) == 0 {
		return
	}
	ctx := context.Background()
	err := db.inTx(ctx, func(tx *sql.Tx) error {
		stmt, err := tx.PrepareContext(ctx, `INSERT INTO answers (router, method, at, result) SELECT id, ?2, ?3, ?4 FROM routers WHERE id = ?1
			ON CONFLICT (router, method) DO UPDATE SET at = excluded.at, result = excluded.result`)
		if err != nil {
			return err
		}
		defer stmt.Close()
		for key, a := range list {
			if _, err := stmt.ExecContext(ctx, key.router, key.method, millis(a.At), []byte(a.Result)); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		return
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	for key, a := range list {
		if _, newer := db.answers[key]; !newer && len(db.answers) < maxAnswers {
			db.answers[key] = a
		}
	}
}

// LastAnswer implements store.Store.
func (db *DB) LastAnswer(ctx context.Context, router usage.RouterID, method string) (store.Answer, error) {
	db.mu.Lock()
	a, ok := db.answers[answerKey{router, method}]
	db.mu.Unlock()
	if ok {
		return a, nil
	}
	var at int64
	var result []byte
	err := db.read.QueryRowContext(ctx, "SELECT at, result FROM answers WHERE router = ? AND method = ?", router, method).Scan(&at, &result)
	if errors.Is(err, sql.ErrNoRows) {
		return a, usage.Errorf(usage.NotFound, "no answer of router %s to %s is known", router.Short(), usage.Clean(method, 32))
	}
	return store.Answer{Result: result, At: moment(at)}, explain(err)
}
