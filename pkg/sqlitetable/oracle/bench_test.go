package oracle_test

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"

	"github.com/netpilot/netpilot/pkg/sqlitetable"
)

// usageFile is a table of traffic as a router might keep it.
func usageFile(t testing.TB, rows int) string {
	return newFile(t,
		"CREATE TABLE traffic (id INTEGER PRIMARY KEY, mac TEXT, ip TEXT, proto INT, port INT, conns INT, rx_bytes INT, rx_packets INT, tx_bytes INT, tx_packets INT, last_seen INT)",
		fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < %d)
			INSERT INTO traffic SELECT i, printf('02:00:00:00:%%02x:%%02x', i/256%%256, i%%256), printf('192.168.%%d.%%d', i/256%%256, i%%256),
			6, 443, i, i*1000003, i*1009, i*30011, i*307, 1760000000+i FROM n`, rows))
}

func BenchmarkRows(b *testing.B) {
	for _, rows := range []int{100, 10000} {
		path := usageFile(b, rows)
		b.Run(fmt.Sprint(rows), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if n := walk(b, path); n != rows {
					b.Fatalf("got %d rows, want %d", n, rows)
				}
			}
		})
	}
}

// walk opens a file and reads table traffic without looking at the values.
func walk(t testing.TB, path string) (n int) {
	db, err := sqlitetable.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	rows, err := db.Rows("traffic")
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		n++
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return n
}

// A row costs no allocation of its own.
func TestRowsNoAlloc(t *testing.T) {
	few, many := usageFile(t, 1000), usageFile(t, 5000)
	a := testing.AllocsPerRun(5, func() { walk(t, few) })
	b := testing.AllocsPerRun(5, func() { walk(t, many) })
	if b > a+5 {
		t.Errorf("got %v allocations for 1,000 rows and %v for 5,000, want the same", a, b)
	}
}

// A header that claims four billion pages costs nothing.
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
}
