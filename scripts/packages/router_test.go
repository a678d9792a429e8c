package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/netpilot/netpilot/scripts/adb"
	"github.com/netpilot/netpilot/scripts/ipk"
)

// router is a scratch root with busybox's ash and the stand-ins of testdata,
// in which the packages' scripts run as on a router.
type router struct {
	t    *testing.T
	root string
	seen int // bytes of the noted calls that calls has returned
}

// newRouter needs root, for chroot, and a busybox that is one static file.
func newRouter(t *testing.T) *router {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root, for chroot")
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("needs busybox; try: apt-get install busybox-static")
	}
	root, err := os.MkdirTemp("", "np") // short: a unix socket's path has 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	r := &router{t: t, root: root}
	for _, dir := range []string{"bin", "sbin", "usr/bin", "usr/sbin", "lib", "proc", "dev", "sys/class/net/br-lan", "etc/init.d", "etc/config",
		"tmp/run", "tmp/lib/nlbwmon", "usr/lib/opkg/info", "usr/share/nlbwmon"} {
		r.check(os.MkdirAll(r.path(dir), 0o755))
	}
	r.check(os.Symlink("tmp", r.path("var")))
	r.copy(busybox, "bin/busybox", 0o755)
	for _, f := range []struct{ from, to string }{
		{"functions.sh", "lib/functions.sh"}, {"rc.common", "etc/rc.common"}, {"uci", "sbin/uci"}, {"note", "sbin/ubus"}, {"note", "sbin/logger"},
	} {
		r.copy(filepath.Join("testdata", "openwrt", f.from), f.to, 0o755)
	}
	r.write("etc/passwd", "root:x:0:0:root:/root:/bin/ash\n", 0o644)
	r.write("etc/group", "root:x:0:\n", 0o644)
	r.write("etc/openwrt_release", "DISTRIB_ID='OpenWrt'\nDISTRIB_RELEASE='24.10.1'\nDISTRIB_ARCH='x86_64'\n", 0o644)
	r.write("etc/TZ", "UTC0\n", 0o644)
	r.write("proc/meminfo", "MemTotal: 126000 kB\nMemAvailable: 60000 kB\n", 0o444)
	r.write("proc/mounts", "overlayfs:/overlay / overlay rw 0 0\n", 0o444)
	r.write("sys/class/net/br-lan/address", "02:77:00:00:00:01\n", 0o444)
	if out, err := r.exec("/bin/busybox", "--install", "-s", "/bin"); err != nil {
		if strings.Contains(out, "not found") || errors.Is(err, fs.ErrNotExist) {
			t.Skip("busybox is not static; try: apt-get install busybox-static")
		}
		t.Skipf("busybox does not run in a chroot: %v %s", err, out)
	}
	return r
}

func (r *router) check(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *router) path(p string) string { return filepath.Join(r.root, p) }

func (r *router) write(path, text string, mode fs.FileMode) {
	r.t.Helper()
	r.check(os.MkdirAll(filepath.Dir(r.path(path)), 0o755))
	r.check(os.WriteFile(r.path(path), []byte(text), mode))
	r.check(os.Chmod(r.path(path), mode))
}

func (r *router) copy(from, to string, mode fs.FileMode) {
	r.t.Helper()
	text, err := os.ReadFile(from)
	r.check(err)
	r.write(to, string(text), mode)
}

// exec runs a program of the router with environment words NAME=VALUE before
// it.
func (r *router) exec(words ...string) (string, error) {
	cmd := r.command(words...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (r *router) command(words ...string) *exec.Cmd {
	i := slices.IndexFunc(words, func(w string) bool { return !strings.Contains(w, "=") })
	cmd := &exec.Cmd{
		Path: words[i], Args: words[i:], Dir: "/",
		Env:         append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}, words[:i]...),
		SysProcAttr: &syscall.SysProcAttr{Chroot: r.root},
	}
	return cmd
}

// must runs a program that has to succeed.
func (r *router) must(words ...string) string {
	r.t.Helper()
	out, err := r.exec(words...)
	if err != nil {
		r.t.Fatalf("%s: %v\n%s", strings.Join(words, " "), err, out)
	}
	return out
}

// calls returns what was noted since the last time.
func (r *router) calls() []string {
	r.t.Helper()
	text, err := os.ReadFile(r.path("tmp/calls"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.t.Fatal(err)
	}
	fresh := string(text[r.seen:])
	fresh = fresh[:strings.LastIndexByte(fresh, '\n')+1] // a line may be half written
	r.seen += len(fresh)
	return strings.FieldsFunc(fresh, func(c rune) bool { return c == '\n' })
}

// A manager installs as opkg or apk do, as far as the order of calls goes.
type manager interface {
	install(r *router, p *recipe)
	upgrade(r *router, p *recipe)
	remove(r *router, name string)
}

// put writes a package's file; where an edited configuration file lies, the
// new one goes beside it.
func (r *router) put(path string, mode fs.FileMode, content []byte, keep bool, suffix string) {
	r.t.Helper()
	if mode.IsDir() {
		r.check(os.MkdirAll(r.path(path), 0o755))
		r.check(os.Chmod(r.path(path), mode.Perm()))
		return
	}
	if mode&fs.ModeSymlink != 0 {
		return // none of the scripts needs what the links are for
	}
	if old, err := os.ReadFile(r.path(path)); err == nil && keep && !bytes.Equal(old, content) {
		path += suffix
	}
	if err := os.Remove(r.path(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.t.Fatal(err)
	}
	r.write(path, string(content), mode.Perm())
}

// opkg is what opkg does with a package, in the order that was measured on the
// real one.
type opkgManager struct{}

const opkgInfo = "usr/lib/opkg/info/"

func (opkgManager) install(r *router, p *recipe) {
	r.t.Helper()
	opkgManager{}.unpack(r, p)
	r.must("PKG_UPGRADE=0", "/"+opkgInfo+p.name+".postinst", "configure")
}

func (opkgManager) unpack(r *router, p *recipe) {
	r.t.Helper()
	_, content, err := p.ipk(nil)
	r.check(err)
	read, err := ipk.Parse(bytes.NewReader(content))
	r.check(err)
	var list []string
	for _, f := range read.Files {
		keep := slices.Contains(read.Conffiles, "/"+f.Path)
		r.put(f.Path, f.Mode, f.Content, keep, "-opkg")
		if f.Mode.IsRegular() {
			list = append(list, "/"+f.Path+"\n")
		}
	}
	for name, script := range read.Scripts {
		r.write(opkgInfo+p.name+"."+name, script, 0o755)
	}
	r.write(opkgInfo+p.name+".list", strings.Join(list, ""), 0o644)
	r.write(opkgInfo+p.name+".conffiles", strings.Join(read.Conffiles, "\n"), 0o644)
	r.write(opkgInfo+p.name+".control", fmt.Sprintf("Package: %s\nVersion: %s\nRequire-User: %s\n", read.Package, read.Version, read.RequireUser), 0o644)
}

func (opkgManager) upgrade(r *router, p *recipe) {
	r.t.Helper()
	r.must("PKG_UPGRADE=1", "/"+opkgInfo+p.name+".prerm", "upgrade", p.opkg)
	opkgManager{}.unpack(r, p)
	r.must("PKG_UPGRADE=1", "/"+opkgInfo+p.name+".postinst", "configure")
}

func (opkgManager) remove(r *router, name string) {
	r.t.Helper()
	r.must("PKG_UPGRADE=0", "/"+opkgInfo+name+".prerm", "remove")
	text, err := os.ReadFile(r.path(opkgInfo + name + ".list"))
	r.check(err)
	conffiles, err := os.ReadFile(r.path(opkgInfo + name + ".conffiles"))
	r.check(err)
	for path := range strings.FieldsSeq(string(text)) {
		// Taken for edited: enrolment has edited it.
		if !slices.Contains(strings.Fields(string(conffiles)), path) {
			_ = os.Remove(r.path(path)) // uci-defaults is gone already
		}
	}
	matches, err := filepath.Glob(r.path(opkgInfo + name + ".*"))
	r.check(err)
	for _, m := range matches {
		r.check(os.Remove(m))
	}
	_ = os.Remove(r.path("etc/netpilot")) // goes only if empty, as with opkg
}

// apkManager is what apk does: with an upgrade nothing of the old package runs.
type apkManager struct{}

func (apkManager) install(r *router, p *recipe) { r.t.Helper(); apkManager{}.set(r, p, false) }
func (apkManager) upgrade(r *router, p *recipe) { r.t.Helper(); apkManager{}.set(r, p, true) }

func (apkManager) set(r *router, p *recipe, upgrade bool) {
	r.t.Helper()
	_, c, err := p.container()
	r.check(err)
	text, err := c.Compressed()
	r.check(err)
	c, err = adb.Parse(bytes.NewReader(text))
	r.check(err)
	read, err := c.Package()
	r.check(err)
	for _, f := range read.Files {
		r.put(f.Path, f.Mode, f.Content, strings.HasPrefix(f.Path, "etc/"), ".apk-new")
	}
	r.write("tmp/deinstall", read.Scripts.PreDeinstall, 0o755)
	script := read.Scripts.PostInstall
	if upgrade {
		script = read.Scripts.PostUpgrade
	}
	r.write("tmp/script", script, 0o755)
	r.must("/tmp/script", p.apk)
}

func (apkManager) remove(r *router, name string) {
	r.t.Helper()
	r.must("/tmp/deinstall")
	text, err := os.ReadFile(r.path("lib/apk/packages/" + name + ".list"))
	r.check(err)
	for path := range strings.FieldsSeq(string(text)) {
		if path != "/etc/config/netpilot" {
			_ = os.Remove(r.path(path)) // as above
		}
	}
	_ = os.Remove(r.path("etc/netpilot"))
}

// fakeAgent stands for the binary where only the scripts are tried: it notes
// its arguments, and refuses its configuration where that says broken.
const fakeAgent = `#!/bin/sh
echo "agent $*" >>/tmp/calls
if grep -q broken /etc/config/netpilot; then echo "option log_level is broken" >&2; exit 1; fi
# %s
`

// testRecipe is the agent's package with the given version and the stand-in.
func testRecipe(t *testing.T, version string, binary []byte) *recipe {
	t.Helper()
	r, err := agentRecipe("../../openwrt-package")
	if err != nil {
		t.Fatal(err)
	}
	if r.opkg, r.apk, err = versions(version, 1, 1); err != nil {
		t.Fatal(err)
	}
	r.time = testTime
	if binary == nil {
		binary = fmt.Appendf(nil, fakeAgent, version)
	}
	p := r.with("x86_64", binary)
	return &p
}
