package history

import (
	"maps"
	"slices"

	"github.com/netpilot/netpilot/pkg/usage"
)

// view is the history at one instant: what is appended later is behind the
// sizes it knows, and no file vanishes before it is closed. So the Store is
// not held up by who reads, however slowly.
type view struct {
	files
	s      *Store
	segs   []segment
	gaps   []usage.Gap
	open   []openSlot // sorted by start
	seq    uint64
	safe   bool   // flash follows
	held   bool   // a compaction is not yet on flash
	unsafe uint64 // the first change that flash does not have, as changes found; and those
	late   []changed

	advanced int64 // the last Advance
}

// openSlot is an open bucket and where it will be kept.
type openSlot struct {
	slot span
	bucket
}

// view takes the segments that want likes, and the open buckets.
func (s *Store) view(withOpen bool, want func(*segment) bool) *view {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := &view{files: files{fs: s.fs, dir: s.opts.Dir}, s: s, seq: s.seq, gaps: slices.Clone(s.gaps), advanced: s.clock.last}
	v.safe = s.opts.FlashDir != "" && s.flash.attached && s.flash.err == nil
	for _, d := range s.flash.drop {
		v.held = v.held || v.safe && d.into != nil && d.into.flashed < d.size
	}
	for _, g := range s.segs {
		if g.size > 0 && want(g) {
			c := *g
			c.dict = nil
			v.segs = append(v.segs, c)
		}
	}
	for _, start := range slices.Sorted(maps.Keys(s.open)) {
		if !withOpen {
			break
		}
		o := openSlot{slot: span{start, start + slotSecs}}
		if _, slot, ok := s.placed(start); ok {
			o.slot = slot
		}
		o.merge(s.open[start])
		v.open = append(v.open, o)
	}
	s.readers++
	return v
}

func (v *view) close() {
	v.s.mu.Lock()
	defer v.s.mu.Unlock()
	v.s.readers--
}
