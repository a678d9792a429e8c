package usage_test

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

// people knows hosts by their MAC.
type people map[usage.MAC]struct {
	name string
	ips  []netip.Addr
}

func (p people) Hostname(m usage.MAC) string { return p[m].name }
func (p people) Identity(m usage.MAC, _ time.Time) usage.Identity {
	return usage.Identity{Hostname: p[m].name}
}
func (p people) IPs(m usage.MAC) []netip.Addr { return p[m].ips }

// ports names TCP services.
type ports map[uint16]string

func (p ports) Lookup(proto uint8, port uint16) (string, bool) {
	name, ok := p[port]
	return name, ok && proto == 6
}

func macOf(n int) usage.MAC { return usage.MAC{0x02, 0x77, 0, 0, byte(n >> 8), byte(n)} }

// row is a record with counters that are told apart.
func row(mac usage.MAC, ip string, proto uint8, port uint16, rx, tx uint64) usage.Record {
	r := usage.Record{MAC: mac, Proto: proto, Port: port, Conns: 1, RxBytes: rx, RxPackets: rx / 10, TxBytes: tx, TxPackets: tx / 10}
	r.SetIP(netip.MustParseAddr(ip))
	return r
}

func tallied(rows []usage.Record) *usage.Tally {
	var t usage.Tally
	t.Begin(len(rows))
	for i := range rows {
		t.Add(&rows[i])
	}
	return &t
}

// randomRows draws rows from few hosts and services, so that many share them;
// every tenth has no MAC. Counters near 2^64 make the sums wrap.
func randomRows(rng *rand.Rand, n int) []usage.Record {
	rows := make([]usage.Record, n)
	for i := range rows {
		host := rng.IntN(12)
		ip := fmt.Sprintf("10.0.%d.%d", rng.IntN(3), host)
		if rng.IntN(3) == 0 {
			ip = fmt.Sprintf("fd77::%x:%x", rng.IntN(3), host)
		}
		rows[i] = row(macOf(host+1), ip, []uint8{0, 1, 6, 17}[rng.IntN(4)], uint16(rng.IntN(6)), rng.Uint64N(1<<40), rng.Uint64N(1<<40))
		if rng.IntN(10) == 0 {
			rows[i].MAC = usage.MAC{}
		}
		if rng.IntN(50) == 0 {
			rows[i].RxBytes = math.MaxUint64 - rng.Uint64N(9)
		}
	}
	return rows
}

// Every list of a tally sums each record once: held against sums made one by
// one.
func TestTallySumsEachRecordOnce(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	known := ports{0: "zero", 1: "one", 2: "one"}
	for range 50 {
		rows := randomRows(rng, rng.IntN(400))
		tally := tallied(rows)
		var total usage.Counters
		devices, unresolved := map[usage.MAC]usage.Counters{}, map[netip.Addr]usage.Counters{}
		hosts, services := map[string]usage.Counters{}, map[string]usage.Counters{}
		for i := range rows {
			r := &rows[i]
			total.Add(r.Counters())
			if r.MAC.IsZero() {
				put(unresolved, r.IP(), r)
			} else {
				put(devices, r.MAC, r)
			}
			put(hosts, r.MAC.String()+r.IP().String(), r)
			name, ok := known.Lookup(r.Proto, r.Port)
			if !ok {
				name = "other"
			}
			put(services, name, r)
		}
		if got := tally.Total(); got != total {
			t.Fatalf("total: got %+v, want %+v", got, total)
		}
		if got := tally.Rows(); got != len(rows) {
			t.Errorf("rows: got %d, want %d", got, len(rows))
		}
		gotDevices, gotUnresolved := tally.Devices(usage.ByTotal, nil)
		sameSums(t, "devices", gotDevices, devices, func(d usage.Device) (usage.MAC, usage.Counters) { return d.MAC, d.Counters })
		sameSums(t, "unresolved", gotUnresolved, unresolved, func(h usage.Host) (netip.Addr, usage.Counters) { return h.IP, h.Counters })
		sameSums(t, "hosts", tally.Hosts(usage.ByRx, nil), hosts, func(h usage.Host) (string, usage.Counters) {
			return h.MAC.String() + h.IP.String(), h.Counters
		})
		sameSums(t, "services", tally.Services(usage.ByTx, known), services, func(s usage.Service) (string, usage.Counters) { return s.Name, s.Counters })
	}
}

func put[K comparable](sums map[K]usage.Counters, key K, r *usage.Record) {
	c := sums[key]
	c.Add(r.Counters())
	sums[key] = c
}

func sameSums[T any, K comparable](t *testing.T, what string, got []T, want map[K]usage.Counters, of func(T) (K, usage.Counters)) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: got %d, want %d", what, len(got), len(want))
	}
	seen := map[K]bool{}
	for _, g := range got {
		key, c := of(g)
		if seen[key] || c != want[key] {
			t.Errorf("%s: %v: got %+v (again: %t), want %+v", what, key, c, seen[key], want[key])
		}
		seen[key] = true
	}
}

// Begin starts anew: what a torn reading left is gone.
func TestTallyBeginForgets(t *testing.T) {
	tally := tallied(randomRows(rand.New(rand.NewPCG(3, 4)), 100))
	tally.Begin(1)
	r := row(macOf(1), "10.0.0.1", 6, 80, 5, 7)
	tally.Add(&r)
	devices, unresolved := tally.Devices(usage.ByTotal, nil)
	if tally.Rows() != 1 || tally.Total() != r.Counters() || len(devices) != 1 || len(unresolved) != 0 || len(tally.Services(usage.ByTotal, nil)) != 1 {
		t.Errorf("got %d rows, %+v, %v, %v", tally.Rows(), tally.Total(), devices, unresolved)
	}
}

// An empty tally lists nothing, and its lists are JSON's [] and not null.
func TestTallyOfNothing(t *testing.T) {
	tally := tallied(nil)
	devices, unresolved := tally.Devices(usage.ByTotal, nil)
	if devices == nil || unresolved == nil || len(devices)+len(unresolved)+len(tally.Hosts(usage.ByTotal, nil))+len(tally.Services(usage.ByTotal, nil)) != 0 {
		t.Errorf("got %v, %v", devices, unresolved)
	}
	if tally.Total() != (usage.Counters{}) {
		t.Errorf("got %+v", tally.Total())
	}
}

// The zero MAC is no device, takes no name, and its rows are still in the total.
func TestUnresolvedIsNoDevice(t *testing.T) {
	rows := []usage.Record{
		row(usage.MAC{}, "10.0.0.9", 6, 80, 900, 0),
		row(usage.MAC{}, "fd77::9", 6, 80, 1, 0),
		row(macOf(1), "10.0.0.9", 6, 80, 5, 0), // the same address, resolved later
	}
	names := people{usage.MAC{}: {"nobody", []netip.Addr{netip.MustParseAddr("10.9.9.9")}}, macOf(1): {"box", nil}}
	tally := tallied(rows)
	devices, unresolved := tally.Devices(usage.ByTotal, names)
	if len(devices) != 1 || devices[0].MAC != macOf(1) || devices[0].RxBytes != 5 || devices[0].Hostname != "box" {
		t.Errorf("devices: got %+v", devices)
	}
	if len(unresolved) != 2 || unresolved[0].IP.String() != "10.0.0.9" || unresolved[0].RxBytes != 900 || unresolved[0].Hostname != "" {
		t.Errorf("unresolved: got %+v", unresolved)
	}
	if got := tally.Total().RxBytes; got != 906 {
		t.Errorf("total: got %d, want 906", got)
	}
}

func TestCurrentIP(t *testing.T) {
	addrs := func(texts ...string) (list []netip.Addr) {
		for _, s := range texts {
			list = append(list, netip.MustParseAddr(s))
		}
		return list
	}
	for _, tt := range []struct {
		name    string
		counted []string // busiest first
		held    []netip.Addr
		want    string
	}{
		{"only one", []string{"10.0.0.1"}, nil, "10.0.0.1"},
		{"IPv4 before a busier IPv6", []string{"fd77::1", "10.0.0.1"}, nil, "10.0.0.1"},
		{"the busiest IPv4", []string{"10.0.0.2", "10.0.0.1"}, nil, "10.0.0.2"},
		{"the busiest IPv6 where there is no IPv4", []string{"fd77::2", "fd77::1"}, nil, "fd77::2"},
		{"what it holds now", []string{"10.0.0.2", "10.0.0.1"}, addrs("10.0.0.1"), "10.0.0.1"},
		{"what it holds now, not counted yet", []string{"10.0.0.2"}, addrs("10.0.0.7"), "10.0.0.7"},
		{"the first it holds", []string{"10.0.0.1"}, addrs("10.0.0.5", "10.0.0.1"), "10.0.0.5"},
		{"IPv6 held says nothing of IPv4", []string{"fd77::1", "10.0.0.1"}, addrs("fd77::9"), "10.0.0.1"},
		{"IPv4 held behind IPv6", []string{"10.0.0.1"}, addrs("fd77::9", "10.0.0.6"), "10.0.0.6"},
	} {
		var rows []usage.Record
		for i, ip := range tt.counted {
			rows = append(rows, row(macOf(1), ip, 6, 80, uint64(100-i), 0))
		}
		devices, _ := tallied(rows).Devices(usage.ByTotal, people{macOf(1): {"", tt.held}})
		if got := devices[0].IP.String(); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
		if got := fmt.Sprint(devices[0].IPs); got != fmt.Sprint(tt.counted) {
			t.Errorf("%s: got addresses %s, want %s", tt.name, got, tt.counted)
		}
	}
}

// A family that is neither IPv4 nor IPv6 counts, without an address.
func TestUnknownFamilyCounts(t *testing.T) {
	r := row(macOf(1), "10.0.0.1", 6, 80, 5, 0)
	r.Family = 7
	devices, _ := tallied([]usage.Record{r}).Devices(usage.ByTotal, nil)
	if len(devices) != 1 || devices[0].RxBytes != 5 || devices[0].IP.IsValid() || len(devices[0].IPs) != 0 {
		t.Errorf("got %+v", devices)
	}
}

func TestServiceNames(t *testing.T) {
	rows := []usage.Record{
		row(macOf(1), "10.0.0.1", 6, 443, 100, 1),
		row(macOf(2), "10.0.0.2", 6, 443, 100, 1),
		row(macOf(1), "10.0.0.1", 6, 8443, 50, 1),
		row(macOf(1), "10.0.0.1", 17, 443, 20, 1),
		row(macOf(1), "10.0.0.1", 6, 9999, 10, 1),
		row(macOf(1), "10.0.0.1", 0, 0, 5, 1),
	}
	known := ports{443: "HTTPS", 8443: "HTTPS"}
	want := "HTTPS 6/443 250, other 0/0 35, "
	if got := serviceText(tallied(rows).Services(usage.ByTotal, known)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := serviceText(tallied(rows).Services(usage.ByTotal, nil)); got != "other 0/0 285, " {
		t.Errorf("nothing known: got %s", got)
	}
	// Two names that are one once cleaned are one service.
	known = ports{443: "we\x1bb", 8443: "web"}
	if got := serviceText(tallied(rows).Services(usage.ByTotal, known)); got != "web 6/443 250, other 0/0 35, " {
		t.Errorf("hostile names: got %q", got)
	}
}

func serviceText(list []usage.Service) (text string) {
	for _, s := range list {
		text += fmt.Sprintf("%s %d/%d %d, ", s.Name, s.Proto, s.Port, s.RxBytes)
	}
	return text
}

// Ties have one order, whatever order a map or a dump had: pages of two calls
// fit together.
func TestTiesHaveOneOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	var rows []usage.Record
	for i := range 60 {
		r := row(macOf(i%20+1), fmt.Sprintf("10.0.%d.%d", i/20, i%20), 6, uint16(i), 10, 10)
		if i%7 == 0 {
			r.MAC = usage.MAC{}
		}
		rows = append(rows, r)
	}
	known := ports{}
	for i := range 30 {
		known[uint16(i)] = fmt.Sprintf("svc-%02d", i)
	}
	for order := range usage.ByConns + 1 {
		want := ""
		for range 10 {
			rng.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
			tally := tallied(rows)
			devices, unresolved := tally.Devices(order, nil)
			records := slices.Clone(rows)
			usage.SortRecords(records, order)
			got := fmt.Sprint(devices, unresolved, tally.Hosts(order, nil), tally.Services(order, known), records)
			if want = cmp.Or(want, got); got != want {
				t.Fatalf("order %d: two calls differ:\n%s\n%s", order, got, want)
			}
		}
	}
}

// The column an order names is the one that decides, largest first.
func TestOrders(t *testing.T) {
	rows := []usage.Record{
		{MAC: macOf(1), Family: usage.FamilyIPv4, RxBytes: 10, TxBytes: 60, Conns: 2},
		{MAC: macOf(2), Family: usage.FamilyIPv4, RxBytes: 40, TxBytes: 20, Conns: 1},
		{MAC: macOf(3), Family: usage.FamilyIPv4, RxBytes: 20, TxBytes: 30, Conns: 3},
	}
	for name, want := range map[string]string{"": "123", "total": "123", "rx": "231", "tx": "132", "conns": "312"} {
		order, err := usage.ParseOrder(name)
		if err != nil {
			t.Fatal(err)
		}
		devices, _ := tallied(rows).Devices(order, nil)
		got := ""
		for _, d := range devices {
			got += fmt.Sprint(d.MAC[5])
		}
		if got != want {
			t.Errorf("devices by %q: got %s, want %s", name, got, want)
		}
		sorted := slices.Clone(rows)
		usage.SortRecords(sorted, order)
		got = ""
		for _, r := range sorted {
			got += fmt.Sprint(r.MAC[5])
		}
		if got != want {
			t.Errorf("records by %q: got %s, want %s", name, got, want)
		}
	}
}
