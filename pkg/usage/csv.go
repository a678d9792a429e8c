package usage

import (
	"encoding/csv"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// WriteCSV writes the answer's page as CSV with a header line (RFC 4180, but
// for lines that end as Unix tools expect). A cell that a spreadsheet would
// take for a formula gets a leading quote. Where interfaces stand in for
// devices the rows are theirs.
func (a *Answer) WriteCSV(w io.Writer) error {
	c := csv.NewWriter(w)
	counters := []string{"bytes_rx", "bytes_tx", "total_bytes", "packets_rx", "packets_tx", "connections"}
	if len(a.Interfaces) > 0 {
		rows := [][]string{append([]string{"interface"}, counters[:5]...)} // nobody counts their connections
		for i := range a.Interfaces {
			cells := withCounters([]string{SafeCell(Clean(a.Interfaces[i].Name, MaxName))}, a.Interfaces[i].Counters)
			rows = append(rows, cells[:len(rows[0])])
		}
		return c.WriteAll(rows)
	}
	head := map[View][]string{
		ByDevice:  {"mac", "ip", "ips", "hostname"},
		ByHost:    {"mac", "ip", "hostname"},
		ByService: {"service", "proto", "port"},
		ByRecord:  {"family", "proto", "port", "mac", "ip", "service"},
		ByGroup:   {"group", "devices"}, ByCategory: {"category", "devices"},
	}[a.View]
	head = append(head, counters...)
	if a.View == ByDevice || a.View == ByHost {
		head = append(head, "alias", "group", "category", "vendor", "name_source", "last_seen")
	}
	if err := c.Write(head); err != nil {
		return err
	}
	from, to := a.Page.Bounds(a.Len())
	for i := from; i < to; i++ {
		if err := c.Write(a.cells(i)); err != nil {
			return err
		}
	}
	if to == a.Len() { // addresses without a device end the list, their MAC empty
		for i := range a.Unresolved {
			if err := c.Write(hostCells(&a.Unresolved[i], true)); err != nil {
				return err
			}
		}
	}
	c.Flush()
	return c.Error()
}

// cells is row i as CSV cells.
func (a *Answer) cells(i int) []string {
	switch a.View {
	case ByHost:
		return hostCells(&a.Hosts[i], false)
	case ByService:
		s := &a.Services[i]
		return withCounters([]string{SafeCell(s.Name), strconv.Itoa(int(s.Proto)), strconv.Itoa(int(s.Port))}, s.Counters)
	case ByRecord:
		r := &a.Records[i]
		return withCounters([]string{r.familyText(), strconv.Itoa(int(r.Proto)), strconv.Itoa(int(r.Port)), r.MAC.String(),
			ipText(r.IP()), SafeCell(serviceOf(r, a.Known))}, r.Counters())
	case ByGroup, ByCategory:
		s := &a.Shares[i]
		return withCounters([]string{SafeCell(s.Label), strconv.Itoa(s.Devices)}, s.Counters)
	}
	d := &a.Devices[i]
	ips := make([]string, 0, len(d.IPs))
	for _, ip := range d.IPs[:min(len(d.IPs), maxListed)] {
		ips = append(ips, ip.String())
	}
	return withCounters([]string{d.MAC.String(), ipText(d.IP), strings.Join(ips, " "), SafeCell(d.Hostname)}, d.Counters, identityCells(&d.Identity)...)
}

// hostCells has an empty MAC for an unresolved address.
func hostCells(h *Host, asDevice bool) []string {
	mac := ""
	if !h.MAC.IsZero() {
		mac = h.MAC.String()
	}
	cells := []string{mac, ipText(h.IP)}
	if asDevice {
		cells = append(cells, ipText(h.IP))
	}
	return withCounters(append(cells, SafeCell(h.Hostname)), h.Counters, identityCells(&h.Identity)...)
}

// identityCells stand behind the numbers, where older readers do not look.
func identityCells(id *Identity) []string {
	seen := ""
	if !id.LastSeen.IsZero() {
		seen = id.LastSeen.Truncate(time.Second).Format(time.RFC3339)
	}
	return []string{SafeCell(id.Alias), SafeCell(id.Group), id.Category, SafeCell(id.Vendor), id.NameSource, seen}
}

func withCounters(cells []string, c Counters, more ...string) []string {
	for _, n := range [...]uint64{c.RxBytes, c.TxBytes, c.Total(), c.RxPackets, c.TxPackets, c.Conns} {
		cells = append(cells, strconv.FormatUint(n, 10))
	}
	return append(cells, more...)
}

func ipText(ip netip.Addr) string {
	if !ip.IsValid() {
		return ""
	}
	return ip.String()
}

// SafeCell keeps a spreadsheet from running a name as a formula.
func SafeCell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}
