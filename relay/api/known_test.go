package api

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/hub"
	"github.com/netpilot/netpilot/relay/store/storetest"
)

const currentOf = "/api/device-usage/current?routerId="

// metadataOf decodes an answer's metadata.
func metadataOf(t testing.TB, body []byte) (m metadataItem) {
	t.Helper()
	var e struct{ Metadata *metadataItem }
	e.Metadata = &m
	if err := json.Unmarshal(body, &e); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAnswersAreGivenAgain(t *testing.T) {
	r := newRig(t)
	calls := 0
	r.routers.answer = func(context.Context, string, json.RawMessage) (json.RawMessage, error) {
		calls++
		return json.Marshal(calls)
	}
	get := func(query string, data string, m metadataItem) {
		t.Helper()
		status, body := answerOf(r.do("GET", currentOf+id(connected)+query, "", nil))
		got := metadataOf(t, []byte(body))
		m.Timestamp, m.ExecutionTime, m.RouterID = got.Timestamp, got.ExecutionTime, got.RouterID
		if status != 200 || !strings.HasPrefix(body, `{"success":true,"data":`+data+`,`) || got != m {
			t.Errorf("got %d %s, want data %s and %+v", status, body, data, m)
		}
	}
	asOf := start.Truncate(time.Millisecond).Format(time.RFC3339Nano)
	get("", "1", metadataItem{Source: fromRouter})
	get("", "1", metadataItem{Source: fromRouter, Cached: true, AsOf: asOf})
	get("&limit=1", "2", metadataItem{Source: fromRouter})
	r.now = start.Add(cacheFor - time.Millisecond)
	get("", "1", metadataItem{Source: fromRouter, Cached: true, AsOf: asOf})
	r.now = start.Add(cacheFor)
	get("", "3", metadataItem{Source: fromRouter})

	// A change makes it untrue, also one that may have failed.
	r.known.forget(storetest.RouterID(connected))
	get("", "4", metadataItem{Source: fromRouter})

	// The router goes away: the last answer, and a word that it is.
	asOf = r.now.Truncate(time.Millisecond).Format(time.RFC3339Nano)
	r.routers.answer = func(context.Context, string, json.RawMessage) (json.RawMessage, error) {
		return nil, usage.Errorf(usage.Offline, "x")
	}
	r.now = r.now.Add(time.Hour)
	get("", "4", metadataItem{Source: fromRouter, Stale: true, AsOf: asOf})
	want(t, "never asked", r.do("GET", currentOf+id(connected)+"&limit=2", "", nil), 503, "ROUTER_OFFLINE")
	// A router that is there and fails says more than it said then.
	r.answer("", usage.Errorf(usage.Unavailable, "x"))
	want(t, "nlbwmon down", r.do("GET", currentOf+id(connected), "", nil), 502, "NLBWMON_UNAVAILABLE")
}

// Those who ask at the same time wait for one answer, which a caller that
// goes away does not end.
func TestOneCallForMany(t *testing.T) {
	db := newRig(t).db
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		h := &routers{Local: hub.NewLocal(), online: storetest.RouterID(connected)}
		h.answer = func(ctx context.Context, _ string, _ json.RawMessage) (json.RawMessage, error) {
			calls++ // guarded by the single flight
			select {
			case <-time.After(time.Second):
				return json.RawMessage(`1`), nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		a := New(db, h, slog.New(slog.DiscardHandler))
		first, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		ask := func(ctx context.Context) {
			x := &exchange{Request: httptest.NewRequestWithContext(ctx, "GET", "/", nil), router: storetest.RouterID(connected)}
			if data, err := a.askKnown(x, "status", params{}); err != nil || string(data) != "1" {
				t.Errorf("got %s, %v", data, err)
			}
		}
		all.Go(func() { ask(first) })
		synctest.Wait()
		for range 20 {
			all.Go(func() { ask(t.Context()) })
		}
		synctest.Wait()
		leave()
		all.Wait()
		if calls != 1 {
			t.Errorf("the router was asked %d times, want once", calls)
		}
	})
}

// A change while an answer is on its way: the answer is not kept.
func TestKnownIsNeverOlderThanAChange(t *testing.T) {
	k := newKnown()
	_, before, _ := k.get("r x")
	k.forget("r")
	k.put(knownAnswer{key: "r x", data: json.RawMessage(`1`)}, before)
	if _, _, ok := k.get("r x"); ok {
		t.Error("an answer from before the change was kept")
	}
}

func TestKnownIsBounded(t *testing.T) {
	k := newKnown()
	data := json.RawMessage(bytes.Repeat([]byte("1"), maxKnown/4))
	for _, key := range strings.Fields("a b c a d e") {
		_, changes, _ := k.get(key)
		k.put(knownAnswer{key: key, data: data}, changes)
	}
	for key, want := range map[string]bool{"a": true, "b": false, "c": false, "d": true, "e": true} {
		if _, _, ok := k.get(key); ok != want {
			t.Errorf("%s kept: %v, want %v", key, ok, want)
		}
	}
	if k.size > maxKnown || len(k.answers) != k.order.Len() {
		t.Errorf("%d bytes, %d of %d", k.size, len(k.answers), k.order.Len())
	}
}
