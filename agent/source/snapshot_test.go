package source

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/nlbwmon/nlbwmontest"
)

// rewrite writes the snapshot with rows whose received bytes are n, and gives
// it that age.
func (l *lab) rewrite(t *testing.T, rows int, n uint64, at time.Time) {
	t.Helper()
	recs := nlbwmontest.Generate(rows, 1)
	for i := range recs {
		recs[i].RxBytes = n
	}
	f, err := os.Create(l.SnapshotPath)
	if err != nil {
		t.Fatal(err)
	}
	err = nlbwmon.Encode(f, nlbwmontest.MonthlyHeader(0), l.Order, recs)
	if err := errors.Join(err, f.Close(), os.Chtimes(l.SnapshotPath, at, at)); err != nil {
		t.Fatal(err)
	}
}

func TestKept(t *testing.T) {
	l := newLab(t, nil)
	l.Kept = new(Kept)
	var last Reading
	check := func(what string, rows int, n uint64) {
		t.Helper()
		reading, got, err := l.read(t, Request{Source: Snapshot})
		if err != nil {
			t.Fatal(err)
		}
		if len(got.rows) != rows || reading.Rows != rows || got.rows[0].RxBytes != n || got.rows[rows-1].RxBytes != n {
			t.Errorf("%s: got %d rows of %d bytes, want %d of %d", what, len(got.rows), got.rows[0].RxBytes, rows, n)
		}
		last = reading
	}
	at := l.now.Add(-5 * time.Second)
	l.rewrite(t, 10, 1, at)
	check("first", 10, 1)
	first := last
	l.rewrite(t, 10, 2, at) // the same size and time: only who does not look sees the old rows
	check("kept", 10, 1)
	if fmt.Sprint(last) != fmt.Sprint(first) {
		t.Errorf("kept: got %+v, want %+v", last, first)
	}
	l.rewrite(t, 10, 3, at.Add(time.Millisecond))
	check("another time", 10, 3)
	l.rewrite(t, 11, 4, at.Add(time.Millisecond))
	check("another size", 11, 4)
	l.rewrite(t, 11, 5, at.Add(time.Millisecond))
	check("kept again", 11, 4)

	l.rewrite(t, 11, 6, l.now)
	check("fresh", 11, 6)
	l.rewrite(t, 11, 7, last.AsOf)
	check("fresh is not kept", 11, 7)

	at = at.Add(time.Second)
	l.rewrite(t, maxKept, 8, at)
	check("most rows", maxKept, 8)
	l.rewrite(t, maxKept, 9, at)
	check("most rows are kept", maxKept, 8)
	at = at.Add(-time.Second)
	l.rewrite(t, maxKept+1, 10, at)
	check("too many", maxKept+1, 10)
	l.rewrite(t, maxKept+1, 11, at)
	check("too many are not kept", maxKept+1, 11)
	if l.Kept.rows != nil {
		t.Errorf("%d rows stay in memory", len(l.Kept.rows))
	}

	// What is kept grows old with its file.
	l.rewrite(t, 10, 12, at)
	check("whole", 10, 12)
	l.now = l.now.Add(time.Hour)
	if _, _, err := l.read(t, Request{Source: Snapshot}); err == nil || !strings.Contains(err.Error(), "stale") {
		t.Errorf("an hour later: got %v, want stale", err)
	}
	l.now = l.now.Add(-time.Hour)

	// A torn file empties the memory, also if it looks like what was kept.
	if err := os.Truncate(l.SnapshotPath, 30); err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.read(t, Request{Source: Snapshot}); !errors.Is(err, nlbwmon.ErrTorn) {
		t.Errorf("got %v, want torn", err)
	}
	if err := errors.Join(os.Truncate(l.SnapshotPath, 0), os.Chtimes(l.SnapshotPath, at, at)); err != nil {
		t.Fatal(err)
	}
	if _, rows, err := l.read(t, Request{Source: Snapshot}); err == nil {
		t.Errorf("an empty file: got %d rows", len(rows.rows))
	}
}

// Many callers and a writer: each gets one whole generation.
func TestKeptByManyCallers(t *testing.T) {
	l := newLab(t, nil)
	l.Kept = new(Kept)
	l.rewrite(t, 50, 1, l.now.Add(-20*time.Second))
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for range 30 {
				var rows rowList
				_, err := l.Read(t.Context(), Request{Source: Snapshot}, &rows)
				if errors.Is(err, nlbwmon.ErrTorn) {
					continue // as it may be while it is rewritten all the time
				}
				if err != nil || len(rows.rows) != 50 {
					t.Errorf("got %d rows, %v", len(rows.rows), err)
					return
				}
				for _, r := range rows.rows {
					if r.RxBytes != rows.rows[0].RxBytes {
						t.Errorf("got rows of %d and of %d bytes", r.RxBytes, rows.rows[0].RxBytes)
						return
					}
				}
			}
		})
	}
	read := make(chan struct{})
	go func() { defer close(read); callers.Wait() }() // ends with the callers
	// Replaced whole, so that no reading is torn: what is tested is the memory.
	for n := uint64(0); ; n++ {
		select {
		case <-read:
			return
		default:
		}
		next := &lab{Router: &Router{SnapshotPath: l.SnapshotPath + ".new", Order: l.Order}}
		next.rewrite(t, 50, n, l.now.Add(-10*time.Second+time.Duration(n)*time.Microsecond))
		if err := os.Rename(next.SnapshotPath, l.SnapshotPath); err != nil {
			t.Fatal(err)
		}
	}
}
