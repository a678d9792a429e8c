-- +goose Up
ALTER TABLE routers ADD COLUMN next_hash BLOB;                        -- stored by the router, not yet proven
ALTER TABLE routers ADD COLUMN old_hash BLOB;                         -- of before the last rotation
ALTER TABLE routers ADD COLUMN old_until INTEGER NOT NULL DEFAULT 0;
ALTER TABLE routers ADD COLUMN rotate_overlap INTEGER;                -- milliseconds; NULL: no rotation is wanted
CREATE UNIQUE INDEX routers_next_hash ON routers (next_hash) WHERE next_hash IS NOT NULL;
CREATE UNIQUE INDEX routers_old_hash ON routers (old_hash) WHERE old_hash IS NOT NULL;
