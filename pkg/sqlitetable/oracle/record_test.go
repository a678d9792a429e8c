package oracle_test

import (
	"encoding/binary"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/netpilot/netpilot/pkg/sqlitetable"
)

var update = flag.Bool("update", false, "record testdata of package sqlitetable anew")

const count500 = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 500) "

// recordings are small databases and how to make them. Table t counts.
var recordings = map[string][]string{
	// Two levels, overflow pages, a second table, an added column.
	"tree.db": {
		"PRAGMA page_size = 512",
		"CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT NOT NULL, x REAL)",
		"CREATE TABLE u (a, b BLOB DEFAULT 'x')",
		count500 + "INSERT INTO t SELECT i, 'name ' || i, i / 4.0 FROM n LIMIT 60",
		"INSERT INTO u VALUES (1, zeroblob(1500)), ('two', NULL)",
		"ALTER TABLE t ADD COLUMN y NUMERIC DEFAULT '-7.50'",
	},
	"many.db":    {"PRAGMA page_size = 512", "CREATE TABLE t (a, b)", count500 + "INSERT INTO t SELECT i, 'row ' || i FROM n"},
	"utf16be.db": append([]string{"PRAGMA encoding = 'UTF-16be'"}, values...),
	"utf16le.db": append([]string{"PRAGMA encoding = 'UTF-16le'"}, values...),
	"values.db":  values,
	"log.db":     append([]string{"PRAGMA journal_mode = WAL"}, values...),
}

// values are of each serial type.
var values = []string{
	"PRAGMA page_size = 1024",
	"CREATE TABLE t (a)",
	"INSERT INTO t VALUES (NULL), (0), (1), (-1), (127), (-128), (128), (-32768), (32768), (-8388608), (8388608), (-2147483648), (2147483648)",
	"INSERT INTO t VALUES (-140737488355328), (140737488355328), (9223372036854775807), (-9223372036854775807 - 1)",
	"INSERT INTO t VALUES (0.1), (-2.5e300), (9e999), (''), (x''), (x'00ff10'), ('é中𝄞'), (zeroblob(1200)), ('long ' || hex(zeroblob(1500)))",
	"INSERT INTO t (rowid, a) VALUES (-9, 'before all'), (9223372036854775806, 'after all')",
}

// Recordings stay what SQLite makes of them.
func TestRecordings(t *testing.T) {
	dir := filepath.Join("..", "testdata")
	if *update {
		for name, statements := range recordings {
			db := openOracle(t, filepath.Join(t.TempDir(), name))
			var path string
			if err := db.QueryRow("SELECT file FROM pragma_database_list").Scan(&path); err != nil {
				t.Fatal(err)
			}
			for _, s := range statements {
				exec(t, db, s)
			}
			record(t, path, filepath.Join(dir, name))
			if name == "log.db" {
				turned := copyFiles(t, path)
				patch(t, turned+"-wal", turnChecksums)
				record(t, turned, filepath.Join(dir, "log-turned.db"))
			}
		}
	}
	paths, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil || len(paths) != len(recordings)+1 {
		t.Fatalf("got %d recordings and %v, want %d", len(paths), err, len(recordings)+1)
	}
	for _, path := range paths {
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := golden(t, strings.TrimSuffix(path, ".txt")); got != string(want) {
			t.Errorf("%s: got %s\nwant %s", path, got, want)
		}
	}
}

// golden is what SQLite reads from a copy of path.
func golden(t *testing.T, path string) string {
	t.Helper()
	copied := copyFiles(t, path)
	db := openOracle(t, copied)
	rows, err := db.Query("SELECT name FROM pragma_table_info('t')")
	if err != nil {
		t.Fatal(err)
	}
	table := sqlitetable.Table{Name: "t"}
	for rows.Next() {
		var c sqlitetable.Column
		if err := rows.Scan(&c.Name); err != nil {
			t.Fatal(err)
		}
		table.Columns = append(table.Columns, c)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	_ = rows.Close()
	_ = db.Close()
	return strings.Join(oracleContent(t, copied, []sqlitetable.Table{table})["t"], "\n") + "\n"
}

func record(t *testing.T, from, to string) {
	t.Helper()
	copied := copyFiles(t, from)
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(copied + suffix)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to+suffix, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(to+".txt", []byte(golden(t, to)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// turnChecksums makes a log as a machine of the other byte order writes it.
func turnChecksums(b []byte) {
	var order binary.ByteOrder = binary.BigEndian
	if b[3]&1 != 0 {
		order = binary.LittleEndian
	}
	b[3] ^= 1
	frame := 24 + int(binary.BigEndian.Uint32(b[8:]))
	var s0, s1 uint32
	add := func(b []byte) {
		for ; len(b) > 0; b = b[8:] {
			s0 += order.Uint32(b) + s1
			s1 += order.Uint32(b[4:]) + s0
		}
	}
	put := func(b []byte) {
		binary.BigEndian.PutUint32(b, s0)
		binary.BigEndian.PutUint32(b[4:], s1)
	}
	add(b[:24])
	put(b[24:])
	for b = b[32:]; len(b) > 0; b = b[frame:] {
		add(b[:8])
		add(b[24:frame])
		put(b[16:])
	}
}
