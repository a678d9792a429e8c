package atomicfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for i, mode := range []os.FileMode{0o600, 0o644} {
		text := strings.Repeat("x", i*1000)
		if err := Write(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != text {
			t.Errorf("got %q, %v, want %q", got, err, text)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != mode {
			t.Errorf("got mode %v, %v, want %v", info.Mode(), err, mode)
		}
	}
	if files, err := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("got %d files, %v, want one", len(files), err)
	}
}

func TestWriteFails(t *testing.T) {
	dir := t.TempDir()
	if err := Write(filepath.Join(dir, "none", "f"), nil, 0o600); err == nil || !strings.Contains(err.Error(), "none/f") {
		t.Errorf("got %v, want an error that names the file", err)
	}
	path := filepath.Join(dir, "d")
	if err := os.MkdirAll(filepath.Join(path, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, nil, 0o600); err == nil {
		t.Error("replaced a directory")
	}
	if files, err := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("got %d files, %v, want no temporary file left", len(files), err)
	}
}
