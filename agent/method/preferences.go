package method

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"github.com/netpilot/netpilot/agent/config"
	"github.com/netpilot/netpilot/pkg/usage"
)

// preferencesLocked are the options as the file has them, and which of them
// the running agent does not use until it is started again. With take it is
// told to use those that it can.
func (a *Agent) preferencesLocked(take bool) (json.RawMessage, error) {
	c, _, err := config.Load(a.Root)
	if err != nil {
		return nil, usage.Errorf(usage.Unavailable, "%w; mend it on the router", err)
	}
	all := c.Preferences()
	if take && a.Take != nil {
		for _, name := range a.Take(c) {
			a.Running[name] = all[name]
		}
	}
	changed := []string{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if all[name] != a.Running[name] {
			changed = append(changed, name)
		}
	}
	all["restart_required"] = changed
	return json.Marshal(all)
}

func (a *Agent) callPreferences(context.Context, Access, json.RawMessage) (json.RawMessage, error) {
	a.setting.Lock()
	defer a.setting.Unlock()
	return a.preferencesLocked(false)
}

func (a *Agent) callSetPreferences(_ context.Context, access Access, params json.RawMessage) (json.RawMessage, error) {
	var values map[string]json.RawMessage
	if err := decode(params, &values); err != nil {
		return nil, err
	}
	a.setting.Lock()
	defer a.setting.Unlock()
	if err := config.SetPreferences(a.Root, values, access < AccessOwner); err != nil {
		return nil, err
	}
	return a.preferencesLocked(true)
}
