package oui

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

// Block is one registered block of addresses.
type Block struct {
	Prefix usage.MAC // the bits beyond Bits are zero
	Bits   int       // 24, 28 or 36
	Vendor string    // empty: known to have no vendor one may name
}

// Build lays the blocks out as a table of the given date (the zero time when it
// is unknown). The same blocks in any order make the same bytes. A block within
// another wins over it; two vendors of one block, a name that [usage.Clean]
// would change and a group or locally administered prefix are errors.
func Build(blocks []Block, date time.Time) ([]byte, error) {
	flat, err := flatten(blocks)
	if err != nil {
		return nil, err
	}
	vendors := make(map[string]int)
	var h head
	for _, b := range flat {
		vendors[b.vendor]++
		switch b.size {
		case blockLarge:
			h.large++
		case blockMed:
			h.medium++
		default:
			h.small++
		}
	}
	if !date.IsZero() {
		h.date = uint64(max(0, date.Unix()))
	}
	h.vendors = uint32(len(vendors))

	c, err := newCoder(vendors)
	if err != nil {
		return nil, fmt.Errorf("build vendor table: %w", err)
	}
	coded := make(map[string]bitString, len(vendors))
	for name := range vendors {
		if coded[name], err = c.encode(name); err != nil {
			return nil, fmt.Errorf("build vendor table: %w", err)
		}
	}
	dict := c.dictionary()
	h.symbols, h.dict = len(c.symbols), len(dict)

	index, pages, err := paginate(flat, coded)
	if err != nil {
		return nil, err
	}
	h.pages = len(pages) / pageSize
	if h.pages > maxPages || h.dict > maxDict {
		return nil, fmt.Errorf("build vendor table: too large (%d pages, %d bytes of dictionary)", h.pages, h.dict)
	}
	out := h.append(nil)
	for _, n := range c.counts[1:] {
		out = binary.BigEndian.AppendUint16(out, uint16(n))
	}
	out = append(out, dict...)
	out = append(out, index...)
	out = append(out, make([]byte, h.pagesAt()-int64(len(out)))...)
	out = append(out, pages...)
	binary.BigEndian.PutUint32(out[sumAt:], crc32.ChecksumIEEE(out[sumFrom:]))
	return out, nil
}

// span is a block in keys.
type span struct {
	start, size uint64
	vendor      string
}

// flatten sorts the blocks and cuts those that hold others into the pieces
// around them, so that no two overlap.
func flatten(blocks []Block) ([]span, error) {
	spans := make([]span, 0, len(blocks))
	for _, b := range blocks {
		size, ok := map[int]uint64{24: blockLarge, 28: blockMed, 36: blockSmall}[b.Bits]
		start := keyOf(b.Prefix)
		switch {
		case !ok, start&(size-1) != 0, b.Prefix[4]&0x0f != 0, b.Prefix[5] != 0:
			return nil, fmt.Errorf("build vendor table: %s is no block of %d bits", b.Prefix, b.Bits)
		case b.Prefix[0]&0x03 != 0:
			return nil, fmt.Errorf("build vendor table: %s is a group or locally administered block", b.Prefix)
		case b.Vendor != usage.Clean(b.Vendor, usage.MaxName):
			return nil, fmt.Errorf("build vendor table: %s: %q may not be shown as it is", b.Prefix, usage.Clean(b.Vendor, usage.MaxName))
		}
		spans = append(spans, span{start, size, b.Vendor})
	}
	// An outer block comes before those within it.
	slices.SortFunc(spans, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(b.size, a.size), strings.Compare(a.vendor, b.vendor))
	})
	var out []span
	emit := func(s span) {
		if s.vendor != "" {
			out = append(out, s)
		}
	}
	for len(spans) > 0 {
		s := spans[0]
		n := 1
		for n < len(spans) && spans[n].start < s.start+s.size {
			n++
		}
		if err := cut(s, spans[1:n], emit); err != nil {
			return nil, err
		}
		spans = spans[n:]
	}
	return out, nil
}

// cut emits s with the blocks within it.
func cut(s span, within []span, emit func(span)) error {
	for len(within) > 0 && within[0].start == s.start && within[0].size == s.size {
		if within[0].vendor != s.vendor {
			return fmt.Errorf("build vendor table: %q and %q have the same block", s.vendor, within[0].vendor)
		}
		within = within[1:]
	}
	if len(within) == 0 {
		emit(s)
		return nil
	}
	part := uint64(blockMed)
	if s.size == blockMed {
		part = blockSmall
	}
	for start := s.start; start < s.start+s.size; start += part {
		n := 0
		for n < len(within) && within[n].start < start+part {
			n++
		}
		piece := span{start, part, s.vendor}
		inner := within[:n]
		if n > 0 && inner[0].start == start && inner[0].size == part {
			piece, inner = inner[0], inner[1:]
		}
		if err := cut(piece, inner, emit); err != nil {
			return err
		}
		within = within[n:]
	}
	return nil
}

// paginate fills pages with blocks, as many as fit, and indexes their first keys.
func paginate(spans []span, coded map[string]bitString) (index, pages []byte, err error) {
	var keys, restarts []byte
	var text bitString
	var count int
	var next, size uint64
	flush := func() {
		if count == 0 {
			return
		}
		page := make([]byte, 0, pageSize)
		page = append(page, byte(count))
		page = binary.BigEndian.AppendUint16(page, uint16(pageHead+len(keys)+len(restarts)))
		page = append(append(append(page, keys...), restarts...), text.bytes...)
		pages = append(pages, page[:pageSize]...)
		keys, restarts, text, count = nil, nil, bitString{}, 0
	}
	for _, s := range spans {
		name := coded[s.vendor]
		if name.n > pageSize*4 {
			return nil, nil, errors.New("build vendor table: a name does not fit a page")
		}
		for {
			if count == 0 {
				next, size = s.start, blockLarge
			}
			gap := gapCode(next, size, s)
			restart := 0
			if count > 0 && count%perRestart == 0 {
				restart = 2
			}
			if count == 255 || pageHead+len(keys)+len(gap)+len(restarts)+restart+(text.n+name.n+7)/8 > pageSize {
				flush()
				continue
			}
			if count == 0 {
				index = append(index, byte(s.start>>32))
				index = binary.BigEndian.AppendUint32(index, uint32(s.start))
			}
			if restart > 0 {
				restarts = binary.BigEndian.AppendUint16(restarts, uint16(text.n))
			}
			keys = append(keys, gap...)
			text.addAll(name)
			count++
			next, size = s.start+s.size, s.size
			break
		}
	}
	flush()
	return index, pages, nil
}

// gapCode says how far s begins after next, where blocks were of the given size.
func gapCode(next, size uint64, s span) []byte {
	var b []byte
	if s.size != size {
		b = append(b, map[uint64]byte{blockLarge: sizeLarge, blockMed: sizeMed, blockSmall: sizeSmall}[s.size])
	}
	gap := (s.start - (next+s.size-1)&^(s.size-1)) / s.size
	switch {
	case gap < gapTwo:
		return append(b, byte(gap))
	case gap-gapTwo < (gapSix-gapTwo)<<8:
		return append(b, byte(gapTwo+(gap-gapTwo)>>8), byte(gap-gapTwo))
	}
	return binary.BigEndian.AppendUint32(append(b, gapSix, byte(gap>>32)), uint32(gap))
}
