package history

import (
	"math/bits"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

// ErrClock is returned for times before Options.NotBefore: the clock is not
// set yet. The caller keeps its deltas and books them when it is.
var ErrClock = usage.Errorf(usage.Unavailable, "the router's clock is not set, so traffic cannot be booked; try: date, and service sysntpd restart")

// maxOpen bounds the open buckets, should they not get onto the disk: what
// comes then is booked on the newest of them.
const maxOpen = 512

// Add books deltas, differences of counters, that were moved in r: on the
// bucket of the last instant of r if r lies in one, else split in proportion
// to time, such that the parts add up to the delta in each counter. A span of
// more than 4 hours is split by hours, one of more than 48 hours by days; a
// part is booked on its last five minutes.
//
// Nothing is on disk before Save or Advance. ErrClock if r ends before
// NotBefore; a start before it is taken for it.
func (s *Store) Add(r usage.Range, deltas []usage.Record) error {
	return s.add(r, deltas, func(b *bucket, d *usage.Record, service string, c usage.Counters) {
		b.device.add(d.MAC, c, maxDevices, usage.MAC{})
		b.service.add(service, c, maxServices, otherService)
		b.family.add(d.Family, c, 0, 0)
	})
}

// AddQuarantined books deltas that cannot be true, like Add. They are in no
// total and no device's sum, and only given for By Quarantined.
func (s *Store) AddQuarantined(r usage.Range, deltas []usage.Record) error {
	return s.add(r, deltas, func(b *bucket, d *usage.Record, _ string, c usage.Counters) {
		b.quarantined.add(d.MAC, c, maxDevices, usage.MAC{})
	})
}

func (s *Store) add(r usage.Range, deltas []usage.Record, book func(*bucket, *usage.Record, string, usage.Counters)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	if r.To.Before(s.opts.NotBefore) || r.To.Unix() < slotSecs {
		return ErrClock
	}
	if len(deltas) == 0 {
		return nil
	}
	parts := s.split(r)
	for i := range deltas {
		d := &deltas[i]
		service := s.service(d)
		var done usage.Counters
		for _, p := range parts {
			upTo := p.share(d.Counters())
			c := less(upTo, done)
			done = upTo
			if c != (usage.Counters{}) {
				book(p.bucket, d, service, c)
			}
		}
	}
	return nil
}

func (s *Store) service(d *usage.Record) string {
	if s.opts.Service != nil {
		if name := usage.Clean(s.opts.Service(d.Proto, d.Port), maxService); name != "" {
			return name
		}
	}
	return otherService
}

// part is a piece of a split span: the share of all up to its end that is
// done/total.
type part struct {
	bucket      *bucket
	done, total uint64
}

// split cuts r at the ends of buckets.
func (s *Store) split(r usage.Range) []part {
	to := r.To.UnixMilli()
	from := max(r.From.UnixMilli(), s.opts.NotBefore.UnixMilli(), to-s.opts.KeepDay.Milliseconds())
	from = min(from, to-1) // an instant is the last one of its millisecond
	step := int64(slotSecs * 1000)
	if to-from > 4*hourSecs*1000 {
		step = hourSecs * 1000
	}
	if to-from > 48*hourSecs*1000 {
		step = 24 * hourSecs * 1000
	}
	var parts []part
	for at := from; at < to; {
		at = min(at+step-mod(at, step), to)
		slot := (at - 1) / 1000
		parts = append(parts, part{s.openBucket(slot - mod(slot, slotSecs)), uint64(at - from), uint64(to - from)})
	}
	return parts
}

func (s *Store) openBucket(slot int64) *bucket {
	b := s.open[slot]
	if b == nil && len(s.open) >= maxOpen {
		for t := range s.open {
			if b == nil || t > slot {
				b, slot = s.open[t], t
			}
		}
	}
	if b == nil {
		b = &bucket{}
		s.open[slot] = b
	}
	return b
}

// share is c times done/total, rounded down.
func (p part) share(c usage.Counters) usage.Counters {
	of := func(v uint64) uint64 {
		hi, lo := bits.Mul64(v, p.done)
		q, _ := bits.Div64(hi, lo, p.total) // done <= total: no overflow
		return q
	}
	if p.done == p.total {
		return c
	}
	return usage.Counters{
		Conns:   of(c.Conns),
		RxBytes: of(c.RxBytes), RxPackets: of(c.RxPackets),
		TxBytes: of(c.TxBytes), TxPackets: of(c.TxPackets),
	}
}

func less(a, b usage.Counters) usage.Counters {
	return usage.Counters{
		Conns:   a.Conns - b.Conns,
		RxBytes: a.RxBytes - b.RxBytes, RxPackets: a.RxPackets - b.RxPackets,
		TxBytes: a.TxBytes - b.TxBytes, TxPackets: a.TxPackets - b.TxPackets,
	}
}

// NextClose is when the bucket that has now ends. A caller who samples and
// calls Advance and Flush then, and not some seconds later, has the loss at a
// power cut stay within FlushEvery.
func NextClose(now time.Time) time.Time {
	t := now.Unix()
	return time.Unix(t-mod(t, slotSecs)+slotSecs, 0)
}
