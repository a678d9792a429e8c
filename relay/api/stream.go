package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/hub"
	"github.com/netpilot/netpilot/relay/store"
)

const (
	// beatEvery is how often a stream without events says that it is there:
	// below the 30 s after which common proxies give up.
	beatEvery = 15 * time.Second
	// renewEvery is how often a router is asked to go on with its live rates,
	// which end 60 s after it was asked last.
	renewEvery = 25 * time.Second
	// maxStreams bounds the streams that are open at once.
	maxStreams = 1000
)

type streamIn struct {
	RouterID string `query:"routerId" doc:"Only this router; all that the key sees if absent."`
	Live     bool   `query:"live" doc:"Also have that router send usage.live every 2 s, as long as somebody listens. Needs routerId."`
	LastID   string `header:"Last-Event-ID" doc:"Events are not replayed: the first event says so."`
}

// eventItem is the data of the events online, offline and usage.
type eventItem struct {
	Router usage.RouterID  `json:"routerId"`
	At     time.Time       `json:"at"`
	Data   json.RawMessage `json:"data,omitempty"`
}

func (a *API) mountStream() {
	rt := route{method: http.MethodGet, path: "/api/stream", needs: store.ScopeRead, lasting: true, tag: "fleet", id: "stream",
		summary: "Events as they happen",
		about: "Server-sent events: hello first, then online, offline, usage (a push of a router's history was kept) and usage.live. " +
			"lost says how many events this reader was too slow for. Events are not replayed after a reconnect: ask for the state, then follow the stream.",
		also: map[string]string{"text/event-stream": "see the description"}}
	mount[streamIn, struct{}](a, rt, a.stream)
}

// streams are the open ones, and which routers send live rates for them.
type streams struct {
	ending chan struct{} // closed when the relay stops

	mu    sync.Mutex // guards below
	ended bool
	open  int
	live  map[usage.RouterID]*liveRouter
}

// liveRouter has one goroutine that renews while listeners are there.
type liveRouter struct {
	listeners int
	stop      context.CancelFunc
	done      chan struct{}
}

func newStreams() *streams {
	return &streams{ending: make(chan struct{}), live: make(map[usage.RouterID]*liveRouter)}
}

// Drain ends all streams, so that the server can stop. Calling it twice is
// harmless.
func (a *API) Drain() {
	s := a.streams
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.ended = true
		close(s.ending)
	}
}

// stream answers GET /api/stream.
func (a *API) stream(x *exchange, in *streamIn) (json.RawMessage, error) {
	var only usage.RouterID
	if in.RouterID != "" {
		var err error
		if only, err = usage.ParseRouterID(in.RouterID); err != nil {
			return nil, err
		}
		x.router = only
		if err := maySee(&x.key, only); err != nil {
			return nil, err
		}
		if _, err := a.routerOf(x); err != nil {
			return nil, err
		}
	} else if in.Live {
		return nil, badRequest("live needs routerId: each router sends its own")
	}
	x.stream = func(w http.ResponseWriter) error { return a.follow(w, x, only, in) }
	return nil, nil
}

// follow writes events until the reader goes or the relay stops.
func (a *API) follow(w http.ResponseWriter, x *exchange, only usage.RouterID, in *streamIn) error {
	x.reply.Set("Content-Type", "text/event-stream")
	x.reply.Set("X-Accel-Buffering", "no") // nginx would hold events back
	if x.Method == http.MethodHead {
		return nil
	}
	s := a.streams
	s.mu.Lock()
	full := s.open >= maxStreams
	if !full {
		s.open++
	}
	s.mu.Unlock()
	if full {
		return usage.Errorf(usage.Busy, "%d streams are open; close some", maxStreams)
	}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.open--
	}()
	events, cancel := a.hub.Subscribe(func(e *hub.Event) bool {
		return (only == "" || e.Router == only) && (e.Kind != hub.EventLive || in.Live)
	})
	defer cancel()
	if in.Live {
		if err := a.liveOn(x, only); err != nil {
			return err
		}
		defer a.liveOff(only)
	}
	out := &eventWriter{w: w}
	hello := map[string]any{"replayed": false, "message": "events are not replayed: ask for the state now, then follow"}
	if in.LastID != "" {
		hello["missedSince"] = usage.Clean(in.LastID, 32)
	}
	if err := out.event("hello", hello); err != nil {
		return nil // the reader has gone
	}
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	for {
		var err error
		select {
		case e, ok := <-events:
			if !ok {
				return nil
			}
			if !x.key.Sees(e.Router) {
				continue
			}
			err = out.hubEvent(&e)
		case <-beat.C:
			// The key may have been revoked since.
			if key, bad := a.keys.open(x.Context(), secretOf(x.Request), a.Now()); bad != nil || mayDo(&key, x.route.needs) != nil {
				_ = out.event("bye", map[string]string{"reason": "the API key is not in force any more"})
				return nil
			}
			err = out.beat()
		case <-s.ending:
			_ = out.event("bye", map[string]string{"reason": "the relay stops; connect again"})
			return nil
		case <-x.Context().Done():
			return nil
		}
		if err != nil {
			return nil // the reader has gone or takes nothing
		}
	}
}

// eventWriter writes server-sent events.
type eventWriter struct {
	w  http.ResponseWriter
	id int64
}

func (o *eventWriter) hubEvent(e *hub.Event) error {
	if e.Lost > 0 {
		if err := o.event("lost", map[string]int{"events": e.Lost}); err != nil {
			return err
		}
	}
	name := string(e.Kind)
	if e.Kind == hub.EventLive {
		name = "usage.live"
	}
	return o.event(name, eventItem{Router: e.Router, At: e.At.UTC(), Data: e.Data})
}

func (o *eventWriter) event(name string, data any) error {
	text, err := json.Marshal(data) // has no line breaks
	if err != nil {
		return err
	}
	o.id++
	b := append([]byte("id: "), strconv.FormatInt(o.id, 10)...)
	b = append(append(b, "\nevent: "...), name...)
	b = append(append(append(b, "\ndata: "...), text...), "\n\n"...)
	return o.write(b)
}

func (o *eventWriter) beat() error { return o.write([]byte(": still here\n\n")) }

func (o *eventWriter) write(b []byte) error {
	extend(o.w) // each event has its own time to be taken
	if _, err := o.w.Write(b); err != nil {
		return err
	}
	return http.NewResponseController(o.w).Flush()
}

// liveOn has the router send its live rates, if it does not for somebody else
// already.
func (a *API) liveOn(x *exchange, id usage.RouterID) error {
	s := a.streams
	s.mu.Lock()
	if l := s.live[id]; l != nil {
		l.listeners++
		s.mu.Unlock()
		return nil
	}
	s.mu.Unlock()
	// Asked outside of the lock; two who ask at once do no harm.
	if _, err := a.send(x, "usage.live", json.RawMessage(`{"action":"start"}`), false); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.live[id]
	if l == nil {
		ctx, stop := context.WithCancel(context.Background())
		l = &liveRouter{stop: stop, done: make(chan struct{})}
		s.live[id] = l
		go func() { // ends by stop, which liveOff calls and then waits
			defer close(l.done)
			a.renew(ctx, id)
		}()
	}
	l.listeners++
	return nil
}

// renew keeps live rates going. A router that went away is asked again when
// it is back.
func (a *API) renew(ctx context.Context, id usage.RouterID) {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	back, cancel := a.hub.Subscribe(func(e *hub.Event) bool { return e.Kind == hub.EventOnline && e.Router == id })
	defer cancel()
	for {
		action := `{"action":"start"}`
		select {
		case <-tick.C:
		case <-back:
		case <-ctx.Done():
			action = `{"action":"stop"}`
		}
		call, end := context.WithTimeout(context.WithoutCancel(ctx), checkWithin)
		if _, err := a.hub.Call(call, id, "usage.live", json.RawMessage(action)); err != nil {
			a.log.Debug("usage.live", "router", id, "action", action, "err", err)
		}
		end()
		if ctx.Err() != nil {
			return
		}
	}
}

// liveOff takes one listener away; the last one ends the router's rates.
func (a *API) liveOff(id usage.RouterID) {
	s := a.streams
	s.mu.Lock()
	l := s.live[id]
	l.listeners--
	last := l.listeners == 0
	if last {
		delete(s.live, id)
	}
	s.mu.Unlock()
	if last {
		l.stop()
		<-l.done
	}
}
