package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/store"
)

type summaryIn struct {
	IDs
	SpanQuery
	FilterQuery
	Sorting
	By     string `query:"by" enum:"group,category" doc:"Sum the devices by this too. The router itself must answer."`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"10" doc:"Devices and services listed at most."`
	Offset int    `query:"offset" minimum:"0" maximum:"1073741824" doc:"Devices and services to leave out at the start. Where the router answers, it tells its 1,000 largest."`
}

type topDeviceItem struct {
	MAC      string  `json:"mac"`
	Hostname *string `json:"hostname"`
	Counters
	Percentage float64  `json:"percentage"`
	_          struct{} `additionalProperties:"true"`
}

type topServiceItem struct {
	Service string `json:"service"`
	Counters
	Percentage float64  `json:"percentage"`
	_          struct{} `additionalProperties:"true"`
}

// labelSum is what the devices of one group or category moved together.
type labelSum struct {
	Devices int `json:"devices"`
	Counters
	Percentage float64  `json:"percentage"`
	_          struct{} `additionalProperties:"true"`
}

type groupItem struct {
	Group *string `json:"group" doc:"null for devices without one."`
	labelSum
}

type categoryItem struct {
	Category *string `json:"category" doc:"null for devices without one."`
	labelSum
}

type dayItem struct {
	Date  string `json:"date" format:"date"`
	Bytes uint64 `json:"bytes"`
	Counters
	_ struct{} `additionalProperties:"true"`
}

// summaryItem is what a span comes to.
type summaryItem struct {
	Timestamp     time.Time        `json:"timestamp"`
	Source        string           `json:"source"`
	From          time.Time        `json:"from"`
	To            time.Time        `json:"to"`
	PeriodDays    int              `json:"period_days"`
	TotalBytes    uint64           `json:"total_bytes"`
	BytesRx       uint64           `json:"bytes_rx"`
	BytesTx       uint64           `json:"bytes_tx"`
	TopDevices    []topDeviceItem  `json:"top_devices" nullable:"false"`
	TotalDevices  int              `json:"total_devices"`
	By            string           `json:"by,omitempty" enum:"group,category"`
	Groups        []groupItem      `json:"groups,omitempty" doc:"By group."`
	Categories    []categoryItem   `json:"categories,omitempty" doc:"By category."`
	TopServices   []topServiceItem `json:"top_services" nullable:"false"`
	TotalServices int              `json:"total_services"`
	DailyTotals   []dayItem        `json:"daily_totals" nullable:"false"`
	Gaps          []gapItem        `json:"gaps" nullable:"false"`
	_             struct{}         `additionalProperties:"true"`
}

// defaultDays is the span of a summary or report that names none.
const defaultDays = 30

// summaryParams are those of usage.summary.
func summaryParams(q *SpanQuery, f *FilterQuery, limit int) params {
	p := q.params()
	if p == (params{}) {
		p.Days = defaultDays
	}
	f.into(&p)
	p.Limit = limit
	return p
}

// usageSummary answers GET /api/device-usage/summary.
func (a *API) usageSummary(x *exchange, in *summaryIn) (json.RawMessage, error) {
	plain := in.Offset == 0 && (in.Sort == "" || in.Sort == "total")
	top := in.Limit
	if !plain {
		top = reportRows // of which the page is a part
	}
	p := summaryParams(&in.SpanQuery, &in.FilterQuery, top)
	p.By = in.By
	h, err := a.daysOf(x, p)
	if err != nil {
		return nil, err
	}
	var data json.RawMessage
	err = a.choose(x, h, func() error {
		s, err := a.keptSummary(x.Context(), x, h)
		if err == nil {
			if !plain {
				top = 0 // all
			}
			data = s.AppendJSON(nil, top)
		}
		return err
	}, func() error {
		data, err = a.send(x, "usage.summary", p.encode(), false)
		return err
	})
	if err == nil && !plain {
		data, err = pageMembers(data, in.Sort, usage.Page{Limit: in.Limit, Offset: in.Offset}, "top_devices", "top_services", "groups", "categories")
	}
	return data, err
}

// daysOf is pastOf by the day.
func (a *API) daysOf(x *exchange, p params) (*past, error) {
	p.Resolution = "1d"
	return a.pastOf(x, p)
}

// keptSummary sums the store's history.
func (a *API) keptSummary(ctx context.Context, x *exchange, h *past) (*usage.Summary, error) {
	s := &usage.Summary{Timestamp: a.Now().In(h.zone), Span: h.Span, Counting: h.counting()}
	names := a.directoryOf(x)
	err := s.Gather(func(by string, visit func(usage.Slot) error) error {
		q := store.HistoryQuery{Range: h.Range, Resolution: usage.Day}
		var err error
		if q.By, err = store.ParseBy(by); err == nil {
			_, err = a.store.History(ctx, x.router, q, visit)
		}
		return err
	}, func(mac usage.MAC) usage.Identity { return names.Identity(mac, h.To) })
	if err != nil {
		return nil, err
	}
	quarantined := store.HistoryQuery{Range: h.Range, Resolution: usage.Day, By: store.Quarantined}
	if _, err := a.store.History(ctx, x.router, quarantined, func(slot usage.Slot) error {
		s.Quarantined.Add(slot.Counters)
		return nil
	}); err != nil {
		return nil, err
	}
	s.Gaps, err = a.store.Gaps(ctx, x.router, h.Range)
	return s, err
}

// summaryReply is what we read of usage.summary where we must.
type summaryReply struct {
	From       time.Time     `json:"from"`
	To         time.Time     `json:"to"`
	BytesRx    uint64        `json:"bytes_rx"`
	BytesTx    uint64        `json:"bytes_tx"`
	TopDevices []deviceReply `json:"top_devices"`
	Services   []struct {
		Service string `json:"service"`
		counterReply
	} `json:"top_services"`
	Days []struct {
		Date string `json:"date"`
		counterReply
	} `json:"daily_totals"`
	Gaps []gapItem `json:"gaps"`
}

// summary is the answer of usage.summary, whoever gives it, with at most
// limit devices and services.
func (a *API) summary(x *exchange, h *past, p params, limit int) (*usage.Summary, error) {
	p.Limit = limit
	var s *usage.Summary
	err := a.choose(x, h, func() (err error) {
		s, err = a.keptSummary(x.Context(), x, h)
		return err
	}, func() error {
		data, err := a.send(x, "usage.summary", p.encode(), false)
		if err != nil {
			return err
		}
		var reply summaryReply
		if err := json.Unmarshal(data, &reply); err != nil {
			return fmt.Errorf("read usage.summary of router %s: %w", x.router.Short(), err)
		}
		s = reply.summary(h)
		return nil
	})
	return s, err
}

func (r *summaryReply) summary(h *past) *usage.Summary {
	s := &usage.Summary{Span: h.Span}
	s.From, s.To = r.From.In(h.zone), r.To.In(h.zone)
	s.Total.RxBytes, s.Total.TxBytes = r.BytesRx, r.BytesTx
	for i := range r.TopDevices {
		d := &r.TopDevices[i]
		mac, err := usage.ParseMAC(d.MAC)
		if err != nil {
			continue // no device we could name
		}
		s.Devices = append(s.Devices, usage.Device{MAC: mac, Identity: d.identity(), Counters: d.counters()})
	}
	for i := range r.Services {
		v := &r.Services[i]
		s.Services = append(s.Services, usage.Service{Name: usage.Clean(v.Service, usage.MaxName), Counters: v.counters()})
	}
	for i := range r.Days {
		d := &r.Days[i]
		if day, err := time.ParseInLocation(time.DateOnly, d.Date, h.zone); err == nil {
			s.Days = append(s.Days, usage.Slot{Start: day, Length: day.AddDate(0, 0, 1).Sub(day), Counters: d.counters()})
		}
	}
	s.Gaps = gapsOf(r.Gaps)
	return s
}

func gapsOf(items []gapItem) []usage.Gap {
	gaps := make([]usage.Gap, 0, len(items))
	for _, g := range items {
		gaps = append(gaps, usage.Gap{Range: usage.Range{From: g.From, To: g.To}, Reason: usage.Clean(g.Reason, 200)})
	}
	return gaps
}

type reportIn struct {
	IDs
	SpanQuery
	FilterQuery
	Resolution string `query:"resolution" maxLength:"16" doc:"A bar for each 5m, 1h, 1d or another multiple of 5m up to a day; fits the span if absent."`
	Format     string `query:"format" enum:"html,md,text" default:"html"`
}

// reportRows is how many devices and services a router is asked for where all
// are wanted: as many as it tells.
const reportRows = 1000

// usageReport answers GET /api/device-usage/report.
func (a *API) usageReport(x *exchange, in *reportIn) (json.RawMessage, error) {
	p := summaryParams(&in.SpanQuery, &in.FilterQuery, 0)
	p.Resolution = in.Resolution
	h, err := a.pastOf(x, p)
	if err != nil {
		return nil, err
	}
	days := *h
	days.Resolution = usage.Day
	whole := p
	whole.Resolution = ""
	s, err := a.summary(x, &days, whole, reportRows)
	if err != nil {
		return nil, err
	}
	name := h.router.Name
	if link, online := a.hub.Online(x.router); online {
		name = link.Hello.Name
	}
	r := &usage.Report{Router: name, Generated: a.Now().In(h.zone), Span: h.Span, Devices: s.Devices, Services: s.Services, Gaps: s.Gaps, Total: s.Total, Counting: s.Counting}
	add := func(slot usage.Slot, _ usage.Identity) error {
		if len(r.Slots) == maxSlots {
			return usage.Errorf(usage.Invalid, "more than %d rows; ask for a shorter span or a coarser resolution", maxSlots)
		}
		r.Slots = append(r.Slots, slot)
		return nil
	}
	if err := a.choose(x, h, func() error {
		return a.kept(x, &store.HistoryQuery{Range: h.Range, Resolution: h.Resolution}, params{}, add)
	}, func() error {
		r.Slots = nil
		_, err := a.pages(x, p, add)
		return err
	}); err != nil {
		return nil, err
	}
	x.stream = func(w http.ResponseWriter) error {
		x.facts.header(x.reply)
		switch in.Format {
		case "md":
			x.reply.Set("Content-Type", "text/markdown; charset=utf-8")
			return r.WriteMarkdown(w)
		case "text":
			x.reply.Set("Content-Type", "text/plain; charset=utf-8")
			return r.WriteText(w)
		}
		x.reply.Set("Content-Type", "text/html; charset=utf-8")
		x.reply.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
		return r.WriteHTML(w)
	}
	return nil, nil
}
