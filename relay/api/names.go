package api

import (
	"encoding/json"
	"net/netip"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

// identityReply is who a device is, in a row of a router's reply.
type identityReply struct {
	MAC        string     `json:"mac"`
	IP         netip.Addr `json:"ip"`
	IPs        []string   `json:"ips"`
	Hostname   string     `json:"hostname"`
	Alias      string     `json:"alias"`
	NameSource string     `json:"name_source"`
	Vendor     string     `json:"vendor"`
	Category   string     `json:"category"`
	Group      string     `json:"group"`
}

// identity is the reply's, cleaned: a router may say anything.
func (r *identityReply) identity() usage.Identity {
	clean := func(s string) string { return usage.Clean(s, usage.MaxName) }
	return usage.Identity{Hostname: clean(r.Hostname), Alias: clean(r.Alias), NameSource: clean(r.NameSource), Vendor: clean(r.Vendor),
		Category: clean(r.Category), Group: clean(r.Group)}
}

// counterReply are the numbers in a row of a router's reply.
type counterReply struct {
	BytesRx     uint64 `json:"bytes_rx"`
	BytesTx     uint64 `json:"bytes_tx"`
	PacketsRx   uint64 `json:"packets_rx"`
	PacketsTx   uint64 `json:"packets_tx"`
	Connections uint64 `json:"connections"`
}

func (r *counterReply) counters() usage.Counters {
	return usage.Counters{Conns: r.Connections, RxBytes: r.BytesRx, RxPackets: r.PacketsRx, TxBytes: r.BytesTx, TxPackets: r.PacketsTx}
}

// deviceReply is one device in usage.current.
type deviceReply struct {
	identityReply
	counterReply
}

// currentReply is what we read of usage.current where we must.
type currentReply struct {
	Devices    []deviceReply `json:"devices"`
	NextOffset int           `json:"next_offset"`
}

// directory is who the devices of a router were when it last said so.
type directory struct {
	known map[usage.MAC]usage.Identity
	ips   map[usage.MAC][]netip.Addr
}

var _ usage.Names = (*directory)(nil)

func newDirectory() *directory {
	return &directory{known: make(map[usage.MAC]usage.Identity), ips: make(map[usage.MAC][]netip.Addr)}
}

// add notes who a row says that its device is.
func (d *directory) add(r *identityReply) {
	mac, err := usage.ParseMAC(r.MAC)
	if err != nil {
		return
	}
	d.known[mac] = r.identity()
	if r.IP.IsValid() {
		d.ips[mac] = []netip.Addr{r.IP}
	}
}

// Identity implements usage.Names. What a device was called earlier is not
// known here.
func (d *directory) Identity(mac usage.MAC, _ time.Time) usage.Identity { return d.known[mac] }

// Hostname implements usage.Names.
func (d *directory) Hostname(mac usage.MAC) string {
	id := d.known[mac]
	return id.Hostname
}

// IPs implements usage.Names.
func (d *directory) IPs(mac usage.MAC) []netip.Addr { return d.ips[mac] }

// directoryOf is who the devices of the exchange's router are by its last
// answer to usage.current; empty if there was none. Names only dress the
// numbers up, so what cannot be read is left out.
func (a *API) directoryOf(x *exchange) *directory {
	d := newDirectory()
	last, ok := a.lastAnswer(x, "usage.current")
	if !ok {
		return d
	}
	var reply currentReply
	if json.Unmarshal(last.data, &reply) == nil {
		for i := range reply.Devices {
			d.add(&reply.Devices[i].identityReply)
		}
	}
	return d
}
