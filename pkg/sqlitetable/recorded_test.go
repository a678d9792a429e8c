package sqlitetable_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/netpilot/netpilot/pkg/sqlitetable"
)

// readAll reads a table as text, rowid first.
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

// readTable reads table t of a sound file.
func readTable(t testing.TB, path string) []string {
	t.Helper()
	db, err := sqlitetable.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	list, err := readAll(db, "t")
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// The files in testdata and the rows beside them are SQLite's; package oracle
// records them. So this test needs no SQLite and runs on any machine.
func TestRecorded(t *testing.T) {
	golden, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(golden) < 6 {
		t.Fatalf("got %d recordings and %v, want at least 6", len(golden), err)
	}
	for _, path := range golden {
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(path), ".txt")
		got := strings.Join(readTable(t, recorded(t, name)), "\n") + "\n"
		if got != string(want) {
			t.Errorf("%s: got %.2000s\nwant %.2000s", name, got, want)
		}
	}
}
