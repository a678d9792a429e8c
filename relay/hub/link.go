package hub

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
)

// Link is one link in the hub, from hello to close.
type Link struct {
	id    usage.RouterID
	conn  Conn
	hello wire.Hello
	since time.Time
	last  atomic.Int64 // Unix nanoseconds of the last frame

	mu      sync.Mutex // guards below
	next    wire.CallID
	pending map[wire.CallID]chan<- wire.Message // each of capacity 1; whoever removes one sends to it
	ended   bool                                // nothing enters pending any more
}

// Saw notes that something arrived from the router.
func (l *Link) Saw(now time.Time) { l.last.Store(now.UnixNano()) }

// Since is when the link was attached.
func (l *Link) Since() time.Time { return l.since }

// LastFrame is when something last arrived.
func (l *Link) LastFrame() time.Time { return time.Unix(0, l.last.Load()) }

// Reply gives a reply to the caller that waits for it. A reply nobody waits
// for is dropped: its call was given up.
func (l *Link) Reply(m wire.Message) {
	if answer := l.take(m.ID); answer != nil {
		answer <- m
	}
}

// take removes a call from pending, if it is still there.
func (l *Link) take(id wire.CallID) chan<- wire.Message {
	l.mu.Lock()
	defer l.mu.Unlock()
	answer := l.pending[id]
	delete(l.pending, id)
	return answer
}

// end fails all open calls and refuses new ones.
func (l *Link) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	for id, answer := range l.pending {
		delete(l.pending, id)
		answer <- wire.Message{ID: id, Error: errLost()}
	}
}

func errLost() *usage.Error {
	return usage.Errorf(usage.Offline, "link to the router was lost while it was answering; try again")
}

func errOffline(id usage.RouterID) *usage.Error {
	return usage.Errorf(usage.Offline, "router %s is not connected; check its power and its internet access, then try again", id.Short())
}

// call sends one call and waits for its end.
func (l *Link) call(ctx context.Context, method string, params json.RawMessage) (json.RawMessage, error) {
	answer := make(chan wire.Message, 1)
	id, err := l.open(answer)
	if err != nil {
		return nil, err
	}
	within := CallWithin
	if deadline, ok := ctx.Deadline(); ok {
		within = min(within, time.Until(deadline))
	}
	frame := wire.AppendCall(make([]byte, 0, 128+len(params)), id, method, params, within)
	if err := l.conn.Write(frame); err != nil && l.take(id) != nil {
		lost := errLost()
		lost.Err = err
		return nil, lost
	}
	timeout := time.NewTimer(within)
	defer timeout.Stop()
	select {
	case m := <-answer:
		return result(m)
	case <-timeout.C:
	case <-ctx.Done():
	}
	if l.take(id) == nil { // the answer came at the same moment
		return result(<-answer)
	}
	cancel, _ := json.Marshal(wire.Cancel{ID: id})            // a number always marshals
	_ = l.conn.Send(wire.AppendNotify(nil, "cancel", cancel)) // a courtesy: the call is over either way
	if errors.Is(ctx.Err(), context.Canceled) {
		return nil, ctx.Err()
	}
	return nil, usage.Errorf(usage.Timeout, "the router did not answer in time; it may be overloaded or its line slow, try again")
}

// open gives a call its id and its place in pending.
func (l *Link) open(answer chan<- wire.Message) (wire.CallID, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return 0, errOffline(l.id)
	}
	if len(l.pending) >= MaxPending {
		busy := usage.Errorf(usage.Busy, "%d calls to this router are open already; try again", MaxPending)
		busy.RetryAfter = busyRetry
		return 0, busy
	}
	l.next++
	l.pending[l.next] = answer
	return l.next, nil
}

func result(m wire.Message) (json.RawMessage, error) {
	if m.Error != nil {
		return nil, m.Error
	}
	return m.Result, nil
}
