package api

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/store"
)

// resetBody is what POST /api/device-usage/reset takes.
type resetBody struct {
	MAC  string `json:"mac,omitempty" doc:"Only this device; all if absent." example:"02:77:00:00:00:11"`
	Hard bool   `json:"hard,omitempty" doc:"Also start a fresh accounting period of nlbwmon."`
	ID   string `json:"id,omitempty" maxLength:"64" doc:"The same id twice resets once: send one, to be free to ask again after a lost answer."`
}

// resetItem says when counting began anew.
type resetItem struct {
	ResetAt  string   `json:"reset_at"`
	ID       string   `json:"id"`
	Repeated bool     `json:"repeated" doc:"This id was seen before; nothing was done now."`
	_        struct{} `additionalProperties:"true"`
}

// namesBody is what PUT /api/device-usage/device/{mac} takes. An absent member
// stays as it is; null or "" clears it.
type namesBody struct {
	Alias    *string `json:"alias,omitempty" maxLength:"63" example:"Anna's laptop"`
	Group    *string `json:"group,omitempty" maxLength:"63"`
	Category *string `json:"category,omitempty" maxLength:"63"`
}

// anyObject is an object whose members the router knows.
type anyObject map[string]any

type putDeviceIn struct {
	IDs
	MAC string `path:"mac" doc:"The device." example:"02:77:00:00:00:11"`
}

func (a *API) mountChanges() {
	rt := func(method, path, id, summary, about string, needs store.Scope, body any) route {
		return route{method: method, path: "/api/device-usage/" + path, needs: needs, ids: routerID, tag: "usage",
			id: id, summary: summary, about: about, body: body}
	}
	mount[IDs, resetItem](a, rt(http.MethodPost, "reset", "usageReset", "Count from now on",
		"A baseline is set: current counts from it, while history and nlbwmon's own numbers stay whole.", store.ScopeWrite, resetBody{}), a.usageReset)
	mount[putDeviceIn, anyObject](a, rt(http.MethodPut, "device/{mac}", "deviceSet", "Name a device",
		"An absent member stays as it is, null clears it. Answers the device.", store.ScopeWrite, namesBody{}), a.deviceSet)
	mount[IDs, anyObject](a, rt(http.MethodGet, "preferences", "preferences", "The options a backend may change", "", store.ScopeRead, nil), a.preferences)
	mount[IDs, anyObject](a, rt(http.MethodPut, "preferences", "preferencesSet", "Change options",
		"Only the members given change; the router refuses those it does not know. Answers all.", store.ScopeWrite, anyObject{}), a.preferencesSet)
}

// readObject reads a body that must be a JSON object, without the ids that
// may stand in it, and with no members but those allowed; nil allows all.
func (x *exchange) readObject(allowed ...string) (map[string]json.RawMessage, error) {
	body, err := x.readBody()
	if err != nil {
		return nil, err
	}
	members := make(map[string]json.RawMessage)
	if len(body) > 0 && json.Unmarshal(body, &members) != nil {
		return nil, badRequest("the body must be a JSON object, sent with Content-Type: application/json")
	}
	delete(members, "routerId")
	delete(members, "sessionId")
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if allowed != nil && !slices.Contains(allowed, name) {
			return nil, badRequest(fmt.Sprintf("the body has %q; it takes %s", usage.Clean(name, 32), strings.Join(allowed, ", ")))
		}
	}
	return members, nil
}

// change sends a call that changes the router. What was known of it is not
// true any more, whether the call ends well or not.
func (a *API) change(x *exchange, method string, params any, device bool) (json.RawMessage, error) {
	raw, err := json.Marshal(params)
	if err != nil {
		return nil, err
	}
	defer a.known.forget(x.router)
	return a.send(x, method, raw, device)
}

// usageReset answers POST /api/device-usage/reset.
func (a *API) usageReset(x *exchange, _ *IDs) (json.RawMessage, error) {
	members, err := x.readObject("mac", "hard", "id")
	if err != nil {
		return nil, err
	}
	var body resetBody
	for name, into := range map[string]any{"mac": &body.MAC, "hard": &body.Hard, "id": &body.ID} {
		if raw, ok := members[name]; ok && json.Unmarshal(raw, into) != nil {
			return nil, badRequest(name + " is of another type: mac and id are text, hard is true or false")
		}
	}
	if body.MAC, err = parseMAC(body.MAC); err != nil {
		return nil, err
	}
	if body.ID == "" {
		body.ID = rand.Text()
	}
	if len(body.ID) > 64 || usage.Clean(body.ID, 64) != body.ID {
		return nil, badRequest("id is at most 64 printable bytes")
	}
	return a.change(x, "usage.reset", body, body.MAC != "")
}

// deviceSet answers PUT /api/device-usage/device/{mac}.
func (a *API) deviceSet(x *exchange, in *putDeviceIn) (json.RawMessage, error) {
	mac, err := parseMAC(in.MAC)
	if err != nil {
		return nil, err
	}
	members, err := x.readObject("alias", "group", "category")
	if err != nil {
		return nil, err
	}
	if len(members) == 0 {
		return nil, badRequest("nothing to set: send alias, group or category in a JSON body")
	}
	set := map[string]any{"mac": mac}
	for name, raw := range members {
		var text *string
		if json.Unmarshal(raw, &text) != nil {
			return nil, badRequest(name + " is text, or null to clear it")
		}
		set[name] = text
	}
	return a.change(x, "devices.set", set, true)
}

// preferences answers GET /api/device-usage/preferences.
func (a *API) preferences(x *exchange, _ *IDs) (json.RawMessage, error) {
	return a.ask(x, "preferences.get", params{})
}

// preferencesSet answers PUT /api/device-usage/preferences.
func (a *API) preferencesSet(x *exchange, _ *IDs) (json.RawMessage, error) {
	members, err := x.readObject()
	if err != nil {
		return nil, err
	}
	if len(members) == 0 {
		return nil, badRequest("nothing to set: send options in a JSON body; GET answers which there are")
	}
	return a.change(x, "preferences.set", members, false)
}
