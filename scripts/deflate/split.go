package deflate

import (
	"math"
	"math/bits"
	"slices"
)

// logTable has binary logarithms.
type logTable [1 << logIndex]uint32

const (
	logIndex = 12 // bits of the number that are looked at
	logBits  = 12 // of a logarithm, behind the point
)

// newLogTable finds the digits of each logarithm by squaring.
func newLogTable() *logTable {
	var t logTable
	for i := 1; i < len(t); i++ {
		whole := bits.Len(uint(i)) - 1
		log, x := uint32(whole), uint64(i)<<31>>whole // 1 <= x < 2, in units of 2^-31
		for range logBits {
			x = x * x >> 31
			log <<= 1
			if x >= 1<<32 {
				x >>= 1
				log |= 1
			}
		}
		t[i] = log
	}
	return &t
}

// log is the binary logarithm of n, which is not 0, in units of 2^-logBits.
func (t *logTable) log(n uint32) uint32 {
	shift := max(0, bits.Len32(n)-logIndex)
	return t[n>>shift] + uint32(shift)<<logBits
}

// entropy is how many bits it takes to tell which one of the symbols comes, for
// all that were counted, in units of 2^-logBits, and how many symbols there are.
func (t *logTable) entropy(counts []uint32) (total uint64, used int) {
	var sum uint32
	for _, n := range counts {
		if n > 0 {
			sum += n
			used++
			total -= uint64(n) * uint64(t.log(n))
		}
	}
	if sum > 0 {
		total += uint64(sum) * uint64(t.log(sum))
	}
	return total, used
}

// costs returns what the steps cost in the best code for counts, were it not
// made of whole bits. A symbol not yet used costs as if it came once.
func (t *logTable) costs(counts *histogram) *costs {
	var k costs
	var symbols [literals]uint32
	t.symbolCosts(symbols[:], counts.literal[:])
	copy(k.literal[:], symbols[:])
	for n := minMatch; n <= maxMatch; n++ {
		s, extra, _ := lengthSymbol(n)
		k.length[n] = symbols[s] + uint32(extra)*unit
	}
	t.symbolCosts(k.distance[:], counts.distance[:])
	for s := range k.distance {
		k.distance[s] += uint32(distanceExtra(s)) * unit
	}
	return &k
}

func (t *logTable) symbolCosts(costs, counts []uint32) {
	sum := uint32(1)
	for _, n := range counts {
		sum += n
	}
	for s, n := range counts {
		costs[s] = (t.log(sum) - t.log(max(n, 1))) >> (logBits - unitBits)
	}
}

const (
	cellSize  = 512 // tokens, of which a block has a multiple
	maxCells  = 640 // of a chunk: where there are more tokens, cells are larger
	tableBits = 80  // of a block's table, and for each symbol it uses:
	usedBits  = 3
)

// split cuts tokens into the blocks that should need the least.
func (e *encoder) split(tokens []token) [][]token {
	size := max(cellSize, len(tokens)/maxCells)
	n := max(1, len(tokens)/size)
	cut := func(i int) int {
		if i == n {
			return len(tokens)
		}
		return i * size
	}
	cells := make([]histogram, n)
	for i := range cells {
		cells[i].add(tokens[cut(i):cut(i+1)])
	}
	least := make([]uint64, n+1) // for the tokens before each cell
	begin := make([]int, n+1)    // of the last block before it
	for end := 1; end <= n; end++ {
		least[end] = math.MaxUint64
		var sum histogram
		for i := end - 1; i >= 0; i-- {
			sum.join(&cells[i])
			a, used := e.logs.entropy(sum.literal[:])
			b, more := e.logs.entropy(sum.distance[:])
			v := least[i] + a + b + uint64(tableBits+usedBits*(used+more))<<logBits
			if v < least[end] {
				least[end], begin[end] = v, i
			}
		}
	}
	var parts [][]token
	for end := n; end > 0; end = begin[end] {
		parts = append(parts, tokens[cut(begin[end]):cut(end)])
	}
	slices.Reverse(parts)
	return parts
}
