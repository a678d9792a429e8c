package api

import (
	"encoding/json"
	"net/http"
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
	list, total, err := a.store.Routers(x.Context(), q)
	if err != nil {
		return nil, err
	}
	items := make([]routerItem, 0, len(list))
	for _, r := range list {
		link, online := a.hub.Online(r.ID)
		items = append(items, packRouter(r, link, online))
	}
	return json.Marshal(routersItem{items, total, q.Limit, q.Offset})
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
	return json.Marshal(packRouter(r, link, online))
}

func routerNotFound(err error) error {
	return &failure{status: http.StatusNotFound, code: "ROUTER_NOT_FOUND", message: err.Error(), err: err}
}
