-- What routers push of their own history. Times are Unix seconds by the
-- router's clock, unless they say otherwise.

-- +goose Up
CREATE TABLE replicas (
	number      INTEGER PRIMARY KEY,          -- short name of the router in the tables below
	router      TEXT NOT NULL UNIQUE REFERENCES routers (id),
	cursor      INTEGER NOT NULL DEFAULT 0,
	restarted   INTEGER NOT NULL DEFAULT 0,   -- 1 while it pushes all anew because spans did not fit
	pushed_at   INTEGER NOT NULL DEFAULT 0,   -- Unix milliseconds, the relay's clock
	as_of       INTEGER NOT NULL DEFAULT 0,   -- Unix milliseconds: up to then everything is here
	through     INTEGER NOT NULL DEFAULT 0,   -- what starts before is closed
	tail        INTEGER NOT NULL DEFAULT 0,   -- no bucket ends later
	fine_from   INTEGER NOT NULL DEFAULT 9223372036854775807, -- no bucket shorter than an hour starts earlier
	hour_from   INTEGER NOT NULL DEFAULT 9223372036854775807, -- no bucket shorter than a day starts earlier
	open        BLOB,                         -- buckets that may still change, each as in the table below, see packed.go
	counting    TEXT,                         -- last known, JSON as the router wrote it
	counting_at INTEGER NOT NULL DEFAULT 0,   -- Unix milliseconds, the relay's clock
	keep_5m     INTEGER NOT NULL DEFAULT 0,   -- seconds; 0 is the default
	keep_1h     INTEGER NOT NULL DEFAULT 0,
	keep_1d     INTEGER NOT NULL DEFAULT 0
) STRICT;

-- One packed row for all that a router moved in one slot. Spans of a router
-- do not overlap.
CREATE TABLE buckets (
	router INTEGER NOT NULL,
	start  INTEGER NOT NULL,
	length INTEGER NOT NULL,                  -- seconds
	data   BLOB NOT NULL,                     -- see packed.go
	PRIMARY KEY (router, start)
) STRICT, WITHOUT ROWID;

CREATE TABLE gaps (
	router INTEGER NOT NULL,
	start  INTEGER NOT NULL,                  -- Unix milliseconds, like until
	until  INTEGER NOT NULL,
	reason TEXT NOT NULL,
	PRIMARY KEY (router, start, until, reason)
) STRICT, WITHOUT ROWID;

-- The last answer of a router to each of a few methods.
CREATE TABLE answers (
	router TEXT NOT NULL REFERENCES routers (id),
	method TEXT NOT NULL,
	at     INTEGER NOT NULL,                  -- Unix milliseconds, the relay's clock
	result BLOB NOT NULL,
	PRIMARY KEY (router, method)
) STRICT;
