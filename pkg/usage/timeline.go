package usage

import (
	"bytes"
	"cmp"
	"strconv"
	"time"

	"github.com/netpilot/netpilot/pkg/sorting"
)

// Timeline is history over a span as an answer: one row for each slot in
// which a subject moved anything, in order of time.
type Timeline struct {
	Timestamp time.Time
	Span
	By      string // total, device, service, family, group, category or quarantined
	Coarser bool   // part of it is kept less finely than asked
	Slots   []Slot
	Names   Names // of devices; may be nil
	Gaps    []Gap
	Total   Counters
	Page    Page

	Quarantined Counters  // what cannot be true, and is in no sum
	Counting    *Counting // whether the numbers can be trusted; nil if nobody looked
}

// AppendJSON appends the answer as one JSON object of at most max bytes, 0
// for any number; rows that do not fit are left to "next_offset".
func (t *Timeline) AppendJSON(dst []byte, max int) []byte {
	o := objectWriter{buf: dst}
	if max > 0 {
		o.max = len(dst) + max
	}
	o.buf = append(o.buf, '{')
	o.time("timestamp", t.Timestamp)
	o.text("source", "history")
	o.time("from", t.From)
	o.time("to", t.To)
	o.number("resolution_seconds", uint64(t.Resolution.Seconds()))
	o.text("by", t.By)
	if t.Coarser {
		o.key("coarser")
		o.buf = append(o.buf, "true"...)
	}
	o.counting(t.Counting)
	o.quarantined(t.Quarantined)
	o.gaps(t.Gaps)
	o.key("buckets")
	next := o.list(len(t.Slots), t.Page, func(dst []byte, i int) []byte { return t.appendSlot(dst, &t.Slots[i]) })
	if next < len(t.Slots) {
		o.number("next_offset", uint64(next))
	}
	o.number("total_buckets", uint64(len(t.Slots)))
	o.number("total_bytes", t.Total.Total())
	return append(o.buf, '}')
}

// quarantined writes what cannot be true, if there is any.
func (o *objectWriter) quarantined(c Counters) {
	if c.Total() > 0 {
		o.number("quarantined_bytes", c.Total())
	}
}

// gaps writes spans of which something is unknown, the newest maxListed.
func (o *objectWriter) gaps(gaps []Gap) {
	o.key("gaps")
	o.list(len(gaps), Page{Limit: maxListed, Offset: max(0, len(gaps)-maxListed)}, func(dst []byte, i int) []byte {
		dst = appendTime(append(dst, `{"from":`...), gaps[i].From)
		dst = appendTime(append(dst, `,"to":`...), gaps[i].To)
		dst = AppendQuoted(append(dst, `,"reason":`...), gaps[i].Reason)
		return append(dst, '}')
	})
}

func (t *Timeline) appendSlot(dst []byte, s *Slot) []byte {
	if t.Names == nil || s.MAC.IsZero() {
		return s.AppendJSON(dst, t.By, nil)
	}
	who := t.Names.Identity(s.MAC, s.Start)
	return s.AppendJSON(dst, t.By, &who)
}

// AppendJSON appends the slot, listed by that word, as one JSON object; who is
// its device, nil if nobody knows.
func (s *Slot) AppendJSON(dst []byte, by string, who *Identity) []byte {
	dst = appendTime(append(dst, `{"start":`...), s.Start)
	dst = strconv.AppendInt(append(dst, `,"seconds":`...), int64(s.Length.Seconds()), 10)
	switch {
	case LabelBy(by) != nil:
		dst = appendTextOrNull(append(append(append(dst, `,"`...), by...), `":`...), s.Label)
	case s.Service != "":
		dst = AppendQuoted(append(dst, `,"service":`...), s.Service)
	case s.Family != 0:
		dst = strconv.AppendUint(append(dst, `,"family":`...), uint64(familyNumber(s.Family)), 10)
	case s.MAC != MAC{}:
		dst = append(s.MAC.Append(append(dst, `,"mac":"`...)), '"')
		if who != nil {
			dst = appendNames(dst, who)
		}
	}
	return append(appendCounters(dst, s.Counters), '}')
}

// familyNumber is 4 or 6.
func familyNumber(family uint8) uint8 {
	if family == FamilyIPv4 {
		return 4
	}
	return 6
}

// Summary is what a span comes to: who used how much, and when.
type Summary struct {
	Timestamp time.Time
	Span
	By          string // group or category, if the devices are to be summed by it too
	Days        []Slot // totals of the days of the router's zone
	Devices     []Device
	Services    []Service
	Shares      []Share // by By
	Gaps        []Gap
	Total       Counters
	Quarantined Counters  // what cannot be true, and is in no sum
	Counting    *Counting // whether the numbers can be trusted; nil if nobody looked
}

// Gather fills in the summary from a history: slots gives those of the span
// by "total" of each day, by "device" and by "service". identity tells who a
// device is.
func (s *Summary) Gather(slots func(by string, visit func(Slot) error) error, identity func(MAC) Identity) error {
	if err := slots("total", func(slot Slot) error {
		s.Days = append(s.Days, slot)
		s.Total.Add(slot.Counters)
		return nil
	}); err != nil {
		return err
	}
	devices := make(map[MAC]Counters)
	if err := slots("device", func(slot Slot) error {
		sum := devices[slot.MAC]
		sum.Add(slot.Counters)
		devices[slot.MAC] = sum
		return nil
	}); err != nil {
		return err
	}
	services := make(map[string]Counters)
	if err := slots("service", func(slot Slot) error {
		sum := services[slot.Service]
		sum.Add(slot.Counters)
		services[slot.Service] = sum
		return nil
	}); err != nil {
		return err
	}
	for mac, sum := range devices {
		s.Devices = append(s.Devices, Device{MAC: mac, Identity: identity(mac), Counters: sum})
	}
	for name, sum := range services {
		s.Services = append(s.Services, Service{Name: name, Counters: sum})
	}
	sorting.Func(s.Devices, func(a, b Device) int {
		return cmp.Or(cmp.Compare(b.Total(), a.Total()), bytes.Compare(a.MAC[:], b.MAC[:]))
	})
	if s.By != "" {
		s.Shares = Shares(s.Devices, s.By, ByTotal)
	}
	sorting.Func(s.Services, func(a, b Service) int {
		return cmp.Or(cmp.Compare(b.Total(), a.Total()), cmp.Compare(a.Name, b.Name))
	})
	return nil
}

// AppendJSON appends the summary as one JSON object with at most top devices
// and services.
func (s *Summary) AppendJSON(dst []byte, top int) []byte {
	o := objectWriter{buf: dst}
	o.buf = append(o.buf, '{')
	o.time("timestamp", s.Timestamp)
	o.text("source", "history")
	o.time("from", s.From)
	o.time("to", s.To)
	o.number("period_days", uint64((s.To.Sub(s.From)+Day-1)/Day))
	o.counting(s.Counting)
	o.quarantined(s.Quarantined)
	o.number("total_bytes", s.Total.Total())
	o.number("bytes_rx", s.Total.RxBytes)
	o.number("bytes_tx", s.Total.TxBytes)
	page := Page{Limit: top}
	o.key("top_devices")
	o.list(len(s.Devices), page, func(dst []byte, i int) []byte {
		d := &s.Devices[i]
		dst = append(d.MAC.Append(append(dst, `{"mac":"`...)), '"')
		dst = appendCounters(AppendIdentity(dst, d.MAC, &d.Identity), d.Counters)
		return append(s.appendShare(dst, d.Counters), '}')
	})
	o.number("total_devices", uint64(len(s.Devices)))
	if s.By != "" {
		o.text("by", s.By)
		o.key(labelLists[s.By])
		o.list(len(s.Shares), page, func(dst []byte, i int) []byte {
			return append(s.appendShare(s.Shares[i].appendJSON(dst, s.By), s.Shares[i].Counters), '}')
		})
		o.number("total_"+labelLists[s.By], uint64(len(s.Shares)))
	}
	o.key("top_services")
	o.list(len(s.Services), page, func(dst []byte, i int) []byte {
		v := &s.Services[i]
		dst = appendCounters(AppendQuoted(append(dst, `{"service":`...), v.Name), v.Counters)
		return append(s.appendShare(dst, v.Counters), '}')
	})
	o.number("total_services", uint64(len(s.Services)))
	o.key("daily_totals")
	o.list(len(s.Days), Page{}, func(dst []byte, i int) []byte {
		d := &s.Days[i]
		dst = append(d.Start.In(s.From.Location()).AppendFormat(append(dst, `{"date":"`...), time.DateOnly), `","bytes":`...)
		dst = strconv.AppendUint(dst, d.Total(), 10)
		return append(appendCounters(dst, d.Counters), '}')
	})
	o.gaps(s.Gaps)
	return append(o.buf, '}')
}

// appendShare appends a part of the total in percent, two digits.
func (s *Summary) appendShare(dst []byte, c Counters) []byte {
	share := 0.0
	if total := s.Total.Total(); total > 0 {
		share = 100 * float64(c.Total()) / float64(total)
	}
	return strconv.AppendFloat(append(dst, `,"percentage":`...), share, 'f', 2, 64)
}
