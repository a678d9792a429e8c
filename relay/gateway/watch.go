package gateway

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
	"github.com/netpilot/netpilot/relay/store"
)

// watchEvery is how soon a revocation by another program ends a live link.
const watchEvery = 2 * time.Second

// enrolledAgain is why a link under an older secret is closed.
const enrolledAgain = "this router was enrolled again; connect with its new secret"

// Run keeps links and store in step until ctx ends: a router that is revoked
// or enrolled again loses its link, and who is connected is written down. An
// error is that the store failed at the start; later ones are logged and
// tried again.
func (g *Gateway) Run(ctx context.Context) error {
	if err := g.store.AllOffline(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // told to end before it began
		}
		return fmt.Errorf("mark routers as offline: %w", err)
	}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	defer g.rotations.Wait() // their calls end with ctx
	var revision int64       // newest change that was enforced
	lastSeen := time.Now()
	failing := false
	for {
		select {
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookupWithin)
			defer cancel()
			if err := g.writeDown(ctx); err != nil {
				g.log.Error("write down who is connected", "err", err)
			}
			return nil
		case <-tick.C:
		case <-g.poke:
		}
		if now := time.Now(); now.Sub(lastSeen) >= store.SeenEvery {
			lastSeen = now
			g.noteAll()
			g.endOld(now)
		}
		err := g.enforce(ctx, &revision)
		g.startRotations(ctx)
		if err == nil {
			err = g.writeDown(ctx)
		}
		if failed := err != nil && ctx.Err() == nil; failed != failing {
			failing = failed
			if failed {
				g.log.Error("store fails; revocations wait until it is back", "err", err)
			} else {
				g.log.Info("store works again")
			}
		}
	}
}

// enforce closes the links that lost their right since the revision.
func (g *Gateway) enforce(ctx context.Context, revision *int64) error {
	changes, err := g.store.Changes(ctx, *revision)
	if err != nil {
		return fmt.Errorf("read changes: %w", err)
	}
	for _, change := range changes {
		conns := g.connsOf(change.ID)
		for _, c := range conns {
			p, _ := c.proofNow()
			switch {
			case change.Revoked:
				c.Close(wire.CloseRevoked, "this router was revoked")
			case p.hasSecret && !slices.Contains(change.Secrets, p.secret):
				c.Close(wire.CloseReplaced, enrolledAgain)
			}
		}
		if change.Rotate && !change.Revoked && len(conns) > 0 {
			g.wantRotation(change.ID)
		}
		*revision = change.Revision
	}
	return nil
}

// endOld closes the links under a secret whose overlap is over.
func (g *Gateway) endOld(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, conns := range g.conns {
		for _, c := range conns {
			if _, until := c.proofNow(); !until.IsZero() && !now.Before(until) {
				c.Close(wire.CloseReplaced, "this secret was replaced by a newer one")
			}
		}
	}
}

func (g *Gateway) connsOf(id usage.RouterID) []*conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.conns[id])
}

// note has the router's presence written down soon.
func (g *Gateway) note(id usage.RouterID, lastFrame time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.noted[id] = lastFrame
	g.wake()
}

// noteAll has the presence of every connected router written down.
func (g *Gateway) noteAll() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for id := range g.conns {
		if _, ok := g.noted[id]; !ok {
			g.noted[id] = time.Time{} // the hub knows the last frame
		}
	}
}

// writeDown writes the noted presences to the store, as they are now.
func (g *Gateway) writeDown(ctx context.Context) error {
	g.mu.Lock()
	noted := g.noted
	g.noted = make(map[usage.RouterID]time.Time)
	g.mu.Unlock()
	if len(noted) == 0 {
		return nil
	}
	list := make([]store.Sighting, 0, len(noted))
	for id, last := range noted {
		s := store.Sighting{ID: id, LastSeen: last}
		if p, ok := g.hub.Online(id); ok {
			s.Connected = true
			s.LastSeen = p.LastFrame
			if !last.IsZero() { // the link is new
				s.Facts = &store.Facts{Name: p.Hello.Name, Model: p.Hello.Model, Release: p.Hello.Release,
					Arch: p.Hello.Arch, Timezone: p.Hello.Timezone, AgentVersion: p.Hello.AgentVersion}
			}
		}
		list = append(list, s)
	}
	err := g.store.Saw(ctx, list)
	if err != nil {
		g.keepNoted(noted)
		return fmt.Errorf("write down who is connected: %w", err)
	}
	return nil
}

// keepNoted puts back what could not be written, for the next round.
func (g *Gateway) keepNoted(noted map[usage.RouterID]time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for id, last := range noted {
		if _, newer := g.noted[id]; !newer {
			g.noted[id] = last
		}
	}
}
