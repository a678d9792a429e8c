package live

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/netpilot/netpilot/agent/ledger"
	"github.com/netpilot/netpilot/agent/source"
	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/nlbwmon/nlbwmontest"
	"github.com/netpilot/netpilot/pkg/usage"
)

var (
	tv     = usage.MAC{2, 0, 0, 0, 0, 1}
	laptop = usage.MAC{2, 0, 0, 0, 0, 2}
)

func row(mac usage.MAC, port uint16, rx, tx uint64) usage.Record {
	return usage.Record{Family: usage.FamilyIPv4, Proto: 6, Port: port, MAC: mac, Addr: [16]byte{192, 168, 1, mac[5]}, Conns: 1, RxBytes: rx, TxBytes: tx}
}

func instant(since time.Duration) ledger.Instant { return ledger.Instant{Boot: "boot", Since: since} }

func TestRatesOf(t *testing.T) {
	asOf := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	b := &ledger.Batch{From: instant(time.Minute), To: instant(90 * time.Second), Deltas: []usage.Record{
		row(tv, 443, 3000, 0), row(tv, 80, 6000, 300), row(laptop, 443, 29, 0), row(usage.MAC{}, 53, 0, 600),
	}}
	r := ratesOf(b, asOf)
	if r.AsOf == nil || !r.AsOf.Equal(asOf) || r.Seconds != 30 || r.TotalDevices != 2 || r.Rx != 301 || r.Tx != 30 ||
		r.Devices[0] != (usage.Rate{MAC: tv, Rx: 300, Tx: 10}) || r.Devices[1] != (usage.Rate{MAC: laptop, Rx: 1}) {
		t.Errorf("got %+v", r)
	}
	if r := ratesOf(&ledger.Batch{Flags: ledger.First, To: instant(time.Hour)}, asOf); r.AsOf != nil || r.Seconds != 0 {
		t.Errorf("of one look: got %+v", r)
	}
	// More devices than an answer takes: the slowest are left out, the sums stay.
	b.Deltas = nil
	for i := range usage.MaxRates + 5 {
		b.Deltas = append(b.Deltas, row(usage.MAC{2, 0, 0, 0, 1, byte(i)}, 443, uint64(30*(i+1)), 0))
	}
	if r := ratesOf(b, asOf); len(r.Devices) != usage.MaxRates || r.TotalDevices != usage.MaxRates+5 || r.Rx != 69*70/2 || r.Devices[0].Rx != 69 {
		t.Errorf("got %d of %d devices, %d in all", len(r.Devices), r.TotalDevices, r.Rx)
	}
}

// An overdue nlbwmon shows no rates as if they were of now.
func TestStale(t *testing.T) {
	asOf := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	r := usage.Rates{AsOf: &asOf, Seconds: 30, Devices: []usage.Rate{{MAC: tv, Rx: 1}}, TotalDevices: 1, Rx: 1}
	if got := at(r, asOf.Add(62*time.Second), 30*time.Second, nil); got.Stale || len(got.Devices) != 1 || got.RefreshSeconds != 30 {
		t.Errorf("got %+v", got)
	}
	if got := at(r, asOf.Add(63*time.Second), 30*time.Second, nil); !got.Stale || len(got.Devices) != 0 || got.Rx != 0 {
		t.Errorf("got %+v", got)
	}
}

// peer takes notifications.
type peer struct {
	done chan struct{}
	got  []usage.Rates // of one goroutine: the stream's
}

func (p *peer) Done() <-chan struct{} { return p.done }

func (p *peer) Notify(method string, params json.RawMessage) {
	var r usage.Rates
	if json.Unmarshal(params, &r) != nil || method != Method {
		panic(string(params))
	}
	p.got = append(p.got, r)
}

// TestStream: a sample every two seconds until 60 s after the last start, or
// stop, or the door closes; a look when nlbwmon refreshed, once.
func TestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var refreshed atomic.Pointer[time.Time]
		refreshed.Store(new(time.Time))
		var looks atomic.Int32
		s := New(&Stream{
			Refresh: 30 * time.Second, Refreshed: func() time.Time { return *refreshed.Load() }, Now: time.Now,
			Names: func() (usage.Names, error) { return nil, os.ErrNotExist }, Look: func() { looks.Add(1) },
		})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		a, b := &peer{done: make(chan struct{})}, &peer{done: make(chan struct{})}
		if err := s.Start(a); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if len(a.got) != 2 || a.got[0].AsOf != nil || a.got[0].RefreshSeconds != 30 || looks.Load() != 0 {
			t.Fatalf("after 5 s: %+v, %d looks", a.got, looks.Load())
		}
		at := time.Now()
		refreshed.Store(&at)
		s.Observe(&ledger.Batch{From: instant(time.Minute), To: instant(90 * time.Second), Deltas: []usage.Record{row(tv, 443, 3000, 0)}}, at)
		if err := s.Start(b); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if looks.Load() != 1 || len(b.got) == 0 || b.got[0].Seconds != 30 || b.got[0].Devices[0].Rx != 100 {
			t.Fatalf("after a refresh: %d looks, %+v", looks.Load(), b.got)
		}
		close(b.done) // its door closed
		before := len(b.got)
		if err := s.Start(a); err != nil { // renewed at 35 s
			t.Fatal(err)
		}
		time.Sleep(59 * time.Second)
		synctest.Wait()
		if last := a.got[len(a.got)-1]; len(b.got) != before || time.Since(last.Timestamp) > 2*time.Second {
			t.Errorf("%d samples to a closed door; the renewed one got its last %s ago", len(b.got)-before, time.Since(last.Timestamp))
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		before = len(a.got)
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(a.got) != before {
			t.Errorf("%d samples after the subscription ended", len(a.got)-before)
		}
		// It wakes up again, and stop ends it.
		if err := s.Start(a); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if len(a.got) != before+1 {
			t.Errorf("got %d samples after a new start, want 1", len(a.got)-before)
		}
		s.Stop(a)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if len(a.got) != before+1 {
			t.Error("samples after stop")
		}
		for range maxSubscribers {
			if err := s.Start(&peer{done: make(chan struct{})}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Start(a); usage.KindOf(err) != usage.Busy {
			t.Errorf("one subscriber more: got %v, want busy", err)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestMeter looks at a simulated nlbwmon without a daemon's help.
func TestMeter(t *testing.T) {
	dir, err := os.MkdirTemp("", "np") // short: a unix socket's path has 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	now, since := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC), time.Hour
	clock := func() time.Time { return now }
	opts := nlbwmontest.Options{Socket: filepath.Join(dir, "sock"), SnapshotPath: filepath.Join(dir, "0.db"), Now: clock}
	d, err := nlbwmontest.Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	m := &Meter{
		Router: &source.Router{
			SnapshotPath: opts.SnapshotPath, SocketPath: opts.Socket, NlbwPath: filepath.Join(dir, "nlbw"),
			Refresh: 30 * time.Second, Order: nlbwmon.NativeOrder(), Location: time.UTC, Now: clock,
		},
		Limit:   10_000,
		Instant: func() (ledger.Instant, error) { return instant(since), nil },
		Daemon:  func() time.Duration { return time.Minute },
	}
	look := func(refresh bool) usage.Rates {
		t.Helper()
		if refresh {
			if err := d.Refresh(); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(opts.SnapshotPath, now, now); err != nil {
				t.Fatal(err)
			}
		}
		r, err := m.Rates(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	d.Add([]usage.Record{row(tv, 443, 1000, 0)})
	if r := look(true); r.AsOf != nil || len(r.Devices) != 0 {
		t.Errorf("first look: %+v", r)
	}
	now, since = now.Add(30*time.Second), since+30*time.Second
	d.Add([]usage.Record{row(tv, 443, 3000, 600), row(laptop, 80, 60, 0)})
	if r := look(true); r.Seconds != 30 || len(r.Devices) != 2 || r.Devices[0].Rx != 100 || r.Devices[0].Tx != 20 || r.Devices[1].Rx != 2 {
		t.Errorf("second look: %+v", r)
	}
	now, since = now.Add(2*time.Second), since+2*time.Second
	if r := look(false); r.Seconds != 30 || r.Devices[0].Rx != 100 {
		t.Errorf("between refreshes: %+v", r)
	}
}
