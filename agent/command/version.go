package command

import (
	"fmt"

	"github.com/urfave/cli/v2"
)

func (p *program) version() *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "print the version",
		Action: func(*cli.Context) error {
			_, err := fmt.Fprintln(p.stdout, p.build.Version)
			return err
		},
	}
}

// completionScripts ask the program itself, which knows its verbs and flags.
var completionScripts = map[string]string{
	"bash": `_netpilot_agent() {
	local words=("${COMP_WORDS[@]:0:$COMP_CWORD}")
	[[ ${COMP_WORDS[$COMP_CWORD]} == -* ]] && words+=("${COMP_WORDS[$COMP_CWORD]}")
	COMPREPLY=($(compgen -W "$("${words[@]}" --generate-bash-completion 2>/dev/null)" -- "${COMP_WORDS[$COMP_CWORD]}"))
}
complete -o bashdefault -o default -F _netpilot_agent netpilot-agent
`,
	"zsh": `#compdef netpilot-agent
_netpilot_agent() {
	local -a found
	found=("${(@f)$(_CLI_ZSH_AUTOCOMPLETE_HACK=1 ${words[@]:0:#words[@]-1} --generate-bash-completion 2>/dev/null)}")
	if [[ -n $found[1] ]]; then _describe 'values' found; else _files; fi
}
compdef _netpilot_agent netpilot-agent
`,
}

func (p *program) completion() *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print a script that completes netpilot-agent's words in a shell",
		ArgsUsage: "bash|zsh",
		Description: examples(
			`. <(netpilot-agent completion bash)`, "in this shell",
			`netpilot-agent completion zsh > "${fpath[1]}/_netpilot-agent"`, "for good",
		),
		Action: func(c *cli.Context) error {
			script, ok := completionScripts[c.Args().First()]
			if !ok || c.NArg() != 1 {
				return misuse{fmt.Errorf("completion takes bash or zsh; see: netpilot-agent completion --help")}
			}
			_, err := fmt.Fprint(p.stdout, script)
			return err
		},
	}
}
