// Package audit writes down who did what at the relay.
//
// Writing never holds anybody up: rows wait in bounded memory and go to the
// store in batches. What only reads, and what anybody may try, is put together
// with its repetitions; what changes something is a row soon. If the store fails for so
// long that rows must be given up, they are counted, the count is logged, and
// it becomes a row itself as soon as the store works again.
package audit

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/store"
)

const (
	soon      = time.Second      // until a row is written
	together  = 10 * time.Second // for which repetitions become one row
	maxRows   = 32 << 10         // that wait; some 10 MB
	batch     = 4096             // rows of one transaction
	trimEvery = time.Hour
	writeIn   = 10 * time.Second // one batch
)

// Who acts when it is no key; a key is "key:NAME".
const (
	Nobody   = "nobody"   // without a key or secret that is good
	Router   = "router"   // with its secret
	Operator = "operator" // on the relay's command line
	Relay    = "relay"    // by itself
)

// OK is the result of what was done.
const OK = "ok"

// Entry is one thing that somebody did or tried.
type Entry struct {
	Who, Key string
	Router   usage.RouterID
	Method   string
	Result   string // OK, or a code or kind
	Address  string // with or without a port
	Detail   string
	Often    bool // repetitions within ten seconds become one row
}

// Store keeps the log; see store.Store.
type Store interface {
	AppendAudit(ctx context.Context, rows []store.AuditRow) error
	TrimAudit(ctx context.Context, before time.Time, keep int) (int64, error)
}

// Options is what a Log is made of.
type Options struct {
	Store Store
	Log   *slog.Logger
	Keep  time.Duration // how long rows stay
	Most  int           // rows that stay
	Now   func() time.Time
}

// Log is the audit log of a serving relay. Run writes it.
type Log struct {
	opts Options
	wake chan struct{} // of capacity 1
	lost atomic.Int64  // rows ever given up
	room int           // rows that may wait

	mu      sync.Mutex // guards below
	rows    []store.AuditRow
	often   map[Entry]*store.AuditRow
	writing int   // rows that are on their way to the store
	untold  int64 // lost rows that no row says yet
}

// New makes a Log.
func New(o Options) *Log {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Log{opts: o, wake: make(chan struct{}, 1), room: maxRows, often: make(map[Entry]*store.AuditRow)}
}

// Add has an entry written down. It returns at once.
func (l *Log) Add(e Entry) {
	e.Address = host(e.Address)
	e.Method, e.Detail = usage.Clean(e.Method, 200), usage.Clean(e.Detail, 200)
	now := l.opts.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.Often {
		if row := l.often[e]; row != nil {
			row.Times++
			row.Until = now
			return
		}
	}
	if l.waiting() >= l.room {
		l.untold++
		l.lost.Add(1)
		return
	}
	row := store.AuditRow{At: now, Until: now, Times: 1, Who: e.Who, Key: e.Key, Router: e.Router,
		Method: e.Method, Result: e.Result, Address: e.Address, Detail: e.Detail}
	if e.Often {
		l.often[e] = &row
		return
	}
	l.rows = append(l.rows, row)
	if len(l.rows) == 1 {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// host leaves the port out, which tells nobody anything and would make every
// connection a row of its own.
func host(address string) string {
	if h, _, err := net.SplitHostPort(address); err == nil {
		return usage.Clean(h, 64)
	}
	return usage.Clean(address, 64)
}

// Waiting is how many rows are not written yet, and Lost how many never will.
func (l *Log) Waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiting()
}

func (l *Log) waiting() int { return len(l.rows) + len(l.often) + l.writing }

// Lost is how many rows were given up since the relay started.
func (l *Log) Lost() int64 { return l.lost.Load() }

// Run writes rows until ctx ends, and then what is left. No failure of the
// store ends it.
func (l *Log) Run(ctx context.Context) error {
	var flush <-chan time.Time
	often := time.NewTicker(together)
	defer often.Stop()
	trim := time.NewTicker(trimEvery)
	defer trim.Stop()
	failing := false
	write := func(ctx context.Context, withOften bool) {
		err := l.write(ctx, withOften)
		if failed := err != nil; failed != failing {
			failing = failed
			if failed {
				l.opts.Log.Error("audit log cannot be written; rows wait in memory", "err", err)
			} else {
				l.opts.Log.Info("audit log is written again")
			}
		}
		if err != nil {
			flush = time.After(soon)
		}
	}
	l.trim(ctx)
	for {
		select {
		case <-ctx.Done():
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeIn)
			defer cancel()
			write(end, true)
			if n := l.Waiting(); n > 0 {
				l.opts.Log.Error("audit rows are lost: the store failed until the end", "rows", n)
			}
			return nil
		case <-l.wake:
			if flush == nil {
				flush = time.After(soon)
			}
		case <-flush:
			flush = nil
			write(ctx, false)
		case <-often.C:
			write(ctx, true)
		case <-trim.C:
			l.trim(ctx)
		}
	}
}

// write sends what waits to the store. What it cannot send waits on.
func (l *Log) write(ctx context.Context, withOften bool) error {
	l.mu.Lock()
	rows := l.rows
	l.rows = nil
	if withOften {
		for _, row := range l.often {
			rows = append(rows, *row)
		}
		clear(l.often)
	}
	l.writing = len(rows)
	untold := l.untold
	l.untold = 0
	l.mu.Unlock()
	if untold > 0 {
		now := l.opts.Now()
		rows = append(rows, store.AuditRow{At: now, Until: now, Times: 1, Who: Relay, Method: "audit", Result: "lost",
			Detail: strconv.FormatInt(untold, 10) + " rows were given up while the store failed"})
		l.opts.Log.Error("audit rows were given up", "rows", untold)
	}
	for len(rows) > 0 {
		n := min(len(rows), batch)
		one, cancel := context.WithTimeout(ctx, writeIn)
		err := l.opts.Store.AppendAudit(one, rows[:n])
		cancel()
		if err != nil {
			l.mu.Lock()
			l.rows, l.writing = append(rows, l.rows...), 0
			l.mu.Unlock()
			return fmt.Errorf("append to the audit log: %w", err)
		}
		rows = rows[n:]
		l.mu.Lock()
		l.writing = len(rows)
		l.mu.Unlock()
	}
	return nil
}

// trim forgets what is too old or too much.
func (l *Log) trim(ctx context.Context) {
	n, err := l.opts.Store.TrimAudit(ctx, l.opts.Now().Add(-l.opts.Keep), l.opts.Most)
	switch {
	case err != nil && ctx.Err() == nil:
		l.opts.Log.Error("audit log cannot be trimmed", "err", err)
	case n > 0:
		l.opts.Log.Info("audit log trimmed", "rows", n)
	}
}
