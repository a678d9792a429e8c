package truth

import (
	"sync"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

// The meter's times and bounds.
const (
	fine       = 5 * time.Minute // slots of the last day
	coarse     = time.Hour       // slots of what is older
	fineFor    = 24 * time.Hour
	coarseFor  = 35 * 24 * time.Hour // as long as the router keeps its history by the hour
	leastTime  = 10 * time.Minute    // before which a comparison says nothing: the two ends of a look are up to one refresh apart
	leastBytes = 1 << 20
)

// Below low, or above high, something is wrong and not only the router's own
// traffic, which the WAN moves and no device does.
const (
	low         = 0.8
	high        = 1.1
	enoughBytes = 10 << 20 // for such a judgement
)

// Reasons of the meter.
const (
	reasonLow       = "accuracy-low"
	reasonHigh      = "accuracy-high"
	reasonUnknown   = "accuracy-unknown"
	reasonPart      = "accuracy-part"
	reasonFile      = "file"
	etherHeader     = 14 // bytes that a device of Ethernet counts with each packet and nlbwmon does not
	arphrdEther     = 1  // /sys/class/net/DEV/type
	maxUplinks      = 16
	wrapsAt         = 1 << 32 // where some drivers' counters begin anew
	maxPlausibleGap = 10 * time.Minute
)

// Meter compares what was attributed to devices with what the WAN moved. One
// goroutine tells it of looks; any may ask.
type Meter struct {
	root Root

	mu    sync.Mutex // guards below
	last  map[string]counters
	at    time.Duration // since boot, of last
	known bool          // last is a base to count from
	why   string        // why the last look could not be compared
	slots []slot        // by time, without overlap
}

// counters are a device's at one instant.
type counters struct {
	index          int64 // the interface's number: another one is another interface
	bytes, packets [2]uint64
	ether          bool
}

// slot is what both sides moved in a slot of time.
type slot struct {
	start  int64 // Unix time
	length uint32
	span   uint32 // seconds of it that were compared
	wan    uint64
	device uint64
}

// NewMeter makes a meter of the router's WAN.
func NewMeter(root Root) *Meter { return &Meter{root: root} }

// Look tells of one look at nlbwmon's table: at since boot, and by the wall
// clock, zero while that is not set, attributed bytes more were seen than at
// the look before. first says that there is none to compare with.
func (m *Meter) Look(at time.Duration, wall time.Time, attributed uint64, first bool) {
	now, err := m.read()
	m.mu.Lock()
	defer m.mu.Unlock()
	last, known, began := m.last, m.known, m.at
	m.last, m.at, m.known, m.why = now, at, err == nil, ""
	if err != nil {
		m.why = err.Error()
		return
	}
	if first || !known || wall.IsZero() {
		return
	}
	wan, ok := difference(last, now)
	if !ok {
		m.why = "the WAN's interface was set up anew"
		return
	}
	if span := at - began; span > 0 && span <= maxPlausibleGap {
		m.add(wall, span, wan, attributed)
	}
}

// read is the counters of all devices the internet is reached by.
func (m *Meter) read() (map[string]counters, error) {
	devices, err := m.root.uplinks()
	if err != nil {
		return nil, err
	}
	if len(devices) == 0 {
		return nil, usage.Errorf(usage.NotFound, "there is no default route, so no WAN to compare with")
	}
	if m.root.bridges(devices) {
		return nil, usage.Errorf(usage.NotFound, "the default route leads through %s, a bridge: this router is no gateway", devices[0])
	}
	all := make(map[string]counters)
	for _, dev := range devices[:min(len(devices), maxUplinks)] {
		c := counters{}
		dir := "/sys/class/net/" + dev + "/"
		if c.index, _, err = m.root.Number(dir + "ifindex"); err != nil {
			return nil, err
		}
		kind, _, err := m.root.Number(dir + "type")
		if err != nil {
			return nil, err
		}
		c.ether = kind == arphrdEther
		for i, way := range []string{"rx", "tx"} {
			for name, to := range map[string]*uint64{"_bytes": &c.bytes[i], "_packets": &c.packets[i]} {
				n, there, err := m.root.unsigned(dir + "statistics/" + way + name)
				if err != nil {
					return nil, err
				}
				if !there {
					return nil, usage.Errorf(usage.NotFound, "interface %s of the default route has no counters", usage.Clean(dev, 32))
				}
				*to = n
			}
		}
		all[dev] = c
	}
	return all, nil
}

// difference is the IP bytes moved between two readings; false if they are
// not of the same interfaces, or counters were reset.
func difference(from, to map[string]counters) (sum uint64, ok bool) {
	if len(from) != len(to) {
		return 0, false
	}
	for dev, b := range to {
		a, same := from[dev]
		if !same || a.index != b.index || a.ether != b.ether {
			return 0, false
		}
		for i := range b.bytes {
			bytes, ok1 := more(a.bytes[i], b.bytes[i])
			packets, ok2 := more(a.packets[i], b.packets[i])
			if !ok1 || !ok2 {
				return 0, false
			}
			if head := etherHeader * packets; b.ether && bytes >= head {
				bytes -= head
			}
			sum += bytes
		}
	}
	return sum, true
}

// more is b - a, also where a 32-bit counter began anew between them: it was
// in its last quarter and is in its first. Any other fall is a reset.
func more(a, b uint64) (uint64, bool) {
	switch {
	case b >= a:
		return b - a, true
	case a < wrapsAt && a >= wrapsAt/4*3 && b < wrapsAt/4:
		return b + wrapsAt - a, true
	}
	return 0, false
}

// add books a comparison in the slot in which it ended.
func (m *Meter) add(wall time.Time, span time.Duration, wan, device uint64) {
	start := wall.Truncate(fine).Unix()
	n := len(m.slots)
	if n > 0 && m.slots[n-1].start > start { // the clock was set back: what is booked stays where it is
		start = m.slots[n-1].start
	}
	if n == 0 || m.slots[n-1].start != start || m.slots[n-1].length != uint32(fine/time.Second) {
		m.slots = append(m.slots, slot{start: start, length: uint32(fine / time.Second)})
		m.compact(wall)
		n = len(m.slots)
	}
	s := &m.slots[n-1]
	s.span += uint32(span / time.Second)
	s.wan += wan
	s.device += device
}

// compact makes hours of what is over a day old, and forgets what is over 35.
func (m *Meter) compact(now time.Time) {
	old, gone := now.Add(-fineFor).Unix(), now.Add(-coarseFor).Unix()
	kept := m.slots[:0]
	for _, s := range m.slots {
		if s.start < gone {
			continue
		}
		hour := s.start - s.start%int64(coarse/time.Second)
		if s.start < old && s.length != uint32(coarse/time.Second) {
			s.start, s.length = hour, uint32(coarse/time.Second)
		}
		if n := len(kept); n > 0 && kept[n-1].start == s.start && kept[n-1].length == s.length {
			kept[n-1].span += s.span
			kept[n-1].wan += s.wan
			kept[n-1].device += s.device
			continue
		}
		kept = append(kept, s)
	}
	m.slots = kept
}

// Accuracy adds to c what is known of the span: slots of which any part is in
// it count whole.
func (m *Meter) Accuracy(c *usage.Counting, span usage.Range) {
	if m == nil {
		c.Add(false, usage.Reason{ID: reasonUnknown, Text: "not compared with the WAN: only the daemon does that", Cure: "netpilot-agent doctor"})
		return
	}
	m.mu.Lock()
	var sum slot
	for _, s := range m.slots {
		start := time.Unix(s.start, 0)
		if start.Before(span.To) && start.Add(time.Duration(s.length)*time.Second).After(span.From) {
			sum.span += s.span
			sum.wan += s.wan
			sum.device += s.device
		}
	}
	why := m.why
	m.mu.Unlock()
	compared := time.Duration(sum.span) * time.Second
	switch {
	case compared < leastTime:
		if why == "" {
			why = "less than " + usage.Age(leastTime) + " of this span were compared since the agent began"
		}
		c.Add(false, usage.Reason{ID: reasonUnknown, Text: "not compared with the WAN: " + usage.Clean(why, 200)})
		return
	case sum.wan < leastBytes:
		c.Add(false, usage.Reason{ID: reasonUnknown, Text: "not compared with the WAN: it moved hardly anything"})
		return
	}
	accuracy := float64(sum.device) / float64(sum.wan)
	c.Accuracy = &accuracy
	switch {
	case sum.wan < enoughBytes:
	case accuracy < low:
		c.Add(true, usage.Reason{ID: reasonLow, Text: sprintf("devices account for %.0f %% of what the WAN moved; the rest was not counted, or is the router's own (a VPN or backup on it)", 100*accuracy),
			Cure: "netpilot-agent doctor"})
	case accuracy > high:
		c.Add(true, usage.Reason{ID: reasonHigh, Text: sprintf("devices account for %.0f %% of what the WAN moved: something is counted twice, or does not pass the default route", 100*accuracy),
			Cure: "netpilot-agent doctor; ip route"})
	}
	if asked := span.To.Sub(span.From); compared < asked*9/10 {
		c.Add(false, usage.Reason{ID: reasonPart, Text: "compared with the WAN over " + usage.Age(compared) + " of the " + usage.Age(asked) + " asked for"})
	}
}
