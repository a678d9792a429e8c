-- +goose Up
-- Rows of many devices do not fit the cells of a table WITHOUT ROWID, of which
-- SQLite keeps a quarter of a page at most, and each spilled into a page of its
-- own. In a table with rowids they lie one after the other, in the order in
-- which they came.
CREATE TABLE buckets_in_order (
	router INTEGER NOT NULL,
	start  INTEGER NOT NULL,
	length INTEGER NOT NULL,                  -- seconds
	data   BLOB NOT NULL,                     -- see packed.go
	PRIMARY KEY (router, start)
) STRICT;
INSERT INTO buckets_in_order (router, start, length, data) SELECT router, start, length, data FROM buckets;
DROP TABLE buckets;
ALTER TABLE buckets_in_order RENAME TO buckets;
