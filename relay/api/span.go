package api

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/zone"
	"github.com/netpilot/netpilot/relay/store"
)

// freshWithin is how much of the newest history the store may lack and still
// answer for the router: an open bucket of five minutes is pushed several
// times before it closes.
const freshWithin = 10 * time.Minute

// SpanQuery are the parameters that say which time is asked for.
type SpanQuery struct {
	Timeframe string `query:"timeframe" enum:"1h,24h,7d,30d" doc:"That long until now. At most one of timeframe, days and from."`
	Days      int    `query:"days" minimum:"1" maximum:"400" doc:"Today and the days before it, in the router's time zone."`
	From      string `query:"from" maxLength:"64" doc:"RFC 3339, or a date for its midnight in the router's time zone." example:"2026-11-20"`
	To        string `query:"to" maxLength:"64" doc:"Until then, not including it; now if absent." example:"2026-11-23T18:00:00Z"`
}

func (q *SpanQuery) params() params {
	return params{Timeframe: q.Timeframe, Days: q.Days, From: q.From, To: q.To}
}

// past is a span of a router's history and who is to answer for it.
type past struct {
	usage.Span
	zone    *time.Location
	router  store.Router
	replica store.Replica
	kept    bool // the store has something of the router
	fresh   bool // it has all of the span
	named   bool // the router alone can tell, since it depends on names
}

// pastOf checks the span that p asks for and looks up what the store has of
// it. The router must be enrolled.
func (a *API) pastOf(x *exchange, p params) (*past, error) {
	router, err := a.routerOf(x)
	if err != nil {
		return nil, err
	}
	h := &past{router: router, zone: a.zoneOf(&router), named: p.named()}
	now := a.Now()
	q := usage.SpanQuery{Timeframe: p.Timeframe, Days: p.Days, From: p.From, To: p.To, Resolution: p.Resolution}
	if h.Span, err = q.Span(now.In(h.zone)); err != nil {
		return nil, err
	}
	if h.replica, err = a.store.Replica(x.Context(), x.router); err != nil && !errors.Is(err, store.ErrNoHistory) {
		return nil, err
	}
	h.kept = !h.replica.AsOf.IsZero()
	need := h.To
	if need.After(now) {
		need = now
	}
	if now.Sub(need) < freshWithin { // the newest part is always on its way
		need = now.Add(-freshWithin)
	}
	h.fresh = h.kept && !h.replica.AsOf.Before(need)
	return h, nil
}

// routerOf is what the store knows of the exchange's router.
func (a *API) routerOf(x *exchange) (store.Router, error) {
	router, err := a.store.Router(x.Context(), x.router)
	if isKind(err, usage.NotFound) {
		err = routerNotFound(err)
	}
	return router, err
}

// zoneOf is the router's time zone; UTC if it did not say or says nonsense.
func (a *API) zoneOf(router *store.Router) *time.Location {
	tz := router.Timezone
	if link, online := a.hub.Online(router.ID); online {
		tz = link.Hello.Timezone
	}
	if loc, err := zone.Parse(tz); err == nil {
		return loc
	}
	return time.UTC
}

// choose answers from the store if it has the whole span, else from the
// router, else, if the router cannot be reached, from what the store has. The
// store knows what a device is called by the router's last word only, so what
// depends on that is for the router alone.
func (a *API) choose(x *exchange, h *past, fromStoreDo, fromRouterDo func() error) error {
	kept := func(stale bool) error {
		x.facts = facts{source: fromStore, stale: stale}
		if stale {
			x.facts.asOf = h.replica.AsOf
		}
		return fromStoreDo()
	}
	if h.fresh && !h.named {
		return kept(false)
	}
	x.facts = facts{source: fromRouter}
	err := fromRouterDo()
	if h.named && isKind(err, usage.Offline) {
		return usage.Errorf(usage.Offline, "%s; it alone knows names, groups and categories: ask without group, category and name, and not by them", err)
	}
	if err != nil && h.kept && !h.named && (isKind(err, usage.Offline) || isKind(err, usage.Timeout)) {
		return kept(true)
	}
	return err
}

// counting is the store's last word on whether the router counts rightly.
func (h *past) counting() *usage.Counting {
	if len(h.replica.Counting) == 0 {
		return nil
	}
	c := new(usage.Counting)
	if json.Unmarshal(h.replica.Counting, c) != nil {
		return nil
	}
	return c
}

// lastAnswer is the router's last answer to the method without params.
func (a *API) lastAnswer(x *exchange, method string) (knownAnswer, bool) {
	key := string(x.router) + " " + method + " "
	last, _, ok := a.known.get(key)
	if ok {
		return last, ok
	}
	kept, err := a.store.LastAnswer(x.Context(), x.router, method)
	return knownAnswer{key, kept.Result, kept.At}, err == nil
}
