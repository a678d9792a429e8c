// Overlay writes the file that go build -overlay takes to build netpilot-agent
// without packages of the standard library that it is linked with and has no
// use for: docs/decisions/0003-agent-size.md says what each is worth.
//
// In the place of each stands a package of the same name with what refers to
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
		out, err := exec.Command("go", "list", "-f", "{{.Dir}}", path).Output()
		if err != nil {
			return fmt.Errorf("find %s: %w", path, err)
		}
		from := strings.TrimSpace(string(out))
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
	text, err := json.MarshalIndent(map[string]any{"Replace": replace}, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "overlay.json"), append(text, '\n'), 0o644)
}
