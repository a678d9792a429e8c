package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/zone"
	"github.com/netpilot/netpilot/relay/store"
)

// tidyMargin is how much longer than asked for five minutes and hours are
// kept. A router sums its own up by quarters of a day and by days; only when
// it has done so may we, or a bucket that comes late would not fit.
const tidyMargin = 8 * time.Hour

// SetRetention implements store.Store.
func (db *DB) SetRetention(ctx context.Context, router usage.RouterID, r store.Retention) error {
	if err := r.Check(); err != nil {
		return err
	}
	n, err := db.changed(ctx, `INSERT INTO replicas (router, keep_5m, keep_1h, keep_1d) SELECT id, ?2, ?3, ?4 FROM routers WHERE id = ?1
		ON CONFLICT (router) DO UPDATE SET keep_5m = excluded.keep_5m, keep_1h = excluded.keep_1h, keep_1d = excluded.keep_1d`,
		router, int64(r.FiveMinutes/time.Second), int64(r.Hours/time.Second), int64(r.Days/time.Second))
	if err == nil && n == 0 {
		return usage.Errorf(usage.NotFound, "router %s is not enrolled here", router.Short())
	}
	return err
}

// Retention implements store.Store.
func (db *DB) Retention(ctx context.Context, router usage.RouterID) (store.Retention, error) {
	var fine, hour, day int64
	err := db.read.QueryRowContext(ctx, `SELECT coalesce(keep_5m, 0), coalesce(keep_1h, 0), coalesce(keep_1d, 0)
		FROM routers LEFT JOIN replicas ON router = id WHERE id = ?`, router).Scan(&fine, &hour, &day)
	r := store.Retention{FiveMinutes: time.Duration(fine) * time.Second, Hours: time.Duration(hour) * time.Second, Days: time.Duration(day) * time.Second}
	return r, missing(err, "router %s is not enrolled here", router.Short())
}

// tidied is a replica that may have something to sum up or to delete.
type tidied struct {
	router             usage.RouterID
	number             int64
	asOf               time.Time
	fineFrom, hourFrom int64
	keep               store.Retention
	loc                *time.Location
}

// Tidy implements store.Store.
func (db *DB) Tidy(ctx context.Context, now time.Time) error {
	list, err := db.replicas(ctx)
	if err != nil {
		return err
	}
	// A clock of ours that was set years ahead must not delete anything: as
	// late as that it has to be on some router, too.
	var latest time.Time
	for i := range list {
		if list[i].asOf.After(latest) {
			latest = list[i].asOf
		}
	}
	if now.Before(latest) {
		latest = now
	}
	for i := range list {
		t := &list[i]
		// The router's clock says how far it is with its own summing up; a
		// clock that is ahead of ours must not age anything.
		at := now
		if t.asOf.Before(at) {
			at = t.asOf
		}
		if err := db.sumUp(ctx, t, usage.Hour, at.Add(-t.keep.FiveMinutes-tidyMargin).Unix()); err != nil {
			return err
		}
		if err := db.sumUp(ctx, t, usage.Day, at.Add(-t.keep.Hours-tidyMargin-usage.Day).Unix()); err != nil {
			return err
		}
		old := latest.Add(-t.keep.Days)
		if err := db.inTx(ctx, func(tx *sql.Tx) error {
			res, err := tx.ExecContext(ctx, "DELETE FROM buckets WHERE router = ? AND start < ?", t.number, old.Unix())
			if err != nil {
				return err
			}
			if n, err := res.RowsAffected(); err != nil || n == 0 {
				return err
			}
			_, err = tx.ExecContext(ctx, "UPDATE replicas SET deleted_to = max(deleted_to, ?) WHERE number = ?", old.Unix(), t.number)
			return err
		}); err != nil {
			return err
		}
		if _, err := db.changed(ctx, "DELETE FROM gaps WHERE router = ? AND start < ? AND until <= ?", t.number, old.UnixMilli(), old.UnixMilli()); err != nil {
			return err
		}
	}
	return nil
}

func (db *DB) replicas(ctx context.Context) ([]tidied, error) {
	rows, err := db.read.QueryContext(ctx, `SELECT id, number, as_of, fine_from, hour_from, keep_5m, keep_1h, keep_1d, timezone
		FROM replicas JOIN routers ON router = id`)
	if err != nil {
		return nil, explain(err)
	}
	defer rows.Close()
	var list []tidied
	for rows.Next() {
		var t tidied
		var asOf, fine, hour, day int64
		var tz string
		if err := rows.Scan(&t.router, &t.number, &asOf, &t.fineFrom, &t.hourFrom, &fine, &hour, &day, &tz); err != nil {
			return nil, explain(err)
		}
		t.asOf = moment(asOf)
		t.keep = store.Retention{FiveMinutes: time.Duration(fine) * time.Second, Hours: time.Duration(hour) * time.Second,
			Days: time.Duration(day) * time.Second}.OrDefault()
		if t.loc, err = zone.Parse(tz); err != nil {
			t.loc = time.UTC
		}
		list = append(list, t)
	}
	return list, explain(rows.Err())
}

// tidySlots is how many slots are summed up in one transaction, so that pushes
// need not wait long.
const tidySlots = 24

// sumUp makes one bucket of the router's of all in each slot of the length that
// ends before the limit.
func (db *DB) sumUp(ctx context.Context, t *tidied, length time.Duration, limit int64) error {
	from, column := &t.fineFrom, "fine_from"
	if length == usage.Day {
		from, column = &t.hourFrom, "hour_from"
	}
	grid := zone.NewGrid(t.loc, length, limit)
	for *from < limit && grid.Slot(*from).End <= limit {
		if err := ctx.Err(); err != nil {
			return err
		}
		next := int64(math.MaxInt64)
		err := db.inTx(ctx, func(tx *sql.Tx) error {
			ctx := context.WithoutCancel(ctx)
			at := *from
			for range tidySlots {
				slot := grid.Slot(at)
				if at >= limit || slot.End > limit {
					break
				}
				if err := sumSlot(ctx, tx, t.number, slot); err != nil {
					return err
				}
				var first sql.NullInt64
				if err := tx.QueryRowContext(ctx, "SELECT min(start) FROM buckets WHERE router = ? AND start >= ? AND length < ?",
					t.number, slot.End, coarse(length)).Scan(&first); err != nil {
					return err
				}
				next = math.MaxInt64
				if !first.Valid {
					break
				}
				at, next = first.Int64, first.Int64
			}
			// A push may have brought an older one since the row was read.
			_, err := tx.ExecContext(ctx, "UPDATE replicas SET "+column+" = ? WHERE number = ? AND "+column+" >= ?", next, t.number, *from)
			return err
		})
		if err != nil {
			return err
		}
		*from = next
	}
	return nil
}

// coarse is the length from which on a bucket counts as one of the length: the
// day of a changing clock has 23 hours.
func coarse(length time.Duration) int64 {
	if length == usage.Day {
		length = 23 * usage.Hour
	}
	return int64(length / time.Second)
}

// sumSlot makes one bucket of those within the slot. Where one reaches out of
// it, as after a change of the time zone, all stay as they are.
func sumSlot(ctx context.Context, tx *sql.Tx, number int64, slot zone.Span) error {
	rows, err := tx.QueryContext(ctx, `SELECT start, length, data FROM buckets WHERE router = ?1 AND start < ?3 AND start >= coalesce(
		(SELECT max(start) FROM buckets WHERE router = ?1 AND start < ?2), ?2)`,
		number, slot.Start, slot.End)
	if err != nil {
		return err
	}
	defer rows.Close()
	var sum sums
	n := 0
	for rows.Next() {
		var start, length int64
		var data []byte
		if err := rows.Scan(&start, &length, &data); err != nil {
			return err
		}
		if start < slot.Start {
			if start+length <= slot.Start {
				continue
			}
			return rows.Close()
		}
		if start+length > slot.End {
			return rows.Close()
		}
		if err := sum.unpack(data, secQuarantined); err != nil {
			return err
		}
		n++
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil || n == 0 {
		return err
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM buckets WHERE router = ? AND start >= ? AND start < ?", number, slot.Start, slot.End); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO buckets (router, start, length, data) VALUES (?, ?, ?, ?)",
		number, slot.Start, slot.End-slot.Start, packBucket(nil, sum.bucket()))
	return err
}
