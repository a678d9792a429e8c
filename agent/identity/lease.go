package identity

import (
	"encoding/hex"
	"io"
	"math"
	"net/netip"
	"strconv"
	"strings"

	"github.com/netpilot/netpilot/pkg/usage"
)

// leases decodes dnsmasq's lease file (lease.c): EXPIRY MAC IP NAME CLIENTID,
// NAME "*" if there is none. Lines of DHCPv6 have an IAID for the MAC and are
// skipped, as are hardware types other than Ethernet ("06-..."). Of two leases
// the one that ends later wins; whether it ended already is not looked at:
// dnsmasq drops old leases itself, and the clock may be unset.
func leases(r io.Reader, add func(host)) error {
	return eachLine(r, func(f []string) {
		if len(f) < 5 {
			return // dnsmasq is writing it: the name may be half a name
		}
		expiry, err := strconv.ParseUint(f[0], 10, 64)
		if err != nil {
			return
		}
		mac, err := usage.ParseMAC(f[1])
		if err != nil || !isDevice(mac) {
			return
		}
		addr, err := netip.ParseAddr(f[2])
		if err != nil || !addr.Is4() {
			return
		}
		h := host{mac: mac, addr: addr, weight: untilEnd(expiry)}
		if f[3] != "*" {
			h.name = f[3]
		}
		add(h)
	})
}

// odhcpdLeases decodes odhcpd's state file (statefiles.c):
//
//	# IFACE HWADDR ipv4 NAME VALIDTILL HEXADDR 32 IP/32
//
// NAME is "-" if there is none. The DHCPv6 lines name their device by a DUID
// instead, which is opaque (RFC 8415 section 11): a MAC inside may be of
// another port. They are skipped, and so are names that odhcpd marks as
// broken.
func odhcpdLeases(r io.Reader, add func(host)) error {
	return eachLine(r, func(f []string) {
		if len(f) < 6 || f[0] != "#" || f[3] != "ipv4" || len(f[2]) != 12 {
			return
		}
		h := host{}
		if _, err := hex.Decode(h.mac[:], []byte(f[2])); err != nil || !isDevice(h.mac) {
			return
		}
		if ends, err := strconv.ParseUint(f[5], 10, 64); err == nil {
			h.weight = untilEnd(ends)
		}
		if f[4] != "-" && !strings.HasPrefix(f[4], `broken\x20`) {
			h.name = f[4]
		}
		if len(f) >= 9 {
			if p, err := netip.ParsePrefix(f[8]); err == nil && p.Addr().Is4() {
				h.addr = p.Addr()
			}
		}
		add(h)
	})
}

// untilEnd is how long before the end of 32-bit time a lease ends, so that a
// later one weighs less. 0 is a lease without end.
func untilEnd(expiry uint64) uint32 {
	if expiry == 0 {
		return 0
	}
	return math.MaxUint32 - uint32(min(expiry, math.MaxUint32))
}
