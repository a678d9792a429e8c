package uplink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
)

// Times of a link's end; together they stay below 5 s, in which the service
// must stop.
const (
	flushWithin = 1 * time.Second // the frame that is being written
	byeWithin   = 1 * time.Second // our close frame, then the relay's
	workWithin  = 1 * time.Second // calls whose context has ended
)

// maxNotices is how many notifications may wait for the writer. One more
// takes the place of the oldest: an answer is worth more than a live sample.
const maxNotices = 4

// maxReplies is how many short answers (busy, bad method) may wait for the
// writer. A relay that asks more without reading is cut off.
const maxReplies = 16

// link is one WebSocket from hello to close. One goroutine reads, one writes,
// and each call being worked on has its own.
type link struct {
	up      *Uplink
	conn    *websocket.Conn
	raw     *guardedConn
	welcome wire.Welcome  // fixed after hello
	limit   int           // bytes of the largest frame the relay reads; fixed after hello
	ping    time.Duration // between pings; fixed after hello

	results chan []byte     // from calls to the writer, with the call's slot; not buffered: the slot is held until its answer is taken
	replies chan []byte     // from the reader to the writer; full ends the link
	notices chan []byte     // from anyone to the writer; full drops the oldest
	done    <-chan struct{} // closed when the link ends; fixed by run
	end     context.CancelCauseFunc

	asks chan []byte // from ask to the writer; not buffered

	mu     sync.Mutex // guards below
	calls  map[wire.CallID]context.CancelFunc
	asked  wire.CallID         // the newest call of ours; hello was 1
	answer chan<- wire.Message // of capacity 1, for the answer to asked; nil if nobody waits
}

// hello introduces the router and waits for the relay's answer.
func (l *link) hello(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { l.raw.Close() })
	defer stop()
	h := l.up.opts.Hello()
	if l.up.opts.SaveIdentity != nil {
		h.Methods = append(slices.Clip(h.Methods), wire.MethodRotate)
	}
	params, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("hello: %w", err)
	}
	frame := wire.AppendCall(nil, 1, "hello", params, wire.HelloWithin)
	if len(frame) > wire.MaxHello {
		return fmt.Errorf("hello is %d bytes, over %d", len(frame), wire.MaxHello)
	}
	if err := l.writeFrame(frame); err != nil {
		return err
	}
	l.conn.SetReadLimit(wire.MaxHello)
	if err := l.conn.SetReadDeadline(time.Now().Add(wire.HelloWithin)); err != nil {
		return closed(err, wire.MaxHello)
	}
	m, err := l.read()
	if err != nil {
		return closed(err, wire.MaxHello)
	}
	switch {
	case m.Method != "" || m.ID != 1:
		return protocolFailure("frame before the answer to hello")
	case m.Error != nil:
		return &Failure{Cause: CauseRefused, Message: "relay refuses hello: " + m.Error.Message, Err: m.Error, close: websocket.CloseNormalClosure}
	}
	if err := json.Unmarshal(m.Result, &l.welcome); err != nil {
		return protocolFailure("answer to hello: %v", err)
	}
	l.accept(l.welcome)
	return nil
}

// accept takes over the relay's numbers as far as they make sense.
func (l *link) accept(w wire.Welcome) {
	l.limit = wire.MaxFrame
	if w.MaxFrame >= wire.MaxHello && w.MaxFrame < l.limit {
		l.limit = w.MaxFrame
	}
	l.ping, l.raw.idle = wire.PingEvery, wire.DeadAfter
	ping, dead := time.Duration(w.PingSeconds)*time.Second, time.Duration(w.DeadSeconds)*time.Second
	if w.PingSeconds >= 5 && w.PingSeconds <= 300 && w.DeadSeconds <= 900 && dead >= 2*ping {
		l.ping, l.raw.idle = ping, dead
	}
	l.conn.SetReadLimit(wire.MaxFrame)
	// gorilla's own handler gives a pong one second, after which the stream
	// would end inside of a frame.
	l.conn.SetPingHandler(func(data string) error {
		return slow(l.conn.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(wire.WriteWithin)))
	})
}

// run lives the link after hello until it fails or ctx ends, and returns why.
// When it returns its goroutines have ended, but for calls that do not heed
// their context: those keep their slot until they do.
func (l *link) run(ctx context.Context) error {
	ctx, l.end = context.WithCancelCause(ctx)
	defer l.end(nil)
	l.done = ctx.Done()
	reading, writing := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(reading)
		why := closed(l.readAll(ctx), wire.MaxFrame)
		l.end(why)
		if why.close != 0 {
			l.linger()
		}
	}()
	go func() {
		defer close(writing)
		if err := l.writeAll(ctx); err != nil {
			l.end(err)
		}
	}()
	following := make(chan struct{})
	go func() {
		defer close(following)
		if l.up.opts.Follow != nil {
			l.up.opts.Follow(ctx, l.welcome, l.ask)
		}
	}()
	<-ctx.Done()
	cause := context.Cause(ctx)
	<-following
	if !within(flushWithin, writing) {
		l.raw.Close() // ends the write
		<-writing
	}
	if l.goodbye(cause) {
		within(byeWithin, reading)
	}
	l.raw.Close() // ends the read
	<-reading
	if !l.up.idleWithin(workWithin) {
		l.up.log.Warn("call goes on after its link ended")
	}
	return cause
}

func within(d time.Duration, done <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// goodbye sends the close frame that goes with why, and tells whether one was
// sent. Only one goroutine may still use the connection, to read.
func (l *link) goodbye(why error) bool {
	code, reason := websocket.CloseGoingAway, "" // the agent stops
	var f *Failure
	if errors.As(why, &f) {
		code, reason = f.close, usage.Clean(f.Message, 100) // a control frame has 125 bytes
	} else if !errors.Is(why, context.Canceled) {
		code = websocket.CloseNormalClosure
	}
	if code == 0 {
		return false
	}
	err := l.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Now().Add(byeWithin))
	return err == nil || errors.Is(err, websocket.ErrCloseSent)
}

// linger reads what the relay still sends until it hangs up: bytes left unread
// would turn our hanging up into a reset, which can outrun the close frame.
// Only the reader may call it, as its last read.
func (l *link) linger() {
	l.raw.idle = 0
	if l.raw.SetReadDeadline(time.Now().Add(flushWithin+byeWithin)) == nil {
		_, _ = io.Copy(io.Discard, l.raw) // ends when the relay, run or the deadline does
	}
}

// read takes the next frame.
func (l *link) read() (wire.Message, error) {
	kind, frame, err := l.conn.ReadMessage()
	if err != nil {
		return wire.Message{}, err
	}
	if kind != websocket.TextMessage {
		return wire.Message{}, protocolFailure("frame is not text")
	}
	if !utf8.Valid(frame) { // RFC 6455 section 8.1; gorilla leaves it to us
		return wire.Message{}, protocolFailure("frame is not UTF-8")
	}
	m, err := wire.Decode(frame)
	if err != nil {
		return m, protocolFailure("%s", usage.Clean(err.Error(), 100))
	}
	return m, nil
}

// readAll works on frames until the connection fails or is closed.
func (l *link) readAll(ctx context.Context) error {
	if err := l.conn.SetReadDeadline(time.Time{}); err != nil { // from here on raw.idle
		return err
	}
	for {
		m, err := l.read()
		if err != nil {
			return err
		}
		switch {
		case m.Method == "":
			l.answered(m)
		case m.ID != 0:
			err = l.call(ctx, m)
		case m.Method == "cancel":
			l.cancel(m.Params)
		}
		if err != nil {
			return err
		}
	}
}

// writeAll writes what reader and calls hand it, and pings, until ctx ends.
func (l *link) writeAll(ctx context.Context) error {
	timer := time.NewTimer(l.nextPing())
	defer timer.Stop()
	for {
		frame, open := l.next(ctx, timer)
		var err error
		switch {
		case !open:
			return nil
		case frame != nil:
			err = l.writeFrame(frame)
		default:
			err = l.writePing()
		}
		if err != nil {
			return err
		}
	}
}

// next waits for what is to be written; nil stands for a ping. False: ctx
// ended. It is a function of its own so that nothing holds the last answer, of
// up to 1 MiB, while it waits.
func (l *link) next(ctx context.Context, timer *time.Timer) (frame []byte, open bool) {
	select {
	case <-ctx.Done():
		return nil, false
	case frame := <-l.results:
		// Before the write: who has read the answer may ask the next
		// at once and must not be told busy.
		<-l.up.slots
		return frame, true
	case frame := <-l.replies:
		return frame, true
	case frame := <-l.notices:
		return frame, true
	case frame := <-l.asks:
		return frame, true
	case <-timer.C:
		timer.Reset(l.nextPing())
		return nil, true
	case <-l.up.opts.Wake: // the way out may have changed under us
		return nil, true
	}
}

// Notify implements wire.Peer. What no frame of the relay can hold is dropped
// too.
func (l *link) Notify(method string, params json.RawMessage) {
	frame := wire.AppendNotify(nil, method, params)
	if len(frame) > l.limit {
		return
	}
	for {
		select {
		case l.notices <- frame:
			return
		default:
		}
		select {
		case <-l.notices:
		default:
		}
	}
}

// Done implements wire.Peer.
func (l *link) Done() <-chan struct{} { return l.done }

// nextPing is jittered anew each time, so that routers do not fall into step.
func (l *link) nextPing() time.Duration { return spread(l.ping, 0.1, l.up.opts.Rand()) }

// writePing sends a ping (RFC 6455 section 5.5.2); the pong is one of the
// frames that keep the reader from giving up.
func (l *link) writePing() error {
	return slow(l.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(wire.WriteWithin)))
}

func (l *link) writeFrame(frame []byte) error {
	if err := l.conn.SetWriteDeadline(time.Now().Add(wire.WriteWithin)); err != nil {
		return slow(err)
	}
	return slow(l.conn.WriteMessage(websocket.TextMessage, frame))
}

// slow says what a failed write means. The stream may end inside of a frame,
// so no close frame can follow.
func slow(err error) error {
	if err == nil {
		return nil
	}
	if isTimeout(err) {
		return &Failure{Cause: CauseSlow, Message: fmt.Sprintf("relay did not take a frame within %v", wire.WriteWithin), Err: err}
	}
	return &Failure{Cause: CauseClosed, Message: "the connection to the relay was lost", Err: err}
}
