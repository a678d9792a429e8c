package sample

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/netpilot/netpilot/agent/ledger"
	"github.com/netpilot/netpilot/pkg/usage"
)

// What waits for the clock is bounded: half an hour of looks, and a blob that
// the history still takes. Beyond it the spans become one, whose deltas are
// summed by row.
const (
	maxSpans = 64
	maxRows  = 8192
)

// pending is what the ledger delivered and nobody could date yet.
type pending struct {
	spans []span
}

// span is one batch, in copies of its own.
type span struct {
	from, to    ledger.Instant
	deltas      []usage.Record
	quarantined []usage.Record
	gaps        []ledger.Gap
}

// add copies a batch, which the ledger overwrites at its next look.
func (p *pending) add(b *ledger.Batch) {
	if len(b.Deltas)+len(b.Quarantined)+len(b.Gaps) == 0 {
		return
	}
	p.spans = append(p.spans, span{from: b.From, to: b.To, deltas: slices.Clone(b.Deltas), quarantined: slices.Clone(b.Quarantined), gaps: slices.Clone(b.Gaps)})
	rows := 0
	for i := range p.spans {
		rows += len(p.spans[i].deltas) + len(p.spans[i].quarantined)
	}
	if len(p.spans) > maxSpans || len(p.spans) > 1 && rows > maxRows {
		p.merge()
	}
}

// merge makes one span of all.
func (p *pending) merge() {
	all := span{from: p.spans[0].from, to: p.spans[len(p.spans)-1].to}
	for _, s := range p.spans {
		all.deltas = append(all.deltas, s.deltas...)
		all.quarantined = append(all.quarantined, s.quarantined...)
		for _, g := range s.gaps {
			i := slices.IndexFunc(all.gaps, func(have ledger.Gap) bool { return have.Kind == g.Kind })
			if i < 0 {
				all.gaps = append(all.gaps, g)
			} else {
				all.gaps[i].To = g.To // one of each kind, over all its span
			}
		}
	}
	all.deltas, all.quarantined = sum(all.deltas), sum(all.quarantined)
	p.spans = []span{all}
}

// sum adds up records of the same row.
func sum(records []usage.Record) []usage.Record {
	type row struct {
		addr          [16]byte
		mac           usage.MAC
		port          uint16
		family, proto uint8
	}
	at := make(map[row]int, len(records))
	var sums []usage.Record
	for i := range records {
		r := &records[i]
		k := row{r.Addr, r.MAC, r.Port, r.Family, r.Proto}
		j, ok := at[k]
		if !ok {
			at[k] = len(sums)
			sums = append(sums, *r)
			continue
		}
		s := &sums[j]
		s.Conns += r.Conns
		s.RxBytes += r.RxBytes
		s.RxPackets += r.RxPackets
		s.TxBytes += r.TxBytes
		s.TxPackets += r.TxPackets
	}
	return sums
}

// rowSize is a row's length in the blob: key, then five counters.
const rowSize = 16 + 6 + 2 + 1 + 1 + 5*8

func appendRows(dst []byte, rows []usage.Record) []byte {
	for i := range rows {
		r := &rows[i]
		dst = append(dst, r.Addr[:]...)
		dst = append(dst, r.MAC[:]...)
		dst = binary.BigEndian.AppendUint16(dst, r.Port)
		dst = append(dst, r.Family, r.Proto)
		for _, n := range [...]uint64{r.Conns, r.RxBytes, r.RxPackets, r.TxBytes, r.TxPackets} {
			dst = binary.BigEndian.AppendUint64(dst, n)
		}
	}
	return dst
}

// cutRows takes n rows off the front of data.
func cutRows(data []byte, n int) (rows []usage.Record, rest []byte, err error) {
	if n < 0 || n > len(data)/rowSize {
		return nil, nil, errors.New("what waits for the clock is cut off")
	}
	for ; n > 0; n-- {
		b := data[:rowSize]
		r := usage.Record{
			Addr: [16]byte(b), MAC: usage.MAC(b[16:]), Port: binary.BigEndian.Uint16(b[22:]), Family: b[24], Proto: b[25],
			Conns:   binary.BigEndian.Uint64(b[26:]),
			RxBytes: binary.BigEndian.Uint64(b[34:]), RxPackets: binary.BigEndian.Uint64(b[42:]),
			TxBytes: binary.BigEndian.Uint64(b[50:]), TxPackets: binary.BigEndian.Uint64(b[58:]),
		}
		rows, data = append(rows, r), data[rowSize:]
	}
	return rows, data, nil
}
