package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/store"
)

const keyColumns = "id, name, scope, limited, created_at, expires_at, last_used, rotated_at, old_until, revoked_at"

// scanKey reads keyColumns from one row. Of a limited key it makes Routers
// empty, for routersOf to fill.
func scanKey(scan func(...any) error) (store.Key, error) {
	var k store.Key
	var limited bool
	var created, expires, used, rotated, old, revoked int64
	err := scan(&k.ID, &k.Name, &k.Scope, &limited, &created, &expires, &used, &rotated, &old, &revoked)
	if limited {
		k.Routers = []usage.RouterID{}
	}
	k.CreatedAt, k.ExpiresAt, k.LastUsed = moment(created), moment(expires), moment(used)
	k.RotatedAt, k.OldUntil, k.RevokedAt = moment(rotated), moment(old), moment(revoked)
	return k, err
}

// querier is what reads need: the database or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// routersOf fills in the routers of a limited key.
func routersOf(ctx context.Context, q querier, k *store.Key) error {
	if k.Routers == nil {
		return nil
	}
	rows, err := q.QueryContext(ctx, "SELECT router_id FROM key_routers WHERE key_id = ? ORDER BY router_id", k.ID)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id usage.RouterID
		if err := rows.Scan(&id); err != nil {
			return err
		}
		k.Routers = append(k.Routers, id)
	}
	return explain(rows.Err())
}

// CreateKey implements store.Store.
func (db *DB) CreateKey(ctx context.Context, k store.Key, hash store.Hash) error {
	err := db.inTx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO keys (id, name, scope, limited, hash, created_at, expires_at)
			VALUES (?, ?, ?, ?, ?, ?, ?)`,
			k.ID, k.Name, k.Scope, k.Routers != nil, hash[:], millis(k.CreatedAt), millis(k.ExpiresAt))
		if err != nil {
			return err
		}
		return grant(ctx, tx, k.ID, k.Routers)
	})
	var refused *sqlite.Error
	if errors.As(err, &refused) && refused.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE {
		return usage.Errorf(usage.Invalid, "a key named %q is in force already; choose another name, or revoke that one first",
			k.Name)
	}
	return err
}

// grant lets the key see the routers.
func grant(ctx context.Context, tx *sql.Tx, key string, routers []usage.RouterID) error {
	for _, id := range routers {
		if _, err := tx.ExecContext(ctx, "INSERT OR IGNORE INTO key_routers (key_id, router_id) VALUES (?, ?)", key, id); err != nil {
			return err
		}
	}
	return nil
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
	if err := rows.Err(); err != nil {
		return nil, explain(err)
	}
	for i := range list {
		if err := routersOf(ctx, db.read, &list[i]); err != nil {
			return nil, explain(err)
		}
	}
	return list, nil
}

// KeyByHash implements store.Store.
func (db *DB) KeyByHash(ctx context.Context, hash store.Hash, now time.Time) (store.Key, error) {
	k, err := scanKey(db.read.QueryRowContext(ctx, "SELECT "+keyColumns+` FROM keys
		WHERE hash = ?1 OR old_hash = ?1 AND old_until > ?2`, hash[:], millis(now)).Scan)
	if err != nil {
		return k, missing(err, "no such key")
	}
	return k, routersOf(ctx, db.read, &k)
}

// findKey finds a key by its id or name; of several with one name the one in
// force, else the newest.
func findKey(ctx context.Context, tx *sql.Tx, idOrName string) (store.Key, error) {
	k, err := scanKey(tx.QueryRowContext(ctx, "SELECT "+keyColumns+` FROM keys WHERE id = ?1 OR name = ?1
		ORDER BY id = ?1 DESC, revoked_at = 0 DESC, created_at DESC LIMIT 1`, idOrName).Scan)
	if err != nil {
		return k, missing(err, "no key has the id or name %q; see netpilot-relay key list", usage.Clean(idOrName, 64))
	}
	return k, routersOf(ctx, tx, &k)
}

// RevokeKey implements store.Store.
func (db *DB) RevokeKey(ctx context.Context, idOrName string, now time.Time) (k store.Key, err error) {
	err = db.inTx(ctx, func(tx *sql.Tx) error {
		if k, err = findKey(ctx, tx, idOrName); err != nil || !k.RevokedAt.IsZero() {
			return err
		}
		k.RevokedAt = moment(millis(now))
		_, err = tx.ExecContext(ctx, "UPDATE keys SET revoked_at = ? WHERE id = ?", millis(now), k.ID)
		return err
	})
	return k, err
}

// RotateKey implements store.Store.
func (db *DB) RotateKey(ctx context.Context, idOrName string, hash store.Hash, now time.Time, overlap time.Duration) (k store.Key, err error) {
	err = db.inTx(ctx, func(tx *sql.Tx) error {
		if k, err = findKey(ctx, tx, idOrName); err != nil {
			return err
		}
		if !k.InForce(now) {
			return usage.Errorf(usage.Invalid, "key %s (%s) is revoked or expired; make a new one with netpilot-relay key create", k.ID, k.Name)
		}
		k.RotatedAt, k.OldUntil = moment(millis(now)), moment(millis(now.Add(overlap)))
		_, err = tx.ExecContext(ctx, "UPDATE keys SET old_hash = hash, old_until = ?, hash = ?, rotated_at = ? WHERE id = ?",
			millis(k.OldUntil), hash[:], millis(now), k.ID)
		return err
	})
	return k, err
}

// KeyRouters implements store.Store.
func (db *DB) KeyRouters(ctx context.Context, idOrName string, add, remove []usage.RouterID) (k store.Key, err error) {
	err = db.inTx(ctx, func(tx *sql.Tx) error {
		if k, err = findKey(ctx, tx, idOrName); err != nil {
			return err
		}
		if k.Routers == nil {
			return usage.Errorf(usage.Invalid,
				"key %s (%s) sees every router; make one that does not with netpilot-relay key create --router ID", k.ID, k.Name)
		}
		if err := grant(ctx, tx, k.ID, add); err != nil {
			return err
		}
		for _, id := range remove {
			if _, err := tx.ExecContext(ctx, "DELETE FROM key_routers WHERE key_id = ? AND router_id = ?", k.ID, id); err != nil {
				return err
			}
		}
		k.Routers = slices.Clip(k.Routers[:0])
		return routersOf(ctx, tx, &k)
	})
	return k, err
}

// KeyUsed implements store.Store.
func (db *DB) KeyUsed(ctx context.Context, id string, now time.Time) error {
	_, err := db.changed(ctx, "UPDATE keys SET last_used = max(last_used, ?) WHERE id = ?", millis(now), id)
	return err
}
