package identity

import (
	"net/netip"
	"slices"
	"sort"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

// Name is what a device is called, and who says so.
type Name struct {
	Text   string // valid UTF-8, printable, at most usage.MaxName bytes
	Source string // usage.NameStatic and its like
}

// maxAddrs bounds the addresses kept of one device; a hostile one could take
// the whole subnet.
const maxAddrs = 64

// Book is what the router's files and its kernel said when they were read. It
// does not change and may be used by several goroutines. It is flat, since a
// large network has thousands of leases and a router little memory.
type Book struct {
	at       time.Time
	devices  []device // by MAC
	addrs    []address
	text     string   // the names
	networks []string // what device.network counts
	source   string   // of the neighbours: netlink, arp, or "" where neither could be read
}

type device struct {
	mac     usage.MAC
	source  source // of the name
	nameLen uint8
	name    uint32 // where it begins in text
	addr    uint32 // where its addresses begin in addrs
	seen    uint32 // seconds since the kernel last heard of it, if present
	addrLen uint8
	network uint8
	present bool // stands in the neighbour table
	leased  bool // has a lease
}

type address struct {
	ip     [16]byte // IPv4 as IPv4-mapped
	source source
	weight uint32 // of two claims on one address by one source the lesser wins
}

func (a *address) addr() netip.Addr { return netip.AddrFrom16(a.ip).Unmap() }

// source tells who said something, in the order in which they are believed.
type source uint8

const (
	fromNeighbours source = iota
	fromStatic
	fromLeases
	fromOdhcpd
	fromEthers
	sources
)

var sourceNames = [sources]string{"", usage.NameStatic, usage.NameLease, usage.NameOdhcpd, usage.NameEthers}

// collector gathers what the sources say, and makes a Book of it. It can be
// used again, for the next Book.
type collector struct {
	known    func(usage.MAC) bool // devices that a flood of others must not push out; may be nil
	facts    []fact
	text     []byte
	networks []string
	left     [sources]int              // how many more facts of any device a source may add
	leftout  int                       // facts that were not taken
	room     struct{ facts, text int } // what the last Book took
}

// keptFacts is the room a collector keeps for the next Book.
const keptFacts = 1024

// fact is a host without pointers, so that thousands cost the collector of
// garbage nothing.
type fact struct {
	key     uint64 // MAC and source, what facts are ordered by
	weight  uint32 // then this: seconds since a neighbour was seen, or how long before the end of time a lease ends
	name    uint32
	nameLen uint8
	network uint8
	hasAddr bool
	addr    [16]byte
}

func (c *collector) reset() {
	if c.facts == nil { // with some room for what came since
		c.facts, c.text = make([]fact, 0, c.room.facts+c.room.facts/8), make([]byte, 0, c.room.text+c.room.text/8)
	}
	c.facts, c.text, c.networks, c.leftout = c.facts[:0], c.text[:0], c.networks[:0], 0
	for i := range c.left {
		c.left[i] = maxFacts
	}
}

// add takes what h says.
func (c *collector) add(h host, from source) {
	switch {
	case c.left[from] > 0:
		c.left[from]--
	case len(c.facts) >= 4*maxFacts, c.known == nil, !c.known(h.mac): // even the known ones only so often
		c.leftout++
		return
	}
	f := fact{weight: h.weight, name: uint32(len(c.text))}
	for _, b := range h.mac {
		f.key = f.key<<8 | uint64(b)
	}
	f.key = f.key<<8 | uint64(from)
	c.text = append(c.text, usage.Clean(h.name, usage.MaxName)...)
	f.nameLen = uint8(len(c.text) - int(f.name))
	f.network = c.network(h.network)
	// A zone would be free text, and says nothing on another machine. A
	// link-local address names nobody beyond its link, and is never routed.
	if a := h.addr.WithZone(""); a.IsValid() && !a.IsLinkLocalUnicast() {
		f.addr, f.hasAddr = a.As16(), true
	}
	c.facts = append(c.facts, f)
}

// network is the number of a network's name, 0 for none.
func (c *collector) network(name string) uint8 {
	if len(c.networks) == 0 {
		c.networks = append(c.networks, "")
	}
	i := slices.Index(c.networks, name)
	if i < 0 {
		if len(c.networks) > 255 {
			return 0
		}
		i = len(c.networks)
		c.networks = append(c.networks, name)
	}
	return uint8(i)
}

// book puts the facts together: a device's name from the best source that has
// one, its addresses those in use first.
func (c *collector) book(at time.Time) *Book {
	order := c.order()
	b := &Book{at: at, networks: slices.Clone(c.networks)}
	n, before := 0, uint64(0)
	for _, i := range order {
		if mac := c.facts[i].key >> 8; mac != before { // no device's is zero
			n, before = n+1, mac
		}
	}
	b.devices = make([]device, 0, n)
	b.addrs = make([]address, 0, len(c.facts))
	text := make([]byte, 0, len(c.text))
	before = 0
	for _, i := range order {
		f := &c.facts[i]
		from := source(f.key & 0xff)
		if mac := f.key >> 8; mac != before {
			before = mac
			d := device{addr: uint32(len(b.addrs))}
			for j := range d.mac {
				d.mac[j] = byte(f.key >> (8 * (6 - j)))
			}
			b.devices = append(b.devices, d)
		}
		d := &b.devices[len(b.devices)-1]
		if f.nameLen > 0 && d.nameLen == 0 {
			d.name, d.nameLen, d.source = uint32(len(text)), f.nameLen, from
			text = append(text, c.text[f.name:f.name+uint32(f.nameLen)]...)
		}
		switch from {
		case fromNeighbours:
			if !d.present {
				d.present, d.seen = true, f.weight // the least comes first
			}
			if d.network == 0 {
				d.network = f.network
			}
		case fromLeases, fromOdhcpd:
			d.leased = true
		}
		if f.hasAddr && d.addrLen < maxAddrs && !slices.ContainsFunc(b.addrs[d.addr:], func(a address) bool { return a.ip == f.addr }) {
			b.addrs = append(b.addrs, address{f.addr, from, f.weight})
			d.addrLen++
		}
	}
	b.addrs = slices.Clip(b.addrs)
	b.text = string(text)
	return b
}

// order is the facts by what they are ordered by, then as they came. Numbers
// are moved about for it and not the facts, which are ten times as large.
func (c *collector) order() []uint32 {
	order := make([]uint32, len(c.facts))
	for i := range order {
		order[i] = uint32(i)
	}
	sort.Slice(order, func(i, j int) bool {
		a, b := &c.facts[order[i]], &c.facts[order[j]]
		switch {
		case a.key != b.key:
			return a.key < b.key
		case a.weight != b.weight:
			return a.weight < b.weight
		}
		return order[i] < order[j]
	})
	return order
}

// release gives the room of a large network back, until the next Book.
func (c *collector) release() {
	if cap(c.facts) > keptFacts {
		c.room.facts, c.room.text = len(c.facts), len(c.text)
		c.facts, c.text = nil, nil
	}
}

func (b *Book) find(mac usage.MAC) *device {
	i, ok := slices.BinarySearchFunc(b.devices, mac, func(d device, m usage.MAC) int { return slices.Compare(d.mac[:], m[:]) })
	if !ok {
		return nil
	}
	return &b.devices[i]
}

func (b *Book) addrsOf(d *device) []address { return b.addrs[d.addr : d.addr+uint32(d.addrLen)] }

func (b *Book) nameOf(d *device) Name {
	return Name{b.text[d.name : d.name+uint32(d.nameLen)], sourceNames[d.source]}
}

// Lookup is the name of a device, from the best source that has one.
func (b *Book) Lookup(mac usage.MAC) (Name, bool) {
	if d := b.find(mac); d != nil && d.nameLen > 0 {
		return b.nameOf(d), true
	}
	return Name{}, false
}

// IPs are the addresses known of a device, those in use first.
func (b *Book) IPs(mac usage.MAC) []netip.Addr {
	d := b.find(mac)
	if d == nil || d.addrLen == 0 {
		return nil
	}
	ips := make([]netip.Addr, 0, d.addrLen)
	for _, a := range b.addrsOf(d) {
		ips = append(ips, a.addr())
	}
	return ips
}

// Present tells whether the device stands in the neighbour table.
func (b *Book) Present(mac usage.MAC) bool {
	d := b.find(mac)
	return d != nil && d.present
}
