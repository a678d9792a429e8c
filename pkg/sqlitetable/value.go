package sqlitetable

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Kind is what a Value holds: SQLite's storage class.
type Kind uint8

// The five storage classes. Any column may hold any of them.
const (
	Null Kind = iota
	Int
	Real
	Text
	Blob
)

// String is the name typeof() gives.
func (k Kind) String() string {
	switch k {
	case Null:
		return "null"
	case Int:
		return "integer"
	case Real:
		return "real"
	case Text:
		return "text"
	case Blob:
		return "blob"
	}
	return "kind(" + strconv.Itoa(int(k)) + ")"
}

// Value is one column of one row. The zero Value is null.
type Value struct {
	kind Kind
	bits uint64 // an int64 or the bits of a float64
	data []byte // text as UTF-8, or a blob; of the row's buffer
}

func intValue(n int64) Value { return Value{kind: Int, bits: uint64(n)} }

// realValue follows SQLite in taking NaN for null.
func realValue(f float64) Value {
	if math.IsNaN(f) {
		return Value{}
	}
	return Value{kind: Real, bits: math.Float64bits(f)}
}

// Kind is what the value holds.
func (v Value) Kind() Kind { return v.kind }

// IsNull reports whether there is no value.
func (v Value) IsNull() bool { return v.kind == Null }

// Int is the integer, if it is one.
func (v Value) Int() (n int64, ok bool) {
	if v.kind != Int {
		return 0, false
	}
	return int64(v.bits), true
}

// Real is the number, if it is one; an integer is converted.
func (v Value) Real() (f float64, ok bool) {
	switch v.kind {
	case Real:
		return math.Float64frombits(v.bits), true
	case Int:
		return float64(int64(v.bits)), true
	}
	return 0, false
}

// Text is the text, if it is one. It is valid UTF-8 whatever the file says:
// what cannot be decoded is U+FFFD. It stays good after the next row is read.
func (v Value) Text() (s string, ok bool) {
	if v.kind != Text {
		return "", false
	}
	return strings.ToValidUTF8(string(v.data), "\uFFFD"), true
}

// Bytes is a blob, or a text as it is, good until the next row is read.
func (v Value) Bytes() (b []byte, ok bool) {
	if v.kind != Text && v.kind != Blob {
		return nil, false
	}
	return v.data, true
}

// String shows the value to a person.
func (v Value) String() string {
	switch v.kind {
	case Int:
		return strconv.FormatInt(int64(v.bits), 10)
	case Real:
		return strconv.FormatFloat(math.Float64frombits(v.bits), 'g', -1, 64)
	case Text:
		return strconv.Quote(string(v.data))
	case Blob:
		return fmt.Sprintf("x'%x'", v.data)
	}
	return "NULL"
}
