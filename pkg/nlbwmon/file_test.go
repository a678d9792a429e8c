package nlbwmon_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/nlbwmon/nlbwmontest"
	"github.com/netpilot/netpilot/pkg/usage"
)

func TestListPeriods(t *testing.T) {
	for dir, want := range map[string][]nlbwmon.Period{
		"generations-gap/db":     {20261101, 20261001, 20260801}, // nlbw -c list ends at the gap
		"generations-day-31/db":  {20261031, 20260931, 20260831, 20260731, 20260631},
		"generations-monthly/db": {20261101, 20261001, 20260901, 20260801}, // one has two files
		"single/db":              {20261101},                               // 0.db is no period
		"single":                 nil,
	} {
		got, err := nlbwmon.ListPeriods(filepath.Join(recordings, dir))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %v, %v, want %v", dir, got, err, want)
		}
	}
	if _, err := nlbwmon.ListPeriods(filepath.Join(t.TempDir(), "no")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
}

// Where both files exist the compressed one is read, as the daemon does.
func TestOpenPeriodPrefersGzip(t *testing.T) {
	dir := recordings + "/both-gz-and-plain/"
	f, err := nlbwmon.OpenPeriod(dir+"db-before", 20261101, nlbwmon.OrderLittle)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := collect(f)
	if want := readTSV(t, dir+"records-gz.tsv"); err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	if filepath.Base(f.Path()) != "20261101.db.gz" || f.ModTime().IsZero() {
		t.Errorf("got %s of %v", f.Path(), f.ModTime())
	}
}

func TestOpenPeriodMissing(t *testing.T) {
	_, err := nlbwmon.OpenPeriod(recordings+"/single/db", 20260101, nlbwmon.OrderLittle)
	if !errors.Is(err, fs.ErrNotExist) || usage.KindOf(err) != usage.NotFound {
		t.Errorf("got %v of kind %v", err, usage.KindOf(err))
	}
}

// Under a .gz name the daemon refuses plain content with bytes behind it.
func TestOpenFileTrailing(t *testing.T) {
	var b bytes.Buffer
	if err := nlbwmon.Encode(&b, nlbwmontest.MonthlyHeader(20261101), nlbwmon.OrderLittle, nlbwmontest.Generate(2, 1)); err != nil {
		t.Fatal(err)
	}
	b.WriteString("more")
	for name, want := range map[string]error{"x.db": nil, "x.db.gz": nlbwmon.ErrTrailing} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := nlbwmon.OpenFile(path, nlbwmon.OrderLittle)
		if err != nil {
			t.Fatal(err)
		}
		recs, err := collect(f)
		_ = f.Close()
		if !errors.Is(err, want) || len(recs) != 2 {
			t.Errorf("%s: got %d rows and %v, want 2 and %v", name, len(recs), err, want)
		}
	}
}

// A directory or a FIFO is refused at once.
func TestOpenFileIrregular(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "0.db")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, fifo} {
		if _, err := nlbwmon.OpenFile(path, nlbwmon.OrderLittle); usage.KindOf(err) != usage.Unavailable || err == nil {
			t.Errorf("%s: got %v", path, err)
		}
	}
	_, err := nlbwmon.ReadSnapshot(fifo, nlbwmon.OrderGuess, nil, func(*usage.Record) {})
	if usage.KindOf(err) != usage.Unavailable || err == nil {
		t.Errorf("snapshot: got %v", err)
	}
}

func TestReadSnapshot(t *testing.T) {
	for _, path := range append(glob(t, "*/db/0.db"), glob(t, "arch/*/db/0.db")...) {
		_, want := decode(t, load(t, path), orderOf(path))
		var got []usage.Record
		begun := 0
		snap, err := nlbwmon.ReadSnapshot(path, orderOf(path), func(h nlbwmon.Header, rows int) {
			begun++
			got = make([]usage.Record, 0, rows)
		}, func(r *usage.Record) { got = append(got, *r) })
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) || begun != 1 || snap.Header.Period != 0 || int(snap.Header.Entries) != len(want) || snap.ModTime.IsZero() {
			t.Errorf("%s: got %d rows, want %d; %d attempts, %+v", path, len(got), len(want), begun, snap)
		}
	}
}

func TestReadSnapshotAbsent(t *testing.T) {
	_, err := nlbwmon.ReadSnapshot(filepath.Join(t.TempDir(), "0.db"), nlbwmon.OrderGuess, nil, func(*usage.Record) {})
	if !errors.Is(err, fs.ErrNotExist) || usage.KindOf(err) != usage.Unavailable {
		t.Errorf("got %v", err)
	}
}
