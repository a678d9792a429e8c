package history

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"time"
)

// clock is what the Store knows of the time, in Unix seconds.
type clock struct {
	last int64 // the newest Advance
	hold int64 // nothing is compacted or deleted by age before
}

// settle is how long a clock that jumped ahead is watched before history is
// given up for its sake: a wrong date must not age it.
const settle = 24 * hourSecs

func (c *clock) tick(t int64) {
	switch {
	case c.last != 0 && t > c.last+settle:
		c.hold = t + settle
	case t < c.last-settle:
		c.hold = 0
	}
	c.last = t
}

// Advance closes the buckets that do not have now, appends them to their
// segments and saves the state. Segments whose age has come are compacted:
// a quarter of a day to hours, a day to one bucket; months are deleted. Above
// MaxBytes the same is done early: first the oldest five minutes lose their
// resolution, then the oldest hours, and last the oldest month is deleted.
//
// A clock that went back makes no harm: a bucket closed already gets an
// addition. If it went ahead by more than a day, nothing ages for a day.
//
// On an error nothing is lost: what could not be written stays open and the
// next Advance tries again. ErrClock if now is before NotBefore.
func (s *Store) Advance(now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	if now.Before(s.opts.NotBefore) {
		return ErrClock
	}
	t := now.Unix()
	s.clock.tick(t)
	var closing []int64
	for _, start := range slices.Sorted(maps.Keys(s.open)) {
		if t < start || t >= start+slotSecs {
			closing = append(closing, start)
		}
	}
	err := s.closeBuckets(now, closing)
	if err == nil && len(closing) > 0 {
		s.tellChanged()
	}
	if err == nil {
		err = s.age(now)
	}
	s.removeLeftovers()
	return err
}

// closeBuckets appends the open buckets that start then, and the gaps, and
// saves the state whatever there was to append.
func (s *Store) closeBuckets(now time.Time, starts []int64) error {
	return s.change(func() error {
		for _, start := range starts {
			b := s.open[start]
			delete(s.open, start)
			if b.empty() {
				continue
			}
			g, slot := s.place(start)
			if err := s.appendTo(g, typeAdd, slot, s.nextSeq(now), b); err != nil {
				return err
			}
		}
		for _, gap := range s.gaps {
			at := gapAt(gap)
			g, _ := s.place(at - mod(at, slotSecs))
			if err := s.write(g, appendGap(nil, typeGap, g.start, s.nextSeq(now), gap)); err != nil {
				return err
			}
			g.gaps++
		}
		s.gaps = nil
		return nil
	})
}

// nextSeq numbers a change: by the clock, so that a number that a power cut
// made us forget is not given again, but never backwards.
func (s *Store) nextSeq(now time.Time) uint64 {
	s.seq = max(s.seq+1, uint64(max(now.UnixMilli(), 0)))
	return s.seq
}

// change does fn and saves the state, which commits what fn appended; if
// either fails, everything is as before.
func (s *Store) change(fn func() error) error {
	segs, were := slices.Clone(s.segs), make([]segment, len(s.segs))
	for i, g := range segs {
		were[i] = *g
	}
	open, gaps, seq := maps.Clone(s.open), s.gaps, s.seq
	leftover, drop := len(s.leftover), slices.Clone(s.flash.drop)
	err := fn()
	if err == nil {
		err = s.save()
	}
	if err != nil {
		for i, g := range segs {
			*g = were[i]
			g.dict = nil // it knows what was not kept
		}
		s.segs, s.open, s.gaps, s.seq = segs, open, gaps, seq
		s.leftover, s.flash.drop = s.leftover[:leftover], drop
		return err
	}
	for _, g := range s.segs {
		g.size = g.written
	}
	return nil
}

// appendTo appends a bucket to its segment.
func (s *Store) appendTo(g *segment, typ byte, slot span, seq uint64, b *bucket) error {
	if err := s.loadDict(g); err != nil {
		return err
	}
	return s.write(g, appendBucket(nil, typ, g.start, slot, seq, b, g.dict)...)
}

// loadDict reads the dictionary of a segment that is to be appended to.
func (s *Store) loadDict(g *segment) error {
	if g.dict != nil {
		return nil
	}
	d := newDict()
	var mac, service uint32
	if g.written > 0 {
		f, err := s.fs.Open(s.path(g.name()), false)
		if err != nil {
			return fmt.Errorf("history segment: %w", err)
		}
		defer f.Close()
		head := *g
		s.scratch.rd.reset(f, g.written, g.seed())
		_, err = walk(&head, &s.scratch.rd, func(fr *frame) error {
			if fr.typ != typeAdd && fr.typ != typePart {
				return nil
			}
			d.define(&fr.bucket)
			rows, m, v, err := fr.bucket.checkRows(s.scratch.rows)
			s.scratch.rows = rows
			mac, service = max(mac, m), max(service, v)
			return err
		}, func(int64, int64) {})
		if err != nil {
			return fmt.Errorf("history segment %s: %w", g.name(), err)
		}
	}
	d.forAppending(mac, service)
	g.dict = d
	return nil
}

// write appends payloads as frames to g's file in RAM, at once, after the
// header if the file is new. They count once the state is saved.
func (s *Store) write(g *segment, payloads ...[]byte) error {
	var data []byte
	if g.written == 0 {
		data = g.header()
	}
	for _, p := range payloads {
		data = appendFrame(data, g.seed(), g.written+int64(len(data)), p)
	}
	name := s.path(g.name())
	f, err := s.fs.Open(name, true)
	if err != nil {
		return fmt.Errorf("append to history: %w", err)
	}
	defer f.Close()
	if err := appendAt(f, g.written, data); err != nil {
		return fmt.Errorf("append to %s: %w", name, err)
	}
	g.written += int64(len(data))
	g.seq = max(g.seq, s.seq)
	return nil
}

// appendAt writes data at off, the end of what counts of f, and drops what an
// earlier failure left there: it must never show again behind shorter data.
func appendAt(f File, off int64, data []byte) error {
	size, err := f.Size()
	if err != nil {
		return err
	}
	if size < off {
		return fmt.Errorf("the file has %d bytes of %d; somebody cut it; restart the agent to restore it", size, off)
	}
	if size > off {
		if err := f.Truncate(off); err != nil {
			return err
		}
	}
	_, err = f.WriteAt(data, off)
	return err
}

// removeLeftovers deletes segments in RAM that are compacted or too old, once
// nobody reads them.
func (s *Store) removeLeftovers() {
	if s.readers > 0 {
		return
	}
	s.leftover = slices.DeleteFunc(s.leftover, func(name string) bool {
		err := s.fs.Remove(filepath.Join(s.opts.Dir, name))
		return err == nil || errors.Is(err, fs.ErrNotExist)
	})
}
