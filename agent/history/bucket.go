package history

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"

	"github.com/netpilot/netpilot/pkg/sorting"
	"github.com/netpilot/netpilot/pkg/usage"
)

// tally sums counters by subject.
type tally[K comparable] struct {
	at   map[K]int32
	keys []K
	sums []usage.Counters
}

// add books c on k. Past limit subjects (0: none) a new one is booked on rest.
func (t *tally[K]) add(k K, c usage.Counters, limit int, rest K) {
	i, ok := t.at[k]
	if !ok && limit > 0 && len(t.keys) >= limit {
		k = rest
		i, ok = t.at[k]
	}
	if !ok {
		if t.at == nil {
			t.at = make(map[K]int32)
		}
		i = int32(len(t.keys))
		t.at[k] = i
		t.keys = append(t.keys, k)
		t.sums = append(t.sums, usage.Counters{})
	}
	t.sums[i].Add(c)
}

func (t *tally[K]) clear() {
	clear(t.at)
	t.keys, t.sums = t.keys[:0], t.sums[:0]
}

// fold keeps the limit subjects with the most bytes and books the others on
// rest.
func (t *tally[K]) fold(limit int, rest K) {
	if len(t.keys) <= limit {
		return
	}
	order := make([]int, len(t.keys))
	for i := range order {
		order[i] = i
	}
	sorting.Stable(order, func(a, b int) int { return cmp.Compare(t.sums[b].Total(), t.sums[a].Total()) })
	var kept tally[K]
	for n, i := range order {
		k := t.keys[i]
		if n >= limit {
			k = rest
		}
		kept.add(k, t.sums[i], 0, rest)
	}
	*t = kept
}

// merge adds all of o.
func (t *tally[K]) merge(o *tally[K], limit int, rest K) {
	for i, k := range o.keys {
		t.add(k, o.sums[i], limit, rest)
	}
}

// Subjects of one bucket: a flood of invented MACs may not fill the flash. What
// comes after so many in five minutes, or moved less than so many in an hour
// or a day, is booked on the zero MAC and on otherService.
const (
	maxDevices  = 1024
	maxServices = 256
)

// otherService is where a service goes that has no name of its own.
const otherService = "other"

// maxService is the longest name of a service kept, in bytes.
const maxService = 32

// bucket is what was moved in one slot, by subject.
type bucket struct {
	device      tally[usage.MAC]
	service     tally[string]
	family      tally[uint8]
	quarantined tally[usage.MAC]
}

func (b *bucket) empty() bool {
	return len(b.device.keys)+len(b.service.keys)+len(b.family.keys)+len(b.quarantined.keys) == 0
}

func (b *bucket) clear() {
	b.device.clear()
	b.service.clear()
	b.family.clear()
	b.quarantined.clear()
}

func (b *bucket) merge(o *bucket) {
	b.device.merge(&o.device, 0, usage.MAC{})
	b.service.merge(&o.service, 0, "")
	b.family.merge(&o.family, 0, 0)
	b.quarantined.merge(&o.quarantined, 0, usage.MAC{})
}

// The sections of a bucket's frame.
const (
	secDevice = iota
	secService
	secFamily
	secQuarantined
	numSections
)

// row is one subject's line in a frame: index is that of the segment's
// dictionary, or the family itself.
type row struct {
	section uint8
	index   uint32
	usage.Counters
}

// addRows books rows as the dictionary d reads them.
func (b *bucket) addRows(d *dict, rows []row) {
	for i := range rows {
		r := &rows[i]
		switch r.section {
		case secDevice:
			b.device.add(d.mac(r.index), r.Counters, 0, usage.MAC{})
		case secService:
			b.service.add(d.service(r.index), r.Counters, 0, "")
		case secFamily:
			b.family.add(uint8(r.index), r.Counters, 0, 0)
		case secQuarantined:
			b.quarantined.add(d.mac(r.index), r.Counters, 0, usage.MAC{})
		}
	}
}

// maxRows keeps the longest frame possible below maxPayload: 512 names of 33
// bytes with 5 numbers of 10 bytes each and an index.
const maxRows = 512

// appendBucket appends b to dst as payloads of at most maxRows rows each. Subjects new to d are defined in
// the payload that needs them first. base is the segment's start.
func appendBucket(dst [][]byte, typ byte, base int64, slot span, seq uint64, b *bucket, d *dict) [][]byte {
	rows := make([]row, 0, len(b.device.keys)+len(b.service.keys)+len(b.family.keys)+len(b.quarantined.keys))
	newMACs, newServices := len(d.macs), len(d.services)
	for i, m := range b.device.keys {
		rows = append(rows, row{secDevice, d.macIndex(m), b.device.sums[i]})
	}
	for i, s := range b.service.keys {
		rows = append(rows, row{secService, d.serviceIndex(s), b.service.sums[i]})
	}
	for i, f := range b.family.keys {
		rows = append(rows, row{secFamily, uint32(f), b.family.sums[i]})
	}
	for i, m := range b.quarantined.keys {
		rows = append(rows, row{secQuarantined, d.macIndex(m), b.quarantined.sums[i]})
	}
	sorting.Func(rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(a.section, b.section), cmp.Compare(a.index, b.index))
	})
	for len(rows) > 0 {
		n := min(len(rows), maxRows)
		// Definitions are spread as well; they are in the order of the rows,
		// so that none comes after a row that needs it.
		macs, services := min(newMACs+maxRows, len(d.macs)), min(newServices+maxRows, len(d.services))
		p := []byte{typ}
		p = binary.AppendVarint(p, slot.start-base)
		p = binary.AppendUvarint(p, uint64(slot.end-slot.start))
		p = binary.AppendVarint(p, int64(seq)-base*1000)
		p = d.appendMACs(p, newMACs, macs)
		p = d.appendServices(p, newServices, services)
		newMACs, newServices = macs, services
		p = appendRows(p, rows[:n])
		dst, rows = append(dst, p), rows[n:]
	}
	return dst
}

func appendRows(p []byte, rows []row) []byte {
	for section := range uint8(numSections) {
		n := 0
		for n < len(rows) && rows[n].section == section {
			n++
		}
		p = binary.AppendUvarint(p, uint64(n))
		last := uint32(0)
		for _, r := range rows[:n] {
			p = binary.AppendUvarint(p, uint64(r.index-last))
			p = binary.AppendUvarint(p, r.RxBytes)
			p = binary.AppendUvarint(p, r.TxBytes)
			p = binary.AppendUvarint(p, r.RxPackets)
			p = binary.AppendUvarint(p, r.TxPackets)
			p = binary.AppendUvarint(p, r.Conns)
			last = r.index
		}
		rows = rows[n:]
	}
	return p
}

// bucketFrame is the decoded head of a bucket's payload.
type bucketFrame struct {
	slot     span
	seq      uint64
	macs     []byte // definitions: 6 bytes each
	macBase  uint32
	services []byte // definitions: length and text each, checked
	svcBase  uint32
	svcCount int
	rows     []byte
}

func parseBucket(base int64, payload []byte) (b bucketFrame, err error) {
	f := fields{p: payload[1:]}
	start, length := f.varint(), f.below(2*maxSpan)
	if start < -maxSpan || start > maxSpan || length <= 0 || start%slotSecs != 0 || length%slotSecs != 0 {
		f.fail("slot")
	}
	b.slot = span{base + start, base + start + length}
	b.seq = uint64(f.varint() + base*1000)
	if n := f.below(maxIndex); n > 0 {
		b.macBase = uint32(f.below(maxIndex))
		b.macs = f.bytes(6 * n)
	}
	if n := f.below(maxIndex); n > 0 {
		b.svcBase, b.svcCount = uint32(f.below(maxIndex)), int(n)
		rest := f.p
		for range n {
			f.bytes(f.below(maxService + 1))
		}
		b.services = rest[:len(rest)-len(f.p)]
	}
	b.rows = f.p
	return b, f.err
}

// allSections makes appendTo give the rows of each.
const allSections = -1

// appendTo appends the frame's rows to dst, or those of only one section, what
// is behind which is then not looked at. On an error dst is as it was.
func (b *bucketFrame) appendTo(dst []row, only int) ([]row, error) {
	f := fields{p: b.rows}
	old := len(dst)
	for section := range uint8(numSections) {
		n := f.below(uint64(len(f.p))/6 + 1) // a row has at least 6 bytes
		last := int64(0)
		for range n {
			last += f.below(maxIndex)
			r := row{section: section, index: uint32(last)}
			r.RxBytes, r.TxBytes = f.uvarint(), f.uvarint()
			r.RxPackets, r.TxPackets = f.uvarint(), f.uvarint()
			r.Conns = f.uvarint()
			if last >= maxIndex {
				f.fail("index")
			}
			if f.err != nil {
				return dst[:old], f.err
			}
			if only == allSections || only == int(section) {
				dst = append(dst, r)
			}
		}
		if only == int(section) && f.err == nil {
			return dst, nil
		}
	}
	if f.err == nil && len(f.p) > 0 {
		f.fail("bytes after the last row")
	}
	if f.err != nil {
		return dst[:old], f.err
	}
	return dst, nil
}

// compareMAC orders devices in answers.
func compareMAC(a, b usage.MAC) int { return bytes.Compare(a[:], b[:]) }

// checkRows is appendTo for its verdict, and the largest indices used.
func (b *bucketFrame) checkRows(scratch []row) (rows []row, mac, service uint32, err error) {
	rows, err = b.appendTo(scratch[:0], allSections)
	if err != nil {
		return rows, 0, 0, fmt.Errorf("rows: %w", err)
	}
	for i := range rows {
		switch rows[i].section {
		case secDevice, secQuarantined:
			mac = max(mac, rows[i].index)
		case secService:
			service = max(service, rows[i].index)
		}
	}
	return rows, mac, service, nil
}
