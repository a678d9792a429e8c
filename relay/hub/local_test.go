package hub

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const router = usage.RouterID("r")

// tap is a Conn that hands its frames to the test.
type tap struct {
	frames chan wire.Message
	full   bool

	mu   sync.Mutex // guards below
	code int
}

func newTap() *tap { return &tap{frames: make(chan wire.Message, 2*MaxPending)} }

func (c *tap) Send(frame []byte) error {
	m, err := wire.Decode(frame)
	if err != nil {
		return err
	}
	if c.full {
		return errors.New("full")
	}
	c.frames <- m
	return nil
}

func (c *tap) Write(frame []byte) error { return c.Send(frame) }

func (c *tap) Close(code int, _ string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.code = code
}

func TestEveryCallEndsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, c := NewLocal(), newTap()
		l := h.Attach(router, wire.Hello{}, c, time.Now())
		results := make(chan error, MaxPending)
		for range MaxPending {
			go func() {
				_, err := h.Call(t.Context(), router, "m", nil)
				results <- err
			}()
		}
		synctest.Wait()
		_, err := h.Call(t.Context(), router, "m", nil)
		var busy *usage.Error
		if !errors.As(err, &busy) || busy.Kind != usage.Busy || busy.RetryAfter <= 0 {
			t.Errorf("one call too many: got %v, want busy with a wait", err)
		}
		// Half is answered, twice each; then the link ends, twice.
		for range MaxPending / 2 {
			m := <-c.frames
			for range 2 {
				l.Reply(wire.Message{ID: m.ID, Result: json.RawMessage(`1`)})
			}
		}
		h.Detach(l)
		h.Detach(l)
		lost := 0
		for range MaxPending {
			if err := <-results; err != nil {
				lost++
				if usage.KindOf(err) != usage.Offline || !strings.Contains(err.Error(), "try again") {
					t.Errorf("got %v, want offline and the next step", err)
				}
			}
		}
		if lost != MaxPending/2 {
			t.Errorf("got %d calls lost, want %d", lost, MaxPending/2)
		}
	})
}

func TestFullConn(t *testing.T) {
	h, c := NewLocal(), newTap()
	c.full = true
	h.Attach(router, wire.Hello{}, c, time.Now())
	_, err := h.Call(t.Context(), router, "m", nil)
	if err == nil || usage.KindOf(err) != usage.Offline {
		t.Errorf("got %v, want offline", err)
	}
}

func TestDeadlineOfCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, c := NewLocal(), newTap()
		h.Attach(router, wire.Hello{}, c, time.Now())
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		_, err := h.Call(ctx, router, "m", nil)
		if took := time.Since(began); usage.KindOf(err) != usage.Timeout || took != 3*time.Second {
			t.Errorf("got %v after %v, want a timeout after 3s", err, took)
		}
		if m := <-c.frames; m.Timeout != 3*time.Second {
			t.Errorf("the router was told %v, want 3s", m.Timeout)
		}
		if m := <-c.frames; m.Method != "cancel" {
			t.Errorf("got %+v, want cancel", m)
		}
	})
}

func TestPresence(t *testing.T) {
	h, older, newer := NewLocal(), newTap(), newTap()
	if p, ok := h.Online(router); ok {
		t.Errorf("empty hub: got %+v", p)
	}
	began := time.Unix(1_795_000_000, 0)
	first := h.Attach(router, wire.Hello{Name: "a"}, older, began)
	first.Saw(began.Add(time.Minute))
	p, ok := h.Online(router)
	if !ok || p.Hello.Name != "a" || !p.Since.Equal(began) || !p.LastFrame.Equal(began.Add(time.Minute)) {
		t.Errorf("got %+v, %v", p, ok)
	}
	second := h.Attach(router, wire.Hello{Name: "b"}, newer, began)
	if older.code != wire.CloseReplaced {
		t.Errorf("older link: got code %d, want %d", older.code, wire.CloseReplaced)
	}
	h.Detach(first) // too late to matter
	if p, ok := h.Online(router); !ok || p.Hello.Name != "b" {
		t.Errorf("got %+v, %v, want the newer link", p, ok)
	}
	h.Detach(second)
	if _, ok := h.Online(router); ok {
		t.Error("the router is online without a link")
	}
}
