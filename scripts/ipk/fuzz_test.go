package ipk

import (
	"bytes"
	"io/fs"
	"reflect"
	"strings"
	"testing"
)

func FuzzParse(f *testing.F) {
	small := example()
	small.Files = small.Files[1:]
	small.Conffiles = nil
	f.Add(build(f, small))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse(bytes.NewReader(data))
		if err != nil {
			return
		}
		b, err := p.Bytes()
		if err != nil {
			return
		}
		again, err := Parse(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("cannot read what was written: %v", err)
		}
		p.InstalledSize = again.InstalledSize
		if !reflect.DeepEqual(p, again) {
			t.Errorf("got %+v, want %+v", again, p)
		}
	})
}

// FuzzTar gets behind the compression, which the search would not.
func FuzzTar(f *testing.F) {
	p := example()
	b, err := p.tar([]File{
		{Path: ".", Mode: fs.ModeDir | 0o755},
		{Path: "control", Content: []byte(strings.Replace(wantControl, "SIZE", "1", 1))},
		{Path: "link", Mode: fs.ModeSymlink, Target: "control"},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, data []byte) {
		p := &Package{}
		files, err := p.members(data)
		if err != nil {
			return
		}
		_ = p.readControl(files)
		sorted, err := tree(files)
		if err != nil {
			return
		}
		b, err := p.tar(sorted)
		if err != nil {
			t.Fatalf("cannot write what was read: %v", err)
		}
		again, err := new(Package).members(b)
		if err != nil || len(again) != len(sorted) {
			t.Fatalf("cannot read what was written: %v", err)
		}
	})
}

func FuzzPackages(f *testing.F) {
	f.Add([]byte(strings.Replace(strings.Replace(wantControl, "SIZE", "1", 1), "Description", "Filename: a\nSize: 1\nSHA256sum: "+strings.Repeat("0", 64)+"\nDescription", 1)))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := ParsePackages(data)
		if err != nil {
			return
		}
		text, err := Packages(entries)
		if err != nil {
			return
		}
		if again, err := ParsePackages(text); err != nil || len(again) != len(entries) {
			t.Errorf("got %d entries, %v; want %d", len(again), err, len(entries))
		}
	})
}
