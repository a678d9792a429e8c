// Oui builds the vendor table of pkg/oui from the IEEE registry as Debian's
// package ieee-data ships it: the same input makes the same bytes.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/netpilot/netpilot/pkg/oui"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return
		}
		fmt.Fprintln(os.Stderr, "oui:", err)
		os.Exit(1)
	}
}

func run(args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("oui", flag.ContinueOnError)
	in := flags.String("in", "/usr/share/ieee-data", "folder with oui.csv, mam.csv, oui36.csv and, if there, iab.csv")
	out := flags.String("out", "dist/oui", "table to write")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unknown argument %q", flags.Arg(0))
	}
	reg, err := readRegistry(*in)
	if err != nil {
		return err
	}
	date, err := readDate(*in)
	if err != nil {
		return err
	}
	table, err := oui.Build(reg.blocks(), date)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(*out), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(*out, table, 0o644); err != nil {
		return err
	}
	t, err := oui.Open(*out)
	if err != nil {
		return err
	}
	defer t.Close()
	info := t.Info()
	for _, f := range reg.files {
		_, _ = fmt.Fprintf(stdout, "%-9s %6d blocks, %d private, %d lines not understood\n", f.name, len(f.rows), f.private, f.bad)
	}
	day := "unknown date"
	if !info.Date.IsZero() {
		day = info.Date.Format(time.DateOnly)
	}
	_, err = fmt.Fprintf(stdout, "%s: %d bytes, %d blocks (%d of 24 bits, %d of 28, %d of 36), %d vendors, %s\n",
		*out, len(table), info.Entries, info.Large, info.Medium, info.Small, info.Vendors, day)
	return err
}

// readDate is when Debian took the registry: seconds since 1970 in .lastupdate;
// the zero time when that file is absent.
func readDate(dir string) (time.Time, error) {
	b, err := os.ReadFile(filepath.Join(dir, ".lastupdate"))
	if errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, nil
	} else if err != nil {
		return time.Time{}, err
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("read %s: want seconds since 1970: %w", filepath.Join(dir, ".lastupdate"), err)
	}
	return time.Unix(n, 0).UTC(), nil
}
