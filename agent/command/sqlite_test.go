//go:build amd64 || arm64

package command

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	_ "modernc.org/sqlite" // writes the files; the agent has no engine
)

// TestSQLiteFiles: dump --source FILE and nlbw -d FILE read an SQLite file
// without an engine, and say why where they cannot.
func TestSQLiteFiles(t *testing.T) {
	const (
		table  = "CREATE TABLE usage (mac PRIMARY KEY, bytes_rx, bytes_tx, hostname, layer7)"
		device = "02:77:00:00:00:21"
		insert = "INSERT INTO usage VALUES ('" + device + "', 1000, 2000, '=cmd()', 'HTTPS')"
	)
	for _, tt := range []struct {
		name  string
		sql   []string
		spoil func(t *testing.T, db *sql.DB, path string)
		want  string // of the complaint; "" where the file is read
	}{
		{"whole", []string{table, insert}, nil, ""},
		{"in its log", []string{"PRAGMA journal_mode=WAL", table, insert}, func(*testing.T, *sql.DB, string) {}, ""}, // stays open: the log stays
		{"locked", []string{table, insert}, func(t *testing.T, db *sql.DB, path string) {
			_ = db.Close()
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = f.Close() })
			// What a writer holds while it writes (SQLite's os.h), but of this file
			// alone: a process loses its common locks when it closes the file anywhere.
			lock := unix.Flock_t{Type: unix.F_WRLCK, Start: 0x40000000 + 2, Len: 510}
			if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock); err != nil {
				t.Fatal(err)
			}
		}, "is being written"},
		{"hot journal", []string{table, insert}, func(t *testing.T, _ *sql.DB, path string) {
			// A head that says it belongs to this file (fileformat2.html, section 3).
			journal := append([]byte("\xd9\xd5\x05\xf9\x20\xa1\x63\xd7\x00\x00\x00\x01"), make([]byte, 8192)...)
			if err := os.WriteFile(path+"-journal", journal, 0o644); err != nil {
				t.Fatal(err)
			}
		}, "unfinished change needs rollback"},
		{"without rowid", []string{table + " WITHOUT ROWID", insert}, nil, "WITHOUT ROWID"},
		{"damaged", []string{table, insert}, func(t *testing.T, _ *sql.DB, path string) {
			if err := os.Truncate(path, 4096+100); err != nil {
				t.Fatal(err)
			}
		}, "database cut off"},
		{"another table", []string{"CREATE TABLE notes (a, b)"}, nil, "it takes columns mac, bytes_rx and bytes_tx (tables: notes)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "nlbw.db")
			db, err := sql.Open("sqlite", path)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			for _, s := range tt.sql {
				if _, err := db.Exec(s); err != nil {
					t.Fatalf("%s: %v", s, err)
				}
			}
			if tt.spoil == nil {
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
			} else {
				tt.spoil(t, db, path)
			}
			root := fakeRouter(t)
			protocols := filepath.Join(root, "usr/share/nlbwmon/protocols")
			if err := os.MkdirAll(filepath.Dir(protocols), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(protocols, []byte("6 443 HTTPS\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			for _, args := range [][]string{
				{"--root", root, "dump", "--source", path, "--format", "csv"},
				{"--root", root, "dump", "--source", path, "--by", "record", "--format", "csv"},
				{"--root", root, "nlbw", "-c", "csv", "-d", path},
			} {
				exit, stdout, stderr := runAgent(t, args...)
				if tt.want == "" {
					if exit != exitDone || !strings.Contains(stdout, device) || !strings.Contains(stdout, "1000") || strings.Contains(stdout, ",=cmd") ||
						args[len(args)-3] == "record" && !strings.Contains(stdout, "\n,6,443,"+device+",,HTTPS,1000") {
						t.Errorf("%q: exit code %d, %s%s", args, exit, stdout, stderr)
					}
					continue
				}
				if exit != exitFailed || strings.Contains(stdout, device) || !strings.Contains(stderr, tt.want) || !strings.Contains(stderr, path) {
					t.Errorf("%q: exit code %d, %s%s; want %q", args, exit, stdout, stderr, tt.want)
				}
			}
		})
	}
}
