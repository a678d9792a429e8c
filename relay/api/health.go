package api

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/legacy"
	"github.com/netpilot/netpilot/relay/store"
)

const (
	// healthEvery is how often the relay looks at itself.
	healthEvery = 5 * time.Second
	// checkWithin is how long its store may take to answer.
	checkWithin = 5 * time.Second
)

// healthItem is the answer of /health.
type healthItem struct {
	Message string       `json:"message" example:"Server is healthy"`
	Checks  healthChecks `json:"checks"`
}

// healthChecks are what the relay found when it last looked, some seconds
// ago. A check that fails does not make the answer one of failure: backends
// would then fail every call.
type healthChecks struct {
	Store   *storeCheck    `json:"store" doc:"Null until the first look."`
	Routers routersCheck   `json:"routers"`
	Nlbwmon *nlbwmonCheck  `json:"nlbwmon" doc:"Null until the first look."`
	Shadow  *legacy.Counts `json:"shadow,omitempty" doc:"What became of the comparisons with the old server."`
}

type storeCheck struct {
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty" doc:"The relay's log says more."`
}

type routersCheck struct {
	Enrolled int `json:"enrolled"`
	Online   int `json:"online"`
}

// nlbwmonCheck is whether the routers that are online count rightly, as they
// last said.
type nlbwmonCheck struct {
	OK      bool `json:"ok"`
	Broken  int  `json:"broken" doc:"Routers online that said they do not count rightly."`
	Unknown int  `json:"unknown" doc:"Routers online that have not said."`
}

// checks remembers the last look.
type checks struct {
	routers []usage.RouterID // owned by Run
	fully   time.Time        // owned by Run: when all routers were looked at

	mu   sync.Mutex // guards last
	last healthChecks
}

// fleetEvery is how often all routers are looked at, if none is added
// meanwhile.
const fleetEvery = time.Minute

// look looks at the store and at who is online, and now and then at what
// every router said last of its counting.
func (c *checks) look(ctx context.Context, a *API) {
	ctx, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	c.mu.Lock()
	found := c.last
	c.mu.Unlock()
	found.Store = &storeCheck{OK: true}
	if err := c.lookAtAll(ctx, a, &found); err != nil {
		found.Store = &storeCheck{Error: "the store does not answer; the relay's log says more"}
		if ctx.Err() == nil {
			a.log.Error("look at the store", "err", err)
		}
	}
	found.Routers.Online = 0
	for _, id := range c.routers {
		if _, online := a.hub.Online(id); online {
			found.Routers.Online++
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = found
}

func (c *checks) lookAtAll(ctx context.Context, a *API, found *healthChecks) error {
	now := a.Now()
	_, total, err := a.store.Routers(ctx, store.RouterQuery{Limit: 1})
	if err != nil {
		return err
	}
	found.Routers.Enrolled = total
	if now.Sub(c.fully) < fleetEvery && total == len(c.routers) {
		return nil
	}
	list, _, err := a.store.Routers(ctx, store.RouterQuery{})
	if err != nil {
		return err
	}
	c.fully = now
	c.routers = c.routers[:0]
	nlbwmon := &nlbwmonCheck{}
	for i := range list {
		id := list[i].ID
		c.routers = append(c.routers, id)
		if _, online := a.hub.Online(id); !online {
			continue
		}
		replica, err := a.store.Replica(ctx, id)
		if err != nil && !errors.Is(err, store.ErrNoHistory) {
			return err
		}
		switch ok, known := countsRightly(&replica); {
		case !known:
			nlbwmon.Unknown++
		case !ok:
			nlbwmon.Broken++
		}
	}
	nlbwmon.OK = nlbwmon.Broken == 0
	found.Nlbwmon = nlbwmon
	return nil
}

// countsRightly tells what a router last said of its own counting, if it did.
func countsRightly(r *store.Replica) (ok, known bool) {
	var said struct {
		OK *bool `json:"ok"`
	}
	if len(r.Counting) == 0 || json.Unmarshal(r.Counting, &said) != nil || said.OK == nil {
		return false, false
	}
	return *said.OK, true
}

// health answers GET /health. Backends ask it before their calls and fail all
// of them when it fails, so it needs no key and answers from memory.
func (a *API) health(_ *exchange, _ *struct{}) (json.RawMessage, error) {
	a.checks.mu.Lock()
	item := healthItem{Message: "Server is healthy", Checks: a.checks.last}
	a.checks.mu.Unlock()
	if a.Shadow != nil {
		counts := a.Shadow.Counts()
		item.Checks.Shadow = &counts
	}
	return json.Marshal(item)
}
