package history

import (
	"cmp"
	"context"
	"math"
	"time"

	"github.com/netpilot/netpilot/pkg/sorting"
	"github.com/netpilot/netpilot/pkg/usage"
)

// Cursor is how far somebody has followed the history: the number of the
// newest change he has. 0 is the beginning. Numbers grow, and are about
// milliseconds of Unix time.
type Cursor uint64

// Change is a closed bucket as it is now, or a gap. Whoever stores a bucket
// replaces what he has of its span, of whatever resolution, so that getting
// it twice is harmless. A bucket comes again when it got an addition.
type Change struct {
	Cursor Cursor       // ask for what is after this one next
	Bucket usage.Bucket // its sections in order; valid until visit returns
	Gap    usage.Gap
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
		out.Cursor, out.IsGap = Cursor(ch.seq), ch.typ == typeGap
		if out.IsGap {
			if out.Gap, err = v.gap(ix, ch.entry); err != nil {
				return err
			}
		} else {
			sum.clear()
			if err := v.addSlot(&sum, ix, ch.slot, v.ahead); err != nil {
				return err
			}
			sum.give(&out.Bucket, ch.slot, s.opts.Location)
		}
		if err := visit(out); err != nil {
			return err
		}
	}
	return nil
}

// addSlot adds what ix has of the slot, but for what is left out.
func (v *view) addSlot(sum *bucket, ix *index, slot span, without func(*segment, entry) bool) error {
	for _, e := range ix.entries {
		if e.typ != typeAdd || e.slot != slot || without(ix.seg, e) {
			continue
		}
		rows, err := v.bucketRows(ix, e, allSections)
		if err != nil {
			return err
		}
		sum.addRows(ix.dict, rows)
	}
	return nil
}

// give makes b a usage.Bucket, in the memory that out has.
func (b *bucket) give(out *usage.Bucket, slot span, loc *time.Location) {
	out.Start, out.Length = time.Unix(slot.start, 0).In(loc), time.Duration(slot.end-slot.start)*time.Second
	out.Devices, out.Quarantined = giveDevices(out.Devices[:0], &b.device), giveDevices(out.Quarantined[:0], &b.quarantined)
	out.Services, out.Families = out.Services[:0], out.Families[:0]
	for i, name := range b.service.keys {
		out.Services = append(out.Services, usage.ServiceSum{Name: name, Counters: b.service.sums[i]})
	}
	for i, f := range b.family.keys {
		out.Families = append(out.Families, usage.FamilySum{Family: f, Counters: b.family.sums[i]})
	}
	sorting.Func(out.Services, func(a, b usage.ServiceSum) int { return cmp.Compare(a.Name, b.Name) })
	sorting.Func(out.Families, func(a, b usage.FamilySum) int { return cmp.Compare(a.Family, b.Family) })
}

func giveDevices(dst []usage.DeviceSum, t *tally[usage.MAC]) []usage.DeviceSum {
	for i, m := range t.keys {
		dst = append(dst, usage.DeviceSum{MAC: m, Counters: t.sums[i]})
	}
	sorting.Func(dst, func(a, b usage.DeviceSum) int { return compareMAC(a.MAC, b.MAC) })
	return dst
}

// Pending gives what Since(c) would not give though it is booked: buckets that
// are open, and those that flash does not have yet. They are whole, but may
// still change, or be forgotten at a power cut. It answers up to when
// everything is in them and in what Since gave: the last Advance, the zero time
// if there was none.
func (s *Store) Pending(ctx context.Context, c Cursor, visit func(*usage.Bucket) error) (asOf time.Time, err error) {
	v := s.view(true, func(*segment) bool { return true })
	defer v.close()
	if v.advanced != 0 {
		asOf = time.Unix(v.advanced, 0)
	}
	if uint64(c) > v.seq {
		c = 0
	}
	changes, err := v.changes(uint64(c))
	if err != nil {
		return asOf, err
	}
	slots := make(map[span]*openSlot)
	for _, ch := range append(changes, v.late...) {
		switch {
		case !v.held && ch.seq < v.unsafe:
			asOf = time.Time{}
		case ch.typ == typeAdd:
			slots[ch.slot] = nil
		}
	}
	for i := range v.open {
		o := &v.open[i]
		if before := slots[o.slot]; before != nil {
			before.merge(&o.bucket) // two of five minutes of one hour that is compacted already
		} else {
			slots[o.slot] = o
		}
	}
	out := &usage.Bucket{}
	for _, slot := range sorting.Keys(slots, func(a, b span) int { return cmp.Compare(a.start, b.start) }) {
		if err := ctx.Err(); err != nil {
			return asOf, err
		}
		sum := &bucket{}
		if o := slots[slot]; o != nil {
			sum = &o.bucket
		}
		for i := range v.segs {
			if g := &v.segs[i]; g.has(slot.start) {
				ix, err := v.index(g)
				if err != nil {
					return asOf, err
				}
				err = v.addSlot(sum, ix, slot, func(*segment, entry) bool { return false })
				v.release(ix)
				if err != nil {
					return asOf, err
				}
			}
		}
		sum.give(out, slot, s.opts.Location)
		if err := visit(out); err != nil {
			return asOf, err
		}
	}
	return asOf, nil
}

// Changed tells that there is something new for Since or Pending. It is one
// channel for one reader, who may miss how often, not that.
func (s *Store) Changed() <-chan struct{} { return s.changed }

func (s *Store) tellChanged() {
	select {
	case s.changed <- struct{}{}:
	default: // told already
	}
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
		if v.segs[i].seq <= c {
			continue // not even read: this is asked each minute, mostly of the last file only
		}
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
				v.late = append(v.late, changed{e, i})
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
	sorting.Func(all, func(a, b changed) int { return cmp.Compare(a.seq, b.seq) })
	return all, nil
}

// ahead tells whether flash follows but does not have e yet.
func (v *view) ahead(g *segment, e entry) bool { return v.safe && e.off >= g.flashed }
