package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/store"
)

// Limits of a push, beyond what the gateway's frame allows.
const (
	maxLength = 26 * time.Hour // of a bucket: a day has at most 25 hours
	maxPushes = 512            // that are committed at once
)

// job is one push that waits for the writer.
type job struct {
	ctx    context.Context
	push   *store.Push
	cursor uint64
	err    error
	done   chan struct{}
}

// Push implements store.Store. Pushes that wait at the same time are committed
// together: a commit costs a sync of the disk, however much is in it.
func (db *DB) Push(ctx context.Context, p *store.Push) (uint64, error) {
	if err := checkPush(p); err != nil {
		return 0, err
	}
	j := &job{ctx: ctx, push: p, done: make(chan struct{})}
	select {
	case db.jobs <- j:
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-db.closing:
		return 0, errClosed
	}
	<-j.done // the writer finishes what it took
	return j.cursor, j.err
}

var errClosed = errors.New("the relay's database is closed")

// checkPush refuses what no router of ours says.
func checkPush(p *store.Push) error {
	if p.After > math.MaxInt64 || p.Cursor > math.MaxInt64 {
		return usage.Errorf(usage.Invalid, "cursor is over 2^63")
	}
	for _, list := range [][]usage.Bucket{p.Buckets, p.Open} {
		for i := range list {
			b := &list[i]
			if b.Length < usage.FiveMinutes || b.Length > maxLength || b.Length%usage.FiveMinutes != 0 ||
				b.Start.Unix() < 0 || b.Start.Unix() > math.MaxInt32*1000 || b.Start.Unix()%300 != 0 {
				return usage.Errorf(usage.Invalid, "bucket of %s from %d is none", b.Length, b.Start.Unix())
			}
		}
	}
	for i := range p.Gaps {
		if !p.Gaps[i].From.Before(p.Gaps[i].To) {
			return usage.Errorf(usage.Invalid, "gap from %d to %d is empty", p.Gaps[i].From.UnixMilli(), p.Gaps[i].To.UnixMilli())
		}
	}
	return nil
}

// writer owns the writing of pushes and answers until closing is closed.
func (db *DB) writer() {
	defer close(db.written)
	flush := time.NewTicker(store.AnswerWithin / 2)
	defer flush.Stop()
	batch := make([]*job, 0, maxPushes)
	for {
		batch = batch[:0]
		select {
		case j := <-db.jobs:
			batch = append(batch, j)
		case <-flush.C:
			db.flushAnswers()
			continue
		case <-db.closing:
			db.flushAnswers()
			return
		}
	more:
		for len(batch) < maxPushes {
			select {
			case j := <-db.jobs:
				batch = append(batch, j)
			default:
				break more
			}
		}
		db.commit(batch)
	}
}

// commit keeps the pushes in one transaction, or if that fails for one of them,
// each in one of its own, so that one push cannot fail others. What is wrong
// with the disk or the database fails all: to try each would take as long for
// each.
func (db *DB) commit(batch []*job) {
	if err := db.pushAll(batch); err != nil {
		why := explain(err)
		alone := why == err && len(batch) > 1
		for _, j := range batch {
			if alone {
				why = explain(db.pushAll([]*job{j}))
			}
			j.err = why
		}
	}
	for _, j := range batch {
		close(j.done)
	}
}

func (db *DB) pushAll(batch []*job) error {
	// Not the callers' contexts: interrupting one statement would roll back
	// all of the transaction.
	ctx := context.Background()
	return db.inTx(ctx, func(tx *sql.Tx) error {
		w := &pushWriter{ctx: ctx, tx: tx, db: db}
		if db.counting.Load() {
			w.moved = make(map[usage.MAC]moved)
		}
		for _, j := range batch {
			if j.err = j.ctx.Err(); j.err != nil {
				continue // gave up before it began
			}
			var err error
			j.cursor, err = w.push(j.push)
			var refused *usage.Error
			if errors.As(err, &refused) { // found before anything was written
				j.err, err = refused, nil
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// statements are the prepared ones of the writing connection.
type statements struct {
	replica, enter, insert, overlap, remove, gap, update, countKnown, countNew, countAll *sql.Stmt
}

func (s *statements) prepare(ctx context.Context, db *sql.DB) error {
	for at, text := range map[**sql.Stmt]string{
		&s.replica: `SELECT number, cursor, restarted, tail, fine_from, hour_from, through, deleted_to FROM replicas WHERE router = ?`,
		&s.enter:   `INSERT INTO replicas (router) SELECT id FROM routers WHERE id = ? RETURNING number`,
		&s.insert:  `INSERT INTO buckets (router, start, length, data) VALUES (?, ?, ?, ?)`,
		// Spans do not overlap, so of those that start before ?2 only the last can reach into it.
		&s.overlap: `SELECT start, length, data FROM buckets WHERE router = ?1 AND start < ?3 AND start >= coalesce(
			(SELECT max(start) FROM buckets WHERE router = ?1 AND start < ?2), ?2)`,
		&s.remove: `DELETE FROM buckets WHERE router = ? AND start = ?`,
		&s.gap:    `INSERT OR IGNORE INTO gaps (router, start, until, reason) VALUES (?, ?, ?, ?)`,
		&s.update: `UPDATE replicas SET cursor = ?, restarted = ?, tail = ?, fine_from = ?, hour_from = ?, through = ?,
			pushed_at = max(pushed_at, ?), as_of = coalesce(?, as_of), open = CASE ? WHEN 0 THEN open ELSE ? END,
			counting = coalesce(?, counting), counting_at = coalesce(?, counting_at) WHERE number = ?`,
		&s.countKnown: countKnown,
		&s.countNew:   countNew,
		&s.countAll:   countAll,
	} {
		var err error
		if *at, err = db.PrepareContext(ctx, text); err != nil {
			return err
		}
	}
	return nil
}

// pushWriter writes pushes within one transaction.
type pushWriter struct {
	ctx    context.Context
	tx     *sql.Tx
	db     *DB
	packed []byte
	moved  map[usage.MAC]moved // by the push at hand; nil if devices are not counted
}

func (w *pushWriter) stmt(s *sql.Stmt) *sql.Stmt { return w.tx.StmtContext(w.ctx, s) }

// replicaRow is what pushing needs to know of a replica.
type replicaRow struct {
	number, cursor, tail, fineFrom, hourFrom, through, deletedTo int64
	restarted                                                    bool
}

// push keeps one push. An error of type *usage.Error comes before anything
// was written.
func (w *pushWriter) push(p *store.Push) (uint64, error) {
	var r replicaRow
	s := &w.db.stmts
	err := w.stmt(s.replica).QueryRowContext(w.ctx, p.Router).Scan(&r.number, &r.cursor, &r.restarted, &r.tail, &r.fineFrom, &r.hourFrom, &r.through, &r.deletedTo)
	if errors.Is(err, sql.ErrNoRows) {
		err = w.stmt(s.enter).QueryRowContext(w.ctx, p.Router).Scan(&r.number)
		r.fineFrom, r.hourFrom = math.MaxInt64, math.MaxInt64
		if errors.Is(err, sql.ErrNoRows) {
			return 0, usage.Errorf(usage.NotFound, "router %s is not enrolled here", p.Router.Short())
		}
	}
	if err != nil {
		return 0, err
	}
	if p.After != uint64(r.cursor) {
		return uint64(r.cursor), nil
	}
	fits := true
	for i := range p.Buckets {
		ok, err := w.bucket(&r, &p.Buckets[i])
		if err != nil {
			return 0, err
		}
		fits = fits && ok
	}
	if err := w.keepCounts(&r); err != nil {
		return 0, err
	}
	for i := range p.Gaps {
		g := &p.Gaps[i]
		if _, err := w.stmt(s.gap).ExecContext(w.ctx, r.number, g.From.UnixMilli(), g.To.UnixMilli(), g.Reason); err != nil {
			return 0, err
		}
	}
	r.cursor = int64(p.Cursor)
	var asOf, open, counting, countingAt any
	switch {
	case !fits && !r.restarted:
		// What stood in the way is gone, with more than the router pushed in
		// its place. It pushes all it has anew.
		r.cursor, r.restarted = 0, true
	case p.Open != nil:
		asOf, open, r.restarted = millis(p.AsOf), []byte(nil), false
		r.through = p.AsOf.Unix()
		for i := range p.Open {
			r.through = min(r.through, p.Open[i].Start.Unix())
		}
		if len(p.Open) > 0 {
			open = packOpen(nil, p.Open)
		}
	}
	if p.Counting != nil {
		counting, countingAt = string(p.Counting), millis(p.At)
	}
	_, err = w.stmt(s.update).ExecContext(w.ctx, r.cursor, r.restarted, r.tail, r.fineFrom, r.hourFrom, r.through,
		millis(p.At), asOf, asOf != nil, open, counting, countingAt, r.number)
	return uint64(r.cursor), err
}

// bucket sets one bucket in the place of what is kept of its span. It does not
// fit if something kept reaches out of the span; that is removed, too.
func (w *pushWriter) bucket(r *replicaRow, b *usage.Bucket) (fits bool, err error) {
	start := b.Start.Unix()
	end := start + int64(b.Length/time.Second)
	fits = true
	if start < r.tail {
		if fits, err = w.clear(r, start, end); err != nil {
			return false, err
		}
	}
	if w.moved != nil {
		w.count(r, start, b.Devices, 1)
	}
	w.packed = packBucket(w.packed[:0], b)
	if _, err := w.stmt(w.db.stmts.insert).ExecContext(w.ctx, r.number, start, end-start, w.packed); err != nil {
		return false, fmt.Errorf("keep a bucket: %w", err)
	}
	r.tail = max(r.tail, end)
	if b.Length < usage.Hour {
		r.fineFrom = min(r.fineFrom, start)
	}
	if b.Length < 23*usage.Hour {
		r.hourFrom = min(r.hourFrom, start)
	}
	return fits, nil
}

// clear removes what overlaps a span.
func (w *pushWriter) clear(r *replicaRow, start, end int64) (fits bool, err error) {
	rows, err := w.stmt(w.db.stmts.overlap).QueryContext(w.ctx, r.number, start, end)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	fits = true
	var gone []int64
	for rows.Next() {
		var s, length int64
		var data sql.RawBytes // most are not looked into
		if err := rows.Scan(&s, &length, &data); err != nil {
			return false, err
		}
		if s+length <= start {
			continue // ends before
		}
		if w.moved != nil {
			w.uncount(r, s, data)
		}
		gone = append(gone, s)
		fits = fits && s >= start && s+length <= end
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return false, err
	}
	for _, s := range gone {
		if _, err := w.stmt(w.db.stmts.remove).ExecContext(w.ctx, r.number, s); err != nil {
			return false, err
		}
	}
	return fits, nil
}
