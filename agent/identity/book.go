// Package identity says who a device is: its name and addresses, out of what
// the router already knows about the LAN. Every text in it came from a device
// or a file and is cleaned before it is kept.
package identity

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/netpilot/netpilot/pkg/uci"
	"github.com/netpilot/netpilot/pkg/usage"
)

// Where a name came from, the best source first.
const (
	SourceStatic = "static" // a host section of /etc/config/dhcp
	SourceLease  = "lease"  // dnsmasq's lease file
	SourceOdhcpd = "odhcpd" // odhcpd's lease file
	SourceEthers = "ethers" // /etc/ethers
)

// Name is what a device is called, and who says so.
type Name struct {
	Text   string // valid UTF-8, printable, at most usage.MaxName bytes
	Source string // one of the Source constants
}

// maxAddrs bounds the addresses kept of one device; a hostile one could take
// the whole subnet.
const maxAddrs = 16

// Book is what the router knew when it was read. It does not change and may
// be used by several goroutines.
type Book struct {
	entries map[usage.MAC]*entry
}

type entry struct {
	name    Name
	addrs   []netip.Addr
	present bool
}

// host is what one line of a source says; name and addr may be empty.
type host struct {
	mac  usage.MAC
	name string
	addr netip.Addr
}

// Read reads all sources below root. A source that is absent says nothing; one
// that cannot be read is part of the error, and the Book has the others.
func Read(root string) (*Book, error) {
	b := &Book{entries: make(map[usage.MAC]*entry)}
	dhcp, err := uci.Load(filepath.Join(root, "/etc/config/dhcp"))
	if err != nil {
		dhcp = &uci.File{}
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	// Neighbours first: their addresses are the ones in use. Then the names,
	// the best source first, since the first name stays.
	errs := []error{err, read(root, "/proc/net/arp", neighbours, func(h host) { b.add(h, "").present = true })}
	staticHosts(dhcp, func(h host) { b.add(h, SourceStatic) })
	return b, errors.Join(append(errs,
		read(root, leaseFile(dhcp, "dnsmasq", "/tmp/dhcp.leases"), leases, func(h host) { b.add(h, SourceLease) }),
		read(root, leaseFile(dhcp, "odhcpd", "/tmp/hosts/odhcpd"), odhcpdLeases, func(h host) { b.add(h, SourceOdhcpd) }),
		read(root, "/etc/ethers", ethers, func(h host) { b.add(h, SourceEthers) }),
	)...)
}

// leaseFile is option leasefile of the first section of that type.
func leaseFile(dhcp *uci.File, section, otherwise string) string {
	if path, ok := dhcp.Section(section, "").Get("leasefile"); ok && filepath.IsAbs(path) {
		return path
	}
	return otherwise
}

func read(root, path string, decode func(io.Reader, func(host)) error, add func(host)) error {
	f, err := os.Open(filepath.Join(root, path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err // names the path
	}
	defer f.Close()
	if err := decode(f, add); err != nil {
		return fmt.Errorf("read %s: %w", f.Name(), err)
	}
	return nil
}

// add keeps what h says and the Book does not know yet.
func (b *Book) add(h host, source string) *entry {
	e := b.entries[h.mac]
	if e == nil {
		e = &entry{}
		if len(b.entries) < maxEntries {
			b.entries[h.mac] = e
		}
	}
	if text := usage.Clean(h.name, usage.MaxName); text != "" && e.name.Text == "" {
		e.name = Name{text, source}
	}
	// A zone would be free text, and says nothing on another machine.
	h.addr = h.addr.Unmap().WithZone("")
	if h.addr.IsValid() && len(e.addrs) < maxAddrs && !slices.Contains(e.addrs, h.addr) {
		e.addrs = append(e.addrs, h.addr)
	}
	return e
}

// Lookup is the name of a device, from the best source that has one.
func (b *Book) Lookup(mac usage.MAC) (Name, bool) {
	if e := b.entries[mac]; e != nil && e.name.Text != "" {
		return e.name, true
	}
	return Name{}, false
}

// IPs are the addresses known of a device, those in use first. The caller must
// not change the slice.
func (b *Book) IPs(mac usage.MAC) []netip.Addr {
	if e := b.entries[mac]; e != nil {
		return e.addrs
	}
	return nil
}

// Present tells whether the device stands in the neighbour table.
func (b *Book) Present(mac usage.MAC) bool {
	e := b.entries[mac]
	return e != nil && e.present
}

// Identity is what the Book knows of the device; it knows only the present.
func (b *Book) Identity(mac usage.MAC, _ time.Time) usage.Identity {
	name, _ := b.Lookup(mac)
	return usage.Identity{Hostname: name.Text, NameSource: name.Source}
}

// Hostname is the text of the device's name, "" if it has none.
func (b *Book) Hostname(mac usage.MAC) string {
	name, _ := b.Lookup(mac)
	return name.Text
}
