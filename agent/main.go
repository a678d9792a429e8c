//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Netpilot-agent runs on an OpenWrt router: it reads what nlbwmon counted,
// shows it to a technician, and answers a relay over one outbound link.
//
// The two settings above: Go would wake up each second to look whether its
// control group got fewer processors, of which a router has none.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/netpilot/netpilot/agent/command"
)

// Set by the linker: the release as X.Y.Z, and the commit's time in seconds
// since 1970.
var (
	version = "0.0.0-dev"
	built   = "0"
)

func main() {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as under nohup
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	code := command.Run(ctx, os.Args, command.Build{Version: version, Time: built}, os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
