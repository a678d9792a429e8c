package ledger

import (
	"hash/maphash"

	"github.com/netpilot/netpilot/pkg/usage"
)

// table is one reading's rows with an index by key: open addressing, at most
// half full. A table keeps its memory when it is filled again.
type table struct {
	seed  maphash.Seed // hosts choose their addresses; they must not choose the hash
	rows  []usage.Record
	slots []uint32 // a row's number plus one; 0 is free
	limit int      // rows held at most
	over  bool     // there were more
}

func newTable(seed maphash.Seed, limit int) *table { return &table{seed: seed, limit: limit} }

// Begin empties the table; it is usage.Sink's.
func (t *table) Begin(rows int) {
	rows = min(max(rows, len(t.rows)), t.limit) // a socket does not say how many come
	t.rows, t.over = t.rows[:0], false
	t.index(rows)
	if cap(t.rows) == 0 && rows > 0 {
		t.rows = make([]usage.Record, 0, rows)
	}
}

// Add takes a row; one that came before grows. Sums wrap modulo 2^64 as
// nlbwmon's do. It is usage.Sink's.
func (t *table) Add(r *usage.Record) {
	if 2*(len(t.rows)+1) > len(t.slots) {
		t.index(2 * (len(t.rows) + 1))
	}
	slot := t.slot(r)
	if n := t.slots[slot]; n != 0 {
		have := &t.rows[n-1]
		have.Conns += r.Conns
		have.RxBytes += r.RxBytes
		have.RxPackets += r.RxPackets
		have.TxBytes += r.TxBytes
		have.TxPackets += r.TxPackets
		return
	}
	if len(t.rows) >= t.limit {
		t.over = true
		return
	}
	t.rows = append(t.rows, *r)
	t.slots[slot] = uint32(len(t.rows))
}

// find is the row with r's key, or nil.
func (t *table) find(r *usage.Record) *usage.Record {
	if len(t.slots) == 0 {
		return nil
	}
	if n := t.slots[t.slot(r)]; n != 0 {
		return &t.rows[n-1]
	}
	return nil
}

// slot is where r is or belongs.
func (t *table) slot(r *usage.Record) int {
	var key [keySize]byte
	putKey(&key, r)
	mask := len(t.slots) - 1
	at := int(uint32(maphash.Bytes(t.seed, key[:]))) & mask
	for {
		n := t.slots[at]
		if n == 0 || sameKey(&t.rows[n-1], r) {
			return at
		}
		at = (at + 1) & mask
	}
}

// index clears the index, makes room for so many rows, a power of two, and
// enters the rows there are.
func (t *table) index(rows int) {
	size := 16
	for size < 2*rows {
		size *= 2
	}
	// A table that once was large does not stay so for ever.
	if size > len(t.slots) || size < len(t.slots)/8 {
		t.slots = make([]uint32, size)
		if len(t.rows) == 0 && cap(t.rows) > 4*size {
			t.rows = nil
		}
	} else {
		clear(t.slots)
	}
	for i := range t.rows {
		t.slots[t.slot(&t.rows[i])] = uint32(i + 1)
	}
}

// within tells whether every row of t is in o with counters that reach it: o
// may have grown from t, or t may be an earlier copy of o.
func (t *table) within(o *table) bool {
	for i := range t.rows {
		if have := o.find(&t.rows[i]); have == nil || !reaches(have, &t.rows[i]) {
			return false
		}
	}
	return true
}

// change is how one table differs from an earlier one.
type change struct {
	gone    int  // rows that are no longer there
	back    int  // rows of which a counter went down
	added   int  // rows that were not there
	witness bool // a row with bytes stood still: the table was not emptied and its ring did not turn round
}

// setBack tells whether mere counting cannot explain the change.
func (c change) setBack() bool { return c.gone+c.back > 0 }

// since compares t with prev.
func (t *table) since(prev *table) change {
	var c change
	met := 0
	for i := range t.rows {
		row := &t.rows[i]
		p := prev.find(row)
		switch {
		case p == nil:
			c.added++
			continue
		case !reaches(row, p):
			c.back++
		case idle(row, p):
			c.witness = true
		}
		met++
	}
	c.gone = len(prev.rows) - met
	return c
}
