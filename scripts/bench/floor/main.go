// Floor is the least that two hops can cost: HTTP POST, one WebSocket of
// gorilla's, its client, and the answer back, with no key, no check, no log and
// no metric. The relay is measured against it.
//
//	floor serve            # prints its address
//	floor clients ADDR N   # N clients that answer at once
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/gorilla/websocket"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case len(os.Args) == 2 && os.Args[1] == "serve":
		err = serve(ctx)
	case len(os.Args) == 4 && os.Args[1] == "clients":
		var n int
		if n, err = strconv.Atoi(os.Args[3]); err == nil {
			err = clients(ctx, os.Args[2], n)
		}
	default:
		fmt.Fprintln(os.Stderr, "usage: floor serve | floor clients ADDR N")
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

// link is one client's WebSocket. A frame is a number, a blank and a text, both
// ways; the number says whose answer it is.
type link struct {
	ws *websocket.Conn

	mu      sync.Mutex // guards below, and writing
	last    uint64
	waiting map[uint64]chan []byte
}

type server struct {
	mu    sync.Mutex // guards links
	links map[string]*link
}

func serve(ctx context.Context) error {
	s := &server{links: make(map[string]*link)}
	mux := http.NewServeMux()
	mux.HandleFunc("/link/{name}", s.link)
	mux.HandleFunc("POST /call/{name}", s.call)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	srv := &http.Server{Handler: mux}
	context.AfterFunc(ctx, func() { srv.Close() })
	if err := srv.Serve(l); err != http.ErrServerClosed {
		return err
	}
	return nil
}

func (s *server) link(w http.ResponseWriter, r *http.Request) {
	up := websocket.Upgrader{ReadBufferSize: 4 << 10, WriteBufferSize: 4 << 10}
	ws, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	l := &link{ws: ws, waiting: make(map[uint64]chan []byte)}
	s.mu.Lock()
	s.links[r.PathValue("name")] = l
	s.mu.Unlock()
	for {
		_, frame, err := ws.ReadMessage()
		if err != nil {
			return
		}
		number, text, _ := strings.Cut(string(frame), " ")
		n, _ := strconv.ParseUint(number, 10, 64)
		l.mu.Lock()
		answer := l.waiting[n]
		delete(l.waiting, n)
		l.mu.Unlock()
		if answer != nil {
			answer <- []byte(text)
		}
	}
}

func (s *server) call(w http.ResponseWriter, r *http.Request) {
	question, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	l := s.links[r.PathValue("name")]
	s.mu.Unlock()
	if l == nil {
		http.Error(w, "no such link", http.StatusNotFound)
		return
	}
	answer := make(chan []byte, 1)
	l.mu.Lock()
	l.last++
	l.waiting[l.last] = answer
	err = l.ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, "%d %s", l.last, question))
	l.mu.Unlock()
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	_, _ = w.Write(<-answer)
}

// clients answer each question with itself and 4 KB.
func clients(ctx context.Context, addr string, n int) error {
	fill := strings.Repeat("x", 4<<10)
	var all sync.WaitGroup
	for i := range n {
		ws, _, err := websocket.DefaultDialer.DialContext(ctx, fmt.Sprintf("ws://%s/link/%d", addr, i), nil)
		if err != nil {
			return err
		}
		context.AfterFunc(ctx, func() { ws.Close() })
		all.Go(func() {
			for {
				_, frame, err := ws.ReadMessage()
				if err != nil {
					return
				}
				if ws.WriteMessage(websocket.TextMessage, append(frame, fill...)) != nil {
					return
				}
			}
		})
	}
	fmt.Println("up")
	all.Wait()
	return nil
}
