package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// hard takes lists of spans far past their first size: objects of all sizes,
// kept and dropped by several goroutines, with collections in between.
const hard = `package main

import (
	"runtime"
	"sync"
)

type kept struct {
	size  int
	bytes []byte
	next  *kept
}

func main() {
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			var list *kept
			for i := range 100000 {
				size := 8 << (i % 12) // to 16 KiB
				k := &kept{size: size, bytes: make([]byte, size), next: list}
				k.bytes[0], k.bytes[size-1] = byte(i), byte(g)
				if list = k; i%977 == 0 {
					list = list.next.half()
				}
				if i%20000 == 0 {
					runtime.GC()
				}
			}
			for k := list; k != nil; k = k.next {
				if len(k.bytes) != k.size || k.bytes[k.size-1] != byte(g) {
					panic("memory was used twice")
				}
			}
		})
	}
	all.Wait()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	println("done", m.NumGC > 4)
}

// half drops every second of a list.
func (k *kept) half() *kept {
	for i := k; i != nil && i.next != nil; i = i.next {
		i.next = i.next.next
	}
	return k
}
`

// TestResized: the runtime with other constants builds, and works.
func TestResized(t *testing.T) {
	dir := t.TempDir()
	if err := run(filepath.Join(dir, "overlay")); err != nil {
		t.Fatal(err)
	}
	source, binary := filepath.Join(dir, "main.go"), filepath.Join(dir, "hard")
	if err := os.WriteFile(source, []byte(hard), 0o644); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-overlay="+filepath.Join(dir, "overlay", "overlay.json"), "-o", binary, source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	if out, err := exec.Command(binary).CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "done true" {
		t.Errorf("it ended with %v:\n%s", err, out)
	}
}

// A Go without these constants is refused.
func TestResizeRefuses(t *testing.T) {
	dir := t.TempDir()
	from, err := folder("runtime")
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "mspanset.go")
	if err := os.WriteFile(other, []byte("package runtime\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	err = resize(dir, map[string]string{filepath.Join(from, "mspanset.go"): other})
	if err == nil || !strings.Contains(err.Error(), "another version of Go") {
		t.Errorf("got error %v", err)
	}
}
