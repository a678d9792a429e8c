package command

import (
	"fmt"
	"time"
)

// patience is how long a person waits before wondering.
const patience = time.Second

// progress tells a person at a terminal what a verb waits for, if it waits
// long. The returned function ends that.
func (p *program) progress(what string) (done func()) {
	if !terminal(p.stderr) {
		return func() {}
	}
	timer := time.AfterFunc(p.clock.Patience, func() { fmt.Fprintf(p.stderr, "netpilot-agent: %s ...\n", what) })
	return func() { timer.Stop() }
}
