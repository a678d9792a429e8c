// Command openapi prints the description of the relay's REST as JSON, as
// /openapi.json answers it.
package main

import (
	"log/slog"
	"os"

	"github.com/netpilot/netpilot/relay/api"
)

func main() {
	document := api.New(nil, nil, slog.New(slog.DiscardHandler)).Document()
	if _, err := os.Stdout.Write(append(document, '\n')); err != nil {
		os.Exit(1)
	}
}
