package ledger

import (
	"math"
	"math/bits"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

// rule is what the rows of the table began from since the last look.
type rule struct {
	prev     bool // from the last look's rows; else from zero
	back     bool // with prev: rows set back began again from zero; else nothing is known of them
	added    bool // with prev: rows that were not there began from zero; else nothing is known of them
	saved    bool // never below what nlbwmon may have started with (the ledger's floor)
	withheld bool // nothing is known at all
}

// book makes deltas of the rows now in the table. What is not known is not
// counted: the caller declares the gap.
func (l *Ledger) book(r rule) {
	if r.withheld {
		return
	}
	for i := range l.cur.rows {
		row := &l.cur.rows[i]
		var base usage.Record
		if r.prev {
			switch p := l.prev.find(row); {
			case p == nil && !r.added:
				continue
			case p == nil:
			case reaches(row, p):
				base = *p
			case !r.back:
				continue
			}
		}
		if r.saved && l.floor != nil {
			if m := l.floor.find(row); m != nil {
				raise(&base, m)
			}
		}
		if reaches(row, &base) {
			l.emit(row, less(row.Counters(), &base))
		}
	}
}

// emit books a delta under the key of row: it is attributed, quarantined or
// delivered.
func (l *Ledger) emit(row *usage.Record, c usage.Counters) {
	if c == (usage.Counters{}) {
		return
	}
	d := *row
	d.Conns, d.RxBytes, d.RxPackets, d.TxBytes, d.TxPackets = c.Conns, c.RxBytes, c.RxPackets, c.TxBytes, c.TxPackets
	if d.MAC.IsZero() && l.opts.Attribute != nil {
		if mac, ok := l.opts.Attribute(d.IP(), l.at.Instant); ok && !mac.IsZero() {
			d.MAC = mac
			l.batch.Attributed++
		}
	}
	if most := l.possible(); d.RxBytes > most || d.TxBytes > most {
		l.batch.Quarantined = append(l.batch.Quarantined, d)
		return
	}
	if d.MAC.IsZero() {
		l.batch.Unresolved.Add(c)
	}
	l.batch.Deltas = append(l.batch.Deltas, d)
}

// possible is how many bytes the link can carry one way in the time of the
// look. One refresh more, because that long traffic may have waited in
// conntrack before nlbwmon counted it.
func (l *Ledger) possible() uint64 {
	span := l.at.Since
	if l.batch.From.Boot == l.at.Boot {
		span -= l.batch.From.Since
	}
	speed := l.at.LinkSpeed
	if speed == 0 {
		speed = l.opts.LinkSpeed
	}
	hi, lo := bits.Mul64(speed, uint64(span)+uint64(l.opts.Refresh))
	if hi >= uint64(time.Second) {
		return math.MaxUint64
	}
	most, _ := bits.Div64(hi, lo, uint64(time.Second))
	return most
}
