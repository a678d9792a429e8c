package sample

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/netpilot/netpilot/agent/history"
	"github.com/netpilot/netpilot/agent/history/faultfs"
	"github.com/netpilot/netpilot/agent/ledger"
	"github.com/netpilot/netpilot/agent/source"
	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/nlbwmon/nlbwmontest"
	"github.com/netpilot/netpilot/pkg/usage"
)

// router is a simulated nlbwmon under a clock that the test moves.
type router struct {
	t      testing.TB
	now    time.Time
	since  time.Duration
	daemon *nlbwmontest.Daemon
	source *source.Router
	dir    string
	store  *history.Store
	boot   string
	aged   map[string]bool
	fs     history.FS // nil: the machine's
	flash  string

	synchronised func() bool
	linkSpeed    func() uint64
	attribute    func(netip.Addr, time.Time) (usage.MAC, bool)
}

var built = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newRouter(t testing.TB) *router {
	dir, err := os.MkdirTemp("", "np") // short: a unix socket's path has 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r := &router{t: t, dir: dir, flash: filepath.Join(dir, "flash"), boot: "boot", aged: make(map[string]bool), now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), since: time.Hour}
	opts := nlbwmontest.Options{
		Socket: filepath.Join(dir, "sock"), Dir: filepath.Join(dir, "db"), SnapshotPath: filepath.Join(dir, "0.db"),
		Interval: nlbwmon.Interval{Type: nlbwmon.IntervalMonthly, Value: 1}, Now: func() time.Time { return r.now },
	}
	if err := os.Mkdir(opts.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if r.daemon, err = nlbwmontest.Start(opts); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.daemon.Close() })
	r.source = &source.Router{
		SnapshotPath: opts.SnapshotPath, SocketPath: opts.Socket, NlbwPath: filepath.Join(dir, "nlbw"), DatabaseDir: opts.Dir,
		Refresh: 30 * time.Second, Order: nlbwmon.NativeOrder(), Location: time.UTC, Now: func() time.Time { return r.now },
	}
	r.open()
	t.Cleanup(func() { r.store.Close(r.now) })
	return r
}

func (r *router) open() {
	r.t.Helper()
	var err error
	o := history.Options{Dir: filepath.Join(r.dir, "ram"), FlashDir: r.flash, NotBefore: built}
	if r.fs != nil {
		o.Dir, o.FS = "/tmp/ram", r.fs
	}
	if r.store, err = history.Open(o); err != nil {
		r.t.Fatal(err)
	}
}

// reopen has the history lie on a simulated disk from now on.
func (r *router) reopen(disk *faultfs.FS) {
	r.t.Helper()
	if err := r.store.Close(r.now); err != nil {
		r.t.Fatal(err)
	}
	r.fs = disk
	r.open()
}

// idle lets time pass in which nlbwmon does nothing.
func (r *router) idle(d time.Duration) { r.now, r.since = r.now.Add(d), r.since+d }

func (r *router) sampler() *Sampler {
	return New(Options{
		Router: r.source, History: r.store, Ledger: ledger.Options{Refresh: 30 * time.Second},
		Now: func() time.Time { return r.now }, NotBefore: built,
		Instant:      func() (ledger.Instant, error) { return ledger.Instant{Boot: r.boot, Since: r.since}, nil },
		Daemon:       func() time.Duration { return time.Second },
		Synchronised: r.synchronised, LinkSpeed: r.linkSpeed, Attribute: r.attribute,
		BootFile: filepath.Join(r.dir, "flash", "boot"),
	})
}

// pass lets time pass and nlbwmon count and refresh.
func (r *router) pass(d time.Duration, bytes uint64) {
	r.t.Helper()
	r.now, r.since = r.now.Add(d), r.since+d
	if bytes > 0 {
		r.daemon.Add([]usage.Record{{Family: usage.FamilyIPv4, Proto: 6, Port: 443, MAC: usage.MAC{2, 0, 0, 0, 0, 1}, Addr: [16]byte{192, 168, 1, 2}, Conns: 1, RxBytes: bytes, RxPackets: 1}})
	}
	if err := r.daemon.Refresh(); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Chtimes(r.source.SnapshotPath, r.now, r.now); err != nil {
		r.t.Fatal(err)
	}
}

// total is all that the history holds.
func (r *router) total() uint64 {
	r.t.Helper()
	var sum uint64
	_, err := r.store.Query(context.Background(), history.Query{
		Range:      usage.Range{From: built, To: built.AddDate(2, 0, 0)},
		Resolution: usage.Hour,
	}, func(s usage.Slot) error { sum += s.RxBytes; return nil })
	if err != nil {
		r.t.Fatal(err)
	}
	return sum
}

func once(t *testing.T, s *Sampler) {
	t.Helper()
	if err := s.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestBooksEachByteOnce: what was there before the first look is the past;
// from then on every byte is booked, once, also over a restart of the agent.
func TestBooksEachByteOnce(t *testing.T) {
	r := newRouter(t)
	r.pass(30*time.Second, 5000)
	s := r.sampler()
	once(t, s)
	if got := r.total(); got != 0 {
		t.Errorf("%d bytes of before the first look were booked", got)
	}
	r.pass(30*time.Second, 100)
	once(t, s)
	once(t, s) // the same snapshot again
	if got := r.total(); got != 100 {
		t.Errorf("got %d bytes, want 100", got)
	}
	if err := r.store.Close(r.now); err != nil {
		t.Fatal(err)
	}
	r.open()
	s = r.sampler()
	r.pass(10*time.Minute, 20)
	once(t, s)
	if got := r.total(); got != 120 {
		t.Errorf("after a restart of the agent: got %d bytes, want 120", got)
	}
}

// TestClockUnset: nothing is booked under a wrong date, and nothing is lost.
func TestClockUnset(t *testing.T) {
	r := newRouter(t)
	sane := r.now
	r.now = time.Date(1970, 1, 1, 0, 1, 0, 0, time.UTC)
	r.source.Refresh = 1e6 * time.Hour // the snapshot's age means nothing yet
	s := r.sampler()
	r.pass(30*time.Second, 1)
	once(t, s)
	for range 2 * maxSpans {
		r.pass(30*time.Second, 10)
		once(t, s)
	}
	if got := r.total(); got != 0 {
		t.Errorf("%d bytes were booked with the clock unset", got)
	}
	if n := len(s.pending.spans); n > maxSpans {
		t.Errorf("%d spans wait", n)
	}
	r.now = sane
	r.pass(30*time.Second, 5)
	once(t, s)
	if got := r.total(); got != 2*maxSpans*10+5 {
		t.Errorf("got %d bytes, want %d", got, 2*maxSpans*10+5)
	}
}

// TestNlbwmonAway: the next look covers the time of those that failed.
func TestNlbwmonAway(t *testing.T) {
	r := newRouter(t)
	s := r.sampler()
	r.pass(30*time.Second, 1)
	once(t, s)
	snapshot, socket := r.source.SnapshotPath, r.source.SocketPath
	r.source.SnapshotPath, r.source.SocketPath = snapshot+".gone", socket+".gone"
	if err := s.Once(t.Context()); err == nil {
		t.Error("a look at nothing succeeded")
	}
	r.source.SnapshotPath, r.source.SocketPath = snapshot, socket
	r.pass(time.Minute, 77)
	once(t, s)
	if got := r.total(); got != 77 {
		t.Errorf("got %d bytes, want 77", got)
	}
}
