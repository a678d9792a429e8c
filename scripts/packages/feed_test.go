package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/netpilot/netpilot/scripts/adb"
	"github.com/netpilot/netpilot/scripts/ipk"
	"github.com/netpilot/netpilot/scripts/target"
	"github.com/netpilot/netpilot/scripts/usign"
)

func owner(info os.FileInfo) uint32 { return info.Sys().(*syscall.Stat_t).Uid }

// makeFeed makes a feed of two architectures with stand-ins for the binaries,
// compressed fast unless more options say otherwise.
func makeFeed(t *testing.T, keyDir string, more ...string) (dir, said string) {
	t.Helper()
	bin, out := t.TempDir(), filepath.Join(t.TempDir(), "feed")
	for _, name := range []string{"mipsle", "amd64"} {
		if err := os.WriteFile(filepath.Join(bin, "netpilot-agent-"+name), bytes.Repeat([]byte(name), 5000), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var stdout bytes.Buffer
	err := run(context.Background(), append([]string{"--binaries", bin, "--source", "../../openwrt-package", "--out", out, "--keys", keyDir,
		"--version", "1.2.3-rc1", "--epoch", "1764000000", "--url", "https://feed.example/netpilot/", "--archs", "mipsel_24kc,x86_64", "--fast"}, more...), &stdout)
	if err != nil {
		t.Fatal(err)
	}
	return out, stdout.String()
}

func newKeys(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "keys")
	if err := run(context.Background(), []string{"--make-keys", "--keys", dir}, io.Discard); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestFeedIsRepeatable makes a feed twice: the bytes are the same, also signed.
func TestFeedIsRepeatable(t *testing.T) {
	keyDir := newKeys(t)
	first, said := makeFeed(t, keyDir)
	second, _ := makeFeed(t, keyDir)
	one, two := readTree(t, first), readTree(t, second)
	if !maps.Equal(one, two) {
		t.Errorf("two builds differ:\n%v\n%v", one, two)
	}
	if !strings.Contains(said, "mipsel_24kc") || !strings.Contains(said, "signed by opkg key") {
		t.Errorf("it said %q", said)
	}
	sums, err := os.ReadFile(filepath.Join(first, marker))
	if err != nil {
		t.Fatal(err)
	}
	for path, sum := range one {
		if path != marker && !strings.Contains(string(sums), fmt.Sprintf("%x  %s\n", sum, path)) {
			t.Errorf("%s is not in %s", path, marker)
		}
	}
}

// TestFastFeed says by the size of the vendor table's ipk how it was
// compressed; what is in it is the same.
func TestFastFeed(t *testing.T) {
	keyDir := filepath.Join(t.TempDir(), "none")
	sizes := make(map[bool]int)
	contents := make(map[bool]*ipk.Package)
	for _, fast := range []bool{false, true} {
		dir, _ := makeFeed(t, keyDir, "--fast="+strconv.FormatBool(fast))
		found, err := filepath.Glob(filepath.Join(dir, opkgDir, "mipsel_24kc", "netpilot-oui_*.ipk"))
		if err != nil || len(found) != 1 {
			t.Fatalf("got %v, %v", found, err)
		}
		content, err := os.ReadFile(found[0])
		if err != nil {
			t.Fatal(err)
		}
		sizes[fast] = len(content)
		if contents[fast], err = ipk.Parse(bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
	}
	if sizes[false] >= sizes[true] {
		t.Errorf("%d bytes, %d with --fast", sizes[false], sizes[true])
	}
	if !reflect.DeepEqual(contents[false], contents[true]) {
		t.Error("the contents differ")
	}
}

func readTree(t *testing.T, dir string) map[string][sha256.Size]byte {
	t.Helper()
	files := make(map[string][sha256.Size]byte)
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(filepath.Join(dir, path))
		files[path] = sha256.Sum256(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestFeedIsSigned checks every signature with the published keys, and that
// one changed byte is noticed.
func TestFeedIsSigned(t *testing.T) {
	dir, _ := makeFeed(t, newKeys(t))
	read := func(path string) []byte {
		text, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	opkgKey, err := usign.ParsePublicKey(read("netpilot.usign.pub"))
	if err != nil {
		t.Fatal(err)
	}
	apkKey, err := adb.ParsePublicKey(read("netpilot.pem"))
	if err != nil {
		t.Fatal(err)
	}
	for _, arch := range []string{"mipsel_24kc", "x86_64"} {
		list := read("opkg/" + arch + "/Packages")
		if err := usign.Verify(list, read("opkg/"+arch+"/Packages.sig"), opkgKey); err != nil {
			t.Errorf("opkg %s: %v", arch, err)
		}
		list[10] ^= 1
		if usign.Verify(list, read("opkg/"+arch+"/Packages.sig"), opkgKey) == nil {
			t.Errorf("opkg %s: a changed list passes", arch)
		}
		list[10] ^= 1
		entries, err := ipk.ParsePackages(list)
		if err != nil || len(entries) != 3 {
			t.Fatalf("%v, %v", entries, err)
		}
		for _, e := range entries {
			content := read("opkg/" + arch + "/" + e.Filename)
			if got := fmt.Sprintf("%x", sha256.Sum256(content)); got != e.SHA256Sum || e.Size != int64(len(content)) {
				t.Errorf("%s: the index does not describe it", e.Filename)
			}
		}
		index := container(t, read("apk/"+arch+"/packages.adb"))
		if err := index.Verify(apkKey); err != nil {
			t.Errorf("apk %s: %v", arch, err)
		}
		x, err := index.Index()
		if err != nil || len(x.Packages) != 3 {
			t.Fatalf("%v, %v", x, err)
		}
		for _, p := range x.Packages {
			c := container(t, read("apk/"+arch+"/"+p.Name+"-"+p.Version+".apk"))
			if err := c.Verify(apkKey); err != nil {
				t.Errorf("%s: %v", p.Name, err)
			}
			c.ADB[len(c.ADB)/2] ^= 1
			if c.Verify(apkKey) == nil {
				t.Errorf("%s: a changed package passes", p.Name)
			}
		}
	}
	script := string(read("install.sh"))
	for _, want := range []string{"FEED='https://feed.example/netpilot'", "ARCHS='mipsel_24kc x86_64'", opkgKey.ID.Fingerprint(), "BEGIN PUBLIC KEY"} {
		if !strings.Contains(script, want) {
			t.Errorf("install.sh does not say %q", want)
		}
	}
	if strings.Contains(script, "@") && strings.Contains(script, "@FEED") {
		t.Error("install.sh is not filled in")
	}
	if text := string(read("index.html")); !strings.Contains(text, "opkg/mipsel_24kc/netpilot-agent_1.2.3~rc1-r1_mipsel_24kc.ipk") ||
		!strings.Contains(text, "apk/x86_64/netpilot-agent-1.2.3_rc1-r1.apk") {
		t.Errorf("the page lists not all:\n%s", text)
	}
}

func container(t *testing.T, text []byte) *adb.Container {
	t.Helper()
	c, err := adb.Parse(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestFeedWithoutKeys says that routers will refuse it.
func TestFeedWithoutKeys(t *testing.T) {
	dir, said := makeFeed(t, filepath.Join(t.TempDir(), "none"))
	if !strings.Contains(said, "NOT SIGNED") || !strings.Contains(said, "make keys") {
		t.Errorf("it said %q", said)
	}
	if _, err := os.Stat(filepath.Join(dir, "opkg/x86_64/Packages.sig")); err == nil {
		t.Error("there is a signature")
	}
}

// TestKeysAreNotReplaced would lock every router out that trusts the old ones.
func TestKeysAreNotReplaced(t *testing.T) {
	dir := newKeys(t)
	before := readTree(t, dir)
	if err := run(context.Background(), []string{"--make-keys", "--keys", dir}, io.Discard); err == nil {
		t.Error("keys were replaced")
	}
	if !maps.Equal(before, readTree(t, dir)) {
		t.Error("the keys changed")
	}
	for _, name := range []string{usignSecret, apkSecret} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

// TestEveryOptionIsDocumented compares the shipped configuration with the
// manual.
func TestEveryOptionIsDocumented(t *testing.T) {
	sample, err := os.ReadFile("../../openwrt-package/netpilot-agent/files/netpilot.config")
	if err != nil {
		t.Fatal(err)
	}
	manual, err := os.ReadFile("../../docs/openwrt.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(sample)) {
		f := strings.Fields(strings.TrimPrefix(line, "#"))
		if len(f) != 3 || f[0] != "option" {
			continue
		}
		want := "| `" + f[1] + "` | "
		if value := strings.Trim(f[2], "'"); value != "" && !strings.HasPrefix(line, "#") {
			want += "`" + value + "` | "
		}
		if !strings.Contains(string(manual), want) {
			t.Errorf("docs/openwrt.md has no %q", want)
		}
	}
}

// TestForeignFolderStays guards what else lies at --out.
func TestForeignFolderStays(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "photo"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := run(context.Background(), []string{"--source", "../../openwrt-package", "--out", dir, "--keys", dir + "/none", "--version", "1.2.3", "--epoch", "1"}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "holds something else") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "photo")); err != nil {
		t.Error(err)
	}
}

// TestArchitectures is the build matrix: 33 names, each of one build.
func TestArchitectures(t *testing.T) {
	seen := make(map[string]string)
	for _, b := range target.All() {
		for _, arch := range b.Archs {
			if seen[arch] != "" {
				t.Errorf("%s is of %s and %s", arch, seen[arch], b.Name)
			}
			seen[arch] = b.Name
			if strings.HasPrefix(arch, "arm_cortex") && !strings.ContainsAny(arch[len("arm_cortex-"):], "_") && b.Name != "armv5" {
				t.Errorf("%s has no FPU in its name and is of %s", arch, b.Name)
			}
		}
	}
	if len(target.All()) != 12 || len(seen) != 33 {
		t.Errorf("%d builds for %d architectures", len(target.All()), len(seen))
	}
}

// TestIpkAsTarReadsIt has GNU tar list a package: it shares no code with the
// writer.
func TestIpkAsTarReadsIt(t *testing.T) {
	tar, err := exec.LookPath("tar")
	if err != nil {
		t.Skip("needs tar")
	}
	name, content, err := testRecipe(t, "1.2.3", nil).ipk(nil)
	if err != nil || name != "netpilot-agent_1.2.3-r1_x86_64.ipk" {
		t.Fatal(name, err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "p"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	list := func(file string) []string {
		cmd := exec.Command(tar, "--numeric-owner", "--utc", "--full-time", "-tvzf", file)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		var lines []string
		for line := range strings.Lines(string(out)) {
			f := strings.Fields(line) // mode, owner, size, date, time, name
			if f[1] != "0/0" || f[3] != "2025-11-24" || f[4] != "16:00:00" {
				t.Errorf("owner or time: %s", line)
			}
			lines = append(lines, f[0]+" "+f[5])
		}
		return lines
	}
	if got, want := list("p"), []string{"-rw-r--r-- ./debian-binary", "-rw-r--r-- ./control.tar.gz", "-rw-r--r-- ./data.tar.gz"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if out, err := exec.Command(tar, "-xzf", filepath.Join(dir, "p"), "-C", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got, want := list("control.tar.gz"), []string{"drwxr-xr-x ./", "-rw-r--r-- ./conffiles", "-rw-r--r-- ./control", "-rwxr-xr-x ./postinst",
		"-rwxr-xr-x ./postinst-pkg", "-rwxr-xr-x ./prerm"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	want := []string{
		"drwxr-xr-x ./", "drwxr-xr-x ./etc/", "drwxr-xr-x ./etc/capabilities/", "-rw-r--r-- ./etc/capabilities/netpilot.json",
		"drwxr-xr-x ./etc/config/", "-rw------- ./etc/config/netpilot",
		"drwxr-xr-x ./etc/hotplug.d/", "drwxr-xr-x ./etc/hotplug.d/iface/", "-rwxr-xr-x ./etc/hotplug.d/iface/80-netpilot",
		"drwxr-xr-x ./etc/hotplug.d/ntp/", "-rwxr-xr-x ./etc/hotplug.d/ntp/80-netpilot",
		"drwxr-xr-x ./etc/init.d/", "-rwxr-xr-x ./etc/init.d/netpilot-agent", "drwx------ ./etc/netpilot/",
		"drwxr-xr-x ./etc/uci-defaults/", "-rwxr-xr-x ./etc/uci-defaults/80-netpilot",
		"drwxr-xr-x ./lib/", "drwxr-xr-x ./lib/upgrade/", "drwxr-xr-x ./lib/upgrade/keep.d/", "-rw-r--r-- ./lib/upgrade/keep.d/netpilot",
		"drwxr-xr-x ./usr/", "drwxr-xr-x ./usr/libexec/", "drwxr-xr-x ./usr/libexec/rpcd/", "lrwxrwxrwx ./usr/libexec/rpcd/netpilot",
		"drwxr-xr-x ./usr/sbin/", "-rwxr-xr-x ./usr/sbin/netpilot-agent",
		"drwxr-xr-x ./usr/share/", "drwxr-xr-x ./usr/share/acl.d/", "-rw-r--r-- ./usr/share/acl.d/netpilot.json",
	}
	if got := list("data.tar.gz"); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	control, err := exec.Command(tar, "-xzOf", filepath.Join(dir, "control.tar.gz"), "./control", "./conffiles").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"Package: netpilot-agent\n", "Version: 1.2.3-r1\n", "Depends: libc, ca-bundle, nlbwmon\n", "Section: net\n",
		"Require-User: netpilot=477:netpilot=477\n", "License: Apache-2.0\n", "Architecture: x86_64\n", "\n/etc/config/netpilot\n"} {
		if !strings.Contains("\n"+string(control), line) {
			t.Errorf("control has no %q:\n%s", line, control)
		}
	}
}

// TestApkAsDumpShowsIt goes through adb's Dump, whose text is compared with
// the real apk's in that package.
func TestApkAsDumpShowsIt(t *testing.T) {
	name, c, err := testRecipe(t, "1.2.3", nil).container()
	if err != nil || name != "netpilot-agent-1.2.3-r1.apk" {
		t.Fatal(name, err)
	}
	var b bytes.Buffer
	if err := c.Dump(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, want := range []string{"arch: x86_64\n", "depends: # 3 items\n    - ca-bundle\n    - libc\n    - nlbwmon\n", "- openwrt:section=net\n",
		"- name: etc/netpilot\n    acl:\n      mode: 0700\n      user: root\n      group: root\n",
		"- name: netpilot-agent.rusers\n", "- name: netpilot-agent.conffiles_static\n", "post-upgrade: |\n", "export PKG_UPGRADE=1\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	p, err := c.Package()
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]string)
	for _, f := range p.Files {
		files[f.Path] = string(f.Content)
	}
	for path, want := range map[string]string{
		"netpilot-agent.rusers":           "netpilot=477:netpilot=477\n",
		"netpilot-agent.conffiles":        "/etc/config/netpilot\n",
		"netpilot-agent.conffiles_static": fmt.Sprintf("/etc/config/netpilot %x\n", sha256.Sum256([]byte(files["etc/config/netpilot"]))),
		"netpilot-agent.list": "/etc/capabilities/netpilot.json\n/etc/config/netpilot\n/etc/hotplug.d/iface/80-netpilot\n/etc/hotplug.d/ntp/80-netpilot\n" +
			"/etc/init.d/netpilot-agent\n/etc/uci-defaults/80-netpilot\n/lib/upgrade/keep.d/netpilot\n/usr/libexec/rpcd/netpilot\n/usr/sbin/netpilot-agent\n/usr/share/acl.d/netpilot.json\n",
	} {
		if got := files["lib/apk/packages/"+path]; got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
}

// standIn are the parts of OpenWrt's build system that the Makefiles include,
// as far as installing goes.
var standIn = map[string]string{
	"rules.mk":           "INCLUDE_DIR:=$(TOPDIR)/include\nBUILD_DIR:=$(TOPDIR)/build\nINSTALL_DIR:=install -d -m0755\nINSTALL_BIN:=install -m0755\nINSTALL_DATA:=install -m0644\nINSTALL_CONF:=install -m0600\nLN:=ln -sf\n",
	"include/package.mk": "define BuildPackage\ninstall:\n\t$$(call Package/$(1)/install,$(DESTDIR))\nsay:\n\t@echo version=$(PKG_VERSION) user=$(USERID)\ncompile:\n\t$$(call Build/Compile)\nendef\nall: install\n",
	"luci.mk":            "all: install\ninstall:\n\tmkdir -p $(DESTDIR)/www\n\tcp -R htdocs/. $(DESTDIR)/www/\n\tcp -R root/. $(DESTDIR)/\n",
	"lang/golang/golang-package.mk": "GO_PKG_BUILD_BIN_DIR:=$(TOPDIR)/bin\nGO_PKG_BUILD_VARS:=GOTOOLCHAIN=local\n" +
		"define GoBinPackage\nendef\ndefine GoPackage/Build/Compile\n\t@for a in -tags \"$(GO_PKG_TAGS)\" $(1); do echo \"arg $$a\"; done\nendef\n",
}

// buildSystem is a stand-in for OpenWrt's with our packages in its feed.
func buildSystem(t *testing.T) (top, feed string) {
	t.Helper()
	top = t.TempDir()
	for path, text := range standIn {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(top, path)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(top, path), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	feed = filepath.Join(top, "net")
	if err := os.CopyFS(feed, os.DirFS("../../openwrt-package")); err != nil {
		t.Fatal(err)
	}
	return top, feed
}

// TestBuildSystemBuildsTheSame: the feed's Makefile gives Go what the
// repository's does, and makes the overlay first.
func TestBuildSystemBuildsTheSame(t *testing.T) {
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip("needs make")
	}
	ours, err := exec.Command("make", "-C", "../..", "--no-print-directory", "-n", "agent").Output()
	if err != nil {
		t.Fatal(err)
	}
	want := make(map[string]bool)
	for _, word := range strings.Fields(string(ours)) {
		if name, value, _ := strings.Cut(word, "="); name == "-tags" || name == "-gcflags" {
			want[name+" "+value] = true
		}
	}
	if len(want) < 3 {
		t.Fatalf("no flags in %s", ours)
	}
	top, feed := buildSystem(t)
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	overlay := filepath.Join(top, "overlay")
	out, err := exec.Command("make", "-C", filepath.Join(feed, "netpilot-agent"), "--no-print-directory", "TOPDIR="+top,
		"PKG_BUILD_DIR="+root, "AGENT_OVERLAY="+overlay, "compile").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got, flag, files := make(map[string]bool), "", make(map[string]string)
	for line := range strings.Lines(string(out)) {
		word, ok := strings.CutPrefix(strings.TrimSpace(line), "arg ")
		if name, path, _ := strings.Cut(word, "="); ok && (name == "-overlay" || name == "-toolexec") {
			files[name] = path
		} else if ok && strings.HasPrefix(word, "-") {
			flag = word
		} else if ok {
			got[flag+" "+strings.TrimSpace(word)] = true
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, name := range []string{"-overlay", "-toolexec"} {
		if _, err := os.Stat(files[name]); err != nil || filepath.Dir(files[name]) != overlay {
			t.Errorf("%s %q: %v", name, files[name], err)
		}
	}
}

// TestBuildSystemInstallsTheSame runs the Makefiles' install sections: files
// and modes are those of the packages made here.
func TestBuildSystemInstallsTheSame(t *testing.T) {
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip("needs make")
	}
	top, feed := buildSystem(t)
	dest := t.TempDir()
	if err := os.MkdirAll(filepath.Join(top, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(top, "bin/agent"), []byte("binary"), 0o755); err != nil {
		t.Fatal(err)
	}
	vendors, err := ouiRecipe("../../openwrt-package", 1)
	if err != nil {
		t.Fatal(err)
	}
	luci, err := luciRecipe("../../openwrt-package")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []*recipe{testRecipe(t, "1.2.3", []byte("binary")), &vendors, &luci} {
		root := filepath.Join(dest, p.name)
		cmd := exec.Command("make", "-C", filepath.Join(feed, p.name), "TOPDIR="+top, "DESTDIR="+root, "install")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", p.name, err, out)
		}
		want := make(map[string]string)
		for _, f := range p.files {
			want[f.path] = fmt.Sprintf("%v %x", f.mode, sha256.Sum256(append(f.content, f.target...)))
		}
		got := make(map[string]string)
		err := fs.WalkDir(os.DirFS(root), ".", func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if d.IsDir() && info.Mode().Perm() == 0o755 || err != nil {
				return err
			}
			var text []byte
			if d.Type() == fs.ModeSymlink {
				target, err := os.Readlink(filepath.Join(root, path))
				got[path] = fmt.Sprintf("%v %x", info.Mode(), sha256.Sum256([]byte(target)))
				return err
			}
			if !d.IsDir() {
				text, err = os.ReadFile(filepath.Join(root, path))
			}
			got[path] = fmt.Sprintf("%v %x", info.Mode(), sha256.Sum256(text))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s: got\n%v\nwant\n%v", p.name, got, want)
		}
	}
	makefile, err := os.ReadFile("../../openwrt-package/netpilot-oui/Makefile")
	if err != nil || !strings.Contains(string(makefile), "PKG_VERSION:="+strings.TrimSuffix(vendors.opkg, "-r1")+"\n") {
		t.Errorf("netpilot-oui/Makefile does not have the table's version %s", vendors.opkg)
	}
}

// TestVendorTableIsDebians builds the committed table again where the same
// registry is installed.
func TestVendorTableIsDebians(t *testing.T) {
	const installed = "/usr/share/ieee-data"
	stamp, err := os.ReadFile(filepath.Join(installed, ".lastupdate"))
	if err != nil {
		t.Skip("needs Debian's ieee-data; try: apt-get install ieee-data")
	}
	r, err := ouiRecipe("../../openwrt-package", 1)
	if err != nil {
		t.Fatal(err)
	}
	seconds, err := strconv.ParseInt(strings.TrimSpace(string(stamp)), 10, 64)
	if day := time.Unix(seconds, 0).UTC(); err != nil || fmt.Sprintf("%d.%d.%d-r1", day.Year(), day.Month(), day.Day()) != r.opkg {
		t.Skipf("the installed registry is of another day than %s; renew the table: make vendors", r.opkg)
	}
	out := filepath.Join(t.TempDir(), "oui")
	if text, err := exec.Command("go", "run", "../oui", "--in", installed, "--out", out).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, r.files[0].content) {
		t.Errorf("the committed table is not what the registry makes: %v", err)
	}
}
