package sample

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestDaemon(t *testing.T) {
	root := t.TempDir()
	if got := Daemon(root); got != 0 {
		t.Errorf("got %v without any process", got)
	}
	write := func(path, text string) {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const tail = " S 1 1 1 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 "
	write("proc/7/comm", "sh\n")
	write("proc/812/comm", "nlbwmon\n")
	write("proc/812/stat", "812 (nlb) mon)"+tail+"5512 1000 200\n")
	if got, want := Daemon(root), 55120*time.Millisecond; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	write("proc/812/stat", "812 (nlb")
	if got := Daemon(root); got != 0 {
		t.Errorf("got %v of half a line", got)
	}
}

func TestBootClock(t *testing.T) {
	a, err := BootClock("/")
	if err != nil {
		t.Skipf("no boot id here: %v", err)
	}
	b, err := BootClock("/")
	if err != nil || a.Boot != b.Boot || len(a.Boot) != 36 || b.Since < a.Since || a.Since <= 0 {
		t.Errorf("got %+v, then %+v, %v", a, b, err)
	}
}
