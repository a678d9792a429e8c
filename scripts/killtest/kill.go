package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/netpilot/netpilot/agent/replica"
	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
	"github.com/netpilot/netpilot/relay/store"
	"github.com/netpilot/netpilot/relay/store/sqlite"
	"github.com/netpilot/netpilot/scripts/fleet/play"
)

// killtest is one run.
type killtest struct {
	bin, dir string
	out      io.Writer
	kills    int
	within   time.Duration
	network  play.Network // its Since is now: what lies ahead is never summed up
	random   *rand.Rand

	checked  []uint64 // buckets found kept and right, by router
	cursors  []cursor
	underWay int // kills with a push on its way
	unasked  int // pushes kept though their answer was lost
}

// cursor is how far a router's history was pushed. It counts buckets.
type cursor struct {
	asked, acknowledged atomic.Uint64
}

func (t *killtest) run(ctx context.Context) error {
	t.network.Seed, t.network.Since = "killtest", time.Now().Truncate(usage.FiveMinutes)
	t.checked, t.cursors = make([]uint64, t.network.Routers), make([]cursor, t.network.Routers)
	db, err := t.open(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(t.network.Enrol(ctx, db, nil), db.Close()); err != nil {
		return err
	}
	began := time.Now()
	for n := range t.kills {
		if err := t.round(ctx); err != nil {
			return fmt.Errorf("kill %d: %w", n+1, err)
		}
	}
	// Once more from the beginning: what was right must still be.
	clear(t.checked)
	if err := t.check(ctx); err != nil {
		return fmt.Errorf("in the end: %w", err)
	}
	var kept uint64
	for _, n := range t.checked {
		kept += n
	}
	fmt.Fprintf(t.out, "%d kills in %.0f s, %d of them with pushes on their way: every one of %d acknowledged buckets is there once, %d pushes were kept whose answer was lost.\n",
		t.kills, time.Since(began).Seconds(), t.underWay, kept, t.unasked)
	return nil
}

func (t *killtest) open(ctx context.Context) (*sqlite.DB, error) {
	return sqlite.Open(ctx, filepath.Join(t.dir, "relay.db"))
}

// soon bounds what waits for something that is about to happen, on a machine
// that has other things to do.
const soon = 3 * time.Minute

// round starts the relay, checks what it has, puts load on it and kills it.
func (t *killtest) round(ctx context.Context) error {
	ready, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	relay, err := play.StartRelay(ready, t.bin, t.dir)
	if err != nil {
		return fmt.Errorf("the relay did not start: %w", err)
	}
	defer relay.Stop()
	if err := t.check(ctx); err != nil {
		return err
	}
	fleet, err := play.NewFleet(&t.network, relay.URL, "")
	if err != nil {
		return err
	}
	first := make(chan struct{}, 1)
	fleet.Follow = func(ctx context.Context, i int, w wire.Welcome, ask replica.Ask) { t.push(ctx, i, w, ask, first) }
	pushing, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { fleet.Run(pushing) })
	defer func() { stop(); running.Wait() }()
	select {
	case <-first:
	case <-ready.Done():
		return fmt.Errorf("no push was acknowledged within %s", soon)
	}
	select {
	case <-time.After(time.Duration(t.random.Int64N(int64(t.within)))):
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := relay.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	for i := range t.cursors {
		if c := &t.cursors[i]; c.asked.Load() > c.acknowledged.Load() {
			t.underWay++
			break
		}
	}
	return nil
}

// push pushes buckets as fast as they are acknowledged, sometimes with those
// before again, until the link ends.
func (t *killtest) push(ctx context.Context, i int, w wire.Welcome, ask replica.Ask, first chan<- struct{}) {
	var frame wire.PushWriter
	var b usage.Bucket
	for at := *w.Cursor; ; {
		frame.Reset()
		for again := at - min(at, rand.Uint64N(3)); again < at; again++ {
			t.network.Bucket(&b, i, again, usage.FiveMinutes)
			frame.Bucket(&b)
		}
		next := at + 1 + rand.Uint64N(6)
		for n := at; n < next; n++ {
			t.network.Bucket(&b, i, n, usage.FiveMinutes)
			frame.Bucket(&b)
		}
		t.network.Bucket(&b, i, next, half)
		frame.Open(&b)
		t.cursors[i].asked.Store(next)
		result, err := ask(ctx, wire.PushMethod, frame.Append(nil, at, next, t.network.Start(next).Add(half), nil))
		if err != nil {
			return // the link ended; nothing else is an answer here
		}
		var reply wire.PushReply
		if json.Unmarshal(result, &reply) != nil || reply.Cursor != next {
			return // check sees it
		}
		at = next
		t.cursors[i].acknowledged.Store(at)
		select {
		case first <- struct{}{}:
		default:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(rand.Int64N(int64(20 * time.Millisecond)))):
		}
	}
}

// half is how much of the open bucket has passed.
const half = 150 * time.Second

// check compares what the relay has with what it acknowledged, from what was
// checked before on.
func (t *killtest) check(ctx context.Context) (err error) {
	db, err := t.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for i := range t.cursors {
		if err := t.checkRouter(ctx, db, i); err != nil {
			return fmt.Errorf("router %d: %w", i, err)
		}
	}
	return nil
}

func (t *killtest) checkRouter(ctx context.Context, db *sqlite.DB, i int) error {
	held, err := db.Replica(ctx, t.network.ID(i))
	if err != nil {
		return err
	}
	asked, acknowledged := t.cursors[i].asked.Load(), t.cursors[i].acknowledged.Load()
	switch {
	case held.Cursor < acknowledged:
		return fmt.Errorf("lost: %d buckets were acknowledged, %d are kept", acknowledged, held.Cursor)
	case held.Cursor > asked:
		return fmt.Errorf("%d buckets are kept, %d were pushed", held.Cursor, asked)
	case held.Cursor > acknowledged:
		t.unasked++
		t.cursors[i].acknowledged.Store(held.Cursor) // by the next hello
	}
	if held.Cursor == 0 {
		return nil
	}
	// The open bucket came with the newest push, in one transaction.
	n := t.checked[i]
	row := 0
	var want usage.Bucket
	query := store.HistoryQuery{Range: usage.Range{From: t.network.Start(n), To: t.network.Start(asked + 100)}, By: store.Device}
	_, err = db.History(ctx, t.network.ID(i), query, func(s usage.Slot) error {
		if n > held.Cursor {
			return fmt.Errorf("at %s is more than was pushed", s.Start)
		}
		if row == 0 {
			passed := usage.FiveMinutes
			if n == held.Cursor {
				passed = half
			}
			t.network.Bucket(&want, i, n, passed)
		}
		d := want.Devices[row]
		if !s.Start.Equal(want.Start) || s.Length != usage.FiveMinutes || s.MAC != d.MAC || s.Counters != d.Counters {
			return fmt.Errorf("bucket %d: kept is %+v, pushed was %s %+v", n, s, want.Start, d)
		}
		if row++; row == len(want.Devices) {
			row, n = 0, n+1
		}
		return nil
	})
	if err == nil && (row != 0 || n != held.Cursor+1) {
		err = fmt.Errorf("%d buckets and %d rows are kept, %d and an open one were acknowledged", n, row, held.Cursor)
	}
	t.checked[i] = held.Cursor
	return err
}
