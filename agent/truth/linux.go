package truth

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netpilot/netpilot/agent/netfilter"
	"github.com/netpilot/netpilot/pkg/usage"
)

// Linux is the kernel and the init scripts this program runs on.
type Linux struct{}

// Flowtables implements Kernel.
func (Linux) Flowtables(ctx context.Context) ([]netfilter.Flowtable, error) {
	return netfilter.Flowtables(ctx)
}

// Event implements Kernel.
func (Linux) Event(ctx context.Context) (bool, int, error) { return netfilter.Event(ctx) }

// Space implements Kernel.
func (Linux) Space(path string) (free, size uint64, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return 0, 0, fmt.Errorf("room at %s: %w", path, err)
	}
	unit := uint64(s.Bsize)
	return s.Bavail * unit, s.Blocks * unit, nil
}

// serviceWithin bounds an init script.
const serviceWithin = 30 * time.Second

// Service implements Kernel: it runs the init script itself, with a constant
// argument and no shell of ours between.
func (Linux) Service(ctx context.Context, path, action string) error {
	ctx, cancel := context.WithTimeout(ctx, serviceWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, action)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w (%s)", path, action, err, usage.Clean(strings.TrimSpace(string(out[:min(len(out), 300)])), 300))
	}
	return nil
}
