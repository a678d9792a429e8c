package command

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/netpilot/netpilot/agent/method"
	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
)

func (p *program) dump() *cli.Command {
	return &cli.Command{
		Name:  "dump",
		Usage: "show what each device moved in an accounting period",
		Description: examples(
			"netpilot-agent dump", "devices, largest first",
			"netpilot-agent dump --by service --limit 10", "the ten largest services",
			"netpilot-agent dump --by group", "each group of devices",
			"netpilot-agent dump --mac 02:77:00:00:00:11 --by record", "one device, row by row",
			"netpilot-agent dump --period 2026-10-01 --format csv", "an earlier period, for a spreadsheet",
			"netpilot-agent dump --source 20261101.db.gz", "a database file of any router",
			"netpilot-agent dump --source /tmp/nlbw.db", "an SQLite file with columns mac, bytes_rx, bytes_tx",
		),
		Flags: append([]cli.Flag{
			formatFlag("table, json or csv"),
			&cli.StringFlag{Name: "by", Value: "device", Usage: "list by `VIEW`: device, host (an address), service, record (nlbwmon's row), group or category"},
			&cli.StringFlag{Name: "mac", Usage: "only the device with this `MAC`"},
			&cli.StringFlag{Name: "sort", Value: "total", Usage: "largest `WHAT` first: total, rx, tx or conns"},
			&cli.IntFlag{Name: "limit", Usage: "at most `N` rows; 0: all"},
			&cli.IntFlag{Name: "offset", Usage: "skip the first `N` rows"},
			&cli.StringFlag{Name: "period", Usage: "an earlier period by its first day, `YYYY-MM-DD` (see: netpilot-agent nlbw -c list)"},
			&cli.StringFlag{Name: "source", Value: "auto", Usage: "`S`: auto, snapshot, socket, nlbw, sqlite, conntrack, stations, interfaces, or the path of a database file, nlbwmon's or SQLite"},
		}, filterFlags()...),
		Action: p.runDump,
	}
}

func (p *program) runDump(c *cli.Context) error {
	format, err := p.formatOf(c, "table", "json", "csv")
	if err != nil {
		return err
	}
	q := method.Query{
		Source: c.String("source"),
		Filter: filterOf(c),
		Page:   usage.Page{Limit: c.Int("limit"), Offset: c.Int("offset")},
	}
	if q.Page.Limit < 0 || q.Page.Offset < 0 {
		return misuse{fmt.Errorf("--limit and --offset must not be negative")}
	}
	if q.View, err = usage.ParseView(c.String("by")); err != nil {
		return misuse{fmt.Errorf("--by: %w", err)}
	}
	if q.Order, err = usage.ParseOrder(c.String("sort")); err != nil {
		return misuse{fmt.Errorf("--sort: %w", err)}
	}
	if c.IsSet("mac") {
		mac, err := usage.ParseMAC(c.String("mac"))
		if err != nil {
			return misuse{fmt.Errorf("--mac: %w", err)}
		}
		q.MAC = &mac
	}
	if c.IsSet("period") {
		if q.Period, err = nlbwmon.ParsePeriod(c.String("period")); err != nil {
			return misuse{fmt.Errorf("--period: %w", err)}
		}
	}
	r, err := p.router(c)
	if err != nil {
		return err
	}
	done := p.progress("reading nlbwmon")
	answer, err := r.agent.Usage(c.Context, q)
	done()
	if err != nil {
		return err
	}
	switch format {
	case "table":
		err = answer.WriteTable(p.stdout)
	case "csv":
		p.warn(answer.Counting)
		err = answer.WriteCSV(p.stdout)
	default:
		if err = answer.WriteJSON(p.stdout); err == nil {
			_, err = fmt.Fprintln(p.stdout)
		}
	}
	if err != nil {
		return err
	}
	if answer.Damage != "" {
		return fmt.Errorf("only the good part is shown: %s", answer.Damage)
	}
	return nil
}
