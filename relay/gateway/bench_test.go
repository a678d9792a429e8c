package gateway_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/netpilot/netpilot/pkg/wire"
	"github.com/netpilot/netpilot/relay/api"
	"github.com/netpilot/netpilot/relay/gateway"
	"github.com/netpilot/netpilot/relay/hub"
	"github.com/netpilot/netpilot/relay/store"
	"github.com/netpilot/netpilot/relay/store/sqlite"
)

// BenchmarkCall is one REST call for a 4 KB answer of a router over loopback:
// "relay" through api, hub and gateway with keys, envelope and deadlines, and
// "floor" through an HTTP handler that writes to a WebSocket and reads from it,
// less than which no relay can do.
func BenchmarkCall(b *testing.B) {
	result := json.RawMessage(`{"devices":"` + strings.Repeat("0123456789abcdef", 256) + `"}`)
	b.Run("floor", func(b *testing.B) { benchFloor(b, result) })
	b.Run("relay", func(b *testing.B) { benchRelay(b, result) })
}

func benchFloor(b *testing.B, result json.RawMessage) {
	links := make(chan *websocket.Conn, 1)
	done := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/link", func(w http.ResponseWriter, r *http.Request) {
		var up websocket.Upgrader
		ws, err := up.Upgrade(w, r, nil)
		if err != nil {
			b.Error(err)
			return
		}
		defer ws.Close()
		links <- ws
		<-done
	})
	var link *websocket.Conn
	mux.HandleFunc("/call", func(w http.ResponseWriter, _ *http.Request) {
		if err := link.WriteMessage(websocket.TextMessage, []byte(`{}`)); err != nil {
			b.Error(err)
			return
		}
		_, frame, err := link.ReadMessage()
		if err != nil {
			b.Error(err)
			return
		}
		_, _ = w.Write(frame)
	})
	srv := httptest.NewServer(mux)
	defer srv.Close()
	defer close(done)
	ws, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(srv.URL, "http")+"/link", nil)
	if err != nil {
		b.Fatal(err)
	}
	defer ws.Close()
	link = <-links
	go func() { // ends with ws
		for {
			if _, _, err := ws.ReadMessage(); err != nil {
				return
			}
			if err := ws.WriteMessage(websocket.TextMessage, result); err != nil {
				return
			}
		}
	}()
	benchGet(b, srv.URL+"/call", "")
}

func benchRelay(b *testing.B, result json.RawMessage) {
	db, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "relay.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	log := slog.New(slog.DiscardHandler)
	links := hub.NewLocal()
	g := gateway.New(db, links, log)
	mux := http.NewServeMux()
	mux.HandleFunc(wire.ConnectPath, g.ServeConnect)
	mux.Handle("/", api.New(db, links, log))
	srv := httptest.NewServer(mux)
	defer srv.Close()
	defer g.Drain(b.Context())

	now := time.Now()
	_, token := store.NewSecret("")
	secret, secretHash := store.NewSecret("")
	key, keyHash := store.NewSecret("")
	for _, err := range []error{
		db.CreateToken(b.Context(), store.Token{CreatedAt: now, ExpiresAt: now.Add(time.Hour)}, token),
		db.Redeem(b.Context(), token, store.Router{ID: router1}, secretHash, now),
		db.CreateKey(b.Context(), store.Key{ID: "1", Name: "bench", CreatedAt: now}, keyHash),
	} {
		if err != nil {
			b.Fatal(err)
		}
	}
	d := websocket.Dialer{Subprotocols: []string{wire.Subprotocol}}
	ws, _, err := d.Dial("ws"+strings.TrimPrefix(srv.URL, "http")+wire.ConnectPath, http.Header{"Authorization": {"Bearer " + secret}})
	if err != nil {
		b.Fatal(err)
	}
	defer ws.Close()
	if err := ws.WriteMessage(websocket.TextMessage, hello(router1)); err != nil {
		b.Fatal(err)
	}
	if _, _, err := ws.ReadMessage(); err != nil {
		b.Fatal(err)
	}
	go func() { // ends with ws
		for {
			_, frame, err := ws.ReadMessage()
			if err != nil {
				return
			}
			m, err := wire.Decode(frame)
			if err != nil {
				b.Error(err)
				return
			}
			if err := ws.WriteMessage(websocket.TextMessage, wire.AppendResult(nil, m.ID, result)); err != nil {
				return
			}
		}
	}()
	benchGet(b, srv.URL+"/api/device-usage/current?routerId="+string(router1), key)
}

// benchGet measures one GET after the other.
func benchGet(b *testing.B, url, key string) {
	client := &http.Client{Transport: new(http.Transport)}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(b.Context(), "GET", url, nil)
	if err != nil {
		b.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	b.ReportAllocs()
	for b.Loop() {
		resp, err := client.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		n, err := io.Copy(io.Discard, resp.Body)
		if err != nil || resp.StatusCode != 200 || n < 4096 {
			b.Fatalf("got %d, %d bytes, %v", resp.StatusCode, n, err)
		}
		resp.Body.Close()
	}
}
