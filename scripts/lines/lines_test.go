package main

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// crashing crashes in a package's function, called by main and by a goroutine
// that a type's method started.
const crashing = `package main

import (
	"fmt"
	"os"
	"slices"
)

type list []int

func main() {
	slices.SortFunc(list{2, 1}, func(a, b int) int {
		done := make(chan bool)
		go list{len(os.Args)}.crash(done)
		<-done
		return 0
	})
}

func (l list) crash(done chan bool) {
	fmt.Println(len(l))
	var index []int
	index[l[0]]++ // here
	done <- true
}
`

// TestPlaces has a program built as the agent is crash, and finds its places in
// the table of the same program by Go's own linker.
func TestPlaces(t *testing.T) {
	dir := t.TempDir()
	overlay := filepath.Join(dir, "overlay")
	if out, err := exec.Command("go", "run", "../overlay", overlay).CombinedOutput(); err != nil {
		t.Fatalf("overlay: %v\n%s", err, out)
	}
	source := filepath.Join(dir, "main.go")
	if err := os.WriteFile(source, []byte(crashing), 0o644); err != nil {
		t.Fatal(err)
	}
	program := func(flags ...string) string {
		binary := filepath.Join(t.TempDir(), "crashing")
		build := exec.Command("go", append([]string{"build", "-trimpath", "-gcflags=-l", "-ldflags=-s -w", "-overlay=" + overlay + "/overlay.json", "-o", binary}, append(flags, source)...)...)
		build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOFLAGS=")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build: %v\n%s", err, out)
		}
		return binary
	}
	var trace bytes.Buffer
	cmd := exec.Command(program("-toolexec=" + overlay + "/toolexec"))
	cmd.Stderr = &trace
	if err := cmd.Run(); err == nil {
		t.Fatal("it did not crash")
	}
	if want := regexp.MustCompile(`main\.list\.crash\(\)\n\t\?:0 \+0x[0-9a-f]+`); !want.MatchString(trace.String()) {
		t.Fatalf("the trace is\n%s", trace.String())
	}

	lines := filepath.Join(dir, "crashing.lines")
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(tableOf(t, program())); err != nil || z.Close() != nil {
		t.Fatal("gzip failed")
	}
	if err := os.WriteFile(lines, packed.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	var told strings.Builder
	if err := run(lines, &trace, &told); err != nil {
		t.Fatal(err)
	}
	at := func(text string) string {
		return `\n\t\S*main\.go:` + strconv.Itoa(1+strings.Count(crashing[:strings.Index(crashing, text)], "\n")) + ` \+0x`
	}
	for _, want := range []string{
		`main\.list\.crash\(\)` + at("// here"),
		`created by main\.main\.func1 in goroutine 1` + at("go list{"),
		`main\.main\(\)` + at("slices.SortFunc("),
		`slices\.[a-zA-Z]+CmpFunc\[\.\.\.\]\(\)\n\tslices/zsortanyfunc\.go:\d+ \+0x`,
	} {
		if !regexp.MustCompile(want).MatchString(told.String()) {
			t.Errorf("with lines the trace has no %s:\n%s", want, told.String())
		}
	}
	if err := run(lines, strings.NewReader("nothing\n"), &told); err == nil || !strings.Contains(err.Error(), "nothing in the trace") {
		t.Errorf("a trace of another program: got error %v", err)
	}
	if err := run(source, &trace, &told); err == nil || !strings.Contains(err.Error(), "make lines") {
		t.Errorf("a file that is none: got error %v", err)
	}
}

func tableOf(t *testing.T, path string) []byte {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	table, err := f.Section(".gopclntab").Data()
	if err != nil {
		t.Fatal(err)
	}
	return table
}
