package nlbwmon

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

// File is an open database file. Its errors name the path and are of kind
// usage.Unavailable; errors.As finds the *DataError in them.
type File struct {
	dec  *Decoder
	f    *os.File
	path string
	mod  time.Time
}

// OpenFile opens any database file, plain or gzip. As in stock nlbwmon, bytes
// after the last row are a fault only if the name ends in .gz.
func OpenFile(path string, order AddrOrder) (*File, error) {
	f, info, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	dec, err := NewDecoder(f, order)
	if err != nil {
		_ = f.Close()
		return nil, usage.Errorf(usage.Unavailable, "read %s: %w", path, err)
	}
	dec.strict = strings.HasSuffix(path, ".gz")
	return &File{dec: dec, f: f, path: path, mod: info.ModTime()}, nil
}

// OpenPeriod opens the file of p in nlbwmon's database directory. As in
// nlbwmon the compressed one wins where both exist, even if it is stale.
// It returns ErrPeriod if the header tells another period, and an error
// wrapping fs.ErrNotExist, of kind usage.NotFound, if there is no file.
func OpenPeriod(dir string, p Period, order AddrOrder) (*File, error) {
	plain := filepath.Join(dir, fmt.Sprintf("%d.db", uint32(p)))
	f, err := OpenFile(plain+".gz", order)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = OpenFile(plain, order)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usage.Errorf(usage.NotFound, "no nlbwmon data for the period %s in %s; see which there are with: nlbw -c list: %w", p, dir, err)
	}
	if err != nil {
		return nil, err
	}
	if h := f.Header(); h.Period != p {
		_ = f.Close()
		err := &DataError{Kind: ErrPeriod, Entries: h.Entries, Cause: fmt.Errorf("header says %s", h.Period)}
		return nil, usage.Errorf(usage.Unavailable, "read %s: %w", f.path, err)
	}
	return f, nil
}

// ListPeriods finds the periods that have a file in dir, newest first. Unlike
// nlbw -c list it is not stopped by a gap; it does not look into the files.
func ListPeriods(dir string) ([]Period, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("list nlbwmon periods: %w", err)
	}
	defer d.Close()
	var periods []Period
	for {
		names, err := d.Readdirnames(256)
		for _, name := range names {
			digits, ok := strings.CutSuffix(strings.TrimSuffix(name, ".gz"), ".db")
			if p, err := ParsePeriod(digits); ok && err == nil && len(digits) == 8 {
				periods = append(periods, p)
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("list nlbwmon periods: %w", err)
		}
	}
	slices.Sort(periods)
	slices.Reverse(periods)
	return slices.Compact(periods), nil
}

// openRegular opens a regular file and nothing else: in a directory others may
// write to, opening a FIFO would wait for ever.
func openRegular(path string) (*os.File, fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("nlbwmon file: %w", err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = usage.Errorf(usage.Unavailable, "%s is not a regular file; nlbwmon did not write it", path)
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// Header is the header as read.
func (f *File) Header() Header { return f.dec.Header() }

// Next reads one row as Decoder.Next does.
func (f *File) Next(rec *usage.Record) error {
	err := f.dec.Next(rec)
	if err == nil || err == io.EOF {
		return err
	}
	return usage.Errorf(usage.Unavailable, "read %s: %w", f.path, err)
}

// Path is the file that was opened.
func (f *File) Path() string { return f.path }

// ModTime is when nlbwmon last wrote the file, by the router's clock.
func (f *File) ModTime() time.Time { return f.mod }

// Order is the byte order in use, and whether it was guessed.
func (f *File) Order() (order AddrOrder, guessed bool) { return f.dec.Order() }

// Trailing counts ignored bytes; see Decoder.Trailing.
func (f *File) Trailing() int64 { return f.dec.Trailing() }

// Close closes the file.
func (f *File) Close() error { return f.f.Close() }
