package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/netpilot/netpilot/relay/store"
	"github.com/netpilot/netpilot/relay/store/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// flaky is a real store that fails, or takes its time, on demand.
type flaky struct {
	*sqlite.DB
	slow time.Duration // set before the first row
	mu   sync.Mutex    // guards fail
	fail bool
}

func (f *flaky) AppendAudit(ctx context.Context, rows []store.AuditRow) error {
	time.Sleep(f.slow)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail {
		return errors.New("disk is full")
	}
	return f.DB.AppendAudit(ctx, rows)
}

func (f *flaky) breakIt(fail bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = fail
}

// rig is a running Log on a real store in simulated time.
type rig struct {
	*Log
	t    *testing.T
	db   *flaky
	text bytes.Buffer // of the program's log
	stop func()
}

func simulate(t *testing.T, o Options, test func(r *rig)) {
	path := filepath.Join(t.TempDir(), "relay.db")
	synctest.Test(t, func(t *testing.T) {
		db, err := sqlite.Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		r := &rig{t: t, db: &flaky{DB: db}}
		o.Store, o.Log = r.db, slog.New(slog.NewTextHandler(&r.text, nil))
		if o.Keep == 0 {
			o.Keep, o.Most = 24*time.Hour, 100_000
		}
		r.Log = New(o)
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }() // ends with stop
		var once sync.Once
		r.stop = func() {
			once.Do(func() {
				cancel()
				if err := <-ended; err != nil {
					t.Errorf("Run: %v", err)
				}
			})
		}
		defer r.stop()
		test(r)
	})
}

// kept gives the rows in the store, the oldest first, one text each.
func (r *rig) kept() (list []string) {
	r.t.Helper()
	err := r.db.Audit(r.t.Context(), store.AuditQuery{}, func(row store.AuditRow) error {
		list = append([]string{fmt.Sprintf("%dx %s %s %s %s %s", row.Times, row.Who, row.Method, row.Result, row.Address, row.Detail)}, list...)
		return nil
	})
	if err != nil {
		r.t.Error(err)
	}
	return list
}

func (r *rig) want(want ...string) {
	r.t.Helper()
	got := r.kept()
	for i := range got {
		got[i] = strings.TrimSpace(got[i])
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		r.t.Errorf("got rows\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestWhatChangesIsWrittenSoon(t *testing.T) {
	simulate(t, Options{}, func(r *rig) {
		r.Add(Entry{Who: "key:a", Method: "POST /reset", Result: OK, Address: "192.0.2.1:99"})
		r.Add(Entry{Who: "key:a", Method: "POST /reset", Result: OK, Address: "[2001:db8::1]:99", Detail: "line\nbreak"})
		time.Sleep(soon + time.Millisecond)
		r.want("1x key:a POST /reset ok 192.0.2.1", "1x key:a POST /reset ok 2001:db8::1 linebreak")
	})
}

func TestRepetitionsBecomeOneRow(t *testing.T) {
	simulate(t, Options{}, func(r *rig) {
		time.Sleep(time.Millisecond) // off the beat
		for range 3 {
			for port := range 1000 {
				r.Add(Entry{Who: "key:a", Method: "GET /x", Result: OK, Address: fmt.Sprintf("192.0.2.1:%d", port), Often: true})
			}
			time.Sleep(together)
		}
		r.want("1000x key:a GET /x ok 192.0.2.1", "1000x key:a GET /x ok 192.0.2.1", "1000x key:a GET /x ok 192.0.2.1")
	})
}

// What waits when the relay stops is written before Run returns.
func TestStopWritesAll(t *testing.T) {
	simulate(t, Options{}, func(r *rig) {
		r.Add(Entry{Who: "key:a", Method: "GET /x", Result: OK, Often: true})
		r.Add(Entry{Who: "key:a", Method: "POST /x", Result: OK})
		r.stop()
		r.want("1x key:a POST /x ok", "1x key:a GET /x ok")
	})
}

// Rows outlast a store that fails, in order; what is too much is counted, and
// the count is told in the log and by a row.
func TestStoreFails(t *testing.T) {
	simulate(t, Options{}, func(r *rig) {
		r.room = 100
		r.db.breakIt(true)
		r.Add(Entry{Who: "key:a", Method: "first", Result: OK})
		time.Sleep(time.Minute + time.Millisecond) // off the beat of what tries again
		for i := range r.room + 5 {
			r.Add(Entry{Who: "key:a", Method: fmt.Sprint("row ", i), Result: OK})
		}
		if got := r.Lost(); got != 6 {
			t.Errorf("got %d rows lost, want 6", got)
		}
		r.db.breakIt(false)
		time.Sleep(2 * soon)
		synctest.Wait() // for the log
		got := r.kept()
		if len(got) != r.room+1 || !strings.Contains(got[0], "first") || !strings.Contains(got[len(got)-1], "relay audit lost  6 rows were given up") {
			t.Errorf("got %d rows, the first %q, the last %q", len(got), got[0], got[len(got)-1])
		}
		if r.Waiting() != 0 {
			t.Errorf("%d rows still wait", r.Waiting())
		}
		for _, line := range []string{"rows wait in memory", "audit rows were given up\" rows=6", "is written again"} {
			if n := strings.Count(r.text.String(), line); n != 1 {
				t.Errorf("the log says %q %d times, want once:\n%s", line, n, r.text.String())
			}
		}
	})
	simulate(t, Options{}, func(r *rig) {
		r.db.breakIt(true)
		r.Add(Entry{Who: "key:a", Method: "x", Result: OK})
		r.stop()
		if !strings.Contains(r.text.String(), "audit rows are lost") {
			t.Errorf("the loss of what waited at the end is not in the log:\n%s", r.text.String())
		}
	})
}

// What is on its way to a store that takes its time counts as waiting, so that
// memory stays bounded.
func TestStoreIsSlow(t *testing.T) {
	simulate(t, Options{}, func(r *rig) {
		r.room, r.db.slow = 100, time.Second
		add := func() {
			for i := range r.room {
				r.Add(Entry{Who: "key:a", Method: fmt.Sprint("row ", i), Result: OK})
			}
		}
		add()
		time.Sleep(soon + time.Millisecond) // it writes now
		add()
		if r.Waiting() != r.room || r.Lost() != int64(r.room) {
			t.Errorf("%d rows wait, %d are lost; want %d of both", r.Waiting(), r.Lost(), r.room)
		}
		time.Sleep(time.Second)
		add()
		if r.Waiting() != r.room || r.Lost() != int64(r.room) {
			t.Errorf("after it was done %d rows wait, %d are lost; want %d of both", r.Waiting(), r.Lost(), r.room)
		}
	})
}

func TestRetention(t *testing.T) {
	simulate(t, Options{Keep: 3 * time.Hour, Most: 4}, func(r *rig) {
		for i := range 10 {
			r.Add(Entry{Who: "key:a", Method: fmt.Sprint(i), Result: OK})
			time.Sleep(soon + time.Millisecond)
		}
		time.Sleep(trimEvery)
		r.want("1x key:a 6 ok", "1x key:a 7 ok", "1x key:a 8 ok", "1x key:a 9 ok")
		time.Sleep(3 * trimEvery)
		r.want()
	})
}

func BenchmarkAdd(b *testing.B) {
	l := New(Options{})
	e := Entry{Who: "key:backend", Key: "00000001", Router: "9c08f8a87768", Method: "GET /api/device-usage/current", Result: OK,
		Address: "192.0.2.1:443", Often: true}
	b.ReportAllocs()
	for b.Loop() {
		l.Add(e)
	}
}
