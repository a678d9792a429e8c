package command

import (
	"github.com/urfave/cli/v2"

	"github.com/netpilot/netpilot/agent/nlbw"
)

func (p *program) nlbw() *cli.Command {
	return &cli.Command{
		Name:      "nlbw",
		Usage:     "answer stock nlbw's options with the same bytes and exit codes",
		UsageText: "netpilot-agent nlbw -c json|csv|show|list|commit [-g FIELDS] [-o FIELDS] [-t YYYY-MM-DD] [-n] [-s[C]] [-q[C]] [-e[C]] [-p FILE] [-S SOCKET]",
		Description: examples(
			"netpilot-agent nlbw -c json", "every host and service of this period",
			"netpilot-agent nlbw -c csv -g mac -o -tx_bytes", "a line a device, largest upload first",
			"netpilot-agent nlbw -c show -n", "a table in bytes",
			"netpilot-agent nlbw -c list", "the periods nlbwmon keeps",
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
			if exit := nlbw.Run(c.Context, args, r.agent.Stock(), p.stdout, p.stderr); exit != exitDone {
				return exitCode(exit)
			}
			return nil
		},
	}
}
