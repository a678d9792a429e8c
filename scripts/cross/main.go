// Cross builds netpilot-agent for every router that Go can serve, and keeps
// the record of what the binaries weigh and import.
package main

import (
	"bytes"
	"compress/gzip"
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
)

// target is one Go build; it serves several OpenWrt package architectures.
type target struct {
	name  string
	env   []string
	archs string
}

func targets() []target {
	return []target{
		{"mips", []string{"GOARCH=mips", "GOMIPS=softfloat"}, "mips_24kc mips_4kec mips_mips32"},
		{"mipsle", []string{"GOARCH=mipsle", "GOMIPS=softfloat"}, "mipsel_24kc mipsel_74kc mipsel_mips32 mipsel_24kc_24kf"},
		{"mips64", []string{"GOARCH=mips64", "GOMIPS64=softfloat"}, "mips64_octeonplus mips64_mips64r2"},
		{"mips64le", []string{"GOARCH=mips64le", "GOMIPS64=softfloat"}, "mips64el_mips64r2"},
		{"armv5", []string{"GOARCH=arm", "GOARM=5"}, "arm_arm926ej-s arm_xscale arm_fa526 arm_cortex-a7 arm_cortex-a9"},
		{"armv6", []string{"GOARCH=arm", "GOARM=6"}, "arm_arm1176jzf-s_vfp"},
		{"armv7", []string{"GOARCH=arm", "GOARM=7"}, "arm_cortex-a5_vfpv4 arm_cortex-a7_vfpv4 arm_cortex-a7_neon-vfpv4 arm_cortex-a8_vfpv3 " +
			"arm_cortex-a9_vfpv3-d16 arm_cortex-a9_neon arm_cortex-a15_neon-vfpv4"},
		{"arm64", []string{"GOARCH=arm64"}, "aarch64_generic aarch64_cortex-a53 aarch64_cortex-a72 aarch64_cortex-a76"},
		{"386", []string{"GOARCH=386", "GO386=softfloat"}, "i386_pentium-mmx i386_pentium4"},
		{"amd64", []string{"GOARCH=amd64"}, "x86_64"},
		{"riscv64", []string{"GOARCH=riscv64"}, "riscv64_generic riscv64_riscv64"},
		{"loong64", []string{"GOARCH=loong64"}, "loongarch64_generic"},
	}
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "cross:", err)
		os.Exit(1)
	}
}

type options struct {
	out, only, overlay, tags, ldflags, report, deps string
	gcflags                                         []string
	check                                           bool
}

func run(args []string) error {
	var o options
	f := flag.NewFlagSet("cross", flag.ContinueOnError)
	f.StringVar(&o.out, "out", "dist", "folder for the binaries")
	f.StringVar(&o.only, "only", "", "build these targets only, separated by commas")
	f.StringVar(&o.overlay, "overlay", "", "file that says which source files stand in for others")
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
	chosen := targets()
	if o.only != "" {
		chosen = slices.DeleteFunc(chosen, func(t target) bool { return !slices.Contains(strings.Split(o.only, ","), t.name) })
	}
	rows := make([]row, 0, len(chosen))
	for _, t := range chosen {
		r, err := o.build(t)
		if err != nil {
			return err
		}
		rows = append(rows, r)
	}
	switch {
	case o.report == "":
		return nil
	case o.check:
		return o.compare(rows)
	}
	return o.write(rows)
}

// row is one line of the report, in bytes; xz is 0 where that program is
// missing.
type row struct {
	target
	raw, gzip, xz int
}

func (o *options) build(t target) (row, error) {
	path := filepath.Join(o.out, "netpilot-agent-"+t.name)
	args := []string{"build", "-trimpath", "-buildvcs=false", "-overlay=" + o.overlay, "-tags=" + o.tags, "-ldflags=" + o.ldflags, "-o", path}
	for _, g := range o.gcflags {
		args = append(args, "-gcflags="+g)
	}
	cmd := exec.Command("go", append(args, "./agent")...)
	cmd.Env = append(os.Environ(), append([]string{"CGO_ENABLED=0", "GOOS=linux"}, t.env...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return row{}, fmt.Errorf("build %s: %w\n%s", t.name, err, out)
	}
	binary, err := os.ReadFile(path)
	if err != nil {
		return row{}, err
	}
	r := row{target: t, raw: len(binary)}
	if o.report != "" {
		if r.gzip, err = gzipped(binary); err != nil {
			return row{}, err
		}
		r.xz = xzed(binary)
	}
	fmt.Printf("%-9s %10d bytes  %s\n", t.name, r.raw, path)
	return r, nil
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

Bytes of the stripped binary per Go build, plain, with ` + "`gzip -9` and `xz -9e`" + `. Made by ` + "`make size`" + `; ` + "`make check`" + ` builds
mipsle and fails when a figure is off by more than 1 %. The budget: mipsle at most 3,000,000 bytes gzip.

| build | raw | gzip | xz | OpenWrt architectures |
|---|---:|---:|---:|---|
`

func (o *options) write(rows []row) error {
	var b strings.Builder
	b.WriteString(head)
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %s |\n", r.name, r.raw, r.gzip, r.xz, r.archs)
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
			was := said[r.name][i]
			if diff := max(now-was, was-now); diff*100 > was {
				return fmt.Errorf("%s: %s says %d bytes, built %d; run make size", r.name, o.report, was, now)
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
