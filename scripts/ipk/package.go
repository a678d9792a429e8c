package ipk

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MaxSize is the largest package taken, in bytes, and the largest of the
// archives in it, inflated.
const MaxSize = 32 << 20

// File is a directory, a regular file or a symbolic link of a package.
type File struct {
	Path    string      // "usr/sbin/hello", no leading slash
	Mode    fs.FileMode // fs.ModeDir, fs.ModeSymlink or neither, and the permissions
	Content []byte      // of a regular file
	Target  string      // of a symbolic link
}

// Package is what an ipk holds.
type Package struct {
	Control
	Time      time.Time         // of everything in it; whole seconds, not before 1970
	Files     []File            // in any order; parents that are not listed are 0755
	Conffiles []string          // "/etc/config/hello": kept when edited; must be among Files
	Scripts   map[string]string // by name, see ScriptNames

	// Gzip compresses the archive with the files, which is nearly all of the
	// package, to one gzip member; nil: compress/gzip does.
	Gzip func([]byte) []byte
}

// ScriptNames are the scripts there can be. opkg runs the first four; OpenWrt's
// default_postinst and default_prerm, which postinst and prerm are expected to
// call, run the last two.
func ScriptNames() []string {
	return []string{"postinst", "postrm", "preinst", "prerm", "postinst-pkg", "prerm-pkg"}
}

const (
	debianBinary = "2.0\n"
	controlTar   = "./control.tar.gz"
	dataTar      = "./data.tar.gz"
)

// FileName is the name the package has in a feed.
func (c *Control) FileName() string {
	return c.Package + "_" + c.Version + "_" + c.Architecture + ".ipk"
}

// Bytes returns the ipk. InstalledSize of p is not used but computed, as
// OpenWrt does: the bytes of the tar with the files. p is not changed.
func (p *Package) Bytes() ([]byte, error) {
	if p.Time.Unix() < 0 {
		return nil, fmt.Errorf("ipk: time %v is before 1970", p.Time)
	}
	files, err := tree(p.Files)
	if err != nil {
		return nil, err
	}
	data, err := p.tar(files)
	if err != nil {
		return nil, err
	}
	meta, err := p.controlFiles(int64(len(data)))
	if err != nil {
		return nil, err
	}
	control, err := p.tar(meta)
	if err != nil {
		return nil, err
	}
	outer := []File{{Path: "debian-binary", Mode: 0o644, Content: []byte(debianBinary)}}
	gzip := pack
	if p.Gzip != nil {
		gzip = func(b []byte) ([]byte, error) { return p.Gzip(b), nil }
	}
	for _, part := range []struct {
		name string
		tar  []byte
		pack func([]byte) ([]byte, error)
	}{{controlTar, control, pack}, {dataTar, data, gzip}} {
		packed, err := part.pack(part.tar)
		if err != nil {
			return nil, err
		}
		outer = append(outer, File{Path: strings.TrimPrefix(part.name, "./"), Mode: 0o644, Content: packed})
	}
	b, err := p.tar(outer)
	if err != nil {
		return nil, err
	}
	return pack(b)
}

// controlFiles returns what goes into control.tar.gz.
func (p *Package) controlFiles(installed int64) ([]File, error) {
	c := p.Control
	c.InstalledSize = installed
	text, err := c.text("")
	if err != nil {
		return nil, err
	}
	files := []File{{Path: "control", Mode: 0o644, Content: []byte(text)}}
	for _, name := range p.Conffiles {
		i := slices.IndexFunc(p.Files, func(f File) bool { return "/"+f.Path == name })
		if i < 0 || !p.Files[i].Mode.IsRegular() {
			return nil, fmt.Errorf("ipk: conffile %q is no file of the package", name)
		}
	}
	if len(p.Conffiles) > 0 {
		list := slices.Sorted(slices.Values(p.Conffiles))
		files = append(files, File{Path: "conffiles", Mode: 0o644, Content: []byte(strings.Join(slices.Compact(list), "\n") + "\n")})
	}
	for name, script := range p.Scripts {
		if !slices.Contains(ScriptNames(), name) {
			return nil, fmt.Errorf("ipk: no script is called %q", name)
		}
		files = append(files, File{Path: name, Mode: 0o755, Content: []byte(script)})
	}
	return tree(files)
}

// tar writes files in the order given, each as "./path", in GNU format.
func (p *Package) tar(files []File) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range files {
		h := &tar.Header{
			Format: tar.FormatGNU, Name: "./" + f.Path, Size: int64(len(f.Content)), Linkname: f.Target,
			ModTime: p.Time.Truncate(time.Second), Mode: int64(f.Mode.Perm()), Typeflag: tar.TypeReg,
		}
		switch {
		case f.Path == ".":
			h.Name, h.Typeflag = "./", tar.TypeDir
		case f.Mode.IsDir():
			h.Name += "/"
			h.Typeflag = tar.TypeDir
		case f.Mode&fs.ModeSymlink != 0:
			h.Typeflag, h.Mode = tar.TypeSymlink, 0o777
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("ipk: %s: %w", f.Path, err)
		}
		if _, err := w.Write(f.Content); err != nil {
			return nil, fmt.Errorf("ipk: %s: %w", f.Path, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if buf.Len() > MaxSize {
		return nil, errors.New("ipk: more than " + strconv.Itoa(MaxSize) + " bytes")
	}
	return buf.Bytes(), nil
}

// pack is gzip -9n: no name, no time.
func pack(b []byte) ([]byte, error) {
	var buf bytes.Buffer
	w, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}
