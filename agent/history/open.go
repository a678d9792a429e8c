package history

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/netpilot/netpilot/pkg/usage"
)

// Open opens the history in o.Dir. After a restart of the agent it goes on
// where the last Save or Advance left it; after a reboot, when that directory
// is empty, it restores what is on flash.
//
// Damaged data is no error: the good part is kept, the rest reported by
// Repairs and Health. It is an error if the options make no sense, if the
// directory in RAM cannot be used, or, as ErrLocked, if another process has it.
func Open(o Options) (*Store, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	s := &Store{
		opts: o, fs: o.FS, changed: make(chan struct{}, 1),
		foreign: make(map[string]int64), open: make(map[int64]*bucket), blobs: make(map[string][]byte),
		scratch: files{fs: o.FS, dir: o.Dir},
	}
	if err := s.fs.MkdirAll(o.Dir); err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	lock, err := s.fs.Lock(s.path("lock"))
	if err != nil {
		return nil, fmt.Errorf("history in %s: %w", o.Dir, err)
	}
	s.lock = lock
	if err := s.load(); err != nil {
		lock.Close()
		return nil, fmt.Errorf("history in %s: %w", o.Dir, err)
	}
	return s, nil
}

// load fills the Store from RAM if that is whole, else from flash, else from
// what RAM has.
func (s *Store) load() error {
	if _, err := s.fs.Names(s.opts.Dir); err != nil {
		return err
	}
	st, err := s.readState()
	if err != nil {
		s.repair(s.path(stateName), 0, "unreadable (%v): the open buckets are lost", err)
	}
	switch {
	case st != nil && s.resume(st):
	case s.restore():
	default:
		if err := s.adopt(); err != nil {
			return err
		}
	}
	if s.opts.FlashDir != "" && !s.flash.attached && s.flash.err == nil {
		s.flash.fail(errDetached)
	}
	for _, g := range s.segs {
		s.seq = max(s.seq, g.seq)
	}
	if s.clock.last == 0 {
		s.clock.last = int64(s.seq / 1000)
	}
	s.dropSealed()
	for _, g := range s.segs {
		g.size = g.written
	}
	if err := s.flash.copyErr; err != nil {
		return err
	}
	if err := s.save(); err != nil {
		return err
	}
	s.removeLeftovers()
	return nil
}

// resume goes on from the state file: segments count as far as it says. False
// if they are not there as it says and flash may know better.
func (s *Store) resume(st *saved) bool {
	sv, err := s.survey(s.opts.Dir, func(name string) (int64, bool) {
		g, ok := st.segs[name]
		return g.size, ok
	})
	whole := err == nil && len(sv.segs) == len(st.segs)
	for _, g := range sv.segs {
		whole = whole && g.written == st.segs[g.name()].size
	}
	if !whole {
		if s.opts.FlashDir != "" && st.attached {
			s.repair(s.path(stateName), 0, "segments are missing or short in RAM: going back to the copy on flash")
			return false
		}
	}
	s.take(sv)
	for _, g := range s.segs {
		g.flashed = min(st.segs[g.name()].flashed, g.written)
	}
	s.seq, s.clock, s.open, s.gaps, s.blobs = st.seq, st.clock, st.open, st.gaps, st.blobs
	s.leftover = append(s.leftover, sv.unlisted...)
	s.attach(st.attached)
	return true
}

// adopt takes the segments in RAM without a state.
func (s *Store) adopt() error {
	sv, err := s.survey(s.opts.Dir, nil)
	if err != nil {
		return err
	}
	s.take(sv)
	return nil
}

func (s *Store) take(sv surveyed) {
	s.segs = sv.segs
	for name, size := range sv.foreign {
		s.foreign[name] = size
	}
	s.repairs = append(s.repairs, sv.repairs[:min(len(sv.repairs), maxRepairs-len(s.repairs))]...)
}

// dropSealed deletes segments whose compaction is whole.
func (s *Store) dropSealed() {
	var keep []*segment
	for _, g := range s.segs {
		if into := s.sealedIn(g); into != nil {
			s.leftover = append(s.leftover, g.name())
			s.dropFlash(g, into)
			continue
		}
		keep = append(keep, g)
	}
	s.segs = keep
}

// sealedIn is the coarsest segment into which g was compacted: by itself, or
// with its hours, of which there may be no file any more.
func (s *Store) sealedIn(g *segment) *segment {
	for _, o := range slices.Backward(s.segs) {
		for _, sealed := range o.seals {
			if o.kind == g.kind+1 && sealed.start == g.start || o.kind > g.kind+1 && sealed.has(g.start) {
				return o
			}
		}
	}
	return nil
}

// surveyed is what a directory holds.
type surveyed struct {
	segs     []*segment
	foreign  map[string]int64
	unlisted []string // segments that the state does not know
	stubs    []string // files of a segment of which not even the header is whole
	repairs  []Repair
}

func (v *surveyed) repair(file string, at int64, format string, args ...any) {
	if len(v.repairs) < maxRepairs {
		v.repairs = append(v.repairs, Repair{file, at, fmt.Sprintf(format, args...)})
	}
}

// orphan is a frame of a compaction without its seal.
type orphan struct {
	span
	end int64
}

// survey reads every segment in dir. With size, only those that it knows, and
// no further than it says.
func (s *Store) survey(dir string, size func(name string) (int64, bool)) (surveyed, error) {
	sv := surveyed{foreign: make(map[string]int64)}
	names, err := s.fs.Names(dir)
	if err != nil {
		return sv, err
	}
	orphans := make(map[*segment][]orphan)
	for _, name := range names {
		g := parseName(name)
		if g == nil {
			continue
		}
		limit := int64(-1)
		if size != nil {
			var ok bool
			if limit, ok = size(name); !ok {
				sv.unlisted = append(sv.unlisted, name)
				continue
			}
		}
		total, lone, err := s.surveyOne(&sv, filepath.Join(dir, name), g, limit)
		switch {
		case errors.Is(err, errStub):
			sv.stubs = append(sv.stubs, name)
			sv.repair(filepath.Join(dir, name), 0, "%v; removed", err)
		case err != nil:
			sv.foreign[name] = total
			sv.repair(filepath.Join(dir, name), 0, "%v", err)
		default:
			sv.segs = append(sv.segs, g)
			orphans[g] = lone
		}
	}
	if len(sv.segs) > 0 {
		sortSegments(sv.segs)
	}
	for _, g := range sv.segs {
		sv.settle(g, orphans[g])
	}
	for _, g := range sv.segs {
		if total := g.size; g.written < total {
			sv.repair(filepath.Join(dir, g.name()), g.written, "torn tail of %d bytes cut off", total-g.written)
		}
	}
	if size == nil {
		return sv, nil
	}
	for _, g := range sv.segs { // committed is committed: new frames stand behind
		g.written = g.size
	}
	return sv, nil
}

// surveyOne reads one file: total is its size, g.size what of it may count,
// g.written where the last frame ends that counts without knowing others.
func (s *Store) surveyOne(sv *surveyed, path string, g *segment, limit int64) (total int64, lone []orphan, err error) {
	f, err := s.fs.Open(path, false)
	if err != nil {
		return 0, nil, err
	}
	defer f.Close()
	if total, err = f.Size(); err != nil {
		return 0, nil, err
	}
	g.size = total
	if limit >= 0 {
		g.size = min(total, limit)
	}
	rd := &s.scratch.rd
	rd.reset(f, g.size, g.seed())
	var run []orphan // frames of a compaction that stand together
	flush := func() { lone, run = append(lone, run...), nil }
	_, err = walk(g, rd, func(fr *frame) error {
		g.seq = max(g.seq, fr.seq)
		switch fr.typ {
		case typeAdd, typePart:
			rows, _, _, err := fr.bucket.checkRows(s.scratch.rows)
			s.scratch.rows = rows
			if err != nil {
				return err
			}
		case typeGap, typeGapPart:
			g.gaps++
		}
		switch fr.typ {
		case typePart:
			run = append(run, orphan{fr.bucket.slot, fr.next})
		case typeGapPart:
			run = append(run, orphan{span{fr.at(), fr.at() + 1}, fr.next})
		case typeSeal:
			if len(run) >= fr.parts {
				run = run[:len(run)-fr.parts]
				g.seals = append(g.seals, fr.child)
				g.written = fr.next
			} else {
				run = append(run, orphan{fr.child, fr.next})
			}
			flush()
		default:
			flush()
			g.written = fr.next
		}
		return nil
	}, func(from, to int64) {
		flush()
		sv.repair(path, from, "damaged: %d bytes skipped", to-from)
	})
	flush()
	if err != nil {
		return total, nil, err
	}
	if g.end == 0 { // no header
		if g.written == 0 && len(lone) == 0 {
			return total, nil, errStub
		}
		s.guessSpans(g)
	}
	return total, lone, nil
}

// guessSpans are those of the router's zone.
func (s *Store) guessSpans(g *segment) {
	g.day, g.month = dayOf(s.opts.Location, g.start), monthOf(s.opts.Location, g.start)
	switch g.kind {
	case fiveMin:
		g.end = quarterOf(g.day, g.start).end
	case hourly:
		g.end = g.day.end
	case daily:
		g.end = g.month.end
	}
}

// settle decides on g's frames without a seal. If the finer segment is there,
// the compaction was cut off and will be done again: they do not count. If it
// is not, the seal was whole once and is damaged now: they do.
func (v *surveyed) settle(g *segment, lone []orphan) {
	for _, o := range lone {
		finer := false
		for _, c := range v.segs {
			finer = finer || c.kind < g.kind && c.start < o.span.end && o.start < c.end
		}
		if !finer {
			g.seals = append(g.seals, o.span)
			g.written = max(g.written, o.end)
		}
	}
}

var errDetached = usage.Errorf(usage.Unavailable, "the history on flash could not be read at the start and is left alone; what is new is kept in RAM until the next reboot")

// isAbsent tells whether err only says that there is nothing.
func isAbsent(err error) bool { return errors.Is(err, fs.ErrNotExist) }
