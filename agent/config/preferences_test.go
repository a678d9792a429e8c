package config

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/netpilot/netpilot/pkg/usage"
)

func set(root, params string, remote bool) error {
	var values map[string]json.RawMessage
	if err := json.Unmarshal([]byte(params), &values); err != nil {
		return err
	}
	return SetPreferences(root, values, remote)
}

// Every option there is is a preference of the right type, and no other.
func TestPreferencesAreTheOptions(t *testing.T) {
	c := Default()
	have := c.Preferences()
	for _, o := range options() {
		if _, ok := have[o.name]; !ok {
			t.Errorf("option %s is no preference", o.name)
		}
	}
	if len(have) != len(options()) {
		t.Errorf("%d preferences of %d options", len(have), len(options()))
	}
}

func TestSetPreferences(t *testing.T) {
	root := t.TempDir()
	path := filepath.Join(root, Path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	const text = "# mine\nconfig agent 'agent'\n\toption remote_access 'read'\n\toption shiny '1'\n"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := set(root, `{"log_level":"debug","history_days":90,"history_flash":false,"ca_file":"/etc/ca.pem","remote_access":"full"}`, false); err != nil {
		t.Fatal(err)
	}
	c, _, err := Load(root)
	if err != nil {
		t.Fatal(err)
	}
	have := c.Preferences()
	if have["log_level"] != "debug" || have["history_days"] != 90 || have["history_flash"] != false || have["ca_file"] != "/etc/ca.pem" || have["remote_access"] != "full" {
		t.Errorf("got %v", have)
	}
	got, err := os.ReadFile(path)
	if err != nil || !strings.HasPrefix(string(got), "# mine\n") || !strings.Contains(string(got), "shiny") {
		t.Errorf("the rest of the file is not as it was: %s, %v", got, err)
	}
	for params, kind := range map[string]usage.Kind{
		`{"shiny":"1"}`: usage.Invalid, `{"secret":"x"}`: usage.Invalid, `{"log_level":"loud"}`: usage.Invalid, `{"log_level":1}`: usage.Invalid,
		`{"log_level":null}`: usage.Invalid, `{"history_days":"90"}`: usage.Invalid, `{"history_days":1.5}`: usage.Invalid, `{"history_days":401}`: usage.Invalid,
		`{"history_flash":"1"}`: usage.Invalid, `{"history_flash":null}`: usage.Invalid, `{"ca_file":"ca.pem"}`: usage.Invalid,
		`{"ca_file":"/` + strings.Repeat("x", maxPreference) + `"}`: usage.Invalid, `{"log_level":"info","history_days":0}`: usage.Invalid,
	} {
		if err := set(root, params, false); usage.KindOf(err) != kind {
			t.Errorf("%s: got %v, want %v", params, err, kind)
		}
	}
	if now, err := os.ReadFile(path); err != nil || string(now) != string(got) {
		t.Errorf("a refused change left its mark: %s", now)
	}
	// From afar no path, and remote_access only down.
	for _, params := range []string{`{"ca_file":"/tmp/ca.pem"}`, `{"history_dir":"/etc"}`, `{"snapshot":"/etc/shadow"}`, `{"gogc":100}`, `{"log_level":"info","protocols":"/x"}`} {
		if err := set(root, params, true); usage.KindOf(err) != usage.Forbidden {
			t.Errorf("%s from afar: got %v, want forbidden", params, err)
		}
	}
	if err := set(root, `{"remote_access":"read","log_level":"warn"}`, true); err != nil {
		t.Error(err)
	}
	if err := set(root, `{"remote_access":"full"}`, true); usage.KindOf(err) != usage.Forbidden {
		t.Errorf("remote_access upward: got %v, want forbidden", err)
	}
	if err := set(root, `{"ca_file":""}`, false); err != nil { // back to the default
		t.Error(err)
	}
	if c, _, err = Load(root); err != nil || c.CAFile != "" || c.RemoteAccess != AccessRead {
		t.Errorf("got %+v, %v", c, err)
	}
}
