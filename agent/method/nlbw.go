package method

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/netpilot/netpilot/agent/nlbw"
	"github.com/netpilot/netpilot/agent/source"
	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
)

// Bounds of the nlbw method's command line (PROTOCOL.md section 5).
const (
	maxArgs   = 32
	maxArgLen = 256
)

// Stock is the agent's router as stock nlbw's options see it.
func (a *Agent) Stock() source.Stock {
	return source.Stock{Router: a.Router, ProtocolsPath: a.Protocols}
}

func (a *Agent) callNlbw(ctx context.Context, access Access, params json.RawMessage) (json.RawMessage, error) {
	var p struct {
		Args []string `json:"args"`
	}
	if err := decode(params, &p); err != nil {
		return nil, err
	}
	if len(p.Args) > maxArgs {
		return nil, usage.Errorf(usage.Invalid, "nlbw takes at most %d arguments here", maxArgs)
	}
	for _, arg := range p.Args {
		if len(arg) > maxArgLen {
			return nil, usage.Errorf(usage.Invalid, "an argument of nlbw has at most %d bytes here", maxArgLen)
		}
	}
	commits, paths := nlbw.Remote(p.Args)
	if paths && access < AccessOwner {
		return nil, usage.Errorf(usage.Forbidden, "-S and -p name files of the router and are for its own shell")
	}
	if commits && access < AccessWrite {
		return nil, usage.Errorf(usage.Forbidden, "commit makes nlbwmon write and the router's owner allows reading only (uci: netpilot.agent.remote_access)")
	}
	var stdout, stderr bounded
	exit := nlbw.Run(ctx, p.Args, a.Stock(), &stdout, &stderr)
	if stdout.full {
		return nil, usage.Errorf(usage.Invalid, "nlbw's output passes the %d bytes of an answer; group it, for example with -g mac", wire.MaxResult)
	}
	result := append([]byte(`{"stdout":`), usage.AppendQuoted(nil, string(stdout.text))...)
	result = append(result, `,"stderr":`...)
	result = usage.AppendQuoted(result, string(stderr.text))
	result = append(result, `,"exit_code":`...)
	code, _ := json.Marshal(exit) // a number always marshals
	return fits(append(append(result, code...), '}'))
}

// bounded keeps what fits an answer and fails beyond.
type bounded struct {
	text []byte
	full bool
}

var errFull = errors.New("output passes the size of an answer")

func (b *bounded) Write(p []byte) (int, error) {
	if len(b.text)+len(p) > wire.MaxResult {
		b.full = true
		return 0, errFull
	}
	b.text = append(b.text, p...)
	return len(p), nil
}
