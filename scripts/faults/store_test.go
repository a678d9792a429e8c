package faults

import (
	"bytes"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	relay "github.com/netpilot/netpilot/relay/command"
)

// TestDiskFull: a disk that fills up while routers push and callers call costs
// no call and no acknowledged history, is in the log with the next step, and
// with room again all goes on.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tmpfs(t, dir, "8m")
	w := newWorld(t, dir, 6, 10*time.Hour)
	w.play()
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, bytes.Repeat([]byte("x"), 8<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("the file system does not fill up: %v", err)
	}
	w.pushes.Begin()
	w.says("history cannot be kept; routers try again", "the relay's disk is full; make room")
	w.calls(300)
	if status, body := w.do("GET", "/api/routers"); status != 200 {
		t.Errorf("what is kept: got %d %s", status, body)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	w.pushedAll()
	w.calls(100)
}

// TestLocked: another program that holds the database costs no call, is in the
// log with the next step, and when it ends all goes on.
func TestLocked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, t.TempDir(), 6, 10*time.Hour)
	w.play()
	ids := "?sessionId=s1&routerId=" + string(w.network.ID(1))
	if status, body := w.do("POST", "/api/session/start"+ids); status != 200 {
		t.Fatalf("start a session: got %d %s", status, body)
	}
	other := otherProgram("lock", w.database())
	other.Stderr = os.Stderr
	in, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 7)); err != nil {
		t.Fatal(err)
	}
	w.pushes.Begin()
	w.calls(300) // before SQLite gives up waiting, too
	w.says("history cannot be kept; routers try again", "another program holds the relay's database locked; end it")
	w.calls(100)
	for _, path := range []string{"/api/routers", "/api/monitor/current" + ids} {
		if status, body := w.do("GET", path); status != 200 {
			t.Errorf("%s: got %d %s", path, status, body)
		}
	}
	in.Close()
	if err := other.Wait(); err != nil {
		t.Error(err)
	}
	w.pushedAll()
}

// TestDamagedAtStart: a relay does not serve a damaged database and says what
// to do.
func TestDamagedAtStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, t.TempDir(), 3, 5*time.Hour)
	w.play()
	w.pushes.Begin()
	w.pushedAll()
	w.stopRelay()
	whole, err := os.ReadFile(w.database())
	if err != nil || len(whole) < 20*4096 {
		t.Fatalf("%d bytes, %v", len(whole), err)
	}
	for name, damaged := range map[string][]byte{
		"a page":         append(append(bytes.Clone(whole[:len(whole)/2]), bytes.Repeat([]byte{0xff}, 4096)...), whole[len(whole)/2+4096:]...),
		"the schema":     append(append(bytes.Clone(whole[:100]), bytes.Repeat([]byte{0xff}, 3000)...), whole[3100:]...),
		"the header":     append(bytes.Repeat([]byte("x"), 100), whole[100:]...),
		"cut short":      whole[:len(whole)/2/4096*4096],
		"something else": []byte(strings.Repeat("not a database ", 1000)),
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "relay.db"), damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		_, stop, err := serve(dir, w.log, func(*relay.Config) {})
		switch {
		case err == nil:
			t.Errorf("%s: the relay serves", name)
			_ = stop()
		case !strings.Contains(err.Error(), "restore it from a backup"):
			t.Errorf("%s: got %v, want the next step", name, err)
		}
		if after, err := os.ReadFile(filepath.Join(dir, "relay.db")); err != nil || !bytes.Equal(after, damaged) {
			t.Errorf("%s: the relay changed the file, %v", name, err)
		}
	}
}

// TestDamagedWhileServing: of a database that is damaged under the relay what
// cannot be read is an error, in the log with the next step; calls are
// answered as before.
func TestDamagedWhileServing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, t.TempDir(), 3, 10*time.Hour)
	w.play()
	w.pushes.Begin()
	w.pushedAll()
	path := "/api/device-usage/history?by=device&timeframe=24h&routerId=" + string(w.network.ID(1))
	if status, body := w.do("GET", path); status != 200 {
		t.Fatalf("got %d %.200s", status, body)
	}
	damage(t, w.database())
	until(t, "the history of a router cannot be read", func() bool {
		status, body := w.do("GET", path)
		if status == 500 && strings.Contains(body, "INTERNAL") {
			return true
		}
		if status != 200 {
			t.Fatalf("got %d %.300s", status, body)
		}
		return false
	})
	w.says("request failed", "the relay's database is damaged; restore it from a backup")
	w.calls(300)
}

// damage overwrites the leaves of the table of buckets, in the file itself.
func damage(t *testing.T, path string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	until(t, "nobody reads while the WAL is moved into the file", func() bool {
		var busy, total, moved int
		if err := db.QueryRow("PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &total, &moved); err != nil {
			t.Fatalf("checkpoint: %v", err)
		}
		return busy == 0
	})
	rows, err := db.Query("SELECT pageno FROM dbstat WHERE name = 'buckets' AND pagetype = 'leaf'")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var pages []int64
	for rows.Next() {
		var n int64
		if err := rows.Scan(&n); err != nil {
			t.Fatal(err)
		}
		pages = append(pages, n)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil || len(pages) < 3 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range pages {
		if _, err := f.WriteAt(bytes.Repeat([]byte{0xff}, 4096), (n-1)*4096); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	// What was read before may be remembered, until somebody writes.
	if _, err := db.Exec("UPDATE routers SET last_seen = last_seen + 1"); err != nil {
		t.Fatal(err)
	}
}

// TestDataNotWritable: a directory in which nothing can be written is said at
// the start, with the next step.
func TestDataNotWritable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tmpfs(t, dir, "32m")
	readOnly := func(flags uintptr) {
		t.Helper()
		if err := withoutChildren(func() error { return unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT|flags, "size=32m") }); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(what, want string) {
		t.Helper()
		_, stop, err := serve(dir, new(logBuffer), func(*relay.Config) {})
		if err == nil {
			t.Errorf("%s: the relay serves", what)
			_ = stop()
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", what, err, want)
		}
	}
	readOnly(unix.MS_RDONLY)
	refused("nothing there yet", "check the owner of the data directory")
	readOnly(0)
	w := newWorld(t, dir, 3, 5*time.Hour)
	w.play()
	w.pushes.Begin()
	w.pushedAll()
	w.stopRelay()
	readOnly(unix.MS_RDONLY)
	refused("a database of before", "the owner of the data directory")
	readOnly(0)
}

// TestDataIsAFile: so is a directory that is none.
func TestDataIsAFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := serve(file, new(logBuffer), func(*relay.Config) {}); err == nil || !strings.Contains(err.Error(), "--data DIR") {
		t.Errorf("got %v, want the next step", err)
	}
}
