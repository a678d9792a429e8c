package uplink

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"github.com/netpilot/netpilot/agent/config"
	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
	"github.com/netpilot/netpilot/scripts/loopback"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testSecret = "0123456789abcdef0123456789abcdef0123456789a"
	testRouter = "c2f9f4e1b0f6c9be1f0e3b4e12a97d2af5d4a9f3d0d9d0c4c8ad5b7d1e5f6071"
)

// relay is the other end: an HTTP handler that checks an agent's request and
// gives each link to the test.
type relay struct {
	t      *testing.T
	refuse func(w http.ResponseWriter, dial int) bool // may answer instead
	header http.Header                                // of the upgrade
	link   func(ws *websocket.Conn, dial int)         // returns when the link shall end

	mu    sync.Mutex // guards dials
	dials []time.Time
}

func (r *relay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	r.dials = append(r.dials, time.Now())
	dial := len(r.dials)
	r.mu.Unlock()
	for name, want := range map[string]string{
		"Authorization": "Bearer " + testSecret, "Origin": "", "Sec-WebSocket-Extensions": "",
		"Sec-WebSocket-Protocol": wire.Subprotocol, "User-Agent": "netpilot-agent/1.2.3",
	} {
		if got := req.Header.Get(name); got != want {
			r.t.Errorf("header %s is %q, want %q", name, got, want)
		}
	}
	if req.Method != http.MethodGet || req.URL.Path != wire.ConnectPath {
		r.t.Errorf("got %s %s", req.Method, req.URL.Path)
	}
	if r.refuse != nil && r.refuse(w, dial) {
		return
	}
	up := websocket.Upgrader{Subprotocols: []string{wire.Subprotocol}}
	ws, err := up.Upgrade(w, req, r.header)
	if err != nil {
		r.t.Errorf("upgrade: %v", err)
		return
	}
	defer ws.Close()
	r.link(ws, dial)
}

// waits are the times between dials.
func (r *relay) waits() []time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	var waits []time.Duration
	for i := 1; i < len(r.dials); i++ {
		waits = append(waits, r.dials[i].Sub(r.dials[i-1]))
	}
	return waits
}

// accept reads hello and answers it.
func accept(t *testing.T, ws *websocket.Conn) bool {
	_, frame, err := ws.ReadMessage()
	if err != nil {
		t.Errorf("no hello: %v", err)
		return false
	}
	m, err := wire.Decode(frame)
	var hello wire.Hello
	if err != nil || m.Method != "hello" || m.ID != 1 || json.Unmarshal(m.Params, &hello) != nil || hello.RouterID != testRouter {
		t.Errorf("hello is %s", frame)
	}
	welcome, _ := json.Marshal(wire.Welcome{ServerTime: time.Now(), PingSeconds: 25, DeadSeconds: 65, MaxFrame: wire.MaxFrame})
	return ws.WriteMessage(websocket.TextMessage, wire.AppendResult(nil, 1, welcome)) == nil
}

func call(ws *websocket.Conn, id wire.CallID, method string, timeout time.Duration) {
	_ = ws.WriteMessage(websocket.TextMessage, wire.AppendCall(nil, id, method, nil, timeout))
}

// readUntilClosed reads frames until the link ends, and returns why.
func readUntilClosed(ws *websocket.Conn, frame func(wire.Message)) error {
	for {
		_, text, err := ws.ReadMessage()
		if err != nil {
			return err
		}
		m, err := wire.Decode(text)
		if err != nil {
			return err
		}
		if frame != nil {
			frame(m)
		}
	}
}

func hangUp(ws *websocket.Conn, code int, reason string) {
	_ = ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Time{})
	_ = readUntilClosed(ws, nil)
}

// closeAfter sends a close frame later; another goroutine may read meanwhile.
func closeAfter(ws *websocket.Conn, d time.Duration) {
	time.AfterFunc(d, func() {
		_ = ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseGoingAway, ""), time.Now().Add(time.Second))
	})
}

// echo answers every call with its method.
func echo(_ context.Context, method string, _ json.RawMessage) (json.RawMessage, error) {
	return json.Marshal(method)
}

func middle() float64 { return 0.5 }

func testOptions(relayURL string, handle Handler) Options {
	u, err := url.Parse(relayURL)
	if err != nil {
		panic(err)
	}
	return Options{
		Client:   Client{Version: "1.2.3"},
		Identity: config.Identity{Relay: u, RouterID: testRouter, Secret: testSecret},
		Hello: func() wire.Hello {
			return wire.Hello{RouterID: testRouter, Methods: []string{"status"}, MaxCalls: wire.MaxCalls}
		},
		Handle: handle,
		Rand:   middle,
	}
}

// start runs an uplink until stop is called or the test ends.
func start(t *testing.T, o Options) (u *Uplink, stop func()) {
	u = New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- u.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return u, stop
}

// serveMemory serves r and returns the options of an agent that reaches it.
func serveMemory(t *testing.T, r *relay, handle Handler) (o Options, stop func()) {
	m := loopback.NewPipes()
	server := &http.Server{Handler: r}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(m)
	}()
	o = testOptions("http://localhost", handle)
	o.Dial = m.Dial
	return o, func() {
		_ = server.Close()
		<-served
	}
}

// logged collects log lines.
type logged struct {
	mu    sync.Mutex
	lines []string
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(p))
	return len(p), nil
}

func (l *logged) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, line := range l.lines {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func closeCode(err error) int {
	var c *websocket.CloseError
	if errors.As(err, &c) {
		return c.Code
	}
	return 0
}

func errorOf(m wire.Message) usage.Kind {
	if m.Error == nil {
		return usage.Internal
	}
	return m.Error.Kind
}
