package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
	"github.com/netpilot/netpilot/relay/hub"
	"github.com/netpilot/netpilot/relay/store"
	"github.com/netpilot/netpilot/relay/store/storetest"
)

// pushCall is a history.push of one closed bucket and none open.
func pushCall(id wire.CallID, after, cursor uint64) []byte {
	var w wire.PushWriter
	w.Reset()
	b := storetest.Bucket(time.Unix(946684800, 0), usage.FiveMinutes, 1, 1000)
	w.Bucket(&b)
	return wire.AppendCall(nil, id, wire.PushMethod, w.Append(nil, after, cursor, time.Unix(946685200, 0), json.RawMessage(`{"ok":true}`)), 0)
}

func TestPush(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		secret := r.enrol(router1)
		a := r.connect(secret, router1)
		events, stop := r.hub.Subscribe(func(e *hub.Event) bool { return e.Kind == hub.EventUsage })
		defer stop()
		a.send(pushCall(2, 0, 77))
		if m := a.read(); m.ID != 2 || string(m.Result) != `{"cursor":77}` {
			t.Errorf("got %+v (%s), want cursor 77", m, m.Result)
		}
		a.send(pushCall(3, 0, 99)) // as if the answer had been lost
		if m := a.read(); m.ID != 3 || string(m.Result) != `{"cursor":77}` {
			t.Errorf("the wrong cursor: got %+v (%s), want 77", m, m.Result)
		}
		for _, params := range []string{`{"after":"x"}`, `{"after":77,"cursor":78,"buckets":[[1,300,[],[],[],[]]]}`} {
			a.send(wire.AppendCall(nil, 4, wire.PushMethod, json.RawMessage(params), 0))
			if m := a.read(); m.Error == nil || m.Error.Kind != usage.Invalid {
				t.Errorf("%s: got %+v, want it invalid", params, m)
			}
		}
		synctest.Wait()
		want := `{"cursor":77,"as_of":"2000-01-01T00:06:40Z","closed_buckets":1,"buckets":[{"start":"2000-01-01T00:00:00Z","seconds":300,"open":false,` +
			`"devices":[{"mac":"02:00:00:00:00:01","bytes_rx":1000,"bytes_tx":333,"total_bytes":1333}]}]}`
		if e := <-events; e.Router != router1 || string(e.Data) != want {
			t.Errorf("event: got %s, want %s", e.Data, want)
		}
		select {
		case e := <-events:
			t.Errorf("event of a push that was not kept: %s", e.Data)
		default:
		}
		replica, err := r.db.Replica(t.Context(), router1)
		if err != nil || replica.Cursor != 77 || !replica.AsOf.Equal(time.Unix(946685200, 0)) || string(replica.Counting) != `{"ok":true}` {
			t.Errorf("got %+v, %v", replica, err)
		}
		// The next link goes on there.
		a.ws.Close()
		a = r.open(secret)
		a.send(hello(router1))
		var got wire.Welcome
		if m := a.read(); json.Unmarshal(m.Result, &got) != nil || got.Cursor == nil || *got.Cursor != 77 {
			t.Errorf("hello: got %s, want cursor 77", m.Result)
		}
	})
}

// slowStore is a store whose Push waits, and then fails if told so.
type slowStore struct {
	store.Store
	gate chan error
}

func (s slowStore) Push(ctx context.Context, p *store.Push) (uint64, error) {
	if err := <-s.gate; err != nil {
		return 0, err
	}
	return s.Store.Push(ctx, p)
}

// A push that waits for the store leaves the link to calls.
func TestPushWhileStoreIsSlow(t *testing.T) {
	var gate chan error // made in the test's own time
	wrap := func(s store.Store) store.Store {
		gate = make(chan error)
		return slowStore{s, gate}
	}
	simulateOn(t, wrap, func(t *testing.T, r *rig) {
		a := r.connect(r.enrol(router1), router1)
		a.send(pushCall(2, 0, 77))
		synctest.Wait()
		a.send(pushCall(3, 0, 77))
		if m := a.read(); m.ID != 3 || m.Error == nil || m.Error.Kind != usage.Busy || m.Error.RetryAfter <= 0 {
			t.Errorf("a second push: got %+v, want busy", m)
		}
		out := r.calls(t.Context(), router1, 1)
		m := a.read()
		a.send(wire.AppendResult(nil, m.ID, json.RawMessage(`1`)))
		if o := <-out; o.err != nil {
			t.Errorf("a call meanwhile: got %v", o.err)
		}
		gate <- errors.New("disk full")
		if m := a.read(); m.ID != 2 || m.Error == nil || m.Error.Kind != usage.Busy || m.Error.RetryAfter < time.Second || strings.Contains(m.Error.Message, "disk") {
			t.Errorf("a store that fails: got %+v, want busy and no more", m)
		}
		a.send(pushCall(4, 0, 77))
		gate <- nil
		if m := a.read(); m.ID != 4 || string(m.Result) != `{"cursor":77}` {
			t.Errorf("got %+v (%s), want cursor 77", m, m.Result)
		}
	})
}

func TestWithoutHistory(t *testing.T) {
	simulateOn(t, store.WithoutHistory, func(t *testing.T, r *rig) {
		a := r.open(r.enrol(router1))
		a.send(hello(router1))
		var got wire.Welcome
		if m := a.read(); json.Unmarshal(m.Result, &got) != nil || got.Cursor != nil {
			t.Errorf("hello: got %s, want no cursor", m.Result)
		}
		a.send(pushCall(2, 0, 77))
		if m := a.read(); m.Error == nil || m.Error.Kind != usage.Unavailable {
			t.Errorf("got %+v, want it unavailable", m)
		}
	})
}
