// Package nlbwmontest simulates nlbwmon for tests and demonstrations: it
// speaks the control socket's protocol with the daemon's manners, good and
// bad, and keeps its files. It counts no traffic: rows are what SetRows and
// Add say. It is not for a router.
package nlbwmontest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
)

// defaultClientTimeout is how long the daemon waits for a request. nlbwmon
// itself waits 100 ms (socket.c), which a test on a busy machine would miss now
// and then.
const defaultClientTimeout = time.Minute

// Options say how a simulated daemon is set up and in which ways it misbehaves.
// All but Socket may be zero.
type Options struct {
	Socket       string // path of the control socket; replaced at start, left behind at the end
	Dir          string // database directory (-o); "": no period can be read or committed
	SnapshotPath string // the live snapshot, /tmp/0.db in nlbwmon; "": none

	Interval nlbwmon.Interval  // -I; zero is the first of each month
	Now      func() time.Time  // the router's clock with its time zone; nil is time.Now
	Order    nlbwmon.AddrOrder // of the simulated router; OrderGuess is this machine's
	Compact  bool              // simulate 32-bit x86
	Gzip     bool              // -Z: period files are compressed

	RefreshEvery  time.Duration // -r; 0: only when Refresh is called
	ClientTimeout time.Duration // for a request to arrive; 0 is a minute, nlbwmon's is 100 ms

	Frozen       bool          // accept, then neither read nor answer
	RowDelay     time.Duration // before each row of a dump
	DieAfterRows int           // crash in a dump after so many rows; 0: do not

	// Reply, if it returns ok, replaces the answer to a request.
	Reply func(request string) (answer []byte, ok bool)
}

// Daemon is a simulated nlbwmon.
type Daemon struct {
	opts   Options
	ln     *net.UnixListener
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{} // closed when serve has returned
	tasks  sync.WaitGroup

	mu sync.Mutex // guards below
	table
	period   nlbwmon.Period
	pristine bool // no file of this period was read or written yet (database.c)
}

// Start begins to serve. As nlbwmon does, it first loads the snapshot or else
// the current period's file, and fails if that one is damaged.
func Start(opts Options) (*Daemon, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Interval == (nlbwmon.Interval{}) {
		opts.Interval = nlbwmon.Interval{Type: nlbwmon.IntervalMonthly, Value: 1}
	}
	if opts.Order == nlbwmon.OrderGuess {
		opts.Order = nlbwmon.NativeOrder()
	}
	if opts.ClientTimeout == 0 {
		opts.ClientTimeout = defaultClientTimeout
	}
	d := &Daemon{opts: opts, done: make(chan struct{}), pristine: true, period: opts.Interval.Period(opts.Now(), 0)}
	if d.period == 0 {
		return nil, fmt.Errorf("simulated nlbwmon: unusable interval %+v", opts.Interval)
	}
	if err := d.restore(); err != nil {
		return nil, fmt.Errorf("simulated nlbwmon: unable to restore database: %w", err)
	}
	if err := os.Remove(opts.Socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("simulated nlbwmon: %w", err)
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: opts.Socket, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("simulated nlbwmon: %w", err)
	}
	ln.SetUnlinkOnClose(false)
	d.ln = ln
	d.ctx, d.cancel = context.WithCancel(context.Background())
	d.tasks.Go(d.serve)
	if opts.RefreshEvery > 0 {
		d.tasks.Go(d.refreshLoop)
	}
	return d, nil
}

// Close ends the daemon as kill -9 would: nothing is saved and the socket file
// stays behind. It may be called twice, and waits.
func (d *Daemon) Close() error {
	d.cancel()
	_ = d.ln.Close() // again after a crash
	d.tasks.Wait()
	return nil
}

// Done is closed when the daemon has ended, by Close or by a crash.
func (d *Daemon) Done() <-chan struct{} { return d.done }

// SetRows replaces the live table. Rows with the same key are added together.
func (d *Daemon) SetRows(recs []usage.Record) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reset()
	d.add(recs)
}

// Add adds to the live table's rows and appends those that are new.
func (d *Daemon) Add(recs []usage.Record) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.add(recs)
}

// Refresh is what nlbwmon does every 30 s: begin a new period if it is time,
// otherwise rewrite the snapshot in place.
func (d *Daemon) Refresh() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if next := d.opts.Interval.Period(d.opts.Now(), 0); next > d.period {
		if err := d.saveLocked(d.period); err != nil {
			return fmt.Errorf("simulated nlbwmon: unable to archive: %w", err)
		}
		d.reset()
		d.period = next
		return nil
	}
	return d.snapshotLocked()
}

// Commit saves the live table as the socket's commit does, and returns the
// text of its answer.
func (d *Daemon) Commit() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return errnoText(d.saveLocked(d.opts.Interval.Period(d.opts.Now(), 0)))
}

func (d *Daemon) refreshLoop() {
	ticker := time.NewTicker(d.opts.RefreshEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			_ = d.Refresh() // nlbwmon logs it and goes on
		case <-d.done:
			return
		}
	}
}

// serve takes one client after the other; the rest wait in the listen queue.
func (d *Daemon) serve() {
	defer close(d.done)
	defer d.ln.Close()
	for {
		conn, err := d.ln.AcceptUnix()
		if err != nil {
			return // closed
		}
		stop := context.AfterFunc(d.ctx, func() { _ = conn.Close() })
		crashed := d.client(conn)
		stop()
		_ = conn.Close()
		if crashed {
			return
		}
	}
}

// client serves one connection and tells whether the daemon crashed over it.
func (d *Daemon) client(conn *net.UnixConn) (crashed bool) {
	if d.opts.Frozen {
		<-d.ctx.Done()
		return false
	}
	_ = conn.SetReadDeadline(time.Now().Add(d.opts.ClientTimeout))
	var buf [31]byte // socket.c receives once into 32 bytes, NUL included
	n, err := conn.Read(buf[:])
	if err != nil {
		return false
	}
	return d.handle(conn, buf[:n])
}
