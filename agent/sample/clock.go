package sample

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netpilot/netpilot/agent/ledger"
)

// BootClock reads the kernel's clock that runs on through sleep and never
// jumps (clock_gettime(2), CLOCK_BOOTTIME), with the boot it belongs to.
func BootClock(root string) (ledger.Instant, error) {
	id, err := os.ReadFile(filepath.Join(root, "/proc/sys/kernel/random/boot_id"))
	if err != nil {
		return ledger.Instant{}, fmt.Errorf("which boot this is: %w", err)
	}
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return ledger.Instant{}, fmt.Errorf("time since boot: %w", err)
	}
	return ledger.Instant{Boot: strings.TrimSpace(string(id)), Since: time.Duration(ts.Nano())}, nil
}

// tick is the kernel's unit of a process's start time (USER_HZ, proc(5)),
// the same on every architecture Linux runs Go on.
const tick = 10 * time.Millisecond

// Daemon is when the running nlbwmon began, since boot, to a hundredth of a
// second (proc(5), /proc/PID/stat, field 22). 0 where none is found.
func Daemon(root string) time.Duration {
	comms, err := filepath.Glob(filepath.Join(root, "/proc/[0-9]*/comm"))
	if err != nil {
		return 0
	}
	for _, comm := range comms {
		name, err := os.ReadFile(comm)
		if err != nil || string(bytes.TrimSpace(name)) != "nlbwmon" {
			continue
		}
		stat, err := os.ReadFile(filepath.Join(filepath.Dir(comm), "stat"))
		if err != nil {
			continue
		}
		// The name in parentheses may hold blanks: count from behind it.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) < 20 {
			continue
		}
		ticks, err := strconv.ParseInt(string(fields[19]), 10, 64)
		if err == nil && ticks > 0 && ticks < math.MaxInt64/int64(tick) {
			return time.Duration(ticks) * tick
		}
	}
	return 0
}
