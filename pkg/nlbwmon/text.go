package nlbwmon

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"

	"github.com/netpilot/netpilot/pkg/usage"
)

// maxField bounds a value in bytes: the longest are IPv6 addresses (45) and
// names of the protocols file (32, doubled by CSV's escaping).
const maxField = 64

// column is a field of nlbw's output, in the order nlbw prints them (client.c).
type column uint8

const (
	colFamily column = iota
	colProto
	colPort
	colMAC
	colIP
	colConns
	colRxBytes
	colRxPkts
	colTxBytes
	colTxPkts
	colLayer7
	numColumns
)

var columnNames = [numColumns]string{
	"family", "proto", "port", "mac", "ip", "conns", "rx_bytes", "rx_pkts", "tx_bytes", "tx_pkts", "layer7",
}

// quoted tells whether nlbw prints the column as a string.
func (c column) quoted() bool {
	return c == colProto || c == colMAC || c == colIP || c == colLayer7
}

// textRows is what the JSON and CSV decoders share.
type textRows struct {
	columns []column // rising
	layer7  []byte   // of the last row
	rows    uint32
	err     error // what Next answers from now on
}

// addColumn takes the next column's name. They come in a fixed order; layer7
// is the last, which is what makes nlbw's unescaped names readable.
func (t *textRows) addColumn(name []byte) error {
	for c := range numColumns {
		if columnNames[c] != string(name) {
			continue
		}
		if n := len(t.columns); n > 0 && t.columns[n-1] >= c {
			break
		}
		t.columns = append(t.columns, c)
		return nil
	}
	return t.syntax("column %q is unknown or out of order", usage.Clean(string(name), maxField))
}

// set stores one value.
func (t *textRows) set(rec *usage.Record, c column, value []byte) error {
	switch c {
	case colProto:
		proto, ok := ParseProtoName(string(value))
		if !ok {
			return t.invalid(c, value)
		}
		rec.Proto = proto
	case colMAC:
		mac, err := usage.ParseMAC(string(value))
		if err != nil {
			return t.invalid(c, value)
		}
		rec.MAC = mac
	case colIP:
		return t.setIP(rec, value)
	case colLayer7:
		t.layer7 = append(t.layer7[:0], value...)
	default:
		n, err := strconv.ParseUint(string(value), 10, 64)
		if err != nil || !setNumber(rec, c, n) {
			return t.invalid(c, value)
		}
	}
	return nil
}

// setNumber stores n unless it is out of the column's range.
func setNumber(rec *usage.Record, c column, n uint64) bool {
	switch c {
	case colFamily:
		rec.Family = usage.FamilyIPv6 // nlbw prints 6 for all but IPv4
		if n == 4 {
			rec.Family = usage.FamilyIPv4
		}
		return n == 4 || n == 6
	case colPort:
		rec.Port = uint16(n)
		return n <= 0xffff
	case colConns:
		rec.Conns = n
	case colRxBytes:
		rec.RxBytes = n
	case colRxPkts:
		rec.RxPackets = n
	case colTxBytes:
		rec.TxBytes = n
	case colTxPkts:
		rec.TxPackets = n
	}
	return true
}

// setIP stores the address. Without a family column the address tells the
// family. For a family it does not know nlbw prints 6 and whatever address it
// printed before, or nothing: then no address is stored.
func (t *textRows) setIP(rec *usage.Record, value []byte) error {
	if len(value) == 0 && rec.Family != usage.FamilyIPv4 {
		return nil
	}
	a, err := netip.ParseAddr(string(value))
	if err != nil || a.Zone() != "" || rec.Family == usage.FamilyIPv4 && !a.Is4() {
		return t.invalid(colIP, value)
	}
	if rec.Family == usage.FamilyIPv6 && a.Is4() {
		return nil
	}
	rec.SetIP(a)
	return nil
}

func (t *textRows) invalid(c column, value []byte) error {
	return t.syntax("%s is %q", columnNames[c], usage.Clean(string(value), maxField))
}

func (t *textRows) syntax(format string, args ...any) error {
	return &DataError{Kind: ErrSyntax, Rows: t.rows, Cause: fmt.Errorf(format, args...)}
}

// fault completes a read error.
func (t *textRows) fault(err error) error {
	var e *DataError
	if errors.As(err, &e) {
		return e
	}
	e = newDataError(err)
	e.Rows = t.rows
	return e
}

// next runs row, which fills rec or returns io.EOF, and keeps its error.
func (t *textRows) next(rec *usage.Record, row func(*usage.Record) error) error {
	if t.err != nil {
		return t.err
	}
	*rec = usage.Record{}
	t.layer7 = t.layer7[:0]
	if err := row(rec); err != nil {
		if err != io.EOF {
			err = t.fault(err)
		}
		t.err = err
		return err
	}
	t.rows++
	return nil
}
