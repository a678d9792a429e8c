-- +goose Up
CREATE TABLE audit (
	id      INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice, so a hole is seen
	at      INTEGER NOT NULL,                  -- the first time, Unix milliseconds
	until   INTEGER NOT NULL,                  -- the last time
	times   INTEGER NOT NULL,
	who     TEXT NOT NULL,                     -- key:NAME, router, operator, nobody, relay
	key_id  TEXT NOT NULL,
	router  TEXT NOT NULL,
	method  TEXT NOT NULL,
	result  TEXT NOT NULL,
	address TEXT NOT NULL,
	detail  TEXT NOT NULL
) STRICT;
CREATE INDEX audit_router ON audit (router, id);
CREATE INDEX audit_key ON audit (key_id, id);

-- Rows are added, and old ones leave from the end by retention; none changes.
-- +goose StatementBegin
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN
	SELECT RAISE(ABORT, 'the audit log is append-only');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_no_hole BEFORE DELETE ON audit
WHEN OLD.id > (SELECT min(id) FROM audit) BEGIN
	SELECT RAISE(ABORT, 'the audit log is only cut at its old end');
END;
-- +goose StatementEnd
