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
	// maxWaiting is the frames that wait for the socket: the calls that may be
	// open and their cancellations, more means the router takes nothing.
	maxWaiting = hub.MaxPending + 16
	// closeWithin is the time for saying goodbye: for the close frame to go
	// out, and for the router to hang up after it.
	closeWithin = 2 * time.Second
	// keepBuffer is the largest read buffer that serves another frame, in bytes.
	keepBuffer = 64 << 10
	// extendEvery is how often the pieces of one frame move the end of patience.
	extendEvery = time.Second
)

// buffers are read buffers, shared by links: most of them are idle.
type buffers struct{ pool sync.Pool }

func (b *buffers) get() *bytes.Buffer {
	buf, _ := b.pool.Get().(*bytes.Buffer)
	if buf == nil {
		buf = new(bytes.Buffer)
	}
	buf.Reset()
	return buf
}

func (b *buffers) put(buf *bytes.Buffer) {
	if buf.Cap() <= keepBuffer {
		b.pool.Put(buf)
	}
}

// conn is one router's WebSocket. One goroutine reads; who sends writes by
// itself if nobody else is writing (gorilla's rule). Anyone may call Send,
// Write and Close.
type conn struct {
	ws     *websocket.Conn
	router usage.RouterID // whose secret or certificate it came with
	from   string         // the client's address
	relay  *slog.Logger   // see log
	done   chan struct{}  // closed by the first Close

	once   sync.Once
	code   int // set before done is closed, like reason
	reason string

	buffers *buffers

	pushing atomic.Bool    // a history.push is being kept
	work    sync.WaitGroup // that push, and who writes the frames that wait

	mu      sync.Mutex // guards below
	proof   proof
	until   time.Time // when the secret stops working; zero for not yet known
	open    bool      // hello was accepted
	ended   bool      // nothing enters work any more
	writing bool      // somebody writes
	waiting [][]byte  // frames for when they have; more than maxWaiting end the link
}

func newConn(ws *websocket.Conn, router usage.RouterID, from string, p proof, shared *buffers, log *slog.Logger) *conn {
	return &conn{ws: ws, router: router, from: from, proof: p, buffers: shared, relay: log, done: make(chan struct{})}
}

// log says whom it is about. It is made when there is something to say, since
// a link has nothing to say for months.
func (c *conn) log() *slog.Logger { return c.relay.With("router", c.router, "from", c.from) }

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

// Send implements hub.Conn: a goroutine of the link writes the frame.
func (c *conn) Send(frame []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	mine, err := c.queueLocked(frame)
	if mine {
		c.work.Go(func() { _ = c.writeOne(frame) }) // ends with the write; its failure ends the link
	}
	return err
}

// Write implements hub.Conn: it spares a call the way through another
// goroutine.
func (c *conn) Write(frame []byte) error {
	c.mu.Lock()
	mine, err := c.queueLocked(frame)
	c.mu.Unlock()
	if !mine {
		return err
	}
	return c.writeOne(frame)
}

// queueLocked leaves the frame to whoever is writing. If nobody is, the frame
// is the caller's to write, now.
func (c *conn) queueLocked(frame []byte) (mine bool, err error) {
	switch {
	case c.ended || c.closed():
		return false, errors.New("the link is closing")
	case c.writing && len(c.waiting) >= maxWaiting:
		c.Close(wire.CloseSlow, "too many frames wait for this router")
		return false, errors.New("the link's queue is full")
	case c.writing:
		c.waiting = append(c.waiting, frame)
		return false, nil
	}
	c.writing = true
	return true, nil
}

// reserve has the frames of others wait until writeOne has written one.
func (c *conn) reserve() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writing = true
}

// writeOne writes a frame for whoever set writing, and sees to those that wait.
func (c *conn) writeOne(frame []byte) error {
	err := c.write(frame)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case len(c.waiting) == 0:
		c.writing = false
	case !c.ended: // whoever sent this frame has other things to do
		c.work.Go(c.writeWaiting) // ends when nothing waits
	}
	return err
}

// end waits for who works for the link, which nobody begins any more, and
// closes the socket.
func (c *conn) end() {
	c.mu.Lock()
	c.ended = true
	c.mu.Unlock()
	c.work.Wait()
	c.ws.Close()
}

// writeWaiting writes what waits. Once the link is closed nothing can.
func (c *conn) writeWaiting() {
	for {
		c.mu.Lock()
		if len(c.waiting) == 0 || c.closed() {
			c.writing, c.waiting = false, nil
			c.mu.Unlock()
			return
		}
		frame := c.waiting[0]
		c.waiting = c.waiting[1:]
		c.mu.Unlock()
		_ = c.write(frame) // has closed the link
	}
}

// write writes one frame. Only who has set writing may call it.
func (c *conn) write(frame []byte) error {
	_ = c.ws.SetWriteDeadline(time.Now().Add(wire.WriteWithin)) // never fails
	err := c.ws.WriteMessage(websocket.TextMessage, frame)
	if err != nil {
		c.failed(err, wire.CloseSlow, "the router did not take a frame in time")
	}
	return err
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
func (c *conn) extend(now time.Time) {
	_ = c.ws.SetReadDeadline(now.Add(wire.DeadAfter)) // fails on a closed socket only
	if c.closed() {                                   // perhaps meanwhile: Close must win
		_ = c.ws.SetReadDeadline(longAgo())
	}
}

// readFrame has use work on one text frame, whose memory then serves another;
// arrived is called when it begins and now and then while it comes.
func (c *conn) readFrame(arrived func(now time.Time), use func(frame []byte) error) error {
	kind, r, err := c.ws.NextReader()
	if err != nil {
		return err
	}
	begun := time.Now()
	arrived(begun)
	buf := c.buffers.get()
	defer c.buffers.put(buf)
	if _, err := buf.ReadFrom(readFunc(func(p []byte) (int, error) {
		n, err := r.Read(p)
		if n > 0 && buf.Len() > 0 { // not the first piece
			if now := time.Now(); now.Sub(begun) >= extendEvery {
				begun = now
				arrived(now)
			}
		}
		return n, err
	})); err != nil {
		return err
	}
	if kind != websocket.TextMessage {
		return usage.Errorf(usage.Invalid, "frames are text")
	}
	if !utf8.Valid(buf.Bytes()) { // RFC 6455 section 8.1
		return usage.Errorf(usage.Invalid, "frame is not UTF-8")
	}
	return use(buf.Bytes())
}

// readFunc makes a function an io.Reader.
type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }
