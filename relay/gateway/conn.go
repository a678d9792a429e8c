package gateway

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
	"github.com/netpilot/netpilot/relay/hub"
	"github.com/netpilot/netpilot/relay/store"
)

const (
	// outQueue is the frames that wait for the socket: the calls that may be
	// open and their cancellations, more means the router takes nothing.
	outQueue = hub.MaxPending + 16
	// closeWithin is the time for saying goodbye: for the close frame to go
	// out, and for the router to hang up after it.
	closeWithin = 2 * time.Second
	// keepBuffer is the read buffer a link keeps between frames, in bytes.
	keepBuffer = 64 << 10
)

// conn is one router's WebSocket. One goroutine reads, one writes (gorilla's
// rule); anyone may call Send and Close.
type conn struct {
	ws     *websocket.Conn
	router usage.RouterID // whose secret or certificate it came with
	from   string         // the client's address
	log    *slog.Logger
	out    chan []byte   // never closed; full ends the link
	done   chan struct{} // closed by the first Close

	once   sync.Once
	code   int // set before done is closed, like reason
	reason string

	buf bytes.Buffer // owned by the reader

	pushing atomic.Bool    // a history.push is being kept
	work    sync.WaitGroup // that push

	mu    sync.Mutex // guards below
	proof proof
	until time.Time // when the secret stops working; zero for not yet known
	open  bool      // hello was accepted
}

func newConn(ws *websocket.Conn, router usage.RouterID, from string, p proof, log *slog.Logger) *conn {
	return &conn{
		ws: ws, router: router, from: from, proof: p, log: log,
		out:  make(chan []byte, outQueue),
		done: make(chan struct{}),
	}
}

// proofNow is what the connection has for itself now.
func (c *conn) proofNow() (proof, time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.proof, c.until
}

// proven notes that the router on the link has changed its secret.
func (c *conn) proven(secret store.Hash) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open && c.proof.hasSecret {
		c.proof.secret, c.until = secret, time.Time{}
	}
}

// accepted notes that hello was accepted, under a secret that works until then.
func (c *conn) accepted(until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open, c.until = true, until
}

// codeLost marks a link whose socket is of no more use: RFC 6455 section
// 7.4.1 reserves 1006 for that and forbids to send it.
const codeLost = websocket.CloseAbnormalClosure

// Close implements hub.Conn. It wakes both goroutines; they say goodbye.
func (c *conn) Close(code int, reason string) {
	c.once.Do(func() {
		c.code, c.reason = code, usage.Clean(reason, 123) // RFC 6455 section 5.5: 125 bytes with the code
		close(c.done)
		_ = c.ws.NetConn().SetWriteDeadline(time.Now().Add(closeWithin)) // fails on a closed socket only
		_ = c.ws.NetConn().SetReadDeadline(longAgo())
	})
}

// longAgo is a deadline that ends a read in progress.
func longAgo() time.Time { return time.Unix(1, 0) }

func (c *conn) closed() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// Send implements hub.Conn.
func (c *conn) Send(frame []byte) error {
	if c.closed() {
		return errors.New("the link is closing")
	}
	select {
	case c.out <- frame:
		return nil
	default:
		c.Close(wire.CloseSlow, "too many frames wait for this router")
		return errors.New("the link's queue is full")
	}
}

// writeLoop sends what is queued until the link closes.
func (c *conn) writeLoop() {
	for {
		select {
		case <-c.done:
			return
		case frame := <-c.out:
			_ = c.ws.SetWriteDeadline(time.Now().Add(wire.WriteWithin)) // never fails
			if err := c.ws.WriteMessage(websocket.TextMessage, frame); err != nil {
				c.failed(err, wire.CloseSlow, "the router did not take a frame in time")
			}
		}
	}
}

// sayClose sends the close frame.
func (c *conn) sayClose() {
	if c.code == codeLost {
		return
	}
	_ = c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(c.code, c.reason),
		time.Now().Add(closeWithin)) // best effort: the link ends either way
}

// linger waits until the router hangs up, since closing a socket with unread
// data would reset the connection and could take the close frame with it.
// Only the reader may call it, as its last read.
func (c *conn) linger() {
	if c.code == codeLost {
		return
	}
	_ = c.ws.NetConn().SetReadDeadline(time.Now().Add(closeWithin))
	_, _ = io.Copy(io.Discard, io.LimitReader(c.ws.NetConn(), 4*wire.MaxFrame))
}

// failed closes the link for an error of its socket; code and reason are for a
// deadline that passed.
func (c *conn) failed(err error, code int, reason string) {
	var protocol *usage.Error
	var timeout net.Error
	switch {
	case errors.As(err, &protocol):
		c.Close(wire.CloseProtocol, protocol.Message)
	case errors.Is(err, websocket.ErrReadLimit): // gorilla has said so
		c.Close(websocket.CloseMessageTooBig, "frame is too large")
	case errors.As(err, &timeout) && timeout.Timeout():
		c.Close(code, reason)
	default: // a close frame, which gorilla has answered, or a broken connection
		c.Close(codeLost, err.Error())
	}
}

// extend moves the end of patience after something arrived.
func (c *conn) extend() {
	_ = c.ws.SetReadDeadline(time.Now().Add(wire.DeadAfter)) // fails on a closed socket only
	if c.closed() {                                          // perhaps meanwhile: Close must win
		_ = c.ws.SetReadDeadline(longAgo())
	}
}

// readFrame reads one text frame, which is good until the next call; arrived
// is called for each piece of it.
func (c *conn) readFrame(arrived func()) ([]byte, error) {
	kind, r, err := c.ws.NextReader()
	if err != nil {
		return nil, err
	}
	if c.buf.Cap() > keepBuffer {
		c.buf = bytes.Buffer{}
	}
	c.buf.Reset()
	if _, err := c.buf.ReadFrom(readFunc(func(p []byte) (int, error) {
		n, err := r.Read(p)
		if n > 0 {
			arrived()
		}
		return n, err
	})); err != nil {
		return nil, err
	}
	if kind != websocket.TextMessage {
		return nil, usage.Errorf(usage.Invalid, "frames are text")
	}
	if !utf8.Valid(c.buf.Bytes()) { // RFC 6455 section 8.1
		return nil, usage.Errorf(usage.Invalid, "frame is not UTF-8")
	}
	return c.buf.Bytes(), nil
}

// readFunc makes a function an io.Reader.
type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }
