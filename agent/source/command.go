package source

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
)

// commandWithin bounds one run of stock nlbw, which would wait for ever for a
// frozen daemon; 10,000 rows take it 0.2 s on a PC and some 2 s on a router.
const commandWithin = 10 * time.Second

// readCommand runs stock nlbw with fixed arguments and reads its JSON. The
// command keeps no protocol numbers apart from its names, so a port it calls
// "other" stays so.
func (r *Router) readCommand(ctx context.Context, period nlbwmon.Period, sink usage.Sink) (Reading, error) {
	unlock, err := r.Client("").Lock(ctx)
	if err != nil {
		return Reading{}, err
	}
	defer unlock()
	within := cmp.Or(r.NlbwWithin, commandWithin)
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	args := []string{"-c", "json", "-g", "family,proto,port,mac,ip"}
	if period != 0 {
		args = append(args, "-t", period.String())
	}
	cmd := exec.CommandContext(ctx, r.NlbwPath, args...)
	cmd.WaitDelay = time.Second
	complaint := &limited{left: 512}
	cmd.Stderr = complaint
	out, err := cmd.StdoutPipe()
	if err != nil {
		return Reading{}, fmt.Errorf("run %s: %w", r.NlbwPath, err)
	}
	late := func() error {
		return usage.Errorf(usage.Unavailable, "%s gave no answer within %s: nlbwmon hangs; try: service nlbwmon restart", r.NlbwPath, within)
	}
	if err := cmd.Start(); err != nil {
		if ctx.Err() != nil { // on a machine so busy that the time was over before it began
			return Reading{}, late()
		}
		return Reading{}, fmt.Errorf("run %s: %w", r.NlbwPath, err)
	}
	sink.Begin(0)
	decodeErr := decodeJSON(out, sink)
	_, _ = io.Copy(io.Discard, out) // so that the command can end
	if err := cmd.Wait(); err != nil {
		if ctx.Err() != nil {
			return Reading{}, late()
		}
		text := usage.Clean(strings.TrimSpace(complaint.String()), 256)
		if strings.Contains(text, "No data available") && period != 0 {
			return Reading{}, fmt.Errorf("%s: period %s: %w", r.NlbwPath, period, nlbwmon.ErrEmpty)
		}
		return Reading{}, usage.Errorf(usage.Unavailable, "%s failed: %s (%w)", r.NlbwPath, text, err)
	}
	if decodeErr != nil {
		return Reading{}, usage.Errorf(usage.Unavailable, "%s: %w", r.NlbwPath, decodeErr)
	}
	reading := Reading{Period: period}
	if period == 0 {
		reading.AsOf = r.Refreshed()
	}
	return reading, nil
}

func decodeJSON(out io.Reader, sink usage.Sink) error {
	rows, err := nlbwmon.NewJSONDecoder(out)
	if err != nil {
		return err
	}
	return each(rows, sink.Add)
}

// limited keeps the first bytes written to it.
type limited struct {
	bytes.Buffer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	keep := min(len(p), l.left)
	l.left -= keep
	l.Buffer.Write(p[:keep])
	return len(p), nil
}
