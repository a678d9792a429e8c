package oracle_test

import (
	"bufio"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"strings"
	"testing"

	"github.com/netpilot/netpilot/pkg/sqlitetable"
)

// writerEnv makes the test binary a process that runs SQL lines from its
// standard input, as locks are between processes.
const writerEnv = "SQLITETABLE_TEST_WRITER"

func runWriter(path string) int {
	db, err := sql.Open("sqlite", path)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(1)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		answer := "ok"
		if _, err := db.Exec(lines.Text()); err != nil {
			answer = err.Error()
		}
		fmt.Println(answer)
	}
	return 0
}

// writer is such a process.
type writer struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Reader
}

func startWriter(t *testing.T, path string) *writer {
	t.Helper()
	cmd := osexec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), writerEnv+"="+path)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	return &writer{t: t, in: in, out: bufio.NewReader(out)}
}

// run returns SQLite's answer to one statement.
func (w *writer) run(statement string) string {
	w.t.Helper()
	if _, err := fmt.Fprintln(w.in, statement); err != nil {
		w.t.Fatal(err)
	}
	line, err := w.out.ReadString('\n')
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

func (w *writer) ok(statements ...string) {
	w.t.Helper()
	for _, s := range statements {
		if got := w.run(s); got != "ok" {
			w.t.Fatalf("%s: got %q, want ok", s, got)
		}
	}
}

// openCount opens a database and, if want is not negative, counts the rows of t.
func openCount(t *testing.T, path string, want int) *sqlitetable.DB {
	t.Helper()
	db, err := sqlitetable.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if want >= 0 {
		count(t, db, want)
	}
	return db
}

func count(t *testing.T, db *sqlitetable.DB, want int) {
	t.Helper()
	list, err := readAll(db, "t")
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != want {
		t.Fatalf("got %d rows, want %d", len(list), want)
	}
}

// Open waits for a writer, and a writer waits for Close.
func TestLockRollbackJournal(t *testing.T) {
	path := newFile(t, "CREATE TABLE t (a)", "INSERT INTO t VALUES (1), (2)")
	w := startWriter(t, path)

	w.ok("BEGIN EXCLUSIVE")
	if _, err := sqlitetable.Open(path); !errors.Is(err, sqlitetable.ErrLocked) {
		t.Errorf("while written: got %v, want ErrLocked", err)
	}
	w.ok("ROLLBACK")

	// A writer that has begun but not committed does not disturb.
	w.ok("BEGIN IMMEDIATE", "INSERT INTO t VALUES (3)")
	db := openCount(t, path, 2)
	if got := w.run("COMMIT"); !strings.Contains(got, "locked") {
		t.Errorf("commit while read: got %q, want locked", got)
	}
	count(t, db, 2)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	w.ok("COMMIT")
	openCount(t, path, 3)
}

// While a log is read it grows, but is neither checkpointed nor begun anew.
func TestLockLog(t *testing.T) {
	path := newFile(t, "PRAGMA journal_mode = WAL", "CREATE TABLE t (a)")
	w := startWriter(t, path)
	w.ok("INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2)")
	db := openCount(t, path, 2)
	for range 50 {
		w.ok("INSERT INTO t VALUES (randomblob(1000))")
	}
	w.ok("PRAGMA wal_checkpoint(TRUNCATE)") // its answer, "busy", is a row
	w.ok("INSERT INTO t VALUES (3)")
	count(t, db, 2)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	w.ok("PRAGMA wal_checkpoint(TRUNCATE)")
	openCount(t, path, 53)

	// A log that is wholly checkpointed would be overwritten from its start.
	w.ok("INSERT INTO t VALUES (4)", "PRAGMA wal_checkpoint(PASSIVE)")
	db = openCount(t, path, 54)
	for range 20 {
		w.ok("INSERT INTO t VALUES (randomblob(1000))")
	}
	count(t, db, 54)
}

// Without a -shm file nobody's checkpoint can be held off; it is noticed.
func TestChangedWhileRead(t *testing.T) {
	path := newFile(t, "PRAGMA journal_mode = WAL", "CREATE TABLE t (a)", "INSERT INTO t VALUES (1)")
	db := openCount(t, path, 1)
	w := startWriter(t, path)
	w.ok("INSERT INTO t VALUES (2)", "PRAGMA wal_checkpoint(PASSIVE)")
	if _, err := readAll(db, "t"); !errors.Is(err, sqlitetable.ErrChanged) {
		t.Errorf("got %v, want ErrChanged", err)
	}
	openCount(t, path, 2)
}
