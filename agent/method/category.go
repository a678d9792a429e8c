package method

import (
	"context"
	"time"

	"github.com/netpilot/netpilot/agent/history"
	"github.com/netpilot/netpilot/agent/identity"
	"github.com/netpilot/netpilot/agent/source"
	"github.com/netpilot/netpilot/pkg/usage"
)

const (
	// categorizeEvery is how often devices are told apart by their use: it
	// takes a week to change.
	categorizeEvery = time.Hour
	categorizeBy    = 7 * usage.Day
)

// Categorize has the devices' categories follow their use until ctx ends.
func (a *Agent) Categorize(ctx context.Context) error {
	tick := time.NewTicker(categorizeEvery)
	defer tick.Stop()
	for {
		_ = a.categorize(ctx) // an hour later it may be better
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// categorize looks at the last week's hours, and at the services of the
// running period, which the history does not keep by device.
func (a *Agent) categorize(ctx context.Context) error {
	uses := make(useSink)
	now := a.Now()
	if a.History != nil {
		q := history.Query{Range: usage.Range{From: now.Add(-categorizeBy), To: now}, Resolution: usage.Hour, By: history.Device}
		if _, err := a.History.Query(ctx, q, func(s usage.Slot) error {
			uses.of(s.MAC).Add(&s, a.Router.Location)
			return nil
		}); err != nil {
			return err
		}
	}
	if _, err := a.Router.Read(ctx, source.Request{Source: source.Nlbwmon}, uses); err != nil {
		return err
	}
	a.Devices().Categorize(uses)
	return nil
}

// useSink sums rows by device. A row beyond maxUses devices is not looked at.
type useSink map[usage.MAC]*identity.Use

const maxUses = 4096

func (u useSink) of(mac usage.MAC) *identity.Use {
	use := u[mac]
	if use == nil {
		use = new(identity.Use)
		if !mac.IsZero() && len(u) < maxUses {
			u[mac] = use
		}
	}
	return use
}

// Begin implements usage.Sink.
func (u useSink) Begin(int) {
	for _, use := range u {
		use.Service, use.Known = nil, 0
	}
}

// Add implements usage.Sink.
func (u useSink) Add(r *usage.Record) { u.of(r.MAC).AddService(r) }
