package method

import (
	"cmp"
	"context"
	"time"

	"github.com/netpilot/netpilot/agent/history"
	"github.com/netpilot/netpilot/pkg/sorting"
	"github.com/netpilot/netpilot/pkg/usage"
)

// selection says which devices are asked for. The interfaces of one device
// are one: their rows go under its first MAC.
type selection struct {
	names  usage.Names // may be nil
	filter usage.Filter
	mac    *usage.MAC // only this device; nil: every one
	chosen map[usage.MAC]choice
}

type choice struct {
	mac  usage.MAC // under which it counts
	keep bool
}

func newSelection(names usage.Names, filter usage.Filter, mac *usage.MAC) *selection {
	s := &selection{names: names, filter: filter, chosen: make(map[usage.MAC]choice)}
	if mac != nil {
		first := s.primary(*mac)
		s.mac = &first
	}
	return s
}

// all tells whether every device is asked for.
func (s *selection) all() bool { return s.mac == nil && s.filter.Empty() }

func (s *selection) primary(mac usage.MAC) usage.MAC {
	if s.names != nil {
		if id := s.names.Identity(mac, time.Time{}); !id.Primary.IsZero() {
			return id.Primary
		}
	}
	return mac
}

// choose is the device a MAC belongs to, and whether it is asked for.
func (s *selection) choose(mac usage.MAC) (usage.MAC, bool) {
	if c, ok := s.chosen[mac]; ok {
		return c.mac, c.keep
	}
	c := choice{mac, s.all()}
	if !mac.IsZero() {
		c.mac = s.primary(mac)
		c.keep = s.mac == nil || *s.mac == c.mac
		if c.keep && !s.filter.Empty() {
			var id usage.Identity
			if s.names != nil {
				id = s.names.Identity(c.mac, time.Time{})
			}
			c.keep = s.filter.Matches(&id)
		}
	} else if s.mac != nil {
		c.keep = s.mac.IsZero()
	}
	s.chosen[mac] = c
	return c.mac, c.keep
}

// chosenRows passes on the records of the devices that were asked for.
type chosenRows struct {
	usage.Sink
	*selection
	raw bool // under their own MACs
}

// Add implements usage.Sink.
func (c chosenRows) Add(r *usage.Record) {
	mac, keep := c.choose(r.MAC)
	switch {
	case !keep:
	case c.raw || mac == r.MAC:
		c.Sink.Add(r)
	default:
		renamed := *r
		renamed.MAC = mac
		c.Sink.Add(&renamed)
	}
}

// query asks the history for q, of the devices that were asked for, told apart
// by one of subjects or by a label. Where the history itself cannot tell, it
// is asked for every device, and what was asked for is summed.
func (s *selection) query(ctx context.Context, h History, q history.Query, by string, visit func(usage.Slot) error) (history.Info, error) {
	label := usage.LabelBy(by)
	q.By = subjects[by]
	if label == nil && q.By != history.Device && s.all() {
		return h.Query(ctx, q, visit)
	}
	if q.By != history.Device && q.By != history.Total || q.Service != "" {
		return history.Info{}, usage.Errorf(usage.Invalid, "history keeps devices, services and families apart, not together: ask for one of them")
	}
	total := q.By == history.Total // a label is no subject, so it is this too
	q.By = history.Device
	labels := make(map[usage.MAC]string)
	labelOf := func(mac usage.MAC) string {
		text, ok := labels[mac]
		if !ok && s.names != nil && !mac.IsZero() {
			id := s.names.Identity(mac, time.Time{})
			text = label(&id)
			labels[mac] = text
		}
		return text
	}
	type subject struct {
		mac   usage.MAC
		label string
	}
	var slots []usage.Slot // of one start
	at := make(map[subject]int)
	flush := func() error {
		if label != nil {
			sorting.Func(slots, func(a, b usage.Slot) int { return cmp.Compare(a.Label, b.Label) })
		}
		for _, slot := range slots {
			if err := visit(slot); err != nil {
				return err
			}
		}
		slots = slots[:0]
		clear(at)
		return nil
	}
	info, err := h.Query(ctx, q, func(slot usage.Slot) error {
		mac, keep := s.choose(slot.MAC)
		if !keep {
			return nil
		}
		if len(slots) > 0 && (!slots[0].Start.Equal(slot.Start) || slots[0].Length != slot.Length) {
			if err := flush(); err != nil {
				return err
			}
		}
		if label != nil {
			slot.Label = labelOf(mac)
		}
		if slot.MAC = mac; total {
			slot.MAC = usage.MAC{}
		}
		k := subject{slot.MAC, slot.Label}
		if i, ok := at[k]; ok {
			slots[i].Counters.Add(slot.Counters)
			return nil
		}
		at[k] = len(slots)
		slots = append(slots, slot)
		return nil
	})
	if err != nil {
		return info, err
	}
	return info, flush()
}
