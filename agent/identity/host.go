package identity

import (
	"net/netip"
	"strings"

	"github.com/netpilot/netpilot/pkg/uci"
	"github.com/netpilot/netpilot/pkg/usage"
)

// staticHosts goes over the host sections of /etc/config/dhcp: name, one or
// more MACs (a list, or several in one option) and maybe an address. A MAC
// with a wildcard names no device and is skipped.
func staticHosts(dhcp *uci.File, add func(host)) {
	left := maxFacts
	for _, s := range dhcp.Sections {
		if s.Type != "host" {
			continue
		}
		name, _ := s.Get("name")
		ip, _ := s.Get("ip")
		addr, _ := netip.ParseAddr(ip) // "ignore" is a value too
		for _, macs := range s.List("mac") {
			for text := range strings.FieldsSeq(macs) {
				mac, err := usage.ParseMAC(text)
				if err != nil || !isDevice(mac) {
					continue
				}
				if left--; left < 0 {
					return
				}
				add(host{mac: mac, name: name, addr: addr})
			}
		}
	}
}
