package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
	"github.com/netpilot/netpilot/relay/hub"
)

func TestCall(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		a := r.connect(r.enrol(router1), router1)
		calls := make(chan wire.Message, 4)
		go a.answer(func(m wire.Message) []byte {
			calls <- m
			return echo(m)
		})
		params := json.RawMessage(`{"x": [1, 2.50, "é\u0041"]}`)
		got, err := r.hub.Call(t.Context(), router1, "usage.current", params)
		if err != nil || !bytes.Equal(got, params) {
			t.Errorf("got %s, %v, want the bytes of the answer", got, err)
		}
		m := <-calls
		if m.Method != "usage.current" || m.Timeout != hub.CallWithin {
			t.Errorf("the agent got %+v, want method usage.current and timeout %v", m, hub.CallWithin)
		}
	})
}

func TestCallFails(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		a := r.connect(r.enrol(router1), router1)
		var kind usage.Kind
		go a.answer(func(m wire.Message) []byte {
			return wire.AppendError(nil, m.ID, &usage.Error{Kind: kind, Message: "why", RetryAfter: time.Second})
		})
		for kind = usage.Internal; kind <= usage.Unavailable; kind++ {
			_, err := r.hub.Call(t.Context(), router1, "status", nil)
			if err == nil || usage.KindOf(err) != kind || kind != usage.Internal && err.Error() != "why" {
				t.Errorf("got %v (%v), want why (%v)", err, usage.KindOf(err), kind)
			}
		}
	})
}

func TestCallTimesOut(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		a := r.connect(r.enrol(router1), router1)
		out := r.calls(t.Context(), router1, 1)
		began := time.Now()
		call := a.read()
		wantKinds(t, out, 1, usage.Timeout)
		if took := time.Since(began); took != hub.CallWithin {
			t.Errorf("took %v, want %v", took, hub.CallWithin)
		}
		cancel := a.read()
		if want := fmt.Sprintf(`{"id":%d}`, call.ID); cancel.Method != "cancel" || string(cancel.Params) != want {
			t.Errorf("got %+v, want cancel of %s", cancel, want)
		}
		// The late reply, and one to a call that never was, harm nobody.
		a.send(wire.AppendResult(nil, call.ID, json.RawMessage(`"late"`)))
		a.send(wire.AppendResult(nil, 1<<53, json.RawMessage(`"unknown"`)))
		go a.answer(echo)
		if got, err := r.hub.Call(t.Context(), router1, "status", json.RawMessage(`{}`)); err != nil || string(got) != "{}" {
			t.Errorf("next call: got %s, %v", got, err)
		}
	})
}

func TestCallGivenUp(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		a := r.connect(r.enrol(router1), router1)
		ctx, cancel := context.WithCancel(t.Context())
		out := r.calls(ctx, router1, 1)
		a.read()
		cancel()
		if o := <-out; o.err != context.Canceled {
			t.Errorf("got %v, want %v", o.err, context.Canceled)
		}
		if m := a.read(); m.Method != "cancel" {
			t.Errorf("got %+v, want cancel", m)
		}
	})
}

func TestNobodyThere(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		wantKinds(t, r.calls(t.Context(), router1, 3), 3, usage.Offline)
	})
}

func TestFramesAfterHello(t *testing.T) {
	for _, test := range []struct {
		name  string
		kind  int
		frame string
		code  int
	}{
		{"too large", websocket.TextMessage, strings.Repeat(" ", wire.MaxFrame+1), websocket.CloseMessageTooBig},
		{"garbage", websocket.TextMessage, `{"jsonrpc":"2.0","id":`, wire.CloseProtocol},
		{"no version", websocket.TextMessage, `{"id":7,"result":1}`, wire.CloseProtocol},
		{"batch", websocket.TextMessage, `[{"jsonrpc":"2.0","id":7,"result":1}]`, wire.CloseProtocol},
		{"binary", websocket.BinaryMessage, `{"jsonrpc":"2.0","id":7,"result":1}`, wire.CloseProtocol},
		{"no UTF-8", websocket.TextMessage, "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":\"\xff\"}", wire.CloseProtocol},
	} {
		t.Run(test.name, func(t *testing.T) {
			simulate(t, func(t *testing.T, r *rig) {
				a := r.connect(r.enrol(router1), router1)
				out := r.calls(t.Context(), router1, 2)
				go func() { _ = a.ws.WriteMessage(test.kind, []byte(test.frame)) }() // the relay may hang up in the middle
				a.wantClose(test.code, "")
				wantKinds(t, out, 2, usage.Offline)
				synctest.Wait()
				r.wantOnline(router1, false)
			})
		})
	}
}

func TestLargestFrame(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		a := r.connect(r.enrol(router1), router1)
		large := json.RawMessage(`"` + strings.Repeat("x", wire.MaxResult-2) + `"`)
		go a.answer(func(m wire.Message) []byte { return wire.AppendResult(nil, m.ID, large) })
		for range 2 {
			got, err := r.hub.Call(t.Context(), router1, "usage.records", nil)
			if err != nil || !bytes.Equal(got, large) {
				t.Fatalf("got %d bytes, %v, want %d", len(got), err, len(large))
			}
		}
	})
}

func TestAgentCalls(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		a := r.connect(r.enrol(router1), router1)
		a.send(wire.AppendNotify(nil, "whatever", nil)) // nobody answers it
		a.send(wire.AppendCall(nil, 2, "history.pull", nil, 0))
		if m := a.read(); m.ID != 2 || m.Error == nil || m.Error.Kind != usage.Invalid {
			t.Errorf("got %+v, want an invalid error for call 2", m)
		}
		r.wantOnline(router1, true)
	})
}

// What a router says unasked reaches who subscribed; unknown things nobody.
func TestLiveIsPassedOn(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		a := r.connect(r.enrol(router1), router1)
		a.send(wire.AppendNotify(nil, "usage.live", json.RawMessage(`{"early":1}`))) // nobody listens
		synctest.Wait()
		events, stop := r.hub.Subscribe(nil)
		defer stop()
		a.send(wire.AppendNotify(nil, "whatever", json.RawMessage(`{}`)))
		a.send(wire.AppendNotify(nil, "usage.live", json.RawMessage(`{"seconds":2}`)))
		a.send(wire.AppendNotify(nil, "whatever", json.RawMessage(`{"another":"frame"}`)))
		synctest.Wait()
		e := <-events
		if e.Kind != hub.EventLive || e.Router != router1 || string(e.Data) != `{"seconds":2}` || !e.At.Equal(time.Now()) {
			t.Errorf("got %+v (%s), want the live event", e, e.Data)
		}
	})
}

func TestNewestLinkWins(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		secret := r.enrol(router1)
		older := r.connect(secret, router1)
		out := r.calls(t.Context(), router1, 3)
		for range 3 {
			older.read()
		}
		newer := r.connect(secret, router1)
		wantKinds(t, out, 3, usage.Offline)
		older.wantClose(wire.CloseReplaced, "newer link")
		go newer.answer(echo)
		if _, err := r.hub.Call(t.Context(), router1, "status", json.RawMessage(`1`)); err != nil {
			t.Errorf("call over the newer link: %v", err)
		}
		synctest.Wait()
		r.wantOnline(router1, true) // the end of the older link changes nothing
	})
}

func TestLinkDies(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		a := r.connect(r.enrol(router1), router1)
		out := r.calls(t.Context(), router1, hub.MaxPending)
		a.read() // one call arrived; the others are on their way
		synctest.Wait()
		wantKinds(t, r.calls(t.Context(), router1, 1), 1, usage.Busy)
		a.ws.NetConn().Close()
		wantKinds(t, out, hub.MaxPending, usage.Offline)
		synctest.Wait()
		r.wantOnline(router1, false)
	})
}

func TestDrain(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		secret := r.enrol(router1)
		a := r.connect(secret, router1)
		early := r.open(secret) // has not said hello
		synctest.Wait()         // the relay counts it after its answer
		out := r.calls(t.Context(), router1, 5)
		for range 5 {
			a.read()
		}
		var ends sync.WaitGroup
		ends.Go(func() { early.wantClose(wire.CloseWait, "wait=1") })
		ends.Go(func() { a.wantClose(wire.CloseWait, "wait=1") })
		r.gateway.Drain(t.Context())
		ends.Wait()
		wantKinds(t, out, 5, usage.Offline)
		if _, resp, err := r.dial(secret, nil); err == nil || resp.StatusCode != 503 {
			t.Errorf("dial while draining: got %v, want 503", err)
		}
		synctest.Wait()
		r.wantOnline(router1, false)
	})
}

// A router that does not read is given up when a frame has waited too long.
func TestSlowReader(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		r.connect(r.enrol(router1), router1) // and never reads again
		began := time.Now()
		wantKinds(t, r.calls(t.Context(), router1, 3), 3, usage.Offline)
		if took := time.Since(began); took != wire.WriteWithin {
			t.Errorf("calls ended after %v, want %v", took, wire.WriteWithin)
		}
		synctest.Wait()
		r.wantOnline(router1, false)
	})
}

// Its queue is bounded all the same.
func TestFullQueue(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		r.connect(r.enrol(router1), router1) // and never reads again
		ctx, giveUp := context.WithCancel(t.Context())
		out := r.calls(ctx, router1, hub.MaxPending)
		synctest.Wait()
		giveUp() // each call queues a cancellation behind itself
		for range hub.MaxPending {
			if o := <-out; o.err == nil {
				t.Errorf("got %s, want an error", o.result)
			}
		}
		time.Sleep(3 * time.Second) // simulated: the goodbye
		synctest.Wait()
		r.wantOnline(router1, false)
	})
}

func TestSilence(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		a := r.connect(r.enrol(router1), router1)
		pongs := 0
		a.ws.SetPongHandler(func(string) error { pongs++; return nil })
		ended := make(chan time.Time)
		go func() {
			a.answer(echo)
			ended <- time.Now()
		}()
		const pings = 20
		for range pings {
			time.Sleep(wire.PingEvery)
			if err := a.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second)); err != nil {
				t.Fatal(err)
			}
		}
		last := time.Now()
		if got := (<-ended).Sub(last); got != wire.DeadAfter {
			t.Errorf("given up %v after the last ping, want %v", got, wire.DeadAfter)
		}
		if pongs != pings {
			t.Errorf("got %d pongs, want %d", pongs, pings)
		}
		synctest.Wait()
		r.wantOnline(router1, false)
	})
}

// A large frame over a slow line is no silence.
func TestSlowFrame(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		a := r.connect(r.enrol(router1), router1)
		w, err := a.ws.NextWriter(websocket.TextMessage)
		for i := 0; err == nil && i < 10; i++ {
			_, err = w.Write(bytes.Repeat([]byte(" "), 16<<10))
			time.Sleep(wire.DeadAfter / 2)
		}
		if err == nil {
			_, err = w.Write(wire.AppendCall(nil, 9, "x", nil, 0))
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		if m := a.read(); m.ID != 9 {
			t.Errorf("got %+v, want the answer to call 9", m)
		}
	})
}
