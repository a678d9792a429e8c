-- +goose Up
-- What each device moved in all buckets that were pushed since counting began:
-- numbers that never go down, whatever becomes of the buckets. Where a bucket
-- was corrected to less, what was counted too much is owed: it is taken from
-- what comes next.
CREATE TABLE counters (
	number  INTEGER PRIMARY KEY,     -- in the order in which devices first came
	router  INTEGER NOT NULL,        -- its number in replicas
	mac     BLOB NOT NULL,           -- zeroes: no device was found, or one too many
	rx      INTEGER NOT NULL,        -- bytes, like those below
	rx_owed INTEGER NOT NULL,
	tx      INTEGER NOT NULL,
	tx_owed INTEGER NOT NULL,
	UNIQUE (router, mac)
) STRICT;
ALTER TABLE replicas ADD COLUMN deleted_to INTEGER NOT NULL DEFAULT 0; -- what starts before has come of age and was deleted
