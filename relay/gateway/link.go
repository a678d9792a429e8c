package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"
	"unique"

	"github.com/gorilla/websocket"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
	"github.com/netpilot/netpilot/relay/audit"
	"github.com/netpilot/netpilot/relay/hub"
	"github.com/netpilot/netpilot/relay/store"
)

// greet takes a connection from hello to its place in the hub, or says why it
// has none and returns nil.
func (g *Gateway) greet(c *conn) *hub.Link {
	id, hello, err := c.readHello()
	rotate := false
	if err == nil {
		rotate, err = g.recheck(c)
	}
	var cursor *uint64
	if err == nil {
		if cursor, err = g.cursorOf(c.router); err != nil {
			c.log().Error("look up how far a router's history is kept", "err", err)
			c.Close(wire.CloseWait, fmt.Sprintf("wait=%d", int(comeBack.Seconds())))
		}
	}
	if err != nil {
		c.failed(err, wire.CloseProtocol, fmt.Sprintf("no hello within %v", wire.HelloWithin))
		c.sayClose()
		c.linger()
		g.record(audit.Entry{Who: audit.Router, Router: c.router, Method: "link.open", Result: "refused", Address: c.from, Detail: c.reason})
		c.log().Info("link refused", "code", c.code, "reason", c.reason)
		return nil
	}

	welcome, _ := json.Marshal(wire.Welcome{ // always marshals
		ServerTime:  time.Now().UTC(),
		PingSeconds: int(wire.PingEvery.Seconds()),
		DeadSeconds: int(wire.DeadAfter.Seconds()),
		MaxFrame:    wire.MaxFrame,
		Cursor:      cursor,
	})
	c.reserve() // who has the welcome is attached, and no call goes before it
	began := time.Now()
	hello.Methods = g.sharedMethods(hello.Methods)
	link := g.hub.Attach(c.router, hello, c, began)
	_ = c.writeOne(wire.AppendResult(nil, id, welcome)) // if that fails the link is closed, which the reader sees to
	g.note(c.router, began)
	if rotate { // not before: it goes over the attached link
		g.wantRotation(c.router)
	}
	g.record(audit.Entry{Who: audit.Router, Router: c.router, Method: "link.open", Result: audit.OK, Address: c.from, Detail: "agent " + hello.AgentVersion})
	c.log().Info("link opened", "name", hello.Name, "model", hello.Model, "agent", hello.AgentVersion)
	return link
}

// refuse ends a connection for which there is no room.
func (c *conn) refuse() {
	defer c.ws.Close()
	c.Close(websocket.CloseGoingAway, "the relay takes no more links of this router now")
	c.sayClose()
	c.linger()
}

// stay lives a link to its end. Its goroutine is the reader.
func (g *Gateway) stay(c *conn, link *hub.Link) {
	defer g.remove(c)
	defer c.end()
	defer g.leave(c, link)
	g.readLoop(c, link)
}

// leave takes a link off the hub and says goodbye: in this order, since callers
// need not wait for a goodbye.
func (g *Gateway) leave(c *conn, link *hub.Link) {
	if p := recover(); p != nil { // one router's frame must not end all the others' links
		c.log().Error("link ended by a fault of the relay", "err", fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
		c.Close(codeLost, "reader ended")
	}
	g.hub.Detach(link)
	g.note(c.router, link.LastFrame())
	c.sayClose()
	c.linger()
	g.record(audit.Entry{Who: audit.Router, Router: c.router, Method: "link.close", Result: audit.OK, Address: c.from,
		Detail: strings.TrimSpace(fmt.Sprintf("%d %s", c.code, c.reason))})
	c.log().Info("link closed", "age", time.Since(link.Since()).Round(time.Second), "code", c.code, "reason", c.reason)
}

// readHello reads the first frame, which must be hello of the router that the
// secret belongs to.
func (c *conn) readHello() (wire.CallID, wire.Hello, error) {
	var hello wire.Hello
	c.ws.SetReadLimit(wire.MaxHello)
	_ = c.ws.SetReadDeadline(time.Now().Add(wire.HelloWithin))
	if c.closed() {
		_ = c.ws.SetReadDeadline(longAgo())
	}
	var id wire.CallID
	err := c.readFrame(func(time.Time) {}, func(frame []byte) error { // pieces do not extend the time for hello
		m, err := wire.Decode(frame)
		if err != nil {
			return err
		}
		if m.Method != "hello" || m.ID == 0 {
			return usage.Errorf(usage.Invalid, "the first frame must be call hello")
		}
		if err := json.Unmarshal(m.Params, &hello); err != nil {
			return usage.Errorf(usage.Invalid, "hello: %w", err)
		}
		id = m.ID
		return nil
	})
	if err != nil {
		return 0, hello, err
	}
	if usage.RouterID(hello.RouterID) != c.router {
		return 0, hello, usage.Errorf(usage.Invalid, "hello names another router than the secret belongs to")
	}
	hello.Name = usage.Clean(hello.Name, usage.MaxName)
	for _, text := range []*string{&hello.Model, &hello.Release, &hello.Arch, &hello.Timezone, &hello.AgentVersion} {
		*text = shared(usage.Clean(*text, maxText))
	}
	for i, method := range hello.Methods {
		hello.Methods[i] = shared(usage.Clean(method, usage.MaxName))
	}
	return id, hello, nil
}

// shared is s in memory that is the same for all who say the same, as routers
// of one model and version do for as long as their links live.
func shared(s string) string { return unique.Make(s).Value() }

// sharedMethods is a list that is the same for all routers in a row that offer
// the same methods, as those of one version do.
func (g *Gateway) sharedMethods(methods []string) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !slices.Equal(methods, g.methods) {
		g.methods = methods
	}
	return g.methods
}

// recheck asks again whether the secret is good. What changed before the
// router was among the connections Run would have missed; what changes from
// now on it sees. It tells whether a new secret is wanted.
func (g *Gateway) recheck(c *conn) (rotate bool, err error) {
	p, _ := c.proofNow()
	router, standing, _, refused := g.authenticate(context.Background(), p)
	switch {
	case refused == nil:
		return router.Rotate && !standing.Offered, g.accept(c, &router, standing)
	case refused.Kind == usage.Forbidden:
		c.Close(wire.CloseRevoked, refused.Message)
	case refused.Kind == usage.Unauthenticated:
		c.Close(wire.CloseReplaced, enrolledAgain)
	default:
		c.Close(wire.CloseWait, fmt.Sprintf("wait=%d", int(comeBack.Seconds())))
	}
	return false, errors.New("the secret is no longer good") // c is closed: only the fact counts
}

// accept notes that the router may stay, and what its secret proves.
func (g *Gateway) accept(c *conn, router *store.Router, standing store.Standing) error {
	if standing.Offered {
		ctx, cancel := context.WithTimeout(context.Background(), lookupWithin)
		defer cancel()
		p, _ := c.proofNow()
		if err := g.store.ProveSecret(ctx, router.ID, p.secret, time.Now()); err != nil {
			g.log.Error("make a router's new secret the present one", "router", router.ID, "err", err)
			c.Close(wire.CloseWait, fmt.Sprintf("wait=%d", int(comeBack.Seconds())))
			return errors.New("the store failed")
		}
		g.record(audit.Entry{Who: audit.Router, Router: router.ID, Method: wire.MethodRotate, Result: audit.OK, Address: c.from})
	}
	c.accepted(standing.Until)
	return nil
}

// readLoop takes frames until the link ends, and leaves c closed.
func (g *Gateway) readLoop(c *conn, link *hub.Link) {
	arrived := func(now time.Time) {
		link.Saw(now)
		c.extend(now)
	}
	c.ws.SetReadLimit(wire.MaxFrame)
	c.ws.SetPingHandler(func(data string) error {
		arrived(time.Now())
		// RFC 6455 section 5.5.3. A pong that finds no room in time is not
		// missed: the next ping comes soon, and whoever writes has a deadline.
		_ = c.ws.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(time.Second))
		return nil
	})
	c.ws.SetPongHandler(func(string) error { arrived(time.Now()); return nil })
	c.extend(time.Now())
	take := func(frame []byte) error { return g.take(c, link, frame) }
	for {
		if err := c.readFrame(arrived, take); err != nil {
			c.failed(err, codeLost, fmt.Sprintf("nothing arrived for %v", wire.DeadAfter))
			return
		}
	}
}

// take handles one frame; the error is that it breaks the protocol.
func (g *Gateway) take(c *conn, link *hub.Link, frame []byte) error {
	m, err := wire.Decode(frame)
	switch {
	case err != nil:
		return err
	case m.Method == "":
		m.Result = bytes.Clone(m.Result) // the frame's memory serves the next one
		link.Reply(m)
	case m.ID == 0 && m.Method == "usage.live":
		if g.hub.Listened() {
			g.hub.Publish(hub.Event{Kind: hub.EventLive, Router: c.router, At: time.Now(), Data: bytes.Clone(m.Params)})
		}
	case m.Method == wire.PushMethod && m.ID != 0:
		g.push(c, m)
	case m.ID != 0: // this relay offers no other methods after hello
		refusal := usage.Errorf(usage.Invalid, "unknown method %q", usage.Clean(m.Method, usage.MaxName))
		_ = c.Send(wire.AppendError(nil, m.ID, refusal)) // if the queue is full the link is closed now
	}
	return nil
}
