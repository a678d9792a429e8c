package identity

import (
	"net/netip"
	"slices"
	"time"

	"github.com/netpilot/netpilot/pkg/sorting"
	"github.com/netpilot/netpilot/pkg/usage"
)

// Names are the devices as the Keeper knows them, for an answer.
func (k *Keeper) Names() (usage.Names, error) {
	k.refresh()
	return (*names)(k), nil // what could not be read leaves gaps, no more
}

// names is the Keeper as usage.Names.
type names Keeper

func (n *names) keeper() *Keeper { return (*Keeper)(n) }

// Identity implements usage.Names.
func (n *names) Identity(mac usage.MAC, at time.Time) usage.Identity {
	k := n.keeper()
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.identityLocked(mac, at)
}

// Hostname implements usage.Names.
func (n *names) Hostname(mac usage.MAC) string {
	k := n.keeper()
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.nameLocked(mac, time.Time{}).Text
}

// IPs implements usage.Names.
func (n *names) IPs(mac usage.MAC) []netip.Addr {
	k := n.keeper()
	k.mu.Lock()
	defer k.mu.Unlock()
	ips := k.book.IPs(mac)
	for _, m := range k.members[mac] {
		ips = append(ips, k.book.IPs(m)...)
	}
	return ips
}

// identityLocked is who mac is: by its own name, else by that of another of
// the device's interfaces.
func (k *Keeper) identityLocked(mac usage.MAC, at time.Time) usage.Identity {
	own := k.owner[mac]
	id := usage.Identity{Alias: own.Alias, Group: own.Group, Category: own.Category, Vendor: k.vendorLocked(mac)}
	name := k.nameLocked(mac, at)
	id.Presence, id.LastSeen = k.presenceLocked(mac)
	if id.Category == "" {
		if seen := k.memory.devices[mac]; seen != nil {
			id.Category = usage.Categories[seen.category]
		}
	}
	for _, m := range k.members[mac] {
		if name.Text == "" {
			name = k.nameLocked(m, at)
		}
		if p, last := k.presenceLocked(m); last.After(id.LastSeen) {
			id.LastSeen, id.Presence = last, max(id.Presence, p)
		}
	}
	id.Hostname, id.NameSource = name.Text, name.Source
	if id.Alias != "" {
		id.NameSource = usage.NameAlias
	}
	if !own.SameAs.IsZero() {
		id.Primary = k.owner.Primary(mac)
	}
	return id
}

// nameLocked is the hostname of mac: of now, or at an instant.
func (k *Keeper) nameLocked(mac usage.MAC, at time.Time) Name {
	seen := k.memory.devices[mac]
	if !at.IsZero() && seen != nil && len(seen.names) > 0 {
		return seen.nameAt(at.Unix())
	}
	if name, ok := k.book.Lookup(mac); ok {
		return name
	}
	if seen != nil && len(seen.names) > 0 {
		return seen.nameAt(k.readAt.Unix())
	}
	return Name{}
}

// presenceLocked is whether mac is there, and when it last was.
func (k *Keeper) presenceLocked(mac usage.MAC) (usage.Presence, time.Time) {
	var last time.Time
	if seen := k.memory.devices[mac]; seen != nil && seen.last != 0 {
		last = time.Unix(seen.last, 0)
	}
	if d := k.book.find(mac); d != nil && d.present {
		if at := k.book.at.Add(-time.Duration(d.seen) * time.Second); at.After(last) {
			last = at
		}
	}
	switch {
	case !last.IsZero() && k.readAt.Sub(last) < onlineFor:
		return usage.Online, last
	case !last.IsZero() || k.book.source != "":
		return usage.Away, last
	}
	return usage.PresenceUnknown, last
}

// vendorLocked is who made the device.
func (k *Keeper) vendorLocked(mac usage.MAC) string {
	if k.vendors == nil || mac.Randomized() {
		return ""
	}
	seen := k.memory.devices[mac]
	if seen != nil && seen.vendorKnown {
		return seen.vendor
	}
	vendor, _ := k.vendors.Lookup(mac)
	if seen != nil {
		seen.vendor, seen.vendorKnown = vendor, true
	}
	return vendor
}

// Device is one device for a list.
type Device struct {
	MAC     usage.MAC
	MACs    []usage.MAC // of its further interfaces
	IPs     []netip.Addr
	Network string // where it was last seen, "" if it is not there now
	First   time.Time
	Reasons []string // for its category, if it was told by its use
	usage.Identity
}

// Devices are all that is known of: those remembered, leased or there now, and
// those the owner named, by MAC. The interfaces of one device are one.
func (k *Keeper) Devices() []Device {
	k.refresh()
	k.mu.Lock()
	defer k.mu.Unlock()
	all := make(map[usage.MAC]bool, len(k.memory.devices))
	for mac := range k.memory.devices {
		all[k.owner.Primary(mac)] = true
	}
	for mac := range k.owner {
		all[k.owner.Primary(mac)] = true
	}
	for i := range k.book.devices {
		all[k.owner.Primary(k.book.devices[i].mac)] = true
	}
	devices := make([]Device, 0, len(all))
	for mac := range all {
		devices = append(devices, k.deviceLocked(mac))
	}
	sorting.Func(devices, func(a, b Device) int { return slices.Compare(a.MAC[:], b.MAC[:]) })
	return devices
}

func (k *Keeper) deviceLocked(mac usage.MAC) Device {
	d := Device{MAC: mac, MACs: slices.Clone(k.members[mac]), Reasons: k.reasonsLocked(mac), Identity: k.identityLocked(mac, time.Time{})}
	sorting.Func(d.MACs, func(a, b usage.MAC) int { return slices.Compare(a[:], b[:]) })
	for _, m := range append([]usage.MAC{mac}, d.MACs...) {
		d.IPs = append(d.IPs, k.book.IPs(m)...)
		if at := k.book.find(m); at != nil && at.present && d.Network == "" {
			d.Network = k.book.networks[at.network]
		}
		if seen := k.memory.devices[m]; seen != nil {
			if first := time.Unix(seen.first, 0); d.First.IsZero() || first.Before(d.First) {
				d.First = first
			}
		}
	}
	return d
}

// Neighbours are the devices that stand in the neighbour table now, read anew.
func (k *Keeper) Neighbours() []Device {
	k.files.Lock()
	k.readFiles()
	k.files.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	var devices []Device
	for i := range k.book.devices {
		if d := &k.book.devices[i]; d.present {
			devices = append(devices, k.deviceLocked(d.mac))
		}
	}
	return devices
}

// Past is what a device was called and where it was.
type Past struct {
	Names     []PastName
	Addresses []PastAddress
}

// PastName is a name a device had from an instant on.
type PastName struct {
	Name
	From time.Time
}

// PastAddress is an address and a time in which a device held it.
type PastAddress struct {
	IP netip.Addr
	usage.Range
}

// Past is what is remembered of a device, in order of time.
func (k *Keeper) Past(mac usage.MAC) Past {
	k.mu.Lock()
	defer k.mu.Unlock()
	var p Past
	for _, m := range append([]usage.MAC{mac}, k.members[mac]...) {
		if seen := k.memory.devices[m]; seen != nil {
			for _, n := range seen.names {
				p.Names = append(p.Names, PastName{Name{n.text, sourceNames[n.source]}, time.Unix(n.from, 0)})
			}
		}
		for addr, spans := range k.memory.spans {
			for i := range spans {
				if s := &spans[i]; s.mac == m {
					p.Addresses = append(p.Addresses, PastAddress{addr, usage.Range{From: time.Unix(s.from, 0), To: time.Unix(s.to, 0)}})
				}
			}
		}
	}
	sorting.Func(p.Names, func(a, b PastName) int { return a.From.Compare(b.From) })
	sorting.Func(p.Addresses, func(a, b PastAddress) int {
		if c := a.From.Compare(b.From); c != 0 {
			return c
		}
		return a.IP.Compare(b.IP)
	})
	return p
}
