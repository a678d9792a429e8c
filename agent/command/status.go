package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/netpilot/netpilot/agent/local"
	"github.com/netpilot/netpilot/agent/method"
	"github.com/netpilot/netpilot/pkg/usage"
)

func (p *program) status() *cli.Command {
	return &cli.Command{
		Name:  "status",
		Usage: "say whether nlbwmon answers, how old the numbers are, and whether the link is up",
		Description: examples(
			"netpilot-agent status", "for a person",
			"netpilot-agent status --json", "for a program",
			"netpilot-agent status --audit", "what the relay asked of this router",
		) + "\n\nThe exit code is 0 when nlbwmon can be read and 1 when not.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "json", Usage: "print JSON"},
			&cli.BoolFlag{Name: "audit", Usage: "print the calls that came over the link, newest first"},
		},
		Action: p.runStatus,
	}
}

func (p *program) runStatus(c *cli.Context) error {
	r, err := p.router(c)
	if err != nil {
		return err
	}
	if c.Bool("audit") {
		return p.showAudit(c, r)
	}
	done := p.progress("reading nlbwmon")
	s, err := p.askDaemon(c, r)
	done()
	if err != nil {
		return err
	}
	if c.Bool("json") || !terminal(p.stdout) {
		text, err := json.MarshalIndent(s, "", "  ")
		if err != nil {
			return err
		}
		fmt.Fprintf(p.stdout, "%s\n", text)
	} else if err := writeStatus(p.stdout, s); err != nil {
		return err
	}
	if !s.Nlbwmon.OK {
		fmt.Fprintf(p.stderr, "netpilot-agent: %s\n", s.Nlbwmon.Error)
		return exitCode(exitFailed)
	}
	return nil
}

// showAudit prints the running agent's record of remote calls.
func (p *program) showAudit(c *cli.Context, r *router) error {
	reply, err := local.Call(c.Context, r.path(local.Path), "audit", nil)
	if err != nil {
		return err
	}
	if c.Bool("json") || !terminal(p.stdout) {
		_, err := fmt.Fprintf(p.stdout, "%s\n", reply)
		return err
	}
	var audit struct {
		Total int
		Calls []method.Audited
	}
	if err := json.Unmarshal(reply, &audit); err != nil {
		return fmt.Errorf("read the daemon's audit: %w", err)
	}
	t := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "at\tmethod\tresult\tbytes\tms\n")
	for _, a := range audit.Calls {
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\n", a.At.Format(time.RFC3339), usage.Clean(a.Method, 64), a.Result, a.Bytes, a.Millis)
	}
	fmt.Fprintf(t, "%d of %d calls since the agent started\n", len(audit.Calls), audit.Total)
	return t.Flush()
}

// askDaemon has the running agent report, which alone knows the link; without
// one this process reads nlbwmon itself.
func (p *program) askDaemon(c *cli.Context, r *router) (method.Status, error) {
	reply, err := local.Call(c.Context, r.path(local.Path), "status", nil)
	if errors.Is(err, local.ErrNoDaemon) {
		return r.agent.FullStatus(c.Context), nil
	}
	if err != nil {
		return method.Status{}, err
	}
	var s method.Status
	if err := json.Unmarshal(reply, &s); err != nil {
		return s, fmt.Errorf("read the daemon's status: %w", err)
	}
	return s, nil
}

func writeStatus(w io.Writer, s method.Status) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	row("agent", "%s, running as %s", s.Version, s.Privileges)
	row("router", "%s  %s", orDash(usage.Clean(s.Hostname, usage.MaxName)), usage.RouterID(s.RouterID).Short())
	clock := "good"
	if !s.ClockSane {
		clock = "not set: it is older than this program; wait for NTP, or try: service sysntpd restart"
	}
	row("clock", "%s %s, %s", s.Timestamp.Format(time.RFC3339), s.Timezone, clock)
	n := &s.Nlbwmon
	if n.OK {
		row("nlbwmon", "answers, by %s", n.Source)
		row("period", "since %s, interval %s", orDash(n.Period), orDash(n.Interval))
		limit := "no limit"
		if n.Limit > 0 {
			limit = fmt.Sprintf("limit %d", n.Limit)
		}
		if n.Full {
			limit += ", FULL: nlbwmon overwrites its oldest rows; raise database_limit in /etc/config/nlbwmon"
		}
		row("rows", "%d, %s", n.Rows, limit)
		if n.AgeSeconds != nil {
			row("age", "%s, refreshed every %s", usage.Age(time.Duration(*n.AgeSeconds*float64(time.Second))),
				time.Duration(n.RefreshSeconds*float64(time.Second)))
		}
	} else {
		row("nlbwmon", "CANNOT BE READ")
	}
	if s.ResetAt != nil {
		row("reset", "usage counts from %s; take it back: netpilot-agent reset --clear", s.ResetAt.Format(time.RFC3339))
	}
	for _, f := range n.Tried {
		row("not by "+f.Source, "%s", usage.Clean(f.Error, 300))
	}
	writeHistoryStatus(row, &s.History)
	if d := s.Devices; d != nil {
		row("devices", "%d known, %d online", d.Known, d.Online)
		if f := d.Flood; f != nil {
			row("FLOOD", "%d devices never seen before within 10 minutes, in network %s, since %s: one host makes them up; find it with: bridge fdb show",
				f.MACs, orDash(usage.Clean(f.Network, usage.MaxName)), f.Since.Format(time.RFC3339))
		}
	}
	row("uplink", "%s", uplinkText(&s.Uplink))
	row("remote access", "%s", s.RemoteAccess)
	for _, warning := range s.Warnings {
		row("warning", "%s", usage.Clean(warning, 300))
	}
	return t.Flush()
}

func uplinkText(u *method.UplinkStatus) string {
	switch {
	case u.Connected && u.Since != nil:
		return fmt.Sprintf("connected to %s since %s", u.Relay, u.Since.Format(time.RFC3339))
	case u.Enrolled && u.Running:
		text := fmt.Sprintf("not connected to %s, %d tries", u.Relay, u.Attempts)
		if u.Error != "" {
			text += ": " + usage.Clean(u.Error, 300)
		}
		if u.NextDial != nil {
			text += "; next try at " + u.NextDial.Format(time.TimeOnly)
		}
		return text
	}
	return usage.Clean(u.Error, 300)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
