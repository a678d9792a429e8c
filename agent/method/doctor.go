package method

import (
	"context"
	"encoding/json"

	"github.com/netpilot/netpilot/pkg/usage"
)

func (a *Agent) callDoctor(ctx context.Context, _ Access, _ json.RawMessage) (json.RawMessage, error) {
	if a.Doctor == nil {
		return nil, usage.Errorf(usage.Unavailable, "this agent cannot examine its router")
	}
	text, err := json.Marshal(a.Doctor(ctx))
	if err != nil {
		return nil, err
	}
	return fits(text)
}
