package deflate

import (
	"cmp"
	"math/bits"
	"slices"
)

// codeLengths returns the lengths of the best prefix code without any over
// limit for symbols that come so often: 0 for those that do not. It gives at
// least two symbols a code, for there are decoders that refuse a code of one.
//
// It is package-merge (Larmore and Hirschberg, 1990): level by level, the
// cheapest symbols and pairs of what the level below has. A symbol's code is
// as long as the number of levels in which it is among what is taken.
func codeLengths(counts []uint32, limit int) []uint8 {
	type leaf struct {
		weight uint64
		symbol int
	}
	lengths := make([]uint8, len(counts))
	var leaves []leaf
	for s, n := range counts {
		if n > 0 {
			leaves = append(leaves, leaf{uint64(n), s})
		}
	}
	for s := 0; len(leaves) < 2; s++ {
		if counts[s] == 0 {
			leaves = append(leaves, leaf{0, s})
		}
	}
	slices.SortFunc(leaves, func(a, b leaf) int {
		return cmp.Or(cmp.Compare(a.weight, b.weight), cmp.Compare(a.symbol, b.symbol))
	})
	var below []uint64
	single := make([][]bool, limit) // for each level: is this one a symbol?
	for level := range single {
		row := make([]uint64, 0, 2*len(leaves))
		next, pair := 0, 0
		for next < len(leaves) || pair+1 < len(below) {
			alone := pair+1 >= len(below) || next < len(leaves) && leaves[next].weight <= below[pair]+below[pair+1]
			if alone {
				row = append(row, leaves[next].weight)
				next++
			} else {
				row = append(row, below[pair]+below[pair+1])
				pair += 2
			}
			single[level] = append(single[level], alone)
		}
		below = row
	}
	take := 2*len(leaves) - 2
	for level := limit - 1; level >= 0 && take > 0; level-- {
		next := 0
		for _, alone := range single[level][:take] {
			if alone {
				lengths[leaves[next].symbol]++
				next++
			}
		}
		take = 2 * (take - next)
	}
	return lengths
}

// codes returns the codes of these lengths, RFC 1951, 3.2.2, the first bit
// lowest.
func codes(lengths []uint8) []uint32 {
	var next [17]uint32 // first how many codes are one bit shorter, then the next code of this length
	for _, n := range lengths {
		if n > 0 {
			next[n+1]++
		}
	}
	for n := 1; n < len(next); n++ {
		next[n] = (next[n-1] + next[n]) << 1
	}
	out := make([]uint32, len(lengths))
	for s, n := range lengths {
		if n > 0 {
			out[s] = bits.Reverse32(next[n]) >> (32 - n)
			next[n]++
		}
	}
	return out
}

// fixedLengths is the code that needs no table, RFC 1951, 3.2.6.
func fixedLengths() (literal, distance []uint8) {
	literal = slices.Concat(slices.Repeat([]uint8{8}, 144), slices.Repeat([]uint8{9}, 112),
		slices.Repeat([]uint8{7}, 24), slices.Repeat([]uint8{8}, 8))
	return literal, slices.Repeat([]uint8{5}, 32)
}

// Symbols of a table that are no length, RFC 1951, 3.2.7, and the order in
// which the lengths of the table's own code come.
const (
	repeatLast  = 16 // 3 to 6 times
	repeatZero  = 17 // 3 to 10 times
	repeatZeros = 18 // 11 to 138 times
	tableCodes  = 19
)

func tableOrder() []uint8 {
	return []uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
}

// entry is a symbol of a table with its extra bits.
type entry struct {
	symbol uint8
	extra  uint8
	value  uint8
}

// table tells the lengths of a block's codes.
type table struct {
	literals, distances, codes int // how many lengths are told
	lengths                    []uint8
	entries                    []entry
	bits                       int
}

// describe returns the smallest table found: it tries with and without each
// kind of repetition, for a symbol less makes the others shorter.
func describe(literal, distance []uint8) *table {
	trim := func(lengths []uint8, least int) []uint8 {
		for len(lengths) > least && lengths[len(lengths)-1] == 0 {
			lengths = lengths[:len(lengths)-1]
		}
		return lengths
	}
	literal, distance = trim(literal, firstLength), trim(distance, 1)
	all := slices.Concat(literal, distance)
	var best *table
	for kinds := range 8 {
		t := &table{literals: len(literal), distances: len(distance), codes: tableCodes, entries: entries(all, kinds)}
		var counts [tableCodes]uint32
		for _, e := range t.entries {
			counts[e.symbol]++
		}
		t.lengths = codeLengths(counts[:], 7)
		order := tableOrder()
		for t.codes > 4 && t.lengths[order[t.codes-1]] == 0 {
			t.codes--
		}
		t.bits = 14 + 3*t.codes
		for _, e := range t.entries {
			t.bits += int(t.lengths[e.symbol]) + int(e.extra)
		}
		if best == nil || t.bits < best.bits {
			best = t
		}
	}
	return best
}

// entries tells lengths with those repetitions whose bit is set in kinds.
func entries(lengths []uint8, kinds int) []entry {
	var out []entry
	for i := 0; i < len(lengths); {
		n, run := lengths[i], 1
		for i+run < len(lengths) && lengths[i+run] == n {
			run++
		}
		i += run
		// repeat takes from the run while it has enough.
		repeat := func(kind int, symbol, extra uint8, least, most int) {
			for kinds>>kind&1 == 1 && run >= least {
				times := min(run, most)
				if left := run - times; left > 0 && left < least && times-least >= least-left {
					times -= least - left
				}
				out = append(out, entry{symbol, extra, uint8(times - least)})
				run -= times
			}
		}
		if n == 0 {
			repeat(0, repeatZeros, 7, 11, 138)
			repeat(1, repeatZero, 3, 3, 10)
		} else {
			out = append(out, entry{symbol: n})
			run--
			repeat(2, repeatLast, 2, 3, 6)
		}
		for ; run > 0; run-- {
			out = append(out, entry{symbol: n})
		}
	}
	return out
}

func (t *table) write(w *bitWriter) {
	w.write(uint32(t.literals-firstLength), 5)
	w.write(uint32(t.distances-1), 5)
	w.write(uint32(t.codes-4), 4)
	for _, s := range tableOrder()[:t.codes] {
		w.write(uint32(t.lengths[s]), 3)
	}
	code := codes(t.lengths)
	for _, e := range t.entries {
		w.write(code[e.symbol], uint(t.lengths[e.symbol]))
		w.write(uint32(e.value), uint(e.extra))
	}
}
