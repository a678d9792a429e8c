package oracle_test

import (
	"os"
	"testing"
)

// walDatabase returns the path of a database with its writer still there, so
// that its log is not moved into it.
func walDatabase(t *testing.T, pageSize string) (string, execer) {
	t.Helper()
	path := t.TempDir() + "/test.db"
	db := openOracle(t, path)
	for _, s := range []string{
		"PRAGMA page_size = " + pageSize, "PRAGMA journal_mode = WAL", "PRAGMA wal_autocheckpoint = 0",
		"CREATE TABLE t (a, b)", "INSERT INTO t VALUES (1, 'one')",
	} {
		exec(t, db, s)
	}
	return path, db
}

// At each step the log holds something else; a copy is what a power cut leaves.
func TestLogSteps(t *testing.T) {
	for _, pageSize := range []string{"512", "4096", "65536"} {
		path, db := walDatabase(t, pageSize)
		rows := func(step string, want int) {
			t.Helper()
			if got := same(t, copyFiles(t, path)); got != want {
				t.Errorf("page %s, %s: got %d rows, want %d", pageSize, step, got, want)
			}
		}
		rows("all in the log", 1)
		exec(t, db, "UPDATE t SET b = 'two'")
		exec(t, db, "INSERT INTO t VALUES (2, zeroblob(100000))")
		rows("pages more than once", 2)
		exec(t, db, "PRAGMA wal_checkpoint(PASSIVE)")
		rows("checkpointed, log still there", 2)
		exec(t, db, "INSERT INTO t VALUES (3, 'begun anew')")
		rows("new frames before old ones", 3)
		exec(t, db, "PRAGMA wal_checkpoint(TRUNCATE)")
		rows("log empty", 3)
		exec(t, db, "PRAGMA cache_size = 2")
		exec(t, db, "BEGIN")
		exec(t, db, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 100) INSERT INTO t SELECT i, zeroblob(3000) FROM n")
		if info, err := os.Stat(path + "-wal"); err != nil || info.Size() < 100000 {
			t.Fatalf("the transaction did not spill to the log: %v, %v", info, err)
		}
		rows("transaction not committed", 3)
		exec(t, db, "COMMIT")
		rows("transaction committed", 103)
		exec(t, db, "DELETE FROM t WHERE a > 50")
		exec(t, db, "VACUUM")
		rows("database shrunk", 53)
	}
}

// The log counts up to the first frame that is not right, wherever it is cut.
func TestLogDamage(t *testing.T) {
	path, db := walDatabase(t, "512")
	for i := range 5 {
		exec(t, db, "INSERT INTO t VALUES (?, zeroblob(300))", i)
	}
	whole := copyFiles(t, path)
	log, err := os.ReadFile(whole + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(log); n += 61 {
		if err := os.WriteFile(whole+"-wal", log[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		same(t, whole)
		flipped := append([]byte{}, log...)
		flipped[n] ^= 0x10
		if n >= 4 && n < 12 { // a valid header of another version is an error
			continue
		}
		if err := os.WriteFile(whole+"-wal", flipped, 0o600); err != nil {
			t.Fatal(err)
		}
		same(t, whole)
	}
}

// A log written on a machine of the other byte order has the other checksums.
func TestLogByteOrder(t *testing.T) {
	path, _ := walDatabase(t, "1024")
	path = copyFiles(t, path)
	want, _ := ours(t, path)
	patch(t, path+"-wal", turnChecksums)
	got, _ := ours(t, path)
	if len(got["t"]) != 1 || got["t"][0] != want["t"][0] {
		t.Errorf("got %v, want %v", got, want)
	}
	same(t, path)
}
