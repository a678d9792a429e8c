package command

import (
	"fmt"

	"github.com/urfave/cli/v2"
)

// The scripts ask the program itself what may follow. The program's name in
// the words typed is what they run, so a path before it works too.
const (
	bashScript = `_netpilot_relay() {
	local cur=${COMP_WORDS[COMP_CWORD]}
	local words=("${COMP_WORDS[@]:0:COMP_CWORD}")
	[[ $cur == -* ]] && words+=("$cur")
	mapfile -t COMPREPLY < <(compgen -W "$("${words[@]}" --generate-bash-completion 2>/dev/null)" -- "$cur")
}
complete -o bashdefault -o default -F _netpilot_relay netpilot-relay
`
	zshScript = `#compdef netpilot-relay
_netpilot_relay() {
	local -a found
	local -a typed=("${words[@]:0:$((CURRENT-1))}")
	[[ ${words[CURRENT]} == -* ]] && typed+=("${words[CURRENT]}")
	found=("${(@f)$(_CLI_ZSH_AUTOCOMPLETE_HACK=1 "${typed[@]}" --generate-bash-completion 2>/dev/null)}")
	_describe 'netpilot-relay' found || _files
}
compdef _netpilot_relay netpilot-relay
`
)

func (p *program) completionCommand() *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print a script that completes this program's commands in a shell",
		ArgsUsage: "bash|zsh|fish",
		Description: `Examples:

   source <(netpilot-relay completion bash)    # this shell
   netpilot-relay completion bash > /etc/bash_completion.d/netpilot-relay
   netpilot-relay completion zsh > "${fpath[1]}/_netpilot-relay"
   netpilot-relay completion fish > ~/.config/fish/completions/netpilot-relay.fish`,
		Action: p.completion,
	}
}

func (p *program) completion(c *cli.Context) error {
	if err := arguments(c, "the shell's name"); err != nil {
		return err
	}
	var script string
	switch shell := c.Args().First(); shell {
	case "bash":
		script = bashScript
	case "zsh":
		script = zshScript
	case "fish":
		var err error
		if script, err = c.App.ToFishCompletion(); err != nil {
			return fmt.Errorf("make the script: %w", err)
		}
	default:
		return misusef(c, "there is no completion for %q; choose bash, zsh or fish", shell)
	}
	_, err := fmt.Fprint(p.stdout, script)
	return err
}
