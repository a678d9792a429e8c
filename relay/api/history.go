package api

import (
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/store"
)

// maxSlots bounds the rows gathered for one answer; an export has no bound.
const maxSlots = 50_000

// HistoryQuery are the parameters of a router's history.
type HistoryQuery struct {
	IDs
	SpanQuery
	FilterQuery
	Resolution string `query:"resolution" maxLength:"16" doc:"A row for each 5m, 1h, 1d or another multiple of 5m up to a day; fits the span if absent." example:"1h"`
	By         string `query:"by" enum:"total,device,service,family,group,category" doc:"What rows tell apart; total if absent. By group or category the router itself must answer."`
	MAC        string `query:"mac" doc:"Only this device." example:"02:77:00:00:00:11"`
	Service    string `query:"service" maxLength:"63" doc:"Only this service."`
}

type historyIn struct {
	HistoryQuery
	Format string `query:"format" enum:"json,csv" doc:"json if absent."`
	Sort   string `query:"sort" enum:"start,total,rx,tx,conns" doc:"By start, or largest first; start if absent. At most 50,000 rows can be sorted."`
	Paging
}

func (in *historyIn) sorted() bool { return in.Sort != "" && in.Sort != "start" }

// bucketItem is what one subject moved in one slot of time.
type bucketItem struct {
	Start    time.Time `json:"start"`
	Seconds  int       `json:"seconds" doc:"23 or 25 hours for a day on which the clock jumps."`
	MAC      string    `json:"mac,omitempty" doc:"By device."`
	Hostname *string   `json:"hostname,omitempty" doc:"By device."`
	Group    *string   `json:"group,omitempty" doc:"By device or by group; null for devices without one."`
	Category *string   `json:"category,omitempty" doc:"By device or by category; null for devices without one."`
	Service  string    `json:"service,omitempty" doc:"By service."`
	Family   int       `json:"family,omitempty" doc:"By family: 4 or 6."`
	Counters
	_ struct{} `additionalProperties:"true"`
}

// gapItem is a span of which something is unknown.
type gapItem struct {
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Reason string    `json:"reason"`
}

// historyItem is a router's history.
type historyItem struct {
	Timestamp         time.Time    `json:"timestamp"`
	Source            string       `json:"source"`
	From              time.Time    `json:"from"`
	To                time.Time    `json:"to"`
	ResolutionSeconds int          `json:"resolution_seconds"`
	By                string       `json:"by"`
	Coarser           bool         `json:"coarser,omitempty" doc:"Part of it is kept less finely than asked."`
	Gaps              []gapItem    `json:"gaps" nullable:"false"`
	Buckets           []bucketItem `json:"buckets" nullable:"false"`
	NextOffset        int          `json:"next_offset,omitempty"`
	TotalBuckets      int          `json:"total_buckets"`
	TotalBytes        uint64       `json:"total_bytes"`
	_                 struct{}     `additionalProperties:"true"`
}

// query checks the parameters as far as they do not depend on the router.
func (in *HistoryQuery) query() (params, *store.HistoryQuery, error) {
	p := in.SpanQuery.params()
	p.Resolution, p.By, p.Service = in.Resolution, in.By, in.Service
	in.FilterQuery.into(&p)
	q := &store.HistoryQuery{Service: in.Service}
	var err error
	if !p.named() {
		q.By, err = store.ParseBy(in.By)
	}
	if err != nil {
		return p, q, err
	}
	if p.MAC, err = parseMAC(in.MAC); err != nil || p.MAC == "" {
		return p, q, err
	}
	mac, err := usage.ParseMAC(p.MAC)
	q.MAC = &mac
	return p, q, err
}

// usageHistory answers GET /api/device-usage/history.
func (a *API) usageHistory(x *exchange, in *historyIn) (json.RawMessage, error) {
	p, q, err := in.query()
	if err != nil {
		return nil, err
	}
	p.Limit, p.Offset = in.Limit, in.Offset
	h, err := a.pastOf(x, p)
	if err != nil {
		return nil, err
	}
	q.Range, q.Resolution = h.Range, h.Resolution
	if err := q.Check(); err != nil {
		return nil, err
	}
	switch {
	case in.sorted():
		return a.sortedHistory(x, h, p, q, in)
	case in.Format == "csv":
		return nil, a.historyCSV(x, h, p, q)
	}
	var data json.RawMessage
	err = a.choose(x, h, func() error {
		t, err := a.timeline(x.Context(), x, h, q, p)
		if err == nil {
			data = t.AppendJSON(nil, 0)
		}
		return err
	}, func() error {
		data, err = a.send(x, "usage.history", p.encode(), false)
		return err
	})
	return data, err
}

// timeline gathers the store's answer.
func (a *API) timeline(ctx context.Context, x *exchange, h *past, q *store.HistoryQuery, p params) (*usage.Timeline, error) {
	t := a.newTimeline(h, p)
	info, err := a.store.History(ctx, x.router, *q, func(s usage.Slot) error { return addSlot(t, s) })
	if err != nil {
		return nil, err
	}
	t.Coarser = info.Coarser
	if q.By == store.Device {
		t.Names = a.directoryOf(x)
	}
	t.Gaps, err = a.store.Gaps(ctx, x.router, h.Range)
	return t, err
}

// sortedHistory is the history largest first, which takes all of its rows.
func (a *API) sortedHistory(x *exchange, h *past, p params, q *store.HistoryQuery, in *historyIn) (json.RawMessage, error) {
	order, err := usage.ParseOrder(in.Sort)
	if err != nil {
		return nil, err
	}
	p.Limit, p.Offset = 0, 0
	t, err := a.wholeTimeline(x, h, p, q)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(t.Slots, func(a, b usage.Slot) int { return order.Compare(a.Counters, b.Counters) })
	t.Page = in.page()
	if in.Format != "csv" {
		return t.AppendJSON(nil, 0), nil
	}
	x.stream = func(w http.ResponseWriter) error {
		out := newCSV(x, w, h)
		from, to := t.Page.Bounds(len(t.Slots))
		for i := range t.Slots[from:to] {
			s := &t.Slots[from+i]
			var who usage.Identity
			switch {
			case t.By == "group":
				who.Group = s.Label
			case t.By == "category":
				who.Category = s.Label
			case t.Names != nil:
				who = t.Names.Identity(s.MAC, s.Start)
			}
			if err := out.row(s, &who); err != nil {
				return err
			}
		}
		return out.end()
	}
	return nil, nil
}

// wholeTimeline gathers all rows, whoever gives them.
func (a *API) wholeTimeline(x *exchange, h *past, p params, q *store.HistoryQuery) (t *usage.Timeline, err error) {
	err = a.choose(x, h, func() error {
		t, err = a.timeline(x.Context(), x, h, q, p)
		return err
	}, func() error {
		t = a.newTimeline(h, p)
		names := newDirectory()
		head, err := a.pages(x, p, func(s usage.Slot, who usage.Identity) error {
			names.known[s.MAC] = who
			return addSlot(t, s)
		})
		if err != nil {
			return err
		}
		t.Names, t.Gaps, t.Coarser, t.Counting = names, gapsOf(head.Gaps), head.Coarser, head.Counting
		t.Quarantined.RxBytes = head.Quarantined
		return nil
	})
	return t, err
}

func (a *API) newTimeline(h *past, p params) *usage.Timeline {
	return &usage.Timeline{Timestamp: a.Now().In(h.zone), Span: h.Span, By: cmp.Or(p.By, "total"), Page: usage.Page{Limit: p.Limit, Offset: p.Offset}, Counting: h.counting()}
}

func addSlot(t *usage.Timeline, s usage.Slot) error {
	if len(t.Slots) == maxSlots {
		return usage.Errorf(usage.Invalid, "more than %d rows; ask for a shorter span or a coarser resolution, or for an export", maxSlots)
	}
	t.Total.Add(s.Counters)
	t.Slots = append(t.Slots, s)
	return nil
}

// slotVisitor takes one row and who its device is.
type slotVisitor func(usage.Slot, usage.Identity) error

// timelineReply is what we read of usage.history where we must.
type timelineReply struct {
	From              time.Time     `json:"from"`
	To                time.Time     `json:"to"`
	ResolutionSeconds int           `json:"resolution_seconds"`
	Gaps              []gapItem     `json:"gaps"`
	Buckets           []bucketReply `json:"buckets"`
	NextOffset        int           `json:"next_offset"`

	Coarser     bool            `json:"coarser"`
	Quarantined uint64          `json:"quarantined_bytes"`
	Counting    *usage.Counting `json:"counting"`
}

type bucketReply struct {
	Start   time.Time `json:"start"`
	Seconds int64     `json:"seconds"`
	identityReply
	Service string `json:"service"`
	Family  int    `json:"family"`
	counterReply
}

// pages asks the router for all of a history, page after page, or for the
// rows that p limits it to. The router counts on meanwhile: rows may come to
// its open buckets. So a page goes on from the start of the last slot that the
// page before reached into, and of that slot gives only what was not given. It
// answers the first page without its rows.
func (a *API) pages(x *exchange, p params, visit slotVisitor) (*timelineReply, error) {
	var head *timelineReply
	var last time.Time             // start of the slot reached
	given := make(map[string]bool) // the subjects of that slot that were given
	most := p.Limit
	rows, idle := 0, 0 // given, and pages in a row that gave none
	for {
		before := rows
		data, err := a.send(x, "usage.history", p.encode(), false)
		if err != nil {
			return nil, err
		}
		var t timelineReply
		if err := json.Unmarshal(data, &t); err != nil {
			return nil, fmt.Errorf("read usage.history of router %s: %w", x.router.Short(), err)
		}
		if head == nil {
			first := t
			first.Buckets = nil
			head = &first
		}
		for i := range t.Buckets {
			b := &t.Buckets[i]
			s, err := b.slot()
			if err != nil {
				return nil, fmt.Errorf("read usage.history of router %s: %w", x.router.Short(), err)
			}
			if !s.Start.Equal(last) {
				last = s.Start
				clear(given)
			}
			who := b.identity()
			if label := usage.LabelBy(p.By); label != nil {
				s.Label = label(&who)
			}
			subject := fmt.Sprint(s.MAC, s.Family, s.Service, s.Label)
			if given[subject] {
				continue
			}
			given[subject] = true
			if err := visit(s, who); err != nil {
				return nil, err
			}
			if rows++; rows == most {
				return head, nil
			}
		}
		if t.NextOffset == 0 {
			return head, nil
		}
		if idle++; rows > before {
			idle = 0
		}
		if idle > 1 || t.NextOffset <= p.Offset {
			return nil, fmt.Errorf("usage.history of router %s does not go on after %d rows", x.router.Short(), rows)
		}
		// The next page is of the same span, whatever now is by then.
		p.Timeframe, p.Days, p.Limit = "", 0, 0
		p.Offset, p.From = t.NextOffset, t.From.Format(time.RFC3339Nano)
		if last.After(t.From) && idle == 0 {
			p.Offset, p.From = 0, last.Format(time.RFC3339Nano)
		}
		p.To = t.To.Format(time.RFC3339Nano)
		p.Resolution = (time.Duration(t.ResolutionSeconds) * time.Second).String()
	}
}

// slot is the row as a domain type.
func (b *bucketReply) slot() (usage.Slot, error) {
	s := usage.Slot{Start: b.Start, Length: time.Duration(b.Seconds) * time.Second, Service: usage.Clean(b.Service, usage.MaxName),
		Counters: b.counters()}
	switch b.Family {
	case 4:
		s.Family = usage.FamilyIPv4
	case 6:
		s.Family = usage.FamilyIPv6
	}
	var err error
	if b.MAC != "" {
		s.MAC, err = usage.ParseMAC(b.MAC)
	}
	return s, err
}

// kept gives the store's rows, those of the page that p limits it to.
func (a *API) kept(x *exchange, q *store.HistoryQuery, p params, visit slotVisitor) error {
	names := a.directoryOf(x)
	n := 0
	_, err := a.store.History(x.Context(), x.router, *q, func(s usage.Slot) error {
		if n++; n <= p.Offset {
			return nil
		}
		if p.Limit > 0 && n > p.Offset+p.Limit {
			return errEnough
		}
		return visit(s, names.Identity(s.MAC, time.Time{}))
	})
	if err == errEnough {
		err = nil
	}
	return err
}

var errEnough = fmt.Errorf("the page is full")

// historyCSV has the history written as CSV while it comes.
func (a *API) historyCSV(x *exchange, h *past, p params, q *store.HistoryQuery) error {
	x.stream = func(w http.ResponseWriter) error {
		out := newCSV(x, w, h)
		visit := func(s usage.Slot, who usage.Identity) error { return out.row(&s, &who) }
		err := a.choose(x, h, func() error { return a.kept(x, q, p, visit) }, func() error {
			_, err := a.pages(x, p, visit)
			if err != nil && out.begun {
				err = fmt.Errorf("after %d rows: %s", out.rows, err) // no other source can go on from here
			}
			return err
		})
		if err != nil {
			return err
		}
		return out.end()
	}
	return nil
}

// csvWriter writes rows of a history as CSV with a header line (RFC 4180).
type csvWriter struct {
	w     http.ResponseWriter
	csv   *csv.Writer
	rows  int
	begun bool
	head  func()
}

func newCSV(x *exchange, w http.ResponseWriter, h *past) *csvWriter {
	c := csv.NewWriter(w)
	c.UseCRLF = true // RFC 4180 section 2
	return &csvWriter{w: w, csv: c, head: func() {
		x.reply.Set("Content-Type", "text/csv; charset=utf-8; header=present")
		x.reply.Set("Content-Disposition", attachment(x.router, h, "csv"))
		x.facts.header(x.reply)
	}}
}

// attachment names the file that an answer is to be kept as.
func attachment(router usage.RouterID, h *past, kind string) string {
	const form = "20060102-1504"
	return fmt.Sprintf(`attachment; filename="usage-%.12s-%s-%s.%s"`, router, h.From.Format(form), h.To.Format(form), kind)
}

func (c *csvWriter) begin() error {
	c.begun = true
	c.head()
	return c.csv.Write([]string{"start", "seconds", "mac", "hostname", "alias", "service", "family",
		"bytes_rx", "bytes_tx", "total_bytes", "packets_rx", "packets_tx", "connections", "group", "category"})
}

func (c *csvWriter) row(s *usage.Slot, who *usage.Identity) error {
	if !c.begun {
		if err := c.begin(); err != nil {
			return err
		}
	}
	c.rows++
	mac, family := "", ""
	switch {
	case s.Service != "":
	case s.Family == usage.FamilyIPv4:
		family = "4"
	case s.Family != 0:
		family = "6"
	case !s.MAC.IsZero():
		mac = s.MAC.String()
	}
	cells := []string{s.Start.Format(time.RFC3339), strconv.FormatInt(int64(s.Length.Seconds()), 10), mac,
		usage.SafeCell(who.Hostname), usage.SafeCell(who.Alias), usage.SafeCell(s.Service), family}
	for _, n := range [...]uint64{s.RxBytes, s.TxBytes, s.Total(), s.RxPackets, s.TxPackets, s.Conns} {
		cells = append(cells, strconv.FormatUint(n, 10))
	}
	if c.rows%512 == 0 {
		extend(c.w)
	}
	return c.csv.Write(append(cells, usage.SafeCell(who.Group), usage.SafeCell(who.Category)))
}

// end writes what is left; a file without rows has its header line.
func (c *csvWriter) end() error {
	if !c.begun {
		if err := c.begin(); err != nil {
			return err
		}
	}
	c.csv.Flush()
	return c.csv.Error()
}

// extend gives a slow reader more time: as long as it takes something, it may
// take long.
func extend(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeWithin)) // not every writer has a socket
}

// writeWithin is how long a reader of a stream may take nothing.
const writeWithin = 20 * time.Second

// mountHistory adds what is answered from the past.
func (a *API) mountHistory() {
	rt := func(path, id, summary, about string) route {
		return route{method: http.MethodGet, path: "/api/device-usage/" + path, needs: store.ScopeRead, ids: routerID, tag: "usage",
			id: id, summary: summary, about: about}
	}
	const who = "From the relay's own copy if that is fresh, else from the router, else from the copy with stale and asOf in the metadata."
	history := rt("history", "usageHistory", "What passed in each slot of time", who)
	history.also = map[string]string{"text/csv": "all rows, with a header line; source, stale and asOf are in headers Netpilot-Source, -Stale, -As-Of"}
	mount[historyIn, historyItem](a, history, a.usageHistory)
	mount[summaryIn, summaryItem](a, rt("summary", "usageSummary", "What a span comes to: devices, services, days", who), a.usageSummary)
	export := rt("export", "usageExport", "The whole history as a file", "Streamed, so that its size does not matter. "+who)
	export.also, export.lasting = map[string]string{"text/csv": "with a header line"}, true
	mount[exportIn, historyItem](a, export, a.usageExport)
	report := rt("report", "usageReport", "A page for a person", who)
	report.also = map[string]string{"text/html": "needs nothing else", "text/markdown": "for notes", "text/plain": "for a terminal"}
	mount[reportIn, struct{}](a, report, a.usageReport)
}
