package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/store"
)

const (
	// partFor is how long one router's part of the fleet's sum is used again.
	partFor = 5 * time.Minute
	// partsAtOnce is how many routers' histories are read at the same time.
	partsAtOnce = 4
	// maxParts bounds the parts remembered, and maxPartDevices the devices in
	// them, of some fifty bytes each.
	maxParts, maxPartDevices = 20_000, 1_000_000
	// partDevices is how many devices of one router can be among the fleet's.
	partDevices = 1000
)

type fleetIn struct {
	Days int `query:"days" minimum:"1" maximum:"31" default:"7" doc:"Today and the days before it, in each router's time zone."`
	Sorting
	Limit  int `query:"limit" minimum:"1" maximum:"100" default:"10" doc:"Routers and devices listed at most."`
	Offset int `query:"offset" minimum:"0" maximum:"1073741824" doc:"Rows to leave out at the start of each list."`
}

type fleetRouterItem struct {
	RouterID usage.RouterID `json:"router_id"`
	Name     string         `json:"name"`
	Online   bool           `json:"online"`
	Counters
	Percentage float64 `json:"percentage"`

	moved usage.Counters
}

type fleetDeviceItem struct {
	RouterID   usage.RouterID `json:"router_id"`
	RouterName string         `json:"router_name"`
	MAC        string         `json:"mac"`
	Hostname   *string        `json:"hostname"`
	Alias      *string        `json:"alias"`
	Counters
	Percentage float64 `json:"percentage"`
}

type brokenItem struct {
	RouterID usage.RouterID `json:"router_id"`
	Name     string         `json:"name"`
	Online   bool           `json:"online"`
	Counting any            `json:"counting" doc:"As the router last said it: ok, accuracy, reasons with their cures."`
	At       *time.Time     `json:"counting_at"`
}

// fleetItem is what the routers come to together.
type fleetItem struct {
	Timestamp      time.Time         `json:"timestamp"`
	PeriodDays     int               `json:"period_days"`
	TotalRouters   int               `json:"total_routers"`
	Online         int               `json:"online"`
	WithHistory    int               `json:"routers_with_history" doc:"Those that are in the sums."`
	AsOf           *time.Time        `json:"sums_as_of" doc:"No router's part of the sums is older; null if there is none."`
	TotalBytes     uint64            `json:"total_bytes"`
	BytesRx        uint64            `json:"bytes_rx"`
	BytesTx        uint64            `json:"bytes_tx"`
	TopRouters     []fleetRouterItem `json:"top_routers" nullable:"false"`
	TotalSending   int               `json:"total_top_routers" doc:"Routers in that list, on this page or not."`
	TopDevices     []fleetDeviceItem `json:"top_devices" nullable:"false" doc:"At most a router's 1,000 largest."`
	TotalDevices   int               `json:"total_devices" doc:"Devices in that list, on this page or not."`
	DailyTotals    []dayItem         `json:"daily_totals" nullable:"false" doc:"By the date that each router's own zone had."`
	Broken         []brokenItem      `json:"broken" nullable:"false" doc:"Routers that said they do not count rightly; at most limit."`
	TotalBroken    int               `json:"total_broken"`
	TotalUncertain int               `json:"total_counting_unknown" doc:"Routers that have not said whether they do."`
}

// fleet remembers the parts of the sum, so that asking again costs little and
// a sum that took too long goes on where it was.
type fleet struct {
	mu      sync.Mutex // guards below
	parts   map[partKey]*part
	devices int // in parts
}

type partKey struct {
	router usage.RouterID
	days   int
}

// part is one router's part of the fleet's sum.
type part struct {
	at      time.Time
	replica store.Replica
	total   usage.Counters
	days    map[string]usage.Counters // by date in the router's zone
	devices []partDevice              // the largest, largest first
}

type partDevice struct {
	mac usage.MAC
	usage.Counters
}

// fleetDevice is a device that may be on the page.
type fleetDevice struct {
	router *store.Router
	name   string
	*partDevice
}

func (a *API) mountFleet() {
	mount[fleetIn, fleetItem](a, route{method: http.MethodGet, path: "/api/fleet/summary", needs: store.ScopeRead, tag: "fleet", id: "fleetSummary",
		summary: "What the routers come to together: top routers and devices, totals by day, broken counters",
		about:   "From the relay's own copy of their histories; a router's part is at most 5 minutes old. Of a large fleet the first answer after a start may take longer than a call may: it then fails with ROUTER_TIMEOUT, and the next one goes on where it was."},
		a.fleetSummary)
}

// fleetSummary answers GET /api/fleet/summary.
func (a *API) fleetSummary(x *exchange, in *fleetIn) (json.RawMessage, error) {
	routers, _, err := a.store.Routers(x.Context(), store.RouterQuery{Among: x.key.Routers})
	if err != nil {
		return nil, err
	}
	parts := make([]*part, len(routers))
	work, ctx := errgroup.WithContext(x.Context())
	work.SetLimit(partsAtOnce)
	for i := range routers {
		work.Go(func() (err error) {
			parts[i], err = a.partOf(ctx, &routers[i], in.Days)
			return err
		})
	}
	err = work.Wait()
	switch {
	case errors.Is(err, store.ErrNoHistory):
		return nil, &failure{status: http.StatusNotImplemented, code: "NO_HISTORY", message: "this relay keeps no history (--store none), so it has no sums of its fleet; GET /api/routers lists it", err: err}
	case errors.Is(err, context.DeadlineExceeded):
		return nil, usage.Errorf(usage.Timeout, "the sums of %d routers are not ready yet; ask again, for they go on where they were", len(routers))
	case err != nil:
		return nil, err
	}
	order, err := usage.ParseOrder(in.Sort)
	if err != nil {
		return nil, err
	}
	x.facts.source = fromStore
	return json.Marshal(a.packFleet(x, in, order, routers, parts))
}

// partOf is the router's part, a remembered one if that is young enough.
func (a *API) partOf(ctx context.Context, r *store.Router, days int) (*part, error) {
	key := partKey{r.ID, days}
	now := a.Now()
	a.fleet.mu.Lock()
	p := a.fleet.parts[key]
	a.fleet.mu.Unlock()
	if p != nil && now.Sub(p.at) < partFor {
		return p, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p = &part{at: now, days: make(map[string]usage.Counters)}
	var err error
	if p.replica, err = a.store.Replica(ctx, r.ID); err != nil {
		return nil, err
	}
	loc := a.zoneOf(r)
	span, err := usage.SpanQuery{Days: days, Resolution: "1d"}.Span(now.In(loc))
	if err != nil {
		return nil, err
	}
	devices := make(map[usage.MAC]usage.Counters)
	q := store.HistoryQuery{Range: span.Range, Resolution: usage.Day, By: store.Device}
	if _, err := a.store.History(ctx, r.ID, q, func(s usage.Slot) error {
		sum := devices[s.MAC]
		sum.Add(s.Counters)
		devices[s.MAC] = sum
		date := s.Start.In(loc).Format(time.DateOnly)
		day := p.days[date]
		day.Add(s.Counters)
		p.days[date] = day
		p.total.Add(s.Counters)
		return nil
	}); err != nil {
		return nil, err
	}
	for mac, sum := range devices {
		if !mac.IsZero() {
			p.devices = append(p.devices, partDevice{mac, sum})
		}
	}
	slices.SortFunc(p.devices, func(a, b partDevice) int {
		return cmp.Or(cmp.Compare(b.Total(), a.Total()), slices.Compare(a.mac[:], b.mac[:]))
	})
	p.devices = slices.Clone(p.devices[:min(len(p.devices), partDevices)])
	a.fleet.mu.Lock()
	defer a.fleet.mu.Unlock()
	if a.fleet.parts == nil || len(a.fleet.parts) >= maxParts || a.fleet.devices >= maxPartDevices {
		a.fleet.parts, a.fleet.devices = make(map[partKey]*part), 0
	}
	if before := a.fleet.parts[key]; before != nil {
		a.fleet.devices -= len(before.devices)
	}
	a.fleet.parts[key] = p
	a.fleet.devices += len(p.devices)
	return p, nil
}

// packFleet makes the answer of the routers' parts.
func (a *API) packFleet(x *exchange, in *fleetIn, order usage.Order, routers []store.Router, parts []*part) *fleetItem {
	item := &fleetItem{Timestamp: a.Now().UTC().Truncate(time.Millisecond), PeriodDays: in.Days, TotalRouters: len(routers),
		TopRouters: []fleetRouterItem{}, TopDevices: []fleetDeviceItem{}, DailyTotals: []dayItem{}, Broken: []brokenItem{}}
	days := make(map[string]usage.Counters)
	var total usage.Counters
	var devices []fleetDevice
	var oldest time.Time
	for i := range routers {
		r, p := &routers[i], parts[i]
		link, online := a.hub.Online(r.ID)
		name := r.Name
		if online {
			item.Online++
			name = link.Hello.Name
		}
		switch ok, known := countsRightly(&p.replica); {
		case !known:
			item.TotalUncertain++
		case !ok:
			item.TotalBroken++
			item.Broken = append(item.Broken, brokenItem{r.ID, name, online, p.replica.Counting, unlessZero(p.replica.CountingAt)})
		}
		if p.replica.AsOf.IsZero() {
			continue
		}
		item.WithHistory++
		if oldest.IsZero() || p.at.Before(oldest) {
			oldest = p.at
		}
		total.Add(p.total)
		for date, sum := range p.days {
			day := days[date]
			day.Add(sum)
			days[date] = day
		}
		item.TopRouters = append(item.TopRouters, fleetRouterItem{RouterID: r.ID, Name: name, Online: online, Counters: packCounters(p.total), moved: p.total})
		item.TotalDevices += len(p.devices)
		first := p.devices
		if order == usage.ByTotal { // as they are sorted; of those beyond none can be on the page
			first = first[:min(len(first), in.Offset+in.Limit)]
		}
		for i := range first {
			devices = append(devices, fleetDevice{r, name, &first[i]})
		}
	}
	item.AsOf = unlessZero(oldest)
	item.TotalBytes, item.BytesRx, item.BytesTx = total.Total(), total.RxBytes, total.TxBytes
	for _, date := range slices.Sorted(mapKeys(days)) {
		sum := days[date]
		item.DailyTotals = append(item.DailyTotals, dayItem{Date: date, Bytes: sum.Total(), Counters: packCounters(sum)})
	}
	slices.SortFunc(item.TopRouters, func(a, b fleetRouterItem) int {
		return cmp.Or(order.Compare(a.moved, b.moved), cmp.Compare(a.RouterID, b.RouterID))
	})
	slices.SortFunc(devices, func(a, b fleetDevice) int {
		return cmp.Or(order.Compare(a.Counters, b.Counters), cmp.Compare(a.router.ID, b.router.ID), slices.Compare(a.mac[:], b.mac[:]))
	})
	item.TotalSending = len(item.TopRouters)
	page := usage.Page{Limit: in.Limit, Offset: in.Offset}
	from, to := page.Bounds(len(item.TopRouters))
	item.TopRouters = item.TopRouters[from:to]
	from, to = page.Bounds(len(devices))
	for _, d := range devices[from:to] {
		item.TopDevices = append(item.TopDevices, fleetDeviceItem{RouterID: d.router.ID, RouterName: d.name, MAC: d.mac.String(), Counters: packCounters(d.Counters)})
	}
	from, to = page.Bounds(len(item.Broken))
	item.Broken = item.Broken[from:to]
	share := func(c Counters) float64 {
		if total.Total() == 0 {
			return 0
		}
		return 100 * float64(c.TotalBytes) / float64(total.Total())
	}
	for i := range item.TopRouters {
		item.TopRouters[i].Percentage = share(item.TopRouters[i].Counters)
	}
	for i := range item.TopDevices {
		d := &item.TopDevices[i]
		d.Percentage = share(d.Counters)
		a.nameDevice(x, d)
	}
	return item
}

// nameDevice fills in who a device is, by its router's last word.
func (a *API) nameDevice(x *exchange, d *fleetDeviceItem) {
	mac, err := usage.ParseMAC(d.MAC)
	if err != nil {
		return
	}
	who := a.directoryOf(&exchange{Request: x.Request, router: d.RouterID}).known[mac]
	if who.Hostname != "" {
		d.Hostname = &who.Hostname
	}
	if who.Alias != "" {
		d.Alias = &who.Alias
	}
}

func packCounters(c usage.Counters) Counters {
	return Counters{BytesRx: c.RxBytes, BytesTx: c.TxBytes, TotalBytes: c.Total(), PacketsRx: c.RxPackets, PacketsTx: c.TxPackets, Connections: c.Conns}
}
