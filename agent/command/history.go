package command

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/netpilot/netpilot/agent/local"
	"github.com/netpilot/netpilot/pkg/usage"
)

// spanFlags say which span of the history is asked for, and of which devices.
func spanFlags() []cli.Flag {
	return append([]cli.Flag{
		&cli.StringFlag{Name: "timeframe", Usage: "the last `SPAN`: 1h, 24h, 7d or 30d (default: 24h)"},
		&cli.IntFlag{Name: "days", Usage: "today and the days before it, `N` in all"},
		&cli.StringFlag{Name: "from", Usage: "from `TIME` on, 2026-11-23 or 2026-11-23T18:00:00Z"},
		&cli.StringFlag{Name: "to", Usage: "until `TIME` (default: now)"},
	}, filterFlags()...)
}

// resolutionFlag says how long a step of time is; each is called what.
func resolutionFlag(what string) cli.Flag {
	return &cli.StringFlag{Name: "resolution", Usage: what + " for each `SPAN`: 5m, 1h, 1d or another multiple of 5m up to a day (default: fits the span)"}
}

// rowFlags say what the rows of a history are, by default by by.
func rowFlags(by string) []cli.Flag {
	return append(spanFlags(),
		resolutionFlag("a row"),
		&cli.StringFlag{Name: "by", Value: by, Usage: "list by `WHAT`: total, device, service, family, group or category"},
		&cli.StringFlag{Name: "mac", Usage: "only the device with this `MAC`"},
	)
}

// spanOf are the flags as a method's params.
func spanOf(c *cli.Context) map[string]any {
	p := make(map[string]any)
	for _, name := range []string{"timeframe", "from", "to", "resolution", "by", "mac", "group", "category", "name"} {
		if c.IsSet(name) {
			p[name] = c.String(name)
		}
	}
	for _, name := range []string{"days", "limit", "offset"} {
		if c.IsSet(name) {
			p[name] = c.Int(name)
		}
	}
	return p
}

func (p *program) history() *cli.Command {
	return &cli.Command{
		Name:  "history",
		Usage: "show what passed in each span of time, from the router's own history",
		Description: examples(
			"netpilot-agent history --timeframe 24h --resolution 1h", "the last day by the hour",
			"netpilot-agent history --days 7 --by device --format csv", "a week, each device, for a spreadsheet",
			"netpilot-agent history --days 7 --resolution 1d --by group", "how much each group used, day by day",
			"netpilot-agent history --mac 02:77:00:00:00:11 --from 2026-11-20", "one device since a day",
		) + "\n\nThe daemon keeps the history; it must run.",
		Flags: append(rowFlags("total"),
			&cli.IntFlag{Name: "limit", Usage: "at most `N` rows"},
			&cli.IntFlag{Name: "offset", Usage: "skip the first `N` rows"},
			formatFlag("table, json or csv"),
		),
		Action: p.runHistory,
	}
}

// timeline is usage.history's answer as the daemon sends it.
type timeline struct {
	From, To          time.Time
	By                string
	ResolutionSeconds int64 `json:"resolution_seconds"`
	Buckets           []struct {
		Start   time.Time
		Seconds int64
		MAC     string
		who
		Service string
		Family  int
		Rx      uint64 `json:"bytes_rx"`
		Tx      uint64 `json:"bytes_tx"`
		RxPkts  uint64 `json:"packets_rx"`
		TxPkts  uint64 `json:"packets_tx"`
		Conns   uint64 `json:"connections"`
	}
	Counting   *usage.Counting
	Gaps       []gap
	NextOffset int    `json:"next_offset"`
	TotalBytes uint64 `json:"total_bytes"`
}

// who is a device as the daemon names it.
type who struct {
	Hostname string
	Alias    string
	Category string
	Group    string
}

func (w who) identity() usage.Identity {
	return usage.Identity{Hostname: w.Hostname, Alias: w.Alias, Category: w.Category, Group: w.Group}
}

func (w who) label() string {
	id := w.identity()
	return id.Label()
}

type gap struct {
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Reason string    `json:"reason"`
}

// ask has the daemon answer a method, into v where that is not nil.
func (p *program) ask(c *cli.Context, method string, params map[string]any, v any) (json.RawMessage, error) {
	r, err := p.router(c)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(params)
	if err != nil {
		return nil, err
	}
	done := p.progress("asking the daemon")
	reply, err := local.Call(c.Context, r.path(local.Path), method, text)
	done()
	if err != nil {
		return nil, err
	}
	if v != nil {
		if err := json.Unmarshal(reply, v); err != nil {
			return nil, fmt.Errorf("read the daemon's answer: %w", err)
		}
	}
	return reply, nil
}

// formatFlag is flag --format of a verb whose default is as the output is.
func formatFlag(words string) cli.Flag {
	return &cli.StringFlag{Name: "format", Usage: "`F`: " + words + " (default: table on a terminal, else json)"}
}

// formatOf is flag --format, by default as the output is.
func (p *program) formatOf(c *cli.Context, words ...string) (string, error) {
	format := c.String("format")
	if format == "" {
		format = "json"
		if terminal(p.stdout) {
			format = "table"
		}
	}
	return format, oneOf("format", format, words...)
}

func (p *program) runHistory(c *cli.Context) error {
	format, err := p.formatOf(c, "table", "json", "csv")
	if err != nil {
		return err
	}
	var t timeline
	reply, err := p.ask(c, "usage.history", spanOf(c), &t)
	if err != nil {
		return err
	}
	switch format {
	case "json":
		_, err = fmt.Fprintf(p.stdout, "%s\n", reply)
	case "csv":
		err = p.historyCSV(&t)
	default:
		err = p.historyTable(&t)
	}
	if err == nil && t.NextOffset > 0 && !c.IsSet("limit") {
		return fmt.Errorf("the answer is cut after %d rows; go on with --offset %d", len(t.Buckets), t.NextOffset)
	}
	return err
}

func (t *timeline) subject(i int) string {
	b := &t.Buckets[i]
	label := usage.LabelBy(t.By)
	switch id := b.identity(); {
	case label != nil && label(&id) != "":
		return label(&id)
	case label != nil:
		return usage.Unlabelled(t.By)
	case b.Service != "":
		return b.Service
	case b.Family != 0:
		return "IPv" + strconv.Itoa(b.Family)
	case b.label() != "":
		return b.label()
	}
	return b.MAC
}

func (p *program) historyTable(t *timeline) error {
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "from\tdownload\tupload\ttotal\tconns\t  what\n")
	for i := range t.Buckets {
		b := &t.Buckets[i]
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t  %s\n", b.Start.Format("2006-01-02 15:04"), usage.Bytes(b.Rx), usage.Bytes(b.Tx), usage.Bytes(b.Rx+b.Tx), b.Conns,
			usage.Clean(t.subject(i), 200))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "\ntotal %s\n", usage.Bytes(t.TotalBytes))
	if err := t.Counting.WriteText(p.stdout); err != nil {
		return err
	}
	for _, g := range t.Gaps {
		fmt.Fprintf(p.stdout, "unknown: %s to %s, %s\n", g.From.Format(time.RFC3339), g.To.Format(time.RFC3339), usage.Clean(g.Reason, 200))
	}
	return nil
}

// historyHead names the columns of cells.
var historyHead = []string{"start", "seconds", "mac", "hostname", "service", "family", "bytes_rx", "bytes_tx", "packets_rx", "packets_tx", "connections",
	"alias", "group", "category"}

// cells is row i as CSV cells.
func (t *timeline) cells(i int) []string {
	b := &t.Buckets[i]
	family := ""
	if b.Family != 0 {
		family = strconv.Itoa(b.Family)
	}
	n := func(v uint64) string { return strconv.FormatUint(v, 10) }
	return []string{b.Start.Format(time.RFC3339), strconv.FormatInt(b.Seconds, 10), b.MAC, usage.SafeCell(b.Hostname), usage.SafeCell(b.Service), family,
		n(b.Rx), n(b.Tx), n(b.RxPkts), n(b.TxPkts), n(b.Conns), usage.SafeCell(b.Alias), usage.SafeCell(b.Group), b.Category}
}

// warn says on stderr that counting is not right, beside an output that has no
// place for it.
func (p *program) warn(c *usage.Counting) {
	if c != nil && !c.OK {
		_ = c.WriteText(p.stderr)
	}
}

func (p *program) historyCSV(t *timeline) error {
	p.warn(t.Counting)
	w := csv.NewWriter(p.stdout)
	if err := w.Write(historyHead); err != nil {
		return err
	}
	for i := range t.Buckets {
		if err := w.Write(t.cells(i)); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}
