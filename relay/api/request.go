package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"github.com/danielgtaylor/huma/v2/queryparam"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
)

const (
	maxBody  = 64 << 10 // bytes of a request body
	maxLimit = 10_000   // rows of one answer
)

// IDs are the ids as parameters. readIDs reads them, since they may also
// stand in the body.
type IDs struct {
	RouterID  string `query:"routerId" doc:"The router: 64 lower-case hexadecimal digits. May stand in a JSON body instead." example:"9c08f8a87768dd08b0a2b0a3a87bd1e1ba1b2d7e1e0d0f1f8e1bd0e86c8d9a10"`
	SessionID string `query:"sessionId" doc:"A session, which must be active then. May stand in a JSON body instead."`
}

// FilterQuery are the parameters that ask for some of the devices.
type FilterQuery struct {
	Group    string `query:"group" maxLength:"63" doc:"Only devices of this group, in either case of letters. The router itself must answer."`
	Category string `query:"category" enum:"streaming,gaming,iot,server,backup,work,printer,idle" doc:"Only devices of this category. The router itself must answer."`
	Name     string `query:"name" maxLength:"63" doc:"Only the devices with this alias or hostname, in either case of letters. The router itself must answer."`
}

// into adds the filter to the params of a method.
func (q *FilterQuery) into(p *params) { p.Group, p.Category, p.Name = q.Group, q.Category, q.Name }

// readIDs fills in which session and router the exchange is about: query
// arguments, else fields of a JSON body. A body that is broken is as good as
// none, since backends send one with everything.
func (a *API) readIDs(x *exchange) error {
	rt := x.route
	session, router := queryparam.Get(x.URL.RawQuery, "sessionId"), queryparam.Get(x.URL.RawQuery, "routerId")
	if session == "" || router == "" && rt.ids != noIDs {
		body, err := x.readBody()
		if err != nil {
			return err
		}
		var ids struct {
			SessionID string `json:"sessionId"`
			RouterID  string `json:"routerId"`
		}
		if len(body) > 0 && json.Unmarshal(body, &ids) == nil {
			if session == "" {
				session = ids.SessionID
			}
			if router == "" {
				router = ids.RouterID
			}
		}
	}
	x.session = session
	switch {
	case rt.ids == noIDs:
		router = ""
	case rt.ids == routerID && router == "":
		return badRequest("routerId is required")
	case rt.ids != routerID && (router == "" || session == ""):
		return badRequest("sessionId and routerId are required")
	}
	// The session first: whether a router exists is for those inside only.
	if session != "" && rt.ids != sessionID {
		if err := a.sessions.use(x.Context(), x.key.ID, session, a.Now()); err != nil {
			return err
		}
	}
	if router == "" {
		return nil
	}
	id, err := usage.ParseRouterID(router)
	if err != nil {
		return badRequest(err.Error())
	}
	x.router = id
	if rt.ids == sessionID {
		return nil // the session is what it is about
	}
	return maySee(&x.key, id)
}

func errSession() error {
	return &failure{status: http.StatusUnauthorized, code: "SESSION_INVALID", message: "Session is not active or has expired"}
}

// readBody reads a JSON body; nil if the request has none or another type.
func (x *exchange) readBody() ([]byte, error) {
	if x.bodyIn || x.ContentLength == 0 {
		return x.body, nil
	}
	if media, _, err := mime.ParseMediaType(x.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return nil, nil
	}
	x.bodyIn = true
	body, err := io.ReadAll(io.LimitReader(x.Body, maxBody+1))
	switch {
	case len(body) > maxBody:
		return nil, &failure{status: http.StatusRequestEntityTooLarge, code: "BAD_REQUEST",
			message: fmt.Sprintf("the body is larger than %d bytes", maxBody)}
	case err != nil:
		return nil, badRequest("the body did not arrive")
	}
	x.bodyEnd()
	x.body = body
	return body, nil
}

// params are what the wire's usage methods take; absent ones are not sent.
type params struct {
	MAC        string `json:"mac,omitempty"`
	Period     string `json:"period,omitempty"`
	Timeframe  string `json:"timeframe,omitempty"`
	Days       int    `json:"days,omitempty"`
	From       string `json:"from,omitempty"`
	To         string `json:"to,omitempty"`
	Resolution string `json:"resolution,omitempty"`
	By         string `json:"by,omitempty"`
	Service    string `json:"service,omitempty"`
	Group      string `json:"group,omitempty"`
	Category   string `json:"category,omitempty"`
	Name       string `json:"name,omitempty"`
	Sort       string `json:"sort,omitempty"`
	Limit      int    `json:"limit,omitempty"`
	Offset     int    `json:"offset,omitempty"`
}

// named tells whether the answer depends on names, groups or categories,
// which the router alone knows.
func (p params) named() bool {
	return p.Group != "" || p.Category != "" || p.Name != "" || usage.LabelBy(p.By) != nil
}

// encode makes the params JSON, or nothing if there are none.
func (p params) encode() json.RawMessage {
	if p == (params{}) {
		return nil
	}
	raw, _ := json.Marshal(p) // strings and numbers always marshal
	return raw
}

// parseMAC takes either notation; "" stays "".
func parseMAC(value string) (string, error) {
	if value == "" {
		return "", nil
	}
	mac, err := usage.ParseMAC(value)
	if err != nil {
		return "", err
	}
	return mac.String(), nil
}

// parsePeriod takes every name nlbwmon gives: with an interval of the 31st,
// 2026-09-31 is one.
func parsePeriod(value string) (string, error) {
	if value == "" {
		return "", nil
	}
	period, err := nlbwmon.ParsePeriod(value)
	if err != nil {
		return "", badRequest("period is the first day of an accounting period, like 2026-11-01")
	}
	return period.String(), nil
}

// isKind tells whether err is a failure of that kind.
func isKind(err error, kind usage.Kind) bool {
	var known *usage.Error
	return errors.As(err, &known) && known.Kind == kind
}
