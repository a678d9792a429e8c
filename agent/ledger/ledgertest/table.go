package ledgertest

import (
	"slices"

	"github.com/netpilot/netpilot/pkg/usage"
)

// Key is what makes a row unique.
type Key struct {
	Family, Proto uint8
	Port          uint16
	MAC           usage.MAC
	Addr          [16]byte
}

// KeyOf is r's key.
func KeyOf(r *usage.Record) Key { return Key{r.Family, r.Proto, r.Port, r.MAC, r.Addr} }

// table is nlbwmon's database: rows in slots, overwritten in a ring once the
// limit is reached (database_insert in database.c).
type table struct {
	rows  []usage.Record
	index map[Key]int
	off   int // slots written since the table was last emptied
	limit int // 0: none
}

func newTable(limit int) *table { return &table{index: map[Key]int{}, limit: limit} }

func (t *table) empty() {
	t.rows, t.off = nil, 0
	clear(t.index)
}

// update adds r to its row, if there is one.
func (t *table) update(r usage.Record) bool {
	at, ok := t.index[KeyOf(&r)]
	if !ok {
		return false
	}
	row := &t.rows[at]
	row.Conns += r.Conns
	row.RxBytes += r.RxBytes
	row.RxPackets += r.RxPackets
	row.TxBytes += r.TxBytes
	row.TxPackets += r.TxPackets
	return true
}

func (t *table) insert(r usage.Record) {
	if t.update(r) {
		return
	}
	if t.limit > 0 && len(t.rows) >= t.limit {
		at := t.off % t.limit
		t.off++
		delete(t.index, KeyOf(&t.rows[at]))
		t.rows[at] = r
		t.index[KeyOf(&r)] = at
		return
	}
	t.off++
	t.index[KeyOf(&r)] = len(t.rows)
	t.rows = append(t.rows, r)
}

func (t *table) load(rows []usage.Record) {
	for _, r := range rows {
		t.insert(r)
	}
}

func (t *table) copyRows() []usage.Record { return slices.Clone(t.rows) }
