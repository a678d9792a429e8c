package method

import (
	"context"
	"encoding/json"

	"github.com/netpilot/netpilot/agent/live"
	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
)

// callLive subscribes the caller's door to the live stream, or ends that.
func (a *Agent) callLive(ctx context.Context, _ Access, params json.RawMessage) (json.RawMessage, error) {
	var p struct {
		Action string `json:"action"`
	}
	if err := decode(params, &p); err != nil {
		return nil, err
	}
	peer := wire.PeerOf(ctx)
	switch {
	case p.Action != "start" && p.Action != "stop":
		return nil, usage.Errorf(usage.Invalid, "usage.live takes action start or stop, not %q", usage.Clean(p.Action, 32))
	case a.Live == nil:
		return nil, errNoHistory()
	case peer == nil:
		return nil, usage.Errorf(usage.Invalid, "usage.live needs a connection that takes notifications")
	case p.Action == "stop":
		a.Live.Stop(peer)
		return json.RawMessage(`{}`), nil
	}
	if err := a.Live.Start(peer); err != nil {
		return nil, err
	}
	return json.Marshal(struct {
		EveryMS int64   `json:"every_ms"`
		Expires int64   `json:"expires_in_s"`
		Refresh float64 `json:"refresh_seconds"`
	}{live.Every.Milliseconds(), int64(live.For.Seconds()), a.Router.Refresh.Seconds()})
}

// callHello is the agent's introduction, as the relay gets it.
func (a *Agent) callHello(context.Context, Access, json.RawMessage) (json.RawMessage, error) {
	if a.Hello == nil {
		return nil, usage.Errorf(usage.Unavailable, "hello is the daemon's, which does not run; try: service netpilot-agent start")
	}
	return json.Marshal(a.Hello())
}
