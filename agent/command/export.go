package command

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/netpilot/netpilot/agent/local"
	"github.com/netpilot/netpilot/pkg/usage"
)

func (p *program) export() *cli.Command {
	return &cli.Command{
		Name:  "export",
		Usage: "write the history of a span, however long, as CSV or JSON",
		Description: examples(
			"netpilot-agent export --days 30 --by device -o month.csv", "a month for a spreadsheet",
			"netpilot-agent export --from 2026-11-01 --to 2026-12-01 --resolution 5m --format json > nov.json", "all that is kept",
		) + "\n\nIt is read day by day: memory does not grow with the span. A file appears when it is whole." +
			"\nThe daemon keeps the history; it must run.",
		Flags: append(rowFlags("device"),
			&cli.StringFlag{Name: "format", Value: "csv", Usage: "`F`: csv or json"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write to `FILE` (default: stdout)"},
		),
		Action: p.runExport,
	}
}

func (p *program) runExport(c *cli.Context) error {
	format := c.String("format")
	if err := oneOf("format", format, "csv", "json"); err != nil {
		return err
	}
	params := spanOf(c)
	params["by"] = c.String("by")
	r, err := p.router(c)
	if err != nil {
		return err
	}
	conn, err := local.Dial(c.Context, r.path(local.Path))
	if err != nil {
		return err
	}
	defer conn.Close()
	x := &exporter{ctx: c.Context, conn: conn, params: params, location: r.agent.Router.Location}
	// The first answer fixes the span, whatever the clock does meanwhile.
	params["limit"] = 1
	if err := x.ask(&x.head); err != nil {
		return err
	}
	params["limit"] = 0
	p.warn(x.head.Counting)
	write := x.csv
	if format == "json" {
		write = x.json
	}
	if err := p.toFile(c.String("output"), write); err != nil {
		return err
	}
	for _, g := range x.head.Gaps {
		fmt.Fprintf(p.stderr, "unknown: %s to %s, %s\n", g.From.Format(time.RFC3339), g.To.Format(time.RFC3339), usage.Clean(g.Reason, 200))
	}
	return nil
}

// toFile has write fill path, or stdout if that is "" or "-". A file is there
// when it is whole, and not at all where write fails.
func (p *program) toFile(path string, write func(io.Writer) error) (err error) {
	if path == "" || path == "-" {
		return write(p.stdout)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	defer func() {
		f.Close() // a second Close only fails
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if err := write(f); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	return os.Rename(f.Name(), path)
}

// exporter asks for the history piece by piece.
type exporter struct {
	ctx      context.Context
	conn     *local.Conn
	params   map[string]any
	location *time.Location
	head     timeline // of the whole span, without its buckets
}

func (x *exporter) ask(v any) error {
	text, err := json.Marshal(x.params)
	if err != nil {
		return err
	}
	reply, err := x.conn.Call(x.ctx, "usage.history", text)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(reply, v); err != nil {
		return fmt.Errorf("read the daemon's answer: %w", err)
	}
	return nil
}

// each asks for the span's local days one by one, in pages: ask fills in one
// and returns the offset of the next, 0 for none.
func (x *exporter) each(page func() (next int, err error)) error {
	for _, name := range []string{"timeframe", "days"} {
		delete(x.params, name)
	}
	x.params["resolution"] = (time.Duration(x.head.ResolutionSeconds) * time.Second).String()
	if x.head.ResolutionSeconds >= int64(usage.Day/time.Second) {
		x.params["resolution"] = "1d"
	}
	for from := x.head.From; from.Before(x.head.To); {
		y, m, d := from.In(x.location).Date()
		to := time.Date(y, m, d+1, 0, 0, 0, 0, x.location)
		if to.After(x.head.To) {
			to = x.head.To
		}
		x.params["from"], x.params["to"] = from.Format(time.RFC3339Nano), to.Format(time.RFC3339Nano)
		for offset := 0; ; {
			x.params["offset"] = offset
			next, err := page()
			if err != nil {
				return err
			}
			if next <= offset {
				break
			}
			offset = next
		}
		from = to
	}
	return nil
}

func (x *exporter) csv(w io.Writer) error {
	rows := csv.NewWriter(w)
	if err := rows.Write(historyHead); err != nil {
		return err
	}
	err := x.each(func() (int, error) {
		var t timeline
		if err := x.ask(&t); err != nil {
			return 0, err
		}
		for i := range t.Buckets {
			if err := rows.Write(t.cells(i)); err != nil {
				return 0, err
			}
		}
		rows.Flush()
		return t.NextOffset, rows.Error()
	})
	rows.Flush()
	if err == nil {
		err = rows.Error()
	}
	return err
}

// json writes one object as usage.history answers, its buckets as they come.
func (x *exporter) json(w io.Writer) error {
	b := bufio.NewWriter(w)
	gaps, err := json.Marshal(x.head.Gaps)
	if err != nil {
		return err
	}
	fmt.Fprintf(b, `{"from":%q,"to":%q,"resolution_seconds":%d,"by":%q,"counting":%s,"gaps":%s,"buckets":[`, x.head.From.Format(time.RFC3339), x.head.To.Format(time.RFC3339),
		x.head.ResolutionSeconds, x.params["by"], x.head.Counting.AppendJSON(nil), gaps)
	comma := "\n"
	if err := x.each(func() (int, error) {
		var t struct {
			Buckets    []json.RawMessage
			NextOffset int `json:"next_offset"`
		}
		if err := x.ask(&t); err != nil {
			return 0, err
		}
		for _, bucket := range t.Buckets {
			b.WriteString(comma)
			b.Write(bucket)
			comma = ",\n"
		}
		return t.NextOffset, b.Flush()
	}); err != nil {
		return err
	}
	fmt.Fprintf(b, "\n],\"total_bytes\":%d}\n", x.head.TotalBytes)
	return b.Flush()
}
