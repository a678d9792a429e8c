package api

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

type exportIn struct {
	HistoryQuery
	Format string `query:"format" enum:"csv,json" default:"csv"`
}

// usageExport answers GET /api/device-usage/export: the history by device
// unless asked otherwise, whole.
func (a *API) usageExport(x *exchange, in *exportIn) (json.RawMessage, error) {
	if in.By == "" && in.MAC == "" && in.Service == "" {
		in.By = "device"
	}
	p, q, err := in.query()
	if err != nil {
		return nil, err
	}
	if p.Timeframe == "" && p.Days == 0 && p.From == "" && p.To == "" {
		p.Days = defaultDays
	}
	h, err := a.pastOf(x, p)
	if err != nil {
		return nil, err
	}
	q.Range, q.Resolution = h.Range, h.Resolution
	if err := q.Check(); err != nil {
		return nil, err
	}
	// The span is the same for every page and every source.
	p.Timeframe, p.Days = "", 0
	p.From, p.To = h.From.Format(time.RFC3339Nano), h.To.Format(time.RFC3339Nano)
	if in.Format == "csv" {
		return nil, a.historyCSV(x, h, p, q)
	}
	x.stream = func(w http.ResponseWriter) error {
		out := &exportWriter{w: w, buf: bufio.NewWriterSize(w, 32<<10), by: p.By}
		visit := func(s usage.Slot, who usage.Identity) error {
			out.begin(x, h)
			return out.row(&s, &who)
		}
		var gaps []gapItem
		err := a.choose(x, h, func() error {
			list, err := a.store.Gaps(x.Context(), x.router, h.Range)
			for _, g := range list {
				gaps = append(gaps, gapItem{From: g.From, To: g.To, Reason: g.Reason})
			}
			if err != nil {
				return err
			}
			return a.kept(x, q, p, visit)
		}, func() error {
			head, err := a.pages(x, p, visit)
			if err != nil && out.begun {
				err = fmt.Errorf("after %d rows: %s", out.rows, err) // no other source can go on from here
			}
			if err == nil {
				gaps = head.Gaps
			}
			return err
		})
		if err != nil {
			return err
		}
		out.begin(x, h)
		return out.end(a, x, h, p.By, gaps)
	}
	return nil, nil
}

// exportWriter writes the envelope around rows while they come.
type exportWriter struct {
	w     http.ResponseWriter
	buf   *bufio.Writer
	begun bool
	rows  int
	total usage.Counters
	line  []byte
	by    string
}

func (e *exportWriter) begin(x *exchange, h *past) {
	if e.begun {
		return
	}
	e.begun = true
	x.reply.Set("Content-Disposition", attachment(x.router, h, "json"))
	_, _ = e.buf.WriteString(`{"success":true,"data":{"buckets":[`) // bufio keeps the error for the end
}

func (e *exportWriter) row(s *usage.Slot, who *usage.Identity) error {
	b := e.line[:0]
	if e.rows > 0 {
		b = append(b, ',')
	}
	e.rows++
	e.total.Add(s.Counters)
	b = append(b, '\n') // a line a row, for whoever reads it by lines
	b = s.AppendJSON(b, e.by, who)
	e.line = b
	if e.rows%512 == 0 {
		extend(e.w)
	}
	_, err := e.buf.Write(b)
	return err
}

func (e *exportWriter) end(a *API, x *exchange, h *past, by string, gaps []gapItem) error {
	if by == "" {
		by = "total"
	}
	tail, err := json.Marshal(struct {
		Timestamp         time.Time `json:"timestamp"`
		Source            string    `json:"source"`
		From              time.Time `json:"from"`
		To                time.Time `json:"to"`
		ResolutionSeconds int       `json:"resolution_seconds"`
		By                string    `json:"by"`
		Gaps              []gapItem `json:"gaps"`
	}{a.Now().In(h.zone), "history", h.From, h.To, int(h.Resolution.Seconds()), by, append([]gapItem{}, gaps...)})
	if err != nil {
		return err
	}
	b := append([]byte("\n],"), tail[1:len(tail)-1]...)
	b = strconv.AppendInt(append(b, `,"total_buckets":`...), int64(e.rows), 10)
	b = strconv.AppendUint(append(b, `,"total_bytes":`...), e.total.Total(), 10)
	b = append(b, '}')
	b = appendTail(b, x, nil, a.Now())
	if _, err := e.buf.Write(append(b, '\n')); err != nil {
		return err
	}
	return e.buf.Flush()
}
