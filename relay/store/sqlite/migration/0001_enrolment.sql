-- Databases from before goose have these tables already and user_version 1.
-- The programs of that time refuse one with a greater user_version.

-- +goose Up
CREATE TABLE IF NOT EXISTS routers (
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
CREATE UNIQUE INDEX IF NOT EXISTS routers_revision ON routers (revision);

CREATE TABLE IF NOT EXISTS tokens (
	hash       BLOB PRIMARY KEY,
	note       TEXT NOT NULL,
	created_at INTEGER NOT NULL,
	expires_at INTEGER NOT NULL,
	used_at    INTEGER NOT NULL DEFAULT 0,
	router_id  TEXT REFERENCES routers (id)   -- whom it enrolled
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS keys (
	id         TEXT PRIMARY KEY,
	name       TEXT NOT NULL,
	hash       BLOB NOT NULL UNIQUE,
	created_at INTEGER NOT NULL,
	expires_at INTEGER NOT NULL DEFAULT 0,
	last_used  INTEGER NOT NULL DEFAULT 0,
	revoked_at INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS keys_name ON keys (name) WHERE revoked_at = 0;

PRAGMA user_version = 2;
