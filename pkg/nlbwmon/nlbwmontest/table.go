package nlbwmontest

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
)

// key is what makes a row unique within a database.
type key struct {
	family, proto uint8
	port          uint16
	mac           usage.MAC
	addr          [16]byte
}

// table holds rows in the order they came, which is that of the files.
type table struct {
	rows  []usage.Record
	index map[key]int // into rows
}

func (t *table) reset() { t.rows, t.index = nil, nil }

// add is nlbwmon's database_insert without a limit: known rows grow.
func (t *table) add(recs []usage.Record) {
	if t.index == nil {
		t.index = make(map[key]int)
	}
	for i := range recs {
		r := &recs[i]
		k := key{r.Family, r.Proto, r.Port, r.MAC, r.Addr}
		at, known := t.index[k]
		if !known {
			t.index[k] = len(t.rows)
			t.rows = append(t.rows, *r)
			continue
		}
		row := &t.rows[at]
		row.Conns += r.Conns
		row.RxBytes += r.RxBytes
		row.RxPackets += r.RxPackets
		row.TxBytes += r.TxBytes
		row.TxPackets += r.TxPackets
	}
}

// sorted copies the rows in the order of a dump: by the bytes of the key as
// the router stores them, so IPv4 addresses sort by their last byte first on
// little-endian routers.
func (t *table) sorted(order nlbwmon.AddrOrder) []usage.Record {
	rows := slices.Clone(t.rows)
	slices.SortFunc(rows, func(a, b usage.Record) int {
		if c := cmp.Or(cmp.Compare(a.Family, b.Family), cmp.Compare(a.Proto, b.Proto),
			cmp.Compare(a.Port, b.Port), bytes.Compare(a.MAC[:], b.MAC[:])); c != 0 {
			return c
		}
		if a.Family == usage.FamilyIPv4 && order == nlbwmon.OrderLittle {
			slices.Reverse(a.Addr[:4])
			slices.Reverse(b.Addr[:4])
		}
		return bytes.Compare(a.Addr[:], b.Addr[:])
	})
	return rows
}
