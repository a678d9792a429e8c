package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/netpilot/netpilot/agent/local"
	"github.com/netpilot/netpilot/agent/nlbw"
)

func (p *program) nlbw() *cli.Command {
	return &cli.Command{
		Name:      "nlbw",
		Usage:     "answer stock nlbw's options with the same bytes and exit codes",
		UsageText: "netpilot-agent nlbw -c json|csv|show|list|commit [-g FIELDS] [-o FIELDS] [-t YYYY-MM-DD|HOURS] [-n] [-i] [-s[C]] [-q[C]] [-e[C]] [-p FILE] [-S SOCKET|-d FILE]",
		Description: examples(
			"netpilot-agent nlbw -c json", "every host and service of this period",
			"netpilot-agent nlbw -c csv -g mac -o -tx_bytes", "a line a device, largest upload first",
			"netpilot-agent nlbw -c show -n", "a table in bytes",
			"netpilot-agent nlbw -c list", "the periods nlbwmon keeps",
			"netpilot-agent nlbw -c json -t 24", "the last 24 hours, from the history; also 1, 168, 720",
			"netpilot-agent nlbw -c csv -g mac -i", "with hostname, vendor and alias",
			"netpilot-agent nlbw -d 20261101.db.gz -c json", "a database file of any router",
			"netpilot-agent nlbw -z", "count from now on, as netpilot-agent reset does",
		) + "\n\nFields, or any beginning of one: family proto port mac ip conns rx_bytes rx_pkts tx_bytes tx_pkts host layer7." +
			"\nWithout -S the live table is read from nlbwmon's snapshot file where that is whole and fresh.",
		SkipFlagParsing: true,
		Action: func(c *cli.Context) error {
			args := c.Args().Slice()
			if len(args) == 1 && (args[0] == "--help" || args[0] == "-h") {
				return p.help(c)
			}
			r, err := p.router(c)
			if err != nil {
				return err
			}
			exit := 0
			if nlbw.NeedsOf(args).Daemon {
				exit, err = p.daemonNlbw(c.Context, r, args)
			}
			if !nlbw.NeedsOf(args).Daemon || errors.Is(err, local.ErrNoDaemon) {
				exit, err = nlbw.Run(c.Context, args, r.agent.Nlbw(), p.stdout, p.stderr), nil
			}
			if err == nil && exit != exitDone {
				return exitCode(exit)
			}
			return err
		},
	}
}

// daemonNlbw has the daemon run a command line that needs what it keeps.
func (p *program) daemonNlbw(ctx context.Context, r *router, args []string) (exit int, err error) {
	params, err := json.Marshal(map[string]any{"args": args})
	if err != nil {
		return 0, err
	}
	reply, err := local.Call(ctx, r.path(local.Path), "nlbw", params)
	if err != nil {
		return 0, err
	}
	var out struct {
		Stdout, Stderr string
		Exit           int `json:"exit_code"`
	}
	if err := json.Unmarshal(reply, &out); err != nil {
		return 0, fmt.Errorf("read the daemon's answer: %w", err)
	}
	fmt.Fprint(p.stderr, out.Stderr)
	_, err = fmt.Fprint(p.stdout, out.Stdout)
	return out.Exit, err
}
