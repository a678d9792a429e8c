package usage

// Counters are what a device, a service or a row moved: connections, bytes
// and packets. Sums wrap modulo 2^64, as nlbwmon's own do.
type Counters struct {
	Conns     uint64
	RxBytes   uint64
	RxPackets uint64
	TxBytes   uint64
	TxPackets uint64
}

// Counters are the record's five numbers.
func (r *Record) Counters() Counters {
	return Counters{r.Conns, r.RxBytes, r.RxPackets, r.TxBytes, r.TxPackets}
}

// Add adds o to c.
func (c *Counters) Add(o Counters) {
	c.Conns += o.Conns
	c.RxBytes += o.RxBytes
	c.RxPackets += o.RxPackets
	c.TxBytes += o.TxBytes
	c.TxPackets += o.TxPackets
}

// Total is the bytes of both directions.
func (c Counters) Total() uint64 { return c.RxBytes + c.TxBytes }
