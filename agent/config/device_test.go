package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/netpilot/netpilot/pkg/usage"
)

func deviceMAC(n byte) usage.MAC { return usage.MAC{2, 0x77, 0, 0, 0, n} }

func TestLoadDevices(t *testing.T) {
	dir := root(t, map[string]string{Path: `
config agent 'agent'
config device
	option mac '02:77:00:00:00:01'
	option alias 'Anna''s phone'
	option group kids
	option category gaming
	option shiny 1
config device 'd2'
	option mac 02-77-00-00-00-02
	option same_as 02:77:00:00:00:01
config device
	option alias 'no mac'
config device
	option mac 02:77:00:00:00:01
	option alias second
config device
	option mac 02:77:00:00:00:05
	option same_as 02:77:00:00:00:05
config device
	option mac 02:77:00:00:00:06
	option same_as 02:77:00:00:00:07
config device
	option mac 02:77:00:00:00:07
	option same_as 02:77:00:00:00:06
config device
	option mac 02:77:00:00:00:08
	option group KIDS
`})
	got, err := LoadDevices(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := Devices{
		deviceMAC(1): {Alias: "Annas phone", Group: "kids", Category: "gaming"}, deviceMAC(2): {SameAs: deviceMAC(1)}, deviceMAC(5): {},
		deviceMAC(8): {Group: "kids"}, // as it is written first
	}
	ring := got[deviceMAC(6)].SameAs.IsZero() || got[deviceMAC(7)].SameAs.IsZero()
	delete(got, deviceMAC(6))
	delete(got, deviceMAC(7))
	if !reflect.DeepEqual(got, want) || !ring {
		t.Errorf("got %+v, want %+v; the ring is broken: %v", got, want, ring)
	}
	if p := got.Primary(deviceMAC(2)); p != deviceMAC(1) {
		t.Errorf("the primary is %v", p)
	}
	_, warnings, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	for _, w := range warnings {
		text += w.String() + "\n"
	}
	for _, want := range []string{":8: option shiny", ":12: device without option mac", ":14: device 02:77:00:00:00:01 has a section already",
		"cannot be an interface of itself", "leads in a ring"} {
		if !strings.Contains(text, want) {
			t.Errorf("no warning %q in:\n%s", want, text)
		}
	}
}

// TestCutAtEveryByte: a file that its writer has not finished gives no device
// that is not in the whole one, nor another owner's word on it; what is wrong
// names the file and the line. So it is with the options.
func TestCutAtEveryByte(t *testing.T) {
	const text = "config agent 'agent'\n\toption remote_access 'read'\n\toption log_level 'debug'\n\n" +
		"config device\n\toption mac '02:77:00:00:00:01'\n\toption alias 'Annas phone'\n\toption group 'kids'\n\toption category 'gaming'\n" +
		"config device 'd2'\n\toption mac '02:77:00:00:00:02'\n\toption same_as '02:77:00:00:00:01'\n"
	whole, err := LoadDevices(root(t, map[string]string{Path: text}))
	if err != nil || len(whole) != 2 {
		t.Fatalf("got %v, %v", whole, err)
	}
	dir := root(t, map[string]string{Path: ""})
	good, bad := 0, 0
	for n := range len(text) + 1 {
		if err := os.WriteFile(filepath.Join(dir, Path), []byte(text[:n]), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := LoadDevices(dir)
		c, _, loadErr := Load(dir)
		if (err == nil) != (loadErr == nil) {
			t.Errorf("cut at %d: devices %v, options %v", n, err, loadErr)
		}
		if err != nil {
			bad++
			if !strings.Contains(err.Error(), Path+":") || got != nil {
				t.Errorf("cut at %d: got %v, %v", n, got, err)
			}
			continue
		}
		good++
		if c.RemoteAccess != "read" && c.RemoteAccess != Default().RemoteAccess {
			t.Errorf("cut at %d: remote_access is %q", n, c.RemoteAccess)
		}
		for mac, d := range got {
			want, ok := whole[mac]
			for _, f := range [][2]string{{d.Alias, want.Alias}, {d.Group, want.Group}, {d.Category, want.Category}} {
				ok = ok && (f[0] == "" || f[0] == f[1])
			}
			if !ok || !d.SameAs.IsZero() && d.SameAs != want.SameAs {
				t.Errorf("cut at %d: %v is %+v", n, mac, d)
			}
		}
	}
	if good < 10 || bad < 100 {
		t.Errorf("%d cuts were read, %d refused", good, bad)
	}
}

func TestLoadDevicesErrors(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{"option mac x", `option mac is "x"; it takes a MAC address`},
		{"option mac 01:77:00:00:00:01", "it takes a MAC address"},
		{"option alias '" + strings.Repeat("x", usage.MaxName+1) + "'", "it takes printable text of at most 63 bytes"},
		{"option alias '\x1b[2J'", "it takes printable text"},
		{"option group '\u202e'", "it takes printable text"},
		{"option category fun", "it takes one of streaming, gaming"},
		{"list mac 02:77:00:00:00:01", "mac is a list"},
	} {
		dir := root(t, map[string]string{Path: "config device\n\t" + tt.line + "\n"})
		_, _, err := Load(dir)
		if _, devicesErr := LoadDevices(dir); err == nil || devicesErr == nil || !strings.Contains(err.Error(), ":2: ") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v and %v, want %s", tt.line, err, devicesErr, tt.want)
		}
	}
}

func TestSetDevice(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, Path)
	for _, tt := range []struct {
		mac    byte
		change func(*Device)
		want   string
	}{
		{1, func(*Device) {}, ""},
		{1, func(d *Device) { d.Alias = "it's" }, "config device 'd027700000001'\n\toption mac '02:77:00:00:00:01'\n\toption alias 'it'\\''s'\n"},
		{1, func(d *Device) { d.Alias, d.Group = "", "kids" }, "config device 'd027700000001'\n\toption mac '02:77:00:00:00:01'\n\toption group 'kids'\n"},
		{2, func(d *Device) { d.SameAs = deviceMAC(1) }, "config device 'd027700000001'\n\toption mac '02:77:00:00:00:01'\n\toption group 'kids'\n" +
			"\nconfig device 'd027700000002'\n\toption mac '02:77:00:00:00:02'\n\toption same_as '02:77:00:00:00:01'\n"},
		{2, func(d *Device) { d.SameAs = usage.MAC{} }, "config device 'd027700000001'\n\toption mac '02:77:00:00:00:01'\n\toption group 'kids'\n"},
		{1, func(d *Device) { d.Group = "" }, ""},
	} {
		if err := SetDevice(dir, deviceMAC(tt.mac), tt.change); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); string(got) != tt.want || err != nil && tt.want != "" {
			t.Errorf("got %q, %v, want %q", got, err, tt.want)
		}
		if _, _, err := Load(dir); err != nil {
			t.Errorf("what was written does not load: %v", err)
		}
	}
	if err := SetDevice(dir, deviceMAC(1), func(d *Device) { d.Category = "fun" }); err == nil {
		t.Error("a category that does not exist was written")
	}
	if err := os.WriteFile(path, []byte("confg"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := SetDevice(dir, deviceMAC(1), func(d *Device) { d.Alias = "x" }); err == nil {
		t.Error("a broken file was changed")
	}
}
