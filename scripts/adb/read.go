package adb

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"
)

// reader decodes objects; after an error it returns zero values.
type reader struct {
	*db
	err error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: "+format, append([]any{ErrFormat}, args...)...)
	}
}

func (r *reader) keep(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *reader) object(v value, n int) []value {
	slots, err := r.slots(v)
	r.keep(err)
	return resize(slots, n)
}

// items returns the values of an array.
func (r *reader) items(v value) []value {
	slots, err := r.slots(v)
	r.keep(err)
	if len(slots) == 0 || r.err != nil {
		return nil
	}
	return slots[1:]
}

func (r *reader) text(v value) string {
	if r.err != nil {
		return ""
	}
	s, err := r.blob(v)
	r.keep(err)
	return s
}

func (r *reader) bytes(v value) []byte {
	if s := r.text(v); s != "" {
		return []byte(s)
	}
	return nil
}

func (r *reader) uint(v value) uint64 {
	if r.err != nil {
		return 0
	}
	n, err := r.number(v)
	r.keep(err)
	return n
}

func (r *reader) strings(v value) []string {
	var list []string
	for _, item := range r.items(v) {
		list = append(list, r.text(item))
	}
	return list
}

func (r *reader) dependencies(v value) []string {
	var list []string
	for _, item := range r.items(v) {
		dep, err := r.dependency(item)
		r.keep(err)
		list = append(list, dep.String())
	}
	return list
}

func (r *reader) info(v value) Info {
	s := r.object(v, infoSlots)
	return Info{
		Name: r.text(s[infoName]), Version: r.text(s[infoVersion]), Hash: r.bytes(s[infoHash]),
		Description: r.text(s[infoDescription]), Arch: r.text(s[infoArch]), License: r.text(s[infoLicense]),
		Origin: r.text(s[infoOrigin]), Maintainer: r.text(s[infoMaintainer]), URL: r.text(s[infoURL]),
		RepoCommit: r.bytes(s[infoRepoCommit]), BuildTime: r.uint(s[infoBuildTime]),
		InstalledSize: r.uint(s[infoInstalledSize]), FileSize: r.uint(s[infoFileSize]),
		ProviderPriority: r.uint(s[infoProviderPriority]),
		Depends:          r.dependencies(s[infoDepends]), Provides: r.dependencies(s[infoProvides]),
		Replaces: r.dependencies(s[infoReplaces]), InstallIf: r.dependencies(s[infoInstallIf]),
		Recommends: r.dependencies(s[infoRecommends]), Layer: r.uint(s[infoLayer]), Tags: r.strings(s[infoTags]),
	}
}

// Package reads the description and the files, and compares each file with its
// hash. It trusts no one: call Verify first where it matters who made the file.
func (c *Container) Package() (*Package, error) {
	if c.Schema != SchemaPackage {
		return nil, fmt.Errorf("%w: schema %q where a package was asked for", ErrFormat, c.Schema)
	}
	d, v, err := openDB(c.ADB)
	if err != nil {
		return nil, err
	}
	r := &reader{db: d}
	root := r.object(v, packageSlots)
	p := &Package{
		Info:             r.info(root[packageInfo]),
		Triggers:         r.strings(root[packageTriggers]),
		ReplacesPriority: r.uint(root[packageReplacesPriority]),
	}
	list := p.Scripts.list()
	scripts := r.object(root[packageScripts], len(list)+1)
	for i, s := range list {
		*s = r.text(scripts[i+1])
	}
	p.Files = r.files(root[packagePaths], c.Data)
	if r.err != nil {
		return nil, r.err
	}
	return p, nil
}

// files reads directories and what is in them; data are the blocks with the
// contents, which come in the same order.
func (r *reader) files(v value, data [][]byte) []File {
	var list []File
	for i, item := range r.items(v) {
		slots := r.object(item, dirSlots)
		d := File{Path: ".", Mode: fs.ModeDir}
		if name := r.text(slots[dirName]); name != "" {
			d.Path = name
		}
		r.acl(slots[dirACL], &d)
		list = append(list, d)
		for j, item := range r.items(slots[dirFiles]) {
			slots := r.object(item, fileSlots)
			name := r.text(slots[fileName])
			if r.err == nil && (!fs.ValidPath(name) || name == "." || strings.Contains(name, "/")) {
				r.fail("bad file name %q", name)
			}
			f := File{Path: path.Join(d.Path, name)}
			r.acl(slots[fileACL], &f)
			data = r.file(slots, &f, i+1, j+1, data)
			if list = append(list, f); r.err != nil {
				return nil
			}
		}
	}
	if len(data) > 0 {
		r.fail("%d blocks of data that are no file's", len(data))
	}
	if _, err := newTree(list); err != nil {
		r.fail("%v", err)
	}
	return list
}

func (r *reader) acl(v value, f *File) {
	slots := r.object(v, aclSlots)
	mode := r.uint(slots[aclMode])
	if mode > 0o7777 {
		r.fail("mode %o", mode)
	}
	f.Mode |= goMode(mode)
	f.User, f.Group = r.text(slots[aclUser]), r.text(slots[aclGroup])
	if slots[aclXattrs] != null {
		r.fail("extended attributes are not supported")
	}
}

// file reads one file or link; a file with contents takes a block off data.
func (r *reader) file(slots []value, f *File, dir, file int, data [][]byte) [][]byte {
	size, seconds := r.uint(slots[fileSize]), r.uint(slots[fileTime])
	if seconds > 1<<40 {
		r.fail("%q has time %d", f.Path, seconds)
	}
	f.ModTime = time.Unix(int64(seconds), 0).UTC()
	if target := r.text(slots[fileTarget]); target != "" {
		if len(target) < 3 || littleEndian(target[:2]) != linkType {
			r.fail("%q is neither a file nor a symbolic link", f.Path)
			return nil
		}
		f.Mode |= fs.ModeSymlink
		f.Target = target[2:]
		if size != uint64(len(f.Target)) {
			r.fail("%q has size %d, its target %d", f.Path, size, len(f.Target))
		}
		return data
	}
	if size > 0 {
		if len(data) == 0 || len(data[0]) < dataHeaderSize {
			r.fail("no data for %q", f.Path)
			return nil
		}
		head := data[0][:dataHeaderSize]
		f.Content = data[0][dataHeaderSize:]
		data = data[1:]
		if binary.LittleEndian.Uint32(head) != uint32(dir) || binary.LittleEndian.Uint32(head[4:]) != uint32(file) {
			r.fail("the data of %q is another file's", f.Path)
		}
	}
	sum := sha256.Sum256(f.Content)
	if hash := r.text(slots[fileHash]); r.err == nil && (size != uint64(len(f.Content)) || hash != string(sum[:])) {
		r.fail("%q is not what its hash says", f.Path)
	}
	return data
}
