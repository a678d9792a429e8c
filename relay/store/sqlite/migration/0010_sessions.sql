-- +goose Up
-- Sessions that backends opened; an id is the backend's choice.
CREATE TABLE sessions (
	key_id     TEXT NOT NULL, -- the API key that opened it
	id         TEXT NOT NULL,
	started_at INTEGER NOT NULL,
	used_at    INTEGER NOT NULL,
	PRIMARY KEY (key_id, id)
) STRICT, WITHOUT ROWID;
