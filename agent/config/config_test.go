package config

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/netpilot/netpilot/pkg/uci"
)

const sample = "../../openwrt-package/netpilot-agent/files/netpilot.config"

// root is a directory that looks like a router, with these files in it.
func root(t *testing.T, files map[string]string) string {
	dir := t.TempDir()
	for path, text := range files {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestSample(t *testing.T) {
	text, err := os.ReadFile(sample)
	if err != nil {
		t.Fatal(err)
	}
	dir := root(t, map[string]string{Path: string(text)})
	got, warnings, err := Load(dir)
	if err != nil || len(warnings) != 0 {
		t.Fatalf("got %v, %v", warnings, err)
	}
	if want := Default(); got != want {
		t.Errorf("got %+v, want the defaults %+v", got, want)
	}
	file, err := uci.Load(sample)
	if err != nil {
		t.Fatal(err)
	}
	s := file.Section(SectionType, SectionName)
	for _, o := range options() {
		if s.Option(o.name) == nil {
			t.Errorf("the sample does not show option %s", o.name)
		}
	}
	if err := Enable(dir, true); err != nil {
		t.Fatal(err)
	}
	if got, _, err := Load(dir); err != nil || !got.Enabled {
		t.Errorf("after Enable: got %+v, %v", got, err)
	}
	after, err := os.ReadFile(filepath.Join(dir, Path))
	if want := strings.Replace(string(text), "option enabled '0'", "option enabled '1'", 1); err != nil || string(after) != want {
		t.Errorf("Enable changed more than its option: %s", after)
	}
}

func TestLoad(t *testing.T) {
	if got, warnings, err := Load(t.TempDir()); got != Default() || warnings != nil || err != nil {
		t.Errorf("without a file: got %+v, %v, %v", got, warnings, err)
	}
	dir := root(t, map[string]string{Path: `
config agent 'agent'
	option enabled 'on'
	option remote_access read
	option ca_file '/etc/netpilot/ca.pem'
	option client_cert '/etc/netpilot/cert.pem'
	option client_key '/etc/netpilot/key.pem'
	option log_level debug
	option nlbwmon_socket '/tmp/n.sock'
	option snapshot '/tmp/n/0.db'
	option protocols '/tmp/protocols'
	option memory_limit '12'
	option gogc '25'
	option history_weeks '5'
	option history_days '400'
	option history_kib '8000'
	option history_flash '0'
	option history_dir '/tmp/h'
	option history_flash_dir '/mnt/h'
config agent 'other'
config history
`})
	got, warnings, err := Load(dir)
	want := Config{true, AccessRead, "/etc/netpilot/ca.pem", "/etc/netpilot/cert.pem", "/etc/netpilot/key.pem", slog.LevelDebug, "/tmp/n.sock", "/tmp/n/0.db", "/tmp/protocols",
		12, 25, History{400, false, "/tmp/h", "/mnt/h", 8000}}
	if err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	path := filepath.Join(dir, Path)
	wants := []string{
		path + ":14: option history_weeks is unknown to this version",
		path + `:20: section agent "other" is not used`,
		path + `:21: section history "" is not used`,
	}
	if len(warnings) != len(wants) {
		t.Fatalf("got %v, want %v", warnings, wants)
	}
	for i, want := range wants {
		if got := warnings[i].String(); !strings.HasPrefix(got, want) {
			t.Errorf("got warning %s, want %s", got, want)
		}
	}
}

func TestLoadErrors(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{"option enabled maybe", `:2: option enabled is "maybe"; it takes 0 or 1`},
		{"option remote_access all", `:2: option remote_access is "all"; it takes off, read or full`},
		{"option ca_file ca.pem", `:2: option ca_file is "ca.pem"; it takes an absolute path`},
		{"option ca_file '/a\nb'", `:2: option ca_file is "/ab"; it takes an absolute path`},
		{"option log_level 7", `:2: option log_level is "7"; it takes debug, info, warn or error`},
		{"option nlbwmon_socket x", `:2: option nlbwmon_socket is "x"`},
		{"option snapshot x", `:2: option snapshot is "x"`},
		{"option protocols x", `:2: option protocols is "x"`},
		{"option history_days 401", `:2: option history_days is "401"; it takes a number of days from 2 to 400`},
		{"option history_kib 1", `:2: option history_kib is "1"; it takes a number of KiB from 128`},
		{"list snapshot /x", `:2: snapshot is a list; it takes one option`},
		{"optoin snapshot /x", `:2: "optoin" is none of`},
	} {
		dir := root(t, map[string]string{Path: "config agent agent\n" + tt.line})
		_, _, err := Load(dir)
		if want := filepath.Join(dir, Path) + tt.want; err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", tt.line, err, want)
		}
	}
}
