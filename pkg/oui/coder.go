package oui

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/netpilot/netpilot/pkg/sorting"
)

// coder spells names as Huffman codes of strings. Its dictionary begins with
// what joining frequent neighbours yields (byte pair encoding) and the most
// used whole names; what helps least is dropped until it fits.
type coder struct {
	symbols []string // in canonical order; endMark closes those that end a name
	counts  [maxBits + 1]int
	bits    []int    // bits of each symbol's code
	codes   []uint32 // the codes, canonical as in RFC 1951 section 3.2.2
	trie    []node
}

const (
	endMark   = 0xff // stands for the end of a name while coding; no byte of UTF-8
	symbols   = 1024 // strings in the dictionary: twice as many save 2 % more
	minUses   = 4    // a string or name seen less often is not worth a symbol
	rounds    = 6    // of choosing spellings and codes for each other
	maxSymbol = 40   // bytes
)

type node struct {
	next   [256]int32 // 0 is none: nothing leads back to the root
	symbol int32      // -1 when none ends here
}

// newCoder learns a dictionary from the names and how often each is written.
func newCoder(uses map[string]int) (*coder, error) {
	names := slices.Sorted(maps.Keys(uses))
	spelt := make([]string, len(names))
	weight := make([]int, len(names))
	for i, name := range names {
		s, err := lower(name)
		if err != nil {
			return nil, err
		}
		spelt[i], weight[i] = s+string([]byte{endMark}), uses[name]
	}
	seeds := make(map[string]int) // a first guess at each one's uses
	join(spelt, symbols*2, seeds)
	for i, s := range spelt {
		if weight[i] >= minUses && len(s) <= maxSymbol {
			seeds[s] = weight[i]
		}
	}
	c := &coder{}
	c.set(seeds)
	for round := 0; ; round++ {
		count := make([]int, len(c.symbols))
		for i, s := range spelt {
			c.parse(s, -1, func(sym int) { count[sym] += weight[i] })
		}
		type worth struct{ sym, gain int }
		var all []worth
		for i, s := range c.symbols {
			if len(s) == 1 {
				all = append(all, worth{i, math.MaxInt}) // every byte must stay spellable
			} else if count[i] > 0 {
				all = append(all, worth{i, count[i] * (c.parse(s, i, nil) - c.bits[i])})
			}
		}
		sorting.Func(all, func(a, b worth) int {
			return cmp.Or(cmp.Compare(b.gain, a.gain), strings.Compare(c.symbols[a.sym], c.symbols[b.sym]))
		})
		// A few at a time: what is dropped changes the worth of the others.
		keep := min(len(all), max(symbols, len(all)*4/5))
		next := make(map[string]int, keep)
		for _, w := range all[:keep] {
			next[c.symbols[w.sym]] = max(1, count[w.sym])
		}
		c.set(next)
		if round >= rounds && keep <= symbols {
			return c, nil
		}
	}
}

// set makes the keys of count the dictionary, with codes for these uses.
func (c *coder) set(count map[string]int) {
	names := slices.Sorted(maps.Keys(count))
	weights := make([]int, len(names))
	for i, s := range names {
		weights[i] = count[s]
	}
	bits := codeLengths(weights)
	length := make(map[string]int, len(names))
	for i, s := range names {
		length[s] = bits[i]
	}
	sorting.Func(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(length[a], length[b]), strings.Compare(a, b))
	})
	*c = coder{symbols: names, trie: []node{{symbol: -1}}}
	code, last := uint32(0), 0
	for i, s := range names {
		n := length[s]
		code <<= n - last
		last = n
		c.counts[n]++
		c.bits, c.codes = append(c.bits, n), append(c.codes, code)
		code++
		at := int32(0)
		for _, b := range []byte(s) {
			to := c.trie[at].next[b]
			if to == 0 {
				to = int32(len(c.trie))
				c.trie = append(c.trie, node{symbol: -1})
				c.trie[at].next[b] = to
			}
			at = to
		}
		c.trie[at].symbol = int32(i)
	}
}

// parse is the least number of bits that spell s, without the symbol banned. It
// calls use with each symbol of that spelling from first to last.
func (c *coder) parse(s string, banned int, use func(sym int)) int {
	type step struct{ cost, sym, to int }
	best := make([]step, len(s)+1)
	for i := len(s) - 1; i >= 0; i-- {
		best[i] = step{math.MaxInt32, -1, i + 1}
		at := int32(0)
		for j := i; j < len(s); j++ {
			if at = c.trie[at].next[s[j]]; at == 0 {
				break
			}
			if sym := int(c.trie[at].symbol); sym >= 0 && sym != banned && c.bits[sym]+best[j+1].cost < best[i].cost {
				best[i] = step{c.bits[sym] + best[j+1].cost, sym, j + 1}
			}
		}
	}
	for i := 0; use != nil && i < len(s); i = best[i].to {
		use(best[i].sym)
	}
	return best[0].cost
}

// bitString is bits, the first in the highest place of the first byte.
type bitString struct {
	bytes []byte
	n     int
}

func (b *bitString) add(code uint32, bits int) {
	for bits--; bits >= 0; bits-- {
		if b.n%8 == 0 {
			b.bytes = append(b.bytes, 0)
		}
		b.bytes[b.n/8] |= byte(code>>bits&1) << (7 - b.n%8)
		b.n++
	}
}

func (b *bitString) addAll(o bitString) {
	for i := range o.n {
		b.add(uint32(o.bytes[i/8]>>(7-i%8)), 1)
	}
}

// encode spells name with its end.
func (c *coder) encode(name string) (bitString, error) {
	s, err := lower(name)
	if err != nil {
		return bitString{}, err
	}
	var out bitString
	c.parse(s+string([]byte{endMark}), -1, func(sym int) { out.add(c.codes[sym], c.bits[sym]) })
	return out, nil
}

// dictionary is the symbols as the file holds them.
func (c *coder) dictionary() []byte {
	var out []byte
	for _, s := range c.symbols {
		text, end := strings.CutSuffix(s, string([]byte{endMark}))
		n := byte(len(text))
		if end {
			n |= endBit
		}
		out = append(append(out, n), text...)
	}
	return out
}

// codeLengths is Huffman's algorithm; codes longer than maxBits are avoided by
// making the weights more alike.
func codeLengths(weights []int) []int {
	if len(weights) == 1 {
		return []int{1}
	}
	w := slices.Clone(weights)
	for {
		type tree struct{ weight, left, right int }
		var trees []tree
		order := make([]int, len(w)) // leaves, lightest first
		for i := range w {
			trees = append(trees, tree{w[i], -1, -1})
			order[i] = i
		}
		sorting.Stable(order, func(a, b int) int { return cmp.Compare(w[a], w[b]) })
		var joined []int // inner ones come out lightest first by themselves
		take := func() int {
			if len(joined) == 0 || len(order) > 0 && trees[order[0]].weight <= trees[joined[0]].weight {
				t := order[0]
				order = order[1:]
				return t
			}
			t := joined[0]
			joined = joined[1:]
			return t
		}
		for len(order)+len(joined) > 1 {
			a := take()
			b := take()
			joined = append(joined, len(trees))
			trees = append(trees, tree{trees[a].weight + trees[b].weight, a, b})
		}
		depth := make([]int, len(trees))
		longest := 0
		for i := len(trees) - 1; i >= 0; i-- {
			if trees[i].left >= 0 {
				depth[trees[i].left], depth[trees[i].right] = depth[i]+1, depth[i]+1
			}
			longest = max(longest, depth[i])
		}
		if longest <= maxBits {
			return depth[:len(w)]
		}
		for i := range w {
			w[i] = w[i]/2 + 1
		}
	}
}

// join adds to found every byte of names and, until it holds want strings, what
// joining the most frequent neighbours makes of them, a few pairs at a time.
func join(names []string, want int, found map[string]int) {
	const atOnce = 16
	var texts []string // by number
	number := make(map[string]int32)
	words := make([][]int32, len(names))
	for i, name := range names {
		for j := range len(name) {
			s := name[j : j+1]
			if _, ok := number[s]; !ok {
				number[s] = int32(len(texts))
				texts = append(texts, s)
			}
			words[i] = append(words[i], number[s])
			found[s]++
		}
	}
	type pair struct {
		a, b  int32
		count int
	}
	want = max(want, len(texts))
	count := make([]int32, want*want) // of a and b at a*want+b
	for len(texts) < want {
		clear(count)
		for _, w := range words {
			for j := 1; j < len(w); j++ {
				count[int(w[j-1])*want+int(w[j])]++
			}
		}
		var pairs []pair
		for i, n := range count {
			p := pair{int32(i / want), int32(i % want), int(n)}
			if n >= minUses && len(texts[p.a])+len(texts[p.b]) <= maxSymbol {
				pairs = append(pairs, p)
			}
		}
		sorting.Func(pairs, func(x, y pair) int {
			return cmp.Or(cmp.Compare(y.count, x.count), cmp.Compare(x.a, y.a), cmp.Compare(x.b, y.b))
		})
		first, second, chosen := make([]bool, want), make([]bool, want), 0
		clear(count) // now the number of the joined pair
		for _, p := range pairs {
			if chosen == atOnce || len(texts) == want {
				break
			}
			// Those sharing a side would take each other's places.
			if first[p.b] || second[p.a] || p.a == p.b && (first[p.a] || second[p.a]) {
				continue
			}
			first[p.a], second[p.b] = true, true
			chosen++
			count[int(p.a)*want+int(p.b)] = int32(len(texts))
			texts = append(texts, texts[p.a]+texts[p.b])
			found[texts[len(texts)-1]] = p.count
		}
		if chosen == 0 {
			return
		}
		for i, w := range words {
			out := w[:0]
			for j := 0; j < len(w); j++ {
				if j+1 < len(w) && count[int(w[j])*want+int(w[j+1])] > 0 {
					out = append(out, count[int(w[j])*want+int(w[j+1])])
					j++
				} else {
					out = append(out, w[j])
				}
			}
			words[i] = out
		}
	}
}

var errControl = errors.New("holds a control character")

// lower takes the capitals out of name as upper puts them back: words begin
// with one unless flipped, and whole words of capitals stand between capsOn and
// capsOff.
func lower(name string) (string, error) {
	var out []byte
	var s casing
	for len(name) > 0 {
		n := strings.IndexByte(name, ' ') + 1
		if n == 0 {
			n = len(name)
		}
		word := name[:n]
		name = name[n:]
		capitals, small := 0, 0
		for _, c := range []byte(word) {
			switch {
			case c < 0x20:
				return "", fmt.Errorf("%q %w", word, errControl)
			case 'A' <= c && c <= 'Z':
				capitals++
			case 'a' <= c && c <= 'z':
				small++
			}
		}
		switch {
		case capitals > 1 && small == 0 && !s.caps:
			out = append(out, capsOn)
			s.put(nil, capsOn)
		case small > 0 && s.caps:
			out = append(out, capsOff)
			s.put(nil, capsOff)
		}
		for _, c := range []byte(word) {
			low := c
			if 'A' <= c && c <= 'Z' {
				low += 'a' - 'A'
			}
			try := s
			if got := try.put(nil, low); got[0] != c {
				out = append(out, flipCase)
				s.put(nil, flipCase)
			}
			out = append(out, low)
			s.put(nil, low)
		}
	}
	return string(out), nil
}
