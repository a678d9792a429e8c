package sqlite

import (
	"context"
	"database/sql"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/store"
)

// keepTokens is how long a dead token stays for the operator to look up.
const keepTokens = 30 * 24 * time.Hour

// CreateToken implements store.Store.
func (db *DB) CreateToken(ctx context.Context, t store.Token, hash store.Hash) error {
	return db.inTx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM tokens WHERE expires_at < ?", millis(t.CreatedAt.Add(-keepTokens)))
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO tokens (hash, note, created_at, expires_at) VALUES (?, ?, ?, ?)",
			hash[:], t.Note, millis(t.CreatedAt), millis(t.ExpiresAt))
		return err
	})
}

// Redeem implements store.Store.
func (db *DB) Redeem(ctx context.Context, token store.Hash, r store.Router, secret store.Hash, now time.Time) error {
	return db.inTx(ctx, func(tx *sql.Tx) error {
		// This one conditional UPDATE decides who wins.
		res, err := tx.ExecContext(ctx, "UPDATE tokens SET used_at = ?1 WHERE hash = ?2 AND used_at = 0 AND expires_at > ?1",
			millis(now), token[:])
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		if err != nil {
			return err
		}
		if n == 0 {
			return usage.Errorf(usage.Forbidden,
				"this token is wrong, used or expired; make a new one with netpilot-relay enrolment create")
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO routers (id, name, model, agent_version, secret_hash, revision, enrolled_at)
			VALUES (?, ?, ?, ?, ?, `+nextRevision+`, ?)
			ON CONFLICT (id) DO UPDATE SET name = excluded.name, model = excluded.model,
				agent_version = excluded.agent_version, secret_hash = excluded.secret_hash,
				revision = excluded.revision, enrolled_at = excluded.enrolled_at, revoked_at = 0,
				next_hash = NULL, old_hash = NULL, old_until = 0, rotate_overlap = NULL`,
			r.ID, r.Name, r.Model, r.AgentVersion, secret[:], millis(now))
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "UPDATE tokens SET router_id = ? WHERE hash = ?", r.ID, token[:])
		return err
	})
}
