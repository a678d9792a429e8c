package sqlite

import (
	"context"
	"database/sql"

	"github.com/netpilot/netpilot/relay/store"
)

// Sessions implements store.Store.
func (db *DB) Sessions(ctx context.Context) ([]store.Session, error) {
	rows, err := db.read.QueryContext(ctx, "SELECT id, key_id, started_at, used_at FROM sessions ORDER BY used_at, key_id, id")
	if err != nil {
		return nil, explain(err)
	}
	defer rows.Close()
	var list []store.Session
	for rows.Next() {
		var s store.Session
		var started, used int64
		if err := rows.Scan(&s.ID, &s.Key, &started, &used); err != nil {
			return nil, err
		}
		s.StartedAt, s.UsedAt = moment(started), moment(used)
		list = append(list, s)
	}
	return list, explain(rows.Err())
}

// SaveSessions implements store.Store.
func (db *DB) SaveSessions(ctx context.Context, sessions []store.Session) error {
	return db.eachSession(ctx, sessions, `INSERT INTO sessions (id, key_id, started_at, used_at) VALUES (?1, ?2, ?3, ?4)
		ON CONFLICT (key_id, id) DO UPDATE SET started_at = ?3, used_at = ?4`)
}

// DropSessions implements store.Store.
func (db *DB) DropSessions(ctx context.Context, sessions []store.Session) error {
	return db.eachSession(ctx, sessions, "DELETE FROM sessions WHERE id = ?1 AND key_id = ?2 AND ?3 IS NOT NULL AND ?4 IS NOT NULL")
}

func (db *DB) eachSession(ctx context.Context, sessions []store.Session, query string) error {
	return db.inTx(ctx, func(tx *sql.Tx) error {
		for _, s := range sessions {
			if _, err := tx.ExecContext(ctx, query, s.ID, s.Key, millis(s.StartedAt), millis(s.UsedAt)); err != nil {
				return err
			}
		}
		return nil
	})
}
