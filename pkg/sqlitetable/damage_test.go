package sqlitetable_test

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

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
	room := info.Size()
	if info, err := os.Stat(path + "-wal"); err == nil {
		room += info.Size()
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
			if int64(n) > room {
				t.Fatalf("table %q: got over %d rows from %d bytes", table.Name, n, room)
			}
		}
		check(r.Err())
		if fault == nil {
			rows += n
		}
	}
	return rows, fault
}

// recorded returns a copy of a file in testdata.
func recorded(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(filepath.Join("testdata", name+suffix))
		if errors.Is(err, fs.ErrNotExist) && suffix != "" {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path+suffix, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// patch changes a file's bytes.
func patch(t testing.TB, path string, change func([]byte)) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	change(b)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Every byte of a file is spoilt in three ways: no panic, no endless walk.
func TestFlippedBytes(t *testing.T) {
	path := recorded(t, "tree.db")
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
	path := recorded(t, "many.db")
	want := readTable(t, path)
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
		if len(got) > len(want) || !slices.Equal(got, want[:len(got)]) {
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
		copied := recorded(t, "many.db")
		patch(t, copied, func(b []byte) { tt.change(b[root:]) })
		if _, fault := survive(t, copied); !errors.Is(fault, sqlitetable.ErrDamaged) {
			t.Errorf("%s: got %v, want ErrDamaged", tt.name, fault)
		}
	}
}

// Rows that lie upon one another would make a small page a lot of work: each
// cell here reaches from its own start to the end of the page.
func TestOverlap(t *testing.T) {
	path := recorded(t, "many.db")
	patch(t, path, func(b []byte) {
		p := b[512:1024] // the root, made a leaf
		clear(p)
		const cells = 60
		p[0], p[4] = 0x0d, cells
		for i := range cells {
			at := 8 + 2*cells + 4*i
			binary.BigEndian.PutUint16(p[8+2*i:], uint16(at))
			p[at], p[at+1], p[at+2] = 100, byte(i+1), 1 // 100 bytes, rowid, no field
		}
	})
	rows, fault := survive(t, path)
	if !errors.Is(fault, sqlitetable.ErrDamaged) || !strings.Contains(fault.Error(), "after 5 rows") {
		t.Errorf("got %d rows and %v, want ErrDamaged after 5 rows", rows, fault)
	}
}

// What is no database is told from what is a damaged one.
func TestNoDatabase(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	later := recorded(t, "tree.db")
	patch(t, later, func(b []byte) { b[19] = 3 })
	header := recorded(t, "tree.db")
	if err := os.Truncate(header, 100); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path string
		want error
	}{
		{filepath.Join(dir, "missing"), os.ErrNotExist},
		{write("empty", ""), sqlitetable.ErrNotDatabase},
		{write("short", "SQLite"), sqlitetable.ErrNotDatabase},
		{write("magic", "SQLite format 3\x00"), sqlitetable.ErrNotDatabase},
		{write("text", strings.Repeat("no database ", 1000)), sqlitetable.ErrNotDatabase},
		{fifo, sqlitetable.ErrNotDatabase},
		{dir, sqlitetable.ErrNotDatabase},
		{later, sqlitetable.ErrVersion},
		{header, sqlitetable.ErrTruncated},
	} {
		db, err := sqlitetable.Open(tt.path)
		if err == nil {
			_ = db.Close()
		}
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.path, err, tt.want)
		}
	}
}
