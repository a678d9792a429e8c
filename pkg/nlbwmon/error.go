package nlbwmon

import (
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
)

// What can be wrong with nlbwmon's data, for errors.Is.
var (
	ErrEmpty     = errors.New("nlbwmon: no data at all")              // 0 bytes; on the socket: no such period
	ErrMagic     = errors.New("nlbwmon: not a database")              // the first bytes are not "nlbm"
	ErrTruncated = errors.New("nlbwmon: data cut off")                // header, record or gzip stream ends early
	ErrTrailing  = errors.New("nlbwmon: more data than announced")    // inside gzip, where nlbwmon refuses it too
	ErrChecksum  = errors.New("nlbwmon: compressed data is damaged")  // gzip's CRC or structure is wrong
	ErrInterval  = errors.New("nlbwmon: header without an interval")  // interval type 0
	ErrPeriod    = errors.New("nlbwmon: file is of another period")   // header and file name differ
	ErrSyntax    = errors.New("nlbwmon: not what nlbw prints")        // JSON and CSV only
	ErrTooLarge  = errors.New("nlbwmon: answer larger than accepted") // more than MaxReply
	ErrTorn      = errors.New("nlbwmon: snapshot changed while read") // each time it was tried
	ErrLocked    = errors.New("nlbwmon: another reader holds the lock")
)

// DataError tells what is wrong with data and how much of it was good.
// errors.Is finds its Kind, one of the errors above, and its cause.
type DataError struct {
	Kind    error
	Rows    uint32 // good rows delivered before the fault
	Entries uint32 // rows the header announced; 0 if there was none
	Cause   error  // may be nil
}

// Error says what is wrong, where, and what to do.
func (e *DataError) Error() string {
	s := e.Kind.Error()
	if e.Cause != nil {
		s = fmt.Sprintf("%s (%v)", s, e.Cause)
	}
	if e.Entries > 0 || e.Rows > 0 {
		s = fmt.Sprintf("%s after %d of %d records", s, e.Rows, e.Entries)
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
	case ErrEmpty, ErrTruncated:
		return "if nlbwmon was just writing, read it again; otherwise it was lost at a power cut"
	case ErrMagic, ErrInterval:
		return "check that the path names an nlbwmon database"
	case ErrTrailing, ErrChecksum:
		return "nlbwmon refuses this file too; move it away"
	case ErrPeriod:
		return "the file was renamed or copied; give it its own period's name"
	case ErrSyntax:
		return "give the unchanged output of nlbw -c json or nlbw -c csv"
	}
	return ""
}

// newDataError sorts a read error: the stream ended early, or its compression
// is damaged, or reading itself failed, which is then the kind.
func newDataError(err error) *DataError {
	var corrupt flate.CorruptInputError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &DataError{Kind: ErrTruncated, Cause: err}
	case errors.Is(err, gzip.ErrChecksum), errors.Is(err, gzip.ErrHeader), errors.As(err, &corrupt):
		return &DataError{Kind: ErrChecksum, Cause: err}
	}
	return &DataError{Kind: err}
}
