package method

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/netpilot/netpilot/agent/config"
	"github.com/netpilot/netpilot/pkg/usage"
)

func TestPreferences(t *testing.T) {
	a, _ := newAgent(t, "")
	a.Root = t.TempDir()
	c := config.Default()
	a.Running = c.Preferences()
	if err := os.MkdirAll(filepath.Join(a.Root, "etc/config"), 0o755); err != nil {
		t.Fatal(err)
	}
	var got struct {
		LogLevel string   `json:"log_level"`
		Days     int      `json:"history_days"`
		Restart  []string `json:"restart_required"`
	}
	call(t, a, AccessRead, "preferences.get", "", &got)
	if got.LogLevel != "info" || got.Days != 35 || len(got.Restart) != 0 {
		t.Errorf("got %+v", got)
	}
	call(t, a, AccessWrite, "preferences.set", `{"log_level":"warn","history_days":60}`, &got)
	if got.LogLevel != "warn" || got.Days != 60 || len(got.Restart) != 2 || got.Restart[0] != "history_days" {
		t.Errorf("got %+v", got)
	}
	for params, kind := range map[string]usage.Kind{
		`{"shiny":1}`: usage.Invalid, `[]`: usage.Invalid, `{"ca_file":"/x"}`: usage.Forbidden,
	} {
		if _, err := New(a).Call(t.Context(), AccessWrite, "preferences.set", json.RawMessage(params)); usage.KindOf(err) != kind {
			t.Errorf("%s: got %v, want %v", params, err, kind)
		}
	}
	call(t, a, AccessOwner, "preferences.set", `{"ca_file":"/x"}`, &got)
	if len(got.Restart) != 3 {
		t.Errorf("got %+v", got)
	}
	// A daemon that can take some of them, of this call or of an earlier one.
	var told []config.Config
	a.Take = func(c config.Config) []string {
		told = append(told, c)
		return []string{"log_level", "history_days"}
	}
	call(t, a, AccessWrite, "preferences.set", `{"log_level":"error"}`, &got)
	if len(told) != 1 || told[0].LogLevel != slog.LevelError || told[0].History.Days != 60 || len(got.Restart) != 1 || got.Restart[0] != "ca_file" {
		t.Errorf("got %+v, told %+v", got, told)
	}
	call(t, a, AccessRead, "preferences.get", "", &got)
	if len(told) != 1 || len(got.Restart) != 1 || got.Restart[0] != "ca_file" {
		t.Errorf("asked again: got %+v, told %d times", got, len(told))
	}
	if _, err := New(a).Call(t.Context(), AccessWrite, "preferences.set", json.RawMessage(`{"log_level":"loud"}`)); usage.KindOf(err) != usage.Invalid || len(told) != 1 {
		t.Errorf("refused: got %v, told %d times", err, len(told))
	}
}
