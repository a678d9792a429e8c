package play

import (
	"context"
	"encoding/json"
	"time"

	"github.com/netpilot/netpilot/agent/history"
	"github.com/netpilot/netpilot/pkg/usage"
)

// past is router i's history as agent/replica follows one: a bucket for every
// five minutes since the network's Since, made up when somebody asks, so that
// ten thousand of them cost nothing. A bucket's cursor is its number from 1.
type past struct {
	network *Network
	router  int
	now     func() time.Time
	given   int // closed buckets that the last Since gave; of the goroutine that follows
}

// simulated is what the routers say of their counting.
func simulated(context.Context) json.RawMessage {
	return json.RawMessage(`{"ok":true,"accuracy":null,"reasons":[{"id":"simulator","text":"this is a simulator; the numbers are made up","cure":""}]}`)
}

// closed is how many buckets have ended at now.
func (n *Network) closed(now time.Time) uint64 {
	return uint64(max(0, now.Sub(n.Since)/usage.FiveMinutes))
}

// Start is when bucket number b, from 0, begins.
func (n *Network) Start(b uint64) time.Time { return n.Since.Add(time.Duration(b) * usage.FiveMinutes) }

// Moved is what device k of router i moved in bucket b.
func (n *Network) Moved(i, k int, b uint64) usage.Counters {
	x := mix(mix(uint64(i*n.Devices+k)) ^ b)
	return usage.Counters{RxBytes: x >> 34, TxBytes: x & 0xffffff, RxPackets: x >> 44, TxPackets: x & 0x3fff, Conns: x & 0x3f}
}

// mix spreads a number over 64 bits (the finalizer of MurmurHash3).
func mix(x uint64) uint64 {
	x = (x + 0x9e3779b97f4a7c15) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

var services = [...]string{"HTTPS", "QUIC", "DNS", "other"}

// Bucket makes bucket b of router i in the memory of out, as it is when that
// much of it has passed.
func (n *Network) Bucket(out *usage.Bucket, i int, b uint64, passed time.Duration) {
	passed = min(passed, usage.FiveMinutes)
	var byService [len(services)]usage.Counters
	var byFamily [2]usage.Counters
	out.Start, out.Length = n.Start(b), usage.FiveMinutes
	out.Devices, out.Services, out.Families = out.Devices[:0], out.Services[:0], out.Families[:0]
	for k := range n.Devices {
		c := n.Moved(i, k, b)
		if passed < usage.FiveMinutes {
			for _, p := range []*uint64{&c.RxBytes, &c.TxBytes, &c.RxPackets, &c.TxPackets, &c.Conns} {
				*p = *p * uint64(passed/time.Second) / 300
			}
		}
		out.Devices = append(out.Devices, usage.DeviceSum{MAC: n.MAC(i, k), Counters: c})
		byService[k%len(services)].Add(c)
		byFamily[k%len(byFamily)].Add(c)
	}
	for s, name := range services[:min(n.Devices, len(services))] {
		out.Services = append(out.Services, usage.ServiceSum{Name: name, Counters: byService[s]})
	}
	for f, family := range []uint8{usage.FamilyIPv4, usage.FamilyIPv6}[:min(n.Devices, len(byFamily))] {
		out.Families = append(out.Families, usage.FamilySum{Family: family, Counters: byFamily[f]})
	}
}

// Since implements replica.History.
func (p *past) Since(ctx context.Context, c history.Cursor, visit func(*history.Change) error) error {
	closed := p.network.closed(p.now())
	if uint64(c) > closed {
		c = 0
	}
	p.given = 0
	var change history.Change
	for b := uint64(c); b < closed; b++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		p.network.Bucket(&change.Bucket, p.router, b, usage.FiveMinutes)
		change.Cursor = history.Cursor(b + 1)
		p.given++
		if err := visit(&change); err != nil {
			return err
		}
	}
	return nil
}

// Pending implements replica.History.
func (p *past) Pending(_ context.Context, c history.Cursor, visit func(*usage.Bucket) error) (time.Time, error) {
	now := p.now().Truncate(time.Second)
	open := p.network.closed(now)
	if uint64(c) != open || now.Before(p.network.Since) {
		return time.Time{}, nil // one has closed since, or the clock is wrong
	}
	var b usage.Bucket
	p.network.Bucket(&b, p.router, open, now.Sub(p.network.Start(open)))
	return now, visit(&b)
}

// Changed implements replica.History: the clock alone says when to push.
func (p *past) Changed() <-chan struct{} { return nil }
