package truth

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// route is a line of the kernel's main table.
type route struct {
	device string
	dst    netip.Prefix
	direct bool // no gateway: the subnet is on the device
}

// Route flags of Linux's uapi/linux/route.h.
const (
	rtfUp     = 0x1
	rtfReject = 0x200
)

// routes4 reads /proc/net/route; addresses in it are native numbers.
func (r Root) routes4() ([]route, error) {
	text, err := r.Read("/proc/net/route")
	if err != nil {
		return nil, err
	}
	var routes []route
	for line := range strings.Lines(text) {
		// Iface Destination Gateway Flags RefCnt Use Metric Mask ...
		f := strings.Fields(line)
		if len(f) < 8 {
			continue
		}
		dst, ok1 := nativeHex(f[1])
		gateway, ok2 := nativeHex(f[2])
		mask, ok3 := nativeHex(f[7])
		flags, err := strconv.ParseUint(f[3], 16, 32)
		if !ok1 || !ok2 || !ok3 || err != nil || flags&rtfUp == 0 || flags&rtfReject != 0 {
			continue // the head line too
		}
		m := mask.As4()
		bits := 0
		for n := binary.BigEndian.Uint32(m[:]); n&(1<<31) != 0; n <<= 1 {
			bits++
		}
		routes = append(routes, route{f[0], netip.PrefixFrom(dst, bits), gateway.IsUnspecified()})
	}
	return routes, nil
}

func nativeHex(s string) (netip.Addr, bool) {
	n, err := strconv.ParseUint(s, 16, 32)
	if err != nil || len(s) != 8 {
		return netip.Addr{}, false
	}
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], uint32(n))
	return netip.AddrFrom4(b), true
}

// defaults6 are the devices of IPv6's default routes. A kernel without IPv6
// has none.
func (r Root) defaults6() ([]route, error) {
	text, _, err := r.Optional("/proc/net/ipv6_route")
	var routes []route
	for line := range strings.Lines(text) {
		// dst len src len nexthop metric refcnt use flags device
		f := strings.Fields(line)
		if len(f) < 10 || f[9] == "lo" {
			continue
		}
		dst, ok := hex6(f[0])
		bits, bitsErr := strconv.ParseUint(f[1], 16, 8)
		flags, flagsErr := strconv.ParseUint(f[8], 16, 32)
		if !ok || bitsErr != nil || bits > 1 || flagsErr != nil || flags&rtfUp == 0 || flags&rtfReject != 0 || dst.IsMulticast() {
			continue
		}
		routes = append(routes, route{device: f[9], dst: netip.PrefixFrom(dst, int(bits))})
	}
	return routes, err
}

func hex6(s string) (netip.Addr, bool) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 16 {
		return netip.Addr{}, false
	}
	return netip.AddrFrom16([16]byte(b)), true
}

// uplinks are the devices through which the internet is reached: those of the
// default routes. Where two halves of it go through a tunnel (as VPN clients
// set them up) that alone carries the traffic, and what is below would count
// it a second time.
func (r Root) uplinks() ([]string, error) {
	four, err := r.routes4()
	if err != nil {
		return nil, err
	}
	six, err := r.defaults6()
	if err != nil {
		return nil, err
	}
	var devices []string
	for _, family := range [][]route{four, six} {
		longest := -1
		var of []string
		for _, rt := range family {
			switch bits := rt.dst.Bits(); {
			case bits > 1 || rt.device == "lo" || bits < longest:
				continue
			case bits > longest:
				longest, of = bits, nil
				fallthrough
			default:
				of = append(of, rt.device)
			}
		}
		devices = append(devices, of...)
	}
	slices.Sort(devices)
	return slices.Compact(devices), nil
}
