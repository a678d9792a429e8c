package uplink

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/netpilot/netpilot/pkg/wire"
)

func TestBackoff(t *testing.T) {
	for _, tt := range []struct {
		rand float64
		want []float64 // seconds
	}{
		{0, []float64{0.5, 1, 2, 4, 8, 16, 30, 30}},
		{0.5, []float64{0.75, 1.5, 3, 6, 12, 24, 45, 45}},
		{1, []float64{1, 2, 4, 8, 16, 32, 60, 60}},
	} {
		b := backoff{rand: func() float64 { return tt.rand }}
		for i, want := range tt.want {
			if got, _ := b.next(nil, 0, false); got.Seconds() != want {
				t.Errorf("rand %v, wait %d: got %v, want %v s", tt.rand, i, got, want)
			}
		}
		if got, _ := b.next(nil, goodAfter, false); got.Seconds() != tt.want[0] {
			t.Errorf("rand %v, after a good link: got %v, want %v s", tt.rand, got, tt.want[0])
		}
	}
}

func TestWaitRules(t *testing.T) {
	for _, tt := range []struct {
		wait      Wait
		low, high time.Duration
	}{
		{Wait{WaitExact, 7 * time.Second}, 7 * time.Second, 7 * time.Second},
		{Wait{WaitAtLeast, 10 * time.Second}, 10 * time.Second, 20 * time.Second},
		{Wait{WaitSpread, 30 * time.Minute}, 15 * time.Minute, 45 * time.Minute},
	} {
		for _, r := range []float64{0, 1} {
			b := backoff{rand: func() float64 { return r }}
			got, byRelay := b.next(&Failure{Wait: tt.wait}, 0, true)
			want := tt.low
			if r == 1 {
				want = tt.high
			}
			if got != want || !byRelay {
				t.Errorf("%+v, rand %v: got %v, %v, want %v by the relay", tt.wait, r, got, byRelay, want)
			}
		}
	}
}

// failingDial counts dials and always fails.
func failingDial(dials *[]time.Time, err error) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		*dials = append(*dials, time.Now())
		return nil, err
	}
}

func sinceFirst(times []time.Time) []time.Duration {
	var d []time.Duration
	for _, t := range times[1:] {
		d = append(d, t.Sub(times[0]))
	}
	return d
}

func TestDialsAgain(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	for _, tt := range []struct {
		name  string
		build time.Time
		err   error
		for_  time.Duration
		want  []time.Duration
	}{
		{"back-off", time.Time{}, refused, 50 * time.Second, []time.Duration{
			750 * time.Millisecond, 2250 * time.Millisecond, 5250 * time.Millisecond, 11250 * time.Millisecond,
			23250 * time.Millisecond, 47250 * time.Millisecond}},
		{"clock unset", time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), refused, 16 * time.Second,
			[]time.Duration{5 * time.Second, 10 * time.Second, 15 * time.Second}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var dials []time.Time
				var log logged
				o := testOptions("https://relay.example.net", echo)
				o.BuildTime, o.Dial, o.Log = tt.build, failingDial(&dials, tt.err), log.logger()
				u, stop := start(t, o)
				time.Sleep(tt.for_)
				synctest.Wait()
				s := u.State()
				stop()
				if got := sinceFirst(dials); !slices.Equal(got, tt.want) {
					t.Errorf("dialled after %v, want %v", got, tt.want)
				}
				if s.Connected || s.Attempts != len(dials) || s.Cause != CauseConnect || s.NextDial.Before(time.Now()) ||
					s.LastError != "relay.example.net refuses the connection; is the relay running?" {
					t.Errorf("state is %+v after %d dials", s, len(dials))
				}
				if n := log.count("no link"); n != 1 {
					t.Errorf("logged the same failure %d times, want once: %q", n, log.lines)
				}
			})
		})
	}
}

func TestWake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dials []time.Time
		wake := make(chan struct{})
		o := testOptions("https://relay.example.net", echo)
		o.Dial, o.Wake = failingDial(&dials, syscall.ENETUNREACH), wake
		_, stop := start(t, o)
		time.Sleep(100 * time.Second) // waits of 45 s by now
		synctest.Wait()
		before := len(dials)
		wake <- struct{}{}
		synctest.Wait()
		if len(dials) != before+1 {
			t.Errorf("got %d dials after ifup, want %d", len(dials), before+1)
		}
		stop()
	})
}

// TestWaitsAsTold goes through what a relay can answer, and when the agent
// dials again (rand is 0.5).
func TestWaitsAsTold(t *testing.T) {
	answer := func(status int, header, body string) func(http.ResponseWriter, int) bool {
		return func(w http.ResponseWriter, dial int) bool {
			if dial > 1 {
				return false
			}
			if name, value, ok := strings.Cut(header, ": "); ok {
				w.Header().Set(name, value)
			}
			w.WriteHeader(status)
			fmt.Fprint(w, body)
			return true
		}
	}
	closeWith := func(code int, reason string) func(*testing.T, *websocket.Conn) {
		return func(t *testing.T, ws *websocket.Conn) {
			if accept(t, ws) {
				hangUp(ws, code, reason)
			}
		}
	}
	forbidden := `{"error":{"kind":"forbidden","message":"router is revoked"}}`
	for _, tt := range []struct {
		name    string
		refuse  func(http.ResponseWriter, int) bool
		link    func(*testing.T, *websocket.Conn)
		want    time.Duration
		cause   Cause
		message string
	}{
		{"400", answer(400, "", `{"error":{"kind":"invalid","message":"wrong subprotocol\u001b[31m"}}`), nil,
			750 * time.Millisecond, CauseRefused, "relay answers 400: wrong subprotocol[31m"},
		{"401", answer(401, "", "x"), nil, 30 * time.Minute, CauseRefused, "enrolled again: netpilot-agent enroll"},
		{"403", answer(403, "", forbidden), nil, 30 * time.Minute, CauseRefused, "relay answers 403: router is revoked; ask the relay's owner"},
		{"404", answer(404, "", "nothing here"), nil, 750 * time.Millisecond, CauseRefused, "no netpilot relay at this address"},
		{"302", answer(302, "Location: https://other.example/", ""), nil, 750 * time.Millisecond, CauseRefused, `a redirect to "https://other.example/"`},
		{"200", answer(200, "", "hello"), nil, 750 * time.Millisecond, CauseRefused, "relay answers 200"},
		{"503", answer(503, "", ""), nil, 750 * time.Millisecond, CauseRefused, "relay answers 503"},
		{"503 and a time", answer(503, "Retry-After: 7", ""), nil, 7 * time.Second, CauseRefused, "relay answers 503"},
		{"503 and a long time", answer(503, "Retry-After: 99999999", ""), nil, time.Hour, CauseRefused, "relay answers 503"},
		{"503 and no time at all", answer(503, "Retry-After: 0", ""), nil, time.Second, CauseRefused, "relay answers 503"},
		{"503 and a date", answer(503, "Retry-After: Sat, 01 Jan 2000 01:00:00 GMT", ""), nil, 750 * time.Millisecond, CauseRefused, "relay answers 503"},
		{"1001", nil, closeWith(1001, "restart"), 750 * time.Millisecond, CauseClosed, "relay closed the link with code 1001: restart"},
		{"4000", nil, closeWith(wire.CloseProtocol, "bad id"), 750 * time.Millisecond, CauseClosed, "code 4000: bad id"},
		{"replaced", nil, closeWith(wire.CloseReplaced, ""), time.Minute, CauseClosed, "a newer link of this router took over"},
		{"revoked", nil, closeWith(wire.CloseRevoked, ""), 30 * time.Minute, CauseRefused, "revoked this router"},
		{"wait", nil, closeWith(wire.CloseWait, "wait=10"), 15 * time.Second, CauseClosed, "come back later"},
		{"wait for long", nil, closeWith(wire.CloseWait, "wait=999999"), 90 * time.Minute, CauseClosed, "come back later"},
		{"wait for nonsense", nil, closeWith(wire.CloseWait, "wait=-1"), 750 * time.Millisecond, CauseClosed, "come back later"},
		{"lost", nil, func(t *testing.T, ws *websocket.Conn) { accept(t, ws) }, 750 * time.Millisecond, CauseClosed, "the connection to the relay was lost"},
		{"hello refused", nil, func(_ *testing.T, ws *websocket.Conn) {
			_, _, _ = ws.ReadMessage()
			_ = ws.WriteMessage(websocket.TextMessage, []byte(`{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"other router","data":{"kind":"invalid"}}}`))
			_ = readUntilClosed(ws, nil)
		}, 750 * time.Millisecond, CauseRefused, "relay refuses hello: other router"},
		{"revoked at hello", nil, func(_ *testing.T, ws *websocket.Conn) {
			_, _, _ = ws.ReadMessage()
			hangUp(ws, wire.CloseRevoked, "")
		}, 30 * time.Minute, CauseRefused, "revoked this router"},
		{"no welcome", nil, func(_ *testing.T, ws *websocket.Conn) { _ = readUntilClosed(ws, nil) },
			wire.HelloWithin + 750*time.Millisecond, CauseSilent, "nothing arrived from the relay in time"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &relay{t: t, refuse: tt.refuse, link: func(ws *websocket.Conn, dial int) {
					if dial == 1 {
						tt.link(t, ws)
					} else if accept(t, ws) {
						_ = readUntilClosed(ws, nil)
					}
				}}
				o, stopRelay := serveMemory(t, r, echo)
				u, stop := start(t, o)
				time.Sleep(500 * time.Millisecond)
				synctest.Wait()
				if tt.name == "no welcome" {
					time.Sleep(wire.HelloWithin)
					synctest.Wait()
				}
				s := u.State()
				if s.Connected || s.Cause != tt.cause || !strings.Contains(s.LastError, tt.message) {
					t.Errorf("state is %+v, want %s: %s", s, tt.cause, tt.message)
				}
				time.Sleep(3 * time.Hour)
				synctest.Wait()
				if s := u.State(); !s.Connected || s.Attempts != 0 {
					t.Errorf("state later is %+v, want connected", s)
				}
				stop()
				stopRelay()
				if got := r.waits(); len(got) == 0 || got[0] != tt.want {
					t.Errorf("dialled again after %v, want %v", got, tt.want)
				}
			})
		})
	}
}

func TestGoodLinkStartsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &relay{t: t, refuse: func(w http.ResponseWriter, dial int) bool {
			if dial <= 4 {
				w.WriteHeader(http.StatusBadGateway)
			}
			return dial <= 4
		}}
		r.link = func(ws *websocket.Conn, dial int) {
			if !accept(t, ws) {
				return
			}
			lasts := map[int]time.Duration{5: goodAfter - time.Second, 6: goodAfter}[dial]
			if lasts > 0 {
				closeAfter(ws, lasts)
			}
			_ = readUntilClosed(ws, nil)
		}
		o, stopRelay := serveMemory(t, r, echo)
		_, stop := start(t, o)
		time.Sleep(10 * time.Minute)
		stop()
		stopRelay()
		want := []time.Duration{750 * time.Millisecond, 1500 * time.Millisecond, 3 * time.Second, 6 * time.Second,
			goodAfter - time.Second + 12*time.Second, goodAfter + 750*time.Millisecond}
		if got := r.waits(); !slices.Equal(got, want) {
			t.Errorf("dialled after %v, want %v", got, want)
		}
	})
}
