package command

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/netpilot/netpilot/agent/baseline"
	"github.com/netpilot/netpilot/agent/local"
	"github.com/netpilot/netpilot/agent/method"
	"github.com/netpilot/netpilot/agent/sample"
	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
)

func (p *program) reset() *cli.Command {
	return &cli.Command{
		Name:  "reset",
		Usage: "count usage from now on; nothing is destroyed",
		Description: examples(
			"netpilot-agent reset", "dump, nlbw and usage.current count from now",
			"netpilot-agent reset --mac 02:77:00:00:00:11", "only this device",
			"netpilot-agent reset --clear", "take it back: count from the start of the period",
			"netpilot-agent reset --hard --yes", "also start nlbwmon's period anew, keeping its old file",
		) + "\n\nnlbwmon's own table and the history stay whole. Only --hard touches nlbwmon: it is made to save," +
			"\nstopped, its file moved aside, and started.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "hard", Usage: "start nlbwmon's period anew as well; root only"},
			&cli.StringFlag{Name: "mac", Usage: "only the device with this `MAC`"},
			&cli.BoolFlag{Name: "clear", Usage: "take resets back"},
			&cli.BoolFlag{Name: "yes", Usage: "do not ask"},
			&cli.StringFlag{Name: "id", Usage: "`ID` of this reset: with the same one again nothing happens (default: a new one)"},
		},
		Action: p.runReset,
	}
}

func (p *program) runReset(c *cli.Context) error {
	req := method.Reset{ID: c.String("id"), MAC: c.String("mac"), Hard: c.Bool("hard"), Clear: c.Bool("clear")}
	if req.ID == "" {
		req.ID = rand.Text()
	}
	if req.Hard && (req.MAC != "" || req.Clear) {
		return misuse{errors.New("--hard goes neither with --mac nor with --clear")}
	}
	if req.MAC != "" {
		if _, err := usage.ParseMAC(req.MAC); err != nil {
			return misuse{fmt.Errorf("--mac: %w", err)}
		}
	}
	if !c.Bool("yes") {
		if !terminal(p.stdin) {
			return misuse{errors.New("reset asks before it does anything, and nobody is there to be asked; add --yes")}
		}
		question := "Count usage from now on?"
		switch {
		case req.Hard:
			question = "Stop nlbwmon, move its file of this period aside, and start it again?"
		case req.Clear:
			question = "Count usage from the start of the period again?"
		}
		fmt.Fprintf(p.stderr, "%s [y/N] ", question)
		answer, _ := bufio.NewReader(&firstLine{Reader: p.stdin}).ReadString('\n')
		if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
			return errors.New("nothing was done")
		}
	}
	r, err := p.router(c)
	if err != nil {
		return err
	}
	done := p.progress("resetting")
	err = p.doReset(c.Context, r, &req)
	done()
	if err != nil {
		return err
	}
	if !terminal(p.stdout) {
		text, err := json.Marshal(req)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(p.stdout, "%s\n", text)
		return err
	}
	switch {
	case req.Clear:
		fmt.Fprintln(p.stdout, "usage is counted from the start of the period")
	case req.ResetAt != nil:
		fmt.Fprintf(p.stdout, "usage is counted from %s; to take it back: netpilot-agent reset --clear\n", req.ResetAt.In(r.agent.Router.Location).Format("2006-01-02 15:04:05"))
	}
	for _, file := range req.KeptFiles {
		fmt.Fprintf(p.stdout, "nlbwmon's old numbers are in %s; see them: netpilot-agent dump --source FILE\n", file)
	}
	return nil
}

// doReset has the daemon reset, which keeps the baseline, or does it here
// where none runs.
func (p *program) doReset(ctx context.Context, r *router, req *method.Reset) error {
	params, err := json.Marshal(req)
	if err != nil {
		return err
	}
	reply, err := local.Call(ctx, r.path(local.Path), "usage.reset", params)
	switch {
	case errors.Is(err, local.ErrNoDaemon):
		return r.agent.Do(ctx, req)
	case req.Hard && r.agent.Fresh != nil && usage.KindOf(err) == usage.Forbidden:
		// The daemon sits in its jail; this process does not.
		return p.resetBeside(ctx, r, req)
	case err != nil:
		return err
	}
	if err := json.Unmarshal(reply, req); err != nil {
		return fmt.Errorf("read the daemon's answer: %w", err)
	}
	return nil
}

// resetBeside has nlbwmon begin its period anew and the daemon, which may not
// do that, count from there.
func (p *program) resetBeside(ctx context.Context, r *router, req *method.Reset) error {
	if at, ok := r.agent.Baseline.Done(req.ID); ok {
		req.ResetAt, req.Repeated = &at, true
		return nil
	}
	kept, _, err := r.agent.Fresh(ctx)
	if err != nil {
		return err
	}
	params, err := json.Marshal(method.Reset{ID: req.ID})
	if err != nil {
		return err
	}
	reply, err := local.Call(ctx, r.path(local.Path), "usage.reset", params)
	if err == nil {
		err = json.Unmarshal(reply, req)
	}
	if err != nil {
		return fmt.Errorf("nlbwmon's period began anew (its old numbers: %s), but the daemon does not count from there yet: %w; next: netpilot-agent reset --yes", strings.Join(kept, ", "), err)
	}
	req.Hard, req.KeptFiles = true, kept
	return nil
}

// baseline reads what usage is counted from.
func (p *program) baseline(r *router) *baseline.Store {
	s := &baseline.Store{
		Path: r.path(baseline.Path), Now: p.now,
		Boot: func() string {
			at, err := sample.BootClock("/")
			if err != nil {
				return ""
			}
			return at.Boot
		},
		Saved: func(period nlbwmon.Period, sink usage.Sink) error {
			_, err := sample.Files(r.agent.Router).Fetch(period, sink)
			return err
		},
	}
	if err := s.Load(); err != nil {
		fmt.Fprintf(p.stderr, "netpilot-agent: %v\n", err)
	}
	return s
}

// initScript is nlbwmon's, and all that a hard reset runs.
const initScript = "/etc/init.d/nlbwmon"

// Times of a hard reset's waits.
const (
	serviceWithin = 20 * time.Second
	pollWithin    = 10 * time.Second
	pollEvery     = 100 * time.Millisecond
)

// fresh is how nlbwmon's period is begun anew, nil where this process may not:
// only root restarts services, and only those of its own machine.
func (p *program) fresh(r *router) func(context.Context) ([]string, nlbwmon.Period, error) {
	if r.root != "/" || os.Geteuid() != 0 {
		return nil
	}
	f := &baseline.Fresh{
		Dir: r.agent.Router.DatabaseDir, Snapshot: r.agent.Router.SnapshotPath, Client: r.agent.Router.Client(""), Now: p.now,
		Service: func(ctx context.Context, action string) error {
			ctx, cancel := context.WithTimeout(ctx, serviceWithin)
			defer cancel()
			cmd := exec.CommandContext(ctx, initScript, action)
			cmd.WaitDelay = time.Second
			if err := cmd.Run(); err != nil {
				return fmt.Errorf("%s %s: %w", initScript, action, err)
			}
			return nil
		},
		Poll: func(ctx context.Context, done func() bool) bool {
			ctx, cancel := context.WithTimeout(ctx, pollWithin)
			defer cancel()
			tick := time.NewTicker(pollEvery)
			defer tick.Stop()
			for !done() {
				select {
				case <-ctx.Done():
					return false
				case <-tick.C:
				}
			}
			return true
		},
	}
	return f.Begin
}
