package truth

import (
	"time"

	"github.com/netpilot/netpilot/agent/source"
	"github.com/netpilot/netpilot/pkg/usage"
)

// Teller says for each usage answer whether it can be trusted.
type Teller struct {
	Quick func() ([]Finding, error) // what the quick checks found lately
	Meter *Meter                    // nil without a daemon
	Now   func() time.Time
}

// History is about an answer out of the router's own history.
func (t *Teller) History(span usage.Range) *usage.Counting {
	if t == nil {
		return nil
	}
	c := &usage.Counting{OK: true, Reasons: []usage.Reason{}}
	found, _ := t.Quick() // a check that cannot look says so to doctor
	Reasons(c, found)
	t.Meter.Accuracy(c, span)
	return c
}

// Reading is about an answer read from a source.
func (t *Teller) Reading(r *source.Reading, loc *time.Location) *usage.Counting {
	if t == nil {
		return nil
	}
	c := &usage.Counting{OK: true, Reasons: []usage.Reason{}}
	if r.Damage != nil {
		c.Add(true, usage.Reason{ID: "damage", Text: "a part of the file could not be read", Cure: "read another source, or a copy of the file"})
	}
	for _, blind := range r.Blind {
		c.Add(true, usage.Reason{ID: "source-" + r.Source, Text: blind, Cure: "netpilot-agent doctor"})
	}
	switch r.Source {
	case source.Snapshot, source.Socket, source.Nlbw, source.File:
		found, _ := t.Quick()
		Reasons(c, found)
	default:
		if len(r.Blind) == 0 {
			c.Add(false, usage.Reason{ID: reasonFile, Text: "how the numbers of a named file were counted is not known here"})
		}
		return c
	}
	span := usage.Range{To: t.Now()}
	if r.Source == source.File && !r.AsOf.IsZero() {
		span.To = r.AsOf
	}
	if span.From = day(uint32(r.Period), loc); r.Period == 0 || !span.From.Before(span.To) {
		span.From = span.To.Add(-24 * time.Hour)
	}
	t.Meter.Accuracy(c, span)
	return c
}

// day is the midnight of YYYYMMDD, which need not be a calendar date.
func day(n uint32, loc *time.Location) time.Time {
	return time.Date(int(n/10000), time.Month(n/100%100), int(n%100), 0, 0, 0, 0, loc)
}
