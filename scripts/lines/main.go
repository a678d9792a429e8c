// Lines puts file names and line numbers into the trace of a crashed
// netpilot-agent, whose program was linked without them (see scripts/overlay).
//
//	go run ./scripts/lines dist/netpilot-agent-mipsle.lines < trace.txt
//
// The file must be of the same build. `make lines` writes it from the sources
// of that version, with the same Go: builds are reproducible.
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
	"slices"
	"strconv"
	"strings"

	"github.com/netpilot/netpilot/scripts/overlay/short"
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
		return fmt.Errorf("%s: %w; give the .lines file that make lines wrote", path, err)
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

// annotate copies a trace with the places it lacks. A name that several
// functions have, as traces tell them, gets the place in each that is so long.
func annotate(t *gosym.Table, trace io.Reader, out io.Writer) error {
	known := make(map[string][]*gosym.Func)
	for i := range t.Funcs {
		f := &t.Funcs[i]
		known[short.Name(f.Name)] = append(known[short.Name(f.Name)], f)
	}
	w := bufio.NewWriter(out)
	lines := bufio.NewScanner(trace)
	found := 0
	var within []*gosym.Func
	for lines.Scan() {
		text := lines.Text()
		if m := place.FindStringSubmatch(text); m != nil && len(within) > 0 {
			if offset, err := strconv.ParseUint(m[1], 16, 32); err == nil {
				if places := placesIn(t, within, offset); places != "" {
					text = "\t" + places + text[len("\t?:0"):]
					found++
				}
			}
		}
		within = nil
		if m := call.FindStringSubmatch(text); m != nil {
			within = known[m[1]]
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

// placesIn says where a call returned to that lies so far into a function.
func placesIn(t *gosym.Table, in []*gosym.Func, offset uint64) string {
	var places []string
	for _, f := range in {
		if at := f.Entry + max(offset, 1) - 1; at < f.End { // one behind the call
			file, line, _ := t.PCToLine(at)
			if p := fmt.Sprintf("%s:%d", file, line); !slices.Contains(places, p) {
				places = append(places, p)
			}
		}
	}
	return strings.Join(places, " or ")
}
