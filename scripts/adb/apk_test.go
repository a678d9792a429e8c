package adb

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// apkTools runs apk-tools 3 in a directory of its own.
type apkTools struct {
	t    *testing.T
	path string
	dir  string
}

func newApkTools(t *testing.T) *apkTools {
	t.Helper()
	path, err := exec.LookPath("apk")
	if err != nil {
		t.Skip("apk is not installed")
	}
	if out, err := exec.Command(path, "--version").Output(); err != nil || !bytes.HasPrefix(out, []byte("apk-tools 3.")) {
		t.Skipf("apk is not apk-tools 3: %s", out)
	}
	if os.Getuid() != 0 {
		t.Skip("apk keeps the owner of files: root only")
	}
	return &apkTools{t, path, t.TempDir()}
}

func (a *apkTools) try(args ...string) (string, error) {
	cmd := exec.Command(a.path, args...)
	cmd.Dir = a.dir
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1767225600", "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (a *apkTools) run(args ...string) string {
	a.t.Helper()
	out, err := a.try(args...)
	if err != nil {
		a.t.Fatalf("apk %q: %v\n%s", args, err, out)
	}
	return out
}

func (a *apkTools) write(name string, b []byte, mode fs.FileMode) {
	a.t.Helper()
	name = filepath.Join(a.dir, name)
	err := os.MkdirAll(filepath.Dir(name), 0o755)
	if err == nil {
		err = os.WriteFile(name, b, 0o600)
	}
	if err == nil {
		err = os.Chmod(name, mode)
	}
	if err != nil {
		a.t.Fatal(err)
	}
}

func (a *apkTools) read(name string) []byte {
	a.t.Helper()
	b, err := os.ReadFile(filepath.Join(a.dir, name))
	if err != nil {
		a.t.Fatal(err)
	}
	return b
}

// plain is rich with what a tree made by root can hold.
func plain() *Package {
	p := rich()
	for i := range p.Files {
		f := &p.Files[i]
		f.User, f.Group, f.ModTime = "root", "root", time.Unix(1767225600, 0)
	}
	p.Layer, p.Triggers = 0, []string{"/usr/lib/*", "/etc"}
	return p
}

func (a *apkTools) tree(files []File) {
	a.t.Helper()
	tree, err := newTree(files)
	if err != nil {
		a.t.Fatal(err)
	}
	for _, d := range tree.dirs {
		name := filepath.Join(a.dir, "root", d.Path)
		if err := os.MkdirAll(name, 0o755); err != nil {
			a.t.Fatal(err)
		}
		if err := os.Chmod(name, d.Mode&^fs.ModeDir); err != nil {
			a.t.Fatal(err)
		}
		for _, f := range d.files {
			if f.Mode&fs.ModeSymlink == 0 {
				a.write(filepath.Join("root", f.Path), f.Content, f.Mode)
			} else if err := os.Symlink(f.Target, filepath.Join(a.dir, "root", f.Path)); err != nil {
				a.t.Fatal(err)
			}
		}
	}
}

// apk mkpkg makes of the same description the same bytes, also where the
// samples do not go.
func TestApkMakesTheSame(t *testing.T) {
	a := newApkTools(t)
	p := plain()
	a.tree(p.Files)
	args := []string{"mkpkg", "--files", "root", "--compression", "none", "--output", "out.apk"}
	for name, v := range map[string]string{
		"name": p.Name, "version": p.Version, "arch": p.Arch, "description": p.Description, "license": p.License,
		"repo-commit": strings.Repeat("07", 20), "build-time": "536870912", "provider-priority": "9",
		"replaces-priority": "1099511627776", "depends": strings.Join(p.Depends, " "), "provides": strings.Join(p.Provides, " "),
		"replaces": strings.Join(p.Replaces, " "), "install-if": strings.Join(p.InstallIf, " "),
		"recommends": strings.Join(p.Recommends, " "),
	} {
		args = append(args, "--info", name+":"+v)
	}
	names := []string{"trigger", "pre-install", "post-install", "pre-deinstall", "post-deinstall", "pre-upgrade", "post-upgrade"}
	for i, s := range p.Scripts.list() {
		a.write(names[i], []byte(*s), 0o755)
		args = append(args, "--script", names[i]+":"+names[i])
	}
	for _, s := range p.Triggers {
		args = append(args, "--trigger", s)
	}
	a.run(args...)
	c, err := p.Container()
	if err != nil {
		t.Fatal(err)
	}
	sameBytes(t, c, a.read("out.apk"))

	var dump bytes.Buffer
	if err := c.Dump(&dump); err != nil {
		t.Fatal(err)
	}
	if want := a.run("adbdump", "out.apk"); dump.String() != want {
		t.Errorf("got\n%.3000s\nwant\n%.3000s", &dump, want)
	}
}

// What is written and signed here, apk lists, installs and refuses if it was
// changed.
func TestApkInstalls(t *testing.T) {
	a := newApkTools(t)
	private, public := newKey(t)
	key, err := ParsePrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	a.write("keys/our.pem", public, 0o644)
	var entries []Entry
	for _, p := range []*Package{
		{Info: Info{Name: "first", Version: "1.0-r1", Arch: "noarch", Depends: []string{"second>=2"}}, Files: sampleTree(t, "t2")},
		{Info: Info{Name: "second", Version: "2.0_rc1-r1", Arch: "noarch"}, Files: sampleTree(t, "t1")},
		{Info: Info{Name: "second", Version: "2.0-r1", Arch: "noarch"}, Files: sampleTree(t, "t1")},
	} {
		c, err := p.Container()
		if err == nil {
			err = c.Sign(key)
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := c.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		a.write("feed/"+p.Name+"-"+p.Version+".apk", b, 0o644)
		a.run("--keys-dir", a.dir+"/keys", "verify", "feed/"+p.Name+"-"+p.Version+".apk")
		entries = append(entries, Entry{c, int64(len(b))})
	}
	index, err := NewIndex("", entries)
	if err != nil {
		t.Fatal(err)
	}
	a.run("--keys-dir", a.dir+"/keys", "mkndx", "--compression", "none", "--output", "its.adb",
		"feed/first-1.0-r1.apk", "feed/second-2.0_rc1-r1.apk", "feed/second-2.0-r1.apk")
	sameBytes(t, index, a.read("its.adb"))
	if err := index.Sign(key); err != nil {
		t.Fatal(err)
	}
	b, err := index.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	a.write("feed/packages.adb", b, 0o644)

	install := func(root string, args ...string) (string, error) {
		return a.try(append([]string{"--root", a.dir + "/" + root, "--initdb", "--no-cache", "--keys-dir", a.dir + "/keys", "--repositories-file",
			"/dev/null", "--arch", "noarch", "--repository", a.dir + "/feed/packages.adb", "add"}, args...)...)
	}
	if out, err := install("good", "first"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, f := range sampleTree(t, "t2") {
		if f.Mode.IsRegular() && !bytes.Equal(a.read("good/"+f.Path), f.Content) {
			t.Errorf("%s was not installed as it is", f.Path)
		}
	}
	if out := a.run("--root", a.dir+"/good", "list", "--installed"); !strings.Contains(out, "second-2.0-r1 ") {
		t.Errorf("got %s, want the release, not its candidate", out)
	}

	const name = "feed/second-2.0-r1.apk"
	good := a.read(name)
	c, err := Parse(bytes.NewReader(good))
	if err != nil {
		t.Fatal(err)
	}
	c.Data[0][dataHeaderSize] ^= 1
	bad, err := c.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	a.write(name, bad, 0o644)
	if out, err := install("bad", "second"); err == nil {
		t.Errorf("a changed file was installed:\n%s", out)
	}
	if _, err := c.Package(); !errors.Is(err, ErrFormat) {
		t.Errorf("got %v, want ErrFormat", err)
	}
	a.write(name, good, 0o644)
	index.Signatures = nil
	if b, err = index.Compressed(); err != nil {
		t.Fatal(err)
	}
	a.write("feed/packages.adb", b, 0o644)
	if out, err := install("unsigned", "second"); err == nil {
		t.Errorf("an unsigned index was taken:\n%s", out)
	}
}
