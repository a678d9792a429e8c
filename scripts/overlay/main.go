// Overlay writes the file that go build -overlay takes to build netpilot-agent
// without the standard library's text/template, of which the agent prints
// nothing: docs/decisions/0003-agent-size.md says what that is worth.
//
// In its place stands a package of the same name that has what urfave/cli/v2
// refers to and whose templates refuse to print. A use of anything else fails
// to compile.
package main

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed template.go.txt
var standIn []byte

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
	out, err := exec.Command("go", "list", "-f", "{{.Dir}}", "text/template").Output()
	if err != nil {
		return fmt.Errorf("find text/template: %w", err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "*.go"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return errors.New("text/template has no files; is this a whole Go installation?")
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	ours := filepath.Join(dir, "template.go")
	if err := os.WriteFile(ours, standIn, 0o644); err != nil {
		return err
	}
	replace := make(map[string]string)
	for _, f := range files {
		if !strings.HasSuffix(f, "_test.go") {
			replace[f] = "" // as if it were not there
		}
	}
	replace[filepath.Join(filepath.Dir(files[0]), "template.go")] = ours
	text, err := json.MarshalIndent(map[string]any{"Replace": replace}, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "overlay.json"), append(text, '\n'), 0o644)
}
