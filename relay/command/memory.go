package command

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// restEvery is how often the relay looks whether it is at rest.
	restEvery = 20 * time.Second
	// worthGiving is the least memory worth a collection of garbage to give it
	// back to the system, in bytes.
	worthGiving = 8 << 20
)

// memory is what the runtime says of its heap, in bytes.
type memory struct {
	allocated uint64 // ever
	held      uint64 // garbage or free, but not given back
	live      uint64 // after the last collection
}

func readMemory() memory {
	samples := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"}, {Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/heap/live:bytes"},
	}
	metrics.Read(samples)
	m := memory{allocated: samples[0].Value.Uint64(), held: samples[1].Value.Uint64(), live: samples[3].Value.Uint64()}
	if objects := samples[2].Value.Uint64(); objects > m.live {
		m.held += objects - m.live
	}
	return m
}

// atRest tells whether so little was done since an earlier look that a
// collection is no burden, and much is held from busier times.
func (m memory) atRest(before memory) bool {
	return m.allocated-before.allocated < m.live/4+worthGiving/2 && m.held > m.live/4+worthGiving
}

// giveBack gives memory back to the system when the relay is at rest, until
// ctx ends. After a storm of 10,000 links the runtime would keep twice what
// they need for as long as nothing happens.
func giveBack(ctx context.Context) {
	tick := time.NewTicker(restEvery)
	defer tick.Stop()
	before := readMemory()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := readMemory()
		if now.atRest(before) {
			debug.FreeOSMemory()
			now = readMemory()
		}
		before = now
	}
}
