package sqlitetable_test

import (
	"os"
	"path/filepath"
	"testing"
)

// Whatever the bytes of database and log, reading ends, and faults are typed.
func FuzzOpen(f *testing.F) {
	add := func(path string) {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		log, err := os.ReadFile(path + "-wal")
		if err != nil && !os.IsNotExist(err) {
			f.Fatal(err)
		}
		f.Add(b, log)
	}
	add(small(f))
	add(newFile(f, "PRAGMA encoding = 'UTF-16be'", "PRAGMA page_size = 1024", "CREATE TABLE t (a TEXT)", "INSERT INTO t VALUES ('é𝄞'), (1), (2.5)"))
	path := filepath.Join(f.TempDir(), "wal.db")
	db := openOracle(f, path)
	for _, s := range []string{"PRAGMA page_size = 512", "PRAGMA journal_mode = WAL", "CREATE TABLE t (a)", "INSERT INTO t VALUES (zeroblob(1000))"} {
		exec(f, db, s)
	}
	add(copyFiles(f, path))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b, log []byte) {
		file, err := os.CreateTemp(dir, "")
		if err != nil {
			t.Fatal(err)
		}
		_ = file.Close()
		defer func() { _ = os.Remove(file.Name()) }()
		if err := os.WriteFile(file.Name(), b, 0o600); err != nil {
			t.Fatal(err)
		}
		if len(log) > 0 {
			defer func() { _ = os.Remove(file.Name() + "-wal") }()
			if err := os.WriteFile(file.Name()+"-wal", log, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		survive(t, file.Name())
	})
}
