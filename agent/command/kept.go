package command

import (
	"context"
	"fmt"
	"time"

	"github.com/netpilot/netpilot/agent/history"
	"github.com/netpilot/netpilot/agent/method"
	"github.com/netpilot/netpilot/agent/sample"
	"github.com/netpilot/netpilot/pkg/usage"
)

// reportHistory has the status tell how the history is kept, or why none is.
func (r *router) reportHistory(store *history.Store, sampler *sample.Sampler, err error) {
	own := r.agent.Status
	r.agent.Status = func(ctx context.Context) method.Status {
		s := own(ctx)
		if err != nil {
			s.History.Error = err.Error()
			return s
		}
		s.History = historyStatus(r, store, sampler)
		return s
	}
}

func historyStatus(r *router, store *history.Store, sampler *sample.Sampler) method.HistoryStatus {
	health, report := store.Health(), sampler.Report()
	h := method.HistoryStatus{
		OK: true, Directory: r.path(r.config.History.Dir), Flash: r.historyFlash(),
		BehindBytes: health.Behind, Bytes: health.Bytes, LeftAlone: append([]string{}, health.LeftAlone...), Repairs: []string{},
		Samples: report.Looks, Waiting: report.Waiting, Gaps: report.Gaps, Attributed: report.Attributed, LinkSpeed: report.LinkSpeed,
		Unresolved: []method.UnresolvedUsage{}, Quarantined: []method.SuspectUsage{},
	}
	if health.FlashErr != nil {
		h.FlashError = health.FlashErr.Error()
		if since := health.FlashSince; !since.IsZero() {
			h.FlashSince = &since
		}
	}
	for _, repair := range store.Repairs() {
		h.Repairs = append(h.Repairs, repair.String())
	}
	if !report.Last.IsZero() {
		h.LastSample = &report.Last
	}
	for _, u := range report.Unresolved {
		v := method.UnresolvedUsage{RxBytes: u.RxBytes, TxBytes: u.TxBytes}
		if u.Addr.IsValid() {
			v.IP = u.Addr.String()
		}
		h.Unresolved = append(h.Unresolved, v)
	}
	for _, q := range report.Quarantined {
		h.Quarantined = append(h.Quarantined, method.SuspectUsage{MAC: q.MAC.String(), Last: q.Last, RxBytes: q.RxBytes, TxBytes: q.TxBytes})
	}
	return h
}

// writeHistoryStatus writes what a technician wants to see of it.
func writeHistoryStatus(row func(name, format string, args ...any), h *method.HistoryStatus) {
	if !h.OK {
		if h.Error != "" {
			row("history", "NONE: %s", usage.Clean(h.Error, 300))
		}
		return
	}
	last := "no sample yet"
	if h.LastSample != nil {
		last = "last sample " + h.LastSample.Format(time.RFC3339)
	}
	row("history", "%d KiB in %s, %s", (h.Bytes+1023)>>10, h.Directory, last)
	switch {
	case h.Flash == "":
		row("flash", "no copy: a reboot ends the history (option history_flash)")
	case h.FlashError != "":
		row("flash", "BEHIND by %d bytes: %s", h.BehindBytes, usage.Clean(h.FlashError, 300))
	default:
		row("flash", "copied to %s", h.Flash)
	}
	if h.Waiting > 0 {
		row("waiting", "%d looks for the clock to be set", h.Waiting)
	}
	if h.Gaps > 0 {
		row("gaps", "%d since the agent began; see: netpilot-agent history", h.Gaps)
	}
	bytes := func(rx, tx uint64) string { return fmt.Sprintf("%d bytes down, %d up", rx, tx) }
	for i, u := range h.Unresolved {
		if i == maxShown {
			row("unresolved", "and %d more; see: status --format json", len(h.Unresolved)-maxShown)
			break
		}
		row("unresolved", "%s, %s", orDash(u.IP), bytes(u.RxBytes, u.TxBytes))
	}
	for i, q := range h.Quarantined {
		if i == maxShown {
			row("quarantined", "and %d more; see: status --format json", len(h.Quarantined)-maxShown)
			break
		}
		row("quarantined", "%s, %s: more than the link can carry, in no sum", q.MAC, bytes(q.RxBytes, q.TxBytes))
	}
	for _, repair := range h.Repairs {
		row("repaired", "%s", usage.Clean(repair, 300))
	}
	for _, name := range h.LeftAlone {
		row("left alone", "%s", usage.Clean(name, 100))
	}
}

// maxShown is how many lines of a kind a person is shown.
const maxShown = 5
