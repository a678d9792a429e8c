package hub

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
)

// Local is the hub of a relay that holds all links itself.
type Local struct {
	events events

	mu    sync.RWMutex // guards links, and the order of online and offline
	links map[usage.RouterID]*Link
}

// NewLocal makes a hub without links.
func NewLocal() *Local {
	return &Local{links: make(map[usage.RouterID]*Link)}
}

// Attach makes conn the link of the router. An older link of it loses its
// place, its open calls fail, and it is closed with wire.CloseReplaced.
func (h *Local) Attach(id usage.RouterID, hello wire.Hello, conn Conn, now time.Time) *Link {
	l := &Link{id: id, conn: conn, hello: hello, since: now, pending: make(map[wire.CallID]chan<- wire.Message)}
	l.Saw(now)
	h.mu.Lock()
	old := h.links[id]
	h.links[id] = l
	if old == nil {
		h.Publish(Event{Kind: EventOnline, Router: id, At: now})
	}
	h.mu.Unlock()
	if old != nil {
		old.end()
		old.conn.Close(wire.CloseReplaced, "a newer link of this router took over")
	}
	return l
}

// Detach takes the link out of the hub and fails its open calls; doing it
// twice is harmless.
func (h *Local) Detach(l *Link) {
	h.mu.Lock()
	if h.links[l.id] == l {
		delete(h.links, l.id)
		h.Publish(Event{Kind: EventOffline, Router: l.id, At: time.Now()})
	}
	h.mu.Unlock()
	l.end()
}

func (h *Local) link(id usage.RouterID) *Link {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.links[id]
}

// Call asks the router and returns its result as the router wrote it. It
// waits no longer than ctx and CallWithin allow; giving up tells the router to
// stop. The error is a *usage.Error, or ctx.Err() if ctx was cancelled.
func (h *Local) Call(ctx context.Context, router usage.RouterID, method string, params json.RawMessage) (json.RawMessage, error) {
	l := h.link(router)
	if l == nil {
		return nil, errOffline(router)
	}
	return l.call(ctx, method, params)
}

// Online tells whether the router has a link, and about it.
func (h *Local) Online(router usage.RouterID) (Presence, bool) {
	l := h.link(router)
	if l == nil {
		return Presence{}, false
	}
	return Presence{Since: l.since, LastFrame: l.LastFrame(), Hello: l.hello}, true
}

// Len is how many links are up.
func (h *Local) Len() int {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return len(h.links)
}
