package ledger

import (
	"encoding/binary"

	"github.com/netpilot/netpilot/pkg/usage"
)

// keySize is the length of a row's key: family, proto, port, MAC, address.
const keySize = 1 + 1 + 2 + 6 + 16

// putKey writes r's key; big-endian so that it is the same on every machine.
func putKey(k *[keySize]byte, r *usage.Record) {
	k[0], k[1] = r.Family, r.Proto
	binary.BigEndian.PutUint16(k[2:], r.Port)
	copy(k[4:], r.MAC[:])
	copy(k[10:], r.Addr[:])
}

// sameKey tells whether a and b are the same row.
func sameKey(a, b *usage.Record) bool {
	return a.Addr == b.Addr && a.MAC == b.MAC && a.Port == b.Port && a.Proto == b.Proto && a.Family == b.Family
}

// reaches tells whether no counter of a lies below b's.
func reaches(a, b *usage.Record) bool {
	return a.Conns >= b.Conns && a.RxBytes >= b.RxBytes && a.RxPackets >= b.RxPackets &&
		a.TxBytes >= b.TxBytes && a.TxPackets >= b.TxPackets
}

// idle tells whether a row that has moved bytes before did not move since.
func idle(cur, prev *usage.Record) bool {
	return cur.RxBytes|cur.TxBytes != 0 && cur.Counters() == prev.Counters()
}

// less takes b's counters from a's; a must reach b.
func less(a usage.Counters, b *usage.Record) usage.Counters {
	a.Conns -= b.Conns
	a.RxBytes -= b.RxBytes
	a.RxPackets -= b.RxPackets
	a.TxBytes -= b.TxBytes
	a.TxPackets -= b.TxPackets
	return a
}

// raise lifts each counter of r to o's.
func raise(r, o *usage.Record) {
	r.Conns = max(r.Conns, o.Conns)
	r.RxBytes = max(r.RxBytes, o.RxBytes)
	r.RxPackets = max(r.RxPackets, o.RxPackets)
	r.TxBytes = max(r.TxBytes, o.TxBytes)
	r.TxPackets = max(r.TxPackets, o.TxPackets)
}
