package deflate

import "math"

// A cost is a number of bits, in units of 1/unit: small enough that a chunk's
// fits, whatever is in it.
const (
	unitBits = 6
	unit     = 1 << unitBits
)

// costs is what each step costs with its extra bits.
type costs struct {
	literal  [256]uint32
	length   [maxMatch + 1]uint32
	distance [distances]uint32
}

// encoder has the working memory for chunks, one after the other.
type encoder struct {
	logs    *logTable
	trees   finder
	matches []token
	first   []uint32 // of matches, for each position of the chunk; one more at the end
	cost    []uint32 // of the cheapest way to a position
	last    []token  // of that way
}

// Rounds of cutting a chunk into blocks, and of following the code of a block.
const (
	chunkRounds = 4
	blockRounds = 12
)

// chunk returns the blocks for data[from:to], at least one.
func (e *encoder) chunk(data []byte, from, to int) []block {
	e.find(data, from, to)
	tokens := e.path(data[from:to], 0, startCosts())
	var best []block
	size := math.MaxInt
	for range chunkRounds {
		var blocks []block
		var joined []token // which the next round cuts elsewhere
		total, at := 0, from
		for _, part := range e.split(tokens) {
			b := e.block(data, from, at, part)
			at = b.to
			total += b.size()
			blocks = append(blocks, b)
			joined = append(joined, b.tokens...)
		}
		if total >= size {
			break
		}
		best, size, tokens = blocks, total, joined
	}
	if stored := (block{from: from, to: to, bits: math.MaxInt}); size > stored.storedBits()-alignBits {
		return []block{stored}
	}
	return best
}

// block returns the best block found for what tokens stand for, which begins
// at data[at]; the chunk begins at data[from].
func (e *encoder) block(data []byte, from, at int, tokens []token) block {
	best := block{from: at, to: at}
	for _, t := range tokens {
		best.to += t.length()
	}
	best.use(tokens)
	counts, worse := best.counts, 0
	for range blockRounds {
		b := block{from: best.from, to: best.to}
		b.use(e.path(data[b.from:b.to], b.from-from, e.logs.costs(&counts)))
		if counts == b.counts {
			break
		}
		counts = b.counts
		if b.size() < best.size() {
			best, worse = b, 0
		} else if worse++; worse == 3 {
			break
		}
	}
	return best
}

// path returns the cheapest tokens for part, which begins at a position of the
// chunk.
func (e *encoder) path(part []byte, at int, k *costs) []token {
	if len(e.cost) <= len(part) {
		e.cost, e.last = make([]uint32, len(part)+1), make([]token, len(part)+1)
	}
	cost, last := e.cost[:len(part)+1], e.last[:len(part)+1]
	for i := range cost {
		cost[i] = math.MaxUint32
	}
	cost[0] = 0
	for p, c := range part {
		here := cost[p]
		if v := here + k.literal[c]; v < cost[p+1] {
			cost[p+1], last[p+1] = v, token(c)
		}
		n := minMatch
		for _, m := range e.matches[e.first[at+p]:e.first[at+p+1]] {
			end := min(int(m>>16), len(part)-p)
			distance := m & 0xffff
			v := here + k.distance[distanceSymbol(distance)]
			if int(m>>16) == maxMatch {
				n = max(n, end) // what is shorter gains nothing in a run
			}
			for ; n <= end; n++ {
				if sum := v + k.length[n]; sum < cost[p+n] {
					cost[p+n], last[p+n] = sum, token(n)<<16|distance
				}
			}
		}
	}
	count := 0
	for p := len(part); p > 0; p -= last[p].length() {
		count++
	}
	tokens := make([]token, count)
	for p := len(part); p > 0; p -= last[p].length() {
		count--
		tokens[count] = last[p]
	}
	return tokens
}

// startCosts are a guess for before there is a code.
func startCosts() *costs {
	var k costs
	for i := range k.literal {
		k.literal[i] = 7 * unit
	}
	for n := minMatch; n <= maxMatch; n++ {
		_, extra, _ := lengthSymbol(n)
		k.length[n] = uint32(6+extra) * unit
	}
	for s := range k.distance {
		k.distance[s] = uint32(4+distanceExtra(s)) * unit
	}
	return &k
}
