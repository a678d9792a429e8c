package command

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

// formatFlag is --format, which every list has.
func formatFlag() cli.Flag {
	return &cli.StringFlag{
		Name:        "format",
		Usage:       "print as `FORMAT`: table or json",
		DefaultText: "table on a terminal, json elsewhere",
	}
}

// isTable tells whether to print a table, and else JSON.
func (p *program) isTable(c *cli.Context) (bool, error) {
	switch format := c.String("format"); format {
	case "table":
		return true, nil
	case "json":
		return false, nil
	case "":
		f, ok := p.stdout.(*os.File)
		return ok && term.IsTerminal(int(f.Fd())), nil
	default:
		return false, misusef(c, "--format is table or json, not %q", format)
	}
}

// printTable aligns rows below a head. Cells hold no control characters:
// names were cleaned when they came in.
func printTable(w io.Writer, head string, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(strings.Fields(head), "\t"))
	for _, row := range rows {
		for i, cell := range row {
			if cell == "" {
				row[i] = "-"
			}
		}
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	return t.Flush()
}

// printJSON prints a list for programs.
func printJSON(w io.Writer, list any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(list)
}

// stamp is a time in a table, to the second in local time; "" for never.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(time.DateTime)
}

// unlessZero is a time in JSON: null for never.
func unlessZero(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
