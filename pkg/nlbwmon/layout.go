package nlbwmon

import (
	"encoding/binary"

	"github.com/netpilot/netpilot/pkg/usage"
)

// magic opens every database on every architecture ("nlbm", database.h).
const magic = "nlbm"

// Sizes in bytes of nlbwmon's struct database and of struct record up to its
// index node. In the compact form 64-bit fields are aligned to four bytes.
const (
	headerSize        = 40
	recordSize        = 72
	compactHeaderSize = 28
	compactRecordSize = 68
)

// Header opens a database file, a snapshot and a dump (struct database in
// nlbwmon's database.h).
type Header struct {
	Entries  uint32   // rows that follow
	Period   Period   // 0 in the live snapshot; in a dump always the daemon's current period
	Interval Interval // in a dump always the daemon's current setting
	Compact  bool     // laid out by 32-bit x86: header 28, record 68 bytes
}

// Size is how many bytes h and its rows take.
func (h Header) Size() int64 {
	return int64(h.headerSize()) + int64(h.Entries)*int64(h.recordSize())
}

func (h Header) headerSize() int {
	if h.Compact {
		return compactHeaderSize
	}
	return headerSize
}

func (h Header) recordSize() int {
	if h.Compact {
		return compactRecordSize
	}
	return recordSize
}

// AddrOrder is the byte order in which IPv4 addresses are stored, the only
// thing that differs between little-endian and big-endian routers. No header
// tells it.
type AddrOrder uint8

// The byte orders. OrderGuess means "unknown": a Decoder then looks at the
// addresses, a Client takes its own machine's order.
const (
	OrderGuess  AddrOrder = iota
	OrderLittle           // mipsel, arm, aarch64, x86: 192.168.77.11 is 0b 4d a8 c0
	OrderBig              // mips: 192.168.77.11 is c0 a8 4d 0b
)

// String is "little", "big" or "guess".
func (o AddrOrder) String() string {
	switch o {
	case OrderLittle:
		return "little"
	case OrderBig:
		return "big"
	}
	return "guess"
}

// NativeOrder is the order of the machine this runs on.
func NativeOrder() AddrOrder {
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		return OrderLittle
	}
	return OrderBig
}

// orNative resolves OrderGuess where the data comes from this very machine.
func (o AddrOrder) orNative() AddrOrder {
	if o == OrderGuess {
		return NativeOrder()
	}
	return o
}

// Rows streams records. Next fills *rec and returns io.EOF after the last row;
// rows are as stored, so the same device, protocol and port may come twice,
// and whoever keeps them adds the counters as nlbwmon does.
type Rows interface {
	Header() Header
	Next(rec *usage.Record) error
}

// parseHeader reads b, which holds at least the size of the header it
// announces. It checks nothing.
func parseHeader(b []byte) Header {
	h := Header{
		Entries: binary.BigEndian.Uint32(b[4:]),
		Period:  Period(binary.BigEndian.Uint32(b[8:])),
		Compact: compactHeader(b),
	}
	if h.Compact {
		b = b[12:]
	} else {
		b = b[16:]
	}
	h.Interval.Type = b[0]
	if h.Compact {
		b = b[4:]
	} else {
		b = b[8:]
	}
	h.Interval.Base = int64(binary.BigEndian.Uint64(b))
	h.Interval.Value = int32(binary.BigEndian.Uint32(b[8:]))
	return h
}

// compactHeader tells the two layouts apart by byte 12: padding, hence zero,
// in the wide one, the interval type, hence not zero, in the compact one.
func compactHeader(b []byte) bool { return b[12] != 0 }

// AppendHeader appends h as nlbwmon stores it.
func AppendHeader(dst []byte, h Header) []byte {
	dst = append(dst, magic...)
	dst = binary.BigEndian.AppendUint32(dst, h.Entries)
	dst = binary.BigEndian.AppendUint32(dst, uint32(h.Period))
	if !h.Compact {
		dst = append(dst, 0, 0, 0, 0)
	}
	dst = append(dst, h.Interval.Type, 0, 0, 0)
	if !h.Compact {
		dst = append(dst, 0, 0, 0, 0)
	}
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.Interval.Base))
	dst = binary.BigEndian.AppendUint32(dst, uint32(h.Interval.Value))
	if !h.Compact {
		dst = append(dst, 0, 0, 0, 0)
	}
	return dst
}

// parseRecord reads one row, 72 bytes or 68 in the compact form. After the
// first four bytes the two differ only by four bytes of padding.
func parseRecord(b []byte, order AddrOrder, compact bool, rec *usage.Record) {
	rec.Family = b[0]
	rec.Proto = b[1]
	rec.Port = binary.BigEndian.Uint16(b[2:])
	if compact {
		b = b[4:compactRecordSize]
	} else {
		b = b[8:recordSize]
	}
	rec.MAC = usage.MAC(b[:6])
	rec.Addr = [16]byte(b[8:24])
	if rec.Family == usage.FamilyIPv4 && order == OrderLittle {
		reverse4(rec.Addr[:4])
	}
	rec.Conns = binary.BigEndian.Uint64(b[24:])
	rec.TxPackets = binary.BigEndian.Uint64(b[32:])
	rec.TxBytes = binary.BigEndian.Uint64(b[40:])
	rec.RxPackets = binary.BigEndian.Uint64(b[48:])
	rec.RxBytes = binary.BigEndian.Uint64(b[56:])
}

// AppendRecord appends rec as nlbwmon stores it. OrderGuess is this machine's
// order.
func AppendRecord(dst []byte, rec *usage.Record, order AddrOrder, compact bool) []byte {
	dst = append(dst, rec.Family, rec.Proto)
	dst = binary.BigEndian.AppendUint16(dst, rec.Port)
	if !compact {
		dst = append(dst, 0, 0, 0, 0)
	}
	dst = append(dst, rec.MAC[:]...)
	dst = append(dst, 0, 0)
	at := len(dst)
	dst = append(dst, rec.Addr[:]...)
	if rec.Family == usage.FamilyIPv4 && order.orNative() == OrderLittle {
		reverse4(dst[at : at+4])
	}
	dst = binary.BigEndian.AppendUint64(dst, rec.Conns)
	dst = binary.BigEndian.AppendUint64(dst, rec.TxPackets)
	dst = binary.BigEndian.AppendUint64(dst, rec.TxBytes)
	dst = binary.BigEndian.AppendUint64(dst, rec.RxPackets)
	return binary.BigEndian.AppendUint64(dst, rec.RxBytes)
}

func reverse4(b []byte) { b[0], b[1], b[2], b[3] = b[3], b[2], b[1], b[0] }
