package command

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// stormEvery is how often it looks for a storm, stormLinks how many new
	// links are one.
	stormEvery = time.Second
	stormLinks = 250
	// restEvery is how often the relay looks whether it is at rest.
	restEvery = 10 * time.Second
	// worthGiving is the least memory worth a collection of garbage to give it
	// back to the system, in bytes.
	worthGiving = 4 << 20
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
// collection is no burden - the runtime itself would have made one at most -
// and much is held from busier times.
func (m memory) atRest(before memory) bool {
	return m.allocated-before.allocated < m.live+worthGiving && m.held > m.live/8+worthGiving
}

// keepSmall keeps the memory of many links small until ctx ends. What a link
// holds for months is made amid the garbage of its connecting: in a storm it is
// collected while links come, so that it leaves no holes between them. And when
// the relay is at rest, memory from busier times goes back to the system; the
// runtime would keep as much again as is in use.
func keepSmall(ctx context.Context, links func() int) {
	tick := time.NewTicker(stormEvery)
	defer tick.Stop()
	collected, before := links(), readMemory()
	looked := time.Now()
	for {
		var at time.Time
		select {
		case <-ctx.Done():
			return
		case at = <-tick.C:
		}
		now := links()
		if now >= collected+stormLinks {
			runtime.GC()
			collected = now
		}
		collected = min(collected, now)
		if at.Sub(looked) < restEvery {
			continue
		}
		looked = at
		m := readMemory()
		if m.atRest(before) {
			debug.FreeOSMemory()
			m = readMemory()
		}
		before = m
	}
}
