package play

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/netpilot/netpilot/agent/config"
	"github.com/netpilot/netpilot/agent/replica"
	"github.com/netpilot/netpilot/agent/uplink"
	"github.com/netpilot/netpilot/pkg/wire"
	"github.com/netpilot/netpilot/relay/store"
	"github.com/netpilot/netpilot/relay/store/sqlite"
)

// Enrol puts the routers into a relay's database, each by a token of its own,
// as enrolment does. The relay may run meanwhile.
func (n *Network) Enrol(ctx context.Context, db *sqlite.DB, progress func(done int)) error {
	const workers = 16 // so that commits are shared
	next, done := new(atomic.Int64), new(atomic.Int64)
	failed := make(chan error, workers)
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n.Routers || ctx.Err() != nil {
					return
				}
				if err := n.enrolOne(ctx, db, i); err != nil {
					failed <- err
					return
				}
				if d := int(done.Add(1)); d%1000 == 0 && progress != nil {
					progress(d)
				}
			}
		})
	}
	all.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return ctx.Err()
	}
}

func (n *Network) enrolOne(ctx context.Context, db *sqlite.DB, i int) error {
	now := time.Now()
	_, token := store.NewSecret(store.TokenPrefix)
	if err := db.CreateToken(ctx, store.Token{Note: "simulator", CreatedAt: now, ExpiresAt: now.Add(store.TokenTTL)}, token); err != nil {
		return fmt.Errorf("enrol router %d: %w", i, err)
	}
	hello := n.Hello(i)
	r := store.Router{ID: n.ID(i), Name: hello.Name, Model: hello.Model, AgentVersion: hello.AgentVersion, EnrolledAt: now}
	if err := db.Redeem(ctx, token, r, store.HashOf(n.secret(i)), now); err != nil {
		return fmt.Errorf("enrol router %d: %w", i, err)
	}
	return nil
}

// Fleet is the routers with their links. Make one with NewFleet.
type Fleet struct {
	// Follow, if set, is what router i does with a link besides answering; see
	// uplink.Options. PushEvery sets one. Set it before Run.
	Follow func(ctx context.Context, i int, w wire.Welcome, ask replica.Ask)

	network *Network
	relay   *url.URL
	caFile  string

	up    atomic.Int64 // links the relay accepted, since the fleet began
	dials atomic.Int64
	ready chan struct{} // of capacity 1: something came up

	mu    sync.Mutex // guards below
	conns map[*cutConn]struct{}
}

// NewFleet makes the routers of n for a relay on loopback; any other address
// is refused. caFile is a PEM file for wss, else "".
func NewFleet(n *Network, relay, caFile string) (*Fleet, error) {
	u, err := config.ParseRelay(relay)
	if err != nil {
		return nil, err
	}
	if ip := net.ParseIP(u.Hostname()); u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("%s is not on this machine; simulated routers put load on loopback only", u.Host)
	}
	return &Fleet{network: n, relay: u, caFile: caFile, ready: make(chan struct{}, 1), conns: make(map[*cutConn]struct{})}, nil
}

// Run plays all routers until ctx ends.
func (f *Fleet) Run(ctx context.Context) {
	var all sync.WaitGroup
	for i := range f.network.Routers {
		up := uplink.New(uplink.Options{
			Client: uplink.Client{
				Version: "0.0.0-simulator", CAFile: f.caFile, BuildTime: time.Unix(0, 0),
				Dial: f.dial,
			},
			Identity: config.Identity{Relay: f.relay, RouterID: f.network.ID(i), Secret: config.Secret(f.network.secret(i))},
			Hello:    func() wire.Hello { return f.network.Hello(i) },
			Handle:   f.network.handle(i),
			Log:      slog.New(slog.DiscardHandler),
			Follow: func(ctx context.Context, w wire.Welcome, ask func(context.Context, string, json.RawMessage) (json.RawMessage, error)) {
				if f.Follow != nil {
					f.Follow(ctx, i, w, ask)
				}
			},
			Welcome: func(wire.Welcome) {
				f.up.Add(1)
				select {
				case f.ready <- struct{}{}:
				default:
				}
			},
		})
		all.Go(func() { _ = up.Run(ctx) }) // never fails
	}
	all.Wait()
}

// cutConn is a router's connection, which the fleet can cut.
type cutConn struct {
	net.Conn
	fleet *Fleet
}

func (c *cutConn) Close() error {
	c.fleet.mu.Lock()
	delete(c.fleet.conns, c)
	c.fleet.mu.Unlock()
	return c.Conn.Close()
}

func (f *Fleet) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	f.dials.Add(1)
	d := net.Dialer{KeepAlive: -1}
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := &cutConn{Conn: conn, fleet: f}
	f.mu.Lock()
	f.conns[c] = struct{}{}
	f.mu.Unlock()
	return c, nil
}

// Cut breaks that part of the links, 1 for all, as a line that fails does:
// without a word. It says how many.
func (f *Fleet) Cut(part float64) int {
	f.mu.Lock()
	chosen := make([]*cutConn, 0, len(f.conns))
	for c := range f.conns {
		if rand.Float64() < part {
			chosen = append(chosen, c)
		}
	}
	f.mu.Unlock()
	for _, c := range chosen {
		_ = c.Conn.Close() // the reader of the link sees it
	}
	return len(chosen)
}

// Up is how many links the relay has accepted since the fleet began.
func (f *Fleet) Up() int { return int(f.up.Load()) }

// Dials is how often the routers have dialled.
func (f *Fleet) Dials() int { return int(f.dials.Load()) }

// AwaitUp waits until Up has reached n.
func (f *Fleet) AwaitUp(ctx context.Context, n int) error {
	for f.Up() < n {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d links are up: %w", f.Up(), n, context.Cause(ctx))
		case <-f.ready:
		}
	}
	return nil
}
