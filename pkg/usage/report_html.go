package usage

import (
	"bufio"
	"fmt"
	"html"
	"io"
)

// The page has no script, loads nothing and says so to the browser: it can be
// opened from a disk or mailed.
const (
	pageHead = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>%s</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #1d2733; background: #fff }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100%% } th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #dde3ea }
th:first-child, td:first-child, td.t, th.t { text-align: left } td.t { font-family: ui-monospace, monospace }
svg { width: 100%%; height: auto } .rx { fill: #2f6fde } .tx { fill: #e08a2e } .axis { stroke: #9aa7b5 } svg text { font-size: 11px; fill: #51606f }
.share { background: #e3ecfb; display: inline-block; height: .7em; vertical-align: middle }
.gap { color: #9a3412 }
</style>
</head>
<body>
`
	chartWidth  = 860
	chartHeight = 220
	chartLeft   = 70
)

// WriteHTML writes the report as one self-contained page with plots.
func (r *Report) WriteHTML(w io.Writer) error {
	b := bufio.NewWriter(w)
	title := html.EscapeString(r.title())
	fmt.Fprintf(b, pageHead, title)
	fmt.Fprintf(b, "<h1>%s</h1>\n<p>Total <strong>%s</strong>: %s down, %s up. Made %s.</p>\n", title,
		Bytes(r.Total.Total()), Bytes(r.Total.RxBytes), Bytes(r.Total.TxBytes), r.Generated.Format("2006-01-02 15:04 MST"))
	class := ""
	if r.Counting != nil && !r.Counting.OK {
		class = ` class="gap"`
	}
	for _, line := range r.Counting.lines() {
		fmt.Fprintf(b, "<p%s>%s</p>\n", class, html.EscapeString(line))
	}
	for _, g := range r.Gaps {
		fmt.Fprintf(b, "<p class=\"gap\">Unknown: %s to %s, %s.</p>\n", r.label(g.From), r.label(g.To), html.EscapeString(Clean(g.Reason, 256)))
	}
	r.chart(b)
	fmt.Fprint(b, "<h2>Devices</h2>\n<table>\n<tr><th>device</th><th class=\"t\">MAC</th><th>down</th><th>up</th><th>share</th></tr>\n")
	for i := range r.Devices[:min(len(r.Devices), reportRows)] {
		d := &r.Devices[i]
		fmt.Fprintf(b, "<tr><td>%s</td><td class=\"t\">%s</td><td>%s</td><td>%s</td><td>%s</td></tr>\n", html.EscapeString(deviceName(d)), d.MAC,
			Bytes(d.RxBytes), Bytes(d.TxBytes), shareCell(r.share(d.Counters)))
	}
	fmt.Fprint(b, "</table>\n<p>")
	r.more(b, len(r.Devices), "devices")
	fmt.Fprint(b, "</p>\n")
	for by, shares := range r.shares() {
		fmt.Fprintf(b, "<h2>By %s</h2>\n<table>\n<tr><th>%s</th><th>devices</th><th>down</th><th>up</th><th>share</th></tr>\n", by, by)
		for i := range shares[:min(len(shares), reportRows)] {
			s := &shares[i]
			fmt.Fprintf(b, "<tr><td>%s</td><td>%d</td><td>%s</td><td>%s</td><td>%s</td></tr>\n", html.EscapeString(s.name(by)), s.Devices,
				Bytes(s.RxBytes), Bytes(s.TxBytes), shareCell(r.share(s.Counters)))
		}
		fmt.Fprint(b, "</table>\n<p>")
		r.more(b, len(shares), labelLists[by])
		fmt.Fprint(b, "</p>\n")
	}
	fmt.Fprint(b, "<h2>Services</h2>\n<table>\n<tr><th>service</th><th>down</th><th>up</th><th>share</th></tr>\n")
	for i := range r.Services[:min(len(r.Services), reportRows)] {
		s := &r.Services[i]
		fmt.Fprintf(b, "<tr><td>%s</td><td>%s</td><td>%s</td><td>%s</td></tr>\n", html.EscapeString(Clean(s.Name, MaxName)),
			Bytes(s.RxBytes), Bytes(s.TxBytes), shareCell(r.share(s.Counters)))
	}
	fmt.Fprint(b, "</table>\n<p>")
	r.more(b, len(r.Services), "services")
	fmt.Fprint(b, "</p>\n</body>\n</html>\n")
	return b.Flush()
}

// chart draws a bar a slot, download below upload, on a true time axis: a
// span in which nothing was counted stays empty.
func (r *Report) chart(w io.Writer) {
	span := r.To.Sub(r.From)
	if len(r.Slots) == 0 || span <= 0 {
		fmt.Fprint(w, "<p>Nothing was counted in this span.</p>\n")
		return
	}
	peak := float64(r.peak())
	fmt.Fprintf(w, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"bytes over time\">\n", chartLeft+chartWidth+10, chartHeight+40)
	for i := range 3 {
		y := 10 + chartHeight*float64(i)/2
		fmt.Fprintf(w, "<line class=\"axis\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke-width=\".5\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
			chartLeft, chartLeft+chartWidth, y, y, chartLeft-6, y+4, Bytes(uint64(peak*(1-float64(i)/2))))
	}
	for i := range r.Slots {
		s := &r.Slots[i]
		x := chartLeft + chartWidth*float64(max(s.Start.Sub(r.From), 0))/float64(span)
		width := max(chartWidth*float64(s.Length)/float64(span)-1, 1)
		rx := chartHeight * float64(s.RxBytes) / peak
		tx := chartHeight * float64(s.TxBytes) / peak
		fmt.Fprintf(w, "<g><title>%s: %s down, %s up</title><rect class=\"rx\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>"+
			"<rect class=\"tx\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/></g>\n",
			r.label(s.Start), Bytes(s.RxBytes), Bytes(s.TxBytes),
			x, 10+chartHeight-rx, width, rx, x, 10+chartHeight-rx-tx, width, tx)
	}
	y := chartHeight + 28
	fmt.Fprintf(w, "<text x=\"%d\" y=\"%d\">%s</text><text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n",
		chartLeft, y, r.label(r.From), chartLeft+chartWidth, y, r.label(r.To))
	fmt.Fprintf(w, "<rect class=\"rx\" x=\"%d\" y=\"%d\" width=\"10\" height=\"10\"/><text x=\"%d\" y=\"%d\">down</text>"+
		"<rect class=\"tx\" x=\"%d\" y=\"%d\" width=\"10\" height=\"10\"/><text x=\"%d\" y=\"%d\">up</text>\n</svg>\n",
		chartLeft+350, y-9, chartLeft+364, y, chartLeft+420, y-9, chartLeft+434, y)
}

func shareCell(percent float64) string {
	return fmt.Sprintf("<span class=\"share\" style=\"width:%.1fem\"></span> %.1f&nbsp;%%", percent/10, percent)
}
