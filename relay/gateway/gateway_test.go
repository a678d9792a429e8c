package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
	"github.com/netpilot/netpilot/relay/api"
	"github.com/netpilot/netpilot/relay/gateway"
	"github.com/netpilot/netpilot/relay/hub"
	"github.com/netpilot/netpilot/relay/store"
	"github.com/netpilot/netpilot/relay/store/sqlite"
	"github.com/netpilot/netpilot/relay/store/storetest"
	"github.com/netpilot/netpilot/scripts/loopback"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// router1 is the router of most tests.
var router1 = storetest.RouterID(1)

// rig is a gateway with a real store and hub behind a real HTTP server, over
// pipes, so that time is the test's.
type rig struct {
	t       *testing.T
	db      *sqlite.DB
	hub     *hub.Local
	gateway *gateway.Gateway
	pipes   *loopback.Pipes
}

// simulate runs a test in simulated time on a fresh rig.
func simulate(t *testing.T, test func(t *testing.T, r *rig)) {
	simulateOn(t, func(s store.Store) store.Store { return s }, test)
}

// simulateOn has the gateway see the store through wrap.
func simulateOn(t *testing.T, wrap func(store.Store) store.Store, test func(t *testing.T, r *rig)) {
	path := filepath.Join(t.TempDir(), "relay.db")
	synctest.Test(t, func(t *testing.T) {
		db, err := sqlite.Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		log := slog.New(slog.DiscardHandler)
		r := &rig{t: t, db: db, hub: hub.NewLocal(), pipes: loopback.NewPipes()}
		r.gateway = gateway.New(wrap(db), r.hub, log)
		mux := http.NewServeMux()
		mux.HandleFunc(wire.ConnectPath, r.gateway.ServeConnect)
		mux.HandleFunc(wire.EnrolPath, r.gateway.ServeEnrol)
		mux.Handle("/api/", api.New(db, r.hub, log))
		srv := &http.Server{Handler: mux, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelError)}
		ctx, cancel := context.WithCancel(context.Background())
		var tasks sync.WaitGroup
		tasks.Go(func() { _ = srv.Serve(r.pipes) }) // ends with srv.Close
		tasks.Go(func() {
			if err := r.gateway.Run(ctx); err != nil {
				t.Errorf("Run: %v", err)
			}
		})
		defer tasks.Wait()
		defer cancel()
		defer srv.Close()
		defer r.gateway.Drain(ctx)
		test(t, r)
	})
}

// enrol makes the router known and gives its secret.
func (r *rig) enrol(id usage.RouterID) string {
	r.t.Helper()
	_, token := store.NewSecret(store.TokenPrefix)
	secret, hash := store.NewSecret(store.RouterPrefix)
	now := time.Now()
	err := r.db.CreateToken(r.t.Context(), store.Token{CreatedAt: now, ExpiresAt: now.Add(time.Hour)}, token)
	if err == nil {
		err = r.db.Redeem(r.t.Context(), token, store.Router{ID: id}, hash, now)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return secret
}

// dial opens a WebSocket, or says how it was refused.
func (r *rig) dial(secret string, edit func(http.Header)) (*websocket.Conn, *http.Response, error) {
	r.t.Helper()
	d := websocket.Dialer{NetDialContext: r.pipes.Dial, Subprotocols: []string{wire.Subprotocol}}
	header := http.Header{"Authorization": {"Bearer " + secret}}
	if edit != nil {
		edit(header)
	}
	return d.DialContext(r.t.Context(), "ws://relay"+wire.ConnectPath, header)
}

// agent is a router's end of a link.
type agent struct {
	t  *testing.T
	ws *websocket.Conn
}

// open opens a WebSocket that must not be refused.
func (r *rig) open(secret string) *agent {
	r.t.Helper()
	ws, _, err := r.dial(secret, nil)
	if err != nil {
		r.t.Fatalf("dial: %v", err)
	}
	r.t.Cleanup(func() { ws.Close() })
	return &agent{t: r.t, ws: ws}
}

// connect opens a link and says hello for the router.
func (r *rig) connect(secret string, id usage.RouterID) *agent {
	r.t.Helper()
	a := r.open(secret)
	a.send(hello(id))
	if m := a.read(); m.ID != 1 || m.Result == nil {
		r.t.Fatalf("welcome: got %+v", m)
	}
	return a
}

func hello(id usage.RouterID) []byte {
	params, _ := json.Marshal(wire.Hello{RouterID: string(id), Name: "attic", AgentVersion: "1.2.3", Methods: []string{"status"}})
	return wire.AppendCall(nil, 1, "hello", params, 0)
}

func (a *agent) send(frame []byte) {
	a.t.Helper()
	if err := a.ws.WriteMessage(websocket.TextMessage, frame); err != nil {
		a.t.Errorf("send: %v", err)
	}
}

func (a *agent) read() wire.Message {
	a.t.Helper()
	_, frame, err := a.ws.ReadMessage()
	if err != nil {
		a.t.Fatalf("read: %v", err)
	}
	m, err := wire.Decode(frame)
	if err != nil {
		a.t.Fatalf("decode %s: %v", frame, err)
	}
	return m
}

// wantClose reads until the relay closes the link, which must be with code.
func (a *agent) wantClose(code int, reason string) {
	a.t.Helper()
	for {
		_, _, err := a.ws.ReadMessage()
		if err == nil {
			continue
		}
		var closed *websocket.CloseError
		if !errors.As(err, &closed) || closed.Code != code || !strings.Contains(closed.Text, reason) {
			a.t.Errorf("close: got %v, want %d %q", err, code, reason)
		}
		a.ws.Close()
		return
	}
}

// answer answers every call with what f returns, until the link ends.
func (a *agent) answer(f func(m wire.Message) []byte) {
	for {
		_, frame, err := a.ws.ReadMessage()
		if err != nil {
			return
		}
		m, err := wire.Decode(frame)
		if err != nil {
			a.t.Errorf("decode %s: %v", frame, err)
			return
		}
		if reply := f(m); reply != nil {
			a.send(reply)
		}
	}
}

func echo(m wire.Message) []byte {
	if m.ID == 0 {
		return nil
	}
	return wire.AppendResult(nil, m.ID, m.Params)
}

// outcome is how a call ended.
type outcome struct {
	result json.RawMessage
	err    error
}

// calls starts n calls to the router; each sends its outcome once.
func (r *rig) calls(ctx context.Context, id usage.RouterID, n int) <-chan outcome {
	out := make(chan outcome, n)
	for range n {
		go func() { // ends as the call does
			result, err := r.hub.Call(ctx, id, "status", json.RawMessage(`{"n":1}`))
			out <- outcome{result, err}
		}()
	}
	return out
}

// wantKinds takes n outcomes, each an error of that kind.
func wantKinds(t *testing.T, out <-chan outcome, n int, want usage.Kind) {
	t.Helper()
	for range n {
		o := <-out
		if o.err == nil || usage.KindOf(o.err) != want {
			t.Errorf("call: got %s, %v, want kind %v", o.result, o.err, want)
		}
	}
}

// wantOnline checks what the hub and, soon after, the store say.
func (r *rig) wantOnline(id usage.RouterID, want bool) {
	r.t.Helper()
	if _, got := r.hub.Online(id); got != want {
		r.t.Errorf("online in the hub: got %v, want %v", got, want)
	}
	synctest.Wait()
	row, err := r.db.Router(r.t.Context(), id)
	if err != nil || row.Online(time.Now()) != want {
		r.t.Errorf("online in the store: got %v, %v, want %v", row.Online(time.Now()), err, want)
	}
}

// refusal reads an error body.
func refusal(t *testing.T, resp *http.Response) wire.RefusalError {
	t.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var got wire.Refusal
	if err := json.Unmarshal(body, &got); err != nil {
		t.Errorf("body %q is no refusal: %v", body, err)
	}
	return got.Error
}
