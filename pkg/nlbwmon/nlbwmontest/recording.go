package nlbwmontest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
)

// FromRecording sets up a daemon that serves what a recording of the real one
// holds (a folder with db/ and raw/). The database files are copied to
// scratch, an existing directory, which also gets socket and snapshot; the
// clock stands on the second day of the recording's current period, UTC.
func FromRecording(recording, scratch string) (Options, error) {
	if err := os.CopyFS(scratch, os.DirFS(filepath.Join(recording, "db"))); err != nil {
		return Options{}, fmt.Errorf("copy recording: %w", err)
	}
	live, err := openAny(filepath.Join(recording, "raw", "dump0.bin"))
	if err != nil {
		return Options{}, err
	}
	defer live.Close()
	h := live.Header()
	order, err := listOrder(filepath.Join(recording, "raw", "list.bin"), h.Period)
	if err != nil {
		return Options{}, err
	}
	clock, err := clockFor(h)
	if err != nil {
		return Options{}, err
	}
	_, noGzip := os.Stat(filepath.Join(scratch, fmt.Sprintf("%d.db.gz", uint32(h.Period))))
	return Options{
		Socket:       filepath.Join(scratch, "nlbwmon.sock"),
		Dir:          scratch,
		SnapshotPath: filepath.Join(scratch, "0.db"),
		Interval:     h.Interval,
		Now:          func() time.Time { return clock },
		Order:        order,
		Compact:      h.Compact,
		Gzip:         noGzip == nil,
	}, nil
}

// openAny opens path or path.gz.
func openAny(path string) (*nlbwmon.File, error) {
	f, err := nlbwmon.OpenFile(path, nlbwmon.OrderLittle)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = nlbwmon.OpenFile(path+".gz", nlbwmon.OrderLittle)
	}
	if err != nil {
		return nil, fmt.Errorf("open recorded dump: %w", err)
	}
	return f, nil
}

// listOrder tells the router's byte order from the first period it listed.
func listOrder(path string, current nlbwmon.Period) (nlbwmon.AddrOrder, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, fmt.Errorf("open recorded list: %w", err)
	}
	defer f.Close()
	var b [4]byte
	if _, err := io.ReadFull(f, b[:]); err != nil {
		return 0, fmt.Errorf("read recorded list: %w", err)
	}
	if got := nlbwmon.Period(uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])); got == current {
		return nlbwmon.OrderBig, nil
	}
	return nlbwmon.OrderLittle, nil
}

// clockFor finds the second day of h's period.
func clockFor(h nlbwmon.Header) (time.Time, error) {
	p := int(h.Period)
	t := time.Date(p/10000, time.Month(p/100%100), 1, 12, 0, 0, 0, time.UTC)
	for range 62 {
		if h.Interval.Period(t, 0) == h.Period {
			return t.AddDate(0, 0, 1), nil
		}
		t = t.AddDate(0, 0, 1)
	}
	return time.Time{}, fmt.Errorf("no day begins the recorded period %s", h.Period)
}
