package sample

import (
	"slices"
	"time"

	"github.com/netpilot/netpilot/agent/ledger"
	"github.com/netpilot/netpilot/pkg/usage"
)

// maxSpans bounds what waits for the clock: half an hour of looks. Beyond it
// the spans become one, whose deltas are summed by row.
const maxSpans = 64

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
	if len(p.spans) > maxSpans {
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

// wall is a span by the wall clock, which reads now at the instant at. What
// begins in an earlier boot or before anything was known begins a moment
// before its end.
func wall(from, to ledger.Instant, now time.Time, at ledger.Instant) usage.Range {
	date := func(i ledger.Instant) time.Time { return now.Add(i.Since - at.Since) }
	r := usage.Range{From: date(from), To: date(to)}
	if to.Boot != at.Boot {
		r.To = now
	}
	if from.Boot != at.Boot || to.Boot != at.Boot || !r.From.Before(r.To) {
		r.From = r.To.Add(-time.Second)
	}
	return r
}
