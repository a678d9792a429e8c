package nlbwmon

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"github.com/netpilot/netpilot/pkg/usage"
)

// csvLine bounds a line in bytes: eleven columns of at most maxField.
const csvLine = 1024

// CSVDecoder streams what nlbw -c csv prints, with any grouping and order;
// fields of absent columns are zero, and without a family column the address
// tells the family. Separator (-s) and quote (-q) are told from the header
// line. It is not RFC 4180: nlbw escapes only the escape character itself and
// never quotes numbers.
type CSVDecoder struct {
	// Escape is nlbw's -e, which the output does not tell; it matters for
	// Layer7 only. NewCSVDecoder sets nlbw's default, '"'; 0 is none.
	Escape byte

	textRows
	in    *bufio.Reader
	sep   byte
	quote byte // 0 is none
}

// NewCSVDecoder reads the header line.
func NewCSVDecoder(r io.Reader) (*CSVDecoder, error) {
	d := &CSVDecoder{Escape: '"', in: bufio.NewReaderSize(r, csvLine)}
	line, err := d.line()
	if err == io.EOF {
		return nil, &DataError{Kind: ErrEmpty}
	}
	if err == nil {
		err = d.begin(line)
	}
	if err != nil {
		return nil, d.fault(err)
	}
	return d, nil
}

// begin finds the quote before and the separator after the first name.
func (d *CSVDecoder) begin(line []byte) error {
	name, rest := firstColumn(line)
	if name == "" && len(line) > 0 {
		d.quote = line[0]
		name, rest = firstColumn(line[1:])
		if len(rest) > 0 && rest[0] == d.quote {
			rest = rest[1:]
		} else {
			name = ""
		}
	}
	if name == "" || len(rest) == 0 || rest[0] == d.quote && d.quote != 0 {
		return d.syntax("header line %q", usage.Clean(string(line), 2*maxField))
	}
	d.sep = rest[0]
	for more := true; more; {
		var field []byte
		if field, line, more = d.cut(line, d.quote != 0); len(field) > maxField {
			return d.syntax("column name longer than %d bytes", maxField)
		}
		if err := d.addColumn(field); err != nil {
			return err
		}
	}
	return nil
}

// firstColumn finds the column name a line begins with.
func firstColumn(line []byte) (name string, rest []byte) {
	for _, name := range columnNames {
		if bytes.HasPrefix(line, []byte(name)) {
			return name, line[len(name):]
		}
	}
	return "", line
}

// Header is empty: nlbw prints neither period nor number of rows.
func (d *CSVDecoder) Header() Header { return Header{} }

// Layer7 is the service name in the row read last, "" if there was none. Its
// bytes come from the router's protocols file: clean them before showing.
func (d *CSVDecoder) Layer7() string { return string(d.layer7) }

// Next reads one row into rec; io.EOF follows the last one. An error other
// than io.EOF is a *DataError and stays.
func (d *CSVDecoder) Next(rec *usage.Record) error { return d.next(rec, d.row) }

func (d *CSVDecoder) row(rec *usage.Record) error {
	line, err := d.line()
	if err != nil {
		return err
	}
	more := true
	for _, col := range d.columns {
		if !more {
			return d.syntax("row has too few columns")
		}
		var field []byte
		if col == colLayer7 { // the last one: a name may hold the separator
			field, more = d.name(line), false
		} else {
			field, line, more = d.cut(line, d.quote != 0 && col.quoted())
		}
		if err := d.set(rec, col, field); err != nil {
			return err
		}
	}
	if more {
		return d.syntax("row has too many columns")
	}
	return nil
}

// line reads one line without its end. io.EOF is returned between lines only.
func (d *CSVDecoder) line() ([]byte, error) {
	line, err := d.in.ReadSlice('\n')
	switch {
	case err == nil:
		return line[:len(line)-1], nil
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, d.syntax("line longer than %d bytes", csvLine)
	case err == io.EOF && len(line) > 0:
		return nil, io.ErrUnexpectedEOF
	}
	return nil, err
}

// cut takes the first field off line. A quoted one ends at a quote before a
// separator, so that the separator may stand in an address.
func (d *CSVDecoder) cut(line []byte, quoted bool) (field, rest []byte, more bool) {
	if !quoted || len(line) == 0 || line[0] != d.quote {
		return bytes.Cut(line, []byte{d.sep})
	}
	field, rest, more = bytes.Cut(line[1:], []byte{d.quote, d.sep})
	if !more {
		field = bytes.TrimSuffix(field, []byte{d.quote})
	}
	return field, rest, more
}

// name takes the quotes and the escaping off a service name, in place.
func (d *CSVDecoder) name(field []byte) []byte {
	if n := len(field); d.quote != 0 && n >= 2 && field[0] == d.quote && field[n-1] == d.quote {
		field = field[1 : n-1]
	}
	if d.Escape == 0 {
		return field
	}
	out := field[:0]
	for i := 0; i < len(field); i++ {
		out = append(out, field[i])
		if field[i] == d.Escape && i+1 < len(field) && field[i+1] == d.Escape {
			i++
		}
	}
	return out
}
