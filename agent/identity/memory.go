package identity

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/netpilot/netpilot/pkg/sorting"
	"github.com/netpilot/netpilot/pkg/usage"
)

// Bounds of a Memory. A router with this many devices has other troubles; what
// is beyond is the oldest of what moved nothing.
const (
	maxKnown  = 2048
	maxNames  = 8    // changes of one device's name
	maxSpans  = 4096 // of all addresses
	maxHeld   = 64   // addresses one device is remembered to have held
	maxHolder = 16   // changes of an address's holder
	evictions = 256  // devices or spans that make room at a time
	keepKnown = 400 * 24 * time.Hour
)

// What tells a flood of made-up devices from a busy evening: so many never
// seen before within a window.
const (
	floodAt     = 256
	floodWindow = 10 * time.Minute
)

// Slack of Attribute.
const (
	// A neighbour is seen up to a refresh after its first packet.
	slackBefore = 2 * time.Minute
	// The kernel forgets an idle neighbour while its connections still live.
	slackAfter = 10 * time.Minute
)

// Memory is what was seen of the devices over time. Its times are whole
// seconds of the wall clock. It is owned by a Keeper.
type Memory struct {
	devices map[usage.MAC]*known
	spans   map[netip.Addr][]span // of one address in order of time, no two overlap
	nspans  int
	looked  int64 // the newest Observe, 0 before the first
	packed  int64 // when every span was in use, and none ended before it
	flood   flood
}

// known is a device that was seen.
type known struct {
	first, last int64 // last is 0 for one known by its lease only
	names       []named
	held        int // spans of its own
	category    uint8
	reasons     uint16 // rules that made the category
	moved       bool   // nlbwmon counted it
	why         string // the same with numbers, not kept on disk
	vendor      string // not kept on disk
	vendorKnown bool
}

// named is a name from an instant on.
type named struct {
	from   int64
	text   string
	source source
}

// span is a time in which a device held an address.
type span struct {
	from, to int64
	mac      usage.MAC
	round    int64 // the Observe that saw it last; not kept on disk
	source   source
	weight   uint32
}

// flood counts devices never seen before.
type flood struct {
	begun   int64 // of the window
	count   int   // that became known in it
	dropped int   // for which there was no room, at the worst look of it
	network string
	since   int64 // of the flood; 0: there is none
	most    int   // new devices in its worst window
}

func newMemory() *Memory {
	return &Memory{devices: make(map[usage.MAC]*known), spans: make(map[netip.Addr][]span)}
}

// knows tells whether a device was seen before.
func (m *Memory) knows(mac usage.MAC) bool { return m.devices[mac] != nil }

// observe takes a Book in. pinned devices are the owner's: they stay.
func (m *Memory) observe(b *Book, now time.Time, pinned func(usage.MAC) bool) {
	t := now.Unix()
	first := m.looked == 0 && len(m.devices) == 0
	if t < m.looked {
		m.clockBack(t)
	}
	m.looked = t
	if t-m.flood.begun >= int64(floodWindow/time.Second) || t < m.flood.begun {
		if m.flood.count+m.flood.dropped < floodAt {
			m.flood.since = 0
		}
		m.flood.begun, m.flood.count, m.flood.dropped = t, 0, 0
	}
	var room evictor
	dropped := 0
	for i := range b.devices {
		d := &b.devices[i]
		if !d.present && !d.leased {
			continue
		}
		k := m.devices[d.mac]
		if k == nil {
			if k = m.admit(d.mac, t, &room, pinned); k == nil {
				dropped++
				continue
			}
			if !first {
				m.flood.count++
				m.flood.network = b.networks[d.network]
			}
		}
		if d.present {
			k.last = max(k.last, t-int64(d.seen))
		}
		if d.nameLen > 0 {
			k.name(b.nameOf(d).Text, d.source, t)
		}
	}
	m.flood.dropped = max(m.flood.dropped, dropped)
	if n := m.flood.count + m.flood.dropped; n >= floodAt {
		if m.flood.since == 0 {
			m.flood.since, m.flood.most = m.flood.begun, 0
		}
		m.flood.most = max(m.flood.most, n)
	}
	// Who is there holds an address rather than who has a lease on it.
	for _, from := range [...]source{fromNeighbours, fromLeases, fromOdhcpd} {
		for i := range b.devices {
			d := &b.devices[i]
			if m.devices[d.mac] == nil {
				continue
			}
			for _, a := range b.addrsOf(d) {
				if a.source == from {
					m.hold(a.addr(), d.mac, t, t, a.source, a.weight)
				}
			}
		}
	}
	m.expire(t)
}

// moved takes in that nlbwmon counted these devices at these addresses.
func (m *Memory) moved(deltas []usage.Record, at time.Time, pinned func(usage.MAC) bool) {
	t := at.Unix()
	var room evictor
	for i := range deltas {
		r := &deltas[i]
		if r.MAC.IsZero() || r.RxBytes == 0 && r.TxBytes == 0 {
			continue
		}
		k := m.devices[r.MAC]
		if k == nil {
			if k = m.admit(r.MAC, t, &room, pinned); k == nil {
				continue // the sums have it all the same
			}
		}
		// What a device sent is proof that it was there.
		if r.TxBytes > 0 {
			k.last = max(k.last, t)
			k.moved = true
		}
		if addr := r.IP(); addr.IsValid() && !addr.IsLinkLocalUnicast() && r.TxBytes > 0 {
			m.hold(addr, r.MAC, t, t, fromNeighbours, 0)
		}
	}
}

// evictor finds the devices that may go, once for all that ask at a time.
type evictor struct {
	ready   bool
	victims []usage.MAC // the least worth first
}

// admit makes a device known, if there is room or one that is worth less.
func (m *Memory) admit(mac usage.MAC, t int64, room *evictor, pinned func(usage.MAC) bool) *known {
	if len(m.devices) >= maxKnown {
		if !room.ready {
			room.ready = true
			room.victims = m.victims(t, pinned)
		}
		if len(room.victims) == 0 {
			return nil
		}
		n := min(len(room.victims), evictions)
		m.forget(room.victims[:n])
		room.victims = room.victims[n:]
	}
	k := &known{first: t}
	m.devices[mac] = k
	return k
}

// victims are the devices that may go: those that moved nothing and were not
// seen in the last hour, the longest unseen first. A flood passes; a device
// that used the network stays.
func (m *Memory) victims(t int64, pinned func(usage.MAC) bool) []usage.MAC {
	const hour = 3600
	var all []usage.MAC
	for mac, k := range m.devices {
		if !k.moved && max(k.first, k.last) < t-hour && (pinned == nil || !pinned(mac)) {
			all = append(all, mac)
		}
	}
	sorting.Func(all, func(a, b usage.MAC) int {
		return cmp.Or(cmp.Compare(m.devices[a].last, m.devices[b].last), slices.Compare(a[:], b[:]))
	})
	return all
}

// forget drops all that is known of some devices.
func (m *Memory) forget(macs []usage.MAC) {
	for _, mac := range macs {
		delete(m.devices, mac)
	}
	m.dropSpans(func(s *span) bool { return m.devices[s.mac] == nil })
}

// dropSpans drops the spans that match.
func (m *Memory) dropSpans(match func(*span) bool) {
	for addr, spans := range m.spans {
		kept := spans[:0]
		for i := range spans {
			if !match(&spans[i]) {
				kept = append(kept, spans[i])
				continue
			}
			m.nspans--
			if k := m.devices[spans[i].mac]; k != nil {
				k.held--
			}
		}
		if len(kept) == 0 {
			delete(m.spans, addr)
		} else {
			m.spans[addr] = kept
		}
	}
}

// name notes what the device is called from t on.
func (k *known) name(text string, from source, t int64) {
	if n := len(k.names); n > 0 && k.names[n-1].text == text {
		k.names[n-1].source = from
		return
	}
	if len(k.names) == maxNames {
		k.names = slices.Delete(k.names, 0, 1)
	}
	k.names = append(k.names, named{t, text, from})
}

// nameAt is what the device was called at an instant: by the last name it had
// got until then; by its first one before that.
func (k *known) nameAt(at int64) Name {
	if len(k.names) == 0 {
		return Name{}
	}
	n := k.names[0]
	for _, later := range k.names[1:] {
		if later.from <= at {
			n = later
		}
	}
	return Name{n.text, sourceNames[n.source]}
}

// hold notes that a device held an address at [from, to].
func (m *Memory) hold(addr netip.Addr, mac usage.MAC, from, to int64, by source, weight uint32) {
	spans := m.spans[addr]
	if n := len(spans); n > 0 {
		last := &spans[n-1]
		switch {
		case last.mac == mac:
			last.to, last.round, last.source, last.weight = max(last.to, to), m.looked, by, weight
			return
		case to < last.from:
			return // hearsay of the past
		case last.round == m.looked && cmp.Or(cmp.Compare(last.source, by), cmp.Compare(last.weight, weight)) <= 0:
			return // a better claim was seen at this very look
		case last.from >= from:
			// Both claims are of this look: the worse one never was.
			m.devices[last.mac].held--
			last.mac, last.from, last.to, last.round, last.source, last.weight = mac, from, to, m.looked, by, weight
			m.devices[mac].held++
			return
		}
		last.to = min(last.to, from)
	}
	k := m.devices[mac]
	if k.held >= maxHeld {
		m.dropOldest(1, to, func(s *span) bool { return s.mac == mac })
	} else if limit := from - heldFor; m.nspans >= maxSpans && limit > m.packed {
		m.dropOldest(evictions, limit, func(*span) bool { return true })
		if m.nspans >= maxSpans {
			m.packed = limit // to look again at the same instant is in vain
		}
	}
	if k.held >= maxHeld || m.nspans >= maxSpans {
		return // addresses in use stay
	}
	if spans = m.spans[addr]; len(spans) == maxHolder {
		if first := m.devices[spans[0].mac]; first != nil {
			first.held--
		}
		m.nspans--
		spans = slices.Delete(spans, 0, 1)
	}
	k.held++
	m.nspans++
	m.spans[addr] = append(spans, span{from: from, to: to, mac: mac, round: m.looked, source: by, weight: weight})
}

// heldFor is how long an address counts as in use, in seconds.
const heldFor = 3600

// dropOldest forgets those of the spans that match whose end is longest past,
// at most n of them, and none that ended after the limit.
func (m *Memory) dropOldest(n int, limit int64, match func(*span) bool) {
	var ends []int64
	for _, spans := range m.spans {
		for i := range spans {
			if s := &spans[i]; s.to < limit && match(s) {
				ends = append(ends, s.to)
			}
		}
	}
	if len(ends) == 0 {
		return
	}
	slices.Sort(ends)
	last := ends[min(n, len(ends))-1]
	m.dropSpans(func(s *span) bool {
		if s.to > last || !match(s) || n == 0 {
			return false
		}
		n--
		return true
	})
}

// attribute is who held an address at an instant. What is not certain is not
// said: ok is false where two devices may have held it.
func (m *Memory) attribute(addr netip.Addr, at time.Time) (usage.MAC, bool) {
	t := at.Unix()
	var before, after *span
	spans := m.spans[addr.Unmap().WithZone("")]
	for i := range spans {
		s := &spans[i]
		switch {
		case s.from <= t && t <= s.to:
			return s.mac, true
		case s.to < t:
			before = s
		case after == nil:
			after = s
		}
	}
	switch {
	case before != nil && after != nil:
		return before.mac, before.mac == after.mac
	case before != nil:
		return before.mac, t-before.to <= int64(slackAfter/time.Second)
	case after != nil:
		return after.mac, after.from-t <= int64(slackBefore/time.Second)
	}
	return usage.MAC{}, false
}

// expire forgets what is older than any history.
func (m *Memory) expire(t int64) {
	limit := t - int64(keepKnown/time.Second)
	var old []usage.MAC
	for mac, k := range m.devices {
		if max(k.first, k.last) < limit {
			old = append(old, mac)
		}
	}
	if old != nil {
		m.forget(old)
	}
}

// clockBack makes the times that now lie in the future those of now: the clock
// was ahead when they were taken.
func (m *Memory) clockBack(t int64) {
	for _, k := range m.devices {
		k.first, k.last = min(k.first, t), min(k.last, t)
		for i := range k.names {
			k.names[i].from = min(k.names[i].from, t)
		}
	}
	for _, spans := range m.spans {
		for i := range spans {
			spans[i].from, spans[i].to = min(spans[i].from, t), min(spans[i].to, t)
		}
	}
	m.packed = 0
	m.flood.begun, m.flood.since = min(m.flood.begun, t), min(m.flood.since, t)
}
