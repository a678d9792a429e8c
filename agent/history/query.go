package history

import (
	"cmp"
	"context"
	"time"

	"github.com/netpilot/netpilot/pkg/sorting"
	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/zone"
)

// By is what a query tells apart.
type By uint8

// The subjects of a query.
const (
	Total       By = iota // all of the router: a Slot without a subject
	Device                // by MAC
	Service               // by name
	Family                // by address family
	Quarantined           // by MAC, of what cannot be true and is in no other answer
)

// Query asks for the slots that start in Range.
type Query struct {
	usage.Range
	Resolution time.Duration // a multiple of 5 minutes, from 24 hours on of days; 0: 5 minutes
	By         By
	MAC        *usage.MAC // only this device: with Total, Device or Quarantined
	Service    string     // only this service: with Total or Service
}

func (q *Query) check() error {
	if q.Resolution == 0 {
		q.Resolution = slotSecs * time.Second
	}
	switch {
	case !q.From.Before(q.To):
		return usage.Errorf(usage.Invalid, "range from %s to %s is empty", q.From.Format(time.RFC3339), q.To.Format(time.RFC3339))
	case q.Resolution < slotSecs*time.Second || q.Resolution%(slotSecs*time.Second) != 0,
		q.Resolution > 24*time.Hour && q.Resolution%(24*time.Hour) != 0, q.Resolution > 400*24*time.Hour:
		return usage.Errorf(usage.Invalid, "resolution %s: use a multiple of 5m up to 24h, or of 24h", q.Resolution)
	case q.By > Quarantined:
		return usage.Errorf(usage.Invalid, "no such subject of a query")
	case q.MAC != nil && (q.By == Service || q.By == Family) || q.Service != "" && q.By != Total && q.By != Service || q.MAC != nil && q.Service != "":
		return usage.Errorf(usage.Invalid, "history keeps devices, services and families apart, not together: ask for one of them")
	}
	return nil
}

// Info is what an answer is like.
type Info struct {
	Slots   int           // given
	Longest time.Duration // the longest slot given
	Coarser bool          // at least one is longer than asked for: nothing finer is kept
	Lost    int64         // bytes of damaged frames come across: the answer may lack what they had
}

// Query gives the slots that start in q's range to visit, in the order of
// time, then of the subject; an error of visit ends it and is returned. A
// slot that no part of fell into is left out.
//
// A slot is a grid's: from local midnight on in steps of the resolution, or
// whole local days, of several counted from the range's first. It holds what is kept
// in the range, so the first and the last may hold a part only. Where only
// longer buckets are kept than asked for, they are given as they are. What is
// kept belongs to the range in which it starts.
//
// Open buckets are included. Memory is needed for one day's index and one
// slot, however long the range is. visit may take its time: nothing waits.
func (s *Store) Query(ctx context.Context, q Query, visit func(usage.Slot) error) (Info, error) {
	if err := q.check(); err != nil {
		return Info{}, err
	}
	from, to := unixUp(q.From), unixUp(q.To)
	v := s.view(true, func(g *segment) bool { return g.start < to && g.end > from })
	defer v.close()
	a := &answer{
		v: v, q: &q, visit: visit, ctx: ctx,
		grid: grid{zone.NewGrid(s.opts.Location, q.Resolution, from)},
		at:   make(map[*segment]*index),
	}
	defer a.releaseAll()
	// No further than there is anything.
	first, last := to, from
	for i := range v.segs {
		first, last = min(first, v.segs[i].start), max(last, v.segs[i].end)
	}
	for i := range v.open {
		first, last = min(first, v.open[i].slot.start), max(last, v.open[i].slot.end)
	}
	from, to = max(from, first), min(to, last)
	for t := from; t < to; t += windowSecs {
		if err := a.window(span{t, min(t+windowSecs, to)}); err != nil {
			return a.info, err
		}
	}
	err := a.emit()
	a.info.Lost = v.lost
	return a.info, err
}

// unixUp is the first full second not before t.
func unixUp(t time.Time) int64 {
	if t.Nanosecond() > 0 {
		return t.Unix() + 1
	}
	return t.Unix()
}

// windowSecs is the time that is sorted at once.
const windowSecs = 24 * hourSecs

// answer is one query's work.
type answer struct {
	v     *view
	q     *Query
	visit func(usage.Slot) error
	ctx   context.Context
	grid  grid
	info  Info

	at    map[*segment]*index // of the segments in the window
	items []item
	slot  span // that is summed
	sum   bucket
	order []int
}

// item is one frame or open bucket of the window.
type item struct {
	entry
	ix   *index
	open *openSlot
}

func (a *answer) window(w span) error {
	a.items = a.items[:0]
	for i := range a.v.segs {
		g := &a.v.segs[i]
		if g.start >= w.end || g.end <= w.start {
			continue
		}
		ix := a.at[g]
		if ix == nil {
			var err error
			if ix, err = a.v.index(g); err != nil {
				return err
			}
			a.at[g] = ix
		}
		for _, e := range ix.entries {
			if e.typ == typeAdd && w.has(e.slot.start) {
				a.items = append(a.items, item{entry: e, ix: ix})
			}
		}
	}
	for i := range a.v.open {
		if o := &a.v.open[i]; w.has(o.slot.start) {
			a.items = append(a.items, item{entry: entry{slot: o.slot}, open: o})
		}
	}
	sorting.Func(a.items, func(x, y item) int {
		return cmp.Or(cmp.Compare(x.slot.start, y.slot.start), cmp.Compare(x.slot.end, y.slot.end), cmp.Compare(x.off, y.off))
	})
	for _, it := range a.items {
		if err := a.add(it); err != nil {
			return err
		}
	}
	for g, ix := range a.at {
		if g.end <= w.end {
			delete(a.at, g)
			a.v.release(ix)
		}
	}
	return nil
}

func (a *answer) add(it item) error {
	slot := a.grid.slot(it.slot.start)
	if it.slot.end > slot.end || it.slot.start < slot.start {
		slot = it.slot // longer than asked for
	}
	if slot != a.slot {
		if err := a.emit(); err != nil {
			return err
		}
		a.slot = slot
	}
	if it.open != nil {
		o := it.open
		addAll(a, secDevice, &o.device, a.addMAC)
		addAll(a, secQuarantined, &o.quarantined, a.addMAC)
		addAll(a, secService, &o.service, a.addService)
		addAll(a, secFamily, &o.family, a.addFamily)
		return nil
	}
	rows, err := a.v.bucketRows(it.ix, it.entry, int(a.section()))
	if err != nil {
		return err
	}
	for i := range rows {
		r := &rows[i]
		switch r.section {
		case secDevice, secQuarantined:
			a.addMAC(it.ix.dict.mac(r.index), r.Counters)
		case secService:
			a.addService(it.ix.dict.service(r.index), r.Counters)
		case secFamily:
			a.addFamily(uint8(r.index), r.Counters)
		}
	}
	return nil
}

// section is the one that answers the query.
func (a *answer) section() uint8 {
	switch {
	case a.q.By == Quarantined:
		return secQuarantined
	case a.q.By == Device, a.q.MAC != nil:
		return secDevice
	case a.q.By == Service, a.q.Service != "":
		return secService
	}
	return secFamily // whose sum is the total
}

func addAll[K comparable](a *answer, section uint8, t *tally[K], add func(K, usage.Counters)) {
	if a.section() != section {
		return
	}
	for i, k := range t.keys {
		add(k, t.sums[i])
	}
}

func (a *answer) addMAC(m usage.MAC, c usage.Counters) {
	if a.q.MAC == nil || *a.q.MAC == m {
		if a.q.By == Total {
			a.sum.family.add(0, c, 0, 0)
			return
		}
		a.sum.device.add(m, c, 0, usage.MAC{})
	}
}

func (a *answer) addService(name string, c usage.Counters) {
	if a.q.Service == "" || a.q.Service == name {
		if a.q.By == Total {
			a.sum.family.add(0, c, 0, 0)
			return
		}
		a.sum.service.add(name, c, 0, "")
	}
}

func (a *answer) addFamily(f uint8, c usage.Counters) {
	if a.q.By == Total {
		f = 0
	}
	a.sum.family.add(f, c, 0, 0)
}

// emit gives the slot that was summed.
func (a *answer) emit() error {
	if a.sum.empty() {
		return nil
	}
	defer a.sum.clear()
	if err := a.ctx.Err(); err != nil {
		return err
	}
	loc := a.grid.Location()
	slot := usage.Slot{Start: time.Unix(a.slot.start, 0).In(loc), Length: time.Duration(a.slot.end-a.slot.start) * time.Second}
	a.info.Longest = max(a.info.Longest, slot.Length)
	a.info.Coarser = a.info.Coarser || a.grid.slot(a.slot.start) != a.slot
	give := func(c usage.Counters) error {
		slot.Counters = c
		a.info.Slots++
		return a.visit(slot)
	}
	return a.sum.each(&slot, &a.order, give)
}

// each gives b's subjects in order, set in slot, without the quarantined.
func (b *bucket) each(slot *usage.Slot, order *[]int, give func(usage.Counters) error) error {
	if err := eachOf(&b.device, compareMAC, order, func(m usage.MAC, c usage.Counters) error {
		slot.MAC = m
		return give(c)
	}); err != nil {
		return err
	}
	slot.MAC = usage.MAC{}
	if err := eachOf(&b.service, cmp.Compare[string], order, func(name string, c usage.Counters) error {
		slot.Service = name
		return give(c)
	}); err != nil {
		return err
	}
	slot.Service = ""
	return eachOf(&b.family, cmp.Compare[uint8], order, func(f uint8, c usage.Counters) error {
		slot.Family = f
		return give(c)
	})
}

// eachOf visits t's subjects in order; order is scratch.
func eachOf[K comparable](t *tally[K], compare func(a, b K) int, order *[]int, visit func(K, usage.Counters) error) error {
	*order = (*order)[:0]
	for i := range t.keys {
		*order = append(*order, i)
	}
	sorting.Func(*order, func(i, j int) int { return compare(t.keys[i], t.keys[j]) })
	for _, i := range *order {
		if err := visit(t.keys[i], t.sums[i]); err != nil {
			return err
		}
	}
	return nil
}

func (a *answer) releaseAll() {
	for _, ix := range a.at {
		a.v.release(ix)
	}
}
