package usage

import (
	"bytes"
	"cmp"
	"net/netip"
	"time"

	"github.com/netpilot/netpilot/pkg/sorting"
)

// Device is a host on the LAN, keyed by its MAC, with what it moved.
type Device struct {
	MAC MAC
	IP  netip.Addr   // its current IPv4 address, else its busiest address
	IPs []netip.Addr // all of them, busiest first
	Identity
	Counters
}

// Host is one address of one device. The zero MAC marks an address for which
// nlbwmon found no neighbour entry: it is listed, but is no device.
type Host struct {
	MAC MAC
	IP  netip.Addr
	Identity
	Counters
}

// Service is an IP protocol and port by the name nlbwmon's protocols file
// gives it, or "other".
type Service struct {
	Name  string
	Proto uint8
	Port  uint16
	Counters
}

// Interface is one of the router's own, with what it received (rx) and sent
// (tx) since it was set up.
type Interface struct {
	Name string
	Counters
}

// Services names a service; pkg/nlbwmon's Protocols is one.
type Services interface {
	Lookup(proto uint8, port uint16) (string, bool)
}

// Tally sums records while they stream past. Its memory grows with devices,
// addresses and services, not with rows.
type Tally struct {
	hosts    map[hostKey]*Counters
	services map[serviceKey]*Counters
	rows     int
}

type hostKey struct {
	addr   [16]byte
	mac    MAC
	family uint8
}

type serviceKey struct {
	port  uint16
	proto uint8
}

// Begin forgets all: a reading starts anew.
func (t *Tally) Begin(int) {
	t.hosts = make(map[hostKey]*Counters)
	t.services = make(map[serviceKey]*Counters)
	t.rows = 0
}

// Add sums one record.
func (t *Tally) Add(r *Record) {
	t.rows++
	host := hostKey{r.Addr, r.MAC, r.Family}
	sum := t.hosts[host]
	if sum == nil {
		sum = new(Counters)
		t.hosts[host] = sum
	}
	sum.Add(r.Counters())
	service := serviceKey{r.Port, r.Proto}
	sum = t.services[service]
	if sum == nil {
		sum = new(Counters)
		t.services[service] = sum
	}
	sum.Add(r.Counters())
}

// Rows is how many records were added.
func (t *Tally) Rows() int { return t.rows }

// Total is the sum of all records, of devices and unresolved addresses alike.
func (t *Tally) Total() Counters {
	var total Counters
	for _, c := range t.hosts {
		total.Add(*c)
	}
	return total
}

// Hosts lists every address, those without a device included.
func (t *Tally) Hosts(order Order, names Names) []Host {
	hosts := make([]Host, 0, len(t.hosts))
	for k, c := range t.hosts {
		hosts = append(hosts, Host{
			MAC: k.mac, IP: (&Record{Family: k.family, Addr: k.addr}).IP(),
			Identity: identityOf(names, k.mac, time.Time{}), Counters: *c,
		})
	}
	sorting.Func(hosts, func(a, b Host) int {
		return cmp.Or(order.Compare(a.Counters, b.Counters), bytes.Compare(a.MAC[:], b.MAC[:]), a.IP.Compare(b.IP))
	})
	return hosts
}

// Devices lists the devices, and apart from them the addresses for which
// nlbwmon found no MAC.
func (t *Tally) Devices(order Order, names Names) (devices []Device, unresolved []Host) {
	at := make(map[MAC]int)
	devices, unresolved = []Device{}, []Host{}
	for _, h := range t.Hosts(ByTotal, names) { // busiest first, so each device's IPs are too
		if h.MAC.IsZero() {
			unresolved = append(unresolved, h)
			continue
		}
		i, ok := at[h.MAC]
		if !ok {
			i = len(devices)
			at[h.MAC] = i
			devices = append(devices, Device{MAC: h.MAC, Identity: h.Identity})
		}
		d := &devices[i]
		d.Counters.Add(h.Counters)
		if h.IP.IsValid() {
			d.IPs = append(d.IPs, h.IP)
		}
	}
	for i := range devices {
		devices[i].IP = currentIP(&devices[i], names)
	}
	sorting.Stable(devices, func(a, b Device) int {
		return cmp.Or(order.Compare(a.Counters, b.Counters), bytes.Compare(a.MAC[:], b.MAC[:]))
	})
	sorting.Stable(unresolved, func(a, b Host) int { return order.Compare(a.Counters, b.Counters) })
	return devices, unresolved
}

// currentIP is the IPv4 address the device holds now, else its busiest IPv4
// address, else its busiest of all.
func currentIP(d *Device, names Names) netip.Addr {
	if names != nil {
		for _, a := range names.IPs(d.MAC) {
			if a.Is4() {
				return a
			}
		}
	}
	for _, a := range d.IPs {
		if a.Is4() {
			return a
		}
	}
	if len(d.IPs) > 0 {
		return d.IPs[0]
	}
	return netip.Addr{}
}

// Services lists the services, all without a name as "other".
func (t *Tally) Services(order Order, known Services) []Service {
	at := make(map[string]int)
	services := []Service{}
	for k, c := range t.services {
		name, ok := "", false
		if known != nil {
			name, ok = known.Lookup(k.proto, k.port)
		}
		if name = Clean(name, MaxName); !ok {
			name = "other"
		}
		i, seen := at[name]
		if !seen {
			i = len(services)
			at[name] = i
			services = append(services, Service{Name: name, Proto: k.proto, Port: k.port})
		}
		s := &services[i]
		if cmp.Or(cmp.Compare(k.proto, s.Proto), cmp.Compare(k.port, s.Port)) < 0 {
			s.Proto, s.Port = k.proto, k.port
		}
		s.Counters.Add(*c)
	}
	sorting.Func(services, func(a, b Service) int {
		return cmp.Or(order.Compare(a.Counters, b.Counters), cmp.Compare(a.Name, b.Name))
	})
	return services
}

// SortRecords orders records largest first, ties by their keys.
func SortRecords(records []Record, order Order) {
	sorting.Func(records, func(a, b Record) int {
		return cmp.Or(order.Compare(a.Counters(), b.Counters()),
			cmp.Compare(a.Family, b.Family), cmp.Compare(a.Proto, b.Proto), cmp.Compare(a.Port, b.Port),
			bytes.Compare(a.MAC[:], b.MAC[:]), bytes.Compare(a.Addr[:], b.Addr[:]))
	})
}
