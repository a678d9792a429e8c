package main

import (
	"bytes"
	"compress/gzip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/netpilot/netpilot/scripts/lines/table"
)

// crashing does what the runtime needs its tables for - stacks that grow,
// collections of garbage with live pointers, recovered panics, traces - and
// then crashes.
const crashing = `package main

import (
	"fmt"
	"os"
	"runtime"
)

type node struct {
	next *node
	pad  [100]byte
}

func deep(n int, list *node) int {
	if n == 0 {
		runtime.GC()
		return 0
	}
	var pad [64]byte
	pad[n%64] = 1
	return deep(n-1, &node{next: list}) + int(pad[n%64])
}

func recovered() (err error) {
	defer func() { err = fmt.Errorf("recovered %v", recover()) }()
	var none *node
	none.next = nil
	return nil
}

func main() {
	fmt.Println(deep(10000, nil), recovered())
	_, file, line, ok := runtime.Caller(0)
	fmt.Println(file, line, ok)
	crash(len(os.Args))
}

func crash(n int) {
	panic(n) // here
}
`

func TestStrip(t *testing.T) {
	dir := t.TempDir()
	source, binary := filepath.Join(dir, "main.go"), filepath.Join(dir, "crashing")
	if err := os.WriteFile(source, []byte(crashing), 0o644); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-trimpath", "-gcflags=-l", "-ldflags=-s -w", "-o", binary, source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	program, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	whole := bytes.Clone(program)
	before, err := table.Strip(program)
	if err != nil {
		t.Fatal(err)
	}
	if len(program) != len(whole) || !bytes.Contains(whole, before) || bytes.Contains(program, before) {
		t.Error("the program changed its size, or the table is not the program's")
	}
	if was, is := zipped(t, whole), zipped(t, program); is > was*95/100 {
		t.Errorf("compressed %d bytes, before %d: lines are still there", is, was)
	}
	if err := os.WriteFile(binary, program, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary)
	var out, trace bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &trace
	if err := cmd.Run(); err == nil {
		t.Error("it did not crash")
	}
	if want := "10000 recovered runtime error: invalid memory address or nil pointer dereference\n? 0 true\n"; out.String() != want {
		t.Errorf("it printed %q, want %q", out.String(), want)
	}
	if want := regexp.MustCompile(`main\.crash\([^)]*\)\n\t\?:0 \+0x[0-9a-f]+`); !want.MatchString(trace.String()) {
		t.Errorf("the trace is\n%s", trace.String())
	}

	lines := filepath.Join(dir, "crashing.lines")
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(before); err != nil || z.Close() != nil {
		t.Fatal("gzip failed")
	}
	if err := os.WriteFile(lines, packed.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	var told strings.Builder
	if err := run(lines, &trace, &told); err != nil {
		t.Fatal(err)
	}
	at := 1 + strings.Count(crashing[:strings.Index(crashing, "// here")], "\n")
	if want := regexp.MustCompile(`main\.crash\([^)]*\)\n\t\S*main\.go:` + strconv.Itoa(at) + ` \+0x`); !want.MatchString(told.String()) {
		t.Errorf("with lines the trace is\n%s", told.String())
	}
	if err := run(lines, strings.NewReader("nothing\n"), &told); err == nil || !strings.Contains(err.Error(), "nothing in the trace") {
		t.Errorf("a trace of another program: got error %v", err)
	}
}

func zipped(t *testing.T, data []byte) int {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Len()
}

// What is no program of a known Go is refused, and left as it was.
func TestStripRefuses(t *testing.T) {
	self, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	before, err := table.Strip(bytes.Clone(self))
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(self, before)
	broken := func(edit func(table []byte)) []byte {
		b := bytes.Clone(self)
		edit(b[at : at+len(before)])
		return b
	}
	for name, program := range map[string][]byte{
		"no ELF":            []byte("#!/bin/sh\n"),
		"another version":   broken(func(b []byte) { b[0] ^= 1 }),
		"another word size": broken(func(b []byte) { b[7] = 2 }),
		"too many":          broken(func(b []byte) { b[8+5] = 0xff }),
		"too far":           broken(func(b []byte) { b[8+7*8+5] = 1 }),
	} {
		was := bytes.Clone(program)
		if _, err := table.Strip(program); err == nil || !bytes.Equal(was, program) {
			t.Errorf("%s: got error %v", name, err)
		}
	}
}
