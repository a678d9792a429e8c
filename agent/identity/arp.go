package identity

import (
	"io"
	"net/netip"
	"strconv"

	"github.com/netpilot/netpilot/pkg/usage"
)

// Numbers of /proc/net/arp, from Linux's uapi/linux/if_arp.h.
const (
	arphrdEther = 0x1 // HW type
	atfCom      = 0x2 // flag: the entry is complete
)

// arpTable decodes /proc/net/arp, the IPv4 neighbours:
//
//	IP address       HW type     Flags       HW address            Mask     Device
//	192.168.1.5      0x1         0x2         02:77:00:00:00:11     *        br-lan
//
// An entry that is not complete has no MAC yet and is skipped. The file does
// not say when a neighbour was last heard of: all count as heard of now.
func arpTable(r io.Reader, add func(host)) error {
	return eachLine(r, func(f []string) {
		if len(f) < 4 {
			return
		}
		addr, err := netip.ParseAddr(f[0])
		if err != nil {
			return // the head line too
		}
		hwType, err := strconv.ParseUint(f[1], 0, 16)
		if err != nil || hwType != arphrdEther {
			return
		}
		flags, err := strconv.ParseUint(f[2], 0, 16)
		if err != nil || flags&atfCom == 0 {
			return
		}
		mac, err := usage.ParseMAC(f[3])
		if err != nil || !isDevice(mac) {
			return
		}
		h := host{mac: mac, addr: addr}
		if len(f) > 5 {
			h.network = f[5]
		}
		add(h)
	})
}
