package nlbwmon

import (
	"strconv"
	"strings"
)

// maxProtoName is where nlbw cuts a protocol's name (prstr in client.c).
const maxProtoName = 10

// unspecified is what nlbw prints for protocol 0 where the C library knows no
// name for it.
const unspecified = "unspec."

// muslProtocols is musl's built-in table (src/network/proto.c) in upper case,
// as OpenWrt's nlbw prints it. musl does not read /etc/protocols.
var muslProtocols = [256]string{
	0: "IP", 1: "ICMP", 2: "IGMP", 3: "GGP", 4: "IPENCAP", 5: "ST", 6: "TCP", 8: "EGP", 12: "PUP", 17: "UDP",
	20: "HMP", 22: "XNS-IDP", 27: "RDP", 29: "ISO-TP4", 36: "XTP", 37: "DDP", 38: "IDPR-CMTP", 41: "IPV6",
	43: "IPV6-ROUTE", 44: "IPV6-FRAG", 45: "IDRP", 46: "RSVP", 47: "GRE", 50: "ESP", 51: "AH", 57: "SKIP",
	58: "IPV6-ICMP", 59: "IPV6-NONXT", 60: "IPV6-OPTS", 73: "RSPF", 81: "VMTP", 89: "OSPF", 94: "IPIP",
	98: "ENCAP", 103: "PIM", 255: "RAW",
}

// glibcProtocols are the names that a glibc build of nlbw takes from Debian's
// /etc/protocols where they are not musl's.
var glibcProtocols = [256]string{
	4: "IP-ENCAP", 9: "IGP", 33: "DCCP", 50: "IPSEC-ESP", 51: "IPSEC-AH", 88: "EIGRP", 89: "OSPFIGP", 93: "AX.25",
	97: "ETHERIP", 108: "IPCOMP", 112: "VRRP", 115: "L2TP", 124: "ISIS", 132: "SCTP", 133: "FC",
	135: "MOBILITY-HEADER", 136: "UDPLITE", 137: "MPLS-IN-IP", 138: "MANET", 139: "HIP", 140: "SHIM6",
	141: "WESP", 142: "ROHC", 143: "ETHERNET",
}

// ProtoName is the protocol's name as nlbw on OpenWrt prints it: "TCP", "ICMP",
// or the number where musl knows no name.
func ProtoName(proto uint8) string {
	if name := muslProtocols[proto]; name != "" {
		return name
	}
	return strconv.Itoa(int(proto))
}

// ParseProtoName finds the number for what nlbw prints, on OpenWrt or on a
// system with /etc/protocols, in either case: a name, cut at ten bytes or not,
// or a number.
func ParseProtoName(name string) (proto uint8, ok bool) {
	name = strings.TrimSpace(name)
	if n, err := strconv.ParseUint(name, 10, 8); err == nil {
		return uint8(n), true
	}
	if name == unspecified {
		return 0, true
	}
	for i := range muslProtocols {
		if sameProto(name, muslProtocols[i]) || sameProto(name, glibcProtocols[i]) {
			return uint8(i), true
		}
	}
	return 0, false
}

func sameProto(name, known string) bool {
	return known != "" && (strings.EqualFold(name, known) || len(known) > maxProtoName && strings.EqualFold(name, known[:maxProtoName]))
}
