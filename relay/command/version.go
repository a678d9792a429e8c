package command

import (
	"fmt"
	"runtime"

	"github.com/urfave/cli/v2"
)

func (p *program) versionCommand() *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "print the version of this program",
		Description: `Example:

   netpilot-relay version`,
		Action: func(c *cli.Context) error {
			if err := arguments(c); err != nil {
				return err
			}
			_, err := fmt.Fprintf(p.stdout, "netpilot-relay %s %s %s/%s\n", p.version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
