package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/netpilot/netpilot/pkg/nlbwmon/nlbwmontest"
)

// BenchmarkRESTCall is one REST call for a 4 KB answer over loopback, in one
// run: "floor" is an HTTP handler that asks a bare WebSocket client and hands
// its reply on, less than which two hops cannot take; "netpilot" is the real
// relay and the real agent on a snapshot
// of 22 rows.
func BenchmarkRESTCall(b *testing.B) {
	s, r := newServer(b), newRouter(b, lab, "live-lab")
	r.enrol(s)
	r.run()
	s.online(1)
	r.daemon.SetRows(nlbwmontest.Generate(22, 1))
	if err := r.daemon.Refresh(); err != nil {
		b.Fatal(err)
	}
	url := s.url + "/api/device-usage/records?limit=17&routerId=" + r.id()
	var size int
	b.Run("netpilot", func(b *testing.B) {
		at := time.Now().Add(-5 * time.Second) // within nlbwmon's 30 s, as nearly always
		if err := os.Chtimes(r.nlbwmon.SnapshotPath, at, at); err != nil {
			b.Fatal(err)
		}
		size = get(b, url, s.key)
		b.ReportMetric(float64(size), "bytes")
	})
	b.Run("floor", func(b *testing.B) { floor(b, size) })
}

// get measures one GET after the other and returns the last answer's size.
func get(b *testing.B, url, key string) int {
	client := &http.Client{Transport: new(http.Transport)}
	defer client.CloseIdleConnections()
	size := 0
	for b.Loop() {
		req, err := http.NewRequest(http.MethodGet, url, nil)
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+key)
		resp, err := client.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			b.Fatalf("status %d, %v: %s", resp.StatusCode, err, body)
		}
		size = len(body)
	}
	return size
}

func floor(b *testing.B, size int) {
	reply := fmt.Appendf(nil, `{"jsonrpc":"2.0","id":1,"result":"%s"}`, strings.Repeat("x", size))
	links, done := make(chan *websocket.Conn, 1), make(chan struct{})
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
		if err := link.WriteMessage(websocket.TextMessage, []byte(`{"jsonrpc":"2.0","id":1,"method":"x"}`)); err != nil {
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
	link = <-links
	ended := make(chan struct{})
	go func() { // ends with ws
		defer close(ended)
		for {
			if _, _, err := ws.ReadMessage(); err != nil {
				return
			}
			if err := ws.WriteMessage(websocket.TextMessage, reply); err != nil {
				return
			}
		}
	}()
	defer func() { ws.Close(); <-ended }()
	get(b, srv.URL+"/call", "")
}
