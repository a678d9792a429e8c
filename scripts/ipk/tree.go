package ipk

import (
	"cmp"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

const (
	allModes = fs.ModeDir | fs.ModeSymlink | fs.ModePerm
	maxPath  = 1023
	maxDirs  = 64 // one in another
)

// tree returns the files with all directories they are in, in the order of
// tar --sort=name: a directory, then what is in it, then its neighbour.
func tree(files []File) ([]File, error) {
	all := map[string]File{}
	for _, f := range files {
		if err := f.check(); err != nil {
			return nil, err
		}
		if _, ok := all[f.Path]; ok {
			return nil, fmt.Errorf("ipk: %s is there twice", f.Path)
		}
		all[f.Path] = f
	}
	list := slices.Clone(files)
	for _, f := range files {
		for p := path.Dir(f.Path); ; p = path.Dir(p) {
			dir, ok := all[p]
			if ok && !dir.Mode.IsDir() {
				return nil, fmt.Errorf("ipk: %s is a file and a directory", p)
			}
			if ok {
				break // its parents are there or will be
			}
			all[p] = File{Path: p, Mode: fs.ModeDir | 0o755}
			list = append(list, all[p])
			if p == "." {
				break
			}
		}
	}
	if _, ok := all["."]; !ok {
		list = append(list, File{Path: ".", Mode: fs.ModeDir | 0o755})
	}
	slices.SortFunc(list, func(a, b File) int { return cmp.Compare(sortKey(a.Path), sortKey(b.Path)) })
	return list, nil
}

// sortKey puts the slash before every other character.
func sortKey(p string) string {
	if p == "." {
		return ""
	}
	return strings.ReplaceAll(p, "/", "\x00")
}

func (f *File) check() error {
	link, dir := f.Mode&fs.ModeSymlink != 0, f.Mode.IsDir()
	switch {
	case !fs.ValidPath(f.Path), hasControl(f.Path), len(f.Path) > maxPath, strings.Count(f.Path, "/") > maxDirs:
		return fmt.Errorf("ipk: bad path %q", f.Path)
	case f.Mode&^allModes != 0, link && dir, f.Path == "." && !dir:
		return fmt.Errorf("ipk: %s: cannot pack a file of mode %v", f.Path, f.Mode)
	case link && (f.Target == "" || len(f.Target) > maxPath || hasControl(f.Target)):
		return fmt.Errorf("ipk: %s: bad target %q", f.Path, f.Target)
	case !link && f.Target != "", (link || dir) && len(f.Content) > 0:
		return fmt.Errorf("ipk: %s: a file of mode %v with that content", f.Path, f.Mode)
	}
	return nil
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f })
}
