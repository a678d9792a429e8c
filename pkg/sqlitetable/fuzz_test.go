package sqlitetable_test

import (
	"os"
	"path/filepath"
	"testing"
)

// Whatever the bytes of database and log, reading ends, and faults are typed.
func FuzzOpen(f *testing.F) {
	paths, err := filepath.Glob("testdata/*.db")
	if err != nil || len(paths) == 0 {
		f.Fatalf("got %d recordings and %v, want some", len(paths), err)
	}
	for _, path := range paths {
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
