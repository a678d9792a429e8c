package method

import (
	"context"
	"encoding/json"

	"github.com/netpilot/netpilot/agent/history"
	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
)

// History is what the methods need of the router's own history.
type History interface {
	Query(ctx context.Context, q history.Query, visit func(usage.Slot) error) (history.Info, error)
	Gaps(r usage.Range) ([]usage.Gap, error)
}

// maxSlots bounds the rows gathered for one answer: about 100 bytes each.
const maxSlots = 50_000

// spanParams are the params that say which span is asked for.
type spanParams struct {
	Timeframe  string `json:"timeframe"`
	Days       int    `json:"days"`
	From       string `json:"from"`
	To         string `json:"to"`
	Resolution string `json:"resolution"`
}

func (a *Agent) span(p spanParams) (usage.Span, error) {
	q := usage.SpanQuery{Timeframe: p.Timeframe, Days: p.Days, From: p.From, To: p.To, Resolution: p.Resolution}
	return q.Span(a.Now().In(a.Router.Location))
}

// errNoHistory is for an agent that does not keep one.
func errNoHistory() error {
	return usage.Errorf(usage.Unavailable, "no history is kept: the daemon does not run or could not open it; try: service netpilot-agent restart")
}

// subjects are what the history keeps apart.
var subjects = map[string]history.By{"total": history.Total, "device": history.Device, "service": history.Service, "family": history.Family, "quarantined": history.Quarantined}

func (a *Agent) callHistory(ctx context.Context, _ Access, params json.RawMessage) (json.RawMessage, error) {
	var p struct {
		spanParams
		usage.Filter
		By      string `json:"by"`
		MAC     string `json:"mac"`
		Service string `json:"service"`
		Limit   int    `json:"limit"`
		Offset  int    `json:"offset"`
	}
	if err := decode(params, &p); err != nil {
		return nil, err
	}
	if a.History == nil {
		return nil, errNoHistory()
	}
	span, err := a.span(p.spanParams)
	if err != nil {
		return nil, err
	}
	if p.Limit < 0 || p.Offset < 0 {
		return nil, usage.Errorf(usage.Invalid, "limit and offset must not be negative")
	}
	if err := p.Filter.Check(); err != nil {
		return nil, err
	}
	if p.By == "" {
		p.By = "total"
	}
	if _, ok := subjects[p.By]; !ok && usage.LabelBy(p.By) == nil {
		return nil, usage.Errorf(usage.Invalid, "cannot list history by %q; choose total, device, service, family, group, category or quarantined", usage.Clean(p.By, 32))
	}
	q := history.Query{Range: span.Range, Resolution: span.Resolution, Service: p.Service}
	var only *usage.MAC
	if p.MAC != "" {
		mac, err := usage.ParseMAC(p.MAC)
		if err != nil {
			return nil, err
		}
		only = &mac
	}
	names, _ := a.Names() // they only dress the numbers up
	t := usage.Timeline{Timestamp: a.Now(), Span: span, By: p.By, Page: usage.Page{Limit: p.Limit, Offset: p.Offset}}
	info, err := newSelection(names, p.Filter, only).query(ctx, a.History, q, p.By, func(s usage.Slot) error {
		if len(t.Slots) == maxSlots {
			return usage.Errorf(usage.Invalid, "more than %d rows; ask for a shorter span or a coarser resolution", maxSlots)
		}
		t.Total.Add(s.Counters)
		t.Slots = append(t.Slots, s)
		return nil
	})
	if err != nil {
		return nil, err
	}
	t.Coarser = info.Coarser
	if t.Quarantined, err = a.quarantined(ctx, span); err != nil {
		return nil, err
	}
	t.Counting = a.Truth.History(span.Range)
	if t.Gaps, err = a.History.Gaps(span.Range); err != nil {
		return nil, err
	}
	t.Names = names
	return fits(t.AppendJSON(make([]byte, 0, answerSize), wire.MaxResult))
}

// Summary sums the history of a span by day, device and service. The history
// keeps services apart from devices: a filter leaves them out. by is group or
// category to have the devices summed by that too, or "".
func (a *Agent) Summary(ctx context.Context, span usage.Span, filter usage.Filter, by string) (*usage.Summary, error) {
	if a.History == nil {
		return nil, errNoHistory()
	}
	if err := filter.Check(); err != nil {
		return nil, err
	}
	if by != "" && usage.LabelBy(by) == nil {
		return nil, usage.Errorf(usage.Invalid, "cannot sum devices by %q; choose group or category", usage.Clean(by, 32))
	}
	s := &usage.Summary{Timestamp: a.Now(), Span: span, By: by, Counting: a.Truth.History(span.Range)}
	names, _ := a.Names()
	chosen := newSelection(names, filter, nil)
	err := s.Gather(func(by string, visit func(usage.Slot) error) error {
		if by == "service" && !chosen.all() {
			return nil
		}
		_, err := chosen.query(ctx, a.History, history.Query{Range: span.Range, Resolution: usage.Day}, by, visit)
		return err
	}, func(mac usage.MAC) usage.Identity {
		if names == nil {
			return usage.Identity{}
		}
		return names.Identity(mac, span.To)
	})
	if err != nil {
		return nil, err
	}
	if s.Quarantined, err = a.quarantined(ctx, span); err != nil {
		return nil, err
	}
	s.Gaps, err = a.History.Gaps(span.Range)
	return s, err
}

// quarantined sums what cannot be true of the span.
func (a *Agent) quarantined(ctx context.Context, span usage.Span) (usage.Counters, error) {
	var sum usage.Counters
	q := history.Query{Range: span.Range, Resolution: usage.Day, By: history.Quarantined}
	_, err := a.History.Query(ctx, q, func(s usage.Slot) error { sum.Add(s.Counters); return nil })
	return sum, err
}

// topDefault is how many devices and services a summary lists.
const topDefault = 10

func (a *Agent) callSummary(ctx context.Context, _ Access, params json.RawMessage) (json.RawMessage, error) {
	p := struct {
		spanParams
		usage.Filter
		By    string `json:"by"`
		Limit int    `json:"limit"`
	}{Limit: topDefault}
	if err := decode(params, &p); err != nil {
		return nil, err
	}
	if p.Limit < 1 || p.Limit > 1000 {
		return nil, usage.Errorf(usage.Invalid, "limit must be from 1 to 1000")
	}
	if p.spanParams == (spanParams{}) {
		p.Days = 30
	}
	p.Resolution = "1d"
	span, err := a.span(p.spanParams)
	if err != nil {
		return nil, err
	}
	s, err := a.Summary(ctx, span, p.Filter, p.By)
	if err != nil {
		return nil, err
	}
	return fits(s.AppendJSON(make([]byte, 0, answerSize), p.Limit))
}
