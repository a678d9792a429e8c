package usage

import (
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"
)

// WriteTable writes the answer's page for a person: who answered and how old
// that is, the rows, and what is not shown.
func (a *Answer) WriteTable(w io.Writer) error {
	fmt.Fprintf(w, "%s\n", a.headline())
	if err := a.Counting.WriteText(w); err != nil {
		return err
	}
	fmt.Fprintln(w)
	for i := range a.Interfaces {
		c := &a.Interfaces[i]
		if _, err := fmt.Fprintf(w, "interface %s: received %s, sent %s\n", Clean(c.Name, MaxName), Bytes(c.RxBytes), Bytes(c.TxBytes)); err != nil {
			return err
		}
	}
	if len(a.Interfaces) > 0 {
		return nil // no devices
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	head := map[View]string{
		ByDevice:  "MAC\tIP\t",
		ByHost:    "MAC\tIP\t",
		ByService: "",
		ByRecord:  "MAC\tIP\t",
		ByGroup:   "devices\t", ByCategory: "devices\t",
	}[a.View]
	last := map[View]string{ByDevice: "hostname", ByHost: "hostname", ByService: "service", ByRecord: "service", ByGroup: "group", ByCategory: "category"}[a.View]
	fmt.Fprintf(t, "%sdownload\tupload\ttotal\tconns\t  %s\n", head, last)
	from, to := a.Page.Bounds(a.Len())
	for i := from; i < to; i++ {
		a.tableRow(t, i)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	switch {
	case from == to && from > 0:
		fmt.Fprintf(w, "\nno rows here, there are %d\n", a.Len())
	case from > 0 || to < a.Len():
		fmt.Fprintf(w, "\nrows %d to %d of %d\n", from+1, to, a.Len())
	}
	_, err := fmt.Fprintf(w, "\ntotal %s: %s down, %s up\n", Bytes(a.Total.Total()), Bytes(a.Total.RxBytes), Bytes(a.Total.TxBytes))
	for i := range a.Unresolved {
		if i == 10 {
			_, err = fmt.Fprintf(w, "and %d more addresses\n", len(a.Unresolved)-i)
			break
		}
		h := &a.Unresolved[i]
		if i == 0 {
			fmt.Fprintf(w, "\naddresses for which nlbwmon found no device:\n")
		}
		_, err = fmt.Fprintf(w, "  %s  %s down, %s up\n", ipText(h.IP), Bytes(h.RxBytes), Bytes(h.TxBytes))
	}
	return err
}

func (a *Answer) headline() string {
	line := "source " + Clean(a.Source, 256)
	if a.Period != "" {
		line += ", period since " + a.Period
	}
	if !a.ResetAt.IsZero() {
		line += ", reset " + a.ResetAt.Format("2006-01-02 15:04")
	}
	if !a.AsOf.IsZero() {
		line += ", " + Age(a.Timestamp.Sub(a.AsOf)) + " old"
	}
	if a.AddressOrder != "" {
		line += ", addresses " + a.AddressOrder
	}
	if a.Damage != "" {
		line += "\nincomplete: " + Clean(a.Damage, 512)
	}
	return line
}

func (a *Answer) tableRow(t io.Writer, i int) {
	var c Counters
	var name string
	switch a.View {
	case ByDevice:
		d := &a.Devices[i]
		ip := ipText(d.IP)
		if more := len(d.IPs) - 1; more > 0 {
			ip += " +" + strconv.Itoa(more)
		}
		fmt.Fprintf(t, "%s\t%s\t", d.MAC, ip)
		c, name = d.Counters, d.Label()
	case ByHost:
		h := &a.Hosts[i]
		mac := "-"
		if !h.MAC.IsZero() {
			mac = h.MAC.String()
		}
		fmt.Fprintf(t, "%s\t%s\t", mac, ipText(h.IP))
		c, name = h.Counters, h.Label()
	case ByService:
		c, name = a.Services[i].Counters, a.Services[i].Name
	case ByRecord:
		r := &a.Records[i]
		fmt.Fprintf(t, "%s\t%s\t", r.MAC, ipText(r.IP()))
		c, name = r.Counters(), serviceOf(r, a.Known)
	case ByGroup, ByCategory:
		s := &a.Shares[i]
		fmt.Fprintf(t, "%d\t", s.Devices)
		c, name = s.Counters, s.name(a.View.String())
	}
	if name == "" {
		name = "-"
	}
	fmt.Fprintf(t, "%s\t%s\t%s\t%d\t  %s\n", Bytes(c.RxBytes), Bytes(c.TxBytes), Bytes(c.Total()), c.Conns, Clean(name, maxLabel))
}

// Bytes is n for a person, in units of 1024.
func Bytes(n uint64) string {
	if n < 1024 {
		return strconv.FormatUint(n, 10) + " B"
	}
	value, unit := float64(n), -1
	for value >= 1024 && unit < len("KMGTPE")-1 {
		value, unit = value/1024, unit+1
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTPE"[unit])
}

// Age is a time span for a person; a span below zero comes from a clock that
// was set back.
func Age(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d < 2*time.Minute:
		return strconv.Itoa(int(d.Seconds())) + " s"
	case d < 2*time.Hour:
		return strconv.Itoa(int(d.Minutes())) + " min"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d.Hours())) + " h"
	}
	return strconv.Itoa(int(d.Hours()/24)) + " days"
}
