package oui

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"unicode/utf8"

	"github.com/netpilot/netpilot/pkg/usage"
)

// Control bytes of coded text; names hold none.
const (
	capsOn   = 1 // letters are capitals from here on
	capsOff  = 2
	flipCase = 3 // the next letter is the other case than it would be
)

// casing puts capitals back: at the start of words, in capital words, and where
// flipped.
type casing struct {
	caps, flip, inWord bool
}

// put appends what byte c of coded text stands for.
func (s *casing) put(dst []byte, c byte) []byte {
	switch {
	case c == capsOn:
		s.caps = true
		return dst
	case c == capsOff:
		s.caps = false
		return dst
	case c == flipCase:
		s.flip = true
		return dst
	case 'a' <= c && c <= 'z':
		if (s.caps || !s.inWord) != s.flip {
			c -= 'a' - 'A'
		}
		s.inWord = true
	default:
		s.inWord = c != ' ' && c != '-' && c != '(' && c != '.' && c != '&' && c != '/'
	}
	s.flip = false
	return append(dst, c)
}

// code is the dictionary: canonical Huffman codes (RFC 1951 section 3.2.2) of
// strings, in the order of their codes.
type code struct {
	text   []byte   // of all symbols, one after the other
	starts []uint16 // where each begins in text, and where the last ends; endFlag marks those that end a name
	// The first code beyond those of each length, and the symbol at which a
	// length begins less its first code; both for codes moved to the left of
	// maxBits bits.
	limit  [maxBits + 1]uint32
	offset [maxBits + 1]int32
	// The length at which to begin comparing, by the first eight bits.
	least [256]uint8
}

const endFlag = 1 << 15

// parseCode reads how many codes each length has and the strings: a length
// byte, with endBit where the string ends a name, and the text.
func parseCode(lengths, dict []byte, count int) (*code, error) {
	c := &code{starts: make([]uint16, 0, count+1), text: make([]byte, 0, max(0, len(dict)-count))}
	first, total := uint32(0), 0
	for n := 1; n <= maxBits; n++ {
		size := int(binary.BigEndian.Uint16(lengths[2*(n-1):]))
		c.offset[n] = int32(total) - int32(first>>(maxBits-n))
		total += size
		first += uint32(size) << (maxBits - n)
		c.limit[n] = first
		if first > 1<<maxBits {
			return nil, fmt.Errorf("%w (codes)", ErrDamaged)
		}
	}
	if total != count {
		return nil, fmt.Errorf("%w (codes)", ErrDamaged)
	}
	for i := range c.least {
		n := 1
		for n < maxBits && c.limit[n] <= uint32(i)<<(maxBits-8) {
			n++
		}
		c.least[i] = uint8(n)
	}
	for range count {
		if len(dict) == 0 || int(dict[0]&^endBit) >= len(dict) {
			return nil, fmt.Errorf("%w (dictionary)", ErrDamaged)
		}
		n := int(dict[0] &^ endBit)
		c.starts = append(c.starts, uint16(len(c.text))|uint16(dict[0]&endBit)<<8)
		c.text = append(c.text, dict[1:1+n]...)
		dict = dict[1+n:]
	}
	c.starts = append(c.starts, uint16(len(c.text)))
	if len(dict) != 0 {
		return nil, fmt.Errorf("%w (dictionary)", ErrDamaged)
	}
	return c, nil
}

// next is the symbol whose code begins at bit pos of b, and where the next one
// begins; -1 when there is none. Three bytes beyond b's last bit must exist.
func (c *code) next(b []byte, pos int) (sym, end int) {
	if pos>>3+4 > len(b) {
		return -1, pos
	}
	v := binary.BigEndian.Uint32(b[pos>>3:]) << (pos & 7) >> (32 - maxBits)
	n := int(c.least[v>>(maxBits-8)])
	for n <= maxBits && v >= c.limit[n] {
		n++
	}
	if n > maxBits {
		return -1, pos
	}
	return int(int32(v>>(maxBits-n)) + c.offset[n]), pos + n
}

// skip is where the name after the one at bit pos begins, or -1.
func (c *code) skip(b []byte, pos int) int {
	for {
		sym, end := c.next(b, pos)
		if sym < 0 {
			return -1
		}
		if c.starts[sym]&endFlag != 0 {
			return end
		}
		pos = end
	}
}

// decode appends the name at bit pos of b to dst, if it is whole and may be shown.
func (c *code) decode(dst, b []byte, pos int) ([]byte, bool) {
	from := len(dst)
	var s casing
	for {
		sym, end := c.next(b, pos)
		if sym < 0 {
			return dst[:from], false
		}
		start := c.starts[sym]
		for _, ch := range c.text[start&^endFlag : c.starts[sym+1]&^endFlag] {
			dst = s.put(dst, ch)
		}
		if len(dst)-from > usage.MaxName {
			return dst[:from], false
		}
		if start&endFlag != 0 {
			if !showable(dst[from:]) {
				return dst[:from], false
			}
			return dst, true
		}
		pos = end
	}
}

// showable tells whether usage.Clean would leave name as it is. Only a name
// beyond ASCII costs an allocation.
func showable(name []byte) bool {
	for _, c := range name {
		if c >= utf8.RuneSelf {
			return bytes.Equal([]byte(usage.Clean(string(name), usage.MaxName)), name)
		}
		if c < 0x20 || c == 0x7f {
			return false
		}
	}
	return len(name) > 0
}
