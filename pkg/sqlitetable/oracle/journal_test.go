package oracle_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/netpilot/netpilot/pkg/sqlitetable"
)

// A copy made in the midst of a transaction has half of it in the file.
func TestHotJournal(t *testing.T) {
	path := newFile(t, "PRAGMA page_size = 1024", "CREATE TABLE t (a)",
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 200) INSERT INTO t SELECT zeroblob(900) FROM n")
	db := openOracle(t, path)
	exec(t, db, "PRAGMA cache_size = 2")
	exec(t, db, "BEGIN")
	exec(t, db, "UPDATE t SET a = randomblob(900)")
	hot := copyFiles(t, path)
	_, err := sqlitetable.Open(hot)
	if !errors.Is(err, sqlitetable.ErrHotJournal) {
		t.Fatalf("got %v, want ErrHotJournal", err)
	}
	if !strings.Contains(err.Error(), "copy.db-journal is left over; let its own program open it once") {
		t.Errorf("got %q without the next step", err)
	}
	exec(t, db, "ROLLBACK")

	// SQLite rolls it back; then there is nothing to complain about.
	if got := len(oracleContent(t, hot, []sqlitetable.Table{{Name: "t"}})["t"]); got != 200 {
		t.Fatalf("got %d rows after rollback, want 200", got)
	}
	if got := same(t, hot); got != 200 {
		t.Errorf("got %d rows, want 200", got)
	}
}

// Journals that are kept after a commit, in their two forms, are not hot.
func TestColdJournal(t *testing.T) {
	for _, mode := range []string{"PERSIST", "TRUNCATE"} {
		path := newFile(t, "PRAGMA journal_mode = "+mode, "CREATE TABLE t (a)", "INSERT INTO t VALUES (1)")
		if _, err := os.Stat(path + "-journal"); err != nil {
			t.Fatal(err)
		}
		if got := same(t, path); got != 1 {
			t.Errorf("%s: got %d rows, want 1", mode, got)
		}
	}
}
