// Lines puts file names and line numbers into the trace of a crashed
// netpilot-agent, whose program was built without them (see package table).
//
//	go run ./scripts/lines dist/netpilot-agent-mipsle.lines < trace.txt
//
// The file must be of the same build. `make cross` writes it anew from the
// sources of that version: builds are reproducible.
package main

import (
	"bufio"
	"compress/gzip"
	"debug/gosym"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: lines FILE.lines < trace")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "lines:", err)
		os.Exit(1)
	}
}

func run(path string, trace io.Reader, out io.Writer) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	z, err := gzip.NewReader(file)
	if err != nil {
		return fmt.Errorf("%s: %w; give the .lines file that make cross wrote", path, err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	t, err := gosym.NewTable(nil, gosym.NewLineTable(data, 0)) // addresses do not matter: traces count from the function
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return annotate(t, trace, out)
}

var (
	// call is a trace's line with a function: its name, and its arguments or
	// who made it.
	call = regexp.MustCompile(`^(?:created by )?(\S+?)(?:\([^()]*\)| in goroutine \d+)?$`)
	// place is the line below it.
	place = regexp.MustCompile(`^\t\?:0 \+0x([0-9a-f]+)`)
)

// annotate copies a trace with the places it lacks.
func annotate(t *gosym.Table, trace io.Reader, out io.Writer) error {
	w := bufio.NewWriter(out)
	lines := bufio.NewScanner(trace)
	found := 0
	var within *gosym.Func
	for lines.Scan() {
		text := lines.Text()
		if m := place.FindStringSubmatch(text); m != nil && within != nil {
			offset, err := strconv.ParseUint(m[1], 16, 32)
			if err == nil {
				// It is where a call returns to, one behind the call.
				file, line, _ := t.PCToLine(within.Entry + max(offset, 1) - 1)
				text = fmt.Sprintf("\t%s:%d%s", file, line, text[len("\t?:0"):])
				found++
			}
		}
		within = nil
		if m := call.FindStringSubmatch(text); m != nil {
			within = t.LookupFunc(m[1])
		}
		fmt.Fprintln(w, text)
	}
	if err := errors.Join(lines.Err(), w.Flush()); err != nil {
		return err
	}
	if found == 0 {
		return errors.New("nothing in the trace is of this program; a frame looks like `main.run(...)` and `\t?:0 +0x1c` below it")
	}
	return nil
}
