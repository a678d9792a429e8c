package adb

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// File is a directory, a regular file or a symbolic link of a package.
type File struct {
	Path    string      // "usr/sbin/hello", no leading slash; "." is the root
	Mode    fs.FileMode // fs.ModeDir, fs.ModeSymlink or neither, and the permissions
	User    string      // a name; "" is root
	Group   string
	ModTime time.Time // whole seconds, not before 1970; directories have none
	Content []byte    // of a regular file
	Target  string    // of a symbolic link, as it is
}

const (
	allModes     = fs.ModeDir | fs.ModeSymlink | fs.ModePerm | specialModes
	specialModes = fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky

	dirMode     = 0o755 // of directories that no one lists
	linkType    = 0o120000
	maxTarget   = 1022 // apk mkpkg reads no more
	maxFileName = 255
	maxPath     = 1023
	maxDirs     = 64 // one in another
)

// tree is the files by directory, both sorted by bytes, as apk wants them.
type tree struct{ dirs []*dir }

type dir struct {
	File
	files []File
}

// newTree sorts files into directories and adds those that are not listed:
// mode 0755, owner root. Without files there are no directories either.
func newTree(files []File) (*tree, error) {
	dirs := map[string]*dir{}
	add := func(name string) *dir {
		if dirs[name] == nil {
			dirs[name] = &dir{File: File{Path: name, Mode: fs.ModeDir | dirMode, User: "root", Group: "root"}}
		}
		return dirs[name]
	}
	seen, known := map[string]bool{}, map[string]bool{}
	for _, f := range files {
		f.User, f.Group = cmp.Or(f.User, "root"), cmp.Or(f.Group, "root")
		if err := f.check(); err != nil {
			return nil, err
		}
		if seen[f.Path] {
			return nil, fmt.Errorf("adb: %s is there twice", f.Path)
		}
		seen[f.Path] = true
		if f.Mode.IsDir() {
			add(f.Path).File = f
		} else {
			d := add(parent(f.Path))
			d.files = append(d.files, f)
		}
		for p := parent(f.Path); !known[p]; p = parent(p) {
			known[p] = true
			add(p)
		}
	}
	if files != nil {
		add(".")
	}
	t := &tree{dirs: slices.SortedFunc(maps.Values(dirs), func(a, b *dir) int { return cmp.Compare(a.name(), b.name()) })}
	for _, d := range t.dirs {
		for _, f := range d.files {
			if dirs[f.Path] != nil {
				return nil, fmt.Errorf("adb: %s is a file and a directory", f.Path)
			}
		}
		slices.SortFunc(d.files, func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
	}
	return t, nil
}

func parent(name string) string {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		return name[:i]
	}
	return "."
}

// name is the directory's path as written: the root has none.
func (d *dir) name() string {
	if d.Path == "." {
		return ""
	}
	return d.Path
}

func (f *File) check() error {
	link, dir := f.Mode&fs.ModeSymlink != 0, f.Mode.IsDir()
	switch {
	case !fs.ValidPath(f.Path), hasControl(f.Path), len(f.Path) > maxPath,
		strings.Count(f.Path, "/") > maxDirs, len(path.Base(f.Path)) > maxFileName:
		return fmt.Errorf("adb: bad path %q", f.Path)
	case f.Mode&^allModes != 0, link && dir, f.Path == "." && !dir:
		return fmt.Errorf("adb: %s: cannot pack a file of mode %v", f.Path, f.Mode)
	case hasControl(f.User), hasControl(f.Group):
		return fmt.Errorf("adb: %s: bad owner %q %q", f.Path, f.User, f.Group)
	case link && (f.Target == "" || len(f.Target) > maxTarget || strings.Contains(f.Target, "\x00")):
		return fmt.Errorf("adb: %s: bad target %q", f.Path, f.Target)
	case !link && f.Target != "", (link || dir) && len(f.Content) > 0:
		return fmt.Errorf("adb: %s: a file of mode %v with that content", f.Path, f.Mode)
	case !dir && f.ModTime.Unix() < 0:
		return fmt.Errorf("adb: %s: time %v is before 1970", f.Path, f.ModTime)
	}
	return nil
}

// tree writes the directories, not yet as an array, and returns the bytes of
// all regular files.
func (b *builder) tree(t *tree) (paths []value, size uint64) {
	paths = make([]value, 1)
	for _, d := range t.dirs {
		files := make([]value, 1)
		for _, f := range d.files {
			files = append(files, b.file(&f))
			size += uint64(len(f.Content))
		}
		slots := make([]value, dirSlots)
		slots[dirName] = b.blob(d.name())
		slots[dirACL] = b.acl(&d.File)
		slots[dirFiles] = b.object(files)
		paths = append(paths, b.object(slots))
	}
	return paths, size
}

func (b *builder) file(f *File) value {
	slots := make([]value, fileSlots)
	slots[fileName] = b.blob(path.Base(f.Path))
	length := len(f.Content)
	if f.Mode&fs.ModeSymlink != 0 {
		length = len(f.Target)
		target := binary.LittleEndian.AppendUint16(nil, linkType)
		slots[fileTarget] = b.blob(string(target) + f.Target)
	} else {
		sum := sha256.Sum256(f.Content)
		slots[fileHash] = b.blob(string(sum[:]))
	}
	slots[fileTime] = b.number(uint64(f.ModTime.Unix()))
	slots[fileSize] = b.number(uint64(length))
	slots[fileACL] = b.acl(f)
	return b.object(slots)
}

func (b *builder) acl(f *File) value {
	slots := make([]value, aclSlots)
	slots[aclMode] = b.number(unixMode(f.Mode))
	slots[aclUser] = b.blob(f.User)
	slots[aclGroup] = b.blob(f.Group)
	return b.object(slots)
}

// unixMode returns the permissions as numbered by Unix; those of a link are
// always all.
func unixMode(m fs.FileMode) uint64 {
	if m&fs.ModeSymlink != 0 {
		return 0o777
	}
	n := uint64(m.Perm())
	for bit, special := range map[uint64]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if m&special != 0 {
			n |= bit
		}
	}
	return n
}

func goMode(n uint64) fs.FileMode {
	m := fs.FileMode(n & 0o777)
	for bit, special := range map[uint64]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if n&bit != 0 {
			m |= special
		}
	}
	return m
}
