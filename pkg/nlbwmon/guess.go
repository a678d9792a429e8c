package nlbwmon

import (
	"net/netip"

	"github.com/netpilot/netpilot/pkg/usage"
)

// guessRows is how many rows are looked at: they fit the read buffer.
const guessRows = 256

// guessOrder looks ahead at the first rows. nlbwmon counts hosts of the local
// networks, which are mostly private, so the order that makes more addresses
// private is the right one; a tie means this machine's order.
func (d *Decoder) guessOrder() AddrOrder {
	size := d.header.recordSize()
	n := int(min(d.header.Entries, guessRows))
	b, _ := d.in.Peek(n * size) // a short read shows again in Next
	var little, big int
	for ; len(b) >= size; b = b[size:] {
		var rec usage.Record
		parseRecord(b, OrderBig, d.header.Compact, &rec)
		if rec.Family != usage.FamilyIPv4 {
			continue
		}
		if localV4(rec.IP()) {
			big++
		}
		reverse4(rec.Addr[:4])
		if localV4(rec.IP()) {
			little++
		}
	}
	switch {
	case little > big:
		return OrderLittle
	case big > little:
		return OrderBig
	}
	return NativeOrder()
}

// localV4 tells private (RFC 1918), shared (RFC 6598) and link-local
// (RFC 3927) addresses.
func localV4(a netip.Addr) bool {
	b := a.As4()
	return a.IsPrivate() || a.IsLinkLocalUnicast() || b[0] == 100 && b[1]&0xc0 == 64
}
