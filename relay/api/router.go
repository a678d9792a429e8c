package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/hub"
	"github.com/netpilot/netpilot/relay/store"
)

// routerItem is a router as a backend reads it. A time is null for never.
type routerItem struct {
	ID             usage.RouterID `json:"id"`
	Name           string         `json:"name"`
	Model          string         `json:"model"`
	Release        string         `json:"release"`
	Arch           string         `json:"arch"`
	Timezone       string         `json:"timezone"`
	AgentVersion   string         `json:"agent_version"`
	Online         bool           `json:"online"`
	ConnectedSince *time.Time     `json:"connected_since"`
	LastSeen       *time.Time     `json:"last_seen"`
	EnrolledAt     *time.Time     `json:"enrolled_at"`
	RevokedAt      *time.Time     `json:"revoked_at"`
	Methods        []string       `json:"methods,omitempty"` // of the live link
	ClockSane      *bool          `json:"clock_sane,omitempty"`
	Counting       any            `json:"counting" doc:"Whether its numbers can be trusted, as it last said: ok, accuracy, reasons; null if it did not."`
	CountingAt     *time.Time     `json:"counting_at"`
	HistoryAsOf    *time.Time     `json:"history_as_of" doc:"Up to when the relay has its history."`
	Usage          *routerUsage   `json:"usage,omitempty" doc:"With days: what it moved, by the relay's copy of its history; absent if there is none."`
}

// routerUsage is a router's part of the fleet's sums.
type routerUsage struct {
	Days int       `json:"days"`
	AsOf time.Time `json:"as_of" doc:"When it was summed up: at most 5 minutes ago."`
	Counters
}

// packRouter joins what is kept of a router with its live link, which knows
// better.
func packRouter(r store.Router, link hub.Presence, online bool) routerItem {
	item := routerItem{
		ID: r.ID, Name: r.Name, Model: r.Model, Release: r.Release, Arch: r.Arch, Timezone: r.Timezone,
		AgentVersion: r.AgentVersion, Online: online, LastSeen: unlessZero(r.LastSeen),
		EnrolledAt: unlessZero(r.EnrolledAt), RevokedAt: unlessZero(r.RevokedAt),
	}
	if online {
		h := link.Hello
		item.Name, item.Model, item.Release, item.Arch = h.Name, h.Model, h.Release, h.Arch
		item.Timezone, item.AgentVersion, item.Methods = h.Timezone, h.AgentVersion, h.Methods
		item.ConnectedSince, item.LastSeen = unlessZero(link.Since), unlessZero(link.LastFrame)
		item.ClockSane = &h.ClockSane
	}
	return item
}

// counting adds what the router last pushed: whether it counts rightly, and
// how far its history is here.
func (a *API) counting(x *exchange, item *routerItem) (store.Replica, error) {
	replica, err := a.store.Replica(x.Context(), item.ID)
	if err != nil && !errors.Is(err, store.ErrNoHistory) {
		return replica, err
	}
	if _, known := countsRightly(&replica); known { // else it may not be JSON
		item.Counting, item.CountingAt = replica.Counting, unlessZero(replica.CountingAt)
	}
	item.HistoryAsOf = unlessZero(replica.AsOf)
	return replica, nil
}

// unlessZero is t in UTC to the millisecond, nil for never.
func unlessZero(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Millisecond)
	return &t
}

// routersIn are the parameters of the list of routers.
type routersIn struct {
	Sort   string `query:"sort" enum:"name,last_seen,enrolled_at" doc:"By name if absent; times newest first."`
	Limit  int    `query:"limit" minimum:"0" maximum:"10000" default:"100" doc:"Rows at most; 0 for 10,000."`
	Offset int    `query:"offset" minimum:"0" maximum:"1073741824" doc:"Rows to leave out at the start."`

	Online   string `query:"online" enum:"true,false" doc:"Only those that are, or are not."`
	Counting string `query:"counting" enum:"ok,broken,unknown" doc:"Only those whose numbers can be trusted, cannot, or that have not said."`
	Name     string `query:"name" maxLength:"63" doc:"Only those with this in their name, in either case of letters."`
	Revoked  string `query:"revoked" enum:"true,false" doc:"Only those that are, or are not."`

	Days int `query:"days" minimum:"1" maximum:"31" doc:"Also what each moved today and on the days before it, in its own time zone."`
}

type routerIn struct {
	ID string `path:"id" doc:"The router: 64 lower-case hexadecimal digits."`
}

// routersItem is the list of routers.
type routersItem struct {
	Routers []routerItem `json:"routers" nullable:"false"`
	Total   int          `json:"total" doc:"Routers that match, on this page or not."`
	Limit   int          `json:"limit"`
	Offset  int          `json:"offset"`
}

func (a *API) mountRouters() {
	mount[routersIn, routersItem](a, route{method: http.MethodGet, path: "/api/routers", needs: store.ScopeRead, tag: "fleet", id: "routers",
		summary: "The enrolled routers: online, last seen, version"}, a.routers)
	mount[routerIn, routerItem](a, route{method: http.MethodGet, path: "/api/routers/{id}", needs: store.ScopeRead, tag: "fleet", id: "router",
		summary: "One router"}, a.router)
}

// routers answers GET /api/routers.
func (a *API) routers(x *exchange, in *routersIn) (json.RawMessage, error) {
	q := store.RouterQuery{Among: x.key.Routers, Limit: in.Limit, Offset: in.Offset, Sort: store.RouterSort(in.Sort)}
	if q.Limit == 0 {
		q.Limit = maxLimit
	}
	page := usage.Page{Limit: q.Limit, Offset: q.Offset}
	filtered := in.Online != "" || in.Counting != "" || in.Name != "" || in.Revoked != ""
	if filtered { // what the store does not know cannot be chosen there
		q.Limit, q.Offset = 0, 0
	}
	list, total, err := a.store.Routers(x.Context(), q)
	if err != nil {
		return nil, err
	}
	items := make([]routerItem, 0, len(list))
	enrolled := make(map[usage.RouterID]*store.Router) // of the items
	for i, r := range list {
		link, online := a.hub.Online(r.ID)
		item := packRouter(r, link, online)
		if filtered && !in.matches(&item) {
			continue
		}
		if !filtered || in.Counting != "" {
			replica, err := a.counting(x, &item)
			if err != nil {
				return nil, err
			}
			if in.Counting != "" && in.Counting != countingWord(&replica) {
				continue
			}
		}
		items = append(items, item)
		enrolled[r.ID] = &list[i]
	}
	if filtered {
		total = len(items)
		from, to := page.Bounds(total)
		items = items[from:to]
		for i := range items {
			if _, err := a.counting(x, &items[i]); err != nil {
				return nil, err
			}
		}
	}
	if in.Days > 0 {
		for i := range items {
			if err := a.addUsage(x, &items[i], enrolled[items[i].ID], in.Days); err != nil {
				return nil, err
			}
		}
	}
	return json.Marshal(routersItem{items, total, page.Limit, page.Offset})
}

// addUsage adds what the relay's copy of the router's history comes to.
func (a *API) addUsage(x *exchange, item *routerItem, r *store.Router, days int) error {
	p, err := a.partOf(x.Context(), r, days)
	switch {
	case errors.Is(err, store.ErrNoHistory):
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return usage.Errorf(usage.Timeout, "the sums are not ready yet; ask again, for they go on where they were")
	case err != nil:
		return err
	}
	if !p.replica.AsOf.IsZero() {
		item.Usage = &routerUsage{Days: days, AsOf: p.at.UTC().Truncate(time.Millisecond), Counters: packCounters(p.total)}
	}
	return nil
}

// matches tells whether a router is chosen by what can be told of it cheaply.
func (in *routersIn) matches(item *routerItem) bool {
	is := func(want string, value bool) bool { return want == "" || want == strconv.FormatBool(value) }
	return is(in.Online, item.Online) && is(in.Revoked, item.RevokedAt != nil) &&
		strings.Contains(strings.ToLower(item.Name), strings.ToLower(in.Name))
}

// countingWord is the filter that chooses a router with such a replica.
func countingWord(r *store.Replica) string {
	switch ok, known := countsRightly(r); {
	case !known:
		return "unknown"
	case !ok:
		return "broken"
	}
	return "ok"
}

// router answers GET /api/routers/{id}.
func (a *API) router(x *exchange, in *routerIn) (json.RawMessage, error) {
	id, err := usage.ParseRouterID(in.ID)
	if err != nil {
		return nil, err
	}
	if err := maySee(&x.key, id); err != nil {
		return nil, err
	}
	x.router = id
	r, err := a.store.Router(x.Context(), id)
	if err != nil {
		if isKind(err, usage.NotFound) {
			return nil, routerNotFound(err)
		}
		return nil, err
	}
	link, online := a.hub.Online(id)
	item := packRouter(r, link, online)
	if _, err := a.counting(x, &item); err != nil {
		return nil, err
	}
	return json.Marshal(item)
}

func routerNotFound(err error) error {
	return &failure{status: http.StatusNotFound, code: "ROUTER_NOT_FOUND", message: err.Error(), err: err}
}
