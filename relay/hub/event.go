package hub

import (
	"encoding/json"
	"sync"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

// EventKind is what an event is about.
type EventKind string

// The kinds of events.
const (
	EventOnline  EventKind = "online"  // the router has a link; not told again when a newer one takes over
	EventOffline EventKind = "offline" // it has none any more
	EventUsage   EventKind = "usage"   // a push of its history was kept; Data says what
	EventLive    EventKind = "live"    // notification usage.live; Data is its params as the router wrote them
)

// Event is something that happened to a router.
type Event struct {
	Kind   EventKind
	Router usage.RouterID
	At     time.Time       // by the relay's clock
	Data   json.RawMessage // shared by all who get it: not to be changed
	// Lost is how many events this subscriber lost before this one because it
	// did not read in time.
	Lost int
}

// eventQueue is how many events wait for a subscriber: some seconds of a
// large fleet's.
const eventQueue = 256

// events hands events to whoever subscribed.
type events struct {
	mu   sync.RWMutex // guards subs
	subs map[*subscriber]struct{}
}

type subscriber struct {
	filter func(*Event) bool
	out    chan Event

	mu    sync.Mutex // guards sending on out and its end
	ended bool
}

// Subscribe gives the events from now on that filter likes; nil likes all.
// filter is called by whoever makes the event and must not block. A subscriber
// who does not read loses the oldest events that wait for it and is told how
// many. cancel ends it and closes the channel; calling it twice is harmless.
func (h *Local) Subscribe(filter func(*Event) bool) (<-chan Event, func()) {
	s := &subscriber{filter: filter, out: make(chan Event, eventQueue)}
	h.events.mu.Lock()
	defer h.events.mu.Unlock()
	if h.events.subs == nil {
		h.events.subs = make(map[*subscriber]struct{})
	}
	h.events.subs[s] = struct{}{}
	return s.out, func() {
		h.events.mu.Lock()
		delete(h.events.subs, s)
		h.events.mu.Unlock()
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.ended {
			s.ended = true
			close(s.out)
		}
	}
}

// Publish tells subscribers of an event. It returns at once.
func (h *Local) Publish(e Event) {
	h.events.mu.RLock()
	defer h.events.mu.RUnlock()
	for s := range h.events.subs {
		if s.filter == nil || s.filter(&e) {
			s.put(e)
		}
	}
}

// Listened tells whether anybody subscribed, for whoever would have to make
// an event's data.
func (h *Local) Listened() bool {
	h.events.mu.RLock()
	defer h.events.mu.RUnlock()
	return len(h.events.subs) > 0
}

// put queues e, in the place of the oldest if there is no other.
func (s *subscriber) put(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.ended {
		select {
		case s.out <- e:
			return
		default:
		}
		select {
		case old := <-s.out:
			e.Lost += old.Lost + 1
		default: // it was read meanwhile
		}
	}
}
