package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// migrations are the steps from an empty file to the tables of today. A step
// that was released is never edited; user_version counts those done.
func migrations() []string {
	return []string{`
CREATE TABLE routers (
	id            TEXT PRIMARY KEY,
	name          TEXT NOT NULL,
	model         TEXT NOT NULL,
	release       TEXT NOT NULL DEFAULT '',
	arch          TEXT NOT NULL DEFAULT '',
	timezone      TEXT NOT NULL DEFAULT '',
	agent_version TEXT NOT NULL,
	secret_hash   BLOB NOT NULL UNIQUE,
	revision      INTEGER NOT NULL,           -- of the last change of secret_hash or revoked_at
	enrolled_at   INTEGER NOT NULL,           -- all times: Unix milliseconds, 0 for never
	last_seen     INTEGER NOT NULL DEFAULT 0,
	connected     INTEGER NOT NULL DEFAULT 0,
	revoked_at    INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX routers_revision ON routers (revision);

CREATE TABLE tokens (
	hash       BLOB PRIMARY KEY,
	note       TEXT NOT NULL,
	created_at INTEGER NOT NULL,
	expires_at INTEGER NOT NULL,
	used_at    INTEGER NOT NULL DEFAULT 0,
	router_id  TEXT REFERENCES routers (id)   -- whom it enrolled
) STRICT, WITHOUT ROWID;

CREATE TABLE keys (
	id         TEXT PRIMARY KEY,
	name       TEXT NOT NULL,
	hash       BLOB NOT NULL UNIQUE,
	created_at INTEGER NOT NULL,
	expires_at INTEGER NOT NULL DEFAULT 0,
	last_used  INTEGER NOT NULL DEFAULT 0,
	revoked_at INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX keys_name ON keys (name) WHERE revoked_at = 0;
`}
}

// migrate does the steps a database lacks, in one transaction, so that two
// programs that start together do them once.
func migrate(ctx context.Context, db *sql.DB) (err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ignoreDone(tx.Rollback())) }()
	var done int
	if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&done); err != nil {
		return err
	}
	steps := migrations()
	if done > len(steps) {
		return fmt.Errorf("the database is of version %d and this program knows versions up to %d; update netpilot-relay",
			done, len(steps))
	}
	if done == len(steps) {
		return nil
	}
	for i, step := range steps[done:] {
		if _, err := tx.ExecContext(ctx, step); err != nil {
			return fmt.Errorf("migrate to version %d: %w", done+i+1, err)
		}
	}
	// A PRAGMA takes no parameters.
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", len(steps))); err != nil {
		return err
	}
	return tx.Commit()
}
