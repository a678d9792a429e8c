package history

import (
	"cmp"
	"slices"
	"time"

	"github.com/netpilot/netpilot/pkg/sorting"
	"github.com/netpilot/netpilot/pkg/usage"
)

// age compacts and deletes what is due at now, each in a change of its own.
func (s *Store) age(now time.Time) error {
	t := now.Unix()
	if t >= s.clock.hold {
		for _, k := range [...]kind{fiveMin, hourly, daily} {
			keep := [numKinds]time.Duration{s.opts.Keep5m, s.opts.KeepHour, s.opts.KeepDay}[k]
			for {
				g := s.oldest(k)
				if g == nil || g.end > t-int64(keep/time.Second) {
					break
				}
				if err := s.giveUp(g); err != nil {
					return err
				}
			}
		}
	}
	for s.total() > int64(s.opts.MaxBytes) {
		g := s.oldest(fiveMin)
		if g == nil || g.has(t) {
			g = s.oldest(hourly)
		}
		if g == nil || g.has(t) {
			g = s.oldest(daily)
		}
		if g == nil || g.has(t) {
			break // the rest is of today
		}
		if err := s.giveUp(g); err != nil {
			return err
		}
	}
	// Only the segment of the present is appended to all the time.
	for _, g := range s.segs {
		if !g.has(t) {
			g.dict = nil
		}
	}
	return nil
}

func (s *Store) oldest(k kind) *segment {
	for _, g := range s.segs {
		if g.kind == k {
			return g
		}
	}
	return nil
}

// giveUp makes g coarser, or deletes it if there is nothing coarser.
func (s *Store) giveUp(g *segment) error {
	return s.change(func() error {
		var into *segment
		if g.kind != daily {
			into = s.parent(g)
			if err := s.compact(g, into); err != nil {
				return err
			}
		}
		s.segs = slices.DeleteFunc(s.segs, func(o *segment) bool { return o == g })
		s.leftover = append(s.leftover, g.name())
		s.dropFlash(g, into)
		return nil
	})
}

// compact appends g's buckets to the segment into, summed to its slots, and a
// seal. All of it is one write, so that a cut leaves no seal without them.
func (s *Store) compact(g, into *segment) error {
	if err := s.loadDict(into); err != nil {
		return err
	}
	was := *g
	was.size = g.written
	ix, err := s.scratch.index(&was)
	if err != nil {
		return err
	}
	defer s.scratch.release(ix)
	sorting.Func(ix.entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.slot.start, b.slot.start), cmp.Compare(a.off, b.off))
	})
	var (
		payloads [][]byte
		sum      bucket
		slot     span
		seq      uint64
		newest   uint64
	)
	done := func() {
		sum.device.fold(maxDevices, usage.MAC{})
		sum.quarantined.fold(maxDevices, usage.MAC{})
		sum.service.fold(maxServices, otherService)
		payloads = appendBucket(payloads, typePart, into.start, slot, seq, &sum, into.dict)
		sum.clear()
		seq = 0
	}
	for _, e := range ix.entries {
		newest = max(newest, e.seq)
		if e.typ == typeGap {
			gap, err := s.scratch.gap(ix, e)
			if err != nil {
				return err
			}
			payloads = append(payloads, appendGap(nil, typeGapPart, into.start, e.seq, gap))
			into.gaps++
			continue
		}
		to := g.span
		if into.kind == hourly {
			to = into.hour(e.slot.start, g.span)
		}
		if to != slot {
			done()
			slot = to
		}
		rows, err := s.scratch.bucketRows(ix, e, allSections)
		if err != nil {
			return err
		}
		sum.addRows(ix.dict, rows)
		seq = max(seq, e.seq)
	}
	done()
	payloads = append(payloads, into.appendSeal(nil, g.span, len(payloads)))
	if err := s.write(into, payloads...); err != nil {
		return err
	}
	into.seals = append(into.seals[:len(into.seals):len(into.seals)], g.span)
	return nil
}
