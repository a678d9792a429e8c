// Overlay writes the file that go build -overlay takes to build netpilot-agent
// without packages of the standard library that it is linked with and has no
// use for, and with a runtime for small heaps; and it builds the linker for it,
// which leaves out what only traces have a use for. docs/decisions/0003-agent-size.md
// says what each is worth.
//
// In the place of each package stands one of the same name with what refers to
// it. A use of anything else fails to compile.
package main

import (
	"embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed standin short/short.go
var own embed.FS

// standIns are the files in the place of packages, or of parts of packages.
var standIns = []standIn{
	{"template.go", "text/template", nil}, // urfave/cli/v2 lays its help out with it
	{"regexp.go", "regexp", nil},          // urfave/cli/v2 has one expression
	{"http.go", "net/http", nil},          // gorilla/websocket is a server too, and this one has all of HTTP
	// gorilla/websocket compresses; the agent only reads what others packed.
	{"deflate.go", "compress/flate", []string{"deflate.go", "deflatefast.go", "huffman_bit_writer.go", "huffman_code.go", "token.go"}},
}

type standIn struct {
	file, pkg string
	instead   []string // files it replaces; nil for all
}

// edit is one change of a file of the Go distribution.
type edit struct {
	pkg, file, was, is string
	times              int // was is there
}

// changed are single lines of the standard library.
var changed = []edit{
	// Lists of spans, of which there are some 300, begin with room for a heap of
	// gigabytes.
	{"runtime", "mspanset.go", "spanSetBlockEntries = 512", "spanSetBlockEntries = 32", 1},
	{"runtime", "mspanset.go", "spanSetInitSpineCap = 256", "spanSetInitSpineCap = 32", 1},
	// Stacks begin small and grow, not as large as the average was, and fewer
	// wait for the next goroutine.
	{"runtime", "runtime1.go", "debug.adaptivestackstart = 1", "debug.adaptivestackstart = 0", 1},
	{"runtime", "malloc.go", "_StackCacheSize = 32 * 1024", "_StackCacheSize = 8 * 1024", 1},
	// A sort of a fifth of the code, for it is compiled anew for every type.
	{"slices", "sort.go", "pdqsortOrdered(x, 0, n, bits.Len(uint(n)))", "heapSortOrdered(x, 0, n)", 1},
	{"slices", "sort.go", "pdqsortCmpFunc(x, 0, n, bits.Len(uint(n)), cmp)", "heapSortCmpFunc(x, 0, n, cmp)", 1},
	// What the linker leaves out of each function's part (see linker.go).
	{"runtime", "runtime2.go", "pcfile    uint32\n\tpcln      uint32\n", "", 1},
	{"runtime", "runtime2.go", "cuOffset  uint32     // runtime.cutab offset of this function's CU\n\tstartLine int32      // line number of start of function (func keyword/TEXT directive)\n", "", 1},
	{"runtime", "symtab.go", "fn.funcInfo().startLine", "0", 1},
	{"runtime", "symtab.go", "f.nameOff, f.startLine, f.funcID", "f.nameOff, 0, f.funcID", 1},
	{"runtime", "symtab.go", "f.cuOffset+uint32(fileno)", "fileno", 1},
	{"runtime", "symtab.go", "fileno, _ := pcvalue(f, f.pcfile, targetpc, strict)\n\tline, _ = pcvalue(f, f.pcln, targetpc, strict)", "fileno := int32(-1)", 1},
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: overlay DIR  # writes DIR/overlay.json, link, toolexec and what they need")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "overlay:", err)
		os.Exit(1)
	}
}

func run(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	replace := make(map[string]string)
	for _, in := range standIns {
		from, err := folder(in.pkg)
		if err != nil {
			return err
		}
		names := in.instead
		if names == nil {
			if names, err = sources(from); err != nil {
				return err
			}
		}
		for _, name := range names {
			path := filepath.Join(from, name)
			if _, err := os.Stat(path); err != nil {
				return fmt.Errorf("%w; is this another version of Go?", err)
			}
			replace[path] = "" // as if it were not there
		}
		text, err := own.ReadFile("standin/" + in.file + ".txt")
		if err != nil {
			return err
		}
		if replace[filepath.Join(from, in.file)], err = write(dir, in.file, string(text)); err != nil {
			return err
		}
	}
	if err := apply(dir, changed, replace); err != nil {
		return err
	}
	if _, err := writeOverlay(dir, "overlay.json", replace); err != nil {
		return err
	}
	return linker(dir)
}

// write writes a file that stands in, and gives its path.
func write(dir, name, text string) (string, error) {
	path := filepath.Join(dir, name)
	return path, os.WriteFile(path, []byte(text), 0o644)
}

// writeOverlay writes a file for go build -overlay, and gives its path.
func writeOverlay(dir, name string, replace map[string]string) (string, error) {
	text, err := json.MarshalIndent(map[string]any{"Replace": replace}, "", "\t")
	if err != nil {
		return "", err
	}
	return write(dir, name, string(text)+"\n")
}

// sources are the names of a package's files.
func sources(dir string) (names []string, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	for _, f := range files {
		if !strings.HasSuffix(f, "_test.go") {
			names = append(names, filepath.Base(f))
		}
	}
	if err == nil && len(names) == 0 {
		err = fmt.Errorf("%s has no files; is this a whole Go installation?", dir)
	}
	return names, err
}

// folder is where a package's files are.
func folder(path string) (string, error) {
	out, err := exec.Command("go", "list", "-f", "{{.Dir}}", path).Output()
	if err != nil {
		return "", fmt.Errorf("find %s: %w", path, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// apply adds changed files of Go to what is replaced. A text that is not there,
// in a Go of another version, is an error: the figures in docs would no longer
// be true.
func apply(dir string, edits []edit, replace map[string]string) error {
	for _, e := range edits {
		from, err := folder(e.pkg)
		if err != nil {
			return err
		}
		path := filepath.Join(from, e.file)
		now := replace[path]
		if now == "" {
			now = path
		}
		text, err := os.ReadFile(now)
		if err != nil {
			return err
		}
		if n := strings.Count(string(text), e.was); n != e.times {
			return fmt.Errorf("%s has %q %d times, want %d; is this another version of Go?", path, e.was, n, e.times)
		}
		name := strings.ReplaceAll(e.pkg, "/", "_") + "_" + e.file
		if replace[path], err = write(dir, name, strings.ReplaceAll(string(text), e.was, e.is)); err != nil {
			return err
		}
	}
	return nil
}
