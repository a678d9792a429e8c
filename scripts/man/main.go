// Man writes netpilot-agent.8 from what the program's --help says, so that the
// two cannot differ. The page is not shipped in the package.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "man:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	f := flag.NewFlagSet("man", flag.ContinueOnError)
	agent := f.String("agent", "bin/netpilot-agent", "the program")
	out := f.String("out", "dist/netpilot-agent.8", "page to write")
	epoch := f.Int64("epoch", 0, "the commit's time, in seconds since 1970")
	version := f.String("version", "", "of the program")
	if err := f.Parse(args); err != nil {
		return err
	}
	help := func(verb ...string) (string, error) {
		text, err := exec.Command(*agent, append(verb, "--help")...).Output()
		if err != nil {
			return "", fmt.Errorf("%s %s --help: %w", *agent, strings.Join(verb, " "), err)
		}
		return string(text), nil
	}
	var b bytes.Buffer
	if err := page(&b, help, *version, time.Unix(*epoch, 0).UTC()); err != nil {
		return err
	}
	return os.WriteFile(*out, b.Bytes(), 0o644)
}

// page asks for the help of the program and of each of its commands.
func page(w io.Writer, help func(verb ...string) (string, error), version string, date time.Time) error {
	text, err := help()
	if err != nil {
		return err
	}
	top := parse(text)
	name, about, ok := strings.Cut(top.title, " - ")
	if !ok || len(top.section("Commands")) == 0 {
		return fmt.Errorf("no title or no commands in the help:\n%s", text)
	}
	fmt.Fprintf(w, ".TH %s 8 %s %s\n.SH NAME\n%s \\- %s\n.SH SYNOPSIS\n", strings.ToUpper(name), date.Format(time.DateOnly), quote(name+" "+version), escape(name), escape(about))
	verbatim(w, top.section("Usage"))
	fmt.Fprint(w, ".SH OPTIONS\n")
	verbatim(w, top.section("Options"))
	fmt.Fprint(w, ".SH EXAMPLES\n")
	verbatim(w, top.section("Examples"))
	fmt.Fprint(w, ".SH COMMANDS\n")
	for _, line := range top.section("Commands") {
		verb := strings.Fields(line)[0]
		if text, err = help(verb); err != nil {
			return err
		}
		one := parse(text)
		_, about, _ := strings.Cut(one.title, " - ")
		fmt.Fprintf(w, ".SS %s\n%s\n", escape(verb), escape(about))
		for _, s := range one.sections {
			if s.name != "" {
				fmt.Fprintf(w, ".PP\n%s:\n", escape(s.name))
			}
			verbatim(w, s.lines)
		}
	}
	_, err = fmt.Fprint(w, ".SH EXIT STATUS\n0 done, 1 failed, 2 misuse; the command nlbw has those of stock nlbw.\n"+
		".SH FILES\n.TP\n/etc/config/netpilot\nthe options, each explained in the file\n"+
		".TP\n/etc/netpilot/\nidentity and secret, and the history's copy on flash\n.TP\n/tmp/netpilot/\nthe history\n"+
		".SH SEE ALSO\nnlbw(8), logread(1)\n")
	return err
}

type helpText struct {
	title    string
	sections []helpSection
}

// helpSection has a name where the help has a heading.
type helpSection struct {
	name  string
	lines []string
}

func (h *helpText) section(name string) []string {
	for _, s := range h.sections {
		if s.name == name {
			return s.lines
		}
	}
	return nil
}

// parse takes a help apart: a title, then paragraphs; one that begins with a
// word and a colon has that for its heading, and blanks before its lines.
func parse(text string) *helpText {
	title, rest, _ := strings.Cut(strings.TrimSpace(text), "\n")
	h := &helpText{title: title}
	for part := range strings.SplitSeq(strings.TrimSpace(rest), "\n\n") {
		lines := strings.Split(part, "\n")
		s := helpSection{lines: lines}
		if name, ok := strings.CutSuffix(lines[0], ":"); ok && !strings.Contains(name, " ") {
			s = helpSection{name: name, lines: lines[1:]}
		}
		h.sections = append(h.sections, s)
	}
	return h
}

// verbatim keeps lines as they are: the help is laid out for a terminal.
func verbatim(w io.Writer, lines []string) {
	fmt.Fprint(w, ".nf\n")
	for _, l := range lines {
		fmt.Fprintf(w, "%s\n", escape(l))
	}
	fmt.Fprint(w, ".fi\n")
}

// escape keeps troff from reading a backslash, a dash or a line's first dot as
// its own.
func escape(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}

func quote(s string) string { return `"` + strings.ReplaceAll(s, `"`, `\(dq`) + `"` }
