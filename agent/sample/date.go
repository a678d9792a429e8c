package sample

import (
	"time"

	"github.com/netpilot/netpilot/agent/ledger"
	"github.com/netpilot/netpilot/pkg/usage"
)

// dates turns instants into the wall clock's time.
type dates struct {
	now     time.Time // of the wall clock
	at      ledger.Instant
	before  time.Time     // the newest of what was on record before this boot; zero if nothing was
	refresh time.Duration // nlbwmon's
}

func (d *dates) date(i ledger.Instant) time.Time { return d.now.Add(i.Since - d.at.Since) }

// span is from one instant to another, for a gap. What begins in an earlier
// boot begins where the record ends.
func (d *dates) span(from, to ledger.Instant) usage.Range {
	r := usage.Range{From: d.date(from), To: d.date(to)}
	if to.Boot != d.at.Boot {
		r.To = d.now
	}
	if from.Boot != d.at.Boot || to.Boot != d.at.Boot {
		r.From = d.before
	}
	if r.From.IsZero() || !r.From.Before(r.To) {
		r.From = r.To.Add(-time.Second)
	}
	return r
}

// counted is when nlbwmon counted what a look found. It counts at its
// refreshes, so what is new at one belongs to that instant; what several may
// have added is spread over the time between. After a reboot that is the time
// since the boot.
func (d *dates) counted(from, to ledger.Instant) usage.Range {
	r := d.span(from, to)
	switch {
	case from.Boot == to.Boot && to.Boot == d.at.Boot && r.To.Sub(r.From) > 2*d.refresh:
		return r
	case from.Boot != to.Boot && to.Boot == d.at.Boot && to.Since > 2*d.refresh:
		r.From = d.date(ledger.Instant{Boot: to.Boot})
		return r
	}
	r.From = r.To.Add(-time.Millisecond)
	return r
}
