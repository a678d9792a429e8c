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

// Where neighbours were read from.
const (
	neighboursNetlink = "netlink"
	neighboursARP     = "arp"
)

// host is what one line of a source says; all but the MAC may be empty.
type host struct {
	mac     usage.MAC
	name    string
	addr    netip.Addr
	network string
	weight  uint32 // see fact
}

// reader reads all sources below root.
type reader struct {
	root    string
	netlink lister // the running kernel's tables; nil for the files of another router
	collect collector

	// What the last whole files said, for the time while one is half written.
	networks *networks
	dhcp     *uci.File
}

// read makes a Book. A source that is absent says nothing; one that cannot be
// read is part of the error, and the Book has the others. A kernel that
// refuses netlink is no error: /proc/net/arp has its IPv4 neighbours.
func (r *reader) read(now time.Time) (*Book, error) {
	c := &r.collect
	c.reset()
	networks, err := readNetworks(r.root)
	errs := []error{err}
	if err == nil || r.networks == nil {
		r.networks = networks
	}
	networks = r.networks
	dhcp, err := loadUCI(r.root, "dhcp")
	errs = append(errs, err)
	switch {
	case dhcp != nil, err == nil:
		r.dhcp = dhcp
	default:
		dhcp = r.dhcp
	}
	if dhcp == nil {
		dhcp = &uci.File{}
	}
	neighbours := r.neighbours(networks)
	if neighbours == "" {
		err := readFile(r.root, "/proc/net/arp", arpTable, func(h host) {
			if name, ok := networks.of(h.network); ok {
				h.network = name
				c.add(h, fromNeighbours)
			}
		})
		if err == nil {
			neighbours = neighboursARP
		} else if !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	staticHosts(dhcp, func(h host) { c.add(h, fromStatic) })
	for _, path := range leaseFiles(dhcp, "dnsmasq", "/tmp/dhcp.leases") {
		errs = append(errs, optional(readFile(r.root, path, leases, func(h host) { c.add(h, fromLeases) })))
	}
	for _, path := range leaseFiles(dhcp, "odhcpd", "/tmp/hosts/odhcpd") {
		errs = append(errs, optional(readFile(r.root, path, odhcpdLeases, func(h host) { c.add(h, fromOdhcpd) })))
	}
	errs = append(errs, optional(readFile(r.root, "/etc/ethers", ethers, func(h host) { c.add(h, fromEthers) })))
	b := c.book(now)
	b.source = neighbours
	c.release()
	return b, errors.Join(errs...)
}

// neighbours asks the kernel, and tells whether it answered.
func (r *reader) neighbours(networks *networks) string {
	if r.netlink == nil {
		return ""
	}
	names, err := r.netlink.links()
	if err != nil {
		return ""
	}
	err = r.netlink.eachNeighbour(func(n neighbour) {
		if name, ok := networks.of(names[n.link]); ok {
			r.collect.add(host{mac: n.mac, addr: n.addr, network: name, weight: n.seen}, fromNeighbours)
		}
	})
	if err != nil {
		return ""
	}
	return neighboursNetlink
}

// leaseFiles are the lease files of all instances of a daemon, each once.
func leaseFiles(dhcp *uci.File, section, otherwise string) []string {
	var paths []string
	for _, s := range dhcp.Sections {
		if s.Type != section {
			continue
		}
		path, ok := s.Get("leasefile")
		if !ok || !filepath.IsAbs(path) {
			path = otherwise
		}
		if !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	if len(paths) == 0 {
		paths = append(paths, otherwise)
	}
	return paths
}

func readFile(root, path string, decode func(io.Reader, func(host)) error, add func(host)) error {
	f, err := os.Open(filepath.Join(root, path))
	if err != nil {
		return err // names the path
	}
	defer f.Close()
	if err := decode(f, add); err != nil {
		return fmt.Errorf("read %s: %w", f.Name(), err)
	}
	return nil
}

// optional is err, unless it only says that there is no such file.
func optional(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
