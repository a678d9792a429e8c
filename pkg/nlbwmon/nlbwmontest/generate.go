package nlbwmontest

import (
	"math/rand/v2"
	"net/netip"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
)

// services are what a home network uses most, in nlbwmon's terms.
var services = [...]struct {
	proto uint8
	port  uint16
}{{6, 443}, {17, 443}, {17, 53}, {6, 80}, {17, 123}, {1, 0}, {6, 993}, {6, 22}, {0, 0}, {6, 8080}}

// Generate makes n rows with distinct keys, the same for the same seed: hosts
// of 10.0.0.0/8 and fd77::/64 with up to ten services each.
func Generate(n int, seed uint64) []usage.Record {
	rng := rand.New(rand.NewPCG(seed, 0))
	recs := make([]usage.Record, n)
	for i := range recs {
		host := uint32(i/len(services) + 1)
		s := services[i%len(services)]
		rec := &recs[i]
		rec.Proto, rec.Port = s.proto, s.port
		rec.MAC = usage.MAC{0x02, 0x77, 0, byte(host >> 16), byte(host >> 8), byte(host)}
		if host%4 == 0 {
			rec.SetIP(netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x77, 13: byte(host >> 16), 14: byte(host >> 8), 15: byte(host)}))
		} else {
			rec.SetIP(netip.AddrFrom4([4]byte{10, byte(host >> 16), byte(host >> 8), byte(host)}))
		}
		rec.Conns = rng.Uint64N(500) + 1
		rec.RxPackets = rng.Uint64N(1_000_000)
		rec.RxBytes = rec.RxPackets * (40 + rng.Uint64N(1460))
		rec.TxPackets = rec.RxPackets / (1 + rng.Uint64N(4))
		rec.TxBytes = rec.TxPackets * (40 + rng.Uint64N(400))
	}
	return recs
}

// MonthlyHeader is the header of a period file with the default interval.
func MonthlyHeader(p nlbwmon.Period) nlbwmon.Header {
	return nlbwmon.Header{Period: p, Interval: nlbwmon.Interval{Type: nlbwmon.IntervalMonthly, Value: 1}}
}
