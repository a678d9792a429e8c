package history

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/netpilot/netpilot/pkg/sorting"
)

// flash is the copy in FlashDir: each file there is a prefix of the one in RAM.
type flash struct {
	attached bool // what was there at the start is known; else nothing is touched
	drop     []dropped
	span     int64 // of FlushEvery in which the last Flush was
	flushed  bool  // there was one
	err      error
	since    time.Time
	copyErr  error // restoring into RAM failed
}

// dropped is a segment to delete, once the one it was compacted into is on
// flash as far as size.
type dropped struct {
	name string
	into *segment
	size int64
}

func (f *flash) fail(err error) { f.err = err }

func (s *Store) dropFlash(g, into *segment) {
	if s.opts.FlashDir == "" {
		return
	}
	d := dropped{name: g.name(), into: into}
	if into != nil {
		d.size = into.written
	}
	s.flash.drop = append(s.flash.drop, d)
	// What waited for g, which may never get there, waits for into.
	for i := range s.flash.drop {
		if o := &s.flash.drop[i]; o.into == g {
			o.into, o.size = d.into, d.size
		}
	}
}

// Health is what a person should know of the history.
type Health struct {
	FlashErr   error     // why the copy on flash is behind; nil: it is not
	FlashSince time.Time // of the error
	Behind     int64     // bytes that only RAM has
	Bytes      int64     // of all segments
	Segments   int
	LeftAlone  []string // files that are not ours to touch
}

// Health tells how the Store is. A flash that is full or read-only costs
// nothing but the safety from a power cut; it is tried again at each Flush.
func (s *Store) Health() Health {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := Health{FlashErr: s.flash.err, FlashSince: s.flash.since, Bytes: s.total(), Segments: len(s.segs)}
	for _, g := range s.segs {
		h.Behind += g.size - g.flashed
	}
	if s.opts.FlashDir == "" {
		h.Behind = 0
	}
	for name := range s.foreign {
		h.LeftAlone = append(h.LeftAlone, name)
	}
	slices.Sort(h.LeftAlone)
	return h
}

// Flush copies to flash what Advance appended, synced, and then deletes there
// what was compacted or is too old. It does so once in each span of
// FlushEvery by the clock, else nothing. On an error history goes on in RAM,
// Health tells why, and a later Flush catches up.
func (s *Store) Flush(now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	n := now.UnixNano() / int64(s.opts.FlushEvery)
	if s.flash.flushed && n == s.flash.span {
		return nil
	}
	s.flash.flushed, s.flash.span = true, n
	return s.flushLocked(now)
}

func (s *Store) flushLocked(now time.Time) error {
	if s.opts.FlashDir == "" {
		return nil
	}
	if !s.flash.attached && !s.attachEmpty() {
		return errDetached
	}
	var work bool
	var failed error
	// Coarse first: what is compacted must be safe before its source goes.
	order := slices.Clone(s.segs)
	sorting.Stable(order, func(a, b *segment) int { return cmp.Compare(b.kind, a.kind) })
	s.dropFromFlash()
	for _, g := range order {
		if g.flashed >= g.size {
			continue
		}
		work = true
		if err := s.flushSegment(g); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	if s.dropFromFlash() {
		work = true
	}
	switch {
	case failed != nil:
		if s.flash.err == nil {
			s.flash.since = now
		}
		s.flash.err = fmt.Errorf("history is kept in RAM only; try: df -h %s: %w", s.opts.FlashDir, failed)
		return s.flash.err
	case !work:
		return nil
	}
	s.flash.err, s.flash.since = nil, time.Time{}
	s.tellChanged()
	return s.save() // how far the copy goes
}

// flushSegment appends to the file on flash what it lacks, and syncs it.
func (s *Store) flushSegment(g *segment) error {
	fresh := g.flashed == 0
	if fresh {
		if err := s.fs.MkdirAll(s.opts.FlashDir); err != nil {
			return err
		}
	}
	from, err := s.fs.Open(s.path(g.name()), false)
	if err != nil {
		return err
	}
	defer from.Close()
	name := filepath.Join(s.opts.FlashDir, g.name())
	to, err := s.fs.Open(name, true)
	if err != nil {
		return err
	}
	size, err := to.Size()
	if err == nil && size < g.flashed {
		err = fmt.Errorf("the file has %d bytes of %d; somebody cut it", size, g.flashed)
		g.flashed = min(size, g.flashed) // copy the rest again
	}
	if err == nil && size > g.flashed {
		// Of a failed attempt, or behind a torn tail: it must be gone
		// for sure before anything stands in its place.
		err = errors.Join(to.Truncate(g.flashed), to.Sync())
	}
	if err == nil {
		err = copyBytes(to, from, g.flashed, g.size)
	}
	if err == nil {
		err = to.Sync()
	}
	if err = errors.Join(err, to.Close()); err == nil && fresh {
		err = s.fs.SyncDir(s.opts.FlashDir)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	g.flashed = g.size
	return nil
}

const copyBuffer = 16 << 10

func copyBytes(to, from File, off, end int64) error {
	buf := make([]byte, min(copyBuffer, end-off))
	for off < end {
		n := min(int64(len(buf)), end-off)
		if m, err := from.ReadAt(buf[:n], off); int64(m) < n {
			return fmt.Errorf("read at byte %d: %w", off, err)
		}
		if _, err := to.WriteAt(buf[:n], off); err != nil {
			return err
		}
		off += n
	}
	return nil
}

// dropFromFlash deletes what may go by now.
func (s *Store) dropFromFlash() (some bool) {
	s.flash.drop = slices.DeleteFunc(s.flash.drop, func(d dropped) bool {
		if d.into != nil && d.into.flashed < d.size {
			return false
		}
		err := s.fs.Remove(filepath.Join(s.opts.FlashDir, d.name))
		some = some || err == nil
		return err == nil || isAbsent(err)
	})
	return some
}

// attachEmpty takes up a flash that could not be listed at the start but can be
// now, and has no history that would have to be read first.
func (s *Store) attachEmpty() bool {
	names, err := s.fs.Names(s.opts.FlashDir)
	if err != nil && !isAbsent(err) || slices.ContainsFunc(names, func(name string) bool { return parseName(name) != nil }) {
		return false
	}
	s.flash.attached = true
	return true
}

// attach takes up the copy on flash after a restart of the agent: RAM is
// right, and what it does not know there is to be deleted.
func (s *Store) attach(attached bool) {
	if s.opts.FlashDir == "" || !attached {
		return
	}
	names, err := s.fs.Names(s.opts.FlashDir)
	if err != nil && !isAbsent(err) {
		s.flash.fail(err)
		return
	}
	s.flash.attached = true
	known := make(map[string]bool)
	for _, g := range s.segs {
		known[g.name()] = true
	}
	for _, name := range names {
		g := parseName(name)
		if g == nil || known[name] {
			continue
		}
		var sv surveyed
		size, _, err := s.surveyOne(&sv, filepath.Join(s.opts.FlashDir, name), g, -1)
		if err != nil && !errors.Is(err, errStub) {
			s.foreign[name] = size
			continue
		}
		s.dropFlash(g, s.sealedIn(g))
	}
}

// restore fills RAM from flash after a reboot. False if flash has no history
// or cannot be listed; what RAM has is then taken.
func (s *Store) restore() bool {
	if s.opts.FlashDir == "" {
		return false
	}
	sv, err := s.survey(s.opts.FlashDir, nil)
	if err != nil && !isAbsent(err) {
		s.flash.fail(err)
		return false
	}
	s.flash.attached = true
	for name, size := range sv.foreign {
		s.foreign[name] = size
	}
	if len(sv.segs) == 0 {
		s.take(sv)
		s.segs = nil
		s.dropStubs(sv)
		return false
	}
	s.clearRAM()
	s.take(sv)
	s.dropStubs(sv)
	for _, g := range s.segs {
		if err := s.restoreSegment(g); err != nil {
			s.flash.copyErr = err
			return true
		}
	}
	return true
}

func (s *Store) dropStubs(sv surveyed) {
	for _, name := range sv.stubs {
		s.dropFlash(parseName(name), nil)
	}
}

// clearRAM removes segments of which flash has the better copy.
func (s *Store) clearRAM() {
	names, _ := s.fs.Names(s.opts.Dir)
	for _, name := range names {
		if parseName(name) != nil {
			_ = s.fs.Remove(s.path(name)) // written over otherwise
		}
	}
}

func (s *Store) restoreSegment(g *segment) error {
	from, err := s.fs.Open(filepath.Join(s.opts.FlashDir, g.name()), false)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := s.fs.Open(s.path(g.name()), true)
	if err != nil {
		return err
	}
	err = errors.Join(to.Truncate(0), copyBytes(to, from, 0, g.written), to.Close())
	if err != nil {
		return fmt.Errorf("restore %s from flash: %w; try: df -h %s", g.name(), err, s.opts.Dir)
	}
	g.size, g.flashed = g.written, g.written
	return nil
}
