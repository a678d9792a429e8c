package deflate

import (
	"encoding/binary"
	"math/bits"
)

// What a match can be, RFC 1951, 3.2.5.
const (
	window   = 32 << 10 // largest distance
	minMatch = 3
	maxMatch = 258
)

const (
	hashBits = 16
	ring     = 2 * window // so that no node in reach shares its place
	depth    = 256        // nodes looked at for one position
	nowhere  = -1
)

// A token is a literal byte, or a match as length<<16 | distance.
type token uint32

// length is how much of the input the token stands for.
func (t token) length() int { return max(1, int(t>>16)) }

func (t token) match() bool { return t >= minMatch<<16 }

// finder has the positions of the window in binary trees, one for each hash of
// three bytes, sorted by the bytes that follow. A newer position is above the
// older ones, so a walk down meets the nearest match of each length.
type finder struct {
	heads    [1 << hashBits]int32
	children [2 * ring]int32
}

// find sets e.matches for data[from:to]: for each position the nearest match of
// every length for which a longer one is farther, the shortest first. None
// reaches behind to.
func (e *encoder) find(data []byte, from, to int) {
	data = data[:to]
	for i := range e.trees.heads {
		e.trees.heads[i] = nowhere
	}
	e.matches = e.matches[:0]
	for p := max(0, from-window); p < from; p++ {
		e.insert(data, p)
	}
	e.matches, e.first = e.matches[:0], append(e.first[:0], 0)
	for p := from; p < to; p++ {
		e.insert(data, p)
		e.first = append(e.first, uint32(len(e.matches)))
	}
}

// insert puts p into its tree and appends the matches that it meets there. Of
// those it leaves out the shorter ones where one has the largest length.
func (e *encoder) insert(data []byte, p int) {
	limit := min(maxMatch, len(data)-p)
	if limit < minMatch {
		return
	}
	t := &e.trees
	hash := (uint32(data[p]) | uint32(data[p+1])<<8 | uint32(data[p+2])<<16) * 0x9E3779B1 >> (32 - hashBits)
	node := int(t.heads[hash])
	t.heads[hash] = int32(p)
	before, after := p%ring*2, p%ring*2+1 // where nodes sorted before and after p are to be hung
	sureBefore, sureAfter := 0, 0         // bytes that all nodes there share with p
	longest, start := minMatch-1, len(e.matches)
	for range depth {
		if node < 0 || p-node > window {
			break
		}
		n := min(sureBefore, sureAfter)
		n += common(data[node+n:], data[p+n:p+limit])
		if n > longest {
			longest = n
			if n == maxMatch {
				e.matches = e.matches[:start]
			}
			e.matches = append(e.matches, token(n<<16|(p-node)))
		}
		at := node % ring * 2
		if n == limit { // p takes the place of the node
			t.children[before], t.children[after] = t.children[at], t.children[at+1]
			return
		}
		if data[node+n] < data[p+n] {
			t.children[before] = int32(node)
			before, sureBefore = at+1, n
			node = int(t.children[before])
		} else {
			t.children[after] = int32(node)
			after, sureAfter = at, n
			node = int(t.children[after])
		}
	}
	t.children[before], t.children[after] = nowhere, nowhere
}

// common is how many bytes of b begin a, which is not shorter.
func common(a, b []byte) int {
	n := 0
	for len(b)-n >= 8 && len(a)-n >= 8 {
		if x := binary.LittleEndian.Uint64(a[n:]) ^ binary.LittleEndian.Uint64(b[n:]); x != 0 {
			return n + bits.TrailingZeros64(x)/8
		}
		n += 8
	}
	for n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
