package history

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/netpilot/netpilot/pkg/sorting"
	"github.com/netpilot/netpilot/pkg/usage"
)

const (
	maxReason = 120 // bytes of a gap's reason kept
	maxGaps   = 64  // gaps waiting for the disk; more are joined
)

// AddGap declares that traffic of g was counted and lost. Times are kept to
// the millisecond. It is on disk with the next Save or Advance.
func (s *Store) AddGap(g usage.Gap) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	if g.To.Before(s.opts.NotBefore) || g.To.Unix() < slotSecs {
		return ErrClock
	}
	if !g.From.Before(g.To) {
		return usage.Errorf(usage.Invalid, "gap from %s to %s is empty", g.From, g.To)
	}
	g.From, g.To = time.UnixMilli(g.From.UnixMilli()), time.UnixMilli(g.To.UnixMilli())
	g.Reason = usage.Clean(g.Reason, maxReason)
	if n := len(s.gaps); n >= maxGaps {
		last := &s.gaps[n-1]
		if g.From.Before(last.From) {
			last.From = g.From
		}
		if g.To.After(last.To) {
			last.To = g.To
		}
		return nil
	}
	s.gaps = append(s.gaps, g)
	return nil
}

// gapAt is the second by which a gap's segment is found: its last.
func gapAt(g usage.Gap) int64 { return (g.To.UnixMilli() - 1) / 1000 }

func appendGap(p []byte, typ byte, base int64, seq uint64, g usage.Gap) []byte {
	p = append(p, typ)
	p = binary.AppendVarint(p, int64(seq)-base*1000)
	p = binary.AppendVarint(p, g.From.UnixMilli()-base*1000)
	p = binary.AppendUvarint(p, uint64(g.To.UnixMilli()-g.From.UnixMilli()))
	p = append(p, byte(len(g.Reason)))
	return append(p, g.Reason...)
}

func parseGap(base int64, payload []byte) (g usage.Gap, seq uint64, err error) {
	f := fields{p: payload[1:]}
	seq = uint64(f.varint() + base*1000)
	from, length := f.varint()+base*1000, f.below(1<<43)
	g.From, g.To = time.UnixMilli(from), time.UnixMilli(from+length)
	g.Reason = usage.Clean(string(f.bytes(f.below(maxReason+1))), maxReason)
	return g, seq, f.err
}

// Gaps gives the gaps that overlap r, oldest first, in the store's zone.
func (s *Store) Gaps(r usage.Range) ([]usage.Gap, error) {
	v := s.view(false, func(g *segment) bool { return g.gaps > 0 && g.end > r.From.Unix() })
	defer v.close()
	var gaps []usage.Gap
	keep := func(g usage.Gap) {
		if g.From.Before(r.To) && r.From.Before(g.To) && !slices.Contains(gaps, g) {
			gaps = append(gaps, g)
		}
	}
	for _, g := range v.segs {
		ix, err := v.index(&g)
		if err != nil {
			return nil, err
		}
		for _, e := range ix.entries {
			if e.typ != typeGap {
				continue
			}
			gap, err := v.gap(ix, e)
			if err != nil {
				return nil, err
			}
			keep(gap)
		}
		v.release(ix)
	}
	for _, g := range v.gaps {
		keep(g)
	}
	sorting.Func(gaps, func(a, b usage.Gap) int { return a.From.Compare(b.From) })
	for i := range gaps { // as buckets have it
		gaps[i].From, gaps[i].To = gaps[i].From.In(s.opts.Location), gaps[i].To.In(s.opts.Location)
	}
	return gaps, nil
}
