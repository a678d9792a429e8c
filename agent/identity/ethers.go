package identity

import (
	"io"
	"net/netip"
	"strings"

	"github.com/netpilot/netpilot/pkg/usage"
)

// ethers decodes /etc/ethers (ethers(5)): MAC and a name or address a line,
// comments after #.
func ethers(r io.Reader, add func(host)) error {
	return eachLine(r, func(f []string) {
		if len(f) < 2 || strings.HasPrefix(f[1], "#") {
			return
		}
		mac, err := usage.ParseMAC(f[0])
		if err != nil || !isDevice(mac) {
			return
		}
		h := host{mac: mac}
		if h.addr, err = netip.ParseAddr(f[1]); err != nil {
			h.name = f[1]
		}
		add(h)
	})
}
