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

// Synchronised tells whether a time daemon keeps the kernel's clock right
// (adjtimex(2): STA_UNSYNC, which busybox ntpd clears as others do).
func Synchronised() bool {
	var t unix.Timex
	_, err := unix.Adjtimex(&t)
	return err == nil && t.Status&unix.STA_UNSYNC == 0
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

// maxUnconfirmed is how long after boot the wall clock is waited for. A router
// whose time nobody serves then goes by its clock, as its own log does.
const maxUnconfirmed = 30 * time.Minute

// clock is what the Sampler knows of the wall clock. A router without a
// battery boots at the newest time of a file under /etc, so that a clock later
// than the program's build may still be days behind.
type clock struct {
	Boot string
	Low  int64 // wall clock minus time since boot, in ns, lies between these
	High int64
	Set  bool // somebody has set it in this boot, or keeps it right
}

// read brings c up to date. The wall clock is read between two readings of the
// boot clock, so that being interrupted looks like no step. back is whether it
// was set back since the last reading.
func (c *clock) read(o *Options) (now time.Time, at ledger.Instant, back bool, err error) {
	before, err := o.Instant()
	if err != nil {
		return now, at, false, err
	}
	now = o.Now()
	if at, err = o.Instant(); err != nil {
		return now, at, false, err
	}
	wall := now.UnixNano()
	was := *c
	c.Boot, c.Low, c.High = at.Boot, wall-int64(at.Since), wall-int64(before.Since)
	if was.Boot != at.Boot {
		c.Set = false
	} else {
		back = c.High < was.Low
		// Steps by less than a second set no clock that was unset.
		c.Set = c.Set || c.High < was.Low-int64(time.Second) || c.Low > was.High+int64(time.Second)
	}
	c.Set = c.Set || o.Synchronised == nil || o.Synchronised()
	return now, at, back, nil
}

// known tells whether the wall clock may date what is booked.
func (c *clock) known(now time.Time, at ledger.Instant, notBefore time.Time) bool {
	return !now.Before(notBefore) && (c.Set || at.Since >= maxUnconfirmed)
}
