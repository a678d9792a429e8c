// Package oracle_test compares package sqlitetable with SQLite itself. It stands
// apart because SQLite does not build for every machine sqlitetable is for.
package oracle_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	_ "modernc.org/sqlite" // SQLite itself, to compare with

	"github.com/netpilot/netpilot/pkg/sqlitetable"
)

// openOracle opens path with SQLite on a single connection.
func openOracle(t testing.TB, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// execer is a database or a transaction.
type execer interface {
	Exec(query string, args ...any) (sql.Result, error)
}

func exec(t testing.TB, db execer, query string, args ...any) {
	t.Helper()
	if _, err := db.Exec(query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// newFile runs statements with SQLite and returns the closed file.
func newFile(t testing.TB, statements ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.db")
	db := openOracle(t, path)
	for _, s := range statements {
		exec(t, db, s)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// copyFiles copies a database with all its companions but the -shm file, as a
// power cut would leave it.
func copyFiles(t testing.TB, path string) string {
	t.Helper()
	dir := t.TempDir()
	for _, suffix := range []string{"", "-wal", "-journal"} {
		b, err := os.ReadFile(path + suffix)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "copy.db"+suffix), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "copy.db")
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// content is each table's rows as text, rowid first.
type content map[string][]string

// oracleContent asks SQLite. The unary plus hides the declared type, for which
// the driver would make a time of a text.
func oracleContent(t testing.TB, path string, tables []sqlitetable.Table) content {
	t.Helper()
	db := openOracle(t, path)
	all := content{}
	for _, table := range tables {
		if table.Err != nil {
			continue
		}
		list := []string{"rowid"}
		for _, c := range table.Columns {
			list = append(list, "+"+quote(c.Name))
		}
		rows, err := db.Query("SELECT " + strings.Join(list, ", ") + " FROM " + quote(table.Name) + " ORDER BY rowid")
		if err != nil {
			t.Fatalf("table %q: %v", table.Name, err)
		}
		all[table.Name] = nil
		row, to := make([]any, len(list)), make([]any, len(list))
		for i := range row {
			to[i] = &row[i]
		}
		for rows.Next() {
			if err := rows.Scan(to...); err != nil {
				t.Fatal(err)
			}
			all[table.Name] = append(all[table.Name], formatRow(row))
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		_ = rows.Close()
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return all
}

// formatRow shows values of SQLite as formatValue shows those of sqlitetable.
func formatRow(row []any) string {
	var b strings.Builder
	for i, v := range row {
		if i > 0 {
			b.WriteString(" | ")
		}
		switch v := v.(type) {
		case nil:
			b.WriteString("null NULL")
		case int64:
			fmt.Fprintf(&b, "integer %d", v)
		case float64:
			fmt.Fprintf(&b, "real %s", strconv.FormatFloat(v, 'g', -1, 64))
		case string:
			fmt.Fprintf(&b, "text %q", v)
		case []byte:
			fmt.Fprintf(&b, "blob x'%x'", v)
		default:
			fmt.Fprintf(&b, "unknown %T", v)
		}
	}
	return b.String()
}

// readAll reads a table with the package under test.
func readAll(db *sqlitetable.DB, table string) (list []string, err error) {
	rows, err := db.Rows(table)
	if err != nil {
		return nil, err
	}
	for rows.Next() {
		row := fmt.Sprintf("integer %d", rows.RowID())
		for _, v := range rows.Values() {
			row += fmt.Sprintf(" | %s %s", v.Kind(), v)
		}
		list = append(list, row)
	}
	return list, rows.Err()
}

// ours reads every table with the package under test.
func ours(t testing.TB, path string) (content, []sqlitetable.Table) {
	t.Helper()
	db, err := sqlitetable.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	all := content{}
	for _, table := range db.Tables() {
		if table.Err != nil {
			continue
		}
		if all[table.Name], err = readAll(db, table.Name); err != nil {
			t.Fatal(err)
		}
	}
	tables := db.Tables()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return all, tables
}

// same compares a file with what SQLite makes of a copy of it, which it may
// change. It returns how many rows were compared.
func same(t testing.TB, path string) (rows int) {
	t.Helper()
	forOracle := copyFiles(t, path)
	got, tables := ours(t, path)
	want := oracleContent(t, forOracle, tables)
	for name := range want {
		if !slices.Equal(got[name], want[name]) {
			t.Fatalf("table %q: %s", name, firstDifference(got[name], want[name]))
		}
		rows += len(want[name])
	}
	return rows
}

func firstDifference(got, want []string) string {
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return fmt.Sprintf("row %d: got %.200s, want %.200s", i, got[i], want[i])
		}
	}
	return fmt.Sprintf("got %d rows, want %d", len(got), len(want))
}
