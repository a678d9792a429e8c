// Daemon is the agent by a clock that its parent, scripts/resident, moves. It
// writes the length of each wait, in nanoseconds, to file 3, and reads a line
// from file 4 when it has passed. All else is netpilot-agent.
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/netpilot/netpilot/agent/command"
	"github.com/netpilot/netpilot/agent/ledger"
)

// begin is when the simulated days begin; the router booted an hour before.
var begin = time.Date(2026, 11, 5, 0, 0, 0, 0, time.UTC)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	waits, passed := os.NewFile(3, "waits"), bufio.NewReader(os.NewFile(4, "passed"))
	var since atomic.Int64 // begin, in nanoseconds
	now := func() time.Time { return begin.Add(time.Duration(since.Load())) }
	clock := command.Clock{
		Now: now,
		Instant: func() (ledger.Instant, error) {
			return ledger.Instant{Boot: "simulated", Since: time.Hour + time.Duration(since.Load())}, nil
		},
		After: func(d time.Duration) <-chan time.Time {
			c := make(chan time.Time, 1)
			go func() { // ends with the parent's answer, or with the parent
				if _, err := fmt.Fprintln(waits, d.Nanoseconds()); err != nil {
					return
				}
				if _, err := passed.ReadString('\n'); err != nil {
					return
				}
				since.Add(int64(d))
				c <- now()
			}()
			return c
		},
	}
	code := command.RunBy(ctx, clock, os.Args, command.Build{Version: "0.0.0"}, os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
