package sqlitetable

import (
	"encoding/binary"
	"math"
	"unicode/utf16"
	"unicode/utf8"
)

// encoding is how a database keeps its texts (section 1.3.13).
type encoding uint32

const (
	utf8Text    encoding = 1
	utf16leText encoding = 2
	utf16beText encoding = 3
)

// varint reads a number of one to nine bytes, the ninth giving eight bits
// (section 1.6). n is 0 if b ends too early.
func varint(b []byte) (v uint64, n int) {
	for i := range min(len(b), 9) {
		if i == 8 {
			return v<<8 | uint64(b[8]), 9
		}
		v = v<<7 | uint64(b[i]&0x7f)
		if b[i] < 0x80 {
			return v, i + 1
		}
	}
	return 0, 0
}

// decoder turns a record into values and keeps the room for its texts.
type decoder struct {
	enc   encoding
	texts []byte // UTF-16 texts of the present row as UTF-8
}

// decode sets dst to the first len(dst) fields of a record (section 2.1). have
// is how many the record has: fewer if columns were added to the table later.
func (d *decoder) decode(record []byte, dst []Value) (have int, err *DataError) {
	d.texts = d.texts[:0]
	size, n := varint(record)
	if n == 0 || size < uint64(n) || size > uint64(len(record)) {
		return 0, damaged(0, "record header of %d bytes in a record of %d", size, len(record))
	}
	header, body := record[n:size], record[size:]
	for have < len(dst) && len(header) > 0 {
		serial, n := varint(header)
		if n == 0 {
			return 0, damaged(0, "record header ends within a number")
		}
		header = header[n:]
		length, ok := serialSize(serial)
		if !ok || length > uint64(len(body)) {
			return 0, damaged(0, "field %d has serial type %d, and %d bytes are left", have, serial, len(body))
		}
		dst[have] = d.value(serial, body[:length])
		body = body[length:]
		have++
	}
	return have, nil
}

// serialSize is how many bytes a field has; types 10 and 11 are reserved.
func serialSize(serial uint64) (n uint64, ok bool) {
	switch {
	case serial <= 4:
		return serial, true
	case serial == 5:
		return 6, true
	case serial <= 7:
		return 8, true
	case serial <= 9:
		return 0, true
	case serial <= 11:
		return 0, false
	}
	return (serial - 12) / 2, true
}

func (d *decoder) value(serial uint64, b []byte) Value {
	switch {
	case serial == 0:
		return Value{}
	case serial <= 6:
		n := int64(int8(b[0]))
		for _, c := range b[1:] {
			n = n<<8 | int64(c)
		}
		return intValue(n)
	case serial == 7:
		return realValue(math.Float64frombits(binary.BigEndian.Uint64(b)))
	case serial <= 9:
		return intValue(int64(serial - 8))
	case serial%2 == 0:
		return Value{kind: Blob, data: b}
	}
	return Value{kind: Text, data: d.text(b)}
}

// text makes UTF-8 of b. An odd last byte of UTF-16 is dropped, as SQLite does.
func (d *decoder) text(b []byte) []byte {
	var order binary.ByteOrder
	switch d.enc {
	case utf16leText:
		order = binary.LittleEndian
	case utf16beText:
		order = binary.BigEndian
	default:
		return b
	}
	start := len(d.texts)
	for len(b) >= 2 {
		c := rune(order.Uint16(b))
		b = b[2:]
		if utf16.IsSurrogate(c) {
			low := rune(utf8.RuneError)
			if len(b) >= 2 {
				low = rune(order.Uint16(b))
			}
			if c = utf16.DecodeRune(c, low); c != utf8.RuneError {
				b = b[2:]
			}
		}
		d.texts = utf8.AppendRune(d.texts, c)
	}
	return d.texts[start:len(d.texts):len(d.texts)]
}
