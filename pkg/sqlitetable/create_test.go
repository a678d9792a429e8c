package sqlitetable

import (
	"errors"
	"strings"
	"testing"
	"unsafe"
)

// Whatever the text, parsing ends, and the result is consistent with itself.
func FuzzCreateTable(f *testing.F) {
	for _, sql := range []string{
		"CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT DEFAULT 'x')",
		"CREATE TABLE \"t\" ([a b] DECIMAL(10, 2), `c` AS (a) STORED, 'd' DEFAULT -0x1F, PRIMARY KEY (\"a b\" DESC)) STRICT, WITHOUT ROWID",
		"CREATE TABLE t (a /* , */ -- )\n, b DEFAULT ((1.5e-3)) CHECK (a IN (1, ')')), CONSTRAINT x UNIQUE (a))",
		"CREATE VIRTUAL TABLE t USING fts5(a)",
		"CREATE TABLE t (a DEFAULT (", "CREATE TABLE t (a INT(", "CREATE TABLE t (a, PRIMARY KEY (", "CREATE TABLE t (a x'", "",
	} {
		f.Add(sql)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		def, err := parseCreateTable(sql)
		if err != nil {
			var data *DataError
			if !errors.As(err, &data) || len(def.columns) != 0 {
				t.Errorf("%q: got %+v and %v, want a DataError alone", sql, def, err)
			}
			return
		}
		if def.rowID < -1 || def.rowID >= len(def.columns) || len(def.columns) > maxColumns || len(def.columns) == 0 {
			t.Errorf("%q: got column %d of %d as rowid", sql, def.rowID, len(def.columns))
		}
		if def.rowID >= 0 && !strings.EqualFold(def.columns[def.rowID].Type, "INTEGER") {
			t.Errorf("%q: got a rowid of type %q", sql, def.columns[def.rowID].Type)
		}
	})
}

// The largest schema accepted stays within some MiB.
func TestColumnMemory(t *testing.T) {
	if got := maxSchemaSQL / 2 * int(unsafe.Sizeof(column{})); got > 16<<20 {
		t.Errorf("got up to %d bytes of columns, want at most 16 MiB", got)
	}
	_, err := parseCreateTable("CREATE TABLE t (a" + strings.Repeat(",a", maxColumns) + ")")
	if !errors.Is(err, ErrTooLarge) {
		t.Errorf("%d columns: got %v, want ErrTooLarge", maxColumns+1, err)
	}
}
