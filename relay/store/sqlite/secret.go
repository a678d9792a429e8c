package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/store"
)

// RouterBySecret implements store.Store.
func (db *DB) RouterBySecret(ctx context.Context, secret store.Hash, now time.Time) (store.Router, store.Standing, error) {
	var standing store.Standing
	var offered, old sql.NullBool
	var until int64
	row := db.read.QueryRowContext(ctx, "SELECT "+routerColumns+`, next_hash = ?1, old_hash = ?1, old_until FROM routers
		WHERE secret_hash = ?1 OR next_hash = ?1 OR old_hash = ?1 AND old_until > ?2`, secret[:], millis(now))
	r, err := scanRouter(func(columns ...any) error { return row.Scan(append(columns, &offered, &old, &until)...) })
	standing.Offered = offered.Bool
	if old.Bool {
		standing.Until = moment(until)
	}
	return r, standing, missing(err, "no router has this secret; enrol it with netpilot-agent enroll")
}

// WantRotation implements store.Store.
func (db *DB) WantRotation(ctx context.Context, routers []usage.RouterID, overlap time.Duration) (n int, err error) {
	err = db.inTx(ctx, func(tx *sql.Tx) error {
		if len(routers) == 0 {
			if routers, err = rotatable(ctx, tx); err != nil {
				return err
			}
		}
		for _, id := range routers {
			res, err := tx.ExecContext(ctx, `UPDATE routers SET revision = `+nextRevision+`, rotate_overlap = ?
				WHERE id = ? AND revoked_at = 0`, overlap.Milliseconds(), id)
			if err != nil {
				return err
			}
			changed, err := res.RowsAffected()
			if err != nil {
				return err
			}
			if changed == 0 {
				return usage.Errorf(usage.NotFound, "router %s is not enrolled here, or revoked", id.Short())
			}
			n++
		}
		return nil
	})
	return n, err
}

// rotatable lists the routers that are not revoked.
func rotatable(ctx context.Context, tx *sql.Tx) ([]usage.RouterID, error) {
	rows, err := tx.QueryContext(ctx, "SELECT id FROM routers WHERE revoked_at = 0")
	if err != nil {
		return nil, explain(err)
	}
	defer rows.Close()
	var list []usage.RouterID
	for rows.Next() {
		var id usage.RouterID
		if err := rows.Scan(&id); err != nil {
			return nil, explain(err)
		}
		list = append(list, id)
	}
	return list, explain(rows.Err())
}

// OfferSecret implements store.Store.
func (db *DB) OfferSecret(ctx context.Context, router usage.RouterID, next store.Hash) error {
	n, err := db.changed(ctx, `UPDATE routers SET next_hash = ?1
		WHERE id = ?2 AND revoked_at = 0 AND rotate_overlap IS NOT NULL AND NOT EXISTS (SELECT 1 FROM routers
			WHERE secret_hash = ?1 OR old_hash = ?1 OR next_hash = ?1 AND id != ?2)`, next[:], router)
	var refused *sqlite.Error
	taken := errors.As(err, &refused) && refused.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE
	if taken || err == nil && n == 0 {
		return usage.Errorf(usage.Invalid, "router %s offers a secret that was not asked for, or that is in use", router.Short())
	}
	return err
}

// ProveSecret implements store.Store.
func (db *DB) ProveSecret(ctx context.Context, router usage.RouterID, next store.Hash, now time.Time) error {
	_, err := db.changed(ctx, `UPDATE routers SET revision = `+nextRevision+`, old_hash = secret_hash,
		old_until = ?1 + coalesce(rotate_overlap, 0), secret_hash = next_hash, next_hash = NULL, rotate_overlap = NULL
		WHERE id = ?2 AND next_hash = ?3`, millis(now), router, next[:])
	return err
}
