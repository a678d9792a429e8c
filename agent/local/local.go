// Package local is the agent's door for the router's own command line: a unix
// socket of mode 0600 on which calls and replies of pkg/wire pass, each a
// line. A client makes one call after the other; what it subscribed to comes
// as notifications between the replies.
package local

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
)

// Path is where the socket lies, below the root.
//
// The directory is the agent's own: in its jail only that is writable below
// /var/run.
const Path = "/var/run/netpilot/agent.sock"

// Bounds of one conversation.
const (
	callWithin = 30 * time.Second
	maxCall    = 64 << 10
	maxClients = 8 // beyond it a client waits in the listen queue
)

// Handler answers one call.
type Handler func(ctx context.Context, method string, params json.RawMessage) (json.RawMessage, error)

// Serve answers calls that come by l until ctx ends, and leaves no goroutine and
// no socket file behind. It closes l.
func Serve(ctx context.Context, l net.Listener, handle Handler, log *slog.Logger) error {
	return (&server{handle: handle, log: log}).serve(ctx, l)
}

type server struct {
	handle Handler
	log    *slog.Logger
}

func (s *server) serve(ctx context.Context, l net.Listener) error {
	var clients sync.WaitGroup
	slots := make(chan struct{}, maxClients)
	// Ends when ctx does; closing the listener ends Accept below.
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	defer clients.Wait()
	defer l.Close()
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("accept at %s: %w", l.Addr(), err)
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			conn.Close()
			return nil
		}
		clients.Go(func() {
			defer func() { <-slots }()
			if err := s.answer(ctx, conn); err != nil {
				s.log.Debug("local call failed", "err", err)
			}
		})
	}
}

// Listen binds path with mode 0600, in place of a socket that nobody serves.
// Where another agent answers at path already, it fails. Calls that come before
// Serve wait for it.
func Listen(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make room for the socket: %w", err)
	}
	// This never waits (connect(2), EAGAIN).
	if conn, err := net.Dial("unix", path); err == nil {
		conn.Close()
		return nil, fmt.Errorf("another netpilot-agent answers at %s; try: service netpilot-agent status", path)
	} else if errors.Is(err, syscall.ECONNREFUSED) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("remove stale socket: %w", err)
		}
	}
	// The mode is right from the first instant, not after a chmod.
	old := syscall.Umask(0o177)
	l, err := net.Listen("unix", path)
	syscall.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", path, err)
	}
	return l, nil
}

// client is one connection. Its reader works on the calls, its writer sends
// replies and notifications.
type client struct {
	replies chan []byte   // from the reader; closed by it at the end
	notices chan []byte   // from anyone; never closed, what finds it full is dropped
	done    chan struct{} // closed when the reader has ended
}

// maxNotices is how many notifications wait for a client that is slow.
const maxNotices = 4

// Notify implements wire.Peer.
func (c *client) Notify(method string, params json.RawMessage) {
	select {
	case c.notices <- append(wire.AppendNotify(nil, method, params), '\n'):
	default:
	}
}

// Done implements wire.Peer.
func (c *client) Done() <-chan struct{} { return c.done }

// write sends what the reader and notifiers hand over until the reader ends
// or the connection fails.
func (c *client) write(conn net.Conn) {
	var frame []byte
	open := true
	for open {
		select {
		case frame, open = <-c.replies:
		case frame = <-c.notices:
		}
		if !open {
			return
		}
		if _, err := conn.Write(frame); err != nil {
			conn.Close() // ends the reader
			for range c.replies {
			}
			return
		}
	}
}

// answer serves one connection and closes it. A client that says nothing for
// callWithin is gone.
func (s *server) answer(ctx context.Context, conn net.Conn) error {
	c := &client{replies: make(chan []byte), notices: make(chan []byte, maxNotices), done: make(chan struct{})}
	ctx, cancel := context.WithCancel(wire.WithPeer(ctx, c))
	defer cancel()
	defer conn.Close()
	var writer sync.WaitGroup
	defer writer.Wait()
	defer close(c.replies)
	defer close(c.done)
	writer.Go(func() { c.write(conn) }) // ends when replies is closed
	lines := bufio.NewReaderSize(conn, 4<<10)
	for {
		if more, err := s.turn(ctx, conn, lines, c); err != nil || !more {
			return err
		}
	}
}

// turn is one call and its reply; false means that the client hung up.
func (s *server) turn(ctx context.Context, conn net.Conn, lines *bufio.Reader, c *client) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return false, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	line, err := readFrame(lines, maxCall)
	if err == io.EOF {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read call: %w", err)
	}
	call, err := wire.Decode(line)
	if err != nil {
		return false, err
	}
	if call.Method == "" || call.ID == 0 {
		return false, errors.New("frame is no call")
	}
	result, err := s.call(ctx, call)
	var reply []byte
	if err != nil {
		reply = wire.AppendError(nil, call.ID, &usage.Error{Kind: usage.KindOf(err), Message: err.Error()})
	} else {
		reply = wire.AppendResult(make([]byte, 0, len(result)+64), call.ID, result)
	}
	select {
	case c.replies <- append(reply, '\n'):
		return true, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// readFrame reads a line of at most limit bytes; io.EOF alone means that none
// began.
func readFrame(r *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > limit:
			return nil, fmt.Errorf("a line over %d bytes", limit)
		case err == nil:
			return line, nil
		case err == io.EOF && len(line) > 0:
			return nil, io.ErrUnexpectedEOF
		case err != bufio.ErrBufferFull:
			return nil, err
		}
	}
}

// call calls the handler; its panic is this call's failure alone.
func (s *server) call(ctx context.Context, m wire.Message) (result json.RawMessage, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("local call panicked", "method", m.Method, "err", p, "stack", string(debug.Stack()))
			result, err = nil, errors.New("internal error")
		}
	}()
	return s.handle(ctx, m.Method, m.Params)
}

// ErrNoDaemon means that no agent runs at the path.
var ErrNoDaemon = errors.New("the netpilot-agent daemon does not run; try: service netpilot-agent start")

// Call asks the agent at path. The error is ErrNoDaemon where none runs, and
// of the agent's own kind where it answered with one.
func Call(ctx context.Context, path, method string, params json.RawMessage) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	c, err := Dial(ctx, path)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.Call(ctx, method, params)
}

// Conn is a connection to the agent, for a caller of several methods or of
// one that sends notifications. It is for one goroutine.
type Conn struct {
	conn  net.Conn
	lines *bufio.Reader
	last  wire.CallID
}

// Dial connects to the agent at path; the error is ErrNoDaemon where none
// runs.
func Dial(ctx context.Context, path string) (*Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, ErrNoDaemon
	case err != nil:
		return nil, fmt.Errorf("ask the daemon: %w", err)
	}
	return &Conn{conn: conn, lines: bufio.NewReader(conn)}, nil
}

// Close hangs up.
func (c *Conn) Close() error { return c.conn.Close() }

// Call asks and waits for the reply. Notifications that come first are
// dropped.
func (c *Conn) Call(ctx context.Context, method string, params json.RawMessage) (json.RawMessage, error) {
	if err := c.Send(method, params); err != nil {
		return nil, err
	}
	for {
		m, err := c.Next(ctx)
		if err != nil {
			return nil, err
		}
		if m.ID != c.last {
			continue
		}
		if m.Error != nil {
			return nil, m.Error
		}
		return m.Result, nil
	}
}

// Send asks without waiting for the reply, which is one of Next's.
func (c *Conn) Send(method string, params json.RawMessage) error {
	c.last++
	if err := c.conn.SetWriteDeadline(time.Now().Add(callWithin)); err != nil {
		return err
	}
	if _, err := c.conn.Write(append(wire.AppendCall(nil, c.last, method, params, 0), '\n')); err != nil {
		return fmt.Errorf("ask the daemon: %w", err)
	}
	return nil
}

// Next is the next reply or notification, or what went wrong.
func (c *Conn) Next(ctx context.Context) (wire.Message, error) {
	if err := c.conn.SetReadDeadline(time.Time{}); err != nil {
		return wire.Message{}, err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	line, err := readFrame(c.lines, wire.MaxFrame+1<<10)
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return wire.Message{}, fmt.Errorf("read the daemon's answer: %w", err)
	}
	m, err := wire.Decode(line)
	if err != nil {
		return m, fmt.Errorf("read the daemon's answer: %w", err)
	}
	return m, nil
}
