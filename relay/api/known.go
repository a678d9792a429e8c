package api

import (
	"container/list"
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/hub"
	"github.com/netpilot/netpilot/relay/store"
)

const (
	// cacheFor is how long an answer is given again without asking.
	cacheFor = 5 * time.Second
	// maxKnown bounds the bytes of the answers remembered for routers that
	// are offline later. Those asked for longest ago go first.
	maxKnown = 64 << 20
)

// known remembers what routers answered last, and has callers that ask the
// same at the same time wait for one answer.
type known struct {
	flights singleflight.Group

	mu      sync.Mutex // guards below
	answers map[string]*list.Element
	order   *list.List // of *knownAnswer, the most recently used first
	size    int        // bytes
	changes int        // grows when answers became untrue
}

type knownAnswer struct {
	key  string
	data json.RawMessage
	at   time.Time
}

func newKnown() *known {
	return &known{answers: make(map[string]*list.Element), order: list.New()}
}

func (k *known) get(key string) (answer knownAnswer, changes int, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.answers[key]
	if e == nil {
		return knownAnswer{}, k.changes, false
	}
	k.order.MoveToFront(e)
	return *e.Value.(*knownAnswer), k.changes, true
}

// put remembers an answer to a call that began at that count of changes.
func (k *known) put(answer knownAnswer, changes int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if changes != k.changes {
		return // it may be from before the change
	}
	if e := k.answers[answer.key]; e != nil {
		k.removeLocked(e)
	}
	k.answers[answer.key] = k.order.PushFront(&answer)
	k.size += len(answer.key) + len(answer.data)
	for k.size > maxKnown {
		k.removeLocked(k.order.Back())
	}
}

func (k *known) removeLocked(e *list.Element) {
	answer := k.order.Remove(e).(*knownAnswer)
	delete(k.answers, answer.key)
	k.size -= len(answer.key) + len(answer.data)
}

// forget drops what is known of a router: it was changed.
func (k *known) forget(router usage.RouterID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.changes++
	for key, e := range k.answers {
		if strings.HasPrefix(key, string(router)) {
			k.removeLocked(e)
		}
	}
}

// askKnown asks the exchange's router unless its answer is younger than
// cacheFor and it is still there. If the router is offline the answer is the last known, and says so.
func (a *API) askKnown(x *exchange, method string, p params) (json.RawMessage, error) {
	raw := p.encode()
	key := string(x.router) + " " + method + " " + string(raw)
	last, changes, ok := a.known.get(key)
	if _, online := a.hub.Online(x.router); online && ok && a.Now().Sub(last.at) < cacheFor {
		x.facts = facts{source: fromRouter, cached: true, asOf: last.at}
		return last.data, nil
	}
	answer, err, _ := a.known.flights.Do(key+" "+strconv.Itoa(changes), func() (any, error) {
		// Others may wait for the answer when this caller has gone.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(x.Context()), hub.CallWithin)
		defer cancel()
		began := a.Now()
		data, err := a.hub.Call(ctx, x.router, method, raw)
		if err == nil {
			a.known.put(knownAnswer{key, data, began}, changes)
			if len(raw) == 0 {
				a.store.KeepAnswer(x.router, method, store.Answer{Result: data, At: began})
			}
		}
		return data, err
	})
	if err == nil {
		x.facts.source = fromRouter
		return answer.(json.RawMessage), nil
	}
	err = a.explain(x, err, p.MAC != "")
	if !ok && len(raw) == 0 && isKind(err, usage.Offline) {
		last, ok = a.lastAnswer(x, method)
	}
	if ok && isKind(err, usage.Offline) {
		x.facts = facts{source: fromRouter, stale: true, asOf: last.at}
		return last.data, nil
	}
	return nil, err
}
