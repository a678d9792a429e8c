package uplink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
)

type asking = func(context.Context, string, json.RawMessage) (json.RawMessage, error)

// followed is what a Follow saw, to be compared by the test.
type followed struct {
	result json.RawMessage
	err    error
}

// askOnLink lets each ask be asked one after another over a link whose other
// end is relay, and gives the answers in that order.
func askOnLink(t *testing.T, relayEnd func(ws *websocket.Conn), asks ...func(asking, context.Context) (json.RawMessage, error)) (got []followed) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		out := make(chan []followed, 1)
		r := &relay{t: t, link: func(ws *websocket.Conn, dial int) {
			if dial > 1 {
				_ = readUntilClosed(ws, nil)
			} else if accept(t, ws) {
				relayEnd(ws)
			}
		}}
		o, stopRelay := serveMemory(t, r, func(_ context.Context, method string, _ json.RawMessage) (json.RawMessage, error) {
			return json.RawMessage(`"` + method + `"`), nil
		})
		o.Follow = func(ctx context.Context, _ wire.Welcome, ask func(context.Context, string, json.RawMessage) (json.RawMessage, error)) {
			var all []followed
			for _, one := range asks {
				result, err := one(ask, ctx)
				all = append(all, followed{append(json.RawMessage{}, result...), err})
			}
			select {
			case out <- all:
			default: // a later link
			}
		}
		_, stop := start(t, o)
		got = <-out
		stop()
		stopRelay()
	})
	return got
}

func push(ask asking, ctx context.Context) (json.RawMessage, error) {
	return ask(ctx, "history.push", json.RawMessage(`{"n":1}`))
}

// TestAsk: answers and errors of the relay come to who asked, those to other
// ids and of questions long given up to nobody, and calls of the relay are
// answered meanwhile.
func TestAsk(t *testing.T) {
	got := askOnLink(t, func(ws *websocket.Conn) {
		send := func(frame []byte) { _ = ws.WriteMessage(websocket.TextMessage, frame) }
		m := readMessage(t, ws)
		if m.Method != "history.push" || string(m.Params) != `{"n":1}` || m.ID != 2 || m.Timeout != askWithin {
			t.Errorf("asked %+v (%s)", m, m.Params)
		}
		send(wire.AppendResult(nil, 1, json.RawMessage(`"hello again"`)))
		send(wire.AppendResult(nil, 99, json.RawMessage(`"nobody asked"`)))
		call(ws, 2, "status", time.Second) // the relay's ids are its own
		if m := readMessage(t, ws); m.ID != 2 || string(m.Result) != `"status"` {
			t.Errorf("a call meanwhile: got %+v", m)
		}
		send(wire.AppendResult(nil, 2, json.RawMessage(`{"cursor":7}`)))
		send(wire.AppendResult(nil, 2, json.RawMessage(`"a second answer"`)))
		m = readMessage(t, ws)
		send(wire.AppendResult(nil, 2, json.RawMessage(`"a third answer"`)))
		send(wire.AppendError(nil, m.ID, &usage.Error{Kind: usage.Busy, Message: "later", RetryAfter: 5 * time.Second}))
		m = readMessage(t, ws) // given up
		next := readMessage(t, ws)
		send(wire.AppendResult(nil, m.ID, json.RawMessage(`"too late"`)))
		send(wire.AppendResult(nil, next.ID, json.RawMessage(`"in time"`)))
		readMessage(t, ws) // the link stays until it was read
	}, push, push, func(ask asking, ctx context.Context) (json.RawMessage, error) {
		ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		return push(ask, ctx)
	}, push, func(ask asking, ctx context.Context) (json.RawMessage, error) {
		return ask(ctx, "history.push", json.RawMessage(`"`+strings.Repeat("x", wire.MaxFrame)+`"`))
	}, push)
	if len(got) != 6 {
		t.Fatalf("got %+v", got)
	}
	var e *usage.Error
	if string(got[0].result) != `{"cursor":7}` || got[0].err != nil {
		t.Errorf("the first: got %s, %v", got[0].result, got[0].err)
	}
	if !errors.As(got[1].err, &e) || e.Kind != usage.Busy || e.RetryAfter != 5*time.Second {
		t.Errorf("the second: got %s, %v", got[1].result, got[1].err)
	}
	if !errors.Is(got[2].err, context.DeadlineExceeded) {
		t.Errorf("given up: got %s, %v", got[2].result, got[2].err)
	}
	if string(got[3].result) != `"in time"` || got[3].err != nil {
		t.Errorf("after one given up: got %s, %v", got[3].result, got[3].err)
	}
	if got[4].err == nil || !strings.Contains(fmt.Sprint(got[4].err), "over the relay's limit") {
		t.Errorf("too large: got %v", got[4].err)
	}
}

// TestAskEndsWithLink: who asks when the link ends is told at once.
func TestAskEndsWithLink(t *testing.T) {
	got := askOnLink(t, func(ws *websocket.Conn) {
		readMessage(t, ws)
		ws.Close()
	}, push, push)
	for i, g := range got {
		if !errors.Is(g.err, context.Canceled) {
			t.Errorf("ask %d: got %s, %v, want the link's end", i, g.result, g.err)
		}
	}
}
