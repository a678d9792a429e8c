package adb

import (
	"bytes"
	"compress/flate"
	"errors"
	"io/fs"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestReadSample(t *testing.T) {
	for _, name := range packageSamples() {
		got, err := sample(t, name).Package()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want := samplePackage(t, name)
		slices.Sort(want.Depends)
		want.Hash, want.InstalledSize = got.Hash, got.InstalledSize
		if !reflect.DeepEqual(got.Info, want.Info) || got.Scripts != want.Scripts {
			t.Errorf("%s: got %+v %+v, want %+v %+v", name, got.Info, got.Scripts, want.Info, want.Scripts)
		}
		if size := got.InstalledSize; size != 6 && size != 70210 {
			t.Errorf("%s: installed size %d, want 6 or 70210", name, size)
		}
		byPath := map[string]File{}
		for _, f := range got.Files {
			byPath[f.Path] = f
		}
		for _, w := range want.Files {
			g := byPath[w.Path]
			if g.Mode != w.Mode || !bytes.Equal(g.Content, w.Content) || g.Target != w.Target || g.User != "root" ||
				!w.Mode.IsDir() && !g.ModTime.Equal(w.ModTime) {
				t.Errorf("%s: %s: got %v %v, want %v %v", name, w.Path, g.Mode, g.ModTime, w.Mode, w.ModTime)
			}
		}
		if len(got.Files) != len(want.Files)+1 {
			t.Errorf("%s: got %d files, want %d and the root", name, len(got.Files), len(want.Files))
		}
	}
}

func TestReadIndex(t *testing.T) {
	x, err := sample(t, "packages.adb").Index()
	if err != nil {
		t.Fatal(err)
	}
	if len(x.Packages) != 2 {
		t.Fatalf("got %d packages, want 2", len(x.Packages))
	}
	p := x.Packages[0]
	if p.Name != "example-agent" || p.FileSize != 1439 || p.InstalledSize != 70210 || len(p.Hash) != 32 ||
		!slices.Equal(p.Depends, []string{"ca-bundle", "libc"}) || !slices.Equal(p.Provides, []string{"example-any=1.2.3-r1"}) {
		t.Errorf("got %+v", p)
	}
	if _, err := sample(t, "packages.adb").Package(); err == nil {
		t.Error("an index was taken for a package")
	}
	if _, err := sample(t, "minimal.apk").Index(); err == nil {
		t.Error("a package was taken for an index")
	}
}

// rich uses every field and every width of value.
func rich() *Package {
	at := time.Unix(1<<33, 0).UTC()
	return &Package{
		Info: Info{
			Name: "rich", Version: "2.0_rc3-r4", Arch: "noarch", Description: strings.Repeat("long ", 60), License: "MIT",
			RepoCommit: bytes.Repeat([]byte{7}, 20), BuildTime: 1 << 29, ProviderPriority: 9, Layer: 1,
			Depends:   []string{"z", "a>=1.2", "!c", "a<3", "a>=1.2", "so:libc.so.6", "f~1", "g=1"},
			Replaces:  []string{"old<2"},
			InstallIf: []string{"i=1-r1", "j"}, Recommends: []string{"r"}, Provides: []string{"cmd:rich=2.0_rc3-r4"},
		},
		Files: []File{
			{Path: "etc/b/deep/file", Mode: 0o640, User: "netpilot", Group: "adm", ModTime: at, Content: bytes.Repeat([]byte("x"), 70000)},
			{Path: "etc-a/f", Mode: 0o755 | fs.ModeSetuid | fs.ModeSticky, ModTime: at, Content: []byte("1")},
			{Path: "etc/b", Mode: 0o700 | fs.ModeDir | fs.ModeSetgid, User: "netpilot"},
			{Path: "etc/link", Mode: 0o777 | fs.ModeSymlink, ModTime: at, Target: "../" + strings.Repeat("t", 300)},
		},
		Scripts: Scripts{
			Trigger: "#!/bin/sh\n", PreInstall: "1", PostInstall: strings.Repeat("long\n", 20000),
			PreDeinstall: "2", PostDeinstall: "3", PreUpgrade: "4", PostUpgrade: "5",
		},
		Triggers:         []string{"/usr/lib/*"},
		ReplacesPriority: 1 << 40,
	}
}

func TestRoundTrip(t *testing.T) {
	p := rich()
	c, err := p.Container()
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	c, err = Parse(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Package()
	if err != nil {
		t.Fatal(err)
	}
	p.Hash, p.InstalledSize = got.Hash, 70001
	p.Depends = []string{"a>=1.2", "a<3", "!c", "f~1", "g=1", "so:libc.so.6", "z"}
	if !reflect.DeepEqual(got.Info, p.Info) || got.Scripts != p.Scripts || got.ReplacesPriority != p.ReplacesPriority {
		t.Errorf("got %+v, want %+v", got.Info, p.Info)
	}
	var paths []string
	for _, f := range got.Files {
		paths = append(paths, f.Mode.String()+" "+f.User+" "+f.Path)
	}
	want := []string{
		"drwxr-xr-x root .", "drwxr-xr-x root etc", "Lrwxrwxrwx root etc/link", "drwxr-xr-x root etc-a", "utrwxr-xr-x root etc-a/f",
		"dgrwx------ netpilot etc/b", "drwxr-xr-x root etc/b/deep", "-rw-r----- netpilot etc/b/deep/file",
	}
	if !slices.Equal(paths, want) {
		t.Errorf("got  %q\nwant %q", paths, want)
	}

	x, err := NewIndex("everything", []Entry{{c, 5}, {sample(t, "minimal.apk"), 290}})
	if err != nil {
		t.Fatal(err)
	}
	index, err := x.Index()
	if err != nil {
		t.Fatal(err)
	}
	if index.Description != "everything" || len(index.Packages) != 2 || index.Packages[0].Name != "hello" {
		t.Fatalf("got %+v", index)
	}
	p.Hash, p.FileSize = index.Packages[1].Hash, 5
	if !reflect.DeepEqual(index.Packages[1], p.Info) {
		t.Errorf("got %+v, want %+v", index.Packages[1], p.Info)
	}
	var dump bytes.Buffer
	if err := c.Dump(&dump); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"      mode: 02700\n", "  build-time: 536870912\n", "    - '!c'\n", "        target: (305 bytes)\n"} {
		if !strings.Contains(dump.String(), line) {
			t.Errorf("the dump has no %q", line)
		}
	}
}

func TestWithoutFiles(t *testing.T) {
	for _, files := range [][]File{nil, {}} {
		p := &Package{Info: Info{Name: "meta", Version: "1", Arch: "noarch"}, Files: files}
		c, err := p.Container()
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.Package()
		if err != nil {
			t.Fatal(err)
		}
		// apk mkpkg: without --files nothing, with an empty tree the root
		if files != nil && (len(got.Files) != 1 || got.InstalledSize != 1) {
			t.Errorf("empty tree: got %d files of %d bytes, want the root, 1", len(got.Files), got.InstalledSize)
		}
		if files == nil && (len(got.Files) != 0 || got.InstalledSize != 0) {
			t.Errorf("no tree: got %d files of %d bytes, want none", len(got.Files), got.InstalledSize)
		}
	}
}

func TestRefusedDescriptions(t *testing.T) {
	now := time.Unix(1, 0)
	for name, change := range map[string]func(*Package){
		"no name":         func(p *Package) { p.Name = "" },
		"name":            func(p *Package) { p.Name = "-x" },
		"name with slash": func(p *Package) { p.Name = "a/b" },
		"version":         func(p *Package) { p.Version = "1.2.3-1" },
		"no arch":         func(p *Package) { p.Arch = "" },
		"line end":        func(p *Package) { p.Description = "a\nb" },
		"dependency":      func(p *Package) { p.Depends = []string{"a b"} },
		"dep. version":    func(p *Package) { p.Depends = []string{"a=x"} },
		"tag":             func(p *Package) { p.Tags = []string{"a b"} },
		"trigger":         func(p *Package) { p.Triggers = []string{""} },
		"absolute":        func(p *Package) { p.Files = []File{{Path: "/a", ModTime: now}} },
		"upwards":         func(p *Package) { p.Files = []File{{Path: "../a", ModTime: now}} },
		"twice":           func(p *Package) { p.Files = []File{{Path: "a", ModTime: now}, {Path: "a", ModTime: now}} },
		"file as dir":     func(p *Package) { p.Files = []File{{Path: "a", ModTime: now}, {Path: "a/b", ModTime: now}} },
		"device":          func(p *Package) { p.Files = []File{{Path: "a", Mode: fs.ModeDevice, ModTime: now}} },
		"no time":         func(p *Package) { p.Files = []File{{Path: "a"}} },
		"no target":       func(p *Package) { p.Files = []File{{Path: "a", Mode: fs.ModeSymlink, ModTime: now}} },
		"target of file":  func(p *Package) { p.Files = []File{{Path: "a", Target: "b", ModTime: now}} },
		"full directory":  func(p *Package) { p.Files = []File{{Path: "a", Mode: fs.ModeDir, Content: []byte("x")}} },
		"deep":            func(p *Package) { p.Files = []File{{Path: strings.Repeat("a/", 70) + "a", ModTime: now}} },
	} {
		p := rich()
		change(p)
		if _, err := p.Container(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestRefusedIndexes(t *testing.T) {
	c := sample(t, "minimal.apk")
	for name, list := range map[string][]Entry{
		"twice":    {{c, 290}, {c, 290}},
		"no size":  {{c, 0}},
		"an index": {{sample(t, "packages.adb"), 1}},
	} {
		if _, err := NewIndex("", list); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestTooLarge(t *testing.T) {
	p := rich()
	p.Files[0].Content = make([]byte, MaxSize)
	c, err := p.Container()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Bytes(); err == nil {
		t.Error("a file over MaxSize was written")
	}
	var chunk bytes.Buffer
	w, err := flate.NewWriter(&chunk, flate.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	bomb := append([]byte("ADBd"), bytes.Repeat(chunk.Bytes(), MaxSize>>20+1)...)
	if _, err := Parse(bytes.NewReader(bomb)); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "more than") {
		t.Errorf("a file that inflates to more than MaxSize: got %v, want that it is too large", err)
	}
}

// A small block that refers to itself many times over must cost little.
func TestUnfoldingIsBounded(t *testing.T) {
	const many = 3000
	b := newBuilder()
	file := b.object([]value{0, b.blob("name"), b.object([]value{0, b.number(0o644), b.blob("root"), b.blob("root")})})
	files := b.object(append([]value{0}, slices.Repeat([]value{file}, many)...))
	dir := b.object([]value{0, b.blob("dir"), null, files})
	dirs := b.object(append([]value{0}, slices.Repeat([]value{dir}, many)...))
	block, err := b.finish(b.object([]value{0, null, dirs}))
	if err != nil {
		t.Fatal(err)
	}
	c := &Container{Schema: SchemaPackage, ADB: block}
	if _, err := c.Package(); !errors.Is(err, ErrFormat) {
		t.Errorf("Package: got %v, want ErrFormat", err)
	}
	var out bytes.Buffer
	if err := c.Dump(&out); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "unfolded") {
		t.Errorf("Dump: got %v, want ErrFormat", err)
	}
}
