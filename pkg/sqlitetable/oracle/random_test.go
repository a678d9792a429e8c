package oracle_test

import (
	"database/sql"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// randomValue covers each serial type, and sizes around each page's limits.
func randomValue(r *rand.Rand, pageSize int) any {
	length := func() int {
		switch r.IntN(20) {
		case 0:
			return r.IntN(6 * pageSize)
		case 1:
			return max(0, pageSize-100+r.IntN(200))
		}
		return r.IntN(40)
	}
	switch r.IntN(8) {
	case 0:
		return nil
	case 1:
		return int64(r.IntN(4) - 1)
	case 2: // of each width, of each sign
		return int64(r.Uint64()) >> r.IntN(64)
	case 3:
		return []int64{math.MinInt64, math.MaxInt64, -129, 127, 1 << 47, -1 << 47, 1<<47 - 1}[r.IntN(7)]
	case 4:
		return []float64{0, 1, -2, 1e300, math.Inf(1), math.Inf(-1), math.Pi, math.NaN(), 1 << 60, math.SmallestNonzeroFloat64}[r.IntN(10)]
	case 5:
		b := make([]byte, length())
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	letters := []rune("abc 019é中𝄞\u0001\uffff")
	var b strings.Builder
	for range length() {
		b.WriteRune(letters[r.IntN(len(letters))])
	}
	return b.String()
}

var randomTypes = []string{
	"", "INTEGER", "INT", "TEXT", "VARCHAR(10)", "BLOB", "REAL", "DOUBLE PRECISION", "FLOAT", "NUMERIC", "DECIMAL(10, 2)", "DATETIME", "FLOATING POINT", "BOOLEAN",
}

// randomTables creates tables and returns the number of columns of each.
func randomTables(t *testing.T, db execer, r *rand.Rand) map[string]int {
	tables := map[string]int{}
	for i := range 1 + r.IntN(6) {
		name := fmt.Sprintf("t %d", i)
		columns := []string{}
		switch r.IntN(3) {
		case 0:
			columns = append(columns, `"id" INTEGER PRIMARY KEY`)
		case 1:
			columns = append(columns, "[id] integer primary key autoincrement not null")
		}
		n := 1 + r.IntN(8)
		for j := range n {
			columns = append(columns, fmt.Sprintf("c%d %s", j, randomTypes[r.IntN(len(randomTypes))]))
		}
		exec(t, db, "CREATE TABLE "+quote(name)+" ("+strings.Join(columns, ", ")+")")
		tables[name] = n
	}
	return tables
}

// randomChange inserts, updates and deletes.
func randomChange(t *testing.T, db execer, r *rand.Rand, tables map[string]int, pageSize, rows int) {
	for name, n := range tables {
		columns, marks := []string{}, []string{}
		for j := range n {
			columns, marks = append(columns, fmt.Sprintf("c%d", j)), append(marks, "?")
		}
		insert := fmt.Sprintf("INSERT INTO %s (rowid, %s) VALUES (?, %s)", quote(name), strings.Join(columns, ", "), strings.Join(marks, ", "))
		for range r.IntN(rows + 1) {
			row := []any{nil}
			if r.IntN(10) == 0 {
				row[0] = int64(r.Uint64()) >> (2 + r.IntN(62))
			}
			for range n {
				row = append(row, randomValue(r, pageSize))
			}
			if _, err := db.Exec(insert, row...); err != nil && !strings.Contains(err.Error(), "UNIQUE") {
				t.Fatal(err)
			}
		}
		switch r.IntN(4) {
		case 0:
			exec(t, db, fmt.Sprintf("DELETE FROM %s WHERE abs(rowid %% 3) = 1", quote(name)))
		case 1:
			exec(t, db, fmt.Sprintf("UPDATE %s SET c0 = ? WHERE abs(rowid %% 5) = 1", quote(name)), randomValue(r, pageSize))
		}
	}
}

// SQLite and this package see the same rows, whatever the file's settings.
func TestRandomDatabases(t *testing.T) {
	seeds := 16
	if testing.Short() {
		seeds = 8
	}
	total := 0
	for seed := range seeds {
		r := rand.New(rand.NewPCG(uint64(seed), 1))
		pageSize := 512 << (seed % 8)
		settings := []string{
			fmt.Sprintf("PRAGMA page_size = %d", pageSize),
			fmt.Sprintf("PRAGMA encoding = '%s'", []string{"UTF-8", "UTF-16le", "UTF-16be"}[r.IntN(3)]),
			fmt.Sprintf("PRAGMA auto_vacuum = %d", r.IntN(3)),
			"PRAGMA synchronous = OFF",
			"PRAGMA journal_mode = " + []string{"DELETE", "PERSIST", "TRUNCATE", "MEMORY", "WAL"}[r.IntN(5)],
			"PRAGMA wal_autocheckpoint = " + []string{"0", "3", "1000"}[r.IntN(3)],
		}
		t.Run(fmt.Sprint("seed ", seed, " page ", pageSize), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "test.db")
			db := openOracle(t, path)
			for _, s := range settings {
				exec(t, db, s)
			}
			tables := randomTables(t, db, r)
			for range 3 {
				inTransaction(t, db, func(tx *sql.Tx) { randomChange(t, tx, r, tables, pageSize, 60) })
			}
			// With the writer still there: in WAL mode most is in the log.
			total += same(t, copyFiles(t, path))
			if r.IntN(2) == 0 {
				exec(t, db, "VACUUM")
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			total += same(t, path)
		})
	}
	if total < 100*seeds {
		t.Errorf("got only %d rows to compare from %d databases", total, seeds)
	}
	t.Logf("%d rows compared", total)
}

func inTransaction(t testing.TB, db *sql.DB, f func(*sql.Tx)) {
	t.Helper()
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	f(tx)
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

// A deep tree, long overflow chains and bytes reserved at the end of pages.
func TestDeepTree(t *testing.T) {
	path := newFile(t,
		"PRAGMA page_size = 512",
		"CREATE TABLE t (id INTEGER PRIMARY KEY, s TEXT, b BLOB)",
		`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 20000)
			INSERT INTO t SELECT i*1000003, 'row ' || i, zeroblob(i % 97) FROM n`,
		"INSERT INTO t VALUES (-5, 'long', zeroblob(1000000))",
	)
	if got, want := same(t, path), 20001; got != want {
		t.Errorf("got %d rows, want %d", got, want)
	}
}

// Extensions keep checksums or nonces at the end of each page.
func TestReservedBytes(t *testing.T) {
	for _, pageSize := range []int{512, 1024, 65536} {
		for _, reserved := range []int{1, 8, 32, 255} {
			if pageSize-reserved < 480 {
				continue
			}
			path := newFile(t, fmt.Sprintf("PRAGMA page_size = %d", pageSize), "PRAGMA user_version = 1")
			patch(t, path, func(b []byte) {
				b[20] = byte(reserved)
				binary.BigEndian.PutUint16(b[105:], uint16(pageSize-reserved)) // where cells will end
			})
			db := openOracle(t, path)
			exec(t, db, "CREATE TABLE t (a, b)")
			r := rand.New(rand.NewPCG(uint64(pageSize), uint64(reserved)))
			inTransaction(t, db, func(tx *sql.Tx) {
				for range 200 {
					exec(t, tx, "INSERT INTO t VALUES (?, ?)", randomValue(r, pageSize), randomValue(r, pageSize))
				}
			})
			if got, want := same(t, path), 200; got != want {
				t.Errorf("page %d, reserved %d: got %d rows, want %d", pageSize, reserved, got, want)
			}
		}
	}
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
