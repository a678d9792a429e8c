// Package command is the command line of netpilot-relay, one file per verb.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/netpilot/netpilot/pkg/usage"
)

// Exit codes of the program.
const (
	exitDone   = 0
	exitFailed = 1
	exitMisuse = 2
)

// program is what one run works with.
type program struct {
	version string
	stdout  io.Writer
	stderr  io.Writer
	now     func() time.Time
}

// Run does what the arguments say, args[0] being the program's name, and
// returns the exit code: 0 done, 1 failed, 2 misuse. A server runs until ctx
// ends. Results go to stdout, all else to stderr.
func Run(ctx context.Context, version string, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	p := &program{version: version, stdout: stdout, stderr: stderr, now: time.Now}
	app := p.app()
	app.Reader, app.Writer, app.ErrWriter = stdin, stdout, stderr
	err := app.RunContext(ctx, args)
	var wrong *misuse
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &wrong):
		fmt.Fprintf(stderr, "netpilot-relay: %s\n", wrong.message)
		fmt.Fprintf(stderr, "try: %s --help\n", wrong.command)
		return exitMisuse
	}
	fmt.Fprintf(stderr, "netpilot-relay: %s\n", err)
	return exitFailed
}

// app describes the command line.
func (p *program) app() *cli.App {
	app := &cli.App{
		Name:    "netpilot-relay",
		Version: p.version,
		Usage:   "the server that routers with netpilot-agent connect to and backends ask over REST",
		Description: `Routers behind NAT connect to the relay; backends ask the relay about them.

A first start, each line in a terminal of its own:

   netpilot-relay serve
   netpilot-relay enrolment create      # a token for one router
   netpilot-relay key create --name me  # a key for the REST API`,
		EnableBashCompletion: true, // the hidden flag that the scripts of "completion" use
		HideHelpCommand:      true,
		Commands: []*cli.Command{
			p.serveCommand(),
			p.enrolmentCommand(),
			p.routerCommand(),
			p.keyCommand(),
			p.auditCommand(),
			p.backupCommand(),
			p.healthCommand(),
			p.completionCommand(),
			p.versionCommand(),
		},
		// Run prints errors and makes exit codes; the library would exit itself.
		ExitErrHandler: func(*cli.Context, error) {},
		OnUsageError:   usageError,
		Action:         group,
	}
	strict(app.Commands)
	return app
}

// strict makes every command report misuse as such.
func strict(commands []*cli.Command) {
	for _, c := range commands {
		c.OnUsageError = usageError
		c.HideHelpCommand = true
		if len(c.Subcommands) > 0 {
			c.Action = group
			strict(c.Subcommands)
		}
	}
}

// misuse is an error of whoever typed the command.
type misuse struct {
	command string // as to be typed before --help
	message string
}

func (m *misuse) Error() string { return m.message }

// misusef makes a misuse of the command in c.
func misusef(c *cli.Context, format string, args ...any) error {
	return &misuse{command: c.Command.HelpName, message: fmt.Sprintf(format, args...)}
}

// usageError is how the library's own errors become ours.
func usageError(c *cli.Context, err error, _ bool) error {
	return misusef(c, "%s", usage.Clean(err.Error(), 200))
}

// group answers a command that only has subcommands.
func group(c *cli.Context) error {
	if c.NArg() == 0 {
		var names []string
		for _, sub := range c.Command.Subcommands {
			names = append(names, sub.Name)
		}
		return misusef(c, "say what to do: %s", strings.Join(names, ", "))
	}
	return misusef(c, "there is no command %q", usage.Clean(c.Args().First(), 64))
}

// arguments checks the number of arguments; names are those wanted.
func arguments(c *cli.Context, names ...string) error {
	switch {
	case c.NArg() < len(names):
		return misusef(c, "%s is missing", names[c.NArg()])
	case c.NArg() > len(names):
		extra := c.Args().Get(len(names))
		if strings.HasPrefix(extra, "-") {
			return misusef(c, "flags such as %s go before the arguments", usage.Clean(extra, 64))
		}
		return misusef(c, "%q is one argument too many", usage.Clean(extra, 64))
	}
	return nil
}
