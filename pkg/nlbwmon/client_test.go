package nlbwmon_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/nlbwmon/nlbwmontest"
	"github.com/netpilot/netpilot/pkg/usage"
)

// short is a time limit for exchanges that are meant to fail.
const short = 50 * time.Millisecond

// socketPath is short enough for a Unix socket address, 107 bytes.
func socketPath(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "nl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// start runs a simulated daemon with the rows and a client for it.
func start(t testing.TB, opts nlbwmontest.Options, recs []usage.Record) (*nlbwmon.Client, *nlbwmontest.Daemon) {
	t.Helper()
	opts.Socket = socketPath(t)
	d, err := nlbwmontest.Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	d.SetRows(recs)
	return &nlbwmon.Client{Path: opts.Socket, Order: opts.Order}, d
}

// dump reads the live table.
func dump(ctx context.Context, c *nlbwmon.Client, p nlbwmon.Period) (nlbwmon.Header, []usage.Record, error) {
	var recs []usage.Record
	h, err := c.Dump(ctx, p, nil, func(r *usage.Record) { recs = append(recs, *r) })
	return h, recs, err
}

func TestClientDump(t *testing.T) {
	for _, order := range []nlbwmon.AddrOrder{nlbwmon.OrderGuess, nlbwmon.OrderLittle, nlbwmon.OrderBig} {
		for _, compact := range []bool{false, true} {
			want := nlbwmontest.Generate(300, 1)
			c, _ := start(t, nlbwmontest.Options{
				Order: order, Compact: compact, Now: func() time.Time { return utc(2026, 11, 23, 12) },
			}, want)
			begun := 0
			var got []usage.Record
			h, err := c.Dump(t.Context(), 0, func(h nlbwmon.Header) {
				begun++
				got = make([]usage.Record, 0, h.Entries)
			}, func(r *usage.Record) { got = append(got, *r) })
			if err != nil || begun != 1 || h.Entries != 300 || h.Period != 20261101 || h.Compact != compact {
				t.Errorf("order %v, compact %t: got %+v, %v", order, compact, h, err)
			}
			slices.SortFunc(got, func(a, b usage.Record) int { return slices.Index(want, a) - slices.Index(want, b) })
			if !slices.Equal(got, want) {
				t.Errorf("order %v, compact %t: rows differ", order, compact)
			}
		}
	}
}

func TestClientPeriods(t *testing.T) {
	dir := filepath.Join(recordings, "generations-monthly")
	scratch := filepath.Dir(socketPath(t))
	opts, err := nlbwmontest.FromRecording(dir, scratch)
	if err != nil {
		t.Fatal(err)
	}
	c, _ := start(t, opts, nil)
	c.Order = opts.Order
	periods, err := c.List(t.Context())
	if err != nil || !slices.Equal(periods, []nlbwmon.Period{20261101, 20261001, 20260901, 20260801}) {
		t.Errorf("got %v, %v", periods, err)
	}
	h, recs, err := dump(t.Context(), c, 20260901)
	if want := readTSV(t, dir+"/records-20260901.tsv"); err != nil || len(recs) != len(want) || h.Period != 20261101 {
		t.Errorf("got %d rows, header %+v, %v", len(recs), h, err)
	}
	if _, _, err := dump(t.Context(), c, 20010101); !errors.Is(err, nlbwmon.ErrEmpty) || usage.KindOf(err) != usage.NotFound {
		t.Errorf("got %v of kind %v, want ErrEmpty", err, usage.KindOf(err))
	}
	if text, err := c.Commit(t.Context()); err != nil || text != "0 ok" {
		t.Errorf("got %q, %v", text, err)
	}
}

// The list is empty, not an error, before the period's first commit.
func TestClientEmptyList(t *testing.T) {
	c, _ := start(t, nlbwmontest.Options{}, nil)
	if periods, err := c.List(t.Context()); err != nil || len(periods) != 0 {
		t.Errorf("got %v, %v", periods, err)
	}
	if text, err := c.Commit(t.Context()); err != nil || text != "2 No such file or directory" {
		t.Errorf("got %q, %v", text, err)
	}
}

// Requests are exactly the documented bytes, in one piece.
func TestClientRequests(t *testing.T) {
	var mu sync.Mutex
	var got []string
	c, _ := start(t, nlbwmontest.Options{Reply: func(request string) ([]byte, bool) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, request)
		return nil, false
	}}, nil)
	_, _, _ = dump(t.Context(), c, 0)
	_, _, _ = dump(t.Context(), c, 20260931)
	_, _, _ = dump(t.Context(), c, 4294967295)
	_, _ = c.List(t.Context())
	_, _ = c.Commit(t.Context())
	mu.Lock()
	defer mu.Unlock()
	if want := []string{"dump 0", "dump 20260931", "dump 4294967295", "list", "commit"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// wantFault checks an error for kind, cause and what it tells the technician.
func wantFault(t *testing.T, err error, kind usage.Kind, cause error, text string) {
	t.Helper()
	if usage.KindOf(err) != kind || !errors.Is(err, cause) || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v of kind %v, want %v of kind %v with %q", err, usage.KindOf(err), cause, kind, text)
	}
}

func TestClientNoSocket(t *testing.T) {
	c := &nlbwmon.Client{Path: socketPath(t)}
	_, _, err := dump(t.Context(), c, 0)
	wantFault(t, err, usage.Unavailable, fs.ErrNotExist, "try: service nlbwmon status")
	_, err = c.List(t.Context())
	wantFault(t, err, usage.Unavailable, fs.ErrNotExist, "no nlbwmon socket at "+c.Path)
}

func TestClientStaleSocket(t *testing.T) {
	c, d := start(t, nlbwmontest.Options{}, nil)
	_ = d.Close()
	_, _, err := dump(t.Context(), c, 0)
	wantFault(t, err, usage.Unavailable, syscall.ECONNREFUSED, "service nlbwmon restart")
}

func TestClientNoPermission(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may connect to any socket")
	}
	c, _ := start(t, nlbwmontest.Options{}, nil)
	if err := os.Chmod(c.Path, 0); err != nil {
		t.Fatal(err)
	}
	_, _, err := dump(t.Context(), c, 0)
	wantFault(t, err, usage.Unavailable, fs.ErrPermission, "run as root")
}

func TestClientFrozen(t *testing.T) {
	c, _ := start(t, nlbwmontest.Options{Frozen: true}, nil)
	c.Timeout = 1 // over before it begins, as on a machine that is very busy
	_, _, err := dump(t.Context(), c, 0)
	wantFault(t, err, usage.Unavailable, os.ErrDeadlineExceeded, "did not answer")
	c.Timeout = short
	_, _, err = dump(t.Context(), c, 0)
	wantFault(t, err, usage.Unavailable, os.ErrDeadlineExceeded, "did not answer")
	_, err = c.List(t.Context())
	wantFault(t, err, usage.Unavailable, os.ErrDeadlineExceeded, "did not answer")
	_, err = c.Commit(t.Context())
	wantFault(t, err, usage.Unavailable, os.ErrDeadlineExceeded, "did not answer")
}

// One row per tick: those in time are delivered.
func TestClientSlow(t *testing.T) {
	c, _ := start(t, nlbwmontest.Options{RowDelay: time.Millisecond}, nlbwmontest.Generate(5000, 1))
	c.Timeout = 2 * time.Second
	h, recs, err := dump(t.Context(), c, 0)
	wantFault(t, err, usage.Unavailable, os.ErrDeadlineExceeded, "of 5000 records")
	if h.Entries != 5000 || len(recs) == 0 || len(recs) >= 5000 {
		t.Errorf("got %d rows of %d", len(recs), h.Entries)
	}
}

func TestClientDiesMidDump(t *testing.T) {
	want := nlbwmontest.Generate(20, 1)
	c, d := start(t, nlbwmontest.Options{DieAfterRows: 7}, want)
	h, recs, err := dump(t.Context(), c, 0)
	wantFault(t, err, usage.Unavailable, nlbwmon.ErrTruncated, "after 7 of 20 records")
	if h.Entries != 20 || len(recs) != 7 {
		t.Errorf("got %d rows of %d, want 7 of 20", len(recs), h.Entries)
	}
	<-d.Done()
	_, _, err = dump(t.Context(), c, 0)
	wantFault(t, err, usage.Unavailable, syscall.ECONNREFUSED, "does not run")
}

func TestClientBadAnswers(t *testing.T) {
	header := nlbwmontest.MonthlyHeader(20261101)
	huge := header
	huge.Entries = 1<<32 - 1
	one := header
	one.Entries = 1
	row := nlbwmontest.Generate(1, 1)[0]
	good := nlbwmon.AppendRecord(nlbwmon.AppendHeader(nil, one), &row, nlbwmon.OrderGuess, false)
	for _, tt := range []struct {
		name   string
		answer []byte
		rows   int
		want   error
	}{
		{"nothing", nil, 0, nlbwmon.ErrEmpty},
		{"text", []byte("ubus: not found, no such thing here at all"), 0, nlbwmon.ErrMagic},
		{"short header", good[:30], 0, nlbwmon.ErrTruncated},
		{"short record", good[:len(good)-1], 0, nlbwmon.ErrTruncated},
		{"more than announced", append(slices.Clone(good), good...), 1, nlbwmon.ErrTrailing},
		{"too many records", nlbwmon.AppendHeader(nil, huge), 0, nlbwmon.ErrTooLarge},
	} {
		c, _ := start(t, nlbwmontest.Options{Reply: func(string) ([]byte, bool) { return tt.answer, true }}, nil)
		_, recs, err := dump(t.Context(), c, 0)
		if !errors.Is(err, tt.want) || usage.KindOf(err) != usage.Unavailable || len(recs) != tt.rows {
			t.Errorf("%s: got %d rows and %v, want %d and %v", tt.name, len(recs), err, tt.rows, tt.want)
		}
	}
}

func TestClientBadLists(t *testing.T) {
	for want, answer := range map[error][]byte{
		nlbwmon.ErrTruncated: make([]byte, 7),
		nlbwmon.ErrTooLarge:  make([]byte, 1<<20),
	} {
		c, _ := start(t, nlbwmontest.Options{Reply: func(string) ([]byte, bool) { return answer, true }}, nil)
		_, err := c.List(t.Context())
		wantFault(t, err, usage.Unavailable, want, "")
	}
	// What a hostile daemon says is made safe for a terminal.
	c, _ := start(t, nlbwmontest.Options{Reply: func(string) ([]byte, bool) { return []byte("0 \x1b[31mok\n"), true }}, nil)
	if text, err := c.Commit(t.Context()); err != nil || text != "0 [31mok" {
		t.Errorf("got %q, %v", text, err)
	}
}

// deafDaemon takes connections and hangs up on the first n with their request
// unread, as nlbwmon does on one that comes as its patience ends; the others
// have an empty list.
func deafDaemon(t *testing.T, n int) (c *nlbwmon.Client, taken *atomic.Int32) {
	t.Helper()
	path := socketPath(t)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	taken = new(atomic.Int32)
	done := make(chan struct{})
	t.Cleanup(func() { _ = l.Close(); <-done })
	go func() { // ends when the listener closes
		defer close(done)
		for {
			conn, err := l.AcceptUnix()
			if err != nil {
				return
			}
			nth := int(taken.Add(1))
			raw, err := conn.SyscallConn()
			if err == nil {
				err = raw.Read(func(fd uintptr) bool { // until the request is there
					_, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK)
					return !errors.Is(err, unix.EAGAIN)
				})
			}
			if err == nil && nth > n {
				_, _ = conn.Read(make([]byte, 32))
			}
			_ = conn.Close()
		}
	}()
	return &nlbwmon.Client{Path: path, Timeout: time.Minute}, taken
}

func TestClientUnheard(t *testing.T) {
	c, taken := deafDaemon(t, 2)
	if periods, err := c.List(t.Context()); err != nil || len(periods) != 0 || taken.Load() != 3 {
		t.Errorf("got %v, %v after %d tries, want an empty list after 3", periods, err, taken.Load())
	}
	c, taken = deafDaemon(t, 100)
	_, _, err := dump(t.Context(), c, 0)
	wantFault(t, err, usage.Unavailable, nlbwmon.ErrEmpty, "did not answer")
	if taken.Load() != 3 {
		t.Errorf("got %d tries, want 3", taken.Load())
	}
}

// A path that is no socket.
func TestClientNotASocket(t *testing.T) {
	path := socketPath(t)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err := dump(t.Context(), &nlbwmon.Client{Path: path}, 0)
	wantFault(t, err, usage.Unavailable, syscall.ECONNREFUSED, path)
	_, _, err = dump(t.Context(), &nlbwmon.Client{Path: strings.Repeat("x", 200)}, 0)
	var op *net.OpError
	if !errors.As(err, &op) || usage.KindOf(err) != usage.Unavailable {
		t.Errorf("got %v for a path too long", err)
	}
}

func TestClientContext(t *testing.T) {
	c, _ := start(t, nlbwmontest.Options{Frozen: true}, nil)
	c.Timeout = time.Minute
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), short)
	defer cancel()
	_, _, err := dump(ctx, c, 0)
	wantFault(t, err, usage.Timeout, context.DeadlineExceeded, "given up")
	if took := time.Since(began); took > c.Timeout/2 {
		t.Errorf("got an end after %v, want it with the context's", took)
	}
	_, err = c.List(ctx) // over already
	wantFault(t, err, usage.Timeout, context.DeadlineExceeded, "given up")
}

// Cancelled in the middle of an exchange, which then ends at once.
func TestClientCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c, _ := start(t, nlbwmontest.Options{RowDelay: time.Millisecond}, nlbwmontest.Generate(10_000, 1))
	c.Timeout = time.Minute
	rows := 0
	_, err := c.Dump(ctx, 0, nil, func(*usage.Record) { cancel(); rows++ })
	wantFault(t, err, usage.Timeout, context.Canceled, "given up")
	if rows == 0 {
		t.Error("got no row before")
	}
}

// hold takes the lock as another program would.
func hold(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Fatal(err)
	}
}

func TestClientLockHeld(t *testing.T) {
	c, _ := start(t, nlbwmontest.Options{}, nil)
	c.LockPath = c.Path + ".lock"
	hold(t, c.LockPath)
	c.Timeout = short
	_, _, err := dump(t.Context(), c, 0)
	wantFault(t, err, usage.Unavailable, nlbwmon.ErrLocked, "another program is reading")
	c.Timeout = time.Minute
	ctx, cancel := context.WithTimeout(t.Context(), short)
	defer cancel()
	_, _, err = dump(ctx, c, 0)
	wantFault(t, err, usage.Timeout, context.DeadlineExceeded, "given up")
}

func TestClientLock(t *testing.T) {
	c, _ := start(t, nlbwmontest.Options{}, nil)
	unlock, err := c.Lock(t.Context()) // no path: nothing to wait for
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	c.LockPath = c.Path + ".lock"
	if unlock, err = c.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(c.LockPath)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v, want mode 0600", info.Mode(), err)
	}
	c.Timeout = short
	_, err = c.List(t.Context())
	wantFault(t, err, usage.Unavailable, nlbwmon.ErrLocked, "")
	unlock()
	c.Timeout = time.Minute
	if _, err = c.List(t.Context()); err != nil {
		t.Errorf("after unlock: %v", err)
	}
	c.LockPath = filepath.Join(c.Path, "no", "such")
	_, err = c.List(t.Context())
	if usage.KindOf(err) != usage.Unavailable || !strings.Contains(err.Error(), "cannot take turns") {
		t.Errorf("got %v", err)
	}
}

// Readers of one router take turns: none meets another at the daemon.
func TestClientTakesTurns(t *testing.T) {
	c, _ := start(t, nlbwmontest.Options{}, nlbwmontest.Generate(50, 1))
	c.LockPath = c.Path + ".lock"
	c.Timeout = time.Minute
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			other := *c
			if _, recs, err := dump(t.Context(), &other, 0); err != nil || len(recs) != 50 {
				t.Errorf("got %d rows, %v", len(recs), err)
			}
		})
	}
	wg.Wait()
}

func TestSnapshotTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.db")
	if _, err := nlbwmon.SnapshotTime(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want := utc(2026, 11, 23, 12)
	if err := os.Chtimes(path, want, want); err != nil {
		t.Fatal(err)
	}
	if got, err := nlbwmon.SnapshotTime(path); err != nil || !got.Equal(want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}
