package baseline

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/netpilot/netpilot/agent/history"
	"github.com/netpilot/netpilot/agent/ledger"
	"github.com/netpilot/netpilot/agent/sample"
	"github.com/netpilot/netpilot/agent/source"
	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/nlbwmon/nlbwmontest"
	"github.com/netpilot/netpilot/pkg/usage"
)

var (
	tv     = usage.MAC{2, 0, 0, 0, 0, 1}
	laptop = usage.MAC{2, 0, 0, 0, 0, 2}
)

// router is a simulated nlbwmon, the sampler that looks at it, and a baseline.
type router struct {
	t       *testing.T
	dir     string
	mu      sync.Mutex // guards now: nlbwmon's goroutines ask for it
	now     time.Time
	since   time.Duration
	began   time.Duration // of nlbwmon, since boot
	boot    string
	limit   int // nlbwmon's database_limit
	opts    nlbwmontest.Options
	daemon  *nlbwmontest.Daemon
	source  *source.Router
	history *history.Store
	sampler *sample.Sampler
	store   *Store
}

var built = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newRouter(t *testing.T) *router {
	t.Helper()
	dir, err := os.MkdirTemp("", "np") // short: a unix socket's path has 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r := &router{t: t, dir: dir, now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), since: time.Hour, began: time.Minute, boot: "one"}
	clock := func() time.Time {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.now
	}
	r.opts = nlbwmontest.Options{
		Socket: filepath.Join(dir, "sock"), Dir: filepath.Join(dir, "db"), SnapshotPath: filepath.Join(dir, "0.db"),
		Interval: nlbwmon.Interval{Type: nlbwmon.IntervalMonthly, Value: 1}, Now: clock,
	}
	if err := os.Mkdir(r.opts.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r.source = &source.Router{
		SnapshotPath: r.opts.SnapshotPath, SocketPath: r.opts.Socket, NlbwPath: filepath.Join(dir, "nlbw"), DatabaseDir: r.opts.Dir,
		Refresh: 30 * time.Second, Order: nlbwmon.NativeOrder(), Location: time.UTC, Now: clock,
	}
	r.startNlbwmon()
	t.Cleanup(func() { r.daemon.Close() })
	r.startAgent()
	t.Cleanup(func() { r.history.Close(r.now) })
	return r
}

// set moves the wall clock.
func (r *router) set(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = now
}

func (r *router) startNlbwmon() {
	r.t.Helper()
	var err error
	if r.daemon, err = nlbwmontest.Start(r.opts); err != nil {
		r.t.Fatal(err)
	}
}

// startAgent opens everything anew, as a restarted agent does.
func (r *router) startAgent() {
	r.t.Helper()
	var err error
	if r.history, err = history.Open(history.Options{Dir: filepath.Join(r.dir, "ram"), NotBefore: built}); err != nil {
		r.t.Fatal(err)
	}
	r.store = &Store{
		Path: filepath.Join(r.dir, "etc", "reset"), Now: r.source.Now, Boot: func() string { return r.boot },
		Saved: func(p nlbwmon.Period, sink usage.Sink) error {
			_, err := sample.Files(r.source).Fetch(p, sink)
			return err
		},
	}
	if err := r.store.Load(); err != nil {
		r.t.Fatal(err)
	}
	r.sampler = sample.New(sample.Options{
		Router: r.source, History: r.history, Ledger: ledger.Options{Refresh: 30 * time.Second}, Limit: r.limit,
		Now: r.source.Now, NotBefore: built,
		Instant: func() (ledger.Instant, error) { return ledger.Instant{Boot: r.boot, Since: r.since}, nil },
		Daemon:  func() time.Duration { return r.began },
		Watch: func(l *ledger.Ledger, b *ledger.Batch, _ time.Time) {
			if err := r.store.Observe(l, b); err != nil {
				r.t.Error(err)
			}
		},
	})
}

func (r *router) stopAgent() {
	r.t.Helper()
	if err := errors.Join(r.store.Close(), r.history.Close(r.now)); err != nil {
		r.t.Fatal(err)
	}
}

func rx(mac usage.MAC, port uint16, n uint64) usage.Record {
	return usage.Record{Family: usage.FamilyIPv4, Proto: 6, Port: port, MAC: mac, Addr: [16]byte{192, 168, 1, mac[5]}, Conns: 1, RxBytes: n, RxPackets: 1}
}

// pass lets half a minute pass in which those rows grow, nlbwmon refresh, and
// the agent look.
func (r *router) pass(rows ...usage.Record) {
	r.t.Helper()
	r.refresh(rows...)
	r.look()
}

func (r *router) refresh(rows ...usage.Record) {
	r.t.Helper()
	r.set(r.now.Add(30 * time.Second))
	r.since += 30 * time.Second
	r.daemon.Add(rows)
	if err := r.daemon.Refresh(); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Chtimes(r.opts.SnapshotPath, r.now, r.now); err != nil && !os.IsNotExist(err) {
		r.t.Fatal(err)
	}
}

func (r *router) look() {
	r.t.Helper()
	if err := r.sampler.Once(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

func (r *router) read(sink usage.Sink) (nlbwmon.Period, error) {
	reading, err := r.source.Read(r.t.Context(), source.Request{Source: source.Nlbwmon}, sink)
	return reading.Period, err
}

func (r *router) reset(id string, mac *usage.MAC) {
	r.t.Helper()
	if _, repeated, err := r.store.Reset(Request{ID: id, MAC: mac}, r.read); err != nil || repeated {
		r.t.Fatalf("reset: repeated %t, %v", repeated, err)
	}
}

// want checks what is counted of the TV and the laptop.
func (r *router) want(what string, tvRx, laptopRx uint64) {
	r.t.Helper()
	var rows list
	if _, err := r.store.Read(&rows, false, r.read); err != nil {
		r.t.Fatalf("%s: %v", what, err)
	}
	got := make(map[usage.MAC]uint64)
	for i := range rows.records {
		got[rows.records[i].MAC] += rows.records[i].RxBytes
	}
	if got[tv] != tvRx || got[laptop] != laptopRx {
		r.t.Errorf("%s: got %d and %d, want %d and %d", what, got[tv], got[laptop], tvRx, laptopRx)
	}
}

func TestReset(t *testing.T) {
	r := newRouter(t)
	r.pass(rx(tv, 443, 1000), rx(tv, 80, 50), rx(laptop, 443, 700))
	r.want("before any reset", 1050, 700)
	r.reset("a", nil)
	r.want("at the reset", 0, 0)
	r.pass(rx(tv, 443, 10), rx(laptop, 22, 3))
	r.want("after it", 10, 3)
	r.stopAgent()
	r.startAgent()
	r.want("after the agent's restart", 10, 3)
	if at := r.store.At(nil); !at.Equal(r.now.Add(-30 * time.Second)) {
		t.Errorf("reset at %s", at)
	}
	r.reset("b", &laptop)
	r.pass(rx(tv, 443, 5), rx(laptop, 22, 4))
	r.want("after one device's reset", 15, 4)
	if at := r.store.At(&laptop); !at.Equal(r.now.Add(-30 * time.Second)) {
		t.Errorf("the laptop reset at %s", at)
	}
	if _, _, err := r.store.Reset(Request{ID: "c", MAC: &laptop, Clear: true}, r.read); err != nil {
		t.Fatal(err)
	}
	r.want("one device cleared", 15, 707)
	if _, _, err := r.store.Reset(Request{ID: "d", Clear: true}, r.read); err != nil || !r.store.At(nil).IsZero() {
		t.Fatal(err)
	}
	r.want("cleared", 1065, 707)
	// What moved nothing since is left out, but where the whole is asked for.
	r.reset("e", nil)
	var rows counter
	if counted, err := r.store.Read(&rows, false, r.read); err != nil || !counted || rows != 0 {
		t.Errorf("got %d rows, %t, %v", rows, counted, err)
	}
	if _, err := r.store.Read(&rows, true, r.read); err != nil || rows != 4 {
		t.Errorf("got %d rows, %v, want all 4", rows, err)
	}
}

type counter int

func (c *counter) Begin(int)         { *c = 0 }
func (c *counter) Add(*usage.Record) { *c++ }

// TestEvicted: a row that nlbwmon overwrote starts from zero when it comes
// back, whether it was seen to be gone or not.
func TestEvicted(t *testing.T) {
	r := newRouter(t)
	r.stopAgent()
	r.limit = 2 // a row gone was overwritten
	r.startAgent()
	r.pass(rx(tv, 443, 1000), rx(laptop, 443, 700))
	r.pass() // the first look is by the socket; what a snapshot then lacks is taken for its age
	r.reset("a", nil)
	r.daemon.SetRows([]usage.Record{rx(tv, 443, 1010), rx(laptop, 22, 1)})
	r.pass()
	r.want("gone", 10, 1)
	r.daemon.SetRows([]usage.Record{rx(tv, 443, 1010), rx(laptop, 443, 900)})
	r.pass()
	r.want("back", 10, 900)
	r.daemon.SetRows([]usage.Record{rx(tv, 443, 40), rx(laptop, 443, 900)}) // gone and back between two looks
	r.pass()
	r.want("gone and back", 40, 900)
}

// TestRestart: nlbwmon was killed and went on from what it had saved before
// the reset, or after it, or from nothing.
func TestRestart(t *testing.T) {
	for _, tt := range []struct {
		name                string
		before, after, lost bool // when it saved; the files were lost
		want                uint64
	}{
		{"saved before the reset", true, false, false, 7},
		{"saved after the reset", false, true, false, 10 + 7},
		{"never saved", false, false, true, 7},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRouter(t)
			r.pass(rx(tv, 443, 1000))
			if tt.before {
				r.daemon.Commit()
			}
			r.pass(rx(tv, 443, 500))
			r.reset("a", nil)
			r.pass(rx(tv, 443, 10))
			if tt.after {
				r.daemon.Commit()
			}
			r.pass(rx(tv, 443, 20)) // lost with nlbwmon, unless saved
			r.daemon.Close()
			if err := os.Remove(r.opts.SnapshotPath); err != nil {
				t.Fatal(err)
			}
			r.since, r.began = r.since+10*time.Second, r.since+5*time.Second
			r.set(r.now.Add(10 * time.Second))
			r.startNlbwmon()
			r.pass(rx(tv, 443, 7))
			r.want("after the restart", tt.want, 0)
			r.pass(rx(tv, 443, 1))
			r.want("and on", tt.want+1, 0)
		})
	}
}

// TestReboot: the ledger's memory is gone as well; what nlbwmon saved tells.
func TestReboot(t *testing.T) {
	for _, tt := range []struct {
		name          string
		before, after bool
		want          uint64
	}{
		{"in RAM", false, false, 7},
		{"saved before the reset", true, false, 7},
		{"saved after the reset", false, true, 10 + 7},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRouter(t)
			r.pass(rx(tv, 443, 1000))
			if tt.before {
				r.daemon.Commit()
			}
			r.pass(rx(tv, 443, 500))
			r.reset("a", nil)
			r.pass(rx(tv, 443, 10))
			if tt.after {
				r.daemon.Commit()
			}
			r.daemon.Close()
			r.stopAgent()
			if err := errors.Join(os.Remove(r.opts.SnapshotPath), os.RemoveAll(filepath.Join(r.dir, "ram"))); err != nil {
				t.Fatal(err)
			}
			r.boot, r.since, r.began = "two", time.Minute, 10*time.Second
			r.set(r.now.Add(2 * time.Minute))
			r.startNlbwmon()
			r.startAgent()
			r.pass(rx(tv, 443, 7))
			r.want("after the reboot", tt.want, 0)
			r.pass(rx(tv, 443, 1))
			r.stopAgent()
			r.startAgent()
			r.look()
			r.want("and on", tt.want+1, 0)
		})
	}
}

// TestPeriod: a new period counts from its start, whoever looks first.
func TestPeriod(t *testing.T) {
	r := newRouter(t)
	r.pass(rx(tv, 443, 1000))
	r.reset("a", nil)
	r.pass(rx(tv, 443, 10))
	r.set(time.Date(2026, 11, 30, 23, 59, 45, 0, time.UTC))
	r.since += 8 * 24 * time.Hour
	r.refresh() // nlbwmon empties its table
	r.refresh(rx(tv, 443, 5))
	r.want("before the agent has looked", 5, 0)
	r.look()
	r.pass(rx(tv, 443, 2000))
	r.want("after", 2005, 0)
	if at, repeated, err := r.store.Reset(Request{ID: "a"}, r.read); err != nil || !repeated || at.Month() != time.November {
		t.Errorf("the id of last month: %s, repeated %t, %v", at, repeated, err)
	}
	r.reset("b", &tv)
	r.pass(rx(tv, 443, 1), rx(laptop, 443, 2))
	r.want("one device's reset in the new period", 1, 2)
}

// TestOnce: however often an id is sent, it happens once; a reset that fails
// may be sent again.
func TestOnce(t *testing.T) {
	r := newRouter(t)
	r.pass(rx(tv, 443, 1000))
	down := errors.New("nlbwmon is down")
	if _, _, err := r.store.Reset(Request{ID: "same"}, func(usage.Sink) (nlbwmon.Period, error) { return 0, down }); !errors.Is(err, down) {
		t.Fatal(err)
	}
	var mu sync.Mutex // guards taken, first, ats
	taken, first := 0, 0
	ats := make(map[time.Time]bool)
	var senders sync.WaitGroup
	for range 100 {
		senders.Go(func() {
			at, repeated, err := r.store.Reset(Request{ID: "same"}, func(sink usage.Sink) (nlbwmon.Period, error) {
				mu.Lock()
				taken++
				mu.Unlock()
				return r.read(sink)
			})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			if !repeated {
				first++
			}
			ats[at] = true
		})
	}
	senders.Wait()
	if taken != 1 || first != 1 || len(ats) != 1 {
		t.Errorf("taken %d times, done %d times, at %d instants; want 1 each", taken, first, len(ats))
	}
	r.stopAgent()
	r.startAgent()
	if _, repeated, err := r.store.Reset(Request{ID: "same"}, r.read); err != nil || !repeated {
		t.Errorf("after a restart: repeated %t, %v", repeated, err)
	}
	for i := range maxDone + 10 { // the oldest is forgotten, the file stays bounded
		r.reset(fmt.Sprint(i), nil)
	}
	if n := len(r.store.now().done); n != maxDone {
		t.Errorf("%d ids are kept", n)
	}
	for _, id := range []string{"", "a\nb", string(make([]byte, maxID+1))} {
		if _, _, err := r.store.Reset(Request{ID: id}, r.read); usage.KindOf(err) != usage.Invalid {
			t.Errorf("id %q: got %v, want invalid", id, err)
		}
	}
}

// TestNotKept: a reset that cannot be stored did not happen.
func TestNotKept(t *testing.T) {
	r := newRouter(t)
	r.pass(rx(tv, 443, 1000))
	if err := os.WriteFile(filepath.Join(r.dir, "etc"), nil, 0o600); err != nil { // where its directory should be
		t.Fatal(err)
	}
	if _, _, err := r.store.Reset(Request{ID: "a"}, r.read); err == nil {
		t.Error("no error")
	}
	r.want("nothing happened", 1000, 0)
	var none *Store
	var rows counter
	if counted, err := none.Read(&rows, false, r.read); err != nil || counted || rows != 1 || !none.At(&tv).IsZero() {
		t.Errorf("no store: %d rows, %t, %v", rows, counted, err)
	}
}
