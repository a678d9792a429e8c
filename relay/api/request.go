package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
)

const (
	maxBody   = 64 << 10 // bytes of a request body
	maxLimit  = 10_000   // rows of one answer
	maxOffset = 1 << 30  // rows left out: more than any list has
)

// readIDs fills in which session and router the exchange is about: query
// arguments, else fields of a JSON body. A body that is broken is as good as
// none, since backends send one with everything.
func (x *exchange) readIDs() error {
	query := x.URL.Query()
	session, router := query.Get("sessionId"), query.Get("routerId")
	if session == "" || router == "" {
		body, err := x.readBody()
		if err != nil {
			return err
		}
		var ids struct {
			SessionID string `json:"sessionId"`
			RouterID  string `json:"routerId"`
		}
		if json.Unmarshal(body, &ids) == nil {
			if session == "" {
				session = ids.SessionID
			}
			if router == "" {
				router = ids.RouterID
			}
		}
	}
	x.session = session
	if router == "" {
		return badRequest("routerId is required")
	}
	id, err := usage.ParseRouterID(router)
	if err != nil {
		return err
	}
	x.router = id
	if session != "" {
		return &failure{status: http.StatusUnauthorized, code: "SESSION_INVALID", message: "Session is not active or has expired"}
	}
	return nil
}

// readBody reads a JSON body; nil if the request has none or another type.
func (x *exchange) readBody() ([]byte, error) {
	media, _, err := mime.ParseMediaType(x.Header.Get("Content-Type"))
	if err != nil || media != "application/json" || x.ContentLength == 0 {
		return nil, nil
	}
	body, err := io.ReadAll(io.LimitReader(x.Body, maxBody+1))
	switch {
	case len(body) > maxBody:
		return nil, &failure{status: http.StatusRequestEntityTooLarge, code: "BAD_REQUEST",
			message: fmt.Sprintf("the body is larger than %d bytes", maxBody)}
	case err != nil:
		return nil, badRequest("the body did not arrive")
	}
	x.bodyEnd()
	return body, nil
}

// params are what the wire's usage methods take; absent ones are not sent.
type params struct {
	MAC    string `json:"mac,omitempty"`
	Period string `json:"period,omitempty"`
	Sort   string `json:"sort,omitempty"`
	Limit  *int   `json:"limit,omitempty"`
	Offset *int   `json:"offset,omitempty"`
}

// readParams checks the query arguments of the given names.
func readParams(query url.Values, names ...string) (p params, err error) {
	for _, name := range names {
		value := query.Get(name)
		if value == "" {
			continue
		}
		switch name {
		case "mac":
			p.MAC, err = parseMAC(value)
		case "period":
			p.Period, err = parsePeriod(value)
		case "sort":
			p.Sort, err = parseChoice("sort", value, "total", "rx", "tx", "conns")
		case "limit":
			p.Limit, err = parseNumber("limit", value, maxLimit)
		case "offset":
			p.Offset, err = parseNumber("offset", value, maxOffset)
		}
		if err != nil {
			return p, err
		}
	}
	return p, nil
}

// encode makes the params JSON, or nothing if there are none.
func (p params) encode() json.RawMessage {
	if p == (params{}) {
		return nil
	}
	raw, _ := json.Marshal(p) // strings and numbers always marshal
	return raw
}

func parseMAC(value string) (string, error) {
	mac, err := usage.ParseMAC(value)
	if err != nil {
		return "", err
	}
	return mac.String(), nil
}

// parsePeriod takes every name nlbwmon gives: with an interval of the 31st,
// 2026-09-31 is one.
func parsePeriod(value string) (string, error) {
	period, err := nlbwmon.ParsePeriod(value)
	if err != nil {
		return "", badRequest("period is the first day of an accounting period, like 2026-11-01")
	}
	return period.String(), nil
}

func parseChoice(name, value string, choices ...string) (string, error) {
	if !slices.Contains(choices, value) {
		return "", badRequest(fmt.Sprintf("%s is one of %s", name, strings.Join(choices, ", ")))
	}
	return value, nil
}

// parseNumber reads a whole number from 0 to most.
func parseNumber(name, value string, most int) (*int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 || n > most {
		return nil, badRequest(fmt.Sprintf("%s is a whole number from 0 to %d", name, most))
	}
	return &n, nil
}

// isKind tells whether err is a failure of that kind.
func isKind(err error, kind usage.Kind) bool {
	var known *usage.Error
	return errors.As(err, &known) && known.Kind == kind
}
