package command

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

// help prints what --help asks of a verb, or of the whole program at the root.
//
// The library would lay help out with text/template, which calls methods by
// name: for that the linker keeps every exported method of every type, a
// tenth of the binary (docs/decisions/0003-agent-size.md).
func (p *program) help(c *cli.Context) error {
	app, verb := c.App, c.Command
	name, usageText := app.Name, app.UsageText
	usage, description := app.Usage, app.Description
	commands, flags := app.Commands, app.Flags
	root := verb == nil || verb.Name == app.Name
	if !root {
		name, usage, usageText, description = verb.HelpName, verb.Usage, verb.UsageText, verb.Description
		commands, flags = verb.Subcommands, verb.Flags
		usageText = cmp.Or(usageText, strings.TrimSpace(name+" [OPTIONS] "+verb.ArgsUsage))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s - %s\n\nUsage:\n  %s\n", name, usage, usageText)
	if description != "" {
		fmt.Fprintf(&b, "\n%s\n", description)
	}
	var rows [][2]string
	for _, c := range commands {
		if !c.Hidden {
			rows = append(rows, [2]string{strings.Join(c.Names(), ", "), c.Usage})
		}
	}
	section(&b, "Commands", rows)
	rows = nil
	for _, f := range flags {
		if v, ok := f.(cli.VisibleFlag); !ok || v.IsVisible() {
			names, text, _ := strings.Cut(f.String(), "\t")
			rows = append(rows, [2]string{names, text})
		}
	}
	rows = append(rows, [2]string{"--help, -h", "show this help"})
	section(&b, "Options", rows)
	_, err := fmt.Fprint(p.stdout, b.String())
	return err
}

// section lays out a list of words and what each means.
func section(b *strings.Builder, title string, rows [][2]string) {
	if len(rows) == 0 {
		return
	}
	width := 0
	for _, r := range rows {
		width = max(width, len(r[0]))
	}
	fmt.Fprintf(b, "\n%s:\n", title)
	for _, r := range rows {
		fmt.Fprintf(b, "  %-*s  %s\n", width, r[0], r[1])
	}
}
