package main

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

var testTime = time.Unix(1764000000, 0).UTC()

const (
	enabled  = "config agent 'agent'\n\toption enabled '1'\n"
	identity = `{"relay":"https://relay.example"}`
)

// TestLifeOfThePackage installs, starts, edits, upgrades, goes back, removes
// and installs again, with either package manager's order of calls.
func TestLifeOfThePackage(t *testing.T) {
	for name, m := range map[string]manager{"opkg": opkgManager{}, "apk": apkManager{}} {
		t.Run(name, func(t *testing.T) {
			r := newRouter(t)
			first, second := testRecipe(t, "1.2.3", nil), testRecipe(t, "1.3.0", nil)

			m.install(r, first)
			calls := r.calls()
			begin := []string{"default_postinst netpilot-agent upgrade=0", "user netpilot 477"}
			if name == "apk" { // its script calls add_group_and_user itself, and first
				slices.Reverse(begin)
			}
			wantInOrder(t, calls, append(begin, "defaults /etc/uci-defaults/80-netpilot",
				"enable netpilot-agent", "set netpilot-agent", "logger -t netpilot-agent not started: option enabled is 0; next: netpilot-agent enroll", "set end")...)
			if slices.Contains(calls, "instance") {
				t.Errorf("it starts before it is enrolled: %q", calls)
			}
			if _, err := os.Stat(r.path("etc/uci-defaults/80-netpilot")); err == nil && name == "opkg" {
				t.Error("the defaults were not run and deleted")
			}

			// What enroll does, then the service as it is.
			r.write("etc/netpilot/identity.json", identity, 0o600)
			r.write("etc/config/netpilot", enabled, 0o600)
			r.must("/etc/init.d/netpilot-agent", "restart")
			wantInOrder(t, r.calls(), "delete netpilot-agent", "set netpilot-agent", "agent run --check", "instance",
				"param command /usr/sbin/netpilot-agent run", "param respawn 3600 30 0", "instance end", "trigger netpilot nlbwmon system", "set end")

			m.upgrade(r, second)
			calls = r.calls()
			if name == "opkg" { // the old one is stopped first, and stays enabled
				wantInOrder(t, calls, "default_prerm netpilot-agent upgrade=1", "delete netpilot-agent", "default_postinst netpilot-agent upgrade=1", "instance end")
			} else {
				wantInOrder(t, calls, "default_postinst netpilot-agent upgrade=1", "instance end")
			}
			if slices.Contains(calls, "disable netpilot-agent") || slices.Contains(calls, "enable netpilot-agent") {
				t.Errorf("an upgrade is no question of enabling: %q", calls)
			}
			// procd restarts it since the binary is listed.
			wantInOrder(t, calls, "param file /usr/sbin/netpilot-agent /etc/config/netpilot /etc/config/nlbwmon /etc/TZ")
			r.keeps(map[string]string{"etc/netpilot/identity.json": identity, "etc/config/netpilot": enabled})
			if text, _ := os.ReadFile(r.path("usr/sbin/netpilot-agent")); !strings.Contains(string(text), "# 1.3.0") {
				t.Error("the binary is still the old one")
			}
			if _, err := os.Stat(r.path("etc/config/netpilot" + map[string]string{"opkg": "-opkg", "apk": ".apk-new"}[name])); err != nil {
				t.Errorf("the new configuration is nowhere: %v", err)
			}

			m.upgrade(r, first) // a downgrade is the same
			r.keeps(map[string]string{"etc/netpilot/identity.json": identity, "etc/config/netpilot": enabled})

			r.calls()
			m.remove(r, "netpilot-agent")
			wantInOrder(t, r.calls(), "default_prerm netpilot-agent upgrade=0", "disable netpilot-agent", "delete netpilot-agent")
			r.keeps(map[string]string{"etc/netpilot/identity.json": identity, "etc/config/netpilot": enabled})
			for _, gone := range []string{"usr/sbin/netpilot-agent", "etc/init.d/netpilot-agent", "etc/hotplug.d/ntp/80-netpilot", "etc/rc.d/S95netpilot-agent"} {
				if _, err := os.Lstat(r.path(gone)); err == nil {
					t.Errorf("%s is still there", gone)
				}
			}

			m.install(r, second) // as after a sysupgrade: it goes on without enrolment
			wantInOrder(t, r.calls(), "enable netpilot-agent", "instance", "instance end")
			r.keeps(map[string]string{"etc/netpilot/identity.json": identity, "etc/config/netpilot": enabled})
		})
	}
}

// keeps checks files' content, and that nobody else can read them.
func (r *router) keeps(files map[string]string) {
	r.t.Helper()
	for path, want := range files {
		text, err := os.ReadFile(r.path(path))
		if err != nil || string(text) != want {
			r.t.Errorf("%s: %q, %v, want %q", path, text, err, want)
		}
		if info, err := os.Stat(r.path(path)); err == nil && info.Mode().Perm() != 0o600 {
			r.t.Errorf("%s has mode %v", path, info.Mode())
		}
	}
}

// wantInOrder looks for lines among those that were noted, one after another.
func wantInOrder(t *testing.T, calls []string, want ...string) {
	t.Helper()
	rest := calls
	for _, w := range want {
		i := slices.Index(rest, w)
		if i < 0 {
			t.Fatalf("no %q in its place among\n%s", w, strings.Join(calls, "\n"))
		}
		rest = rest[i+1:]
	}
}

// TestHowProcdRunsIt reads what the init script tells procd, with ujail and
// without, by RAM and by options.
func TestHowProcdRunsIt(t *testing.T) {
	r := newRouter(t)
	opkgManager{}.install(r, testRecipe(t, "1.2.3", nil))
	r.write("etc/config/netpilot", enabled, 0o600)
	start := func() []string {
		r.calls()
		r.must("/etc/init.d/netpilot-agent", "start")
		return r.calls()
	}
	calls := start()
	wantInOrder(t, calls, "param stdout 1", "param stderr 1", "param term_timeout 10", "param nice 10", "param env GOMEMLIMIT=15MiB GOGC=50 GOMAXPROCS=1")
	for _, c := range calls {
		if strings.HasPrefix(c, "param user") || strings.HasPrefix(c, "jail") || strings.Contains(c, "reload_signal") {
			t.Errorf("without ujail: %q", c)
		}
	}
	for meminfo, want := range map[string]string{"MemTotal: 30000 kB\n": "10", "MemTotal: 1030000 kB\n": "24", "": "10"} {
		r.write("proc/meminfo", meminfo, 0o444)
		wantInOrder(t, start(), "param env GOMEMLIMIT="+want+"MiB GOGC=50 GOMAXPROCS=1")
	}
	r.write("etc/config/netpilot", enabled+"\toption memory_limit '12'\n\toption gogc '25'\n\toption ca_file '/etc/my-ca.pem'\n\toption history_flash_dir '/mnt/disk'\n\toption history_dir '/tmp/netpilot'\n", 0o600)
	r.write("sbin/ujail", "", 0o755)
	wantInOrder(t, start(), "param env GOMEMLIMIT=12MiB GOGC=25 GOMAXPROCS=1", "param user netpilot", "param group netpilot",
		"param capabilities /etc/capabilities/netpilot.json", "param no_new_privs 1", "jail netpilot sysfs", "mount ro /etc/my-ca.pem",
		"mount rw /etc/config /etc/netpilot /tmp/netpilot /var/run/netpilot", "mount rw /mnt/disk", "instance end")
	for _, dir := range []string{"etc/netpilot", "tmp/netpilot"} {
		info, err := os.Stat(r.path(dir))
		if err != nil || info.Mode().Perm() != 0o700 || owner(info) != 477 {
			t.Errorf("%s: %v, %v", dir, info, err)
		}
	}

	// A link in place of the history, made by whoever may write to /tmp.
	r.check(os.RemoveAll(r.path("tmp/netpilot")))
	r.check(os.Symlink("/etc", r.path("tmp/netpilot")))
	start()
	if info, err := os.Lstat(r.path("tmp/netpilot")); err != nil || !info.IsDir() {
		t.Errorf("the link was followed: %v, %v", info, err)
	}
	if info, _ := os.Stat(r.path("etc")); owner(info) != 0 {
		t.Error("/etc was given away through a link")
	}

	// A configuration that cannot be used: what runs goes on.
	r.write("etc/config/netpilot", enabled+"\toption log_level 'broken'\n", 0o600)
	r.calls()
	out, err := r.exec("/etc/init.d/netpilot-agent", "reload")
	calls = r.calls()
	if err == nil || !strings.Contains(out, "option log_level is broken") || slices.Contains(calls, "set netpilot-agent") {
		t.Errorf("reload with a broken configuration: %v, %s, %q", err, out, calls)
	}
	wantInOrder(t, calls, "logger -t netpilot-agent -p daemon.err not started: option log_level is broken")
	r.write("etc/config/netpilot", enabled, 0o600)
	r.must("/etc/init.d/netpilot-agent", "reload")
	wantInOrder(t, r.calls(), "agent run --check", "set netpilot-agent", "instance end")
}

// TestHotplug fires the events that matter and some that do not.
func TestHotplug(t *testing.T) {
	r := newRouter(t)
	opkgManager{}.install(r, testRecipe(t, "1.2.3", nil))
	const signal = `ubus -S call service signal {"name":"netpilot-agent","signal":10}`
	for _, e := range []struct {
		script string
		env    []string
		woken  bool
	}{
		{"ntp", []string{"ACTION=step"}, true},
		{"ntp", []string{"ACTION=stratum"}, true},
		{"ntp", []string{"ACTION=periodic"}, false},
		{"ntp", []string{"ACTION=unsync"}, false},
		{"iface", []string{"ACTION=ifup", "INTERFACE=wan"}, true},
		{"iface", []string{"ACTION=ifup", "INTERFACE=loopback"}, false},
		{"iface", []string{"ACTION=ifdown", "INTERFACE=wan"}, false},
	} {
		r.calls()
		// hotplug-call sources each script in a shell of its own.
		r.must(append(slices.Clone(e.env), "/bin/sh", "-c", ". /etc/hotplug.d/"+e.script+"/80-netpilot")...)
		if got := slices.Contains(r.calls(), signal); got != e.woken {
			t.Errorf("%s %v: woken is %v", e.script, e.env, got)
		}
	}
}

// TestDefaultsRepeat runs the migration twice, and on a router whose owner
// removed the file.
func TestDefaultsRepeat(t *testing.T) {
	r := newRouter(t)
	r.copy("../../openwrt-package/netpilot-agent/files/netpilot.defaults", "tmp/defaults", 0o755)
	r.write("etc/config/netpilot", enabled, 0o644)
	for range 2 {
		r.must("/bin/sh", "/tmp/defaults")
		r.keeps(map[string]string{"etc/config/netpilot": enabled})
	}
	r.check(os.Remove(r.path("etc/config/netpilot")))
	for range 2 {
		r.must("/bin/sh", "/tmp/defaults")
		r.keeps(map[string]string{"etc/config/netpilot": "\nconfig agent 'agent'\n\toption enabled '0'\n"})
	}
}
