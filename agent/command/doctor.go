package command

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/netpilot/netpilot/agent/config"
	"github.com/netpilot/netpilot/agent/ledger"
	"github.com/netpilot/netpilot/agent/local"
	"github.com/netpilot/netpilot/agent/method"
	"github.com/netpilot/netpilot/agent/sample"
	"github.com/netpilot/netpilot/agent/source"
	"github.com/netpilot/netpilot/agent/truth"
	"github.com/netpilot/netpilot/agent/uplink"
	"github.com/netpilot/netpilot/agent/wireless"
	"github.com/netpilot/netpilot/pkg/usage"
)

func (p *program) doctor() *cli.Command {
	return &cli.Command{
		Name:  "doctor",
		Usage: "examine this router: is traffic counted right, and does it reach the relay",
		Description: examples(
			"netpilot-agent doctor", "what is wrong, how it was seen, and what helps",
			"netpilot-agent doctor --json", "the same for a program",
			"netpilot-agent doctor --fix conntrack-acct", "cure one finding; what is changed can be undone",
			"netpilot-agent doctor --undo conntrack-acct", "put back what was there",
		) + "\n\nThe exit code is 0 for a healthy router and 1 with findings; notes are no findings. It changes nothing without --fix.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "json", Usage: "print JSON"},
			&cli.StringFlag{Name: "fix", Usage: "cure the finding `ID`"},
			&cli.StringFlag{Name: "undo", Usage: "take back the cure of `ID`, also one that was interrupted"},
		},
		Action: p.runDoctor,
	}
}

func (p *program) runDoctor(c *cli.Context) error {
	r, _, err := p.damagedRouter(c) // a finding tells of the damage
	if err != nil {
		return err
	}
	fix, undo := c.String("fix"), c.String("undo")
	switch {
	case c.IsSet("fix") && c.IsSet("undo"):
		return misuse{errors.New("--fix and --undo at once")}
	case c.IsSet("fix"):
		if err := r.truth.Fix(c.Context, fix); err != nil {
			return err
		}
		fmt.Fprintf(p.stderr, "fixed %s; look again: netpilot-agent doctor; take it back: netpilot-agent doctor --undo %s\n", fix, fix)
		return nil
	case c.IsSet("undo"):
		if err := r.truth.Undo(c.Context, undo); err != nil {
			return err
		}
		fmt.Fprintf(p.stderr, "%s is as it was before\n", undo)
		return nil
	}
	done := p.progress("examining the router")
	report := r.truth.Examine(c.Context)
	done()
	if c.Bool("json") || !terminal(p.stdout) {
		out := json.NewEncoder(p.stdout)
		out.SetIndent("", "  ")
		out.SetEscapeHTML(false) // commands with && are to be read
		if err := out.Encode(report); err != nil {
			return err
		}
	} else if err := writeReport(p.stdout, report); err != nil {
		return err
	}
	if !report.Healthy {
		return exitCode(exitFailed)
	}
	return nil
}

// writeReport is doctor's report for a person.
func writeReport(w io.Writer, report truth.Report) error {
	if report.Healthy {
		fmt.Fprintln(w, "healthy: nothing is known that makes the numbers wrong or keeps them from the relay")
	}
	for _, f := range report.Findings {
		fmt.Fprintf(w, "\n%s  %s: %s\n", f.Severity, f.ID, usage.Clean(f.Text, 500))
		fmt.Fprintf(w, "  seen: %s\n", usage.Clean(f.Evidence, 500))
		if f.Cure != "" {
			fmt.Fprintf(w, "  cure: %s\n", usage.Clean(f.Cure, 500))
		}
		switch {
		case f.Fixed:
			fmt.Fprintf(w, "  it was fixed before; undo: netpilot-agent doctor --undo %s\n", f.ID)
		case f.Fixable:
			fmt.Fprintf(w, "  or:   netpilot-agent doctor --fix %s (undo: %s)\n", f.ID, f.Undo)
		}
	}
	_, err := fmt.Fprintln(w)
	return err
}

// quickFor is how long what the quick checks found is believed: a usage
// answer costs no look at the kernel most of the time.
const quickFor = 30 * time.Second

// examine wires the checks of the router.
func (r *router) examine(p *program, nlbwmonConfig config.Nlbwmon) {
	r.truth = &truth.Router{
		Root: truth.Root(r.root), Nlbwmon: nlbwmonConfig, Source: r.agent.Router, Build: p.build.at(), Now: p.now,
		CAFile: r.config.CAFile, Daemon: r.askTruth,
	}
	if r.root == "/" {
		r.truth.Kernel = truth.Linux{}
	}
	if id, err := config.LoadIdentity(r.root); err == nil {
		r.truth.Relay, r.truth.Secure = id.Relay.Host, id.Relay.Scheme == "https"
		r.truth.Probe = func(ctx context.Context) error { return p.client(r).Probe(ctx, id) }
		r.truth.Reach = func(ctx context.Context) error { return p.client(r).Reach(ctx, id.Relay) }
	}
	r.agent.Truth = &truth.Teller{
		Quick: method.Remember(quickFor, p.now, func() ([]truth.Finding, error) { return r.truth.Quick(context.Background()), nil }),
		Now:   p.now,
	}
	r.agent.Doctor = r.truth.Examine
	r.agent.Router.Kernel = r.kernel(p)
}

// kernel is what stands in for nlbwmon.
func (r *router) kernel(p *program) *source.Kernel {
	k := &source.Kernel{
		ConntrackPath: r.path("/proc/net/nf_conntrack"), DevPath: r.path("/proc/net/dev"),
		Counted: func() bool { return sample.Daemon(r.root) != 0 },
		Local:   r.truth.Local,
		MAC: func(addr netip.Addr) usage.MAC {
			mac, _ := r.agent.Devices().Attribute(addr, p.now())
			return mac
		},
	}
	if r.root == "/" {
		k.Stations = wireless.Stations
	}
	return k
}

// askTruth asks the running agent for what it alone knows.
func (r *router) askTruth(ctx context.Context) truth.Daemon {
	reply, err := local.Call(ctx, r.path(local.Path), "status", json.RawMessage(`{"brief":true}`))
	if errors.Is(err, local.ErrNoDaemon) {
		return truth.Daemon{}
	}
	var s method.Status
	if err != nil || json.Unmarshal(reply, &s) != nil {
		return truth.Daemon{Running: true, Silent: true}
	}
	return daemonTruth(s)
}

// daemonTruth is what a daemon's status tells doctor.
func daemonTruth(s method.Status) truth.Daemon {
	d := truth.Daemon{Running: true, Link: s.Uplink.Connected, History: s.History.FlashError, Counting: s.Counting}
	if s.Devices != nil && s.Devices.Flood != nil {
		f := s.Devices.Flood
		d.Flood = fmt.Sprintf("%d MACs never seen before in ten minutes on %s, since %s", f.MACs, f.Network, f.Since.Format(time.RFC3339))
	}
	if !s.History.OK {
		d.History = cmp.Or(s.History.Error, "none is kept")
	}
	if s.Uplink.Cause != "" {
		d.LinkError = &uplink.Failure{Cause: uplink.Cause(s.Uplink.Cause), Message: s.Uplink.Error}
	}
	return d
}

// counting says for the relay, as each usage answer does, whether what was
// counted in the last day can be trusted.
func (r *router) counting(context.Context) json.RawMessage {
	now := r.agent.Now()
	return r.agent.Truth.History(usage.Range{From: now.Add(-usage.Day), To: now}).AppendJSON(nil)
}

// measure has the meter compare a look at nlbwmon with the WAN.
func (r *router) measure(p *program, b *ledger.Batch) {
	var attributed uint64
	for i := range b.Deltas {
		if d := &b.Deltas[i]; !d.MAC.IsZero() {
			attributed += d.RxBytes + d.TxBytes
		}
	}
	wall := p.now()
	if wall.Before(p.build.at()) {
		wall = time.Time{}
	}
	r.agent.Truth.Meter.Look(b.To.Since, wall, attributed, b.Flags&ledger.First != 0)
}
