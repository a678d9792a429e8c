package nlbwmon

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"slices"
	"testing"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

// liveFile is a file that is rewritten in place between reads, by the test's
// pause function instead of by chance.
type liveFile struct {
	data []byte
	mod  time.Time
}

// opened is one opening of it.
type opened struct {
	*liveFile
	at int64
}

func (o *opened) Read(p []byte) (int, error) {
	if o.at >= int64(len(o.data)) {
		return 0, io.EOF
	}
	n := copy(p, o.data[o.at:])
	o.at += int64(n)
	return n, nil
}

func (o *opened) Seek(offset int64, _ int) (int64, error) { o.at = offset; return offset, nil }
func (o *opened) Close() error                            { return nil }
func (o *opened) Stat() (fs.FileInfo, error)              { return liveInfo{*o.liveFile}, nil }

// liveInfo is the state at the time of Stat.
type liveInfo struct{ f liveFile }

func (i liveInfo) Name() string       { return "0.db" }
func (i liveInfo) Size() int64        { return int64(len(i.f.data)) }
func (i liveInfo) Mode() fs.FileMode  { return 0o640 }
func (i liveInfo) ModTime() time.Time { return i.f.mod }
func (i liveInfo) IsDir() bool        { return false }
func (i liveInfo) Sys() any           { return nil }

func snapshotBytes(t *testing.T, rxBytes ...uint64) []byte {
	t.Helper()
	var recs []usage.Record
	for i, n := range rxBytes {
		recs = append(recs, usage.Record{Family: usage.FamilyIPv4, Addr: [16]byte{10, 0, 0, byte(i)}, RxBytes: n})
	}
	var b bytes.Buffer
	if err := Encode(&b, Header{Interval: Interval{Type: IntervalMonthly, Value: 1}}, OrderBig, recs); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// readLive reads f; pause is what happens between the passes of attempt 1, 2...
func readLive(f *liveFile, pause func(attempt int)) (rows []uint64, begun int, err error) {
	attempt := 0
	s := snapshotReader{
		open:  func() (snapshotFile, error) { return &opened{liveFile: f}, nil },
		pause: func(time.Time) { attempt++; pause(attempt) },
		order: OrderBig,
		begin: func(_ Header, n int) { begun++; rows = make([]uint64, 0, n) },
		visit: func(r *usage.Record) { rows = append(rows, r.RxBytes) },
	}
	_, err = s.read()
	return rows, begun, err
}

func TestSnapshotRewrittenBetweenPasses(t *testing.T) {
	f := &liveFile{data: snapshotBytes(t, 1, 2, 3)}
	rows, begun, err := readLive(f, func(attempt int) {
		if attempt == 1 {
			f.data = snapshotBytes(t, 4, 5, 6) // same size
		}
	})
	if err != nil || begun != 2 || !slices.Equal(rows, []uint64{4, 5, 6}) {
		t.Errorf("got %v after %d attempts, %v, want the new rows after 2", rows, begun, err)
	}
}

func TestSnapshotGrowsBetweenPasses(t *testing.T) {
	f := &liveFile{data: snapshotBytes(t, 1)}
	rows, begun, err := readLive(f, func(attempt int) {
		if attempt == 1 {
			f.data = snapshotBytes(t, 1, 2)
		}
	})
	if err != nil || begun != 2 || !slices.Equal(rows, []uint64{1, 2}) {
		t.Errorf("got %v after %d attempts, %v", rows, begun, err)
	}
}

// A rewrite with the same content shows in the file's time.
func TestSnapshotTouchedBetweenPasses(t *testing.T) {
	f := &liveFile{data: snapshotBytes(t, 1), mod: time.Unix(1000, 0)}
	_, begun, err := readLive(f, func(attempt int) {
		if attempt == 1 {
			f.mod = time.Unix(1030, 0)
		}
	})
	if err != nil || begun != 2 {
		t.Errorf("got %d attempts, %v, want 2", begun, err)
	}
}

func TestSnapshotNeverQuiet(t *testing.T) {
	f := &liveFile{data: snapshotBytes(t, 0)}
	_, begun, err := readLive(f, func(attempt int) { f.data = snapshotBytes(t, uint64(attempt)) })
	if !errors.Is(err, ErrTorn) || begun != snapshotTries {
		t.Errorf("got %v after %d attempts, want ErrTorn after %d", err, begun, snapshotTries)
	}
}

// A size that does not fit the header is torn, and no row is delivered.
func TestSnapshotOfWrongSize(t *testing.T) {
	whole := snapshotBytes(t, 1, 2, 3)
	for _, data := range [][]byte{whole[:len(whole)-1], whole[:len(whole)-recordSize], append(slices.Clone(whole), 0), whole[:20], {}} {
		rows, begun, err := readLive(&liveFile{data: data}, func(int) {})
		if !errors.Is(err, ErrTorn) || begun != 0 || rows != nil {
			t.Errorf("%d bytes: got %v after %d attempts, %v", len(data), rows, begun, err)
		}
	}
}

// Something else at that path is not called torn.
func TestSnapshotIsNoDatabase(t *testing.T) {
	_, _, err := readLive(&liveFile{data: bytes.Repeat([]byte("x"), 100)}, func(int) {})
	if !errors.Is(err, ErrMagic) || errors.Is(err, ErrTorn) {
		t.Errorf("got %v, want ErrMagic only", err)
	}
}
