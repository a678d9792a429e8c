package ipk

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// Parse reads an ipk. It is stricter than opkg: what Bytes would not write, such
// as an owner that is not 0:0, a device, a path upwards, is refused. It does not
// tell who made the package; for that the feed's index is signed.
func Parse(r io.Reader) (*Package, error) {
	b, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read ipk: %w", err)
	}
	p := &Package{}
	outer, err := p.untar(b)
	if err != nil {
		return nil, err
	}
	if len(outer) != 3 || outer[0].Path != "debian-binary" || "./"+outer[1].Path != controlTar || "./"+outer[2].Path != dataTar {
		return nil, fmt.Errorf("%w: not debian-binary, control.tar.gz and data.tar.gz", ErrFormat)
	}
	if string(outer[0].Content) != debianBinary {
		return nil, fmt.Errorf("%w: version %q", ErrFormat, outer[0].Content)
	}
	control, err := p.untar(outer[1].Content)
	if err != nil {
		return nil, fmt.Errorf("control.tar.gz: %w", err)
	}
	if p.Files, err = p.untar(outer[2].Content); err != nil {
		return nil, fmt.Errorf("data.tar.gz: %w", err)
	}
	if err := p.readControl(control); err != nil {
		return nil, err
	}
	for _, list := range [][]File{control, p.Files} {
		sorted, err := tree(list)
		if err != nil {
			return nil, fmt.Errorf("%w: %v", ErrFormat, err)
		}
		if !slices.EqualFunc(sorted, list, func(a, b File) bool { return a.Path == b.Path }) {
			return nil, fmt.Errorf("%w: files out of order or without their directories", ErrFormat)
		}
	}
	return p, nil
}

func (p *Package) readControl(files []File) error {
	found := false
	for _, f := range files {
		switch {
		case f.Mode.IsDir() && f.Path == ".":
		case !f.Mode.IsRegular():
			return fmt.Errorf("%w: %q in control.tar.gz", ErrFormat, f.Path)
		case f.Path == "control":
			fields, err := parseFields(string(f.Content))
			if err != nil {
				return err
			}
			if p.Control, err = parseControl(fields); err != nil {
				return err
			}
			found = true
		case f.Path == "conffiles":
			p.Conffiles = strings.Fields(string(f.Content))
		case slices.Contains(ScriptNames(), f.Path):
			if f.Mode.Perm() != 0o755 {
				return fmt.Errorf("%w: script %s has mode %v", ErrFormat, f.Path, f.Mode)
			}
			if p.Scripts == nil {
				p.Scripts = map[string]string{}
			}
			p.Scripts[f.Path] = string(f.Content)
		default:
			return fmt.Errorf("%w: %q in control.tar.gz", ErrFormat, f.Path)
		}
	}
	if !found {
		return fmt.Errorf("%w: no control file", ErrFormat)
	}
	return nil
}

// untar inflates and unpacks one of the three archives. All of them must have
// the same time, which becomes that of p.
func (p *Package) untar(packed []byte) ([]File, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrFormat, err)
	}
	if z.Name != "" || z.Comment != "" || z.Extra != nil || !z.ModTime.IsZero() {
		return nil, fmt.Errorf("%w: gzip with a name or a time", ErrFormat)
	}
	b, err := io.ReadAll(io.LimitReader(z, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrFormat, err)
	}
	if len(b) > MaxSize || len(packed) > MaxSize {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrFormat, MaxSize)
	}
	return p.members(b)
}

// members unpacks a tar.
func (p *Package) members(b []byte) ([]File, error) {
	var files []File
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %v", ErrFormat, err)
		}
		f, err := p.file(h)
		if err != nil {
			return nil, err
		}
		if f.Content, err = io.ReadAll(r); err != nil {
			return nil, fmt.Errorf("%w: %s: %v", ErrFormat, f.Path, err)
		}
		if len(f.Content) == 0 {
			f.Content = nil
		}
		files = append(files, f)
	}
}

// file checks one header.
func (p *Package) file(h *tar.Header) (File, error) {
	f := File{Mode: fs.FileMode(h.Mode & 0o777), Target: h.Linkname}
	name := strings.TrimPrefix(h.Name, "./")
	bad := func(what string) (File, error) { return f, fmt.Errorf("%w: %q %s", ErrFormat, h.Name, what) }
	switch h.Typeflag {
	case tar.TypeReg:
	case tar.TypeSymlink:
		f.Mode |= fs.ModeSymlink
	case tar.TypeDir:
		f.Mode |= fs.ModeDir
		if name == "" {
			name = "./"
		}
		if !strings.HasSuffix(name, "/") {
			return bad("is a directory without a slash")
		}
		name = strings.TrimSuffix(name, "/")
	default:
		return bad("is no file, directory or symbolic link")
	}
	f.Path = name
	if p.Time.IsZero() {
		p.Time = h.ModTime.UTC()
	}
	switch {
	case !strings.HasPrefix(h.Name, "./"):
		return bad("does not begin with ./")
	case h.Format != tar.FormatGNU:
		return bad("is not in GNU format")
	case h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Gname != "":
		return bad("has an owner that is not 0:0")
	case h.Mode&^0o777 != 0 || h.Size > MaxSize:
		return bad(fmt.Sprintf("has mode %o, size %d", h.Mode, h.Size))
	case !h.ModTime.Equal(p.Time) || p.Time.Before(time.Unix(0, 0)):
		return bad("has another time than the rest")
	}
	return f, nil
}
