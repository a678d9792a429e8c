package nlbw

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"hash/maphash"
	"slices"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
)

// table is the rows of one answer: grouped while they arrive, ordered when
// all have. Rows lie in one slice without pointers, found by a hash of their
// group's fields, so that 100,000 of them fit a router's memory.
type table struct {
	order   nlbwmon.AddrOrder // how the daemon stores IPv4 addresses: nlbw compares stored bytes
	group   []column
	rows    []usage.Record
	slots   []uint32 // open addressing: index+1 into rows, 0 is free
	seed    maphash.Seed
	scratch []byte
}

func newTable(group []column, order nlbwmon.AddrOrder) *table {
	return &table{group: group, order: order, seed: maphash.MakeSeed()}
}

// Begin forgets what an earlier, torn reading left and makes room for rows.
func (t *table) Begin(rows int) {
	t.rows = slices.Grow(t.rows[:0], rows)
	t.slots = make([]uint32, slotsFor(rows))
}

// slotsFor is a power of two that keeps the table at most two thirds full.
func slotsFor(rows int) int {
	n := 64
	for n*2/3 < rows {
		n *= 2
	}
	return n
}

// Add sums a row into its group. Of the fields outside the group the row that
// the daemon would have sent first is kept, as stock nlbw does: the least by
// stored key, since a dump is in that order and a snapshot is not.
func (t *table) Add(r *usage.Record) {
	if (len(t.rows)+1)*3 > len(t.slots)*2 {
		t.grow()
	}
	slot := t.find(r)
	if i := t.slots[slot]; i != 0 {
		sum := &t.rows[i-1]
		if t.compareKeys(r, sum) < 0 {
			sum.Family, sum.Proto, sum.Port, sum.MAC, sum.Addr = r.Family, r.Proto, r.Port, r.MAC, r.Addr
		}
		sum.Conns += r.Conns
		sum.RxBytes += r.RxBytes
		sum.RxPackets += r.RxPackets
		sum.TxBytes += r.TxBytes
		sum.TxPackets += r.TxPackets
		return
	}
	t.rows = append(t.rows, *r)
	t.slots[slot] = uint32(len(t.rows))
}

func (t *table) grow() {
	t.slots = make([]uint32, max(64, 2*len(t.slots)))
	for i := range t.rows {
		t.slots[t.find(&t.rows[i])] = uint32(i + 1)
	}
}

// find is the slot of r's group, or the free slot where it belongs.
func (t *table) find(r *usage.Record) int {
	mask := len(t.slots) - 1
	t.scratch = t.appendKey(t.scratch[:0], r)
	slot := int(maphash.Bytes(t.seed, t.scratch)) & mask
	for t.slots[slot] != 0 && !t.sameGroup(r, &t.rows[t.slots[slot]-1]) {
		slot = (slot + 1) & mask
	}
	return slot
}

func (t *table) appendKey(dst []byte, r *usage.Record) []byte {
	for _, c := range t.group {
		switch c {
		case colFamily:
			dst = append(dst, r.Family)
		case colProto:
			dst = append(dst, r.Proto)
		case colPort:
			dst = binary.BigEndian.AppendUint16(dst, r.Port)
		case colMAC:
			dst = append(dst, r.MAC[:]...)
		case colIP:
			dst = append(dst, r.Addr[:]...)
		case colHost:
			dst = append(dst, r.MAC[:]...)
			dst = append(dst, r.Addr[:]...)
		case colLayer7:
			dst = append(dst, r.Proto)
			dst = binary.BigEndian.AppendUint16(dst, r.Port)
		default:
			dst = binary.BigEndian.AppendUint64(dst, counter(r, c))
		}
	}
	return dst
}

func (t *table) sameGroup(a, b *usage.Record) bool {
	for _, c := range t.group {
		if t.compareColumn(a, b, c) != 0 {
			return false
		}
	}
	return true
}

// sort orders the rows by keys, ties by the stored bytes of the whole record.
func (t *table) sort(keys []key) {
	slices.SortFunc(t.rows, func(a, b usage.Record) int {
		for _, k := range keys {
			if d := t.compareColumn(&a, &b, k.col); d != 0 {
				if k.descending {
					return -d
				}
				return d
			}
		}
		return t.compareStored(&a, &b)
	})
}

func (t *table) compareColumn(a, b *usage.Record, c column) int {
	switch c {
	case colFamily:
		return cmp.Compare(a.Family, b.Family)
	case colProto:
		return cmp.Compare(a.Proto, b.Proto)
	case colPort:
		return cmp.Compare(a.Port, b.Port)
	case colMAC:
		return bytes.Compare(a.MAC[:], b.MAC[:])
	case colIP:
		return t.compareAddr(a, b)
	case colHost:
		return cmp.Or(bytes.Compare(a.MAC[:], b.MAC[:]), t.compareAddr(a, b))
	case colLayer7:
		return cmp.Or(cmp.Compare(a.Proto, b.Proto), cmp.Compare(a.Port, b.Port))
	}
	return cmp.Compare(counter(a, c), counter(b, c))
}

// compareKeys orders by the five key fields in the order they are stored.
func (t *table) compareKeys(a, b *usage.Record) int {
	return cmp.Or(cmp.Compare(a.Family, b.Family), cmp.Compare(a.Proto, b.Proto), cmp.Compare(a.Port, b.Port),
		bytes.Compare(a.MAC[:], b.MAC[:]), t.compareAddr(a, b))
}

// compareStored orders as comparing the bytes of two stored records does.
func (t *table) compareStored(a, b *usage.Record) int {
	return cmp.Or(t.compareKeys(a, b),
		cmp.Compare(a.Conns, b.Conns),
		cmp.Compare(a.TxPackets, b.TxPackets), cmp.Compare(a.TxBytes, b.TxBytes),
		cmp.Compare(a.RxPackets, b.RxPackets), cmp.Compare(a.RxBytes, b.RxBytes))
}

// compareAddr compares addresses as stored: on little-endian machines an
// IPv4 address lies in memory back to front.
func (t *table) compareAddr(a, b *usage.Record) int {
	if t.order != nlbwmon.OrderLittle {
		return bytes.Compare(a.Addr[:], b.Addr[:])
	}
	x, y := a.Addr, b.Addr
	if a.Family == usage.FamilyIPv4 {
		x[0], x[1], x[2], x[3] = x[3], x[2], x[1], x[0]
	}
	if b.Family == usage.FamilyIPv4 {
		y[0], y[1], y[2], y[3] = y[3], y[2], y[1], y[0]
	}
	return bytes.Compare(x[:], y[:])
}

func counter(r *usage.Record, c column) uint64 {
	switch c {
	case colConns:
		return r.Conns
	case colRxBytes:
		return r.RxBytes
	case colRxPackets:
		return r.RxPackets
	case colTxBytes:
		return r.TxBytes
	case colTxPackets:
		return r.TxPackets
	}
	return 0
}
