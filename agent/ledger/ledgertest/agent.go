package ledgertest

import (
	"errors"
	"strconv"
	"time"

	"github.com/netpilot/netpilot/agent/ledger"
	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
)

// Agent looks at a Router for a ledger as the real agent does: the snapshot
// if it is fresh and enough, else the socket. It is the ledger's Fetcher too.
type Agent struct {
	Router    *Router
	Anonymous bool // the daemon's life is not known
	NoSocket  bool
	NoFile    bool // the snapshot is not used

	// Ask tells when the socket is asked first, when the clock is in the look's
	// period; nil: never.
	Ask func(ledger.Look) bool

	FailFetches int // so many questions from now on get no answer
	Cut         int // so many files from now on are read damaged
}

var errNotNow = errors.New("ledgertest: not now")

// Look reads the table into sink. seen is how much of the past they show; false if nlbwmon cannot be read.
func (a *Agent) Look(sink usage.Sink) (look ledger.Look, seen Seen, ok bool) {
	r := a.Router
	look = ledger.Look{Interval: r.Interval}
	if r.table != nil {
		look.Limit = r.table.limit
	}
	look.Boot = "boot-" + strconv.Itoa(r.Boot)
	look.ClockBack = r.ClockBack
	if !a.Anonymous {
		look.Daemon = r.Daemon
	}
	look.Period = r.clockPeriod()
	ask := a.Ask != nil && !a.NoSocket && r.Daemon != 0 && a.Ask(look)
	if s := r.snapshot; !ask && !a.NoFile && r.Daemon != 0 && s != nil && r.Now-s.at <= 2*r.Refresh && s.at >= look.Daemon {
		look.Source, look.Since = ledger.Snapshot, s.at
		look.Period = r.Interval.Period(s.wall, 0)
		fill(sink, s.rows)
		return look, s.seen, true
	}
	if a.NoSocket || r.Daemon == 0 {
		return look, Seen{}, false
	}
	look.Source, look.Since, look.Period = ledger.Socket, r.Now, r.period
	fill(sink, r.table.rows)
	return look, Seen{len(r.Counted), len(r.RolledFrom), r.Daemon}, true
}

func fill(sink usage.Sink, rows []usage.Record) {
	sink.Begin(0)
	for i := range rows {
		sink.Add(&rows[i])
	}
}

// fails tells whether this question gets no answer.
func (a *Agent) fails() bool {
	if a.FailFetches == 0 {
		return false
	}
	a.FailFetches--
	return true
}

// Periods is the ledger.Fetcher's.
func (a *Agent) Periods() ([]nlbwmon.Period, error) {
	if a.fails() {
		return nil, errNotNow
	}
	return a.Router.periods(), nil
}

// Written is the ledger.Fetcher's.
func (a *Agent) Written(p nlbwmon.Period) time.Time {
	f := a.Router.dir[p]
	switch {
	case f == nil:
		return time.Time{}
	case f.gz != nil:
		return f.gz.wall
	}
	return f.plain.wall
}

// Fetch is the ledger.Fetcher's.
func (a *Agent) Fetch(p nlbwmon.Period, sink usage.Sink) (ledger.Fetched, error) {
	if a.fails() {
		return ledger.Gone, errNotNow
	}
	f := a.Router.dir[p]
	if f == nil {
		return ledger.Gone, nil
	}
	rows, twofold := f.read()
	if a.Cut > 0 && len(rows) > 0 {
		a.Cut--
		fill(sink, rows[:len(rows)/2])
		if twofold {
			return ledger.Both, nil
		}
		return ledger.Damaged, nil
	}
	fill(sink, rows)
	if twofold {
		return ledger.Twofold, nil
	}
	return ledger.Whole, nil
}
