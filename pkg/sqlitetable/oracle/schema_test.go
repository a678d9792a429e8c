package oracle_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/netpilot/netpilot/pkg/sqlitetable"
)

// definitions are what SQLite accepts; columns are those it says it stores.
var definitions = []string{
	`CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)`,
	`CREATE TABLE t (a INTEGER PRIMARY KEY DESC, b)`,
	`CREATE TABLE t (a INT PRIMARY KEY, b)`,
	`CREATE TABLE t (b, a INTEGER, PRIMARY KEY (a DESC))`,
	`CREATE TABLE t (b, a INTEGER, PRIMARY KEY ("A" COLLATE nocase ASC))`,
	`CREATE TABLE t (b, a INTEGER, CONSTRAINT pk PRIMARY KEY (a AUTOINCREMENT) CHECK (b <> ')') UNIQUE (b))`,
	`CREATE TABLE t (b, a INTEGER, UNIQUE (b) PRIMARY KEY (a, b))`,
	`CREATE TABLE t (a "INTEGER" PRIMARY KEY, b)`,
	`CREATE TABLE t (a [INTEGER] PRIMARY KEY, b)`,
	`CREATE TABLE t (a 'INTEGER' PRIMARY KEY, b)`,
	`CREATE TABLE t (a INTEGER UNSIGNED PRIMARY KEY, b)`,
	`CREATE TABLE t (a INTEGER(8) PRIMARY KEY, b)`,
	`CREATE TABLE t (a "BIG" INTEGER, b INT "x" PRIMARY KEY)`,
	`CREATE TABLE t (a iNtEgEr CONSTRAINT "x y" NOT NULL PRIMARY KEY ASC ON CONFLICT REPLACE AUTOINCREMENT, b)`,
	`CREATE TABLE "t" ("a ""quoted"" b" VARCHAR(10), [b , c] DECIMAL(10, 2), ` + "`d ``e`" + ` UNSIGNED BIG INT, 'f '' g')`,
	"CREATE TABLE t -- a comment (\n( /* a, b, ) */ a -- x,\n INTEGER /* of , */ , b/**/TEXT)",
	`CREATE TABLE t (a DEFAULT (1 + (2)), b TEXT DEFAULT 'x,)' CHECK (length(b) > 0 AND b NOT IN ('(', ')')), c REAL DEFAULT -1.5e-3)`,
	`CREATE TABLE t (a INTEGER REFERENCES u (x) ON DELETE SET DEFAULT ON UPDATE SET NULL DEFERRABLE INITIALLY DEFERRED, b COLLATE nocase NOT NULL)`,
	`CREATE TABLE t (a, b AS (a || ')') VIRTUAL, c TEXT GENERATED ALWAYS AS (a + 1) STORED, d, e INT GENERATED ALWAYS AS (a))`,
	`CREATE TABLE t (generated INT, always TEXT, stored generated, strict without)`,
	`CREATE TABLE t (a INT, b TEXT, c ANY, d REAL, e INTEGER PRIMARY KEY) STRICT`,
	`CREATE TABLE t ("primary" INT, "check" TEXT, 'unique', [constraint] CHECK (1))`,
	`CREATE TABLE t (größe INT, имя TEXT, a$1 FLOAT(3), _ DOUBLE)`,
	`CREATE TABLE IF NOT EXISTS main . t (a LONG VARCHAR (1) NULL, b FLOATING POINT)`,
	`CREATE TABLE t AS SELECT 1 AS a, 'x' AS "b c", 2.5 AS d, CAST('1' AS REAL) AS e`,
}

// The columns, the rowid and the rows are those SQLite sees.
func TestDefinitions(t *testing.T) {
	for _, sql := range definitions {
		path := newFile(t, sql)
		db := openOracle(t, path)
		var names, types []string
		info, err := db.Query("SELECT name, type, hidden FROM pragma_table_xinfo('t') WHERE hidden <> 2") // 2 is VIRTUAL
		if err != nil {
			t.Fatal(err)
		}
		var insert, marks []string
		var values []any
		for info.Next() {
			var name, declared string
			var hidden int
			if err := info.Scan(&name, &declared, &hidden); err != nil {
				t.Fatal(err)
			}
			names, types = append(names, name), append(types, declared)
			if hidden == 0 {
				insert, marks, values = append(insert, quote(name)), append(marks, "?"), append(values, len(names)*7)
			}
		}
		_ = info.Close()
		for range 2 {
			// Constraints may refuse the second row; one is enough.
			_, err = db.Exec("INSERT INTO t ("+strings.Join(insert, ", ")+") VALUES ("+strings.Join(marks, ", ")+")", values...)
			values[0] = 1000
		}
		_ = db.Close()
		_, tables := ours(t, path)
		if len(tables) != 1 || len(tables[0].Columns) != len(names) {
			t.Errorf("%s: got %+v, want columns %q", sql, tables, names)
			continue
		}
		for i, c := range tables[0].Columns {
			if c.Name != names[i] || !strings.EqualFold(strip(c.Type), strip(types[i])) {
				t.Errorf("%s: column %d: got %q, want %q %q", sql, i, c, names[i], types[i])
			}
		}
		if rows := same(t, path); rows == 0 {
			t.Errorf("%s: no row to compare; the last insert: %v", sql, err)
		}
	}
}

// strip leaves out what SQLite does not keep of a type.
func strip(declared string) string {
	return strings.ReplaceAll(declared, " ", "")
}

// Rows older than a column have its default.
func TestAddedColumns(t *testing.T) {
	types := []string{"", "INTEGER", "TEXT", "REAL", "NUMERIC", "BLOB"}
	defaults := []string{
		"NULL", "5", "-5", "+7", "1.5", "-2.0", "1e3", ".5", "0x1F", "-0x10", "'text'", `"quoted"`, "' 12 '", "'1.0'", "'1e400'",
		"x'0aFF'", "true", "FALSE", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "'Inf'", "'0x10'", "'1_0'", "''", "(5)", "(-5)", "((-7))", "(1 + 2)", "(NULL)",
		"1.0e15", "1e18", "1e19", "9007199254740993.0", "'-'", "word",
	}
	path := newFile(t, "CREATE TABLE t (a)", "INSERT INTO t VALUES (1), (2)")
	db := openOracle(t, path)
	n := 0
	for _, typ := range types {
		for _, def := range defaults {
			if _, err := db.Exec(fmt.Sprintf("ALTER TABLE t ADD COLUMN c%d %s DEFAULT %s", n, typ, def)); err != nil {
				t.Logf("%s DEFAULT %s: %v", typ, def, err) // no constant: SQLite refuses it
			}
			n++
		}
	}
	exec(t, db, "INSERT INTO t (a) VALUES (3)")
	exec(t, db, "ALTER TABLE t RENAME TO u")
	exec(t, db, "ALTER TABLE u RENAME COLUMN a TO 'b '")
	got, tables := ours(t, path)
	want := oracleContent(t, path, tables)
	for i := range want["u"] {
		g, w := strings.Split(got["u"][i], " | "), strings.Split(want["u"][i], " | ")
		for j := range w {
			if g[j] != w[j] {
				t.Errorf("row %d, column %d %+v: got %s, want %s", i, j, tables[0].Columns[max(0, j-1)], g[j], w[j])
			}
		}
	}
	exec(t, db, "ALTER TABLE u DROP COLUMN c3") // writes all rows anew
	same(t, path)
}

// What has no rows to read says so and does not hinder the rest.
func TestOtherTables(t *testing.T) {
	path := newFile(t,
		"CREATE TABLE plain (a)", "INSERT INTO plain VALUES (1)", "CREATE INDEX i ON plain (a)",
		"CREATE TABLE keyed (k TEXT PRIMARY KEY, v) WITHOUT ROWID",
		"CREATE TABLE both (k TEXT PRIMARY KEY, v INT) STRICT, WITHOUT ROWID",
		"CREATE VIEW v AS SELECT a FROM plain",
		"CREATE TRIGGER tr AFTER INSERT ON plain BEGIN SELECT 1; END",
		"CREATE VIRTUAL TABLE fts USING fts5(body)",
		"CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT)",
	)
	db, err := sqlitetable.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for name, want := range map[string]error{
		"plain": nil, "PLAIN": nil, "keyed": sqlitetable.ErrWithoutRowID, "both": sqlitetable.ErrWithoutRowID, "v": sqlitetable.ErrView,
		"fts": sqlitetable.ErrVirtual, "fts_data": nil, "i": sqlitetable.ErrNoTable, "": sqlitetable.ErrNoTable, "sqlite_sequence": nil,
	} {
		if _, err := db.Rows(name); !errors.Is(err, want) {
			t.Errorf("%q: got %v, want %v", name, err, want)
		}
	}
	for _, table := range db.Tables() {
		if strings.HasPrefix(table.Name, "sqlite_") {
			t.Errorf("got internal table %q", table.Name)
		}
		if _, err := db.Rows(table.Name); (err == nil) != (table.Err == nil) {
			t.Errorf("%q: got %v, want %v", table.Name, err, table.Err)
		}
	}
}

// A row too large ends the walk, not the program.
func TestLargeRow(t *testing.T) {
	path := newFile(t, "CREATE TABLE t (a)", "INSERT INTO t VALUES (1), (zeroblob(2000000))")
	db := openCount(t, path, -1)
	list, err := readAll(db, "t")
	if len(list) != 1 || !errors.Is(err, sqlitetable.ErrTooLarge) {
		t.Errorf("got %d rows and %v, want 1 and ErrTooLarge", len(list), err)
	}
}
