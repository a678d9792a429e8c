package sqlitetable_test

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/netpilot/netpilot/pkg/sqlitetable"
)

var kinds = []error{
	sqlitetable.ErrNotDatabase, sqlitetable.ErrVersion, sqlitetable.ErrTruncated, sqlitetable.ErrDamaged, sqlitetable.ErrTooLarge,
	sqlitetable.ErrHotJournal, sqlitetable.ErrLocked, sqlitetable.ErrChanged, sqlitetable.ErrNoTable, sqlitetable.ErrView,
	sqlitetable.ErrVirtual, sqlitetable.ErrWithoutRowID, sqlitetable.ErrSchema,
}

// survive reads all of a file that may be anything. Faults are typed, and rows
// are no more than the file has room for.
func survive(t testing.TB, path string) (rows int, fault error) {
	t.Helper()
	check := func(err error) {
		if err == nil {
			return
		}
		fault = err
		if !slices.ContainsFunc(kinds, func(kind error) bool { return errors.Is(err, kind) }) {
			t.Errorf("got an error without a kind: %v", err)
		}
		var data *sqlitetable.DataError
		if !errors.As(err, &data) {
			t.Errorf("got %T, want a DataError", err)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	db, err := sqlitetable.Open(path)
	check(err)
	if err != nil {
		return 0, fault
	}
	defer func() { _ = db.Close() }()
	for _, table := range db.Tables() {
		check(table.Err)
		if table.Err != nil {
			continue
		}
		r, err := db.Rows(table.Name)
		if err != nil {
			check(err)
			continue
		}
		n := 0
		for r.Next() {
			n++
			for _, v := range r.Values() {
				_, _ = v.Text()
				_ = v.Kind().String()
			}
			if int64(n) > info.Size() {
				t.Fatalf("table %q: got over %d rows from %d bytes", table.Name, n, info.Size())
			}
		}
		check(r.Err())
		if fault == nil {
			rows += n
		}
	}
	return rows, fault
}

// small has a table of two levels, overflow pages and a second table.
func small(t testing.TB) string {
	return newFile(t,
		"PRAGMA page_size = 512",
		"CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT NOT NULL, x REAL)",
		"CREATE TABLE u (a, b BLOB DEFAULT 'x')",
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 60) INSERT INTO t SELECT i, 'name ' || i, i / 3.0 FROM n",
		"INSERT INTO u VALUES (1, zeroblob(1500)), ('two', NULL)",
	)
}

// Every byte of a file is spoilt in three ways: no panic, no endless walk.
func TestFlippedBytes(t *testing.T) {
	path := small(t)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	faults := 0
	for i, c := range whole {
		for _, spoilt := range []byte{c ^ 1, c ^ 0x80, ^c} {
			if _, err := f.WriteAt([]byte{spoilt}, int64(i)); err != nil {
				t.Fatal(err)
			}
			if _, fault := survive(t, path); fault != nil {
				faults++
			}
		}
		if _, err := f.WriteAt([]byte{c}, int64(i)); err != nil {
			t.Fatal(err)
		}
	}
	if rows, fault := survive(t, path); rows != 62 || fault != nil {
		t.Errorf("got %d rows and %v, want 62 of the file as it was", rows, fault)
	}
	t.Logf("%d of %d changes were noticed", faults, 3*len(whole))
}

// However short a file is cut, the rows before the cut are delivered.
func TestTruncated(t *testing.T) {
	path := newFile(t, "PRAGMA page_size = 1024", "CREATE TABLE t (a, b)",
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 500) INSERT INTO t SELECT i, 'row ' || i FROM n")
	want, _ := ours(t, path)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	some := false
	for n := len(whole) - 1; n > 100; n -= 509 {
		if err := os.Truncate(path, int64(n)); err != nil {
			t.Fatal(err)
		}
		db, err := sqlitetable.Open(path)
		if err != nil {
			if !errors.Is(err, sqlitetable.ErrTruncated) {
				t.Errorf("at %d: got %v, want ErrTruncated", n, err)
			}
			continue
		}
		got, err := readAll(db, "t")
		_ = db.Close()
		var data *sqlitetable.DataError
		if !errors.Is(err, sqlitetable.ErrTruncated) || !errors.As(err, &data) || data.Rows != uint64(len(got)) || data.Table != "t" {
			t.Errorf("at %d: got %v, want ErrTruncated after %d rows of t", n, err, len(got))
		}
		if len(got) > len(want["t"]) || !slices.Equal(got, want["t"][:len(got)]) {
			t.Errorf("at %d: got other rows than the file had", n)
		}
		some = some || len(got) > 0
	}
	if !some {
		t.Error("got no row of any truncated file")
	}
}

// Pages that point at themselves, at one another or at the same child.
func TestCircles(t *testing.T) {
	path := newFile(t, "PRAGMA page_size = 512", "CREATE TABLE t (a)",
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 500) INSERT INTO t SELECT i FROM n")
	const root = 512 // page 2
	for _, tt := range []struct {
		name   string
		change func(page []byte)
	}{
		{"right-most child is the root", func(p []byte) { binary.BigEndian.PutUint32(p[8:], 2) }},
		{"right-most child is the schema", func(p []byte) { binary.BigEndian.PutUint32(p[8:], 1) }},
		{"every child is the same", func(p []byte) {
			for i := range int(binary.BigEndian.Uint16(p[3:])) {
				cell := binary.BigEndian.Uint16(p[12+2*i:])
				binary.BigEndian.PutUint32(p[cell:], binary.BigEndian.Uint32(p[8:]))
			}
		}},
		{"every child is the root", func(p []byte) {
			for i := range int(binary.BigEndian.Uint16(p[3:])) {
				binary.BigEndian.PutUint32(p[binary.BigEndian.Uint16(p[12+2*i:]):], 2)
			}
		}},
		{"child 0", func(p []byte) { binary.BigEndian.PutUint32(p[8:], 0) }},
		{"child far away", func(p []byte) { binary.BigEndian.PutUint32(p[8:], 1<<31) }},
		{"65,535 cells", func(p []byte) { binary.BigEndian.PutUint16(p[3:], 65535) }},
		{"page of an index", func(p []byte) { p[0] = 0x0a }},
	} {
		copied := copyFiles(t, path)
		patch(t, copied, func(b []byte) { tt.change(b[root:]) })
		if _, fault := survive(t, copied); !errors.Is(fault, sqlitetable.ErrDamaged) {
			t.Errorf("%s: got %v, want ErrDamaged", tt.name, fault)
		}
	}
}

// A header that claims four billion pages costs nothing, nor does a row that
// claims to be large.
func TestMemory(t *testing.T) {
	path := newFile(t, "PRAGMA page_size = 4096", "CREATE TABLE t (a, b)",
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 20000) INSERT INTO t SELECT i, zeroblob(200) FROM n")
	patch(t, path, func(b []byte) { binary.BigEndian.PutUint32(b[28:], 1<<32-1) })
	db, err := sqlitetable.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	rows, err := db.Rows("t")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for rows.Next() {
		n++
	}
	runtime.ReadMemStats(&after)
	if n != 20000 || rows.Err() != nil {
		t.Errorf("got %d rows and %v, want 20000", n, rows.Err())
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 64<<10 {
		t.Errorf("got %d bytes allocated for 4 MiB, want less than 64 KiB", got)
	}

	short := filepath.Join(t.TempDir(), "short")
	b, _ := os.ReadFile(path)
	if err := os.WriteFile(short, b[:100], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, fault := survive(t, short); !errors.Is(fault, sqlitetable.ErrTruncated) {
		t.Errorf("header alone: got %v, want ErrTruncated", fault)
	}
}
