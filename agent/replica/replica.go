// Package replica carries the router's history to the relay, as PROTOCOL.md
// section 8 has it: the relay says how far it has it, and what is newer is
// pushed, in small frames and with pauses, so that calls stay fast. Nothing is
// queued: what could not be pushed is still in the history.
package replica

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/netpilot/netpilot/agent/history"
	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
)

// Sizes and times (PROTOCOL.md section 8).
const (
	frameSize  = 32 << 10         // bytes gathered before a frame is sent
	maxOpen    = 512 << 10        // bytes; more open buckets wait until they close
	every      = 60 * time.Second // between rounds, +-25 %; Replica.Every
	afterClose = 20 * time.Second // at most, from a closed bucket to its round: all routers close theirs at once
	firstPause = 5 * time.Second  // at most, from hello to the first round: all routers come back at once
	retry      = 30 * time.Second // after an error, +-50 %
	maxPause   = 10 * time.Second // between frames
)

// History is what is replicated; see history.Store.
type History interface {
	Since(ctx context.Context, c history.Cursor, visit func(*history.Change) error) error
	Pending(ctx context.Context, c history.Cursor, visit func(*usage.Bucket) error) (time.Time, error)
	Changed() <-chan struct{}
}

// Replica follows one history.
type Replica struct {
	History  History
	Counting func(context.Context) json.RawMessage // whether the router counts rightly; may be nil
	Allowed  func() bool                           // whether anything may be pushed just now; nil: always
	Every    time.Duration                         // between rounds, +-25 %; 60 s if zero
	Rand     func() float64                        // math/rand's if nil
	Log      *slog.Logger                          // may be nil
}

// Ask asks the relay and waits for its answer.
type Ask func(ctx context.Context, method string, params json.RawMessage) (json.RawMessage, error)

// Follow pushes what is after the cursor, and then what comes, until ctx ends,
// which is the end of the link that ask goes over. A relay that keeps no
// history, and tells no cursor, gets nothing.
func (r *Replica) Follow(ctx context.Context, cursor *uint64, ask Ask) {
	if cursor == nil {
		return
	}
	f := &follower{Replica: *r, ask: ask, cursor: *cursor}
	if f.Every == 0 {
		f.Every = every
	}
	if f.Rand == nil {
		f.Rand = rand.Float64
	}
	if f.Log == nil {
		f.Log = slog.New(slog.DiscardHandler)
	}
	wait := time.Duration(f.Rand() * float64(firstPause))
	for f.sleep(ctx, wait) {
		err := f.round(ctx)
		var e *usage.Error
		switch {
		case err == nil:
			wait = f.spread(f.Every, 0.25)
		case ctx.Err() != nil:
			return
		case errors.Is(err, errNotAllowed):
			wait = f.spread(f.Every, 0.25)
			continue
		case errors.As(err, &e) && e.Kind == usage.Invalid:
			f.Log.Warn("the relay takes no history; it has to be updated, or this agent", "err", err)
			return
		case errors.As(err, &e) && e.Kind == usage.Busy:
			wait = max(f.spread(e.RetryAfter, 0.5), time.Second)
		default:
			wait = f.spread(retry, 0.5)
		}
		f.report(err)
	}
}

// follower is one link's work.
type follower struct {
	Replica
	ask     Ask
	cursor  uint64
	push    wire.PushWriter
	frame   []byte
	trouble bool // stands in the log
}

func (f *follower) spread(d time.Duration, part float64) time.Duration {
	return time.Duration(float64(d) * (1 + part*(2*f.Rand()-1)))
}

// report logs changes of fortune, not repetitions.
func (f *follower) report(err error) {
	if (err != nil) == f.trouble {
		return
	}
	f.trouble = err != nil
	if f.trouble {
		f.Log.Warn("history not pushed; it is tried again", "err", err)
	} else {
		f.Log.Info("history is pushed again")
	}
}

// sleep waits, but not long after something changed. False: ctx ended.
func (f *follower) sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	changed := f.History.Changed()
	if f.trouble {
		changed = nil
	}
	end := time.Now().Add(d)
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-changed:
			changed = nil
			if soon := time.Duration(f.Rand() * float64(afterClose)); soon < time.Until(end) {
				timer.Reset(soon)
			}
		}
	}
}

var (
	errFull       = errors.New("frame is full")
	errNotAllowed = errors.New("the router's owner has turned remote access off")
)

// round pushes until the relay has everything up to now.
func (f *follower) round(ctx context.Context) error {
	for {
		if f.Allowed != nil && !f.Allowed() {
			return errNotAllowed
		}
		f.push.Reset()
		newest, n := f.cursor, 0
		err := f.History.Since(ctx, history.Cursor(f.cursor), func(c *history.Change) error {
			if c.IsGap {
				f.push.Gap(&c.Gap)
			} else {
				f.push.Bucket(&c.Bucket)
			}
			newest = uint64(c.Cursor)
			n++
			if f.push.Len() >= frameSize {
				return errFull
			}
			return nil
		})
		var asOf time.Time
		var counting json.RawMessage
		if err == nil {
			asOf, err = f.open(ctx, newest)
			if f.Counting != nil {
				counting = f.Counting(ctx)
			}
		}
		if err != nil && !errors.Is(err, errFull) {
			return err
		}
		if n == 0 && asOf.IsZero() {
			return nil // nothing at all, as before the clock is set
		}
		f.frame = f.push.Append(f.frame[:0], f.cursor, newest, asOf, counting)
		began := time.Now()
		result, err := f.ask(ctx, wire.PushMethod, f.frame)
		if err != nil {
			return err
		}
		var reply wire.PushReply
		if err := json.Unmarshal(result, &reply); err != nil {
			return usage.Errorf(usage.Invalid, "the relay's answer to %s: %w", wire.PushMethod, err)
		}
		done := reply.Cursor == newest && !asOf.IsZero()
		f.cursor = reply.Cursor
		if done {
			return nil
		}
		if !pause(ctx, min(time.Since(began), maxPause)) {
			return ctx.Err()
		}
	}
}

// open adds what may still change. The zero time says that the push does not
// tell: there is more that is closed, or too much that is open.
func (f *follower) open(ctx context.Context, newest uint64) (time.Time, error) {
	asOf, err := f.History.Pending(ctx, history.Cursor(newest), func(b *usage.Bucket) error {
		if f.push.Len() > maxOpen {
			return errFull
		}
		f.push.Open(b)
		return nil
	})
	if errors.Is(err, errFull) {
		return time.Time{}, nil
	}
	return asOf, err
}

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
