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

const keyColumns = "id, name, created_at, expires_at, last_used, revoked_at"

// scanKey reads keyColumns from one row.
func scanKey(scan func(...any) error) (store.Key, error) {
	var k store.Key
	var created, expires, used, revoked int64
	err := scan(&k.ID, &k.Name, &created, &expires, &used, &revoked)
	k.CreatedAt, k.ExpiresAt = moment(created), moment(expires)
	k.LastUsed, k.RevokedAt = moment(used), moment(revoked)
	return k, err
}

// CreateKey implements store.Store.
func (db *DB) CreateKey(ctx context.Context, k store.Key, hash store.Hash) error {
	_, err := db.changed(ctx, "INSERT INTO keys (id, name, hash, created_at, expires_at) VALUES (?, ?, ?, ?, ?)",
		k.ID, k.Name, hash[:], millis(k.CreatedAt), millis(k.ExpiresAt))
	var refused *sqlite.Error
	if errors.As(err, &refused) && refused.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE {
		return usage.Errorf(usage.Invalid, "a key named %q is in force already; choose another name, or revoke that one first",
			k.Name)
	}
	return err
}

// Keys implements store.Store.
func (db *DB) Keys(ctx context.Context) ([]store.Key, error) {
	rows, err := db.read.QueryContext(ctx, "SELECT "+keyColumns+" FROM keys ORDER BY name, created_at DESC, id")
	if err != nil {
		return nil, explain(err)
	}
	defer rows.Close()
	var list []store.Key
	for rows.Next() {
		k, err := scanKey(rows.Scan)
		if err != nil {
			return nil, explain(err)
		}
		list = append(list, k)
	}
	return list, explain(rows.Err())
}

// KeyByHash implements store.Store.
func (db *DB) KeyByHash(ctx context.Context, hash store.Hash) (store.Key, error) {
	k, err := scanKey(db.read.QueryRowContext(ctx, "SELECT "+keyColumns+" FROM keys WHERE hash = ?", hash[:]).Scan)
	return k, missing(err, "no such key")
}

// RevokeKey implements store.Store.
func (db *DB) RevokeKey(ctx context.Context, idOrName string, now time.Time) (k store.Key, err error) {
	err = db.inTx(ctx, func(tx *sql.Tx) error {
		k, err = scanKey(tx.QueryRowContext(ctx, "SELECT "+keyColumns+` FROM keys WHERE id = ?1 OR name = ?1
			ORDER BY id = ?1 DESC, revoked_at = 0 DESC, created_at DESC LIMIT 1`, idOrName).Scan)
		if err != nil {
			return missing(err, "no key has the id or name %q; see netpilot-relay key list", usage.Clean(idOrName, 64))
		}
		if !k.RevokedAt.IsZero() {
			return nil
		}
		k.RevokedAt = moment(millis(now))
		_, err = tx.ExecContext(ctx, "UPDATE keys SET revoked_at = ? WHERE id = ?", millis(now), k.ID)
		return err
	})
	return k, err
}

// KeyUsed implements store.Store.
func (db *DB) KeyUsed(ctx context.Context, id string, now time.Time) error {
	_, err := db.changed(ctx, "UPDATE keys SET last_used = max(last_used, ?) WHERE id = ?", millis(now), id)
	return err
}
