package api

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/store"
)

// CurrentQuery are the parameters of the devices of a period.
type CurrentQuery struct {
	IDs
	Period string `query:"period" doc:"First day of an accounting period of nlbwmon; the running one if absent." example:"2026-11-01"`
	FilterQuery
	Sorting
	Paging
}

type recordsIn struct {
	CurrentQuery
	MAC string `query:"mac" doc:"Only this device." example:"02:77:00:00:00:11"`
}

type deviceIn struct {
	IDs
	Sorting // of its services, as the paging
	Paging
	MAC    string `path:"mac" doc:"The device." example:"02:77:00:00:00:11"`
	Period string `query:"period" doc:"First day of an accounting period of nlbwmon; the running one if absent." example:"2026-11-01"`
}

func (a *API) mountUsage() {
	rt := func(path, id, summary, about string) route {
		return route{method: http.MethodGet, path: "/api/device-usage/" + path, needs: store.ScopeRead, ids: routerID, tag: "usage",
			id: id, summary: summary, about: about}
	}
	mount[CurrentQuery, currentItem](a, rt("current", "usageCurrent", "The devices of an accounting period, largest first",
		"Counters are cumulative since the start of the period. Asked of the router itself."), a.usageCurrent)
	mount[deviceIn, oneDeviceItem](a, rt("device/{mac}", "usageDevice", "One device and its services",
		"limit, offset and sort are of the services; all of them if absent."), a.usageDevice)
	mount[recordsIn, recordsItem](a, rt("records", "usageRecords", "nlbwmon's rows", ""), a.usageRecords)
	mount[IDs, statusItem](a, rt("status", "usageStatus", "The agent's own view: nlbwmon, age of the numbers, link", ""), a.usageStatus)
}

// usageCurrent answers GET /api/device-usage/current.
func (a *API) usageCurrent(x *exchange, in *CurrentQuery) (json.RawMessage, error) {
	p, err := in.params()
	if err != nil {
		return nil, err
	}
	return a.askKnown(x, "usage.current", p)
}

func (in *CurrentQuery) params() (params, error) {
	period, err := parsePeriod(in.Period)
	p := params{Period: period, Sort: in.Sort, Limit: in.Limit, Offset: in.Offset}
	in.into(&p)
	return p, err
}

// usageRecords answers GET /api/device-usage/records.
func (a *API) usageRecords(x *exchange, in *recordsIn) (json.RawMessage, error) {
	p, err := in.params()
	if err == nil {
		p.MAC, err = parseMAC(in.MAC)
	}
	if err != nil {
		return nil, err
	}
	return a.ask(x, "usage.records", p)
}

// usageStatus answers GET /api/device-usage/status.
func (a *API) usageStatus(x *exchange, _ *IDs) (json.RawMessage, error) {
	return a.askKnown(x, "status", params{})
}

// usageDevice answers GET /api/device-usage/device/{mac}.
func (a *API) usageDevice(x *exchange, in *deviceIn) (json.RawMessage, error) {
	var p params
	var err error
	if p.Period, err = parsePeriod(in.Period); err == nil {
		p.MAC, err = parseMAC(in.MAC)
	}
	if err != nil {
		return nil, err
	}
	data, err := a.ask(x, "usage.device", p)
	if err == nil && (in.Sorting != Sorting{} || in.Paging != Paging{}) {
		data, err = pageMembers(data, in.Sort, in.page(), "services")
	}
	return data, err
}

// The words for who answered.
const (
	fromRouter = "router"
	fromStore  = "store"
)

// ask calls the exchange's router and gives its failures their codes.
func (a *API) ask(x *exchange, method string, p params) (json.RawMessage, error) {
	return a.send(x, method, p.encode(), p.MAC != "")
}

// send is ask with params as they are; device says that they name one.
func (a *API) send(x *exchange, method string, params json.RawMessage, device bool) (json.RawMessage, error) {
	data, err := a.hub.Call(x.Context(), x.router, method, params)
	if err != nil {
		return nil, a.explain(x, err, device)
	}
	x.facts.source = fromRouter
	return data, nil
}

// explain gives a call's failure its code.
func (a *API) explain(x *exchange, err error, device bool) error {
	switch {
	case isKind(err, usage.Offline): // only now does it matter whether the router exists
		return a.whyOffline(x, err)
	case isKind(err, usage.NotFound) && device:
		return &failure{status: http.StatusNotFound, code: "DEVICE_NOT_FOUND", message: err.Error(), err: err}
	case isKind(err, usage.Unauthenticated): // a router has no say about our caller's key
		return fmt.Errorf("router %s answered with: %s", x.router.Short(), err)
	}
	return err
}

// whyOffline tells a router without a link from one that is not enrolled.
func (a *API) whyOffline(x *exchange, offline error) error {
	router, err := a.store.Router(x.Context(), x.router)
	switch {
	case isKind(err, usage.NotFound):
		return routerNotFound(err)
	case err != nil:
		return err
	case !router.RevokedAt.IsZero():
		return &failure{status: http.StatusServiceUnavailable, code: "ROUTER_OFFLINE",
			message: fmt.Sprintf("router %s was revoked; enrol it again with netpilot-agent enroll", x.router.Short())}
	}
	return offline
}
