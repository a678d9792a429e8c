PRAGMA journal_mode = WAL;
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
PRAGMA user_version = 1;
INSERT INTO routers (id, name, model, agent_version, secret_hash, revision, enrolled_at)
	VALUES ('6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b', 'old', 'box', '1.0.0', x'2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b', 1, 1795000000000);
INSERT INTO tokens (hash, note, created_at, expires_at, used_at, router_id)
	VALUES (x'3c469e9d6c5875d37a43f353d4f88e61fcf812c66eee3457465a40b0da4153e0', '', 1, 2, 1, '6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b');
INSERT INTO keys (id, name, hash, created_at) VALUES ('00000001', 'backend', x'2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683', 1795000000000);
