package live

import (
	"context"
	"errors"
	"time"

	"github.com/netpilot/netpilot/agent/ledger"
	"github.com/netpilot/netpilot/agent/source"
	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
)

// Meter makes rates where no daemon runs: it looks for itself.
type Meter struct {
	Router  *source.Router
	Limit   int                            // nlbwmon's database_limit, 0 for none
	Instant func() (ledger.Instant, error) // the clock that always runs
	Daemon  func() time.Duration           // when nlbwmon began, since boot; 0 if unknown

	ledger *ledger.Ledger
	rates  usage.Rates
}

// noFiles is all a meter knows of nlbwmon's files: after a restart or in a
// new period it begins anew.
type noFiles struct{}

func (noFiles) Periods() ([]nlbwmon.Period, error) { return nil, nil }
func (noFiles) Written(nlbwmon.Period) time.Time   { return time.Time{} }
func (noFiles) Fetch(_ nlbwmon.Period, sink usage.Sink) (ledger.Fetched, error) {
	sink.Begin(0)
	return ledger.Gone, nil
}

// Rates looks at nlbwmon's table and returns what is known of the last two
// refreshes.
func (m *Meter) Rates(ctx context.Context, names usage.Names) (usage.Rates, error) {
	if m.ledger == nil {
		m.ledger = ledger.New(ledger.Options{Refresh: m.Router.Refresh})
		m.rates.Devices = []usage.Rate{}
	}
	daemon := m.Daemon()
	reading, err := m.Router.Read(ctx, source.Request{Source: source.Nlbwmon}, m.ledger)
	if err != nil {
		return m.rates, err
	}
	look := ledger.Look{Source: ledger.Socket, Period: reading.Period, Interval: reading.Interval, Limit: m.Limit, Daemon: daemon}
	if look.Instant, err = m.Instant(); err != nil {
		return m.rates, err
	}
	now := m.Router.Now()
	asOf := now
	if reading.Source == source.Snapshot {
		look.Source, asOf = ledger.Snapshot, reading.AsOf
		if age := now.Sub(asOf); age > 0 && age < look.Since {
			look.Since -= age
		}
	} else if !reading.AsOf.IsZero() {
		asOf = reading.AsOf
	}
	b, err := m.ledger.Observe(look, noFiles{})
	switch {
	case errors.Is(err, ledger.ErrStale): // the same snapshot as before
	case err != nil:
		return m.rates, err
	case b.Flags&(ledger.Restarted|ledger.PeriodChanged) != 0:
		m.rates = usage.Rates{Devices: []usage.Rate{}}
	default:
		m.rates = ratesOf(b, asOf)
	}
	return at(m.rates, now, m.Router.Refresh, names), nil
}
