package history

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

// Cursor is how far somebody has followed the history: the number of the
// newest change he has. 0 is the beginning. Numbers grow, and are about
// milliseconds of Unix time.
type Cursor uint64

// Change is a closed bucket as it is now, or a gap. Whoever stores it
// replaces what he has of its span, of whatever resolution, so that getting
// it twice is harmless. A bucket comes again when it got an addition.
type Change struct {
	Cursor Cursor // ask for what is after this one next
	Start  time.Time
	Length time.Duration
	Slots  []usage.Slot // by device, then service, then family; valid until visit returns
	Gap    string       // reason of a gap, which has no Slots; "" for a bucket
	IsGap  bool
}

// Since gives every bucket and gap changed after c to visit, in the order of
// the changes, each whole. An error of visit ends it and is returned. Time
// that was compacted meanwhile comes as hours or days.
//
// While the copy on flash follows, only what is in it is given: what the
// router itself may forget at a power cut nobody else shall know, or he would
// be told less later. A cursor newer than all there is, as from before a loss, is
// taken for 0.
func (s *Store) Since(ctx context.Context, c Cursor, visit func(*Change) error) error {
	v := s.view(false, func(*segment) bool { return true })
	defer v.close()
	if uint64(c) > v.seq {
		c = 0
	}
	if v.held {
		// A power cut would bring back the finer buckets, whose numbers
		// are lower than their sum's, and the cursor be past them.
		return nil
	}
	v.segs = slices.DeleteFunc(v.segs, func(g segment) bool { return g.seq <= uint64(c) })
	changes, err := v.changes(uint64(c))
	if err != nil {
		return err
	}
	var ix *index
	defer func() {
		if ix != nil {
			v.release(ix)
		}
	}()
	out := &Change{}
	var sum bucket
	var order []int
	for _, ch := range changes {
		if ch.seq >= v.unsafe {
			break
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if g := &v.segs[ch.seg]; ix == nil || ix.seg != g {
			if ix != nil {
				v.release(ix)
				ix = nil
			}
			if ix, err = v.index(g); err != nil {
				return err
			}
		}
		*out = Change{Cursor: Cursor(ch.seq), Slots: out.Slots[:0]}
		if ch.typ == typeGap {
			gap, err := v.gap(ix, ch.entry)
			if err != nil {
				return err
			}
			out.Start, out.Length, out.Gap, out.IsGap = gap.From, gap.To.Sub(gap.From), gap.Reason, true
		} else {
			sum.clear()
			for _, e := range ix.entries {
				if e.typ != typeAdd || e.slot != ch.slot || v.ahead(ix.seg, e) {
					continue
				}
				rows, err := v.bucketRows(ix, e, allSections)
				if err != nil {
					return err
				}
				sum.addRows(ix.dict, rows)
			}
			slot := usage.Slot{Start: time.Unix(ch.slot.start, 0).In(s.opts.Location), Length: time.Duration(ch.slot.end-ch.slot.start) * time.Second}
			out.Start, out.Length = slot.Start, slot.Length
			_ = sum.each(&slot, &order, func(c usage.Counters) error { // never fails
				slot.Counters = c
				out.Slots = append(out.Slots, slot)
				return nil
			})
		}
		if err := visit(out); err != nil {
			return err
		}
	}
	return nil
}

// changed is the newest change of a slot, or a gap.
type changed struct {
	entry
	seg int
}

// changes lists what changed after c, by number, and finds the first of them
// that flash does not have.
func (v *view) changes(c uint64) ([]changed, error) {
	var all []changed
	newest := make(map[span]int) // place in all, of the segment's slots
	v.unsafe = math.MaxUint64
	for i := range v.segs {
		ix, err := v.index(&v.segs[i])
		if err != nil {
			return nil, err
		}
		clear(newest)
		for _, e := range ix.entries {
			if e.seq <= c {
				continue
			}
			if v.ahead(&v.segs[i], e) {
				v.unsafe = min(v.unsafe, e.seq)
				continue
			}
			if at, ok := newest[e.slot]; ok && e.typ == typeAdd {
				all[at].seq = max(all[at].seq, e.seq)
				continue
			}
			if e.typ == typeAdd {
				newest[e.slot] = len(all)
			}
			all = append(all, changed{e, i})
		}
		v.release(ix)
	}
	slices.SortFunc(all, func(a, b changed) int { return cmp.Compare(a.seq, b.seq) })
	return all, nil
}

// ahead tells whether flash follows but does not have e yet.
func (v *view) ahead(g *segment, e entry) bool { return v.safe && e.off >= g.flashed }
