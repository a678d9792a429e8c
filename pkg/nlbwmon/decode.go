package nlbwmon

import (
	"bufio"
	"errors"
	"io"

	"github.com/netpilot/netpilot/pkg/usage"
)

// bufferSize is large enough to drain a dump in few calls and to hold
// guessRows records.
const bufferSize = 32 << 10

// Decoder streams the rows of a database file, a snapshot or a dump, plain or
// gzip; which of them is told from the content, since nlbwmon reads plain
// content under a .gz name as well. Next does not allocate.
//
// It accepts what stock nlbwmon accepts: any interval type but 0, unknown
// families, rows that come twice, several gzip members, bytes after the last
// row of a plain file, which Trailing counts. Errors are of type *DataError;
// rows before the fault have been delivered by then.
type Decoder struct {
	in      *bufio.Reader
	gzipped bool
	strict  bool // refuse trailing bytes in plain content too
	header  Header
	order   AddrOrder
	guessed bool
	rows    uint32
	extra   int64
	err     error // what Next answers from now on
}

// NewDecoder reads the header from r. With OrderGuess it also looks ahead at
// the first rows' addresses. The caller closes r and bounds it.
func NewDecoder(r io.Reader, order AddrOrder) (*Decoder, error) {
	return newDecoder(r, order, bufferSize)
}

// newDecoder is NewDecoder for a reader that has no more than size bytes,
// which saves most of the buffer for the few rows of a small network.
func newDecoder(r io.Reader, order AddrOrder, size int64) (*Decoder, error) {
	d := &Decoder{in: bufio.NewReaderSize(r, int(min(size, bufferSize))), order: order}
	if gzipNext(d.in) {
		d.gzipped = true
		d.in = bufio.NewReaderSize(&gzipReader{in: d.in}, bufferSize)
	}
	if err := d.readHeader(); err != nil {
		return nil, err
	}
	if d.order == OrderGuess {
		d.guessed = true
		d.order = d.guessOrder()
	}
	return d, nil
}

// readHeader checks in nlbwmon's order: size, magic, interval.
func (d *Decoder) readHeader() error {
	b, err := d.in.Peek(16)
	if len(b) == 0 && errors.Is(err, io.EOF) {
		return &DataError{Kind: ErrEmpty}
	}
	if n := min(len(b), len(magic)); string(b[:n]) != magic[:n] {
		return &DataError{Kind: ErrMagic}
	}
	if len(b) < 16 {
		return newDataError(err)
	}
	size := headerSize
	if compactHeader(b) {
		size = compactHeaderSize
	}
	if b, err = d.in.Peek(size); len(b) < size {
		return newDataError(err)
	}
	d.header = parseHeader(b)
	_, _ = d.in.Discard(size) // all of it is buffered
	if d.header.Interval.Type == 0 {
		return &DataError{Kind: ErrInterval, Entries: d.header.Entries}
	}
	return nil
}

// Header is the header as read.
func (d *Decoder) Header() Header { return d.header }

// Order is the byte order in use, and whether it was guessed.
func (d *Decoder) Order() (order AddrOrder, guessed bool) { return d.order, d.guessed }

// Trailing counts the bytes after the last row of a plain file. nlbwmon
// ignores them. It is valid after Next returned io.EOF.
func (d *Decoder) Trailing() int64 { return d.extra }

// Next reads one row into rec; io.EOF follows the last one. An error other
// than io.EOF is a *DataError and stays.
func (d *Decoder) Next(rec *usage.Record) error {
	if d.err != nil {
		return d.err
	}
	if d.rows == d.header.Entries {
		d.err = d.finish()
		return d.err
	}
	size := d.header.recordSize()
	b, err := d.in.Peek(size)
	if len(b) < size {
		d.err = d.fault(newDataError(err))
		return d.err
	}
	parseRecord(b, d.order, d.header.Compact, rec)
	_, _ = d.in.Discard(size) // all of it is buffered
	d.rows++
	return nil
}

// finish looks behind the last row: for gzip that also checks the CRC.
func (d *Decoder) finish() error {
	_, err := d.in.Peek(1)
	switch {
	case err == nil && (d.gzipped || d.strict):
		return d.fault(&DataError{Kind: ErrTrailing})
	case err == nil:
		if d.extra, err = io.Copy(io.Discard, d.in); err != nil {
			return d.fault(newDataError(err))
		}
		return io.EOF
	case errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		return io.EOF
	}
	return d.fault(newDataError(err))
}

func (d *Decoder) fault(e *DataError) error {
	e.Rows, e.Entries = d.rows, d.header.Entries
	return e
}
