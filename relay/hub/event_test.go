package hub

import (
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/netpilot/netpilot/pkg/wire"
)

func TestEvents(t *testing.T) {
	h := NewLocal()
	if h.Listened() {
		t.Error("listened to by nobody: got true")
	}
	all, stop := h.Subscribe(nil)
	live, stopLive := h.Subscribe(func(e *Event) bool { return e.Kind == EventLive && e.Router == router })
	began := time.Unix(1_795_000_000, 0)
	first := h.Attach(router, wire.Hello{}, newTap(), began)
	second := h.Attach(router, wire.Hello{}, newTap(), began) // no second online
	h.Publish(Event{Kind: EventLive, Router: router, Data: json.RawMessage(`1`)})
	h.Publish(Event{Kind: EventLive, Router: "another"})
	h.Detach(first) // not the link any more: no offline
	h.Detach(second)
	h.Detach(second)
	for _, want := range []EventKind{EventOnline, EventLive, EventLive, EventOffline} {
		if e := <-all; e.Kind != want || e.Lost != 0 {
			t.Errorf("got %+v, want %s", e, want)
		}
	}
	if e := <-live; string(e.Data) != "1" {
		t.Errorf("got %+v, want the live event", e)
	}
	for range 2 {
		stop()
		stopLive()
	}
	if e, ok := <-all; ok {
		t.Errorf("after cancel: got %+v", e)
	}
	if e, ok := <-live; ok {
		t.Errorf("after cancel: got %+v", e)
	}
	h.Publish(Event{Kind: EventLive}) // to nobody
}

// Who does not read loses the oldest, and every event is either read or
// counted, also while it reads.
func TestSlowSubscriber(t *testing.T) {
	h := NewLocal()
	events, stop := h.Subscribe(nil)
	for range 3 * eventQueue {
		h.Publish(Event{Kind: EventUsage})
	}
	h.Publish(Event{Kind: EventOffline})
	read, lost := 0, 0
	var last Event
	for range eventQueue {
		last = <-events
		read, lost = read+1, lost+last.Lost
	}
	if last.Kind != EventOffline || read+lost != 3*eventQueue+1 {
		t.Errorf("got %d read and %d lost, last %+v; want all %d and the newest last", read, lost, last, 3*eventQueue+1)
	}
	const each, writers = 10_000, 4
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				h.Publish(Event{Kind: EventUsage})
			}
		})
	}
	sum := make(chan int)
	go func() {
		n := 0
		for e := range events {
			n += 1 + e.Lost
		}
		sum <- n
	}()
	wg.Wait()
	stop()
	if got := <-sum; got != each*writers {
		t.Errorf("got %d events read or lost, want %d", got, each*writers)
	}
}
