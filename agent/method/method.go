// Package method is the table of what an agent answers: name, scope and
// handler. One table serves every door, the local socket and the link alike;
// there is no shell behind it and no other way in.
package method

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"slices"

	"github.com/netpilot/netpilot/agent/config"
	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
)

// Access is what a caller may do.
type Access uint8

// The accesses; each allows what those before it do.
const (
	AccessNone  Access = iota
	AccessRead         // read what the router counted
	AccessWrite        // change the router's state
	AccessOwner        // stands on the router: may name its files
)

// Remote is what the relay may do where the owner's option remote_access says
// that.
func Remote(word config.Access) Access {
	switch word {
	case config.AccessRead:
		return AccessRead
	case config.AccessFull:
		return AccessWrite
	}
	return AccessNone
}

// handler answers one call. Its result is one JSON value of at most
// wire.MaxResult bytes.
type handler func(ctx context.Context, access Access, params json.RawMessage) (json.RawMessage, error)

type entry struct {
	needs Access
	run   handler
}

// Table is the closed set of methods.
type Table struct {
	entries map[string]entry
}

// New is the table over one agent.
func New(a *Agent) *Table {
	return &Table{entries: map[string]entry{
		"audit":         {AccessOwner, a.Audit.call},
		"hello":         {AccessRead, a.callHello},
		"status":        {AccessRead, a.callStatus},
		"devices.list":  {AccessRead, a.callDevices},
		"devices.set":   {AccessWrite, a.callSetDevice},
		"network.scan":  {AccessRead, a.callScan},
		"router.text":   {AccessRead, a.callText},
		"usage.current": {AccessRead, a.callCurrent},
		"usage.device":  {AccessRead, a.callDevice},
		"usage.records": {AccessRead, a.callRecords},
		"usage.history": {AccessRead, a.callHistory},
		"usage.summary": {AccessRead, a.callSummary},
		"usage.live":    {AccessRead, a.callLive},
		"usage.reset":   {AccessWrite, a.callReset},
		"doctor":        {AccessRead, a.callDoctor},

		"preferences.get": {AccessRead, a.callPreferences},
		"preferences.set": {AccessWrite, a.callSetPreferences},
		"nlbw":            {AccessRead, a.callNlbw},
	}}
}

// Names are the methods that access allows, sorted.
func (t *Table) Names(access Access) []string {
	names := slices.Sorted(maps.Keys(t.entries))
	return slices.DeleteFunc(names, func(n string) bool { return t.entries[n].needs > access })
}

// Call answers one call with a JSON value, or an error whose usage.KindOf
// says what went wrong.
func (t *Table) Call(ctx context.Context, access Access, name string, params json.RawMessage) (json.RawMessage, error) {
	e, ok := t.entries[name]
	switch {
	case !ok:
		return nil, usage.Errorf(usage.Invalid, "no method %q; this agent has %q", usage.Clean(name, 64), t.Names(access))
	case access == AccessNone:
		return nil, usage.Errorf(usage.Forbidden, "the router's owner has turned remote access off (uci: netpilot.agent.remote_access)")
	case e.needs == AccessOwner && access < AccessOwner:
		return nil, usage.Errorf(usage.Forbidden, "%s is for the router's own shell", name)
	case e.needs > access:
		return nil, usage.Errorf(usage.Forbidden, "%s changes the router and its owner allows reading only (uci: netpilot.agent.remote_access)", name)
	}
	return e.run(ctx, access, params)
}

// decode reads params into v, which holds the defaults; none at all is fine.
func decode(params json.RawMessage, v any) error {
	if len(bytes.TrimSpace(params)) == 0 || string(bytes.TrimSpace(params)) == "null" {
		return nil
	}
	if err := json.Unmarshal(params, v); err != nil {
		return usage.Errorf(usage.Invalid, "bad params: %w", err)
	}
	return nil
}

// fits refuses a result that no frame can carry.
func fits(result []byte) (json.RawMessage, error) {
	if len(result) > wire.MaxResult {
		return nil, usage.Errorf(usage.Invalid, "the answer has %d bytes and a frame holds %d; ask for less", len(result), wire.MaxResult)
	}
	return result, nil
}
