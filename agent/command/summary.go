package command

import (
	"cmp"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/netpilot/netpilot/agent/config"
	"github.com/netpilot/netpilot/pkg/usage"
)

func (p *program) summary() *cli.Command {
	return &cli.Command{
		Name:  "summary",
		Usage: "sum a span of the history: the largest devices and services, and each day",
		Description: examples(
			"netpilot-agent summary", "the last 30 days",
			"netpilot-agent summary --days 7 --limit 5", "a week, the five largest",
			"netpilot-agent summary --by category", "what kinds of devices used it, too",
		) + "\n\nThe daemon keeps the history; it must run.",
		Flags: append(spanFlags(),
			&cli.StringFlag{Name: "by", Usage: "also sum the devices by `WHAT`: group or category"},
			&cli.IntFlag{Name: "limit", Usage: "the `N` largest devices and services (default: 10)"},
			formatFlag("table or json"),
		),
		Action: p.runSummary,
	}
}

// totals is usage.summary's answer as the daemon sends it.
type totals struct {
	From, To   time.Time
	TotalBytes uint64 `json:"total_bytes"`
	Rx         uint64 `json:"bytes_rx"`
	Tx         uint64 `json:"bytes_tx"`
	Devices    []struct {
		MAC usage.MAC
		who
		Rx         uint64 `json:"bytes_rx"`
		Tx         uint64 `json:"bytes_tx"`
		Percentage float64
	} `json:"top_devices"`
	By         string
	Groups     []share
	Categories []share
	Services   []struct {
		Service    string
		Rx         uint64 `json:"bytes_rx"`
		Tx         uint64 `json:"bytes_tx"`
		Percentage float64
	} `json:"top_services"`
	Days []struct {
		Date  string
		Bytes uint64
		Rx    uint64 `json:"bytes_rx"`
		Tx    uint64 `json:"bytes_tx"`
	} `json:"daily_totals"`
	Counting *usage.Counting
	Gaps     []gap
}

// share is what the devices of one group or category moved together.
type share struct {
	Group      string // or
	Category   string
	Devices    int
	Rx         uint64 `json:"bytes_rx"`
	Tx         uint64 `json:"bytes_tx"`
	Percentage float64
}

func (p *program) runSummary(c *cli.Context) error {
	format, err := p.formatOf(c, "table", "json")
	if err != nil {
		return err
	}
	var s totals
	reply, err := p.ask(c, "usage.summary", spanOf(c), &s)
	if err != nil {
		return err
	}
	if format == "json" {
		_, err := fmt.Fprintf(p.stdout, "%s\n", reply)
		return err
	}
	fmt.Fprintf(p.stdout, "%s to %s: %s, %s down, %s up\n\n", s.From.Format("2006-01-02 15:04"), s.To.Format("2006-01-02 15:04 MST"),
		usage.Bytes(s.TotalBytes), usage.Bytes(s.Rx), usage.Bytes(s.Tx))
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "download\tupload\tshare\t  device\n")
	for _, d := range s.Devices {
		fmt.Fprintf(w, "%s\t%s\t%.1f %%\t  %s %s\n", usage.Bytes(d.Rx), usage.Bytes(d.Tx), d.Percentage, d.MAC, usage.Clean(d.label(), 200))
	}
	if s.By != "" {
		fmt.Fprintf(w, "\t\t\t\ndownload\tupload\tshare\t  %s\n", s.By)
	}
	for _, v := range append(s.Groups, s.Categories...) { // only those asked for are there
		label := cmp.Or(usage.Clean(v.Group+v.Category, usage.MaxName), usage.Unlabelled(s.By))
		fmt.Fprintf(w, "%s\t%s\t%.1f %%\t  %s, devices: %d\n", usage.Bytes(v.Rx), usage.Bytes(v.Tx), v.Percentage, label, v.Devices)
	}
	fmt.Fprintf(w, "\t\t\t\ndownload\tupload\tshare\t  service\n")
	for _, v := range s.Services {
		fmt.Fprintf(w, "%s\t%s\t%.1f %%\t  %s\n", usage.Bytes(v.Rx), usage.Bytes(v.Tx), v.Percentage, usage.Clean(v.Service, usage.MaxName))
	}
	fmt.Fprintf(w, "\t\t\t\ndownload\tupload\ttotal\t  day\n")
	for _, d := range s.Days {
		fmt.Fprintf(w, "%s\t%s\t%s\t  %s\n", usage.Bytes(d.Rx), usage.Bytes(d.Tx), usage.Bytes(d.Bytes), d.Date)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := s.Counting.WriteText(p.stdout); err != nil {
		return err
	}
	for _, g := range s.Gaps {
		fmt.Fprintf(p.stdout, "unknown: %s to %s, %s\n", g.From.Format(time.RFC3339), g.To.Format(time.RFC3339), usage.Clean(g.Reason, 200))
	}
	return nil
}

func (p *program) report() *cli.Command {
	return &cli.Command{
		Name:  "report",
		Usage: "write a report of a span as text, Markdown or a page with plots",
		Description: examples(
			"netpilot-agent report", "the last 30 days as text",
			"netpilot-agent report --days 7 --format html > week.html", "a page that needs nothing else",
		) + "\n\nThe daemon keeps the history; it must run.",
		Flags: append(spanFlags(),
			resolutionFlag("a bar"),
			&cli.StringFlag{Name: "format", Value: "text", Usage: "`F`: text, md or html"},
		),
		Action: p.runReport,
	}
}

func (p *program) runReport(c *cli.Context) error {
	format := c.String("format")
	if err := oneOf("format", format, "text", "md", "html"); err != nil {
		return err
	}
	params := spanOf(c)
	if !c.IsSet("timeframe") && !c.IsSet("days") && !c.IsSet("from") {
		params["days"] = 30
	}
	var t timeline
	if _, err := p.ask(c, "usage.history", params, &t); err != nil {
		return err
	}
	// The same span to the second, whatever the clock does meanwhile.
	var s totals
	of := map[string]any{"from": t.From.Format(time.RFC3339Nano), "to": t.To.Format(time.RFC3339Nano), "limit": 1000}
	for _, name := range []string{"group", "category", "name"} {
		if v, ok := params[name]; ok {
			of[name] = v
		}
	}
	if _, err := p.ask(c, "usage.summary", of, &s); err != nil {
		return err
	}
	facts, _ := config.ReadRouter(c.String("root"))
	r := usage.Report{
		Router: facts.Hostname, Generated: p.now().In(t.From.Location()),
		Span:  usage.Span{Range: usage.Range{From: t.From, To: t.To}, Resolution: time.Duration(t.ResolutionSeconds) * time.Second},
		Total: usage.Counters{RxBytes: s.Rx, TxBytes: s.Tx}, Counting: s.Counting,
	}
	for _, b := range t.Buckets {
		r.Slots = append(r.Slots, usage.Slot{Start: b.Start, Length: time.Duration(b.Seconds) * time.Second, Counters: usage.Counters{RxBytes: b.Rx, TxBytes: b.Tx}})
	}
	for _, d := range s.Devices {
		r.Devices = append(r.Devices, usage.Device{MAC: d.MAC, Identity: d.identity(), Counters: usage.Counters{RxBytes: d.Rx, TxBytes: d.Tx}})
	}
	for _, v := range s.Services {
		r.Services = append(r.Services, usage.Service{Name: v.Service, Counters: usage.Counters{RxBytes: v.Rx, TxBytes: v.Tx}})
	}
	for _, g := range s.Gaps {
		r.Gaps = append(r.Gaps, usage.Gap{Range: usage.Range{From: g.From, To: g.To}, Reason: g.Reason})
	}
	switch format {
	case "md":
		return r.WriteMarkdown(p.stdout)
	case "html":
		return r.WriteHTML(p.stdout)
	}
	return r.WriteText(p.stdout)
}
