package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/netpilot/netpilot/scripts/adb"
	"github.com/netpilot/netpilot/scripts/ipk"
)

// serve puts folders on loopback, the first one for now; the returned function
// changes to another.
func serve(t *testing.T, dir string) (url string, change func(dir string)) {
	t.Helper()
	var now atomic.Pointer[string]
	now.Store(&dir)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.FileServer(http.Dir(*now.Load())).ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL, func(dir string) { now.Store(&dir) }
}

// scriptFeed is a feed for x86_64 whose agent is the stand-in.
func scriptFeed(t *testing.T, keyDir, version string) string {
	t.Helper()
	return feedFor(t, keyDir, version, "x86_64", "amd64")
}

// feedFor is one for another architecture, of the build of that name.
func feedFor(t *testing.T, keyDir, version, arch, build string) string {
	t.Helper()
	bin, out := t.TempDir(), filepath.Join(t.TempDir(), "feed")
	if err := os.WriteFile(filepath.Join(bin, "netpilot-agent-"+build), []byte(strings.ReplaceAll(fakeAgent, "%s", version)), 0o755); err != nil {
		t.Fatal(err)
	}
	err := run(context.Background(), []string{"--binaries", bin, "--source", "../../openwrt-package", "--out", out, "--keys", keyDir,
		"--version", version, "--epoch", "1764000000", "--archs", arch, "--fast"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// installer is a scratch router with the feed's install.sh in /tmp.
func installer(t *testing.T, feed string) *router {
	t.Helper()
	r := newRouter(t)
	r.copy(filepath.Join(feed, "install.sh"), "tmp/install.sh", 0o644)
	return r
}

// runs install.sh, which has to end with the exit code and say the words.
func (r *router) installs(exit int, says string, args ...string) string {
	r.t.Helper()
	out, err := r.exec(append([]string{"/bin/sh", "/tmp/install.sh"}, args...)...)
	code := 0
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		code = failed.ExitCode()
	} else if err != nil {
		r.t.Fatal(err)
	}
	if code != exit || !strings.Contains(out, says) {
		r.t.Errorf("install.sh %v: exit code %d, want %d, and %q in:\n%s", args, code, exit, says, out)
	}
	return out
}

// TestInstallScript runs install.sh with stand-ins for the package managers.
func TestInstallScript(t *testing.T) {
	keyDir := newKeys(t)
	feed := scriptFeed(t, keyDir, "1.2.3")
	url, _ := serve(t, feed)
	for _, m := range []struct{ name, line, update, install, remove string }{
		{"opkg", "src/gz netpilot " + url + "/opkg/x86_64", "opkg update", "opkg install netpilot-agent netpilot-oui", "opkg remove netpilot-oui netpilot-agent"},
		{"apk", url + "/apk/x86_64/packages.adb", "apk update", "apk add netpilot-agent netpilot-oui", "apk del netpilot-oui netpilot-agent"},
	} {
		t.Run(m.name, func(t *testing.T) {
			r := installer(t, feed)
			r.copy("testdata/openwrt/"+m.name, "bin/"+m.name, 0o755)
			r.write("etc/opkg.conf", "option check_signature\n", 0o644)
			r.write("etc/opkg/customfeeds.conf", "# mine\nsrc/gz other http://other.example\n", 0o644)
			r.write("etc/apk/repositories.d/customfeeds.list", "# mine\nhttp://other.example/packages.adb\n", 0o644)
			r.write("etc/apk/arch", "x86_64\n", 0o644)
			lists := func() string {
				a, _ := os.ReadFile(r.path("etc/opkg/customfeeds.conf"))
				b, _ := os.ReadFile(r.path("etc/apk/repositories.d/customfeeds.list"))
				return string(a) + string(b)
			}
			before := lists()
			for range 2 { // again is no harm
				r.calls()
				r.installs(0, "next: netpilot-agent enroll --relay https://RELAY", "--feed", url)
				wantInOrder(t, r.calls(), m.update, m.install)
				if n := strings.Count(lists(), m.line+"\n"); n != 1 {
					t.Errorf("the feed's line is there %d times:\n%s", n, lists())
				}
			}
			r.write("etc/netpilot/identity.json", identity, 0o600)
			r.installs(0, "this router is enrolled already", "--feed", url)
			r.calls()
			r.installs(0, "identity and history stay", "--uninstall")
			wantInOrder(t, r.calls(), m.remove)
			if lists() != before {
				t.Errorf("got lists\n%s\nwant\n%s", lists(), before)
			}
			r.keeps(map[string]string{"etc/netpilot/identity.json": identity})
			r.installs(0, "with identity, history and options", "--uninstall", "--purge")
			if _, err := os.Stat(r.path("etc/netpilot")); err == nil {
				t.Error("--purge left the identity")
			}
			// Where LuCI is, its page comes along.
			r.check(os.MkdirAll(r.path("www/luci-static/resources"), 0o755))
			r.calls()
			r.installs(0, "next: netpilot-agent enroll", "--feed", url)
			wantInOrder(t, r.calls(), m.install+" luci-app-netpilot")
			r.installs(0, "identity and history stay", "--uninstall")

			r.write("tmp/wrong-signature", "", 0o644)
			r.installs(1, "not installed: "+m.name+" refused", "--feed", url)
			if lists() != before {
				t.Errorf("after a refusal: got lists\n%s\nwant\n%s", lists(), before)
			}
			for _, dir := range []string{"etc/opkg/keys", "etc/apk/keys"} {
				if entries, _ := os.ReadDir(r.path(dir)); len(entries) > 0 {
					t.Errorf("%s still trusts the feed", dir)
				}
			}
		})
	}
}

// TestInstallScriptRefuses has install.sh on routers that are not for it: it
// says why and changes nothing.
func TestInstallScriptRefuses(t *testing.T) {
	feed := scriptFeed(t, newKeys(t), "1.2.3")
	unsigned := scriptFeed(t, filepath.Join(t.TempDir(), "none"), "1.2.3")
	const arch, release = "etc/openwrt_release", "DISTRIB_RELEASE='24.10.1'\nDISTRIB_ARCH='%'\n"
	for _, c := range []struct {
		name  string
		feed  string
		files map[string]string
		exit  int
		says  string
		args  []string
	}{
		{"another CPU", feed, map[string]string{arch: strings.ReplaceAll(release, "%", "powerpc_8548"), "bin/opkg": "#!/bin/sh\necho arch powerpc_8548 10\n"}, 1,
			"there is no netpilot for powerpc_8548; this feed has: x86_64", nil},
		{"a release that opkg contradicts", feed, map[string]string{arch: strings.ReplaceAll(release, "%", "mips_24kc")}, 1, "which opkg print-architecture does not list", nil},
		{"no memory", feed, map[string]string{"proc/meminfo": "MemAvailable: 9000 kB\n"}, 1, "free memory is 9000 KiB", nil},
		{"no flash", feed, map[string]string{"tmp/install.sh": "big"}, 1, "free flash is", nil},
		{"opkg that believes all", feed, map[string]string{"etc/opkg.conf": "dest root /\n"}, 1, "opkg does not check signatures here", nil},
		{"an unsigned feed", unsigned, nil, 1, "this feed is not signed", nil},
		{"another system", feed, map[string]string{arch: ""}, 1, "does not say DISTRIB_ARCH", nil},
		{"no package manager", feed, map[string]string{"bin/opkg": "gone"}, 1, "neither opkg nor apk is here", nil},
		{"unknown option", feed, nil, 2, "unknown option --frobnicate; see: sh install.sh --help", []string{"--frobnicate"}},
		{"purge alone", feed, nil, 2, "--purge goes with --uninstall", []string{"--purge"}},
		{"no address", feed, nil, 2, "--feed ftp://x is no address", []string{"--feed", "ftp://x"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := installer(t, c.feed)
			r.copy("testdata/openwrt/opkg", "bin/opkg", 0o755)
			r.write("etc/opkg.conf", "option check_signature\n", 0o644)
			for path, text := range c.files {
				switch text {
				case "gone":
					r.check(os.Remove(r.path(path)))
				case "big":
					script, err := os.ReadFile(r.path(path))
					r.check(err)
					i := strings.Index(string(script), "INSTALLED_KIB='")
					r.write(path, string(script[:i])+"INSTALLED_KIB='99999999999' #"+string(script[i:]), 0o644)
				default:
					r.write(path, text, 0o755)
				}
			}
			args := c.args
			if args == nil {
				args = []string{"--feed", "http://127.0.0.1:1"}
			}
			r.installs(c.exit, c.says, args...)
			if slices.ContainsFunc(r.calls(), func(s string) bool {
				return strings.HasPrefix(s, "opkg update") || strings.HasPrefix(s, "opkg install")
			}) {
				t.Error("it went on to the package manager")
			}
			if _, err := os.Stat(r.path("etc/opkg/customfeeds.conf")); err == nil {
				t.Error("it added a feed")
			}
		})
	}
}

// program copies a program of this machine and its libraries onto the router.
func (r *router) program(name, to string) {
	r.t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		r.t.Skipf("needs the real %s on PATH", name)
	}
	r.copy(path, to, 0o755)
	out, err := exec.Command("ldd", path).CombinedOutput()
	if err != nil {
		return // static
	}
	for word := range strings.FieldsSeq(string(out)) {
		if strings.HasPrefix(word, "/") {
			r.copy(word, strings.TrimPrefix(word, "/"), 0o755)
			r.copy(word, "lib/"+filepath.Base(word), 0o755)
		}
	}
}

// base is what the agent depends on, as packages with nothing in them.
func base() []string { return []string{"libc", "ca-bundle", "nlbwmon"} }

// realOpkg sets a router up with the real opkg, which checks signatures with
// the real usign.
func realOpkg(t *testing.T, feed, keyDir string) *router {
	r := installer(t, feed)
	r.program("opkg", "bin/opkg")
	r.program("usign", "usr/bin/usign")
	r.copy("testdata/openwrt/opkg-key", "usr/sbin/opkg-key", 0o755)
	r.write("etc/opkg.conf", "dest root /\nlists_dir ext /var/opkg-lists\noption overlay_root /overlay\noption check_signature\narch all 1\narch noarch 1\narch x86_64 10\n", 0o644)
	r.check(os.MkdirAll(r.path("tmp/lock"), 0o755))
	for _, name := range base() {
		p := ipk.Package{Control: ipk.Control{Package: name, Version: "1-r1", Architecture: "all", Description: name}, Time: testTime}
		content, err := p.Bytes()
		r.check(err)
		r.write("tmp/"+name+".ipk", string(content), 0o644)
		r.must("/bin/opkg", "install", "/tmp/"+name+".ipk")
	}
	return r
}

// realApk sets a router up with the real apk-tools 3.
func realApk(t *testing.T, feed, keyDir string) *router {
	r := installer(t, feed)
	r.program("apk", "bin/apk")
	if out, err := r.exec("/bin/apk", "--version"); err != nil || !strings.HasPrefix(out, "apk-tools 3") {
		t.Skipf("needs apk-tools 3: %v %s", err, out)
	}
	r.write("etc/apk/arch", "x86_64\n", 0o644)
	r.write("etc/apk/world", "", 0o644)
	r.write("dev/null", "", 0o666)
	r.check(os.MkdirAll(r.path("lib/apk/db"), 0o755))
	r.must("/bin/apk", "add", "--initdb")
	for _, name := range base() {
		p := adb.Package{Info: adb.Info{Name: name, Version: "1-r1", Arch: "noarch"}}
		c, err := p.Container()
		r.check(err)
		content, err := c.Compressed()
		r.check(err)
		r.write("tmp/"+name+".apk", string(content), 0o644)
		r.must("/bin/apk", "add", "--allow-untrusted", "/tmp/"+name+".apk")
	}
	return r
}

// packageFile brings the agent's package in the folder onto the router.
func (r *router) packageFile(dir, to string) {
	r.t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "netpilot-agent*.[ai]pk"))
	r.check(err)
	if len(files) != 1 {
		r.t.Fatalf("packages in %s: %v", dir, files)
	}
	r.copy(files[0], to, 0o644)
}

// TestRealManagers has the real opkg and apk, where they are on PATH, install,
// upgrade, go back, refuse and remove in a scratch root.
func TestRealManagers(t *testing.T) {
	for _, m := range []struct {
		name    string
		router  func(t *testing.T, feed, keyDir string) *router
		dir     string
		upgrade [][]string
		back    [][]string
		fresh   string   // where an upgrade puts the new configuration
		file    []string // installs the file whose name follows, signed or not
		foreign string   // what it says of another architecture
	}{
		{"opkg", realOpkg, "opkg/x86_64", [][]string{{"/bin/opkg", "update"}, {"/bin/opkg", "upgrade", "netpilot-agent"}},
			[][]string{{"/bin/opkg", "--force-downgrade", "install", "/tmp/older.ipk"}},
			"etc/config/netpilot-opkg", []string{"/bin/opkg", "install"}, "incompatible with the architectures configured"},
		{"apk", realApk, "apk/x86_64", [][]string{{"/bin/apk", "update"}, {"/bin/apk", "upgrade"}},
			[][]string{{"/bin/apk", "update"}, {"/bin/apk", "add", "netpilot-agent=1.2.3-r1"}, {"/bin/apk", "add", "netpilot-agent"}},
			"etc/config/netpilot.apk-new", []string{"/bin/apk", "add", "--allow-untrusted"}, "arch: mipsel_24kc"},
	} {
		t.Run(m.name, func(t *testing.T) {
			keyDir := newKeys(t)
			first, second := scriptFeed(t, keyDir, "1.2.3"), scriptFeed(t, keyDir, "1.3.0")
			r := m.router(t, first, keyDir)
			url, change := serve(t, first)
			r.calls()
			r.installs(0, "next: netpilot-agent enroll", "--feed", url)
			wantInOrder(t, r.calls(), "enable netpilot-agent", "set netpilot-agent", "set end")
			for path, mode := range map[string]os.FileMode{"etc/config/netpilot": 0o600, "usr/sbin/netpilot-agent": 0o755, "usr/share/netpilot/oui": 0o644} {
				if info, err := os.Stat(r.path(path)); err != nil || info.Mode().Perm() != mode || owner(info) != 0 {
					t.Errorf("%s: %v, %v", path, info, err)
				}
			}
			if info, err := os.Stat(r.path("etc/netpilot")); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("etc/netpilot: %v, %v", info, err)
			}

			r.write("etc/netpilot/identity.json", identity, 0o600)
			r.write("etc/config/netpilot", enabled, 0o600)
			change(second)
			for _, words := range m.upgrade {
				r.must(words...)
			}
			wantInOrder(t, r.calls(), "default_postinst netpilot-agent upgrade=1", "agent run --check", "instance end")
			r.keeps(map[string]string{"etc/netpilot/identity.json": identity, "etc/config/netpilot": enabled})
			if text, _ := os.ReadFile(r.path("usr/sbin/netpilot-agent")); !strings.Contains(string(text), "# 1.3.0") {
				t.Error("the binary is still the old one")
			}
			if _, err := os.Stat(r.path(m.fresh)); err != nil {
				t.Errorf("the new configuration is nowhere: %v", err)
			}

			// opkg takes no older one from a list, only a file.
			change(first)
			if m.name == "opkg" {
				r.packageFile(filepath.Join(first, m.dir), "tmp/older.ipk")
			}
			for _, words := range m.back {
				r.must(words...)
			}
			wantInOrder(t, r.calls(), "default_postinst netpilot-agent upgrade=1", "agent run --check", "instance end")
			r.keeps(map[string]string{"etc/netpilot/identity.json": identity, "etc/config/netpilot": enabled})
			if text, _ := os.ReadFile(r.path("usr/sbin/netpilot-agent")); !strings.Contains(string(text), "# 1.2.3") {
				t.Error("going back left the newer binary")
			}
			change(second)

			r.installs(0, "identity and history stay", "--uninstall")
			wantInOrder(t, r.calls(), "default_prerm netpilot-agent upgrade=0", "disable netpilot-agent", "delete netpilot-agent")
			r.keeps(map[string]string{"etc/netpilot/identity.json": identity})
			if _, err := os.Stat(r.path("usr/sbin/netpilot-agent")); err == nil {
				t.Error("the binary is still there")
			}

			// Of another CPU, and signed by nobody.
			foreign := "tmp/foreign.apk"
			if m.name == "opkg" {
				foreign = "tmp/foreign.ipk"
			}
			r.packageFile(filepath.Join(feedFor(t, keyDir, "1.3.0", "mipsel_24kc", "mipsle"), m.name, "mipsel_24kc"), foreign)
			if out, err := r.exec(append(m.file, "/"+foreign)...); err == nil || !strings.Contains(out, m.foreign) {
				t.Errorf("a package for mipsel_24kc: %v, want %q in:\n%s", err, m.foreign, out)
			}
			unsigned := scriptFeed(t, filepath.Join(t.TempDir(), "none"), "1.3.0")
			if m.name == "apk" {
				r.packageFile(filepath.Join(unsigned, m.dir), "tmp/unsigned.apk")
				if out, err := r.exec("/bin/apk", "add", "/tmp/unsigned.apk"); err == nil || !strings.Contains(out, "UNTRUSTED signature") {
					t.Errorf("an unsigned package: %v\n%s", err, out)
				}
			}
			change(unsigned)
			r.installs(1, "not installed", "--feed", url)

			// Changed on its way: the packages first, then the lists.
			for _, pattern := range []string{"netpilot-agent*", "[Pp]ackages*"} {
				tampered := t.TempDir()
				r.check(os.CopyFS(tampered, os.DirFS(second)))
				files, err := filepath.Glob(filepath.Join(tampered, m.dir, pattern))
				r.check(err)
				for _, f := range files {
					text, err := os.ReadFile(f)
					r.check(err)
					text[len(text)/2] ^= 0x55
					r.check(os.WriteFile(f, text, 0o644))
				}
				change(tampered)
				r.installs(1, "not installed", "--feed", url)
			}
			// By somebody else's keys, as far as this router knows.
			change(scriptFeed(t, newKeys(t), "1.3.0"))
			r.installs(1, "not installed", "--feed", url)
			if _, err := os.Stat(r.path("usr/sbin/netpilot-agent")); err == nil {
				t.Error("a bad package was installed")
			}
			change(second)
			r.installs(0, "enrolled already", "--feed", url)
			wantInOrder(t, r.calls(), "enable netpilot-agent", "instance end")
		})
	}
}
