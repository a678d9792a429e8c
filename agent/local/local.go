// Package local is the agent's door for the router's own command line: a unix
// socket of mode 0600 on which one call and one reply of pkg/wire, each a
// line, pass per connection.
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
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
)

// Path is where the socket lies, below the root.
const Path = "/var/run/netpilot.sock"

// Bounds of one conversation.
const (
	callWithin = 30 * time.Second
	maxCall    = 64 << 10
	maxClients = 8 // beyond it a client waits in the listen queue
)

// Handler answers one call.
type Handler func(ctx context.Context, method string, params json.RawMessage) (json.RawMessage, error)

// Serve answers calls at path until ctx ends, and leaves no goroutine and no
// socket file behind. Where another agent answers at path already, it fails.
func Serve(ctx context.Context, path string, handle Handler, log *slog.Logger) error {
	return (&server{handle: handle, log: log, within: callWithin}).serve(ctx, path)
}

type server struct {
	handle Handler
	log    *slog.Logger
	within time.Duration // of one conversation
}

func (s *server) serve(ctx context.Context, path string) error {
	l, err := listen(path)
	if err != nil {
		return err
	}
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
			return fmt.Errorf("accept at %s: %w", path, err)
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

// listen binds path with mode 0600, in place of a socket that nobody serves.
func listen(path string) (net.Listener, error) {
	if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
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

// answer serves one connection and closes it.
func (s *server) answer(ctx context.Context, conn net.Conn) error {
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, s.within)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	line, err := bufio.NewReaderSize(io.LimitReader(conn, maxCall), 4<<10).ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read call: %w", err)
	}
	call, err := wire.Decode(line)
	if err != nil {
		return err
	}
	if call.Method == "" || call.ID == 0 {
		return errors.New("frame is no call")
	}
	result, err := s.call(ctx, call)
	var reply []byte
	if err != nil {
		reply = wire.AppendError(nil, call.ID, &usage.Error{Kind: usage.KindOf(err), Message: err.Error()})
	} else {
		reply = wire.AppendResult(make([]byte, 0, len(result)+64), call.ID, result)
	}
	_, err = conn.Write(append(reply, '\n'))
	return err
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
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, ErrNoDaemon
	case err != nil:
		return nil, fmt.Errorf("ask the daemon: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := conn.Write(append(wire.AppendCall(nil, 1, method, params, 0), '\n')); err != nil {
		return nil, fmt.Errorf("ask the daemon: %w", err)
	}
	reply, err := io.ReadAll(io.LimitReader(conn, wire.MaxFrame+1<<10))
	if err != nil {
		return nil, fmt.Errorf("read the daemon's answer: %w", err)
	}
	m, err := wire.Decode(reply)
	if err != nil {
		return nil, fmt.Errorf("read the daemon's answer: %w", err)
	}
	if m.Error != nil {
		return nil, m.Error
	}
	return m.Result, nil
}
