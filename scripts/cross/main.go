// Cross builds netpilot-agent for every router that Go can serve, and keeps
// the record of what the binaries weigh and import.
package main

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/netpilot/netpilot/scripts/target"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "cross:", err)
		os.Exit(1)
	}
}

type options struct {
	out, only, overlay, toolexec, tags, ldflags, report, deps string
	gcflags                                                   []string
	lines, check                                              bool
}

func run(args []string) error {
	var o options
	f := flag.NewFlagSet("cross", flag.ContinueOnError)
	f.StringVar(&o.out, "out", "dist", "folder for the binaries")
	f.StringVar(&o.only, "only", "", "build these targets only, separated by commas")
	f.StringVar(&o.overlay, "overlay", "", "file that says which source files stand in for others")
	f.StringVar(&o.toolexec, "toolexec", "", "program that starts the linker")
	f.BoolVar(&o.lines, "lines", false, "write only what scripts/lines needs")
	f.StringVar(&o.tags, "tags", "", "build tags")
	f.StringVar(&o.ldflags, "ldflags", "", "linker flags")
	f.Func("gcflags", "compiler flags, may be repeated", func(s string) error { o.gcflags = append(o.gcflags, s); return nil })
	f.StringVar(&o.report, "report", "", "Markdown file for the sizes")
	f.StringVar(&o.deps, "deps", "", "file for the agent's import list")
	f.BoolVar(&o.check, "check", false, "compare with --report and --deps instead of writing them")
	if err := f.Parse(args); err != nil {
		return err
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	if o.deps != "" {
		if err := o.imports(); err != nil {
			return err
		}
	}
	chosen := target.All()
	if o.only != "" {
		chosen = slices.DeleteFunc(chosen, func(t target.Target) bool { return !slices.Contains(strings.Split(o.only, ","), t.Name) })
	}
	rows := make([]row, 0, len(chosen))
	for _, t := range chosen {
		if o.lines {
			if err := o.writeLines(t); err != nil {
				return err
			}
			continue
		}
		r, err := o.build(t)
		if err != nil {
			return err
		}
		rows = append(rows, r)
	}
	switch {
	case o.lines || o.report == "":
		return nil
	case o.check:
		return o.compare(rows)
	}
	return o.write(rows)
}

// row is one line of the report, in bytes; xz is 0 where that program is
// missing.
type row struct {
	target.Target
	raw, gzip, xz int
}

func (o *options) build(t target.Target) (row, error) {
	path := filepath.Join(o.out, "netpilot-agent-"+t.Name)
	if err := o.compile(t, path, "-toolexec="+o.toolexec); err != nil {
		return row{}, err
	}
	binary, err := os.ReadFile(path)
	if err != nil {
		return row{}, err
	}
	r := row{Target: t, raw: len(binary)}
	if o.report != "" {
		if r.gzip, err = gzipped(binary); err != nil {
			return row{}, err
		}
		r.xz = xzed(binary)
	}
	fmt.Printf("%-9s %10d bytes  %s\n", t.Name, r.raw, path)
	return r, nil
}

func (o *options) compile(t target.Target, path string, more ...string) error {
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-overlay=" + o.overlay, "-tags=" + o.tags, "-ldflags=" + o.ldflags, "-o", path}, more...)
	for _, g := range o.gcflags {
		args = append(args, "-gcflags="+g)
	}
	cmd := exec.Command("go", append(args, "./agent")...)
	cmd.Env = append(os.Environ(), append([]string{"CGO_ENABLED=0", "GOOS=linux"}, t.Env...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", t.Name, err, out)
	}
	return nil
}

// writeLines keeps what scripts/lines reads: the table of functions as Go's own
// linker writes it for the same code. That program is never run: its runtime
// expects the other table.
func (o *options) writeLines(t target.Target) error {
	dir, err := os.MkdirTemp("", "netpilot-lines-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "agent")
	if err := o.compile(t, binary); err != nil {
		return err
	}
	f, err := elf.Open(binary)
	if err != nil {
		return err
	}
	defer f.Close()
	section := f.Section(".gopclntab")
	if section == nil {
		return fmt.Errorf("%s: the linker of this version of Go writes no section .gopclntab", t.Name)
	}
	table, err := section.Data()
	if err != nil {
		return err
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(table); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	path := filepath.Join(o.out, "netpilot-agent-"+t.Name+".lines")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		return err
	}
	fmt.Printf("%-9s %10d bytes  %s\n", t.Name, b.Len(), path)
	return nil
}

func gzipped(data []byte) (int, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return 0, err
	}
	if _, err := w.Write(data); err != nil {
		return 0, err
	}
	err = w.Close()
	return b.Len(), err
}

func xzed(data []byte) int {
	cmd := exec.Command("xz", "-9e", "-c")
	cmd.Stdin = bytes.NewReader(data)
	var n counter
	cmd.Stdout = &n
	if cmd.Run() != nil {
		return 0
	}
	return int(n)
}

type counter int

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

const head = `# What netpilot-agent weighs

Bytes of the binary per Go build, without symbols, file names and line numbers, plain, with ` + "`gzip -9` and `xz -9e`" + `. Made by ` + "`make size`" + `; ` + "`make check`" + ` builds
mipsle and fails when a figure is off by more than 1 %. The budget: mipsle at most 7,500,000 bytes plain and 3,000,000 gzip.

| build | raw | gzip | xz | OpenWrt architectures |
|---|---:|---:|---:|---|
`

func (o *options) write(rows []row) error {
	var b strings.Builder
	b.WriteString(head)
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %s |\n", r.Name, r.raw, r.gzip, r.xz, strings.Join(r.Archs, " "))
	}
	return os.WriteFile(o.report, []byte(b.String()), 0o644)
}

var line = regexp.MustCompile(`(?m)^\| (\S+) \| (\d+) \| (\d+) \|`)

// compare fails where the report does not say what was just built. Bytes
// differ a little with the version string; a new dependency is far more.
func (o *options) compare(rows []row) error {
	text, err := os.ReadFile(o.report)
	if err != nil {
		return err
	}
	said := make(map[string][2]int)
	for _, m := range line.FindAllStringSubmatch(string(text), -1) {
		raw, _ := strconv.Atoi(m[2]) // digits by the expression
		gz, _ := strconv.Atoi(m[3])
		said[m[1]] = [2]int{raw, gz}
	}
	for _, r := range rows {
		for i, now := range [2]int{r.raw, r.gzip} {
			was := said[r.Name][i]
			if diff := max(now-was, was-now); diff*100 > was {
				return fmt.Errorf("%s: %s says %d bytes, built %d; run make size", r.Name, o.report, was, now)
			}
		}
	}
	return nil
}

// imports writes or checks every package the agent is made of.
func (o *options) imports() error {
	cmd := exec.Command("go", "list", "-deps", "-overlay="+o.overlay, "-tags="+o.tags, "./agent")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=mipsle", "GOMIPS=softfloat")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("go list: %w", err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	slices.Sort(lines)
	want := strings.Join(lines, "\n") + "\n"
	if !o.check {
		return os.WriteFile(o.deps, []byte(want), 0o644)
	}
	got, err := os.ReadFile(o.deps)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if string(got) != want {
		return fmt.Errorf("%s does not list what the agent imports now; run make size:\n%s", o.deps, difference(string(got), want))
	}
	return nil
}

func difference(was, now string) string {
	var b strings.Builder
	report(&b, "-", was, now)
	report(&b, "+", now, was)
	return b.String()
}

func report(w io.Writer, mark, a, b string) {
	have := strings.Split(b, "\n")
	for l := range strings.SplitSeq(a, "\n") {
		if !slices.Contains(have, l) {
			fmt.Fprintf(w, "%s %s\n", mark, l)
		}
	}
}
