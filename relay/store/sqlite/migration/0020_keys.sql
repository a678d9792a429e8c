-- +goose Up
-- A key of before could only read, so that is what it may do.
ALTER TABLE keys ADD COLUMN scope TEXT NOT NULL DEFAULT 'read' CHECK (scope IN ('read', 'write', 'admin'));
ALTER TABLE keys ADD COLUMN limited INTEGER NOT NULL DEFAULT 0; -- to the routers in key_routers, even if there are none
ALTER TABLE keys ADD COLUMN rotated_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE keys ADD COLUMN old_hash BLOB;                      -- of the secret before the last rotation
ALTER TABLE keys ADD COLUMN old_until INTEGER NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX keys_old_hash ON keys (old_hash) WHERE old_hash IS NOT NULL;

-- A router may be listed before it is enrolled.
CREATE TABLE key_routers (
	key_id    TEXT NOT NULL REFERENCES keys (id),
	router_id TEXT NOT NULL,
	PRIMARY KEY (key_id, router_id)
) STRICT, WITHOUT ROWID;
