package sample

import (
	"bytes"
	"cmp"
	"net/netip"
	"time"

	"github.com/netpilot/netpilot/agent/ledger"
	"github.com/netpilot/netpilot/pkg/sorting"
	"github.com/netpilot/netpilot/pkg/usage"
)

// Unresolved is an address for which neither nlbwmon nor the router's memory
// of its devices knows who held it, with what it moved since the agent began.
// In the history that stands under the zero MAC.
type Unresolved struct {
	Addr netip.Addr
	usage.Counters
}

// Suspect is a device that was said to have moved more than the router's link
// can carry in the time. It is kept in the history apart from all sums.
type Suspect struct {
	MAC  usage.MAC
	Last time.Time // of the last look that said so
	usage.Counters
}

// Report is what a person should know of the samples since the agent began.
type Report struct {
	Looks       uint64    // that added to the history
	Last        time.Time // when the rows of the last one were true; zero before the first
	LinkSpeed   uint64    // bytes a second each way above which a delta is quarantined
	Waiting     int       // spans that wait for the clock to be set
	Gaps        uint64    // declared
	Attributed  uint64    // deltas without a MAC for which a device was found
	Unresolved  []Unresolved
	Quarantined []Suspect
}

// maxListed bounds each list of a report; what comes after is summed under the
// zero address and the zero MAC.
const maxListed = 64

// report gathers a Report.
type report struct {
	Report
	unresolved  map[netip.Addr]usage.Counters
	quarantined map[usage.MAC]Suspect
}

func newReport() report {
	return report{unresolved: make(map[netip.Addr]usage.Counters), quarantined: make(map[usage.MAC]Suspect)}
}

// note takes up a batch, whose rows were true at asOf.
func (s *Sampler) note(b *ledger.Batch, asOf time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &s.report
	r.Looks++
	r.Last = asOf
	r.Gaps += uint64(len(b.Gaps))
	r.Attributed += uint64(b.Attributed)
	for i := range b.Deltas {
		d := &b.Deltas[i]
		if !d.MAC.IsZero() {
			continue
		}
		addr := d.IP()
		if _, ok := r.unresolved[addr]; !ok && len(r.unresolved) >= maxListed {
			addr = netip.Addr{}
		}
		sum := r.unresolved[addr]
		sum.Add(d.Counters())
		r.unresolved[addr] = sum
	}
	for i := range b.Quarantined {
		d := &b.Quarantined[i]
		mac := d.MAC
		if _, ok := r.quarantined[mac]; !ok && len(r.quarantined) >= maxListed {
			mac = usage.MAC{}
		}
		q, seen := r.quarantined[mac]
		q.MAC, q.Last = mac, asOf
		q.Counters.Add(d.Counters())
		r.quarantined[mac] = q
		if seen {
			continue // it is in the status
		}
		s.opts.Log.Warn("a device moved more than the link can carry; kept apart", "mac", d.MAC,
			"rx_bytes", d.RxBytes, "tx_bytes", d.TxBytes, "link_bytes_per_second", s.linkSpeed())
	}
}

func (s *Sampler) linkSpeed() uint64 {
	return cmp.Or(s.speed, s.opts.Ledger.LinkSpeed, ledger.DefaultLinkSpeed)
}

// Report tells how sampling goes, the largest first. It may be called from any
// goroutine.
func (s *Sampler) Report() Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.report.Report
	for addr, c := range s.report.unresolved {
		r.Unresolved = append(r.Unresolved, Unresolved{addr, c})
	}
	for _, q := range s.report.quarantined {
		r.Quarantined = append(r.Quarantined, q)
	}
	sorting.Func(r.Unresolved, func(a, b Unresolved) int {
		return cmp.Or(cmp.Compare(b.Total(), a.Total()), a.Addr.Compare(b.Addr))
	})
	sorting.Func(r.Quarantined, func(a, b Suspect) int {
		return cmp.Or(cmp.Compare(b.Total(), a.Total()), bytes.Compare(a.MAC[:], b.MAC[:]))
	})
	return r
}
