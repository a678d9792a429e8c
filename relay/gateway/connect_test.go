package gateway_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/netpilot/netpilot/pkg/wire"
	"github.com/netpilot/netpilot/relay/store/storetest"
)

func TestHello(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		a := r.open(r.enrol(router1))
		a.send(hello(router1))
		m := a.read()
		var got wire.Welcome
		if err := json.Unmarshal(m.Result, &got); err != nil || m.ID != 1 {
			t.Fatalf("got %+v, %v", m, err)
		}
		want := wire.Welcome{ServerTime: time.Now().UTC(), PingSeconds: 25, DeadSeconds: 65, MaxFrame: 1 << 20}
		if got.Cursor == nil || *got.Cursor != 0 {
			t.Errorf("got cursor %v, want 0", got.Cursor)
		}
		got.Cursor = nil
		if got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		synctest.Wait()
		r.wantOnline(router1, true)
		if row, err := r.db.Router(t.Context(), router1); err != nil || row.Name != "attic" || row.AgentVersion != "1.2.3" {
			t.Errorf("row: got %+v, %v", row, err)
		}
		a.ws.Close()
		synctest.Wait()
		r.wantOnline(router1, false)
	})
}

func TestRefuseConnect(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		secret := r.enrol(router1)
		revoked := r.enrol(storetest.RouterID(2))
		if err := r.db.RevokeRouter(t.Context(), storetest.RouterID(2), time.Now()); err != nil {
			t.Fatal(err)
		}
		for _, test := range []struct {
			name, secret string
			edit         func(http.Header)
			status       int
			kind         string
		}{
			{"unknown secret", "npr_wrong", nil, 401, "unauthenticated"},
			{"no secret", "", nil, 401, "unauthenticated"},
			{"basic auth", "", func(h http.Header) { h.Set("Authorization", "Basic "+secret) }, 401, "unauthenticated"},
			{"revoked", revoked, nil, 403, "forbidden"},
			{"browser", secret, func(h http.Header) { h.Set("Origin", "http://relay") }, 403, "forbidden"},
		} {
			_, resp, err := r.dial(test.secret, test.edit)
			if !errors.Is(err, websocket.ErrBadHandshake) {
				t.Errorf("%s: got %v, want a refusal", test.name, err)
				continue
			}
			if got := refusal(t, resp); resp.StatusCode != test.status || got.Kind != test.kind || got.Message == "" {
				t.Errorf("%s: got %d %+v, want %d %s", test.name, resp.StatusCode, got, test.status, test.kind)
			}
		}
	})
}

func TestRefuseNoWebSocket(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		secret := r.enrol(router1)
		upgrade := http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
			"Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}, "Sec-Websocket-Protocol": {wire.Subprotocol}}
		for _, test := range []struct {
			name   string
			method string
			edit   func(http.Header)
			status int
		}{
			{"plain GET", "GET", func(h http.Header) { h.Del("Upgrade") }, 400},
			{"no subprotocol", "GET", func(h http.Header) { h.Del("Sec-Websocket-Protocol") }, 400},
			{"other subprotocol", "GET", func(h http.Header) { h.Set("Sec-Websocket-Protocol", "netpilot.v9") }, 400},
			{"old WebSocket", "GET", func(h http.Header) { h.Set("Sec-Websocket-Version", "8") }, 400},
			{"POST", "POST", func(http.Header) {}, 405},
		} {
			req, err := http.NewRequestWithContext(t.Context(), test.method, "http://relay"+wire.ConnectPath, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header = upgrade.Clone()
			req.Header.Set("Authorization", "Bearer "+secret)
			test.edit(req.Header)
			resp, err := r.client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if got := refusal(t, resp); resp.StatusCode != test.status || got.Kind != "invalid" {
				t.Errorf("%s: got %d %+v, want %d invalid", test.name, resp.StatusCode, got, test.status)
			}
		}
	})
}

func TestBadHello(t *testing.T) {
	for _, test := range []struct {
		name   string
		kind   int
		frame  string
		code   int
		reason string
	}{
		{"nothing", 0, "", wire.CloseProtocol, "no hello within 10s"},
		{"too large", websocket.TextMessage, fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"hello","params":%q}`,
			strings.Repeat("x", wire.MaxHello)), websocket.CloseMessageTooBig, ""},
		{"another router", websocket.TextMessage, string(hello(storetest.RouterID(2))), wire.CloseProtocol, "another router"},
		{"another method", websocket.TextMessage, `{"jsonrpc":"2.0","id":1,"method":"status"}`, wire.CloseProtocol, "hello"},
		{"no id", websocket.TextMessage, strings.Replace(string(hello(router1)), `"id":1,`, "", 1), wire.CloseProtocol, "hello"},
		{"params of another type", websocket.TextMessage, `{"jsonrpc":"2.0","id":1,"method":"hello","params":[1]}`, wire.CloseProtocol, "hello"},
		{"garbage", websocket.TextMessage, "GET / HTTP/1.1", wire.CloseProtocol, "not JSON-RPC"},
		{"no text", websocket.BinaryMessage, string(hello(router1)), wire.CloseProtocol, "text"},
		{"no UTF-8", websocket.TextMessage, "\"\xff\"", wire.CloseProtocol, "UTF-8"},
	} {
		t.Run(test.name, func(t *testing.T) {
			simulate(t, func(t *testing.T, r *rig) {
				a := r.open(r.enrol(router1))
				if test.kind != 0 {
					// The relay may hang up before it has read all of it.
					go func() { _ = a.ws.WriteMessage(test.kind, []byte(test.frame)) }()
				}
				began := time.Now()
				a.wantClose(test.code, test.reason)
				if took := time.Since(began); test.kind == 0 && took != wire.HelloWithin {
					t.Errorf("closed after %v, want %v", took, wire.HelloWithin)
				}
				if _, online := r.hub.Online(router1); online {
					t.Error("the router is online without hello")
				}
			})
		})
	}
}

// A hello that trickles in does not buy more time.
func TestTricklingHello(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		a := r.open(r.enrol(router1))
		began := time.Now()
		done := make(chan struct{})
		go func() { // ends when the relay stops reading
			defer close(done)
			fragment := []byte{0x01, 0x81, 0, 0, 0, 0, ' '} // RFC 6455 section 5.2: text, more follows, masked with zeros
			for {
				if _, err := a.ws.NetConn().Write(fragment); err != nil {
					return
				}
				fragment[0] = 0x00 // continuation
				time.Sleep(time.Second)
			}
		}()
		a.wantClose(wire.CloseProtocol, "no hello within 10s")
		if took := time.Since(began); took != wire.HelloWithin {
			t.Errorf("closed after %v, want %v", took, wire.HelloWithin)
		}
		<-done
	})
}

func TestTooManyConnections(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		secret := r.enrol(router1)
		for range 4 {
			r.open(secret)
		}
		synctest.Wait() // the relay counts them after its answer
		_, resp, err := r.dial(secret, nil)
		if !errors.Is(err, websocket.ErrBadHandshake) {
			t.Fatalf("fifth connection: got %v, want a refusal", err)
		}
		if got := refusal(t, resp); resp.StatusCode != 503 || got.Kind != "busy" || resp.Header.Get("Retry-After") == "" {
			t.Errorf("got %d %+v, want 503 busy", resp.StatusCode, got)
		}
	})
}
