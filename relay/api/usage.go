package api

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/netpilot/netpilot/pkg/usage"
)

// usageCurrent answers GET /api/device-usage/current.
func (a *API) usageCurrent(x *exchange) (json.RawMessage, error) {
	return a.askWith(x, "usage.current", "period", "sort", "limit", "offset")
}

// usageRecords answers GET /api/device-usage/records.
func (a *API) usageRecords(x *exchange) (json.RawMessage, error) {
	return a.askWith(x, "usage.records", "period", "mac", "sort", "limit", "offset")
}

// usageStatus answers GET /api/device-usage/status.
func (a *API) usageStatus(x *exchange) (json.RawMessage, error) {
	return a.askWith(x, "status")
}

// usageDevice answers GET /api/device-usage/device/{mac}.
func (a *API) usageDevice(x *exchange) (json.RawMessage, error) {
	if err := x.readIDs(); err != nil {
		return nil, err
	}
	p, err := readParams(x.URL.Query(), "period")
	if err != nil {
		return nil, err
	}
	if p.MAC, err = parseMAC(x.PathValue("mac")); err != nil {
		return nil, err
	}
	return a.ask(x, "usage.device", p)
}

// askWith asks the exchange's router with the query arguments of those names.
func (a *API) askWith(x *exchange, method string, names ...string) (json.RawMessage, error) {
	if err := x.readIDs(); err != nil {
		return nil, err
	}
	p, err := readParams(x.URL.Query(), names...)
	if err != nil {
		return nil, err
	}
	return a.ask(x, method, p)
}

// ask calls the exchange's router and gives its failures their codes.
func (a *API) ask(x *exchange, method string, p params) (json.RawMessage, error) {
	data, err := a.hub.Call(x.Context(), x.router, method, p.encode())
	switch {
	case err == nil:
		return data, nil
	case isKind(err, usage.Offline): // only now does it matter whether the router exists
		return nil, a.whyOffline(x, err)
	case isKind(err, usage.NotFound) && p.MAC != "":
		return nil, &failure{status: http.StatusNotFound, code: "DEVICE_NOT_FOUND", message: err.Error(), err: err}
	case isKind(err, usage.Unauthenticated): // a router has no say about our caller's key
		return nil, fmt.Errorf("router %s answered %s with: %s", x.router.Short(), method, err)
	}
	return nil, err
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
		return usage.Errorf(usage.Offline, "router %s was revoked; enrol it again with netpilot-agent enroll", x.router.Short())
	}
	return offline
}
