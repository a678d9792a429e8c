// Package live tells who uses how much just now: rates from successive looks
// at nlbwmon's table, and the stream of them that a door may subscribe to.
package live

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"github.com/netpilot/netpilot/agent/ledger"
	"github.com/netpilot/netpilot/pkg/sorting"
	"github.com/netpilot/netpilot/pkg/usage"
)

// ratesOf makes rates of what one look added.
func ratesOf(b *ledger.Batch, asOf time.Time) usage.Rates {
	r := usage.Rates{Devices: []usage.Rate{}}
	span := b.To.Since - b.From.Since
	if b.Flags&(ledger.First|ledger.Rebooted) != 0 || span <= 0 {
		return r
	}
	r.AsOf, r.Seconds = &asOf, span.Seconds()
	at := make(map[usage.MAC]int)
	for i := range b.Deltas {
		d := &b.Deltas[i]
		r.Rx += d.RxBytes
		r.Tx += d.TxBytes
		if d.MAC.IsZero() || d.RxBytes|d.TxBytes == 0 {
			continue
		}
		j, ok := at[d.MAC]
		if !ok {
			j = len(r.Devices)
			at[d.MAC] = j
			r.Devices = append(r.Devices, usage.Rate{MAC: d.MAC})
		}
		r.Devices[j].Rx += d.RxBytes
		r.Devices[j].Tx += d.TxBytes
	}
	perSecond := func(n uint64) uint64 { return uint64(float64(n)/r.Seconds + 0.5) }
	r.Rx, r.Tx = perSecond(r.Rx), perSecond(r.Tx)
	for i := range r.Devices {
		d := &r.Devices[i]
		d.Rx, d.Tx = perSecond(d.Rx), perSecond(d.Tx)
	}
	sorting.Func(r.Devices, func(a, b usage.Rate) int {
		return cmp.Or(cmp.Compare(b.Rx+b.Tx, a.Rx+a.Tx), bytes.Compare(a.MAC[:], b.MAC[:]))
	})
	r.TotalDevices = len(r.Devices)
	r.Devices = r.Devices[:min(len(r.Devices), usage.MaxRates)]
	return r
}

// at is r as it stands at now: named, and without rates where nlbwmon is
// overdue.
func at(r usage.Rates, now time.Time, refresh time.Duration, names usage.Names) usage.Rates {
	r.Timestamp, r.RefreshSeconds = now, refresh.Seconds()
	if r.AsOf != nil && now.Sub(*r.AsOf) > 2*refresh+Every {
		r.Stale, r.Devices, r.TotalDevices, r.Rx, r.Tx = true, []usage.Rate{}, 0, 0, 0
		return r
	}
	if names != nil {
		r.Devices = slices.Clone(r.Devices)
		for i := range r.Devices {
			d := &r.Devices[i]
			id := names.Identity(d.MAC, time.Time{})
			d.Hostname, d.Alias, d.Vendor = id.Hostname, id.Alias, id.Vendor
		}
	}
	return r
}
