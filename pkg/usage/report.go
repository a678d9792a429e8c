package usage

import (
	"bufio"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"
)

// Report is what a router's devices moved in a span, for a person to read,
// keep or mail.
type Report struct {
	Router    string // its host name
	Generated time.Time
	Span
	Slots    []Slot // totals in time order, one for each step of Span.Resolution that moved anything
	Devices  []Device
	Services []Service
	Gaps     []Gap
	Total    Counters
	Counting *Counting // whether the numbers can be trusted; nil if nobody looked
}

// reportRows bounds the devices and services that a report lists by name.
const reportRows = 20

// share is part of the report's total in percent.
func (r *Report) share(c Counters) float64 {
	if r.Total.Total() == 0 {
		return 0
	}
	return 100 * float64(c.Total()) / float64(r.Total.Total())
}

// shares are the devices by group and by category, each where some have one.
func (r *Report) shares() iter.Seq2[string, []Share] {
	return func(yield func(string, []Share) bool) {
		for _, by := range [...]string{"group", "category"} {
			if shares := Shares(r.Devices, by, ByTotal); labelled(shares) && !yield(by, shares) {
				return
			}
		}
	}
}

// title names router and span.
func (r *Report) title() string {
	router := Clean(r.Router, MaxName)
	if router == "" {
		router = "this router"
	}
	return fmt.Sprintf("Usage of %s, %s to %s", router, r.From.Format("2006-01-02 15:04"), r.To.Format("2006-01-02 15:04 MST"))
}

// label is how a slot's start is written.
func (r *Report) label(t time.Time) string {
	t = t.In(r.From.Location())
	if r.Resolution >= Day {
		return t.Format("2006-01-02")
	}
	return t.Format("01-02 15:04")
}

// deviceName is the name a report calls a device by.
func deviceName(d *Device) string {
	switch {
	case d.MAC.IsZero():
		return "(no device found)"
	case d.Label() != "":
		return Clean(d.Label(), maxLabel)
	}
	return d.MAC.String()
}

// WriteText writes the report for a terminal.
func (r *Report) WriteText(w io.Writer) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "%s\n\ntotal %s: %s down, %s up\n", r.title(), Bytes(r.Total.Total()), Bytes(r.Total.RxBytes), Bytes(r.Total.TxBytes))
	_ = r.Counting.WriteText(b) // b keeps its failure for Flush
	peak := r.peak()
	fmt.Fprintf(b, "\n%-12s %10s %10s\n", "when", "down", "up")
	for i := range r.Slots {
		s := &r.Slots[i]
		fmt.Fprintf(b, "%-12s %10s %10s  %s\n", r.label(s.Start), Bytes(s.RxBytes), Bytes(s.TxBytes), bar(s.Total(), peak, 30))
	}
	fmt.Fprintf(b, "\n%-28s %-17s %10s %10s %6s\n", "device", "MAC", "down", "up", "share")
	for i := range r.Devices[:min(len(r.Devices), reportRows)] {
		d := &r.Devices[i]
		fmt.Fprintf(b, "%-28s %-17s %10s %10s %5.1f%%\n", deviceName(d), d.MAC, Bytes(d.RxBytes), Bytes(d.TxBytes), r.share(d.Counters))
	}
	r.more(b, len(r.Devices), "devices")
	for by, shares := range r.shares() {
		fmt.Fprintf(b, "\n%-28s %7s %10s %10s %6s\n", by, "devices", "down", "up", "share")
		for i := range shares[:min(len(shares), reportRows)] {
			s := &shares[i]
			fmt.Fprintf(b, "%-28s %7d %10s %10s %5.1f%%\n", s.name(by), s.Devices, Bytes(s.RxBytes), Bytes(s.TxBytes), r.share(s.Counters))
		}
		r.more(b, len(shares), labelLists[by])
	}
	fmt.Fprintf(b, "\n%-28s %10s %10s %6s\n", "service", "down", "up", "share")
	for i := range r.Services[:min(len(r.Services), reportRows)] {
		s := &r.Services[i]
		fmt.Fprintf(b, "%-28s %10s %10s %5.1f%%\n", Clean(s.Name, MaxName), Bytes(s.RxBytes), Bytes(s.TxBytes), r.share(s.Counters))
	}
	r.more(b, len(r.Services), "services")
	for _, g := range r.Gaps {
		fmt.Fprintf(b, "\nunknown: %s to %s, %s\n", r.label(g.From), r.label(g.To), Clean(g.Reason, 256))
	}
	return b.Flush()
}

// WriteMarkdown writes the report for a mail or an issue tracker.
func (r *Report) WriteMarkdown(w io.Writer) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "# %s\n\nTotal **%s**: %s down, %s up.\n", markdown(r.title()), Bytes(r.Total.Total()), Bytes(r.Total.RxBytes), Bytes(r.Total.TxBytes))
	for _, line := range r.Counting.lines() {
		fmt.Fprintf(b, "\n%s\n", markdown(line))
	}
	fmt.Fprint(b, "\n| when | down | up |\n|---|---:|---:|\n")
	for i := range r.Slots {
		s := &r.Slots[i]
		fmt.Fprintf(b, "| %s | %s | %s |\n", r.label(s.Start), Bytes(s.RxBytes), Bytes(s.TxBytes))
	}
	fmt.Fprint(b, "\n| device | MAC | down | up | share |\n|---|---|---:|---:|---:|\n")
	for i := range r.Devices[:min(len(r.Devices), reportRows)] {
		d := &r.Devices[i]
		fmt.Fprintf(b, "| %s | %s | %s | %s | %.1f %% |\n", markdown(deviceName(d)), d.MAC, Bytes(d.RxBytes), Bytes(d.TxBytes), r.share(d.Counters))
	}
	for by, shares := range r.shares() {
		fmt.Fprintf(b, "\n| %s | devices | down | up | share |\n|---|---:|---:|---:|---:|\n", by)
		for i := range shares[:min(len(shares), reportRows)] {
			s := &shares[i]
			fmt.Fprintf(b, "| %s | %d | %s | %s | %.1f %% |\n", markdown(s.name(by)), s.Devices, Bytes(s.RxBytes), Bytes(s.TxBytes), r.share(s.Counters))
		}
	}
	fmt.Fprint(b, "\n| service | down | up | share |\n|---|---:|---:|---:|\n")
	for i := range r.Services[:min(len(r.Services), reportRows)] {
		s := &r.Services[i]
		fmt.Fprintf(b, "| %s | %s | %s | %.1f %% |\n", markdown(Clean(s.Name, MaxName)), Bytes(s.RxBytes), Bytes(s.TxBytes), r.share(s.Counters))
	}
	for _, g := range r.Gaps {
		fmt.Fprintf(b, "\nUnknown: %s to %s, %s.\n", r.label(g.From), r.label(g.To), markdown(Clean(g.Reason, 256)))
	}
	return b.Flush()
}

func (r *Report) more(w io.Writer, n int, what string) {
	if n > reportRows {
		fmt.Fprintf(w, "and %d more %s\n", n-reportRows, what)
	}
}

// peak is the largest slot, at least 1.
func (r *Report) peak() uint64 {
	peak := uint64(1)
	for i := range r.Slots {
		peak = max(peak, r.Slots[i].Total())
	}
	return peak
}

func bar(n, peak uint64, width int) string {
	return strings.Repeat("#", int(float64(n)/float64(peak)*float64(width)+0.5))
}

// markdown keeps a name from becoming markup.
func markdown(s string) string {
	var b strings.Builder
	for _, r := range s {
		if strings.ContainsRune("\\`*_{}[]<>()#+!|~&", r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
