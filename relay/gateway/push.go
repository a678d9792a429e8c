package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
	"github.com/netpilot/netpilot/relay/hub"
	"github.com/netpilot/netpilot/relay/store"
)

const (
	keepWithin = 20 * time.Second // a push waits so long for the store
	maxPushes  = 2000             // that wait for it at once, over all routers
	pushRetry  = 5 * time.Second  // when there are more
	storeRetry = 30 * time.Second // when the store fails
)

// cursorOf is how far the router's history is here, nil if none is kept.
func (g *Gateway) cursorOf(router usage.RouterID) (*uint64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), lookupWithin)
	defer cancel()
	replica, err := g.store.Replica(ctx, router)
	switch {
	case errors.Is(err, store.ErrNoHistory):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return &replica.Cursor, nil
}

// push takes a call history.push. It is read and kept by a goroutine of its
// own, since the link's reader has answers to pass on meanwhile; the link waits
// for it at its end.
func (g *Gateway) push(c *conn, m wire.Message) {
	refuse := func(err *usage.Error) {
		_ = c.Send(wire.AppendError(nil, m.ID, err)) // if the queue is full the link is closed now
	}
	if !c.pushing.CompareAndSwap(false, true) {
		refuse(errBusy(pushRetry, "one push at a time"))
		return
	}
	if g.pushes.Add(1) > maxPushes {
		g.pushes.Add(-1)
		c.pushing.Store(false)
		refuse(errBusy(pushRetry, "the relay is busy keeping what others push"))
		return
	}
	id, at := m.ID, time.Now()
	params := bytes.Clone(m.Params) // the frame's memory serves the next one
	c.work.Go(func() {              // ends with the store's answer or keepWithin
		defer g.pushes.Add(-1)
		push, cursor, err := g.keep(c.router, at, params)
		c.pushing.Store(false)
		if err != nil {
			refuse(g.pushFailed(c, err))
			return
		}
		if g.storeFails.CompareAndSwap(true, false) {
			g.log.Info("history is kept again")
		}
		result, _ := json.Marshal(wire.PushReply{Cursor: cursor}) // a number always marshals
		_ = c.Write(wire.AppendResult(nil, id, result))           // if the router takes none the link ends, and it pushes again
		if cursor == push.Cursor && g.hub.Listened() {
			g.hub.Publish(hub.Event{Kind: hub.EventUsage, Router: c.router, At: push.At, Data: usageEvent(push)})
		}
	})
}

// keep reads a push and gives it to the store. Only half of the processors
// read pushes at once: a thousand routers that come back with theirs must not
// stand before every call in the line.
func (g *Gateway) keep(router usage.RouterID, at time.Time, params json.RawMessage) (*store.Push, uint64, error) {
	g.reading <- struct{}{}
	p, err := wire.DecodePush(params)
	<-g.reading
	if err != nil {
		return nil, 0, err
	}
	push := &store.Push{
		Router: router, At: at, After: p.After, Cursor: p.Cursor, Buckets: p.Buckets, Gaps: p.Gaps,
		Open: p.Open, AsOf: p.AsOf, Counting: p.Counting,
	}
	ctx, cancel := context.WithTimeout(context.Background(), keepWithin)
	defer cancel()
	cursor, err := g.store.Push(ctx, push)
	return push, cursor, err
}

// Pushing is how many pushes wait to be kept, over all routers.
func (g *Gateway) Pushing() int { return int(g.pushes.Load()) }

// pushFailed is what the router is told.
func (g *Gateway) pushFailed(c *conn, err error) *usage.Error {
	var e *usage.Error
	if errors.As(err, &e) {
		return e
	}
	if g.storeFails.CompareAndSwap(false, true) {
		c.log().Error("history cannot be kept; routers try again", "err", err)
	}
	return errBusy(storeRetry, "the relay cannot keep history now")
}

// maxEventBuckets is how many buckets an event tells of, the newest: a router
// that catches up is no news.
const maxEventBuckets = 4

// usageEvent is the data of hub.EventUsage.
func usageEvent(p *store.Push) json.RawMessage {
	type device struct {
		MAC   string `json:"mac"`
		Rx    uint64 `json:"bytes_rx"`
		Tx    uint64 `json:"bytes_tx"`
		Total uint64 `json:"total_bytes"`
	}
	type bucket struct {
		Start   time.Time `json:"start"`
		Seconds int       `json:"seconds"`
		Open    bool      `json:"open"` // may still change
		Devices []device  `json:"devices"`
	}
	var data struct {
		Cursor  uint64     `json:"cursor"`
		AsOf    *time.Time `json:"as_of"`
		Closed  int        `json:"closed_buckets"`
		Buckets []bucket   `json:"buckets"`
	}
	data.Cursor, data.Closed, data.Buckets = p.Cursor, len(p.Buckets), []bucket{}
	if p.Open != nil {
		asOf := p.AsOf.UTC()
		data.AsOf = &asOf
	}
	add := func(list []usage.Bucket, open bool) {
		for i := range list[max(0, len(list)-maxEventBuckets):] {
			b := &list[max(0, len(list)-maxEventBuckets)+i]
			out := bucket{Start: b.Start.UTC(), Seconds: int(b.Length / time.Second), Open: open, Devices: []device{}}
			for _, d := range b.Devices {
				out.Devices = append(out.Devices, device{d.MAC.String(), d.RxBytes, d.TxBytes, d.Total()})
			}
			data.Buckets = append(data.Buckets, out)
		}
	}
	add(p.Buckets, false)
	add(p.Open, true)
	text, _ := json.Marshal(data) // always marshals
	return text
}
