// Package history is the router's own memory of what its devices moved: buckets
// of five minutes, hours and days on disk, small enough for a router's flash,
// and whole again after the power was pulled at any instant.
//
// A Store lives in a directory in RAM and keeps a copy of it on flash, to
// which it only ever appends. Deltas are booked with Add, Advance closes the
// buckets that ended, Flush carries what was closed to flash. Nothing happens
// by itself: the caller owns the time. All methods may be called from any
// goroutine.
//
// Promises, each proved by a test:
//
//   - What Flush acknowledged (returned nil) survives a power cut at any byte,
//     once. What was added since the last Flush, at most FlushEvery ago, is
//     lost with the power.
//   - What Save or Advance acknowledged survives the end of the process, with
//     the blobs of the same instant: both are one file, replaced at once.
//   - A damaged byte costs its frame, is reported, and never makes another
//     number.
//   - The files stay within MaxBytes: first resolution is given up, five
//     minutes before hours, oldest first, and last whole months of days.
//
// FORMAT.md describes the files.
package history

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

// The defaults of Options.
const (
	DefaultKeep5m     = 48 * time.Hour
	DefaultKeepHour   = 35 * 24 * time.Hour
	DefaultKeepDay    = 400 * 24 * time.Hour
	DefaultMaxBytes   = 1500 << 10
	DefaultFlushEvery = 5 * time.Minute
)

// Options say where and how long. The zero value of each is its default.
type Options struct {
	Dir      string         // in RAM, such as /tmp/netpilot; required
	FlashDir string         // such as /etc/netpilot/history; "" keeps nothing over a reboot
	FS       FS             // OS{}
	Location *time.Location // the router's, for its days; UTC
	Keep5m   time.Duration  // how long five minutes are kept, by quarters of a day
	KeepHour time.Duration  // how long hours are kept, by days; at most 400 days
	KeepDay  time.Duration  // how long days are kept, by months
	MaxBytes int            // of all segments, in Dir and again in FlashDir; at least 128 KiB

	FlushEvery time.Duration // Flush does nothing more often; at least 1 minute

	// NotBefore is a time that has passed for sure, as the program's build:
	// a clock before it is not set.
	NotBefore time.Time

	// Service names a record's service by IP protocol and port; "" and nil
	// are "other".
	Service func(proto uint8, port uint16) string
}

func (o *Options) check() error {
	setDefault(&o.Keep5m, DefaultKeep5m)
	setDefault(&o.KeepHour, DefaultKeepHour)
	setDefault(&o.KeepDay, max(DefaultKeepDay, o.KeepHour))
	setDefault(&o.MaxBytes, DefaultMaxBytes)
	setDefault(&o.FlushEvery, DefaultFlushEvery)
	if o.FS == nil {
		o.FS = OS{}
	}
	if o.Location == nil {
		o.Location = time.UTC
	}
	switch {
	case o.Dir == "" || o.Dir == o.FlashDir:
		return usage.Errorf(usage.Invalid, "history needs a directory in RAM, other than the one on flash")
	case o.Keep5m < time.Hour || o.KeepHour < o.Keep5m || o.KeepDay < o.KeepHour || o.KeepHour > DefaultKeepDay:
		return usage.Errorf(usage.Invalid, "history cannot keep 5 minutes for %s, hours for %s, days for %s: each at least as long as the one before, hours at most %s",
			o.Keep5m, o.KeepHour, o.KeepDay, DefaultKeepDay)
	case o.MaxBytes < 128<<10:
		return usage.Errorf(usage.Invalid, "history within %d bytes is too small; allow at least %d", o.MaxBytes, 128<<10)
	case o.FlushEvery < time.Minute:
		return usage.Errorf(usage.Invalid, "flushing history every %s wears the flash out; use at least 1m", o.FlushEvery)
	}
	return nil
}

func setDefault[T ~int | ~int64](v *T, to T) {
	if *v == 0 {
		*v = to
	}
}

// Repair is something found damaged or strange at Open.
type Repair struct {
	File string // its path
	At   int64  // the first byte concerned
	What string // what was found and what was done
}

// String is the repair for a log line.
func (r Repair) String() string { return fmt.Sprintf("%s: byte %d: %s", r.File, r.At, r.What) }

// maxRepairs bounds the report.
const maxRepairs = 100

// Store is an open history.
type Store struct {
	opts Options // KeepHour and MaxBytes as Keep says, guarded by mu; the rest fixed
	fs   FS
	lock io.Closer

	changed chan struct{} // of capacity 1

	mu       sync.Mutex // guards below
	closed   bool
	segs     []*segment        // sorted by kind and time
	foreign  map[string]int64  // files left alone, and their bytes
	open     map[int64]*bucket // by start
	gaps     []usage.Gap       // not yet on disk
	blobs    map[string][]byte
	seq      uint64   // of the newest change
	clock    clock    // what Advance was told
	readers  int      // views open: no file may vanish
	leftover []string // segments in Dir to remove
	flash    flash
	repairs  []Repair
	scratch  files // for the Store's own reading
}

var errClosed = errors.New("the history is closed")

// Repairs tells what Open found damaged, at most 100 things.
func (s *Store) Repairs() []Repair { return slices.Clone(s.repairs) }

func (s *Store) repair(file string, at int64, format string, args ...any) {
	if len(s.repairs) < maxRepairs {
		s.repairs = append(s.repairs, Repair{file, at, fmt.Sprintf(format, args...)})
	}
}

// Keep changes how long hours are kept and how much all segments may take, as
// Options.KeepHour and MaxBytes, and with the same bounds. The next Advance
// goes by it.
func (s *Store) Keep(hours time.Duration, maxBytes int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.opts
	o.KeepHour, o.MaxBytes = hours, maxBytes
	if err := o.check(); err != nil {
		return err
	}
	s.opts.KeepHour, s.opts.MaxBytes = o.KeepHour, o.MaxBytes
	return nil
}

// Close books the open buckets as they are, saves and flushes, whatever
// FlushEvery says, and gives the directory free. A second call does nothing.
func (s *Store) Close(now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	var err error
	if now.Before(s.opts.NotBefore) {
		err = s.save()
	} else {
		err = errors.Join(s.closeBuckets(now, slices.Sorted(maps.Keys(s.open))), s.flushLocked(now))
	}
	return errors.Join(err, s.lock.Close())
}

// Newest is the time of the newest change on record, about to the second; zero
// if there is none.
func (s *Store) Newest() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seq == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(s.seq))
}

func (s *Store) path(name string) string { return filepath.Join(s.opts.Dir, name) }

// total is the bytes of the segments in one directory.
func (s *Store) total() int64 {
	var n int64
	for _, g := range s.segs {
		n += g.written
	}
	for _, size := range s.foreign {
		n += size
	}
	return n
}
