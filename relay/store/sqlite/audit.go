package sqlite

import (
	"context"
	"database/sql"
	"time"

	"github.com/netpilot/netpilot/relay/store"
)

// AppendAudit implements store.Store.
func (db *DB) AppendAudit(ctx context.Context, rows []store.AuditRow) error {
	return db.inTx(ctx, func(tx *sql.Tx) error {
		insert, err := tx.PrepareContext(ctx, `INSERT INTO audit
			(at, until, times, who, key_id, router, method, result, address, detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`)
		if err != nil {
			return err
		}
		defer insert.Close()
		for _, r := range rows {
			if _, err := insert.ExecContext(ctx, millis(r.At), millis(r.Until), r.Times, r.Who, r.Key, r.Router, r.Method,
				r.Result, r.Address, r.Detail); err != nil {
				return err
			}
		}
		return nil
	})
}

// Audit implements store.Store.
func (db *DB) Audit(ctx context.Context, q store.AuditQuery, visit func(store.AuditRow) error) error {
	limit := q.Limit
	if limit == 0 {
		limit = -1 // SQLite's word for none
	}
	rows, err := db.read.QueryContext(ctx, `SELECT id, at, until, times, who, key_id, router, method, result, address, detail
		FROM audit WHERE (?1 = '' OR router = ?1) AND until >= ?3
		AND (?2 = '' OR key_id = ?2 OR key_id IN (SELECT id FROM keys WHERE name = ?2)) ORDER BY id DESC LIMIT ?4`,
		q.Router, q.Key, millis(q.Since), limit)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var r store.AuditRow
		var at, until int64
		if err := rows.Scan(&r.ID, &at, &until, &r.Times, &r.Who, &r.Key, &r.Router, &r.Method, &r.Result, &r.Address, &r.Detail); err != nil {
			return err
		}
		r.At, r.Until = moment(at), moment(until)
		if err := visit(r); err != nil {
			return err
		}
	}
	return explain(rows.Err())
}

// TrimAudit implements store.Store. Rows leave from the old end only, which a
// trigger sees to.
func (db *DB) TrimAudit(ctx context.Context, before time.Time, keep int) (int64, error) {
	// A row may be older than one before it, if the clock was set back; it
	// then stays until that one goes.
	return db.changed(ctx, `DELETE FROM audit WHERE id <= max((SELECT max(id) FROM audit) - ?2,
		coalesce((SELECT id FROM audit WHERE until >= ?1 ORDER BY id LIMIT 1), (SELECT max(id) + 1 FROM audit)) - 1)`,
		millis(before), keep)
}
