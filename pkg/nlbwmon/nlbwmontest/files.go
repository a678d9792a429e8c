package nlbwmontest

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
)

// zlibLookahead is how far zlib has decompressed when nlbwmon has read the
// header only: faults up to there make list refuse the file.
const zlibLookahead = 16 << 10

// restore loads the snapshot, or else the current period.
func (d *Daemon) restore() error {
	err := fs.ErrNotExist
	if d.opts.SnapshotPath != "" {
		err = d.loadSnapshot()
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = d.loadPeriod(&d.table, d.period)
	}
	switch {
	case err == nil:
		d.pristine = false
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return err
}

func (d *Daemon) loadSnapshot() error {
	f, err := nlbwmon.OpenFile(d.opts.SnapshotPath, d.opts.Order)
	if err != nil {
		return err
	}
	defer f.Close()
	if f.Header().Period != 0 {
		return nlbwmon.ErrPeriod
	}
	return d.loadRows(&d.table, f)
}

func (d *Daemon) loadPeriod(t *table, p nlbwmon.Period) error {
	f, err := d.openPeriod(p)
	if err != nil {
		return err
	}
	defer f.Close()
	return d.loadRows(t, f)
}

func (d *Daemon) openPeriod(p nlbwmon.Period) (*nlbwmon.File, error) {
	if d.opts.Dir == "" {
		return nil, syscall.ENOENT
	}
	return nlbwmon.OpenPeriod(d.opts.Dir, p, d.opts.Order)
}

// loadRows adds all rows or none. A file of the other layout is no database
// for this architecture.
func (d *Daemon) loadRows(t *table, src nlbwmon.Rows) error {
	if src.Header().Compact != d.opts.Compact {
		return nlbwmon.ErrTruncated
	}
	var recs []usage.Record
	for {
		var rec usage.Record
		switch err := src.Next(&rec); err {
		case nil:
			recs = append(recs, rec)
		case io.EOF:
			t.add(recs)
			return nil
		default:
			return err
		}
	}
}

// checkPeriod is what list looks at: the header, and of a compressed file the
// first part.
func (d *Daemon) checkPeriod(p nlbwmon.Period) error {
	f, err := d.openPeriod(p)
	if err != nil {
		return err
	}
	defer f.Close()
	if f.Header().Compact != d.opts.Compact {
		return nlbwmon.ErrTruncated
	}
	raw, err := os.Open(f.Path())
	if err != nil {
		return err
	}
	defer raw.Close()
	z, err := gzip.NewReader(raw)
	if err != nil {
		return nil // plain content, whatever the name
	}
	if _, err := io.CopyN(io.Discard, z, zlibLookahead); err != nil && err != io.EOF {
		return err
	}
	return nil
}

// saveLocked writes the period's file in place. A daemon that found no file
// when it started does not overwrite one that is there now (database_save).
func (d *Daemon) saveLocked(p nlbwmon.Period) error {
	path := filepath.Join(d.opts.Dir, fmt.Sprintf("%d.db", uint32(p)))
	if d.opts.Dir == "" {
		return syscall.ENOENT
	}
	if d.opts.Gzip {
		path += ".gz"
	}
	if _, err := os.Stat(path); err == nil && d.pristine {
		return syscall.EEXIST
	}
	if err := d.writeLocked(path, p); err != nil {
		return err
	}
	d.pristine = false
	return nil
}

// snapshotLocked writes the snapshot, whose period is 0.
func (d *Daemon) snapshotLocked() error {
	if d.opts.SnapshotPath == "" {
		return nil
	}
	return d.writeLocked(d.opts.SnapshotPath, 0)
}

// writeLocked writes in place, as nlbwmon does: to the existing file, without
// a temporary one.
func (d *Daemon) writeLocked(path string, p nlbwmon.Period) error {
	var data bytes.Buffer
	var w io.Writer = &data
	var z *gzip.Writer
	if strings.HasSuffix(path, ".gz") {
		z = gzip.NewWriter(&data)
		w = z
	}
	h := nlbwmon.Header{Period: p, Interval: d.opts.Interval, Compact: d.opts.Compact}
	// Writing to memory does not fail.
	_ = nlbwmon.Encode(w, h, d.opts.Order, d.rows)
	if z != nil {
		_ = z.Close()
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(int64(data.Len())); err != nil {
		return err
	}
	_, err = f.WriteAt(data.Bytes(), 0)
	return err
}
