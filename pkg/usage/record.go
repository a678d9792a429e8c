// Package usage describes netpilot to someone who never programmed: a router
// has devices, a device moves bytes, a record is one row of what nlbwmon
// counted. It knows no file format, no frame and no table.
package usage

import "net/netip"

// Address families as nlbwmon stores them: Linux's AF_INET and AF_INET6, the
// same numbers on every architecture it runs on.
const (
	FamilyIPv4 = 2
	FamilyIPv6 = 10
)

// Record is one nlbwmon row as read. Counters are cumulative since the start
// of the period, in bytes and packets; rx is towards the device, tx from it.
// It holds no pointer, so that 100,000 of them cost the collector nothing.
type Record struct {
	Addr      [16]byte // network byte order; IPv4 in the first four bytes
	Conns     uint64
	RxBytes   uint64
	RxPackets uint64
	TxBytes   uint64
	TxPackets uint64
	MAC       MAC
	Port      uint16 // 0 for "other" and for protocols without ports
	Family    uint8  // FamilyIPv4 or FamilyIPv6; anything else as nlbwmon stored it
	Proto     uint8  // IP protocol number; 0 is "other"
}

// IP is the record's address; the zero Addr for a family that is neither
// IPv4 nor IPv6.
func (r *Record) IP() netip.Addr {
	switch r.Family {
	case FamilyIPv4:
		return netip.AddrFrom4([4]byte(r.Addr[:4]))
	case FamilyIPv6:
		return netip.AddrFrom16(r.Addr)
	}
	return netip.Addr{}
}

// familyText is 4 or 6; "" where the source does not say, as one without a
// column for the address.
func (r *Record) familyText() string {
	switch r.Family {
	case FamilyIPv4:
		return "4"
	case FamilyIPv6:
		return "6"
	}
	return ""
}

// SetIP stores a and its family.
func (r *Record) SetIP(a netip.Addr) {
	r.Addr = [16]byte{}
	if a.Is4() {
		r.Family = FamilyIPv4
		v4 := a.As4()
		copy(r.Addr[:], v4[:])
		return
	}
	r.Family = FamilyIPv6
	r.Addr = a.As16()
}

// Sink takes the records of one reading. Begin comes before the first, drops
// what an earlier attempt left (a torn file is read again) and may make room
// for as many rows as are said to come; Add must not keep the pointer and
// must not wait, since nlbwmon stands still while its reader does.
type Sink interface {
	Begin(rows int)
	Add(*Record)
}
