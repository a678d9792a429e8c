package identity

import (
	"encoding/hex"
	"io"
	"net/netip"
	"strconv"
	"strings"

	"github.com/netpilot/netpilot/pkg/usage"
)

// leases decodes dnsmasq's lease file (lease.c): EXPIRY MAC IP NAME CLIENTID,
// NAME "*" if there is none. Lines of DHCPv6 have an IAID for the MAC and are
// skipped, as are hardware types other than Ethernet ("06-..."). The expiry is
// not looked at: dnsmasq drops old leases itself, and the clock may be unset.
func leases(r io.Reader, add func(host)) error {
	return eachLine(r, func(f []string) {
		if len(f) < 4 || !isNumber(f[0]) {
			return
		}
		mac, err := usage.ParseMAC(f[1])
		if err != nil || mac.IsZero() {
			return
		}
		addr, err := netip.ParseAddr(f[2])
		if err != nil || !addr.Is4() {
			return
		}
		h := host{mac: mac, addr: addr}
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
		if _, err := hex.Decode(h.mac[:], []byte(f[2])); err != nil || h.mac.IsZero() {
			return
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

func isNumber(s string) bool {
	_, err := strconv.ParseUint(s, 10, 64)
	return err == nil
}
