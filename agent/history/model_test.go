package history_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/netpilot/netpilot/agent/history"
	"github.com/netpilot/netpilot/agent/history/faultfs"
	"github.com/netpilot/netpilot/pkg/usage"
)

// subject is a device's, a service's or a family's share of one five minutes.
type cell struct {
	start   int64
	mac     usage.MAC
	service string
	family  uint8
}

type sums map[cell]usage.Counters

func (s sums) add(c cell, n usage.Counters) {
	v := s[c]
	v.Add(n)
	s[c] = v
}

// model is what a Store should have: all that was added, all that the last
// state file has, and all that is durable.
type model struct{ added, saved, closed, flushed sums }

// book is what Add does, for a range within one bucket.
func (m *model) book(r usage.Range, d []usage.Record, service func(uint8, uint16) string) {
	start := r.To.Add(-time.Millisecond).Truncate(tick).Unix()
	for _, d := range d {
		name := service(d.Proto, d.Port)
		if name == "" {
			name = "other"
		}
		m.added.add(cell{start: start, mac: d.MAC}, d.Counters())
		m.added.add(cell{start: start, service: name}, d.Counters())
		m.added.add(cell{start: start, family: d.Family}, d.Counters())
	}
}

// everything reads all of the Store in three queries, and compares it with
// want, which is summed to the slots that the Store gives.
func compare(t *testing.T, what string, s *history.Store, want sums) {
	t.Helper()
	if err := differs(s, want); err != nil {
		t.Fatalf("%s: %v\nrepairs: %v", what, err, s.Repairs())
	}
}

func differs(s *history.Store, want sums) error {
	all := usage.Range{From: time.Unix(0, 0), To: time.Unix(1<<33, 0)}
	rest := maps.Clone(want)
	for _, by := range []history.By{history.Device, history.Service, history.Family} {
		var last time.Time
		_, err := s.Query(context.Background(), history.Query{Range: all, By: by}, func(slot usage.Slot) error {
			if slot.Start.Before(last) {
				return fmt.Errorf("slot of %s after one of %s", slot.Start, last)
			}
			last = slot.Start
			var sum usage.Counters
			end := slot.Start.Add(slot.Length).Unix()
			for at := slot.Start.Unix(); at < end; at += 300 {
				c := cell{at, slot.MAC, slot.Service, slot.Family}
				sum.Add(rest[c])
				delete(rest, c)
			}
			if sum != slot.Counters {
				return fmt.Errorf("%s +%s %v %q %d: got %+v, want %+v", slot.Start, slot.Length, slot.MAC, slot.Service, slot.Family, slot.Counters, sum)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for c, n := range rest {
		if n != (usage.Counters{}) {
			return fmt.Errorf("missing: %+v %+v", c, n)
		}
	}
	return nil
}

// follower is who replicates with Since: it replaces what a change covers.
type follower struct {
	cursor history.Cursor
	slots  map[span]map[cell]usage.Counters
}

type span struct{ start, end int64 }

func (f *follower) follow(t *testing.T, s *history.Store, limit int) {
	t.Helper()
	last := f.cursor
	stop := errors.New("enough")
	err := s.Since(context.Background(), f.cursor, func(c *history.Change) error {
		if c.Cursor <= last && last <= f.cursor && last != f.cursor {
			return fmt.Errorf("cursor %d after %d", c.Cursor, last)
		}
		last, f.cursor = c.Cursor, c.Cursor
		if c.IsGap {
			return nil
		}
		set(f.slots, &c.Bucket)
		if limit--; limit == 0 {
			return stop
		}
		return nil
	})
	if err != nil && !errors.Is(err, stop) {
		t.Fatal(err)
	}
}

// set puts a bucket in the place of all within its span.
func set(slots map[span]map[cell]usage.Counters, b *usage.Bucket) {
	sp := span{b.Start.Unix(), b.Start.Add(b.Length).Unix()}
	for o := range slots {
		if o.start >= sp.start && o.end <= sp.end {
			delete(slots, o)
		}
	}
	cells := map[cell]usage.Counters{}
	for _, d := range b.Devices {
		cells[cell{start: sp.start, mac: d.MAC}] = d.Counters
	}
	for _, v := range b.Services {
		cells[cell{start: sp.start, service: v.Name}] = v.Counters
	}
	for _, n := range b.Families {
		cells[cell{start: sp.start, family: n.Family}] = n.Counters
	}
	slots[sp] = cells
}

// withPending is what the follower would show: what he has, and over it what
// is pending.
func (f *follower) withPending(t *testing.T, s *history.Store) sums {
	t.Helper()
	slots := maps.Clone(f.slots)
	_, err := s.Pending(context.Background(), f.cursor, func(b *usage.Bucket) error {
		set(slots, b)
		return nil
	})
	must(t, err)
	all := sums{}
	for _, cells := range slots {
		for c, n := range cells {
			c.start = 0
			all.add(c, n)
		}
	}
	maps.DeleteFunc(all, func(_ cell, n usage.Counters) bool { return n == usage.Counters{} })
	return all
}

// total sums all that the follower has, by subject.
func total[K comparable](cells map[K]usage.Counters, key func(K) cell) sums {
	out := sums{}
	for c, n := range cells {
		k := key(c)
		k.start = 0
		out.add(k, n)
	}
	maps.DeleteFunc(out, func(_ cell, n usage.Counters) bool { return n == usage.Counters{} })
	return out
}

// TestModel compares a Store with a trivial one over random lives: adding,
// clock steps, restarts, crashes, power cuts in the middle of any operation,
// compaction and replication.
func TestModel(t *testing.T) {
	lives := 200
	if testing.Short() {
		lives = 30
	}
	for seed := range uint64(lives) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { life(t, seed) })
	}
}

var zones = []string{"UTC", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe", "America/New_York"}

func life(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 7))
	disk := faultfs.New("/tmp")
	o := options(disk)
	o.Location = zone(t, zones[r.IntN(len(zones))])
	o.Keep5m = time.Duration(1+r.IntN(20)) * time.Hour
	o.KeepHour = o.Keep5m + time.Duration(r.IntN(60))*time.Hour
	s := open(t, o)
	defer func() { _ = s.Close(epoch) }()
	m := &model{sums{}, sums{}, sums{}, sums{}}
	f := &follower{slots: map[span]map[cell]usage.Counters{}}
	now := epoch.Add(time.Duration(r.IntN(300*24)) * time.Hour)
	crash := func() {
		disk.Kill()
		s = open(t, o)
	}
	// settle finds out which of the two states a failed operation left.
	settled := func(what string, states ...sums) sums {
		var err error
		for _, st := range states {
			if err = differs(s, st); err == nil {
				return maps.Clone(st)
			}
		}
		t.Fatalf("%s: in none of %d states: %v\nrepairs %v", what, len(states), err, s.Repairs())
		return nil
	}
	closedAt := func(now time.Time) sums { // what Advance puts into segments
		c := maps.Clone(m.added)
		for k := range c {
			if k.start == now.Truncate(tick).Unix() {
				delete(c, k)
			}
		}
		for k, n := range m.closed { // closed by an earlier end, or Close
			if _, ok := c[k]; !ok {
				c[k] = n
			}
		}
		return c
	}
	for step := range 120 {
		switch k := r.IntN(100); {
		case k < 45: // a sample, or a longer outage
			next := now.Add(time.Duration(1+r.IntN(300)) * time.Second)
			if r.IntN(12) == 0 {
				next = now.Add(time.Duration(r.IntN(16)) * time.Hour)
			}
			next = next.Truncate(time.Second)
			start := next.Add(-time.Millisecond).Truncate(tick)
			from := now
			if from.Before(start) {
				from = start
			}
			d := randomDeltas(r)
			rg := usage.Range{From: from, To: next}
			must(t, s.Add(rg, d))
			m.book(rg, d, o.Service)
			now = next
		case k < 60:
			must(t, s.Advance(now))
			m.closed = closedAt(now)
			m.saved = maps.Clone(m.added)
		case k < 70:
			must(t, s.Flush(now))
			must(t, s.Flush(now.Add(tick))) // due, whenever the last one was
			m.flushed = maps.Clone(m.closed)
			must(t, s.Save()) // which Flush does if there was anything to do
			m.saved = maps.Clone(m.added)
		case k < 75:
			must(t, s.Save())
			m.saved = maps.Clone(m.added)
		case k < 79: // the clock is set back
			now = now.Add(-time.Duration(r.IntN(7200)) * time.Second)
		case k < 83: // the agent is killed
			crash()
			compare(t, "killed", s, m.saved)
			m.added = maps.Clone(m.saved)
		case k < 86: // or ends
			must(t, s.Close(now))
			s = open(t, o)
			compare(t, "closed", s, m.added)
			m.closed, m.saved, m.flushed = maps.Clone(m.added), maps.Clone(m.added), maps.Clone(m.added)
		case k < 89: // the power fails between operations
			disk.Reboot(r)
			s = open(t, o)
			compare(t, "power", s, m.flushed)
			m.added, m.saved, m.closed = maps.Clone(m.flushed), maps.Clone(m.flushed), maps.Clone(m.flushed)
			now = now.Add(2 * time.Minute)
		case k < 94: // an operation fails in the middle, and the power with it or not
			n, part := r.IntN(25), r.IntN(200)
			power := r.IntN(2) == 0
			disk.Fault(func(op faultfs.Op) (int, error) {
				if n--; n >= 0 {
					return 0, nil
				}
				if n == -1 || power {
					if power {
						disk.CutNow()
					}
					return min(part, op.N), errors.New("fault")
				}
				return 0, nil
			})
			wasSaved, wasClosed, wasFlushed := m.saved, m.closed, m.flushed
			aerr := s.Advance(now)
			closed := closedAt(now)
			ferr := s.Flush(now.Add(time.Duration(step+1) * time.Hour * 24 * 999))
			switch {
			case power && r.IntN(2) == 0:
				disk.Reboot(r)
				s = open(t, o)
				// Flush may have got through, or in part: a bucket
				// is whole or not there.
				if ferr == nil && aerr == nil {
					wasFlushed = closed
				}
				m.flushed = between(t, s, wasFlushed, closed)
				m.added, m.saved, m.closed = maps.Clone(m.flushed), maps.Clone(m.flushed), maps.Clone(m.flushed)
			case power:
				crash()
				m.saved = settled("cut off", wasSaved, m.added)
				if aerr == nil {
					compare(t, "acknowledged", s, m.added)
				}
				m.added = maps.Clone(m.saved)
				// Which buckets are closed only shows in the end.
				must(t, s.Close(now))
				s = open(t, o)
				m.closed, m.flushed = maps.Clone(m.added), maps.Clone(m.added)
			default:
				disk.Fault(nil)
				compare(t, "fault", s, m.added)
				must(t, s.Close(now))
				s = open(t, o)
				compare(t, "fault and closed", s, m.added)
				m.closed, m.saved, m.flushed = maps.Clone(m.added), maps.Clone(m.added), maps.Clone(m.added)
			}
			_ = wasClosed
		case k < 97:
			// With a flash that fails, a follower may know more than
			// the router does after a power cut.
			if s.Health().FlashErr == nil {
				f.follow(t, s, r.IntN(20))
				if r.IntN(2) == 0 {
					f.follow(t, s, 0)
					if got, want := f.withPending(t, s), total(m.added, func(c cell) cell { return c }); !maps.Equal(got, want) {
						t.Fatalf("step %d: replicated and pending: got %v\nwant %v", step, got, want)
					}
				}
			}
		default:
			compare(t, "query", s, m.added)
		}
	}
	must(t, s.Close(now))
	s = open(t, o)
	compare(t, "at the end", s, m.added)
	f.follow(t, s, 0)
	got := sums{}
	for _, cells := range f.slots {
		for c, n := range cells {
			c.start = 0
			got.add(c, n)
		}
	}
	maps.DeleteFunc(got, func(_ cell, n usage.Counters) bool { return n == usage.Counters{} })
	if want := total(m.added, func(c cell) cell { return c }); !maps.Equal(got, want) {
		has := sums{}
		for _, cells := range f.slots {
			for c, n := range cells {
				has.add(c, n)
			}
		}
		t.Log(differs(s, has))
		t.Fatalf("replicated: got %v\nwant %v", got, want)
	}
}

// between finds the state after a cut in the middle of Flush: every bucket
// acknowledged is there whole, every other is whole or as it was.
func between(t *testing.T, s *history.Store, atLeast, atMost sums) sums {
	t.Helper()
	if differs(s, atLeast) == nil {
		return maps.Clone(atLeast)
	}
	// What is kept as five minutes or more tells itself how it is summed;
	// a slot must be the sum of some buckets of one of the two.
	got := sums{}
	all := usage.Range{From: time.Unix(0, 0), To: time.Unix(1<<33, 0)}
	for _, by := range []history.By{history.Device, history.Service, history.Family} {
		_, err := s.Query(context.Background(), history.Query{Range: all, By: by}, func(slot usage.Slot) error {
			var low, high usage.Counters
			for at := slot.Start.Unix(); at < slot.Start.Add(slot.Length).Unix(); at += 300 {
				c := cell{at, slot.MAC, slot.Service, slot.Family}
				low.Add(atLeast[c])
				high.Add(atMost[c])
				if slot.MAC.IsZero() && slot.Service == "" && slot.Family == 0 || slot.Service == "other" {
					// The frame that says who it was can be lost
					// where one behind it is not.
					high.Add(atMost[cell{at, usage.MAC{}, "", usage.FamilyIPv4}])
					high.Add(atMost[cell{at, usage.MAC{}, "", usage.FamilyIPv6}])
				}
			}
			n := slot.Counters
			if n.RxBytes < low.RxBytes || n.TxBytes < low.TxBytes || n.RxBytes > high.RxBytes || n.Conns > high.Conns {
				return fmt.Errorf("%s +%s %v %q %d: got %+v, want from %+v to %+v", slot.Start, slot.Length, slot.MAC, slot.Service, slot.Family, n, low, high)
			}
			got.add(cell{slot.Start.Unix(), slot.MAC, slot.Service, slot.Family}, n)
			return nil
		})
		must(t, err)
	}
	a, b := total(got, func(c cell) cell { return c }), total(atLeast, func(c cell) cell { return c })
	for c, n := range b {
		if a[c].RxBytes < n.RxBytes {
			t.Fatalf("lost what was acknowledged: %+v: got %+v, want at least %+v\nrepairs %v", c, a[c], n, s.Repairs())
		}
	}
	return got
}

func randomDeltas(r *rand.Rand) []usage.Record {
	var rows []usage.Record
	for range r.IntN(6) {
		rows = append(rows, usage.Record{
			MAC: device(r.IntN(8)), Proto: 6, Port: uint16(r.IntN(4)), Family: usage.FamilyIPv4 + 8*uint8(r.IntN(2)),
			RxBytes: r.Uint64N(1 << r.IntN(40)), TxBytes: r.Uint64N(1000), RxPackets: r.Uint64N(50), TxPackets: 1, Conns: r.Uint64N(3),
		})
	}
	return rows
}
