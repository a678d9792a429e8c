package nlbwmon

import (
	"io"
	"math"
)

// cSpace is what isspace accepts in the C locale.
const cSpace = " \t\n\v\f\r"

func isCSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// skipSpace is white space in a scanf format: it matches any amount of it,
// newlines included, and none as well.
func skipSpace(r io.ByteScanner) {
	for {
		c, err := r.ReadByte()
		if err != nil {
			return
		}
		if !isCSpace(c) {
			_ = r.UnreadByte()
			return
		}
	}
}

// scanByte is an ordinary character in a scanf format.
func scanByte(r io.ByteScanner, want byte) bool {
	c, err := r.ReadByte()
	if err != nil {
		return false
	}
	if c != want {
		_ = r.UnreadByte()
	}
	return c == want
}

// scanUint is scanf's %u or %d in two's complement: white space is skipped, a
// sign is allowed, a number too large is 2^64-1, and at least one digit is
// needed. width bounds sign and digits; 0 is no bound.
func scanUint(r io.ByteScanner, width int) (value uint64, ok bool) {
	skipSpace(r)
	var negative, tooLarge bool
	for n := 0; width == 0 || n < width; n++ {
		c, err := r.ReadByte()
		if err != nil {
			break
		}
		if n == 0 && (c == '-' || c == '+') {
			negative = c == '-'
			continue
		}
		if c < '0' || c > '9' {
			_ = r.UnreadByte()
			break
		}
		ok = true
		digit := uint64(c - '0')
		tooLarge = tooLarge || value > (math.MaxUint64-digit)/10
		value = value*10 + digit
	}
	switch {
	case tooLarge:
		return math.MaxUint64, ok
	case negative:
		return -value, ok
	}
	return value, ok
}
