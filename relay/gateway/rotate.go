package gateway

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
	"github.com/netpilot/netpilot/relay/audit"
	"github.com/netpilot/netpilot/relay/store"
)

const (
	maxRotations  = 8           // secrets that change at once
	rotateAgain   = time.Minute // after a router was too busy or too slow for it
	rotateTimeout = 20 * time.Second
)

// wantRotation has the router's secret changed soon, if it is connected.
func (g *Gateway) wantRotation(id usage.RouterID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.rotate[id]; !ok {
		g.rotate[id] = time.Time{}
	}
	g.wake()
}

// startRotations begins the changes that are due. Run waits for them.
func (g *Gateway) startRotations(ctx context.Context) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for id, due := range g.rotate {
		if g.rotating >= maxRotations {
			return
		}
		if time.Now().Before(due) {
			continue
		}
		delete(g.rotate, id)
		g.rotating++
		g.rotations.Go(func() { // ends with its calls, or with ctx
			again := g.rotateOne(ctx, id)
			g.mu.Lock()
			defer g.mu.Unlock()
			g.rotating--
			if again {
				g.rotate[id] = time.Now().Add(rotateAgain)
			}
			g.wake()
		})
	}
}

// rotateOne changes one router's secret and tells whether to try again while
// the link is up. A router without a link is asked when it has one.
func (g *Gateway) rotateOne(ctx context.Context, id usage.RouterID) (again bool) {
	link, online := g.hub.Online(id)
	if !online {
		return false
	}
	err := errors.New("its agent is too old to change its secret; update it")
	if slices.Contains(link.Hello.Methods, wire.MethodRotate) {
		ctx, cancel := context.WithTimeout(ctx, rotateTimeout)
		defer cancel()
		err = g.changeSecret(ctx, id)
	}
	entry := audit.Entry{Who: audit.Router, Router: id, Method: wire.MethodRotate, Result: audit.OK}
	if err != nil {
		entry.Result, entry.Detail = usage.KindOf(err).String(), err.Error()
		g.log.Warn("router's secret not changed", "router", id, "err", err)
	} else {
		g.log.Info("router's secret changed", "router", id)
	}
	g.record(entry)
	kind := usage.KindOf(err)
	return err != nil && ctx.Err() == nil && (kind == usage.Busy || kind == usage.Timeout || kind == usage.Unavailable)
}

// changeSecret does the two steps of PROTOCOL.md section 9. Between any two
// lines either end may die, and a secret that the router has stored is good.
func (g *Gateway) changeSecret(ctx context.Context, id usage.RouterID) error {
	hash, text, err := g.askSecret(ctx, id, wire.RotateParams{})
	if err != nil {
		return err
	}
	if err := g.store.OfferSecret(ctx, id, hash); err != nil {
		return fmt.Errorf("keep the new secret: %w", err)
	}
	if confirmed, _, err := g.askSecret(ctx, id, wire.RotateParams{Confirm: text}); err != nil {
		return err
	} else if confirmed != hash {
		return usage.Errorf(usage.Invalid, "the router confirmed another secret than it offered")
	}
	if err := g.store.ProveSecret(ctx, id, hash, time.Now()); err != nil {
		return fmt.Errorf("make the new secret the present one: %w", err)
	}
	for _, c := range g.connsOf(id) {
		c.proven(hash)
	}
	return nil
}

// askSecret makes one call and reads the hash in its answer.
func (g *Gateway) askSecret(ctx context.Context, id usage.RouterID, p wire.RotateParams) (hash store.Hash, text string, err error) {
	params, _ := json.Marshal(p) // always marshals
	result, err := g.hub.Call(ctx, id, wire.MethodRotate, params)
	if err != nil {
		return hash, "", err
	}
	var reply wire.RotateReply
	if err := json.Unmarshal(result, &reply); err != nil {
		return hash, "", usage.Errorf(usage.Invalid, "the router's answer is not a hash")
	}
	raw, err := hex.DecodeString(reply.Hash)
	if err != nil || len(raw) != len(hash) {
		return hash, "", usage.Errorf(usage.Invalid, "the router's answer is not a hash")
	}
	return store.Hash(raw), hex.EncodeToString(raw), nil
}
