// Package command is netpilot-agent's command line, one file per verb.
//
// Results go to stdout, complaints and progress to stderr. The exit code is 0
// for done, 1 for failed and 2 for misuse; the nlbw verb alone has stock
// nlbw's codes.
package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/netpilot/netpilot/agent/ledger"
	"github.com/netpilot/netpilot/agent/sample"
	"github.com/netpilot/netpilot/pkg/usage"
)

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitMisuse = 2
)

// Build is what the linker knows of this binary.
type Build struct {
	Version string // X.Y.Z
	Time    string // of the commit, in seconds since 1970
}

// at is the build's time, the zero time where it is not known.
func (b Build) at() time.Time {
	seconds, err := strconv.ParseInt(b.Time, 10, 64)
	if err != nil || seconds <= 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}

// program is what every verb works with.
type program struct {
	build  Build
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	now    func() time.Time
	clock  Clock
}

// Clock is the time by which the daemon looks at nlbwmon and keeps its
// history. What is nil is the kernel's; what is 0 is as its constant has it.
type Clock struct {
	Now      func() time.Time
	Instant  func() (ledger.Instant, error)
	After    func(time.Duration) <-chan time.Time
	Exchange time.Duration // for which nlbwmon is waited for; nlbwmon.DefaultTimeout
	Patience time.Duration // of a person, before what is waited for is told
}

// Run is the whole program: it returns the exit code. It ends early when ctx
// does.
func Run(ctx context.Context, args []string, build Build, stdin io.Reader, stdout, stderr io.Writer) int {
	return RunBy(ctx, Clock{}, args, build, stdin, stdout, stderr)
}

// RunBy is Run by another clock.
func RunBy(ctx context.Context, clock Clock, args []string, build Build, stdin io.Reader, stdout, stderr io.Writer) int {
	if clock.Now == nil {
		clock.Now = time.Now
	}
	if clock.Instant == nil {
		// This process's own kernel keeps the time, whatever the root.
		clock.Instant = func() (ledger.Instant, error) { return sample.BootClock("/") }
	}
	if clock.Patience == 0 {
		clock.Patience = patience
	}
	p := &program{build: build, stdin: stdin, stdout: stdout, stderr: stderr, now: clock.Now, clock: clock}
	if len(args) > 0 && strings.HasSuffix(args[0], rpcdPath) {
		args = append([]string{"netpilot-agent", "rpcd"}, args[1:]...)
	}
	err := p.app().RunContext(ctx, args)
	var exit exitCode
	var wrong misuse
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &exit):
		return int(exit)
	case errors.As(err, &wrong):
		fmt.Fprintf(stderr, "netpilot-agent: %v\n", err)
		return exitMisuse
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return exitFailed
	}
	fmt.Fprintf(stderr, "netpilot-agent: %v\n", err)
	if usage.KindOf(err) == usage.Invalid {
		return exitMisuse
	}
	return exitFailed
}

// exitCode ends the program with that code and nothing more to say.
type exitCode int

func (e exitCode) Error() string { return "exit code " + strconv.Itoa(int(e)) }

// misuse is a command line that makes no sense.
type misuse struct{ error }

func (p *program) app() *cli.App {
	app := cli.NewApp()
	app.Name = "netpilot-agent"
	app.Usage = "what each device on this router's network uses"
	app.UsageText = "netpilot-agent [--root DIR] COMMAND [OPTIONS]"
	app.Description = examples(
		"netpilot-agent dump", "the devices and what they moved in this period",
		"netpilot-agent status", "is nlbwmon there, how old are the numbers, is the link up",
		"netpilot-agent nlbw -c json", "what stock nlbw prints",
	)
	app.Version = p.build.Version
	app.HideHelpCommand = true
	app.EnableBashCompletion = true
	app.Reader, app.Writer, app.ErrWriter = p.stdin, p.stdout, p.stderr
	app.ExitErrHandler = func(*cli.Context, error) {} // Run alone makes exit codes
	app.Flags = []cli.Flag{
		&cli.StringFlag{Name: "root", Value: "/", Usage: "`DIR` that holds the router's files, /etc, /tmp, /var ..."},
		&cli.StringFlag{Name: "byte-order", Value: "auto",
			Usage: "how nlbwmon stored IPv4 addresses: native, little, big, or auto: native with --root /, else told by the addresses"},
	}
	app.Commands = []*cli.Command{
		p.dump(), p.top(), p.history(), p.summary(), p.report(), p.export(), p.reset(), p.devices(), p.scan(), p.nlbw(), p.status(),
		p.doctor(), p.run(), p.enroll(), p.rpcd(), p.version(), p.completion(),
	}
	app.HideHelp = true // see help
	app.OnUsageError = p.onUsageError
	app.Action = func(c *cli.Context) error {
		if name := c.Args().First(); name != "" {
			return misuse{fmt.Errorf("no command %q; see: netpilot-agent --help", usage.Clean(name, 64))}
		}
		return p.help(c)
	}
	p.complete(app.Commands)
	return app
}

// complete gives every verb what all have in common.
func (p *program) complete(commands []*cli.Command) {
	for _, c := range commands {
		c.OnUsageError = p.onUsageError
		c.HideHelp, c.HideHelpCommand = true, true
		switch {
		case c.Action == nil: // it only has verbs of its own
			c.Action = func(c *cli.Context) error {
				if name := c.Args().First(); name != "" {
					return misuse{fmt.Errorf("no command %q; see: %s --help", usage.Clean(name, 64), c.Command.HelpName)}
				}
				return p.help(c)
			}
		case !c.SkipFlagParsing && c.ArgsUsage == "":
			c.Action = withoutArgs(c.Action)
		}
		p.complete(c.Subcommands)
	}
}

// onUsageError is called where flags do not parse; --help is one that none
// defines.
func (p *program) onUsageError(c *cli.Context, err error, _ bool) error {
	if errors.Is(err, flag.ErrHelp) {
		return p.help(c)
	}
	where := "netpilot-agent"
	if c.Command != nil && c.Command.Name != "" && c.Command.Name != where {
		where = c.Command.HelpName
	}
	return misuse{fmt.Errorf("%w; see: %s --help", err, where)}
}

// withoutArgs refuses words behind a verb that takes none.
func withoutArgs(next cli.ActionFunc) cli.ActionFunc {
	return func(c *cli.Context) error {
		if c.Args().Present() {
			return misuse{fmt.Errorf("%s takes no argument %q; see: netpilot-agent %s --help",
				c.Command.Name, usage.Clean(c.Args().First(), 64), c.Command.Name)}
		}
		return next(c)
	}
}

// examples lays out pairs of a command line and what it does.
func examples(pairs ...string) string {
	const head, indent, mark = "Examples:", "\n  ", "  # "
	width, size := 0, len(head)
	for line := range slices.Chunk(pairs, 2) {
		width = max(width, len(line[0]))
		size += len(indent) + len(mark) + len(line[1])
	}
	// Every start of the program lays out those of every verb: one allocation.
	var b strings.Builder
	b.Grow(size + len(pairs)/2*width)
	b.WriteString(head)
	for line := range slices.Chunk(pairs, 2) {
		b.WriteString(indent)
		b.WriteString(line[0])
		for range width - len(line[0]) {
			b.WriteByte(' ')
		}
		b.WriteString(mark)
		b.WriteString(line[1])
	}
	return b.String()
}

// terminal tells whether w is one.
func terminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// oneOf checks a flag's value against the words it takes.
func oneOf(flag, value string, words ...string) error {
	if slices.Contains(words, value) {
		return nil
	}
	return misuse{fmt.Errorf("--%s %q: choose %s", flag, usage.Clean(value, 64), strings.Join(words, ", "))}
}
