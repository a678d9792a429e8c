package adb

import (
	"archive/tar"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"crypto/ecdsa"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The files of testdata were made by apk-tools 3.0.6 with SOURCE_DATE_EPOCH
// 1767225600 from the trees in trees.tar.gz:
//
//	apk mkpkg --files t1 or t2 --info ... --output NAME.apk
//	apk adbsign --allow-untrusted --sign-key KEY NAME-signed.apk
//	apk --keys-dir DIR mkndx --sign-key KEY --output packages.adb package-signed.apk minimal-signed.apk
//
// and X.adbdump.txt is what apk adbdump printed of X.

func testdata(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// loose is an inflated sample, by other code than the reader's.
func loose(t testing.TB, name string) []byte {
	t.Helper()
	b := testdata(t, name)
	if !bytes.HasPrefix(b, []byte("ADBd")) {
		return b
	}
	out, err := io.ReadAll(flate.NewReader(bytes.NewReader(b[4:])))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func sample(t testing.TB, name string) *Container {
	t.Helper()
	c, err := Parse(bytes.NewReader(testdata(t, name)))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return c
}

func sampleKey(t testing.TB) *ecdsa.PublicKey {
	t.Helper()
	key, err := ParsePublicKey(testdata(t, "key.pub.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sampleTree reads one of the trees that the samples were made of.
func sampleTree(t testing.TB, name string) []File {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(testdata(t, "trees.tar.gz")))
	if err != nil {
		t.Fatal(err)
	}
	var files []File
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		path, ok := strings.CutPrefix(h.Name, name+"/")
		if path == "" || !ok {
			continue
		}
		f := File{Path: strings.TrimSuffix(path, "/"), Mode: h.FileInfo().Mode(), ModTime: h.ModTime, Target: h.Linkname}
		if f.Mode&fs.ModeSymlink != 0 {
			f.Mode |= 0o777
		}
		if f.Content, err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
}

// samplePackage is the description a sample was made from.
func samplePackage(t testing.TB, name string) *Package {
	t.Helper()
	p := &Package{Info: Info{
		Name: "hello", Version: "1.0.0-r1", Arch: "noarch", Description: "a file", License: "Apache-2.0",
		Origin: "hello", URL: "https://example.org/", Maintainer: "Example <e@example.org>",
	}, Files: sampleTree(t, "t1")}
	switch {
	case name == "minimal-nocompress.apk":
		p.Origin, p.URL, p.Maintainer = "", "", ""
	case strings.HasPrefix(name, "package"):
		p.Files = sampleTree(t, "t2")
		p.Info = Info{
			Name: "example-agent", Version: "1.2.3-r1", Arch: "mipsel_24kc", Description: "Example agent for tests",
			License: "Apache-2.0", Depends: []string{"libc", "ca-bundle"},
		}
		if name == "package-deflate.apk" {
			break
		}
		p.Origin, p.URL, p.Maintainer = "feeds/example", "https://example.org/", "Example <e@example.org>"
		p.Provides, p.Tags = []string{"example-any=1.2.3-r1"}, []string{"openwrt:section=net"}
		p.Scripts = Scripts{
			PostInstall:  string(testdata(t, "post-install.sh")),
			PreDeinstall: string(testdata(t, "pre-deinstall.sh")),
			PostUpgrade:  string(testdata(t, "post-upgrade.sh")),
		}
	}
	return p
}

func packageSamples() []string {
	return []string{"minimal-nocompress.apk", "minimal.apk", "minimal-signed.apk", "package.apk", "package-deflate.apk", "package-signed.apk"}
}

func TestWriteGivesTheBytesOfApkTools(t *testing.T) {
	for _, name := range packageSamples() {
		t.Run(name, func(t *testing.T) {
			c, err := samplePackage(t, name).Container()
			if err != nil {
				t.Fatal(err)
			}
			c.Signatures = sample(t, name).Signatures // ECDSA takes a random number
			sameBytes(t, c, loose(t, name))
		})
	}
}

func TestIndexGivesTheBytesOfApkTools(t *testing.T) {
	var entries []Entry
	for _, name := range []string{"package-signed.apk", "minimal-signed.apk"} {
		entries = append(entries, Entry{sample(t, name), int64(len(testdata(t, name)))})
	}
	c, err := NewIndex("", entries)
	if err != nil {
		t.Fatal(err)
	}
	c.Signatures = sample(t, "packages.adb").Signatures
	sameBytes(t, c, loose(t, "packages.adb"))
}

func sameBytes(t *testing.T, c *Container, want []byte) {
	t.Helper()
	got, err := c.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		if i >= len(want) || got[i] != want[i] {
			t.Fatalf("byte %#x differs: got %x, want %x", i, got[i:min(i+32, len(got))], want[i:min(i+32, len(want))])
		}
	}
	if len(got) != len(want) {
		t.Fatalf("got %d bytes, want %d", len(got), len(want))
	}
}

func TestDumpIsThatOfApkTools(t *testing.T) {
	for name, dump := range map[string]string{
		"minimal-nocompress.apk": "minimal-nocompress.adbdump.txt",
		"minimal.apk":            "minimal.adbdump.txt",
		"package.apk":            "package.adbdump.txt",
		"package-deflate.apk":    "package-deflate.adbdump.txt",
		"package-signed.apk":     "package-signed.adbdump.txt",
		"packages.adb":           "packages.adb.adbdump.txt",
	} {
		t.Run(name, func(t *testing.T) {
			var got bytes.Buffer
			if err := sample(t, name).Dump(&got, sampleKey(t)); err != nil {
				t.Fatal(err)
			}
			if want := testdata(t, dump); !bytes.Equal(got.Bytes(), want) {
				t.Errorf("got\n%s\nwant\n%s", &got, want)
			}
		})
	}
}
