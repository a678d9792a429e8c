package local

import (
	"bufio"
	"bytes"
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
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
	"github.com/netpilot/netpilot/scripts/loopback"
)

// door is a served socket.
type door struct {
	path string
	stop context.CancelFunc
	done chan error // what serve returned
	log  *lockedBuffer
}

type lockedBuffer struct {
	mu  sync.Mutex // guards below
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// scratch is a directory whose path is short enough for a socket's.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "np")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// open serves handle at path and returns when it answers.
func open(t *testing.T, path string, handle Handler) *door {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	d := &door{path: path, stop: stop, done: make(chan error, 1), log: new(lockedBuffer)}
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(d.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	go func() { d.done <- Serve(ctx, l, handle, log) }() // ends by close
	t.Cleanup(d.close)
	return d
}

// close ends serving and waits for it.
func (d *door) close() {
	d.stop()
	d.done <- <-d.done // so that it may be asked again
}

// echo answers with its params, and with errors and trouble where the method
// says so.
func echo(ctx context.Context, method string, params json.RawMessage) (json.RawMessage, error) {
	switch method {
	case "panic":
		panic("a bug with a secret")
	case "wait":
		<-ctx.Done()
		return nil, ctx.Err()
	case "internal":
		return nil, errors.New("a detail for the log only")
	case "big":
		return json.RawMessage(`"` + strings.Repeat("x", wire.MaxResult-2) + `"`), nil
	}
	if kind := usage.ParseKind(method); kind != usage.Internal {
		return nil, &usage.Error{Kind: kind, Message: "because of " + method, RetryAfter: 3 * time.Second}
	}
	if params == nil {
		return json.RawMessage(`null`), nil
	}
	return params, nil
}

func TestCallAndReply(t *testing.T) {
	d := open(t, filepath.Join(scratch(t), "s"), echo)
	for _, params := range []string{`{"a":[1,"\n\u2028<"]}`, `null`, `"text"`, `12345678901234567890`} {
		got, err := Call(t.Context(), d.path, "echo", json.RawMessage(params))
		if err != nil || string(got) != params {
			t.Errorf("%s: got %s, %v", params, got, err)
		}
	}
	if got, err := Call(t.Context(), d.path, "echo", nil); err != nil || string(got) != "null" {
		t.Errorf("no params: got %s, %v", got, err)
	}
	if got, err := Call(t.Context(), d.path, "big", nil); err != nil || len(got) != wire.MaxResult {
		t.Errorf("the largest result: got %d bytes, %v", len(got), err)
	}
}

// A failure in the agent reaches the command line as itself; of a bug it says
// one word.
func TestErrorKindsTravel(t *testing.T) {
	d := open(t, filepath.Join(scratch(t), "s"), echo)
	for kind := usage.Invalid; kind <= usage.Unavailable; kind++ {
		_, err := Call(t.Context(), d.path, kind.String(), nil)
		var e *usage.Error
		if !errors.As(err, &e) || e.Kind != kind || e.Message != "because of "+kind.String() {
			t.Errorf("%v: got %v of kind %v", kind, err, usage.KindOf(err))
		}
	}
	for _, method := range []string{"internal", "panic"} {
		if _, err := Call(t.Context(), d.path, method, nil); err == nil || usage.KindOf(err) != usage.Internal || err.Error() != "internal" {
			t.Errorf("%s: got %v, want internal and no more", method, err)
		}
	}
	if log := d.log.String(); !strings.Contains(log, "a bug with a secret") || !strings.Contains(log, "local_test.go") {
		t.Errorf("got log %s, want the panic and its stack", log)
	}
	if _, err := Call(t.Context(), d.path, "echo", nil); err != nil {
		t.Errorf("after the panic: %v", err)
	}
}

func TestNoDaemon(t *testing.T) {
	dir := scratch(t)
	path := filepath.Join(dir, "s")
	if _, err := Call(t.Context(), path, "echo", nil); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("no socket: got %v", err)
	}
	stale(t, path)
	if _, err := Call(t.Context(), path, "echo", nil); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("stale socket: got %v", err)
	}
	if _, err := Call(t.Context(), filepath.Join(dir, strings.Repeat("long", 50)), "echo", nil); err == nil || errors.Is(err, ErrNoDaemon) {
		t.Errorf("impossible path: got %v", err)
	}
}

// stale leaves a socket behind that nobody serves, as kill -9 does.
func stale(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Fatal(err)
	}
}

// A socket left behind is replaced; one that answers is not.
func TestOneDaemon(t *testing.T) {
	path := filepath.Join(scratch(t), "s")
	stale(t, path)
	d := open(t, path, echo)
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "another netpilot-agent answers") {
		t.Errorf("got %v, want a refusal", err)
	}
	if _, err := Call(t.Context(), path, "echo", nil); err != nil {
		t.Errorf("the first one no longer answers: %v", err)
	}
	d.close()
	if err := <-d.done; err != nil {
		t.Errorf("got %v at the end", err)
	}
	d.done <- nil
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
	file := filepath.Join(scratch(t), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(filepath.Join(file, "s")); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a file where the directory should be: got %v", err)
	}
}

func TestSocketIsPrivate(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	d := open(t, filepath.Join(scratch(t), "s"), echo)
	info, err := os.Lstat(d.path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode(); got != fs.ModeSocket|0o600 {
		t.Errorf("got mode %v, want 0600", got)
	}
	if now := syscall.Umask(0); now != 0 {
		t.Errorf("the umask is left at %o", now)
	}
}

// pipes is a door's listener.
type pipes struct{ *loopback.Pipes }

func (p pipes) dial() net.Conn {
	c, err := p.Dial(context.Background(), "", "")
	if err != nil {
		panic(err) // the door was closed under a test that asks
	}
	return c
}

// ask is Call over a pipe.
func (p pipes) ask(ctx context.Context, method string, params json.RawMessage) (json.RawMessage, error) {
	conn := p.dial()
	c := &Conn{conn: conn, lines: bufio.NewReader(conn)}
	defer c.Close()
	return c.Call(ctx, method, params)
}

// simulate runs a test of a served door in simulated time.
func simulate(t *testing.T, test func(t *testing.T, p pipes)) {
	synctest.Test(t, func(t *testing.T) {
		p := pipes{loopback.NewPipes()}
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- Serve(ctx, p, echo, slog.New(slog.DiscardHandler)) }() // ends by stop
		test(t, p)
		stop()
		if err := <-done; err != nil {
			t.Errorf("got %v at the end", err)
		}
	})
}

// Who does not send a call is cut off, and hinders nobody.
func TestClientsThatMisbehave(t *testing.T) {
	line := string(wire.AppendCall(nil, 1, "echo", nil, 0))
	for name, client := range map[string]struct {
		send string
		took time.Duration // until it is cut off
	}{
		"nothing":       {"", callWithin},
		"half a line":   {line[:20], callWithin},
		"no newline":    {line, callWithin},
		"too much":      {strings.Repeat(" ", maxCall) + line + "\n", 0},
		"no JSON":       {"GET / HTTP/1.1\r\n\r\n", 0},
		"an empty line": {"\n", 0},
		"a reply":       {`{"jsonrpc":"2.0","id":1,"result":1}` + "\n", 0},
		"binary":        {"\x00\xff\xfe\n", 0},
	} {
		simulate(t, func(t *testing.T, p pipes) {
			conn := p.dial()
			defer conn.Close()
			began := time.Now()
			_, _ = io.WriteString(conn, client.send) // may be cut off
			reply, err := io.ReadAll(conn)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if took := time.Since(began); took != client.took {
				t.Errorf("%s: cut off after %v, want %v", name, took, client.took)
			}
			if len(reply) > 0 && !strings.Contains(string(reply), `"error"`) {
				t.Errorf("%s: got %s", name, reply)
			}
			if got, err := p.ask(t.Context(), "echo", json.RawMessage("1")); err != nil || string(got) != "1" {
				t.Errorf("after %s: got %s, %v", name, got, err)
			}
		})
	}
	// More silent ones than are served at once: the next waits its turn.
	simulate(t, func(t *testing.T, p pipes) {
		for range maxClients {
			conn := p.dial()
			defer conn.Close()
		}
		began := time.Now()
		time.Sleep(time.Second) // off the beat: its own deadline is as long
		if got, err := p.ask(t.Context(), "echo", json.RawMessage("2")); err != nil || string(got) != "2" {
			t.Errorf("behind silent clients: got %s, %v", got, err)
		}
		if took := time.Since(began); took != callWithin {
			t.Errorf("behind silent clients: answered after %v, want %v", took, callWithin)
		}
	})
}

// A handler that waits longer than a conversation may is told to end, and one
// caller's patience is its own.
func TestSlowHandler(t *testing.T) {
	simulate(t, func(t *testing.T, p pipes) {
		for patience, want := range map[time.Duration]time.Duration{time.Hour: callWithin, 20 * time.Millisecond: 20 * time.Millisecond} {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			began := time.Now()
			got, err := p.ask(ctx, "wait", nil)
			if err == nil || errors.Is(err, context.DeadlineExceeded) != (want == patience) {
				t.Errorf("patience of %v: got %s, %v", patience, got, err)
			}
			if took := time.Since(began); took != want {
				t.Errorf("patience of %v: it took %v, want %v", patience, took, want)
			}
		}
	})
}

// At the end running calls are told so, and waited for.
func TestShutdownWhileCallsRun(t *testing.T) {
	var mu sync.Mutex // guards running
	running, began, ending, tidy := 0, make(chan struct{}, 20), make(chan struct{}, 20), make(chan struct{})
	d := open(t, filepath.Join(scratch(t), "s"), func(ctx context.Context, method string, params json.RawMessage) (json.RawMessage, error) {
		mu.Lock()
		running++
		mu.Unlock()
		began <- struct{}{}
		result, err := echo(ctx, method, params)
		ending <- struct{}{}
		<-tidy // what a handler may do at the end
		mu.Lock()
		running--
		mu.Unlock()
		return result, err
	})
	var callers sync.WaitGroup
	for range maxClients + 3 { // three wait in the queue
		callers.Go(func() {
			if got, err := Call(t.Context(), d.path, "wait", nil); err == nil {
				t.Errorf("got %s", got)
			}
		})
	}
	for range maxClients {
		<-began
	}
	go func() { // ends when all handlers have been told of the end
		for range maxClients {
			<-ending
		}
		close(tidy)
	}()
	d.close()
	mu.Lock()
	if running != 0 {
		t.Errorf("%d handlers still run", running)
	}
	mu.Unlock()
	callers.Wait()
	if _, err := os.Lstat(d.path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

func TestManyRoundsLeaveNothing(t *testing.T) {
	path := filepath.Join(scratch(t), "s")
	before := goleak.IgnoreCurrent()
	for round := range 100 {
		d := open(t, path, echo)
		var callers sync.WaitGroup
		for i := range 3 {
			callers.Go(func() {
				want := fmt.Sprint(round*10 + i)
				if got, err := Call(t.Context(), path, "echo", json.RawMessage(want)); err != nil || string(got) != want {
					t.Errorf("round %d: got %s, %v", round, got, err)
				}
			})
		}
		callers.Wait()
		d.close()
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("round %d: the socket is left behind: %v", round, err)
		}
	}
	goleak.VerifyNone(t, before)
}

// One connection carries several calls and, between their replies,
// notifications; one that nobody reads costs no more than its queue.
func TestNotifications(t *testing.T) {
	peers := make(chan wire.Peer, 8)
	d := open(t, filepath.Join(scratch(t), "s"), func(ctx context.Context, method string, params json.RawMessage) (json.RawMessage, error) {
		p := wire.PeerOf(ctx)
		if method == "subscribe" {
			p.Notify("early", json.RawMessage(`1`))
			peers <- p
		}
		return echo(ctx, method, params)
	})
	c, err := Dial(t.Context(), d.path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 2 {
		if got, err := c.Call(t.Context(), "subscribe", json.RawMessage(`"yes"`)); err != nil || string(got) != `"yes"` {
			t.Fatalf("got %s, %v", got, err)
		}
	}
	p := <-peers
	if again := <-peers; again != p {
		t.Error("two calls of one connection have two peers")
	}
	p.Notify("usage.live", json.RawMessage(`{"n":1}`))
	for {
		m, err := c.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if m.Method == "usage.live" && m.ID == 0 && string(m.Params) == `{"n":1}` {
			break
		}
		if m.Method != "early" {
			t.Errorf("got %+v", m)
		}
	}
	big := json.RawMessage(`"` + strings.Repeat("x", 100_000) + `"`)
	for range 1000 { // returns at once though nobody reads
		p.Notify("usage.live", big)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for {
		if _, err = c.Next(ctx); err != nil {
			break
		}
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want canceled", err)
	}
	_ = c.Close()
	<-p.Done()
	p.Notify("usage.live", big) // to nobody
}
