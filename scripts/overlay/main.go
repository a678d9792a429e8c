// Overlay writes the file that go build -overlay takes to build netpilot-agent
// without packages of the standard library that it is linked with and has no
// use for, and with a runtime for small heaps: docs/decisions/0003-agent-size.md
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

//go:embed standin
var standIns embed.FS

// replaced are the packages, by the files that stand in.
var replaced = map[string]string{
	"template.go": "text/template",                // urfave/cli/v2 lays its help out with it
	"regexp.go":   "regexp",                       // urfave/cli/v2 has one expression
	"idna.go":     "vendor/golang.org/x/net/idna", // net/http writes foreign host names with it
}

// resized are the constants of package runtime that are for heaps of gigabytes:
// lists of spans, of which there are some 300, begin with room for so many.
var resized = []struct{ file, was, is string }{
	{"mspanset.go", "spanSetBlockEntries = 512", "spanSetBlockEntries = 32"},
	{"mspanset.go", "spanSetInitSpineCap = 256", "spanSetInitSpineCap = 32"},
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: overlay DIR  # writes DIR/overlay.json and what it names")
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
	for name, path := range replaced {
		from, err := folder(path)
		if err != nil {
			return err
		}
		files, err := filepath.Glob(filepath.Join(from, "*.go"))
		if err != nil {
			return err
		}
		if len(files) == 0 {
			return fmt.Errorf("%s has no files; is this a whole Go installation?", path)
		}
		for _, f := range files {
			if !strings.HasSuffix(f, "_test.go") {
				replace[f] = "" // as if it were not there
			}
		}
		text, err := standIns.ReadFile("standin/" + name + ".txt")
		if err != nil {
			return err
		}
		ours := filepath.Join(dir, name)
		if err := os.WriteFile(ours, text, 0o644); err != nil {
			return err
		}
		replace[filepath.Join(from, name)] = ours
	}
	if err := resize(dir, replace); err != nil {
		return err
	}
	text, err := json.MarshalIndent(map[string]any{"Replace": replace}, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "overlay.json"), append(text, '\n'), 0o644)
}

// folder is where a package's files are.
func folder(path string) (string, error) {
	out, err := exec.Command("go", "list", "-f", "{{.Dir}}", path).Output()
	if err != nil {
		return "", fmt.Errorf("find %s: %w", path, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// resize adds the runtime's files with other constants. A constant that is not
// there, in a Go of another version, is an error: the figures in docs would no
// longer be true.
func resize(dir string, replace map[string]string) error {
	from, err := folder("runtime")
	if err != nil {
		return err
	}
	for _, c := range resized {
		path := filepath.Join(from, c.file)
		now := replace[path]
		if now == "" {
			now = path
		}
		text, err := os.ReadFile(now)
		if err != nil {
			return err
		}
		if n := strings.Count(string(text), c.was); n != 1 {
			return fmt.Errorf("%s has %q %d times, want once; is this another version of Go?", path, c.was, n)
		}
		ours := filepath.Join(dir, "runtime_"+c.file)
		if err := os.WriteFile(ours, []byte(strings.Replace(string(text), c.was, c.is, 1)), 0o644); err != nil {
			return err
		}
		replace[path] = ours
	}
	return nil
}
