package api

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/store"
)

// monitorItem is a device as the old commands server showed it.
type monitorItem struct {
	MAC         string  `json:"mac"`
	IP          string  `json:"ip" doc:"Its current IPv4 address, else its first address, else empty."`
	Download    float64 `json:"download"`
	Upload      float64 `json:"upload"`
	Unit        string  `json:"unit" enum:"MB" doc:"MiB, in truth, rounded to two decimals."`
	Connections uint64  `json:"connections"`

	moved usage.Counters
}

type monitorDeviceItem struct {
	monitorItem
	Period    string `json:"period" enum:"current,week,month"`
	Timestamp string `json:"timestamp" doc:"Local time without zone."`
}

type monitorDeviceIn struct {
	IDs
	MAC    string `path:"mac" doc:"The device." example:"02:77:00:00:00:11"`
	Period string `query:"period" doc:"current, week or month; current if absent."`
}

// MonitorQuery are the parameters of the old server's lists. Its callers send
// ids only and get all rows.
type MonitorQuery struct {
	IDs
	Sorting
	Paging
}

type scanIn struct {
	IDs
	Sort string `query:"sort" enum:"ip,mac,hostname,usage" doc:"By ip if absent; usage is largest first."`
	Paging
}

func (a *API) mountMonitor() {
	rt := func(path, id, summary string) route {
		return route{method: http.MethodGet, path: "/api/" + path, needs: store.ScopeRead, ids: bothIDs, dropIn: true, commandCodes: true,
			tag: "drop-in", id: id, summary: summary}
	}
	mount[MonitorQuery, []monitorItem](a, rt("monitor/current", "monitorCurrent", "Devices of the running period that moved more than 1 KiB"), a.monitorCurrent)
	mount[MonitorQuery, []monitorItem](a, rt("monitor/last-week", "monitorWeek", "Devices that moved more than 1 MiB in 7 days"), a.monitorWeek)
	mount[MonitorQuery, []monitorItem](a, rt("monitor/last-month", "monitorMonth", "Devices that moved more than 10 MiB this month"), a.monitorMonth)
	mount[monitorDeviceIn, monitorDeviceItem](a, rt("monitor/device/{mac}", "monitorDevice", "One device"), a.monitorDevice)
	mount[scanIn, []scanItem](a, rt("network/scan", "networkScan", "Devices on the router's networks"), a.networkScan)
}

// The totals from which on a device is shown, in bytes.
const (
	showCurrent = 1 << 10
	showWeek    = 1 << 20
	showMonth   = 10 << 20
)

func (a *API) monitorCurrent(x *exchange, in *MonitorQuery) (json.RawMessage, error) {
	items, err := a.monitorOfPeriod(x)
	return in.answer(x, items, err)
}

func (a *API) monitorWeek(x *exchange, in *MonitorQuery) (json.RawMessage, error) {
	items, err := a.monitorOfWeek(x)
	return in.answer(x, items, err)
}

func (a *API) monitorMonth(x *exchange, in *MonitorQuery) (json.RawMessage, error) {
	items, err := a.monitorOfMonth(x)
	return in.answer(x, items, err)
}

// answer is the page's part of the list.
func (q *MonitorQuery) answer(x *exchange, items []monitorItem, err error) (json.RawMessage, error) {
	if err != nil {
		return nil, err
	}
	order, err := usage.ParseOrder(q.Sort)
	if err != nil {
		return nil, err
	}
	items = pageOf(x, items, q.page(), func(a, b monitorItem) int { return order.Compare(a.moved, b.moved) })
	return json.Marshal(append([]monitorItem{}, items...)) // never null
}

// monitorDevice answers GET /api/monitor/device/{mac}.
func (a *API) monitorDevice(x *exchange, in *monitorDeviceIn) (json.RawMessage, error) {
	if in.Period == "" {
		in.Period = "current"
	}
	of, ok := map[string]struct {
		list func(*exchange) ([]monitorItem, error)
		name string
	}{
		"current": {a.monitorOfPeriod, "current"},
		"week":    {a.monitorOfWeek, "weekly"},
		"month":   {a.monitorOfMonth, "monthly"},
	}[in.Period]
	if !ok {
		return nil, usage.Errorf(usage.Invalid, "period %q: choose current, week or month", usage.Clean(in.Period, 32))
	}
	items, err := of.list(x)
	if err != nil {
		return nil, err
	}
	wanted := strings.ToLower(strings.TrimSpace(in.MAC))
	at := slices.IndexFunc(items, func(i monitorItem) bool { return i.MAC == wanted })
	if at < 0 {
		return nil, usage.Errorf(usage.NotFound, "Device with MAC '%s' not found in %s data", usage.Clean(wanted, 64), of.name)
	}
	return json.Marshal(monitorDeviceItem{items[at], in.Period, a.Now().Local().Format(stampLocal)})
}

// monitorOfPeriod are the devices of nlbwmon's running period.
func (a *API) monitorOfPeriod(x *exchange) ([]monitorItem, error) {
	devices, err := a.devicesOf(x)
	if err != nil {
		return nil, err
	}
	var items []monitorItem
	for i := range devices {
		items = show(items, devices[i].MAC, devices[i].address(), devices[i].counters(), showCurrent)
	}
	return sorted(items), nil
}

func (a *API) monitorOfWeek(x *exchange) ([]monitorItem, error) {
	return a.monitorOfSpan(x, params{Timeframe: "7d"}, showWeek)
}

func (a *API) monitorOfMonth(x *exchange) ([]monitorItem, error) {
	router, err := a.routerOf(x)
	if err != nil {
		return nil, err
	}
	return a.monitorOfSpan(x, params{Days: a.Now().In(a.zoneOf(&router)).Day()}, showMonth)
}

func (a *API) monitorOfSpan(x *exchange, p params, least uint64) ([]monitorItem, error) {
	h, err := a.daysOf(x, p)
	if err != nil {
		return nil, err
	}
	s, err := a.summary(x, h, p, reportRows)
	if err != nil {
		return nil, err
	}
	// The addresses are those of now; without them the numbers are as true.
	told := x.facts
	addresses := make(map[string]string)
	if devices, err := a.devicesOf(x); err == nil {
		for i := range devices {
			addresses[strings.ToLower(devices[i].MAC)] = devices[i].address()
		}
	}
	x.facts = told
	var items []monitorItem
	for i := range s.Devices {
		mac := s.Devices[i].MAC.String()
		items = show(items, mac, addresses[mac], s.Devices[i].Counters, least)
	}
	return sorted(items), nil
}

// show appends the device if it moved more than least.
func show(items []monitorItem, mac, ip string, c usage.Counters, least uint64) []monitorItem {
	parsed, err := usage.ParseMAC(mac)
	if err != nil || parsed.IsZero() || c.Total() <= least {
		return items
	}
	return append(items, monitorItem{MAC: parsed.String(), IP: ip, Download: mebibytes(c.RxBytes), Upload: mebibytes(c.TxBytes),
		Unit: "MB", Connections: c.Conns, moved: c})
}

func sorted(items []monitorItem) []monitorItem {
	slices.SortFunc(items, func(a, b monitorItem) int {
		return cmp.Or(usage.ByTotal.Compare(a.moved, b.moved), cmp.Compare(a.MAC, b.MAC))
	})
	return items
}

func mebibytes(n uint64) float64 { return math.Round(float64(n)/(1<<20)*100) / 100 }

// address is the device's current IPv4 address, else its first.
func (d *deviceReply) address() string {
	if d.IP.IsValid() {
		return d.IP.String()
	}
	for _, text := range d.IPs {
		if ip, err := netip.ParseAddr(text); err == nil {
			return ip.String()
		}
	}
	return ""
}

// devicesOf are all devices of the running period, from as many pages as it
// takes.
func (a *API) devicesOf(x *exchange) ([]deviceReply, error) {
	var all []deviceReply
	for p := (params{}); ; {
		data, err := a.askKnown(x, "usage.current", p)
		if err != nil {
			return nil, err
		}
		var page currentReply
		if err := json.Unmarshal(data, &page); err != nil {
			return nil, fmt.Errorf("read usage.current of router %s: %w", x.router.Short(), err)
		}
		all = append(all, page.Devices...)
		if page.NextOffset <= p.Offset {
			return all, nil
		}
		p.Offset = page.NextOffset
	}
}

// scanItem is a device on the router's networks.
type scanItem struct {
	IP       string     `json:"ip"`
	MAC      string     `json:"mac"`
	Hostname string     `json:"hostname" doc:"Unknown if unknown."`
	Vendor   string     `json:"vendor" doc:"Unknown Vendor if unknown."`
	Usage    *scanUsage `json:"usage" doc:"What it moved in the running period; null if nlbwmon cannot be read."`
}

func (i *scanItem) moved() uint64 {
	if i.Usage == nil {
		return 0
	}
	return i.Usage.TotalBytes
}

type scanUsage struct {
	Download    float64 `json:"download"`
	Upload      float64 `json:"upload"`
	Unit        string  `json:"unit" enum:"MB"`
	TotalBytes  uint64  `json:"total_bytes"`
	Connections uint64  `json:"connections"`
}

// networkScan answers GET /api/network/scan.
func (a *API) networkScan(x *exchange, in *scanIn) (json.RawMessage, error) {
	data, err := a.askKnown(x, "network.scan", params{})
	if err != nil {
		return nil, err
	}
	told := x.facts
	var scan struct {
		Devices []identityReply `json:"devices"`
	}
	if err := json.Unmarshal(data, &scan); err != nil {
		return nil, fmt.Errorf("read network.scan of router %s: %w", x.router.Short(), err)
	}
	devices, err := a.devicesOf(x)
	x.facts = told
	moved := make(map[string]usage.Counters, len(devices))
	for i := range devices {
		moved[strings.ToLower(devices[i].MAC)] = devices[i].counters()
	}
	items := make([]scanItem, 0, len(scan.Devices))
	for i := range scan.Devices {
		d := &scan.Devices[i]
		mac, bad := usage.ParseMAC(d.MAC)
		if bad != nil || mac.IsZero() {
			continue
		}
		who := d.identity()
		item := scanItem{IP: (&deviceReply{identityReply: *d}).address(), MAC: mac.String(),
			Hostname: cmp.Or(who.Name(), "Unknown"), Vendor: cmp.Or(who.Vendor, "Unknown Vendor")}
		if err == nil {
			c := moved[item.MAC]
			item.Usage = &scanUsage{Download: mebibytes(c.RxBytes), Upload: mebibytes(c.TxBytes), Unit: "MB", TotalBytes: c.Total(), Connections: c.Conns}
		}
		items = append(items, item)
	}
	slices.SortStableFunc(items, func(a, b scanItem) int { return compareIPs(a.IP, b.IP) })
	return json.Marshal(pageOf(x, items, in.page(), map[string]func(a, b scanItem) int{
		"mac":      func(a, b scanItem) int { return cmp.Compare(a.MAC, b.MAC) },
		"hostname": func(a, b scanItem) int { return cmp.Compare(a.Hostname, b.Hostname) },
		"usage":    func(a, b scanItem) int { return cmp.Compare(b.moved(), a.moved()) },
	}[in.Sort]))
}

func compareIPs(a, b string) int {
	x, _ := netip.ParseAddr(a)
	y, _ := netip.ParseAddr(b)
	return x.Compare(y)
}
