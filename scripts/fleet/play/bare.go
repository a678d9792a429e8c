package play

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/netpilot/netpilot/pkg/wire"
)

// Bare are the routers as programs that do as little as any client of a
// WebSocket can: they say hello and answer every call at once, with its own
// params and 4 KB. What they cost is what the floor's clients cost, so that a
// comparison with it shows the relay's part.
type Bare struct {
	network *Network
	relay   string

	links []*websocket.Conn
	all   sync.WaitGroup
}

// StartBare links all routers of n to a relay on loopback without TLS, one
// after the other. Close ends them.
func StartBare(ctx context.Context, n *Network, relay string) (*Bare, error) {
	b := &Bare{network: n, relay: relay}
	for i := range n.Routers {
		ws, err := b.link(ctx, i)
		if err != nil {
			b.Close()
			return nil, fmt.Errorf("link router %d: %w", i, err)
		}
		b.links = append(b.links, ws)
		b.all.Go(func() { answer(ws) }) // ends with the link
	}
	return b, nil
}

// link dials until the relay takes the router, and says hello.
func (b *Bare) link(ctx context.Context, i int) (*websocket.Conn, error) {
	dialer := websocket.Dialer{Subprotocols: []string{wire.Subprotocol}}
	header := http.Header{"Authorization": {"Bearer " + b.network.secret(i)}}
	for {
		ws, resp, err := dialer.DialContext(ctx, "ws"+strings.TrimPrefix(b.relay, "http")+wire.ConnectPath, header)
		if resp != nil && resp.StatusCode == http.StatusServiceUnavailable { // so many a second connect
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(10 * time.Millisecond):
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		if err = greet(ws, b.network.Hello(i)); err != nil {
			ws.Close()
		}
		return ws, err
	}
}

// Ping says on all links that the routers are there, every wire.PingEvery,
// until ctx ends.
func (b *Bare) Ping(ctx context.Context) {
	tick := time.NewTicker(wire.PingEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, ws := range b.links {
			_ = ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second)) // a link that broke shows in the answers
		}
	}
}

// Close ends all links.
func (b *Bare) Close() {
	for _, ws := range b.links {
		ws.Close()
	}
	b.all.Wait()
}

func greet(ws *websocket.Conn, hello wire.Hello) error {
	params, err := json.Marshal(hello)
	if err != nil {
		return err
	}
	if err := ws.WriteMessage(websocket.TextMessage, wire.AppendCall(nil, 1, "hello", params, 0)); err != nil {
		return err
	}
	_, frame, err := ws.ReadMessage()
	if err != nil {
		return err
	}
	m, err := wire.Decode(frame)
	if err == nil && (m.ID != 1 || m.Result == nil) {
		err = errors.New("the relay did not welcome it")
	}
	return err
}

// answer answers calls until the link ends.
func answer(ws *websocket.Conn) {
	fill := strings.Repeat("x", 4<<10)
	for {
		_, frame, err := ws.ReadMessage()
		if err != nil {
			return
		}
		m, err := wire.Decode(frame)
		if err != nil || m.ID == 0 {
			continue
		}
		result := append(append(append([]byte(`{"simulated":`), m.Params...), `,"fill":"`...), fill...)
		if ws.WriteMessage(websocket.TextMessage, wire.AppendResult(make([]byte, 0, len(result)+64), m.ID, append(result, `"}`...))) != nil {
			return
		}
	}
}

// AskBare is AskAny for Bare.
func (n *Network) AskBare(number uint64) Question {
	q := n.AskAny(number)
	i, k := n.about(number)
	q.Want = `"simulated":{"mac":"` + n.MAC(i, k).String() + `","period":"` + Period(number) + `"},`
	return q
}
