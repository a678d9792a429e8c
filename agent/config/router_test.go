package config

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestReadRouter(t *testing.T) {
	full := map[string]string{
		"/sys/class/net/br-lan/address": "02:77:00:00:00:01\n",
		"/sys/class/net/eth0/address":   "02:77:00:00:00:02\n",
		"/etc/config/system":            "config system\n\toption hostname 'attic'\n\toption timezone 'CET-1CEST,M3.5.0,M10.5.0/3'\n",
		"/proc/sys/kernel/hostname":     "kernel\n",
		"/tmp/sysinfo/model":            "GL.iNet GL-MT300N V2\n",
		"/proc/device-tree/model":       "device tree\x00",
		"/etc/openwrt_release": "DISTRIB_ID='OpenWrt'\nDISTRIB_RELEASE='24.10.1'\nDISTRIB_REVISION='r1'\n" +
			"DISTRIB_ARCH='mipsel_24kc'\nDISTRIB_DESCRIPTION='OpenWrt `rm -rf /` $HOME'\n",
		"/etc/TZ": "EST5EDT,M3.2.0,M11.1.0\n",
	}
	const id1 = "9c08f8a87768dd088dd97e8be7bad21e04debf74ddc9bd9b11000464379d416f"
	without := func(paths ...string) map[string]string {
		files := make(map[string]string)
		for path, text := range full {
			files[path] = text
		}
		for _, path := range paths {
			delete(files, path)
		}
		return files
	}
	got, err := ReadRouter(root(t, full))
	want := Router{id1, "attic", "GL.iNet GL-MT300N V2", "24.10.1", "mipsel_24kc", "EST5EDT,M3.2.0,M11.1.0"}
	if err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	got, err = ReadRouter(root(t, without("/sys/class/net/br-lan/address", "/etc/TZ", "/tmp/sysinfo/model", "/etc/openwrt_release")))
	if err != nil || got.ID == id1 || len(got.ID) != 64 || got.Timezone != "CET-1CEST,M3.5.0,M10.5.0/3" || got.Model != "device tree" || got.Release != "" {
		t.Errorf("got %+v, %v, want the second sources", got, err)
	}
	got, err = ReadRouter(root(t, without("/etc/TZ", "/etc/config/system")))
	if err != nil || got.Hostname != "kernel" || got.Timezone != "UTC" {
		t.Errorf("got %+v, %v, want the last sources", got, err)
	}
	got, err = ReadRouter(root(t, without("/sys/class/net/br-lan/address", "/sys/class/net/eth0/address")))
	if err == nil || !strings.Contains(err.Error(), "no router id: neither") || got.Hostname != "attic" {
		t.Errorf("got %+v, %v, want an error about the id and the other facts", got, err)
	}
}

func TestReadRouterHostile(t *testing.T) {
	got, err := ReadRouter(root(t, map[string]string{
		"/sys/class/net/br-lan/address": "02:77:00:00:00:01\n",
		"/proc/sys/kernel/hostname":     "\x1b[31m" + strings.Repeat("h", 10000),
		"/tmp/sysinfo/model":            "evil\u202emodel\xff" + strings.Repeat("m", 10000),
		"/etc/openwrt_release":          "DISTRIB_RELEASE=\"24\x07.10\"\nDISTRIB_ARCH=bare\n=x\nnonsense",
		"/etc/config/system":            "not uci",
	}))
	if err != nil || len(got.Hostname) != 63 || !strings.HasPrefix(got.Hostname, "[31mhhh") || len(got.Model) != maxFact ||
		!strings.HasPrefix(got.Model, "evilmodelm") || got.Release != "24.10" || got.Arch != "bare" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestLocation(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, tt := range []struct{ tz, utc, want string }{
		{"UTC", "2026-07-01T12:00:00Z", "12:00 UTC"},
		{"GMT", "2026-07-01T12:00:00Z", "12:00 GMT"},
		{"CET", "", ""},
		{"UTC0", "2026-07-01T12:00:00Z", "12:00 UTC"},
		{"CET-1CEST,M3.5.0,M10.5.0/3", "2026-03-29T00:59:59Z", "01:59 CET"},
		{"CET-1CEST,M3.5.0,M10.5.0/3", "2026-03-29T01:00:00Z", "03:00 CEST"},
		{"CET-1CEST,M3.5.0,M10.5.0/3", "2026-10-25T00:59:59Z", "02:59 CEST"},
		{"CET-1CEST,M3.5.0,M10.5.0/3", "2026-10-25T01:00:00Z", "02:00 CET"},
		{"CET-1CEST,M3.5.0,M10.5.0/3", "1970-01-01T00:00:00Z", "01:00 CET"},
		{"CET-1CEST,M3.5.0,M10.5.0/3", "2099-07-01T00:00:00Z", "02:00 CEST"},
		{"AEST-10AEDT,M10.1.0,M4.1.0/3", "2026-01-01T00:00:00Z", "11:00 AEDT"},
		{"AEST-10AEDT,M10.1.0,M4.1.0/3", "2026-07-01T00:00:00Z", "10:00 AEST"},
		{"EST5EDT,M3.2.0,M11.1.0", "2026-07-01T12:00:00Z", "08:00 EDT"},
		{"<+03>-3", "2026-07-01T12:00:00Z", "15:00 +03"},
		{"<+0545>-5:45", "2026-07-01T12:00:00Z", "17:45 +0545"},
		{"IST-2IDT,M3.4.4/26,M10.5.0", "2026-03-27T00:00:00Z", "03:00 IDT"},
		{"<-02>2<-01>,M3.5.0/-1,M10.5.0/0", "2026-07-01T12:00:00Z", "11:00 -01"},
		{"", "", ""},
		{"Europe/Berlin", "", ""},
		{"CET-1CEST,M3", "", ""},
		{":CET", "", ""},
		{"?0", "", ""},
		{"A\nB0", "", ""},
		{strings.Repeat("x", 5000), "", ""},
	} {
		loc, err := Location(tt.tz)
		if tt.want == "" {
			if err == nil {
				t.Errorf("%q: got %v, want an error", tt.tz, loc)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", tt.tz, err)
			continue
		}
		if got := at(tt.utc).In(loc).Format("15:04 MST"); got != tt.want {
			t.Errorf("%q at %s: got %s, want %s", tt.tz, tt.utc, got, tt.want)
		}
	}
	// A day of local time has the hours it has.
	loc, err := Location("CET-1CEST,M3.5.0,M10.5.0/3")
	if err != nil {
		t.Fatal(err)
	}
	for date, want := range map[time.Time]time.Duration{
		time.Date(2026, 3, 29, 0, 0, 0, 0, loc):  23 * time.Hour,
		time.Date(2026, 10, 25, 0, 0, 0, 0, loc): 25 * time.Hour,
		time.Date(2026, 6, 1, 0, 0, 0, 0, loc):   24 * time.Hour,
	} {
		if got := date.AddDate(0, 0, 1).Sub(date); got != want {
			t.Errorf("%v has %v, want %v", date, got, want)
		}
	}
}

func TestReadNlbwmon(t *testing.T) {
	defaults := Nlbwmon{"/var/lib/nlbwmon", "1", 10000, 10, true, 30 * time.Second, 24 * time.Hour, "/usr/share/nlbwmon/protocols", nil}
	for _, tt := range []struct {
		name, text, err string
		want            func(*Nlbwmon)
	}{
		{"none", "", "", func(*Nlbwmon) {}},
		{"other", "config nlbwmon\n option commit_interval 2m\n option refresh_interval 90\n option database_directory /mnt/n\n" +
			" option database_generations 0\n option database_interval '2017-01-17/14'\n option database_limit 0\n option database_compress 0\n" +
			" option protocol_database /etc/p\n list local_network '10.0.0.0/8'\n list local_network lan\n", "", func(n *Nlbwmon) {
			*n = Nlbwmon{"/mnt/n", "2017-01-17/14", 0, 0, false, 90 * time.Second, 2 * time.Minute, "/etc/p", []string{"10.0.0.0/8", "lan"}}
		}},
		{"bad", "config nlbwmon\n option refresh_interval 30x\n option database_limit -1\n option database_directory x\n option commit_interval 1h",
			`:2: option refresh_interval is "30x"; nlbwmon takes`, func(n *Nlbwmon) { n.CommitInterval = time.Hour }},
		{"broken", "config", ":1: section type is missing", func(*Nlbwmon) {}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := map[string]string{}
			if tt.text != "" {
				files[NlbwmonPath] = tt.text
			}
			got, err := ReadNlbwmon(root(t, files))
			want := defaults
			tt.want(&want)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
			if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("got %v, want %q", err, tt.err)
			}
		})
	}
}

func TestParseInterval(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"30": 30 * time.Second, "30s": 30 * time.Second, "2m": 2 * time.Minute, "24h": 24 * time.Hour,
		"7d": 168 * time.Hour, "1w": 168 * time.Hour, "24d": 576 * time.Hour,
		"": 0, "s": 0, "0": 0, "25d": 0, "99999999999999999999": 0, "4000000000w": 0, "-1s": 0, "1.5h": 0,
	} {
		if got, ok := parseInterval(text); got != want || ok != (want != 0) {
			t.Errorf("%q: got %v, %v, want %v", text, got, ok, want)
		}
	}
}
