// Command netpilot-relay is the server that routers connect to and backends
// ask.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/netpilot/netpilot/relay/command"
)

// version is set by the linker: -ldflags "-X main.version=1.2.3".
var version = "0.0.0-dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(command.Run(ctx, version, os.Args, os.Stdin, os.Stdout, os.Stderr))
}
