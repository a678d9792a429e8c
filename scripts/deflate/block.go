package deflate

import (
	"encoding/binary"
	"math/bits"
)

// Symbols, RFC 1951, 3.2.5.
const (
	endOfBlock  = 256
	firstLength = 257
	literals    = 286
	distances   = 30
)

// lengthSymbol returns the symbol of a match's length, and the extra bits.
func lengthSymbol(n int) (symbol int, extra uint, value uint32) {
	x := uint32(n - minMatch)
	if n == maxMatch {
		return firstLength + 28, 0, 0
	}
	if x < 4 {
		return firstLength + int(x), 0, 0
	}
	extra = uint(bits.Len32(x)) - 3
	return firstLength + int(extra)*4 + int(x>>extra), extra, x & (1<<extra - 1)
}

// distanceSymbol returns the symbol of a match's distance, which is followed by
// the lowest distanceExtra bits of what the distance is over 1.
func distanceSymbol(d token) int {
	x := uint32(d) - 1
	if x < 2 {
		return int(x)
	}
	extra := bits.Len32(x) - 2
	return extra*2 + int(x>>extra)
}

func distanceExtra(symbol int) int { return max(0, symbol/2-1) }

// histogram counts symbols.
type histogram struct {
	literal  [literals]uint32 // and lengths
	distance [distances]uint32
}

func (h *histogram) add(tokens []token) {
	for _, t := range tokens {
		if !t.match() {
			h.literal[t]++
			continue
		}
		s, _, _ := lengthSymbol(t.length())
		h.literal[s]++
		h.distance[distanceSymbol(t&0xffff)]++
	}
}

func (h *histogram) join(o *histogram) {
	for i, n := range o.literal {
		h.literal[i] += n
	}
	for i, n := range o.distance {
		h.distance[i] += n
	}
}

// block is a piece of the input, data[from:to], and how to say it.
type block struct {
	from, to int
	tokens   []token
	counts   histogram // with the end of the block
	literal  []uint8   // lengths of the codes
	distance []uint8
	table    *table // how these lengths are told; nil: they are the fixed ones
	bits     int    // but for the three of the header
}

// use chooses tokens and the better one of their own code and the fixed one.
func (b *block) use(tokens []token) {
	b.tokens = tokens
	b.counts.add(tokens)
	b.counts.literal[endOfBlock]++
	b.literal, b.distance = codeLengths(b.counts.literal[:], 15), codeLengths(b.counts.distance[:], 15)
	b.table = describe(b.literal, b.distance)
	b.bits = b.table.bits + b.counts.bits(b.literal, b.distance)
	literal, distance := fixedLengths()
	if n := b.counts.bits(literal, distance); n <= b.bits {
		b.literal, b.distance, b.table, b.bits = literal, distance, nil, n
	}
}

// bits is what the counted symbols take with their extra bits.
func (h *histogram) bits(literal, distance []uint8) int {
	sum := 0
	for s, n := range h.literal {
		extra := 0
		if s >= firstLength+8 && s < firstLength+28 {
			extra = (s-firstLength)/4 - 1
		}
		sum += int(n) * (int(literal[s]) + extra)
	}
	for s, n := range h.distance {
		sum += int(n) * (int(distance[s]) + distanceExtra(s))
	}
	return sum
}

// size is the block's size in bits, at most.
func (b *block) size() int {
	if b.stored() {
		return b.storedBits()
	}
	return 3 + b.bits
}

// stored reports whether the block is smaller as it is.
func (b *block) stored() bool { return b.storedBits() < b.bits }

const (
	maxStored  = 1<<16 - 1 // bytes of one stored block, RFC 1951, 3.2.4
	storedHead = 40        // bits, when the block before was stored, too
	alignBits  = 2         // that there are more at most when it was not
)

// storedBits is the block's size in bits when stored, at most.
func (b *block) storedBits() int {
	n := b.to - b.from
	return alignBits + 8*n + storedHead*((max(n, 1)+maxStored-1)/maxStored)
}

// write appends the block, RFC 1951, 3.2.3; part is data[from:to].
func (b *block) write(w *bitWriter, part []byte, final bool) {
	flag := uint32(0)
	if final {
		flag = 1
	}
	if b.stored() {
		for more := true; more; {
			n := min(len(part), maxStored)
			more = n < len(part)
			if more {
				w.write(0, 3)
			} else {
				w.write(flag, 3)
			}
			w.align()
			w.out = binary.LittleEndian.AppendUint16(w.out, uint16(n))
			w.out = binary.LittleEndian.AppendUint16(w.out, ^uint16(n))
			w.out = append(w.out, part[:n]...)
			part = part[n:]
		}
		return
	}
	if b.table == nil {
		w.write(flag|1<<1, 3)
	} else {
		w.write(flag|2<<1, 3)
		b.table.write(w)
	}
	literal, distance := codes(b.literal), codes(b.distance)
	for _, t := range b.tokens {
		if !t.match() {
			w.write(literal[t], uint(b.literal[t]))
			continue
		}
		s, extra, value := lengthSymbol(t.length())
		w.write(literal[s], uint(b.literal[s]))
		w.write(value, extra)
		d := distanceSymbol(t & 0xffff)
		w.write(distance[d], uint(b.distance[d]))
		extra = uint(distanceExtra(d))
		w.write((uint32(t&0xffff)-1)&(1<<extra-1), extra)
	}
	w.write(literal[endOfBlock], uint(b.literal[endOfBlock]))
}
