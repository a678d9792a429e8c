package config

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/netpilot/netpilot/pkg/uci"
	"github.com/netpilot/netpilot/pkg/usage"
)

// Preferences are the options of /etc/config/netpilot by name, as JSON has
// them: truth values, numbers and texts.
func (c *Config) Preferences() map[string]any {
	return map[string]any{
		"enabled":           c.Enabled,
		"remote_access":     string(c.RemoteAccess),
		"ca_file":           c.CAFile,
		"client_cert":       c.ClientCert,
		"client_key":        c.ClientKey,
		"log_level":         strings.ToLower(c.LogLevel.String()),
		"nlbwmon_socket":    c.NlbwmonSocket,
		"snapshot":          c.Snapshot,
		"protocols":         c.Protocols,
		"memory_limit":      c.MemoryLimit,
		"gogc":              c.GOGC,
		"history_days":      c.History.Days,
		"history_kib":       c.History.KiB,
		"history_flash":     c.History.Flash,
		"history_dir":       c.History.Dir,
		"history_flash_dir": c.History.FlashDir,
	}
}

// remotely are the options that may be set from the far end of a link: none
// that names a file of the router or could starve the agent.
var remotely = []string{"enabled", "remote_access", "log_level", "history_days", "history_kib", "history_flash"}

// SetPreferences writes options into ROOT/etc/config/netpilot, all or none. An
// option that is unknown, of another type or out of bounds is an Invalid
// error; with remote set, one that only the router's owner may set, or a
// remote_access above the present one, is Forbidden.
func SetPreferences(root string, values map[string]json.RawMessage, remote bool) error {
	c, _, err := Load(root)
	if err != nil {
		return err
	}
	before, have := c.RemoteAccess, c.Preferences()
	var edits []uci.Edit
	known := options()
	for _, name := range slices.Sorted(maps.Keys(values)) {
		k := find(known, name)
		if k == nil || have[name] == nil {
			return usage.Errorf(usage.Invalid, "no option %q; there are %s", usage.Clean(name, 64), strings.Join(slices.Sorted(maps.Keys(have)), ", "))
		}
		if remote && !slices.Contains(remotely, name) {
			return usage.Errorf(usage.Forbidden, "option %s is for the router's own shell (uci set netpilot.agent.%s=...)", name, name)
		}
		text, ok := asUCI(values[name], have[name])
		if !ok || text != "" && !k.set(&c, text) {
			return usage.Errorf(usage.Invalid, "option %s is %s; it takes %s", name, usage.Clean(string(values[name]), 80), k.accepts)
		}
		edits = append(edits, uci.Edit{Type: SectionType, Section: SectionName, Option: name, Value: text})
	}
	rank := map[Access]int{AccessOff: 0, AccessRead: 1, AccessFull: 2}
	if remote && rank[c.RemoteAccess] > rank[before] {
		return usage.Errorf(usage.Forbidden, "remote_access can be raised on the router only (uci set netpilot.agent.remote_access=%s)", c.RemoteAccess)
	}
	if len(edits) == 0 {
		return nil
	}
	path := filepath.Join(root, Path)
	return uci.Set(path, edits...)
}

// asUCI is a JSON value of like's type as UCI writes it; an empty text gives
// an option its default back.
func asUCI(value json.RawMessage, like any) (text string, ok bool) {
	switch like.(type) {
	case bool:
		var b bool
		if string(value) == "null" || json.Unmarshal(value, &b) != nil {
			return "", false
		}
		if b {
			return "1", true
		}
		return "0", true
	case int:
		var n int
		if string(value) == "null" || json.Unmarshal(value, &n) != nil {
			return "", false
		}
		return strconv.Itoa(n), true
	}
	err := json.Unmarshal(value, &text)
	return text, err == nil && string(value) != "null" && len(text) <= maxPreference
}

// maxPreference bounds a text, in bytes.
const maxPreference = 256
