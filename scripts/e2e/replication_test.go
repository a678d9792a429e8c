package e2e

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/netpilot/netpilot/agent/history"
	"github.com/netpilot/netpilot/agent/history/faultfs"
	"github.com/netpilot/netpilot/agent/replica"
	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
	"github.com/netpilot/netpilot/pkg/zone"
	"github.com/netpilot/netpilot/relay/store"
	"github.com/netpilot/netpilot/relay/store/sqlite"
	"github.com/netpilot/netpilot/relay/store/storetest"
)

// site is a router: its real history on a simulated disk, with traffic that is
// made up.
type site struct {
	t      *testing.T
	random *rand.Rand
	disk   *faultfs.FS
	opts   history.Options
	store  *history.Store
	skew   time.Duration // of the router's clock
}

// keeper is a relay: its real store, reached by frames as they are on the wire.
type keeper struct {
	t     *testing.T
	db    *sqlite.DB
	flaw  float64 // part of the answers that are lost, after the push was kept
	asked int
}

var member = storetest.RouterID(1)

func newSite(t *testing.T, seed uint64) *site {
	loc, err := zone.Parse(storetest.Berlin)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, random: rand.New(rand.NewPCG(seed, 5)), disk: faultfs.New("/tmp")}
	s.opts = history.Options{Dir: "/tmp/netpilot", FlashDir: "/etc/netpilot", FS: s.disk, Location: loc, Keep5m: 6 * time.Hour, KeepHour: 30 * time.Hour,
		Service: func(_ uint8, port uint16) string { return fmt.Sprint("service", port) }}
	s.open()
	return s
}

func (s *site) open() {
	var err error
	if s.store, err = history.Open(s.opts); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) now() time.Time { return time.Now().Add(s.skew).Truncate(time.Second) }

// live has devices use the network for a while, with a look every step.
func (s *site) live(d, step time.Duration) {
	s.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(step) {
		now := s.now()
		r := usage.Range{From: now.Add(-step), To: now}
		row := func() []usage.Record {
			family := uint8(usage.FamilyIPv4)
			if s.random.IntN(3) == 0 {
				family = usage.FamilyIPv6
			}
			return []usage.Record{{MAC: usage.MAC{2, 0, 0, 0, 0, byte(s.random.IntN(6))}, Family: family, Proto: 6, Port: uint16(s.random.IntN(4)),
				RxBytes: s.random.Uint64N(1 << 30), TxBytes: s.random.Uint64N(1 << 20), RxPackets: s.random.Uint64N(1000), TxPackets: 1, Conns: 1}}
		}
		var errs []error
		if s.random.IntN(3) > 0 {
			errs = append(errs, s.store.Add(r, row()))
		}
		if s.random.IntN(30) == 0 {
			errs = append(errs, s.store.AddQuarantined(r, row()))
		}
		if s.random.IntN(60) == 0 {
			errs = append(errs, s.store.AddGap(usage.Gap{Range: r, Reason: fmt.Sprint("reason ", s.random.IntN(3))}))
		}
		errs = append(errs, s.store.Advance(now), s.store.Flush(now))
		if err := errors.Join(errs...); err != nil {
			s.t.Fatal(err)
		}
	}
}

func newKeeper(t *testing.T, path string) *keeper {
	db, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	k := &keeper{t: t, db: db}
	if _, err := db.Router(t.Context(), member); err == nil {
		return k
	}
	_, token := store.NewSecret(store.TokenPrefix)
	_, secret := store.NewSecret(store.RouterPrefix)
	now := time.Now()
	err = errors.Join(
		db.CreateToken(t.Context(), store.Token{CreatedAt: now, ExpiresAt: now.Add(time.Hour)}, token),
		db.Redeem(t.Context(), token, store.Router{ID: member}, secret, now),
		db.Saw(t.Context(), []store.Sighting{{ID: member, Facts: &store.Facts{Timezone: storetest.Berlin}}}))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// ask is the relay's end of history.push.
func (k *keeper) ask(ctx context.Context, method string, params json.RawMessage) (json.RawMessage, error) {
	k.asked++
	frame := wire.AppendCall(nil, 2, method, params, 0)
	m, err := wire.Decode(frame)
	if err != nil {
		return nil, err
	}
	if len(frame) > wire.MaxFrame/4 {
		k.t.Errorf("a push of %d bytes", len(frame))
	}
	p, err := wire.DecodePush(m.Params)
	if err != nil {
		k.t.Errorf("%s: %v", params, err)
		return nil, err
	}
	cursor, err := k.db.Push(ctx, &store.Push{Router: member, At: time.Now(), After: p.After, Cursor: p.Cursor, Buckets: p.Buckets, Gaps: p.Gaps,
		Open: p.Open, AsOf: p.AsOf, Counting: p.Counting})
	if err != nil {
		return nil, err
	}
	if rand.Float64() < k.flaw {
		return nil, context.DeadlineExceeded
	}
	return json.Marshal(wire.PushReply{Cursor: cursor})
}

// link connects the router with a relay while do runs.
func (s *site) link(k *keeper, do func()) {
	s.t.Helper()
	held, err := k.db.Replica(s.t.Context(), member)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		(&replica.Replica{History: s.store}).Follow(ctx, &held.Cursor, k.ask)
	}()
	do()
	cancel()
	<-ended
}

// settle links until the relay has everything.
func (s *site) settle(k *keeper) {
	s.t.Helper()
	time.Sleep(history.DefaultFlushEvery) // a gap is pushed once it is on flash
	if err := errors.Join(s.store.Advance(s.now()), s.store.Flush(s.now())); err != nil {
		s.t.Fatal(err)
	}
	s.link(k, func() { time.Sleep(30 * time.Minute) })
}

// key is one sum of those that are compared.
type key struct {
	by      uint8
	start   int64
	mac     usage.MAC
	service string
	family  uint8
}

// sums are a history's sums by slots of the resolution, whoever keeps it.
type sums map[key]usage.Counters

func (m sums) add(by uint8, s usage.Slot) {
	k := key{by, s.Start.Unix(), s.MAC, s.Service, s.Family}
	c := m[k]
	c.Add(s.Counters)
	if c != (usage.Counters{}) {
		m[k] = c
	}
}

var always = usage.Range{From: time.Unix(0, 0), To: time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC)}

func (s *site) sums(resolution time.Duration) sums {
	m := sums{}
	for by := history.Total; by <= history.Quarantined; by++ {
		if _, err := s.store.Query(s.t.Context(), history.Query{Range: always, Resolution: resolution, By: by}, func(slot usage.Slot) error {
			m.add(uint8(by), slot)
			return nil
		}); err != nil {
			s.t.Fatal(err)
		}
	}
	return m
}

func (k *keeper) sums(resolution time.Duration) sums {
	m := sums{}
	for by := store.Total; by <= store.Quarantined; by++ {
		if _, err := k.db.History(k.t.Context(), member, store.HistoryQuery{Range: always, Resolution: resolution, By: by}, func(slot usage.Slot) error {
			m.add(uint8(by), slot)
			return nil
		}); err != nil {
			k.t.Fatal(err)
		}
	}
	return m
}

// wantSame compares relay and router, by days since the relay may know more
// finely what the router has summed up.
func wantSame(t *testing.T, what string, s *site, k *keeper) {
	t.Helper()
	got, want := k.sums(usage.Day), s.sums(usage.Day)
	if !maps.Equal(got, want) {
		t.Errorf("%s: the relay has %d sums, the router %d", what, len(got), len(want))
		for _, k := range slices.SortedFunc(maps.Keys(want), func(a, b key) int { return cmp.Or(cmp.Compare(a.by, b.by), cmp.Compare(a.start, b.start)) }) {
			if got[k] != want[k] {
				t.Fatalf("%s: first difference at %+v: got %+v, want %+v", what, k, got[k], want[k])
			}
		}
	}
	gaps, err := k.db.Gaps(t.Context(), member, always)
	own, err2 := s.store.Gaps(always)
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	same := func(a, b usage.Gap) bool { return a.From.Equal(b.From) && a.To.Equal(b.To) && a.Reason == b.Reason }
	for _, g := range own {
		if !slices.ContainsFunc(gaps, func(h usage.Gap) bool { return same(g, h) }) {
			t.Errorf("%s: the relay lacks gap %+v", what, g)
		}
	}
	if len(gaps) != len(own) {
		t.Errorf("%s: the relay has %d gaps, the router %d", what, len(gaps), len(own))
	}
}

// TestReplication: whatever happens to the router, the link or the relay, both
// end with the same sums.
func TestReplication(t *testing.T) {
	for name, test := range map[string]func(t *testing.T, s *site, k *keeper, dir string){
		"linked": func(t *testing.T, s *site, k *keeper, _ string) {
			s.link(k, func() { s.live(3*time.Hour, 30*time.Second) })
			held, err := k.db.Replica(t.Context(), member)
			if age := s.now().Sub(held.AsOf); err != nil || age > 2*time.Minute || age < 0 || held.Through.Before(held.AsOf.Add(-15*time.Minute)) {
				t.Errorf("the relay is as of %v, through %v, at %v: %v", held.AsOf, held.Through, s.now(), err)
			}
			if k.asked < 150 || k.asked > 3*180 {
				t.Errorf("%d pushes in three hours", k.asked)
			}
		},
		"apart for days": func(t *testing.T, s *site, k *keeper, _ string) {
			s.link(k, func() { s.live(2*time.Hour, time.Minute) })
			s.live(50*time.Hour, 2*time.Minute) // summed up to hours and days meanwhile
		},
		"answers are lost": func(t *testing.T, s *site, k *keeper, _ string) {
			s.live(4*time.Hour, time.Minute)
			k.flaw = 0.5
			s.link(k, func() { s.live(3*time.Hour, time.Minute) })
			k.flaw = 0
		},
		"links break": func(t *testing.T, s *site, k *keeper, _ string) {
			for range 30 {
				s.link(k, func() { s.live(time.Duration(s.random.IntN(600))*time.Second, 30*time.Second) })
				s.live(time.Duration(s.random.IntN(600))*time.Second, 30*time.Second)
			}
		},
		"the agent restarts": func(t *testing.T, s *site, k *keeper, _ string) {
			for range 5 {
				s.link(k, func() { s.live(40*time.Minute, 30*time.Second) })
				if err := s.store.Close(s.now()); err != nil {
					t.Fatal(err)
				}
				s.open()
			}
		},
		"the power fails": func(t *testing.T, s *site, k *keeper, _ string) {
			for range 8 {
				s.link(k, func() { s.live(time.Duration(20+s.random.IntN(60))*time.Minute, 30*time.Second) })
				s.disk.Reboot(s.random)
				s.open()
				s.live(6*time.Minute, 30*time.Second)
				s.settle(k)
				wantSame(t, "after a power cut", s, k)
			}
		},
		"an old backup is restored": func(t *testing.T, s *site, k *keeper, dir string) {
			s.link(k, func() { s.live(3*time.Hour, time.Minute) })
			path := filepath.Join(dir, "backup.db")
			if err := k.db.Backup(t.Context(), path); err != nil {
				t.Fatal(err)
			}
			s.link(k, func() { s.live(10*time.Hour, 2*time.Minute) })
			if err := k.db.Close(); err != nil {
				t.Fatal(err)
			}
			k.db = newKeeper(t, path).db
		},
		"the relay loses its store": func(t *testing.T, s *site, k *keeper, dir string) {
			s.link(k, func() { s.live(10*time.Hour, 2*time.Minute) })
			if err := k.db.Close(); err != nil {
				t.Fatal(err)
			}
			k.db = newKeeper(t, filepath.Join(dir, "new.db")).db
		},
		"two relays": func(t *testing.T, s *site, k *keeper, dir string) {
			other := newKeeper(t, filepath.Join(dir, "other.db"))
			defer other.db.Close()
			for range 3 {
				s.link(k, func() { s.live(2*time.Hour, 2*time.Minute) })
				s.link(other, func() { s.live(2*time.Hour, 2*time.Minute) })
			}
			s.settle(other)
			wantSame(t, "the other relay", s, other)
		},
		"the clock is set": func(t *testing.T, s *site, k *keeper, _ string) {
			for _, step := range []time.Duration{-time.Hour, 3 * time.Hour, -2 * time.Hour, 40 * time.Hour, -39 * time.Hour, -2 * time.Minute} {
				s.link(k, func() {
					s.live(90*time.Minute, time.Minute)
					s.skew += step
					s.live(30*time.Minute, time.Minute)
				})
				if err := k.db.Tidy(t.Context(), s.now()); err != nil {
					t.Fatal(err)
				}
			}
		},
		"the relay sums up first": func(t *testing.T, s *site, k *keeper, _ string) {
			if err := k.db.SetRetention(t.Context(), member, store.Retention{FiveMinutes: time.Hour, Hours: 2 * time.Hour}); err != nil {
				t.Fatal(err)
			}
			s.opts.Keep5m, s.opts.KeepHour = 40*time.Hour, 60*time.Hour
			if err := s.store.Close(s.now()); err != nil {
				t.Fatal(err)
			}
			s.open()
			for range 4 {
				s.link(k, func() { s.live(5*time.Hour, 5*time.Minute) })
				if err := k.db.Tidy(t.Context(), time.Now()); err != nil {
					t.Fatal(err)
				}
				s.skew -= 4 * time.Hour // what is booked now lies in hours that the relay has summed up
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				s, k := newSite(t, 1), newKeeper(t, filepath.Join(dir, "relay.db"))
				defer func() {
					if err := errors.Join(s.store.Close(s.now()), k.db.Close()); err != nil {
						t.Error(err)
					}
				}()
				test(t, s, k, dir)
				s.settle(k)
				wantSame(t, "in the end", s, k)
				before := k.sums(usage.FiveMinutes)
				s.settle(k)
				if !maps.Equal(before, k.sums(usage.FiveMinutes)) {
					t.Error("another round changed what nobody changed")
				}
			})
		})
	}
}

// TestReplicationAfterLoss: a router that lost its history takes nothing away
// from what the relay has of the time before.
func TestReplicationAfterLoss(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, k := newSite(t, 1), newKeeper(t, filepath.Join(dir, "relay.db"))
		defer func() {
			if err := errors.Join(s.store.Close(s.now()), k.db.Close()); err != nil {
				t.Error(err)
			}
		}()
		s.link(k, func() { s.live(5*time.Hour, time.Minute) })
		s.settle(k)
		before := k.sums(usage.FiveMinutes)
		if err := s.store.Close(s.now()); err != nil {
			t.Fatal(err)
		}
		s.disk = faultfs.New("/tmp")
		s.opts.FS = s.disk
		s.open()
		time.Sleep(5 * time.Minute)
		began := s.now().Unix()
		s.link(k, func() { s.live(2*time.Hour, time.Minute) })
		s.settle(k)
		got := k.sums(usage.FiveMinutes)
		for at, c := range before {
			if got[at] != c {
				t.Fatalf("before the loss, %+v: got %+v, want %+v", at, got[at], c)
			}
		}
		for at, c := range s.sums(usage.FiveMinutes) {
			if got[at] != c {
				t.Fatalf("after the loss, %+v: got %+v, want %+v", at, got[at], c)
			}
			delete(got, at)
		}
		for at := range got {
			if at.start >= began {
				t.Errorf("%+v is not the router's", at)
			}
		}
	})
}
