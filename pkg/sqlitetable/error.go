package sqlitetable

import (
	"errors"
	"fmt"
)

// What can be wrong, for errors.Is. An error's text names the next step.
var (
	ErrNotDatabase  = errors.New("sqlitetable: not an SQLite database")           // or an encrypted one
	ErrVersion      = errors.New("sqlitetable: database of a newer format")       // file or log
	ErrTruncated    = errors.New("sqlitetable: database cut off")                 // a page lies beyond the end
	ErrDamaged      = errors.New("sqlitetable: database is damaged")              // it contradicts itself
	ErrTooLarge     = errors.New("sqlitetable: more than is accepted")            // a row, the schema or the log
	ErrHotJournal   = errors.New("sqlitetable: unfinished change needs rollback") // a writer died
	ErrLocked       = errors.New("sqlitetable: database is being written")        // for longer than lockWait
	ErrChanged      = errors.New("sqlitetable: database changed while read")      // only without locks
	ErrNoTable      = errors.New("sqlitetable: no such table")
	ErrView         = errors.New("sqlitetable: a view has no rows of its own")
	ErrVirtual      = errors.New("sqlitetable: a virtual table has no rows in the file")
	ErrWithoutRowID = errors.New("sqlitetable: WITHOUT ROWID tables are not read")
	ErrSchema       = errors.New("sqlitetable: table definition not understood")
)

// DataError tells what is wrong with a database, where, and how much was good.
// errors.Is finds its Kind, one of the errors above, and its cause.
type DataError struct {
	Kind   error
	Table  string // "" if it is not about one table
	Page   uint32 // number of the faulty page, 0 if none is to blame
	Rows   uint64 // good rows delivered before the fault
	Detail string // what was found, for a person
	Cause  error  // may be nil
}

// Error says what is wrong, where, and what to do.
func (e *DataError) Error() string {
	s := e.Kind.Error()
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	if e.Cause != nil {
		s = fmt.Sprintf("%s (%v)", s, e.Cause)
	}
	if e.Table != "" {
		s = fmt.Sprintf("%s, table %q", s, e.Table)
	}
	if e.Page != 0 {
		s = fmt.Sprintf("%s, page %d", s, e.Page)
	}
	if e.Rows != 0 {
		s = fmt.Sprintf("%s, after %d rows", s, e.Rows)
	}
	if hint := hintFor(e.Kind); hint != "" {
		s += "; " + hint
	}
	return s
}

// Unwrap lists kind and cause.
func (e *DataError) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}

// hintFor is the next step for a person.
func hintFor(kind error) string {
	switch kind {
	case ErrNotDatabase:
		return "check that the path names an SQLite file and that it is not encrypted"
	case ErrVersion:
		return "copy it with a current sqlite3: VACUUM INTO"
	case ErrTruncated, ErrDamaged:
		return "try on a computer: sqlite3 FILE .recover"
	case ErrTooLarge:
		return "read it on a computer with sqlite3"
	case ErrHotJournal:
		return "let its own program open it once, or: sqlite3 FILE .tables"
	case ErrLocked, ErrChanged:
		return "try again"
	case ErrNoTable:
		return "list the tables: sqlite3 FILE .tables"
	case ErrView:
		return "read the table it is made of"
	case ErrVirtual, ErrWithoutRowID, ErrSchema:
		return "copy it in sqlite3: CREATE TABLE copy AS SELECT * FROM it"
	}
	return ""
}

func damaged(page uint32, format string, args ...any) *DataError {
	return &DataError{Kind: ErrDamaged, Page: page, Detail: fmt.Sprintf(format, args...)}
}
