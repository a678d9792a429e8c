package nlbwmon

import (
	"bufio"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

// snapshotTries bounds the attempts: nlbwmon writes 10,000 rows in about a
// millisecond every 30 s, so a second failure is already unlikely.
const snapshotTries = 4

// A snapshot whose write began less than snapshotSettled ago may still be in
// the making: snapshotPause then lies between the two passes, so that a daemon
// interrupted in the middle goes on and the passes differ. nlbwmon's ftruncate
// sets the file's time before the first byte changes (database.c).
const (
	snapshotSettled = 100 * time.Millisecond
	snapshotPause   = 10 * time.Millisecond
)

// Snapshot is what ReadSnapshot knows besides the rows.
type Snapshot struct {
	Header  Header    // its Period is 0
	ModTime time.Time // when nlbwmon wrote it, by the router's clock
	Order   AddrOrder // how IPv4 addresses are stored
	Guessed bool      // Order was told by the look of the addresses
}

// SnapshotTime is when nlbwmon last wrote the snapshot at path, that is, when
// it last refreshed its counters.
func SnapshotTime(path string) (time.Time, error) {
	info, err := os.Stat(path)
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}

// ReadSnapshot reads the live table that nlbwmon keeps at /tmp/0.db (-r, every
// 30 s by default). nlbwmon rewrites it in place, so a read may see half of
// the old and half of the new: the size must be the one the header tells, and
// a second pass must find the same bytes. Otherwise the attempt is repeated.
//
// begin is called before the rows of each attempt, so that the caller drops
// those of a torn one; rows is backed by the file's size. visit is called
// once per row with a record it must not keep. Rows count only once
// ReadSnapshot returns no error. begin may be nil.
//
// It returns ErrTorn if no attempt succeeded, an error wrapping fs.ErrNotExist
// if there is no snapshot, and a *DataError if the file is no database.
func ReadSnapshot(path string, order AddrOrder, begin func(h Header, rows int), visit func(*usage.Record)) (Snapshot, error) {
	s := snapshotReader{
		open: func() (snapshotFile, error) {
			f, _, err := openRegular(path)
			return f, err
		},
		pause: func(written time.Time) {
			if age := time.Since(written); age < snapshotSettled {
				time.Sleep(snapshotPause)
			}
		},
		order: order, begin: begin, visit: visit,
	}
	snap, err := s.read()
	var ue *usage.Error
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return snap, usage.Errorf(usage.Unavailable, "no nlbwmon snapshot at %s; try: service nlbwmon status: %w", path, err)
	case errors.As(err, &ue), err == nil:
		return snap, err
	}
	return snap, usage.Errorf(usage.Unavailable, "read nlbwmon snapshot %s: %w", path, err)
}

// snapshotFile is the part of *os.File that is needed.
type snapshotFile interface {
	io.ReadSeekCloser
	Stat() (fs.FileInfo, error)
}

type snapshotReader struct {
	open  func() (snapshotFile, error)
	pause func(written time.Time) // between the passes
	order AddrOrder
	begin func(Header, int)
	visit func(*usage.Record)
}

func (s *snapshotReader) read() (Snapshot, error) {
	var err error
	for range snapshotTries {
		var snap Snapshot
		if snap, err = s.attempt(); err == nil {
			return snap, nil
		}
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			return Snapshot{}, err
		}
	}
	if errors.Is(err, ErrMagic) || errors.Is(err, ErrInterval) {
		return Snapshot{}, err // not torn: something else lies there
	}
	return Snapshot{}, fmt.Errorf("%w, %d times; try again: %w", ErrTorn, snapshotTries, err)
}

func (s *snapshotReader) attempt() (Snapshot, error) {
	f, err := s.open()
	if err != nil {
		return Snapshot{}, err
	}
	defer f.Close()
	before, err := f.Stat()
	if err != nil {
		return Snapshot{}, fmt.Errorf("stat nlbwmon snapshot: %w", err)
	}
	var first, second maphash.Hash
	second.SetSeed(first.Seed())

	// The decoder takes a buffered reader as it is, so both passes share one.
	in := bufio.NewReaderSize(io.TeeReader(io.LimitReader(f, before.Size()), &first), bufferSize)
	snap, err := s.rows(in, before.Size())
	if err != nil {
		return Snapshot{}, err
	}
	s.pause(before.ModTime())
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return Snapshot{}, fmt.Errorf("rewind nlbwmon snapshot: %w", err)
	}
	in.Reset(io.LimitReader(f, before.Size()))
	if _, err := in.WriteTo(&second); err != nil {
		return Snapshot{}, fmt.Errorf("read nlbwmon snapshot again: %w", err)
	}
	after, err := f.Stat()
	if err != nil {
		return Snapshot{}, fmt.Errorf("stat nlbwmon snapshot: %w", err)
	}
	if first.Sum64() != second.Sum64() || after.Size() != before.Size() || !after.ModTime().Equal(before.ModTime()) {
		return Snapshot{}, errors.New("two reads differ")
	}
	snap.ModTime = after.ModTime()
	return snap, nil
}

// rows is the first pass. r ends at the file's size.
func (s *snapshotReader) rows(r io.Reader, size int64) (Snapshot, error) {
	dec, err := newDecoder(r, s.order, size)
	if err != nil {
		return Snapshot{}, err
	}
	h := dec.Header()
	if h.Size() != size {
		return Snapshot{}, fmt.Errorf("%d bytes, but %d records make %d", size, h.Entries, h.Size())
	}
	if s.begin != nil {
		s.begin(h, int(h.Entries)) // fits: the file is larger
	}
	var rec usage.Record
	for {
		switch err := dec.Next(&rec); err {
		case nil:
			s.visit(&rec)
		case io.EOF:
			order, guessed := dec.Order()
			return Snapshot{Header: h, Order: order, Guessed: guessed}, nil
		default:
			return Snapshot{}, err
		}
	}
}
