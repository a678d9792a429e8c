package truth

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"syscall"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
)

const (
	nlbwmonPath = "/usr/sbin/nlbwmon"
	install     = "opkg update && opkg install nlbwmon (apk add nlbwmon)"
)

// checkNlbwmon asks nlbwmon for its periods, the smallest request there is.
func checkNlbwmon(ctx context.Context, r *Router) ([]Finding, error) {
	_, err := r.Source.Client("").List(ctx)
	if err == nil {
		return nil, nil
	}
	pids, procErr := r.Root.PIDs("nlbwmon")
	evidence := sprintf("%v; %d processes of that name", err, len(pids))
	if procErr != nil {
		evidence = sprintf("%v; processes: %v", err, procErr)
	}
	f := Finding{Severity: Error, Evidence: evidence, skews: true}
	switch {
	case errors.Is(err, fs.ErrPermission):
		f.ID, f.Text = "nlbwmon-permission", "this program may not read nlbwmon's socket"
		f.Cure = "run it as root, or give it CAP_DAC_OVERRIDE (see /etc/capabilities/netpilot.json)"
	case errors.Is(err, nlbwmon.ErrLocked):
		return nil, err
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.EAGAIN):
		f.ID, f.Text = "nlbwmon-frozen", "nlbwmon takes connections and does not answer: it hangs and counts nothing"
		f.Cure = "service nlbwmon restart"
		f.fix = &fix{Services: []serviceRun{{"nlbwmon", "restart", ""}}}
		f.Undo = "nothing to undo"
	case !r.Root.Exists(nlbwmonPath) && len(pids) == 0:
		f.ID, f.Text = "nlbwmon-missing", "nlbwmon is not installed: nothing counts traffic by device"
		f.Cure = install
		f.Undo = "opkg remove nlbwmon (apk del nlbwmon)"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		f.ID, f.Text = "nlbwmon-stopped", "nlbwmon is installed and does not run"
		f.Cure = "service nlbwmon enable; service nlbwmon start"
		f.fix = &fix{Services: []serviceRun{{"nlbwmon", "start", "stop"}}}
	default:
		f.ID, f.Text = "nlbwmon-failing", "nlbwmon does not answer as it should"
		f.Cure = "service nlbwmon restart; logread -e nlbwmon"
		f.fix = &fix{Services: []serviceRun{{"nlbwmon", "restart", ""}}}
		f.Undo = "nothing to undo"
	}
	if usage.KindOf(err) == usage.Timeout { // our own deadline, not nlbwmon's doing
		return nil, err
	}
	return []Finding{f}, nil
}
