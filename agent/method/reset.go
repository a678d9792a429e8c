package method

import (
	"context"
	"encoding/json"
	"time"

	"github.com/netpilot/netpilot/agent/baseline"
	"github.com/netpilot/netpilot/agent/source"
	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
)

// Reset is what a reset is asked for and answers.
type Reset struct {
	ID        string     `json:"id"`
	MAC       string     `json:"mac,omitempty"`
	Hard      bool       `json:"hard,omitempty"`
	Clear     bool       `json:"clear,omitempty"`
	ResetAt   *time.Time `json:"reset_at"` // null after clear
	Repeated  bool       `json:"repeated"` // the id was there before and nothing was done now
	KeptFiles []string   `json:"kept_files,omitempty"`
}

// Do carries the reset out and completes r.
func (a *Agent) Do(ctx context.Context, r *Reset) error {
	req := baseline.Request{ID: r.ID, Clear: r.Clear}
	r.ResetAt, r.Repeated, r.KeptFiles = nil, false, nil
	if r.MAC != "" {
		mac, err := usage.ParseMAC(r.MAC)
		if err != nil {
			return err
		}
		if mac.IsZero() {
			return usage.Errorf(usage.Invalid, "%s is no device and cannot be reset alone", mac)
		}
		req.MAC, r.MAC = &mac, mac.String()
	}
	take := func(sink usage.Sink) (nlbwmon.Period, error) {
		reading, err := a.Router.Read(ctx, source.Request{Source: source.Nlbwmon}, sink)
		return reading.Period, err
	}
	if r.Hard {
		switch {
		case r.MAC != "" || r.Clear:
			return usage.Errorf(usage.Invalid, "a hard reset is of everything and cannot be cleared; leave mac and clear out")
		case a.Fresh == nil:
			return usage.Errorf(usage.Forbidden, "a hard reset stops and starts nlbwmon, which only root on the router itself may do: netpilot-agent reset --hard there, or leave hard out")
		}
		take = func(sink usage.Sink) (period nlbwmon.Period, err error) {
			sink.Begin(0) // a fresh period has counted nothing
			r.KeptFiles, period, err = a.Fresh(ctx)
			return period, err
		}
	}
	at, repeated, err := a.Baseline.Reset(req, take)
	if err != nil {
		return err
	}
	r.Repeated = repeated
	if !r.Clear {
		r.ResetAt = &at
	}
	return nil
}

func (a *Agent) callReset(ctx context.Context, _ Access, params json.RawMessage) (json.RawMessage, error) {
	var r Reset
	if err := decode(params, &r); err != nil {
		return nil, err
	}
	if a.Baseline == nil {
		return nil, errNoHistory()
	}
	if err := a.Do(ctx, &r); err != nil {
		return nil, err
	}
	return json.Marshal(r)
}

// live reads nlbwmon's live table as it counts since the last reset, if there
// was one.
func (a *Agent) live(ctx context.Context, req source.Request, whole bool, sink usage.Sink) (reading source.Reading, counted bool, err error) {
	counted, err = a.Baseline.Read(sink, whole, func(sink usage.Sink) (nlbwmon.Period, error) {
		reading, err = a.Router.Read(ctx, req, sink)
		switch reading.Source {
		case source.Snapshot, source.Socket, source.Nlbw:
			return reading.Period, err
		}
		return baseline.Foreign, err
	})
	return reading, counted, err
}
