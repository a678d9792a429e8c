// Package gateway is the relay's door for routers: it enrols them, accepts
// their WebSocket links and attaches these to the hub. PROTOCOL.md of package
// wire is the contract.
package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
	"github.com/netpilot/netpilot/relay/audit"
	"github.com/netpilot/netpilot/relay/hub"
	"github.com/netpilot/netpilot/relay/limit"
	"github.com/netpilot/netpilot/relay/store"
)

// maxConns bounds the WebSockets of one router, those before hello included: a
// new link may overlap an old one, but a stolen secret cannot fill the relay.
const maxConns = 4

// Store is what the gateway keeps and looks up; see store.Store.
type Store interface {
	Redeem(ctx context.Context, token store.Hash, r store.Router, secret store.Hash, now time.Time) error
	RouterBySecret(ctx context.Context, secret store.Hash, now time.Time) (store.Router, store.Standing, error)
	Router(ctx context.Context, id usage.RouterID) (store.Router, error)
	OfferSecret(ctx context.Context, router usage.RouterID, next store.Hash) error
	ProveSecret(ctx context.Context, router usage.RouterID, next store.Hash, now time.Time) error
	Changes(ctx context.Context, since int64) ([]store.Change, error)
	Saw(ctx context.Context, sightings []store.Sighting) error
	AllOffline(ctx context.Context) error
	Push(ctx context.Context, p *store.Push) (cursor uint64, err error)
	Replica(ctx context.Context, router usage.RouterID) (store.Replica, error)
}

// Hub is where links are attached; see hub.Local.
type Hub interface {
	Attach(id usage.RouterID, hello wire.Hello, conn hub.Conn, now time.Time) *hub.Link
	Detach(l *hub.Link)
	Online(id usage.RouterID) (hub.Presence, bool)
	Call(ctx context.Context, router usage.RouterID, method string, params json.RawMessage) (json.RawMessage, error)
	Publish(e hub.Event)
	Listened() bool
}

// Gateway serves routers. Make one with New, run its Run for as long as it
// serves, and end its links with Drain. Set its fields before it serves.
type Gateway struct {
	// Audit, if set, is told of enrolments, links and secrets. It must return
	// at once.
	Audit func(audit.Entry)
	// RequireCert has routers show a certificate besides their secret.
	RequireCert bool

	store    Store
	hub      Hub
	log      *slog.Logger
	upgrader websocket.Upgrader
	buffers  buffers
	pace     pace
	failures *limit.Table[netip.Prefix]
	poke     chan struct{} // wakes Run; of capacity 1
	links    sync.WaitGroup

	rotations sync.WaitGroup

	pushes     atomic.Int64  // that wait to be kept
	reading    chan struct{} // a place for each push that is read at once
	storeFails atomic.Bool   // stands in the log

	mu       sync.Mutex // guards below
	draining bool
	rotating int
	rotate   map[usage.RouterID]time.Time // whose secret is to change, not before when
	conns    map[usage.RouterID][]*conn
	methods  []string                     // that the router offered which connected last
	noted    map[usage.RouterID]time.Time // routers whose presence changed since it was written down, with the last frame
}

// New makes a gateway.
func New(s Store, h Hub, log *slog.Logger) *Gateway {
	return &Gateway{
		store: s,
		hub:   h,
		log:   log,
		upgrader: websocket.Upgrader{
			HandshakeTimeout: wire.WriteWithin,
			ReadBufferSize:   512, // each link has one; what is larger goes by it
			WriteBufferSize:  4 << 10,
			WriteBufferPool:  new(sync.Pool), // most links are idle: they share
			Subprotocols:     []string{wire.Subprotocol},
			CheckOrigin:      func(*http.Request) bool { return true }, // refused in ServeConnect, with our own answer
			Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
				refuse(w, status, usage.Errorf(usage.Invalid, "%s", reason.Error()))
			},
		},
		failures: limit.New[netip.Prefix](maxFailures/failureWindow.Seconds(), maxFailures, maxAddresses),
		poke:     make(chan struct{}, 1),
		reading:  make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
		rotate:   make(map[usage.RouterID]time.Time),
		conns:    make(map[usage.RouterID][]*conn),
		noted:    make(map[usage.RouterID]time.Time),
	}
}

// Pace lets at most so many routers a second connect, in the long run; 0 is no
// limit, as there is at first. Others are told when to come.
func (g *Gateway) Pace(perSecond float64) { g.pace.set(perSecond) }

// record tells Audit.
func (g *Gateway) record(e audit.Entry) {
	if g.Audit != nil {
		g.Audit(e)
	}
}

// drainRate is how many routers a second come back after a drain.
const drainRate = 200

// Drain refuses new links, closes all there are with a time to come back at,
// spread so that they do not come at once, and returns when they have ended.
// When ctx ends first their connections are cut.
func (g *Gateway) Drain(ctx context.Context) {
	list := g.beginDrain()
	for i, c := range list {
		// The agent adds up to as much again (PROTOCOL.md section 6).
		c.Close(wire.CloseWait, fmt.Sprintf("wait=%d", 1+i/drainRate))
	}
	stop := context.AfterFunc(ctx, func() {
		for _, c := range g.beginDrain() {
			c.ws.Close()
		}
	})
	defer stop()
	g.links.Wait()
}

// beginDrain lets no more links in and lists those there are.
func (g *Gateway) beginDrain() []*conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.draining = true
	var list []*conn
	for _, conns := range g.conns {
		list = append(list, conns...)
	}
	return list
}

// room tells whether another WebSocket of the router may open.
func (g *Gateway) room(id usage.RouterID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.draining && len(g.conns[id]) < maxConns
}

// add enters c among the connections. It fails when there is no room any more.
func (g *Gateway) add(c *conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.draining || len(g.conns[c.router]) >= maxConns {
		return false
	}
	g.conns[c.router] = append(g.conns[c.router], c)
	g.links.Add(1)
	return true
}

// remove is the end of what add began.
func (g *Gateway) remove(c *conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	rest := slices.DeleteFunc(g.conns[c.router], func(other *conn) bool { return other == c })
	if len(rest) > 0 {
		g.conns[c.router] = rest
	} else {
		delete(g.conns, c.router)
	}
	g.links.Done()
}

// wake makes Run look around now.
func (g *Gateway) wake() {
	select {
	case g.poke <- struct{}{}:
	default: // it will anyway
	}
}
