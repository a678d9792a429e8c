package sqlite

import (
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// explain turns what SQLite says of the world around it into an error that
// says what to do; others pass as they are.
func explain(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	message := ""
	switch e.Code() & 0xff { // the rest is the extended code
	case sqlite3.SQLITE_FULL:
		message = "the relay's disk is full; make room in its data directory, it goes on by itself"
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		message = "another program holds the relay's database locked; end it, as a sqlite3 shell or a copy in progress, and try again"
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		message = "the relay's database is damaged; restore it from a backup, or move it away and enrol anew"
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN:
		message = "the relay's database cannot be read or written; check its disk and the owner of the data directory"
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
		message = "the relay's database is read-only; check the owner and mode of the data directory and its file system"
	default:
		return err
	}
	return fmt.Errorf("%s (%w)", message, err)
}
