package nlbwmon

import (
	"bufio"
	"io"
	"strings"

	"github.com/netpilot/netpilot/pkg/usage"
)

// JSONDecoder streams what nlbw -c json prints, with any grouping and order;
// fields of absent columns are zero, and without a family column the address
// tells the family. nlbw does not escape names, so its output need not be
// valid JSON and encoding/json does not do: a name ends where the row does,
// so only one that contains "],[ itself is misread, and reported as
// ErrSyntax.
type JSONDecoder struct {
	textRows
	in    *bufio.Reader
	value [maxField + 1]byte
	open  bool // a row was read, so a comma or the end follows
}

// NewJSONDecoder reads up to the first row.
func NewJSONDecoder(r io.Reader) (*JSONDecoder, error) {
	d := &JSONDecoder{in: bufio.NewReader(r)}
	if _, err := d.in.Peek(1); err == io.EOF {
		return nil, &DataError{Kind: ErrEmpty}
	}
	if err := d.begin(); err != nil {
		return nil, d.fault(cutOff(err))
	}
	return d, nil
}

func (d *JSONDecoder) begin() error {
	if err := d.expect(`{"columns":[`); err != nil {
		return err
	}
	for {
		if err := d.expect(`"`); err != nil {
			return err
		}
		name, err := d.until(`"`)
		if err != nil {
			return err
		}
		if err := d.addColumn(name); err != nil {
			return err
		}
		c, err := d.in.ReadByte()
		if err != nil {
			return err
		}
		if c == ']' {
			return d.expect(`,"data":[`)
		}
		if c != ',' {
			return d.syntax("%q after a column", c)
		}
	}
}

// Header is empty: nlbw prints neither period nor number of rows.
func (d *JSONDecoder) Header() Header { return Header{} }

// Layer7 is the service name in the row read last, "" if there was none. Its
// bytes come from the router's protocols file: clean them before showing.
func (d *JSONDecoder) Layer7() string { return string(d.layer7) }

// Next reads one row into rec; io.EOF follows the last one. An error other
// than io.EOF is a *DataError and stays.
func (d *JSONDecoder) Next(rec *usage.Record) error { return d.next(rec, d.row) }

func (d *JSONDecoder) row(rec *usage.Record) error {
	c, err := d.in.ReadByte()
	if err != nil {
		return cutOff(err)
	}
	switch {
	case c == ']':
		return d.end()
	case d.open && c == ',':
		if err := d.expect("["); err != nil {
			return err
		}
	case d.open || c != '[':
		return d.syntax("%q where a row should begin", c)
	}
	d.open = true
	for i, col := range d.columns {
		if i > 0 {
			if err := d.expect(","); err != nil {
				return err
			}
		}
		if err := d.field(rec, col); err != nil {
			return cutOff(err)
		}
	}
	return d.expect("]")
}

func (d *JSONDecoder) field(rec *usage.Record, col column) error {
	if !col.quoted() {
		number, err := d.until(",]")
		if err != nil {
			return err
		}
		_ = d.in.UnreadByte()
		return d.set(rec, col, number)
	}
	if col == colLayer7 {
		if b, err := d.in.Peek(1); err != nil {
			return err
		} else if b[0] == 'n' {
			return d.expect("null")
		}
	}
	if err := d.expect(`"`); err != nil {
		return err
	}
	text, err := d.until(`"`)
	if err != nil {
		return err
	}
	for col == colLayer7 && !d.rowEnds() {
		if text, err = d.more(text, `"`); err != nil {
			return err
		}
	}
	return d.set(rec, col, text)
}

// rowEnds tells whether the quote just read is followed by the end of the row
// and the beginning of the next, or of the end.
func (d *JSONDecoder) rowEnds() bool {
	b, _ := d.in.Peek(3)
	return string(b) == "],[" || string(b) == "]]}"
}

// end reads what follows the last row.
func (d *JSONDecoder) end() error {
	if err := d.expect("}"); err != nil {
		return err
	}
	for {
		c, err := d.in.ReadByte()
		if err != nil {
			return err // io.EOF is the good end
		}
		if !isCSpace(c) {
			return &DataError{Kind: ErrTrailing, Rows: d.rows}
		}
	}
}

// until reads a value up to one of the bytes in stop, which it consumes. The
// result is valid until the next call.
func (d *JSONDecoder) until(stop string) ([]byte, error) {
	return d.readTo(d.value[:0], stop)
}

// more goes on behind a quote that belonged to the value.
func (d *JSONDecoder) more(value []byte, stop string) ([]byte, error) {
	return d.readTo(append(value, '"'), stop)
}

func (d *JSONDecoder) readTo(value []byte, stop string) ([]byte, error) {
	for len(value) <= maxField {
		c, err := d.in.ReadByte()
		if err != nil {
			return nil, cutOff(err)
		}
		if strings.IndexByte(stop, c) >= 0 {
			return value, nil
		}
		value = append(value, c)
	}
	return nil, d.syntax("value longer than %d bytes", maxField)
}

// expect reads exactly the text.
func (d *JSONDecoder) expect(text string) error {
	for i := 0; i < len(text); i++ {
		c, err := d.in.ReadByte()
		if err != nil {
			return cutOff(err)
		}
		if c != text[i] {
			return d.syntax("%q where %q should be", c, text[i])
		}
	}
	return nil
}
