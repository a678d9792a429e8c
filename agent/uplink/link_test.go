package uplink

import (
	"context"
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
	"github.com/netpilot/netpilot/scripts/loopback"
)

func TestPings(t *testing.T) {
	for _, tt := range []struct {
		rand    float64
		welcome wire.Welcome
		want    time.Duration
	}{
		{0.5, wire.Welcome{}, wire.PingEvery},
		{0, wire.Welcome{PingSeconds: 25, DeadSeconds: 65}, 22500 * time.Millisecond},
		{1, wire.Welcome{PingSeconds: 25, DeadSeconds: 65}, 27500 * time.Millisecond},
		{0.5, wire.Welcome{PingSeconds: 50, DeadSeconds: 120}, 50 * time.Second},
		{0.5, wire.Welcome{PingSeconds: 1, DeadSeconds: 65}, wire.PingEvery},
		{0.5, wire.Welcome{PingSeconds: 50, DeadSeconds: 60}, wire.PingEvery},
		{0.5, wire.Welcome{PingSeconds: 1 << 30, DeadSeconds: 1 << 30}, wire.PingEvery},
	} {
		synctest.Test(t, func(t *testing.T) {
			var pings []time.Time
			r := &relay{t: t, link: func(ws *websocket.Conn, _ int) {
				ws.SetPingHandler(func(string) error {
					pings = append(pings, time.Now())
					return ws.WriteControl(websocket.PongMessage, nil, time.Now().Add(time.Second))
				})
				_, _, _ = ws.ReadMessage()
				pings = append(pings, time.Now())
				welcome, _ := json.Marshal(tt.welcome)
				_ = ws.WriteMessage(websocket.TextMessage, wire.AppendResult(nil, 1, welcome))
				_ = readUntilClosed(ws, nil)
			}}
			o, stopRelay := serveMemory(t, r, echo)
			o.Rand = func() float64 { return tt.rand }
			u, stop := start(t, o)
			time.Sleep(4 * tt.want)
			synctest.Wait()
			if !u.State().Connected {
				t.Errorf("link with pings and pongs ended: %+v", u.State())
			}
			stop()
			stopRelay()
			if len(r.dials) != 1 || len(pings) != 5 {
				t.Fatalf("got %d links and %d pings, want 1 and 4", len(r.dials), len(pings)-1)
			}
			for i, at := range sinceFirst(pings) {
				if want := time.Duration(i+1) * tt.want; at != want {
					t.Errorf("%+v: ping %d came after %v, want %v", tt.welcome, i, at, want)
				}
			}
		})
	}
}

func TestDeadRelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &relay{t: t, link: func(ws *websocket.Conn, _ int) {
			ws.SetPingHandler(func(string) error { return nil }) // no pong
			if accept(t, ws) {
				_ = readUntilClosed(ws, nil)
			}
		}}
		o, stopRelay := serveMemory(t, r, echo)
		u, stop := start(t, o)
		time.Sleep(wire.DeadAfter - time.Millisecond)
		synctest.Wait()
		if !u.State().Connected {
			t.Errorf("link ended before %v of silence: %+v", wire.DeadAfter, u.State())
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		if s := u.State(); s.Connected || s.Cause != CauseSilent {
			t.Errorf("after %v of silence the state is %+v, want %s", wire.DeadAfter, s, CauseSilent)
		}
		stop()
		stopRelay()
	})
}

// TestSlowlyArrivingFrame sends a frame so slowly that it takes longer than a
// silence may: bytes are a sign of life too.
func TestSlowlyArrivingFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answered := make(chan struct{})
		r := &relay{t: t, link: func(ws *websocket.Conn, _ int) {
			ws.SetPingHandler(func(string) error { return nil })
			if !accept(t, ws) {
				return
			}
			frame := wire.AppendCall(nil, 1, "status", nil, 0)
			go func() { // a frame with its length, unmasked as a server's is
				_, _ = ws.NetConn().Write([]byte{0x81, byte(len(frame))})
				for _, c := range frame {
					time.Sleep(10 * time.Second)
					_, _ = ws.NetConn().Write([]byte{c})
				}
			}()
			_ = readUntilClosed(ws, func(wire.Message) { close(answered) })
		}}
		o, stopRelay := serveMemory(t, r, echo)
		u, stop := start(t, o)
		<-answered
		if s := u.State(); !s.Connected {
			t.Errorf("state is %+v, want connected", s)
		}
		stop()
		stopRelay()
	})
}

func TestRelayThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		r := &relay{t: t, link: func(ws *websocket.Conn, _ int) {
			if accept(t, ws) {
				call(ws, 1, "status", 0)
				<-hold
			}
		}}
		o, stopRelay := serveMemory(t, r, func(context.Context, string, json.RawMessage) (json.RawMessage, error) {
			return json.RawMessage(`"` + strings.Repeat("x", 100<<10) + `"`), nil
		})
		u, stop := start(t, o)
		time.Sleep(wire.WriteWithin + time.Millisecond)
		synctest.Wait()
		if s := u.State(); s.Connected || s.Cause != CauseSlow {
			t.Errorf("state is %+v, want %s", s, CauseSlow)
		}
		stop()
		close(hold)
		stopRelay()
	})
}

// TestFlood asks more than is answered without reading: the agent hangs up
// and does not collect answers.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		r := &relay{t: t, link: func(ws *websocket.Conn, dial int) {
			if !accept(t, ws) {
				return
			}
			for id := wire.CallID(1); dial == 1 && id < 1000; id++ {
				call(ws, id, "status", 0)
			}
			<-hold
		}}
		o, stopRelay := serveMemory(t, r, echo)
		u, stop := start(t, o)
		time.Sleep(wire.WriteWithin / 2)
		synctest.Wait()
		if s := u.State(); s.Cause != CauseSlow || s.LastError != "relay asks faster than it reads" {
			t.Errorf("state is %+v, want that the flood ended the link", s)
		}
		stop()
		close(hold)
		stopRelay()
	})
}

// TestStop: Run ends within 5 s, whatever the relay and the calls do.
func TestStop(t *testing.T) {
	inTime := func(t *testing.T, stop func()) {
		t.Helper()
		begin := time.Now()
		stop()
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("Run took %v to end, want at most 5 s", took)
		}
	}
	t.Run("says goodbye", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			up, ended := make(chan struct{}), make(chan error, 1)
			r := &relay{t: t, link: func(ws *websocket.Conn, _ int) {
				if accept(t, ws) {
					close(up)
					ended <- readUntilClosed(ws, nil)
				}
			}}
			o, stopRelay := serveMemory(t, r, echo)
			u, stop := start(t, o)
			<-up
			synctest.Wait() // the agent knows it, too
			inTime(t, stop)
			if got := closeCode(<-ended); got != websocket.CloseGoingAway {
				t.Errorf("got close code %d, want 1001", got)
			}
			if u.State().Connected {
				t.Errorf("state is still connected")
			}
			stopRelay()
		})
	})
	t.Run("handler that does not heed its context", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			running, release := make(chan struct{}), make(chan struct{})
			r := &relay{t: t, link: func(ws *websocket.Conn, _ int) {
				if accept(t, ws) {
					call(ws, 1, "status", 0)
					_ = readUntilClosed(ws, nil)
				}
			}}
			o, stopRelay := serveMemory(t, r, func(context.Context, string, json.RawMessage) (json.RawMessage, error) {
				close(running)
				<-release
				return nil, nil
			})
			_, stop := start(t, o)
			<-running
			inTime(t, stop)
			close(release)
			stopRelay()
		})
	})
	t.Run("relay that reads nothing", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			asked, hold := make(chan struct{}), make(chan struct{})
			r := &relay{t: t, link: func(ws *websocket.Conn, _ int) {
				if accept(t, ws) {
					call(ws, 1, "status", 0)
					close(asked)
					<-hold
				}
			}}
			o, stopRelay := serveMemory(t, r, echo)
			_, stop := start(t, o)
			<-asked
			synctest.Wait() // the answer is on its way
			inTime(t, stop)
			close(hold)
			stopRelay()
		})
	})
	t.Run("relay that does not answer hello", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			hello := make(chan struct{})
			r := &relay{t: t, link: func(ws *websocket.Conn, _ int) { _ = readUntilClosed(ws, func(wire.Message) { close(hello) }) }}
			o, stopRelay := serveMemory(t, r, echo)
			_, stop := start(t, o)
			<-hello
			inTime(t, stop)
			stopRelay()
		})
	})
	t.Run("relay that does not answer the upgrade", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := loopback.NewPipes()
			o := testOptions("http://localhost", echo)
			o.Dial = m.Dial
			_, stop := start(t, o)
			c, err := m.Accept()
			if err != nil {
				t.Fatal(err)
			}
			inTime(t, stop)
			_ = c.Close()
		})
	})
}

// TestStuckHandlers proves that handlers which never return take the slots of
// all links to come, and no more goroutines.
func TestStuckHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var started atomic.Int32
		running := make(chan struct{}, 2*wire.MaxCalls)
		kinds := make(chan usage.Kind, 100)
		r := &relay{t: t, link: func(ws *websocket.Conn, dial int) {
			if !accept(t, ws) {
				return
			}
			for id := wire.CallID(1); id <= wire.MaxCalls; id++ {
				call(ws, id, "status", 0)
			}
			if dial == 1 {
				for range wire.MaxCalls {
					<-running
				}
				return
			}
			_ = readUntilClosed(ws, func(m wire.Message) { kinds <- errorOf(m) })
		}}
		o, stopRelay := serveMemory(t, r, func(context.Context, string, json.RawMessage) (json.RawMessage, error) {
			started.Add(1)
			running <- struct{}{}
			<-release
			return nil, nil
		})
		_, stop := start(t, o)
		for range wire.MaxCalls {
			if got := <-kinds; got != usage.Busy {
				t.Errorf("second link got %v, want busy", got)
			}
		}
		if n := started.Load(); n != wire.MaxCalls {
			t.Errorf("%d handlers run, want %d", n, wire.MaxCalls)
		}
		close(release)
		stop()
		stopRelay()
	})
}

func TestDeadlines(t *testing.T) {
	for _, tt := range []struct{ asked, want time.Duration }{
		{2 * time.Second, 2 * time.Second}, {0, defaultTimeout}, {time.Hour, longestTimeout},
	} {
		synctest.Test(t, func(t *testing.T) {
			took := make(chan time.Duration, 1)
			r := &relay{t: t, link: func(ws *websocket.Conn, _ int) {
				if accept(t, ws) {
					call(ws, 1, "status", tt.asked)
					_ = readUntilClosed(ws, func(m wire.Message) { t.Errorf("got %+v after the deadline, want nothing", m) })
				}
			}}
			o, stopRelay := serveMemory(t, r, func(ctx context.Context, _ string, _ json.RawMessage) (json.RawMessage, error) {
				begin := time.Now()
				<-ctx.Done()
				took <- time.Since(begin)
				return json.RawMessage("1"), nil
			})
			_, stop := start(t, o)
			if got := <-took; got != tt.want {
				t.Errorf("asked for %v: context ended after %v, want %v", tt.asked, got, tt.want)
			}
			synctest.Wait() // an answer would be there
			stop()
			stopRelay()
		})
	}
}
