package uplink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
)

// serve runs a relay on a real socket, and at the end waits for its links:
// the server itself knows nothing of them.
func serve(t *testing.T, r *relay) (url string) {
	var links sync.WaitGroup
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		links.Add(1)
		defer links.Done()
		r.ServeHTTP(w, req)
	}))
	t.Cleanup(func() {
		server.Close()
		links.Wait()
	})
	return server.URL
}

// onLink starts an agent whose relay gives its first link to the test, and
// waits until that has returned. What stop ends has ended when it returns.
func onLink(t *testing.T, o Options, test func(ws *websocket.Conn)) (stop func()) {
	done := make(chan struct{})
	r := &relay{t: t, link: func(ws *websocket.Conn, dial int) {
		if dial > 1 { // the agent may stop at any time: nothing can be said of it
			_ = readUntilClosed(ws, nil)
			return
		}
		defer close(done)
		_ = ws.SetReadDeadline(time.Now().Add(3 * time.Minute))
		test(ws)
	}}
	at := testOptions(serve(t, r), o.Handle)
	o.Client, o.Identity, o.Hello = at.Client, at.Identity, at.Hello
	_, stop = start(t, o)
	<-done
	return stop
}

func readMessage(t *testing.T, ws *websocket.Conn) wire.Message {
	_, frame, err := ws.ReadMessage()
	if err != nil {
		t.Errorf("read: %v", err)
		return wire.Message{}
	}
	m, err := wire.Decode(frame)
	if err != nil {
		t.Errorf("decode %s: %v", frame, err)
	}
	return m
}

func TestCalls(t *testing.T) {
	var log logged
	handle := func(ctx context.Context, method string, params json.RawMessage) (json.RawMessage, error) {
		switch method {
		case "echo":
			return params, nil
		case "nothing":
			return nil, nil
		case "large":
			return json.RawMessage(`"` + strings.Repeat("x", wire.MaxResult-2) + `"`), nil
		case "too large":
			return json.RawMessage(`"` + strings.Repeat("x", wire.MaxResult-1) + `"`), nil
		case "panic":
			panic("secret of the stack")
		case "plain":
			return nil, errors.New("open /etc/shadow")
		case "deadline":
			return nil, fmt.Errorf("read nlbwmon: %w", context.DeadlineExceeded)
		case "long":
			return nil, usage.Errorf(usage.Unavailable, "%s", strings.Repeat("long ", 1000))
		case "wrapped":
			return nil, fmt.Errorf("dump: %w", &usage.Error{Kind: usage.Busy, Message: "later", RetryAfter: 2 * time.Second})
		}
		return nil, usage.Errorf(usage.Invalid, "no method %q", method)
	}
	tests := []struct {
		method, params string
		kind           usage.Kind
		message        string
		result         string
		size           int
	}{
		{method: "echo", params: `{"a":[1,2.50,"x"]}`, result: `{"a":[1,2.50,"x"]}`},
		{method: "nothing", result: "null"},
		{method: "large", size: wire.MaxResult},
		{method: "too large", kind: usage.Invalid, message: "answer is 1047553 bytes, over 1 MiB; ask with limit"},
		{method: "panic", kind: usage.Internal, message: "internal"},
		{method: "plain", kind: usage.Internal, message: "internal"},
		{method: "deadline", kind: usage.Timeout, message: "read nlbwmon: context deadline exceeded"},
		{method: "long", kind: usage.Unavailable, message: strings.Repeat("long ", 1000)[:maxMessage]},
		{method: "wrapped", kind: usage.Busy, message: "later"},
		{method: "no\nsuch", kind: usage.Invalid, message: `no method "no\nsuch"`},
	}
	onLink(t, Options{Handle: handle, Log: log.logger()}, func(ws *websocket.Conn) {
		if !accept(t, ws) {
			return
		}
		for i, tt := range tests {
			id := wire.CallID(i + 1)
			_ = ws.WriteMessage(websocket.TextMessage, wire.AppendCall(nil, id, tt.method, json.RawMessage(tt.params), 0))
			m := readMessage(t, ws)
			switch {
			case m.ID != id:
				t.Errorf("%s: got id %d, want %d", tt.method, m.ID, id)
			case tt.message != "":
				if m.Error == nil || m.Error.Kind != tt.kind || m.Error.Message != tt.message {
					t.Errorf("%s: got %+v, want %v %q", tt.method, m.Error, tt.kind, tt.message)
				}
			case tt.size != 0:
				if len(m.Result) != tt.size {
					t.Errorf("%s: got %d bytes, want %d", tt.method, len(m.Result), tt.size)
				}
			case string(m.Result) != tt.result:
				t.Errorf("%s: got %s, %v, want %s", tt.method, m.Result, m.Error, tt.result)
			}
		}
		hangUp(ws, wire.CloseRevoked, "")
	})
	if log.count("secret of the stack") != 1 || log.count("open /etc/shadow") != 1 {
		t.Errorf("want the panic and the plain error in the log once: %q", log.lines)
	}
	if n := log.count(testSecret); n != 0 {
		t.Errorf("the log has the secret %d times", n)
	}
}

func TestBusyAndCancel(t *testing.T) {
	cancelled := make(chan string, 10)
	handle := func(ctx context.Context, method string, _ json.RawMessage) (json.RawMessage, error) {
		if method == "status" {
			return json.RawMessage(`"ok"`), nil
		}
		<-ctx.Done()
		cancelled <- method
		return nil, ctx.Err()
	}
	onLink(t, Options{Handle: handle}, func(ws *websocket.Conn) {
		if !accept(t, ws) {
			return
		}
		for id := wire.CallID(1); id <= wire.MaxCalls; id++ {
			call(ws, id, fmt.Sprint("wait ", id), time.Minute)
		}
		call(ws, 5, "status", 0)
		if m := readMessage(t, ws); m.ID != 5 || errorOf(m) != usage.Busy || m.Error.RetryAfter != busyRetry {
			t.Errorf("fifth call: got %+v %+v, want busy and %v", m, m.Error, busyRetry)
		}
		for _, params := range []string{`{"id":77}`, `"x"`, `{"id":-1}`, `{"id":3}`} {
			_ = ws.WriteMessage(websocket.TextMessage, wire.AppendNotify(nil, "cancel", json.RawMessage(params)))
		}
		_ = ws.WriteMessage(websocket.TextMessage, wire.AppendNotify(nil, "unknown", nil))
		_ = ws.WriteMessage(websocket.TextMessage, wire.AppendResult(nil, 99, json.RawMessage("1")))
		if got := <-cancelled; got != "wait 3" {
			t.Errorf("cancelled %q, want wait 3", got)
		}
		// The slot is free once the handler's goroutine has ended; until then
		// the answer is busy. A cancelled call is never answered.
		for id := wire.CallID(10); ; id++ {
			call(ws, id, "status", 0)
			m := readMessage(t, ws)
			if m.ID != id {
				t.Errorf("got %+v %+v, want the answer to %d", m, m.Error, id)
			}
			if m.Error == nil {
				break
			}
			if errorOf(m) != usage.Busy {
				t.Errorf("got %v, want busy or an answer", m.Error)
				break
			}
		}
		hangUp(ws, wire.CloseRevoked, "") // ends the other three
	})
	for range wire.MaxCalls - 1 {
		<-cancelled
	}
}

func TestBadFrames(t *testing.T) {
	for _, tt := range []struct {
		name, frame string
		kind        int
		before      bool // the answer to hello
		code        int
	}{
		{"garbage", "garbage", websocket.TextMessage, false, wire.CloseProtocol},
		{"no JSON-RPC", `{"id":1,"method":"status"}`, websocket.TextMessage, false, wire.CloseProtocol},
		{"batch", `[{"jsonrpc":"2.0","id":1,"method":"status"}]`, websocket.TextMessage, false, wire.CloseProtocol},
		{"deep", strings.Repeat("[", 100_000), websocket.TextMessage, false, wire.CloseProtocol},
		{"binary", `{"jsonrpc":"2.0","id":1,"method":"status"}`, websocket.BinaryMessage, false, wire.CloseProtocol},
		{"no UTF-8", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}", websocket.TextMessage, false, wire.CloseProtocol},
		{"id 0", `{"jsonrpc":"2.0","id":0,"method":"status"}`, websocket.TextMessage, false, wire.CloseProtocol},
		{"open id", `{"jsonrpc":"2.0","id":1,"method":"wait"}`, websocket.TextMessage, false, wire.CloseProtocol},
		{"too long", strings.Repeat(" ", wire.MaxFrame+1), websocket.TextMessage, false, websocket.CloseMessageTooBig},
		{"too long before hello is answered", `{"jsonrpc":"2.0","id":1,"result":{` + strings.Repeat(" ", wire.MaxHello) + `}}`,
			websocket.TextMessage, true, websocket.CloseMessageTooBig},
		{"garbage before hello is answered", "garbage", websocket.TextMessage, true, wire.CloseProtocol},
		{"call before hello is answered", `{"jsonrpc":"2.0","id":1,"method":"status"}`, websocket.TextMessage, true, wire.CloseProtocol},
		{"welcome of another call", `{"jsonrpc":"2.0","id":2,"result":{}}`, websocket.TextMessage, true, wire.CloseProtocol},
		{"welcome of another type", `{"jsonrpc":"2.0","id":1,"result":[]}`, websocket.TextMessage, true, wire.CloseProtocol},
	} {
		t.Run(tt.name, func(t *testing.T) {
			handle := func(ctx context.Context, _ string, _ json.RawMessage) (json.RawMessage, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			onLink(t, Options{Handle: handle}, func(ws *websocket.Conn) {
				if tt.before {
					_, _, _ = ws.ReadMessage()
				} else if !accept(t, ws) {
					return
				}
				if tt.name == "open id" {
					call(ws, 1, "wait", 0)
				}
				_ = ws.WriteMessage(tt.kind, []byte(tt.frame))
				if got := readUntilClosed(ws, nil); closeCode(got) != tt.code {
					t.Errorf("link ended with %v, want close code %d", got, tt.code)
				}
			})
		})
	}
}

func TestBadUpgrades(t *testing.T) {
	for _, tt := range []struct {
		name   string
		header http.Header
		want   string
	}{
		{"extension", http.Header{"Sec-WebSocket-Extensions": {"permessage-deflate; server_no_context_takeover; client_no_context_takeover"}},
			"the relay switched on a WebSocket extension"},
		{"long head", http.Header{"X-Long": {strings.Repeat("x", 2*maxHandshake)}}, "sent over 65536 bytes before the link was up"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &relay{t: t, header: tt.header, link: func(ws *websocket.Conn, _ int) { _ = readUntilClosed(ws, nil) }}
			u := New(testOptions(serve(t, r), echo))
			_, err := u.once(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
	t.Run("no subprotocol", func(t *testing.T) {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			up := websocket.Upgrader{}
			if ws, err := up.Upgrade(w, r, nil); err == nil {
				_ = readUntilClosed(ws, nil)
				_ = ws.Close()
			}
		}))
		defer server.Close()
		u := New(testOptions(server.URL, echo))
		_, err := u.once(t.Context())
		if want := "does not speak netpilot.v1"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	})
}

// TestRelayDiesDuringCall: the call's context ends with the link, and the next
// link starts from nothing.
func TestRelayDiesDuringCall(t *testing.T) {
	ended := make(chan error, 1)
	handle := func(ctx context.Context, method string, _ json.RawMessage) (json.RawMessage, error) {
		if method == "wait" {
			<-ctx.Done()
			ended <- context.Cause(ctx)
			return nil, ctx.Err()
		}
		return json.RawMessage("1"), nil
	}
	again := make(chan wire.Message, 1)
	r := &relay{t: t, link: func(ws *websocket.Conn, dial int) {
		if !accept(t, ws) {
			return
		}
		if dial == 1 {
			call(ws, 1, "wait", time.Minute)
			return // the socket is closed without a word
		}
		call(ws, 1, "status", 0)
		_ = readUntilClosed(ws, func(m wire.Message) { again <- m })
	}}
	o := testOptions(serve(t, r), handle)
	o.Rand = func() float64 { return 0 }
	start(t, o)
	<-ended
	if m := <-again; m.ID != 1 || string(m.Result) != "1" {
		t.Errorf("second link: got %+v, want the answer to its call 1", m)
	}
}

func TestManyLinks(t *testing.T) {
	const rounds = 100
	all := make(chan struct{})
	r := &relay{t: t, link: func(ws *websocket.Conn, dial int) {
		if !accept(t, ws) {
			return
		}
		call(ws, 1, "status", 0)
		if m := readMessage(t, ws); m.ID != 1 {
			t.Errorf("got %+v", m)
		}
		switch {
		case dial == rounds:
			close(all)
			_ = readUntilClosed(ws, nil) // until the agent stops
		case dial%2 == 0:
			hangUp(ws, websocket.CloseGoingAway, "")
		}
	}}
	wake := make(chan struct{})
	o := testOptions(serve(t, r), echo)
	o.Wake = wake
	_, stop := start(t, o)
	for waiting := true; waiting; { // do not wait for the back-off
		select {
		case wake <- struct{}{}:
		case <-all:
			waiting = false
		}
	}
	stop() // goleak looks for what is left
}

// TestAnswerFreesItsSlot: a relay that has an answer may ask the next at once,
// also where the other slots are taken.
func TestAnswerFreesItsSlot(t *testing.T) {
	onLink(t, Options{Handle: func(ctx context.Context, method string, params json.RawMessage) (json.RawMessage, error) {
		if method == "wait" {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return params, nil
	}}, func(ws *websocket.Conn) {
		if !accept(t, ws) {
			return
		}
		id := wire.CallID(1)
		for ; id < wire.MaxCalls; id++ {
			call(ws, id, "wait", time.Minute)
		}
		for range 500 {
			call(ws, id, "echo", time.Minute)
			if m := readMessage(t, ws); m.Error != nil || m.ID != id {
				t.Errorf("call %d: got %+v", id, m)
				return
			}
			id++
		}
	})
}

// TestNotifications: what a call's peer is told goes over the link, and a
// relay that does not read loses the oldest, never an answer.
func TestNotifications(t *testing.T) {
	peers := make(chan wire.Peer, 1)
	handle := func(ctx context.Context, method string, params json.RawMessage) (json.RawMessage, error) {
		peers <- wire.PeerOf(ctx)
		return json.RawMessage(`true`), nil
	}
	var peer wire.Peer
	stop := onLink(t, Options{Handle: handle}, func(ws *websocket.Conn) {
		if !accept(t, ws) {
			return
		}
		call(ws, 7, "usage.live", 0)
		peer = <-peers
		if m := readMessage(t, ws); m.ID != 7 {
			t.Errorf("got %+v, want the reply", m)
		}
		peer.Notify("usage.live", json.RawMessage(`{"n":1}`))
		if m := readMessage(t, ws); m.Method != "usage.live" || m.ID != 0 || string(m.Params) != `{"n":1}` {
			t.Errorf("got %+v, want the notification", m)
		}
		peer.Notify("usage.live", json.RawMessage(`"`+strings.Repeat("x", wire.MaxFrame)+`"`)) // fits no frame
		hangUp(ws, websocket.CloseGoingAway, "")
		<-peer.Done()
	})
	stop() // and with it the writer
	for i := range 100 {
		peer.Notify("usage.live", json.RawMessage(fmt.Sprint(i))) // to nobody, and does not wait
	}
	var l *link
	if l = peer.(*link); len(l.notices) != maxNotices || !strings.Contains(string(<-l.notices), `"params":96}`) {
		t.Errorf("%d wait, want the newest %d", len(l.notices), maxNotices)
	}
}
