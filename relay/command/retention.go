package command

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/store"
	"github.com/netpilot/netpilot/relay/store/sqlite"
)

func (p *program) retentionCommand() *cli.Command {
	kept := func(name, what string, d time.Duration) cli.Flag {
		return &cli.StringFlag{Name: name, Usage: "keep " + what + " for `TIME`, like 48h or 90d, or default", DefaultText: "as it is; by default " + days(d)}
	}
	return &cli.Command{
		Name:      "retention",
		Usage:     "see and change how long a router's history is kept",
		ArgsUsage: "ID",
		Description: `History is kept as five minutes first, then summed up to hours, then to days,
then deleted. A longer time keeps more of what comes; what is summed up or
deleted already stays so. A shorter one takes effect within ten minutes.

Examples:

   netpilot-relay router retention 3f9a1c
   netpilot-relay router retention --5m 7d --1h 90d --1d 1000d 3f9a1c
   netpilot-relay router retention --1h default 3f9a1c`,
		Flags: []cli.Flag{
			dataFlag(), formatFlag(),
			kept("5m", "five minutes", store.KeepFiveMinutes), kept("1h", "hours", store.KeepHours), kept("1d", "days", store.KeepDays),
		},
		Action: p.routerRetention,
	}
}

// retentionItem is a router's retention in JSON.
type retentionItem struct {
	Router      usage.RouterID `json:"router"`
	FiveMinutes int64          `json:"five_minutes_seconds"`
	Hours       int64          `json:"hours_seconds"`
	Days        int64          `json:"days_seconds"`
}

func (p *program) routerRetention(c *cli.Context) error {
	if err := arguments(c, "ID"); err != nil {
		return err
	}
	table, err := p.isTable(c)
	if err != nil {
		return err
	}
	return withData(c, false, func(db *sqlite.DB) error {
		r, err := findRouter(c.Context, db, c.Args().First())
		if err != nil {
			return err
		}
		keep, err := db.Retention(c.Context, r.ID)
		if err != nil {
			return fmt.Errorf("read the retention: %w", err)
		}
		changes := false
		for flag, to := range map[string]*time.Duration{"5m": &keep.FiveMinutes, "1h": &keep.Hours, "1d": &keep.Days} {
			switch {
			case !c.IsSet(flag):
				continue
			case c.String(flag) == "default":
				*to = 0
			default:
				if *to, err = span(c, flag); err != nil {
					return err
				}
			}
			changes = true
		}
		if changes {
			if err := keep.Check(); err != nil {
				return misusef(c, "%s", err)
			}
			if err := db.SetRetention(c.Context, r.ID, keep); err != nil {
				return fmt.Errorf("change the retention: %w", err)
			}
			p.record(c, db, r.ID, store.Key{}, fmt.Sprintf("5m %s, 1h %s, 1d %s", days(keep.FiveMinutes), days(keep.Hours), days(keep.Days)))
		}
		all := keep.OrDefault()
		if table {
			return printTable(p.stdout, "ID NAME 5M 1H 1D", [][]string{{r.ID.Short(), r.Name, days(all.FiveMinutes), days(all.Hours), days(all.Days)}})
		}
		return printJSON(p.stdout, retentionItem{r.ID, int64(all.FiveMinutes.Seconds()), int64(all.Hours.Seconds()), int64(all.Days.Seconds())})
	})
}

// days writes a time as span reads it; 0 is the default.
func days(d time.Duration) string {
	switch {
	case d == 0:
		return "default"
	case d%usage.Day == 0:
		return fmt.Sprintf("%dd", d/usage.Day)
	case d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return d.String()
}
