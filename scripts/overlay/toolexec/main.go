// Toolexec is what go build -toolexec runs for the agent's builds: every tool
// as it is, but the linker that lies beside this program (see scripts/overlay)
// instead of Go's own.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: go build -toolexec=toolexec ...")
		os.Exit(2)
	}
	tool := os.Args[1]
	if base := filepath.Base(tool); base == "link" || base == "link.exe" {
		self, err := os.Executable()
		if err != nil {
			fmt.Fprintln(os.Stderr, "toolexec:", err)
			os.Exit(1)
		}
		tool = filepath.Join(filepath.Dir(self), base)
	}
	cmd := exec.Command(tool, os.Args[2:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	var failed *exec.ExitError
	switch {
	case errors.As(err, &failed):
		os.Exit(failed.ExitCode())
	case err != nil:
		fmt.Fprintln(os.Stderr, "toolexec:", err)
		os.Exit(1)
	}
}
