package ipk

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func example() *Package {
	return &Package{
		Control: Control{
			Package: "example-agent", Version: "1.2.3~rc1-r1", Depends: []string{"libc", "ca-bundle"}, Section: "net",
			RequireUser: "example=5000:example=5000", License: "Apache-2.0", URL: "https://example.org/",
			Maintainer: "Example <e@example.org>", Architecture: "mipsel_24kc", Description: "Example agent\nfor tests",
		},
		Time: time.Unix(1767225600, 0).UTC(),
		Files: []File{
			{Path: "usr/sbin/example-agent", Mode: 0o755, Content: bytes.Repeat([]byte("x"), 70000)},
			{Path: "usr/sbin/example", Mode: fs.ModeSymlink | 0o777, Target: "example-agent"},
			{Path: "etc/netpilot", Mode: fs.ModeDir | 0o700},
			{Path: "etc/config/example", Mode: 0o600, Content: []byte("config\n")},
			{Path: "etc/a-b", Mode: 0o644},
			{Path: "etc/a/b", Mode: 0o644, Content: []byte("b")},
			{Path: "usr/share/" + strings.Repeat("long/", 30) + "name", Mode: 0o644, Content: []byte("l")},
		},
		Conffiles: []string{"/etc/config/example"},
		Scripts:   map[string]string{"postinst": "#!/bin/sh\nexit 0\n", "prerm": "#!/bin/sh\nexit 0\n", "postinst-pkg": "echo hello\n"},
	}
}

func build(t testing.TB, p *Package) []byte {
	t.Helper()
	b, err := p.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const wantControl = `Package: example-agent
Version: 1.2.3~rc1-r1
Depends: libc, ca-bundle
Section: net
Require-User: example=5000:example=5000
License: Apache-2.0
URL: https://example.org/
Maintainer: Example <e@example.org>
Architecture: mipsel_24kc
Installed-Size: SIZE
Description: Example agent
 for tests
`

func TestRoundTrip(t *testing.T) {
	p := example()
	b := build(t, p)
	if !bytes.Equal(b, build(t, example())) {
		t.Error("two writes differ")
	}
	got, err := Parse(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	p.InstalledSize = got.InstalledSize
	if !reflect.DeepEqual(got.Control, p.Control) || !reflect.DeepEqual(got.Scripts, p.Scripts) ||
		!slices.Equal(got.Conffiles, p.Conffiles) || !got.Time.Equal(p.Time) {
		t.Errorf("got %+v", got.Control)
	}
	for _, w := range p.Files {
		i := slices.IndexFunc(got.Files, func(f File) bool { return f.Path == w.Path })
		if i < 0 || !reflect.DeepEqual(got.Files[i], w) {
			t.Errorf("%s is missing or different", w.Path)
		}
	}
	if !bytes.Equal(build(t, got), b) {
		t.Error("what was read is written differently")
	}
	if name := p.FileName(); name != "example-agent_1.2.3~rc1-r1_mipsel_24kc.ipk" {
		t.Errorf("got file name %s", name)
	}
}

// members unpacks a tar.gz without the reader under test.
func members(t *testing.T, b []byte) (names []string, contents map[string][]byte) {
	t.Helper()
	if !bytes.Equal(b[:8], []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0}) {
		t.Errorf("gzip header %x has a name or a time", b[:10])
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	contents = map[string][]byte{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names, contents
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		if contents[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

func TestStructure(t *testing.T) {
	names, outer := members(t, build(t, example()))
	if want := []string{"./debian-binary", "./control.tar.gz", "./data.tar.gz"}; !slices.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
	if got := string(outer["./debian-binary"]); got != "2.0\n" {
		t.Errorf("debian-binary is %q", got)
	}
	names, control := members(t, outer["./control.tar.gz"])
	if want := []string{"./", "./conffiles", "./control", "./postinst", "./postinst-pkg", "./prerm"}; !slices.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
	z, err := gzip.NewReader(bytes.NewReader(outer["./data.tar.gz"]))
	if err != nil {
		t.Fatal(err)
	}
	installed, err := io.Copy(io.Discard, z)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Replace(wantControl, "SIZE", strconv.FormatInt(installed, 10), 1)
	if got := string(control["./control"]); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := string(control["./conffiles"]); got != "/etc/config/example\n" {
		t.Errorf("conffiles is %q", got)
	}
	names, _ = members(t, outer["./data.tar.gz"])
	if want := []string{"./", "./etc/", "./etc/a/", "./etc/a/b", "./etc/a-b", "./etc/config/", "./etc/config/example", "./etc/netpilot/", "./usr/"}; !slices.Equal(names[:9], want) {
		t.Errorf("got %q, want %q", names[:9], want)
	}
}

// GNU tar lists our data as it lists its own archive of the same tree, made
// with the options of OpenWrt's ipkg-build.
func TestTarAgrees(t *testing.T) {
	gnu, err := exec.LookPath("tar")
	if err != nil {
		t.Skip("tar is not installed")
	}
	if out, err := exec.Command(gnu, "--version").Output(); err != nil || !bytes.Contains(out, []byte("GNU tar")) {
		t.Skip("tar is not GNU tar")
	}
	p, dir := example(), t.TempDir()
	root := filepath.Join(dir, "root")
	files, err := tree(p.Files)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		name := filepath.Join(root, f.Path)
		switch {
		case f.Mode.IsDir():
			err = os.MkdirAll(name, 0o700)
		case f.Mode&fs.ModeSymlink != 0:
			err = os.Symlink(f.Target, name)
		default:
			err = os.WriteFile(name, f.Content, 0o600)
		}
		if err == nil && f.Mode&fs.ModeSymlink == 0 {
			err = os.Chmod(name, f.Mode.Perm())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(gnu, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("tar %q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	run("--format=gnu", "--numeric-owner", "--owner=0", "--group=0", "--sort=name", "--mtime=@1767225600", "-cpzf", "its.tar.gz", "-C", root, ".")
	if err := os.WriteFile(filepath.Join(dir, "our.ipk"), build(t, p), 0o600); err != nil {
		t.Fatal(err)
	}
	run("xzf", "our.ipk", "./data.tar.gz", "./control.tar.gz", "./debian-binary")
	if got, want := run("tvzf", "data.tar.gz"), run("tvzf", "its.tar.gz"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if list := run("tvzf", "our.ipk"); strings.Count(list, "-rw-r--r-- 0/0") != 3 {
		t.Errorf("got\n%s\nwant three files of 0/0", list)
	}
	if list := run("tvzf", "control.tar.gz"); strings.Count(list, "-rwxr-xr-x 0/0") != 3 || strings.Count(list, "-rw-r--r-- 0/0") != 2 {
		t.Errorf("got\n%s\nwant three scripts and two files of 0/0", list)
	}
}

func TestRefusedDescriptions(t *testing.T) {
	for name, change := range map[string]func(*Package){
		"no name":        func(p *Package) { p.Package = "" },
		"name":           func(p *Package) { p.Package = "a b" },
		"version":        func(p *Package) { p.Version = "1/2" },
		"no arch":        func(p *Package) { p.Architecture = "" },
		"line end":       func(p *Package) { p.License = "a\nEvil: b" },
		"empty line":     func(p *Package) { p.Description = "a\n\nPackage: b" },
		"dependency":     func(p *Package) { p.Depends = []string{"a, b"} },
		"no dependency":  func(p *Package) { p.Depends = []string{""} },
		"conffile":       func(p *Package) { p.Conffiles = []string{"/etc/none"} },
		"dir conffile":   func(p *Package) { p.Conffiles = []string{"/etc/netpilot"} },
		"script":         func(p *Package) { p.Scripts["config"] = "" },
		"no time":        func(p *Package) { p.Time = time.Time{} },
		"absolute":       func(p *Package) { p.Files = []File{{Path: "/a"}} },
		"upwards":        func(p *Package) { p.Files = []File{{Path: "../a"}} },
		"twice":          func(p *Package) { p.Files = append(p.Files, p.Files[0]) },
		"file as dir":    func(p *Package) { p.Files = append(p.Files, File{Path: "etc/a-b/c"}) },
		"setuid":         func(p *Package) { p.Files[0].Mode |= fs.ModeSetuid },
		"no target":      func(p *Package) { p.Files[1].Target = "" },
		"target of file": func(p *Package) { p.Files[0].Target = "x" },
		"too large":      func(p *Package) { p.Files[0].Content = make([]byte, MaxSize) },
	} {
		p := example()
		change(p)
		if _, err := p.Bytes(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestRefusedArchives(t *testing.T) {
	archive := func(headers ...tar.Header) []byte {
		t.Helper()
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range headers {
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		packed, err := pack(b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		return packed
	}
	at := time.Unix(1, 0)
	good := tar.Header{Format: tar.FormatGNU, Name: "./a", Typeflag: tar.TypeReg, Mode: 0o644, ModTime: at}
	if files, err := new(Package).untar(archive(good)); err != nil || len(files) != 1 {
		t.Fatalf("got %v, %v; want one file", files, err)
	}
	for name, change := range map[string]func(*tar.Header){
		"no dot":    func(h *tar.Header) { h.Name = "a" },
		"owner":     func(h *tar.Header) { h.Uid = 1 },
		"group":     func(h *tar.Header) { h.Gname = "adm" },
		"device":    func(h *tar.Header) { h.Typeflag = tar.TypeChar },
		"hard link": func(h *tar.Header) { h.Typeflag, h.Linkname = tar.TypeLink, "./b" },
		"setuid":    func(h *tar.Header) { h.Mode |= 0o4000 },
		"pax":       func(h *tar.Header) { h.Format = tar.FormatPAX },
		"time":      func(h *tar.Header) { h.ModTime = at.Add(time.Hour) },
		"no slash":  func(h *tar.Header) { h.Typeflag = tar.TypeDir },
	} {
		bad := good
		change(&bad)
		if _, err := new(Package).untar(archive(good, bad)); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: got %v, want ErrFormat", name, err)
		}
	}
	for name, b := range map[string][]byte{"empty": nil, "no gzip": []byte("2.0\n"), "no tar": archive()[:20], "another tar": archive(good)} {
		if _, err := Parse(bytes.NewReader(b)); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: got %v, want ErrFormat", name, err)
		}
	}
}

func TestIndex(t *testing.T) {
	second := example()
	second.Package, second.Architecture, second.Description = "another", "all", ""
	var entries []Entry
	for _, p := range []*Package{example(), second} {
		e, err := NewEntry(p.FileName(), build(t, p))
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
	text, err := Packages(entries)
	if err != nil {
		t.Fatal(err)
	}
	e := entries[0]
	if want := "Filename: " + e.Filename + "\nSize: " + strconv.FormatInt(e.Size, 10) + "\nSHA256sum: "; !strings.Contains(string(text), want) {
		t.Errorf("got\n%s\nwant in it\n%s", text, want)
	}
	if !strings.Contains(string(text), "SHA256sum: "+e.SHA256Sum+"\nDescription: Example agent\n for tests\n\n") {
		t.Errorf("got\n%s\nwant the description last", text)
	}
	got, err := ParsePackages(text)
	if err != nil {
		t.Fatal(err)
	}
	if want := []Entry{entries[1], entries[0]}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	packed, err := PackagesGz(text)
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(z); err != nil || !bytes.Equal(b, text) {
		t.Errorf("Packages.gz does not hold Packages: %v", err)
	}

	for name, list := range map[string][]Entry{
		"twice":     {e, e},
		"no hash":   {{Control: e.Control, Filename: "a", Size: 1}},
		"file name": {{Control: e.Control, Filename: "a b", Size: 1, SHA256Sum: e.SHA256Sum}},
	} {
		if _, err := Packages(list); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := NewEntry("x.ipk", []byte("x")); !errors.Is(err, ErrFormat) {
		t.Errorf("got %v, want ErrFormat", err)
	}
	for _, s := range []string{"x", "Package: a\nPackage: b", "Package: a\nVersion: 1\nArchitecture: all", strings.Repeat("A: b\n c\n", 1<<16)} {
		if _, err := ParsePackages([]byte(s)); !errors.Is(err, ErrFormat) {
			t.Errorf("%.30q: got %v, want ErrFormat", s, err)
		}
	}
}
