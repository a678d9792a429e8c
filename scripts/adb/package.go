package adb

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// Info describes a package. Name, Version and Arch are needed to write one.
type Info struct {
	Name             string
	Version          string // see ValidVersion
	Hash             []byte // read: the package's unique ID; in an index SHA-256 of its metadata
	Description      string
	Arch             string // such as mipsel_24kc, or noarch
	License          string // SPDX
	Origin           string
	Maintainer       string // "Name <address>"
	URL              string
	RepoCommit       []byte
	BuildTime        uint64 // Unix seconds, 0 for none
	InstalledSize    uint64 // read: bytes of all regular files
	FileSize         uint64 // read, in an index: bytes of the .apk
	ProviderPriority uint64
	Depends          []string // "libc", "foo>=1.2"; apk keeps them sorted
	Provides         []string // "bar=1.2.3-r1"
	Replaces         []string
	InstallIf        []string
	Recommends       []string
	Layer            uint64
	Tags             []string // "openwrt:section=net"
}

// Scripts are the texts apk runs, with the arguments apk-package(5) tells.
type Scripts struct {
	Trigger       string
	PreInstall    string
	PostInstall   string
	PreDeinstall  string
	PostDeinstall string
	PreUpgrade    string
	PostUpgrade   string
}

// list returns the scripts in the order of their slots.
func (s *Scripts) list() []*string {
	return []*string{&s.Trigger, &s.PreInstall, &s.PostInstall, &s.PreDeinstall, &s.PostDeinstall, &s.PreUpgrade, &s.PostUpgrade}
}

// Package is what an .apk holds.
type Package struct {
	Info
	Files            []File // in any order; nil for a package without files
	Scripts          Scripts
	Triggers         []string // directories whose changes run Scripts.Trigger
	ReplacesPriority uint64
}

// uniqueIDSize is the length of a package's ID: so much of SHA-256 of the
// metadata, taken while the ID is still zero.
const uniqueIDSize = 20

// Container lays the package out as apk mkpkg does, unsigned. Hash,
// InstalledSize and FileSize of p are not used: the first two are computed, the
// third is for indexes. p is not changed; contents of files are copied.
func (p *Package) Container() (*Container, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	tree, err := newTree(p.Files)
	if err != nil {
		return nil, err
	}
	b := newBuilder()
	info := b.info(&p.Info)
	root := make([]value, packageSlots)
	root[packageReplacesPriority] = b.numberOrNull(p.ReplacesPriority)
	paths, size := b.tree(tree)
	if size == 0 && (p.Files != nil || p.Scripts != Scripts{}) {
		size = 1 // as apk mkpkg does: 0 would mean that nothing is installed
	}
	info[infoInstalledSize] = b.number(size)
	placeholder, typ, align := encodeBlob(strings.Repeat("\x00", uniqueIDSize))
	id := b.raw(placeholder, align) // never shared: it is changed below
	info[infoHash] = typ | value(id)
	root[packageInfo] = b.object(info)
	root[packagePaths] = b.object(paths)
	scripts := make([]value, 1)
	for _, s := range p.Scripts.list() {
		scripts = append(scripts, b.blob(*s))
	}
	root[packageScripts] = b.object(scripts)
	root[packageTriggers] = b.strings(p.Triggers)
	block, err := b.finish(b.object(root))
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(block)
	copy(block[id+1:], sum[:uniqueIDSize])
	return &Container{Schema: SchemaPackage, ADB: block, Data: tree.data()}, nil
}

// info writes all of a package's description but what the writer computes. The
// order of calls is that of the slots.
func (b *builder) info(i *Info) []value {
	slots := make([]value, infoSlots)
	slots[infoName] = b.blob(i.Name)
	slots[infoVersion] = b.blob(i.Version)
	slots[infoDescription] = b.blob(i.Description)
	slots[infoArch] = b.blob(i.Arch)
	slots[infoLicense] = b.blob(i.License)
	slots[infoOrigin] = b.blob(i.Origin)
	slots[infoMaintainer] = b.blob(i.Maintainer)
	slots[infoURL] = b.blob(i.URL)
	slots[infoRepoCommit] = b.blob(string(i.RepoCommit))
	slots[infoBuildTime] = b.numberOrNull(i.BuildTime)
	slots[infoProviderPriority] = b.numberOrNull(i.ProviderPriority)
	slots[infoDepends] = b.dependencies(i.Depends)
	slots[infoProvides] = b.dependencies(i.Provides)
	slots[infoReplaces] = b.dependencies(i.Replaces)
	slots[infoInstallIf] = b.dependencies(i.InstallIf)
	slots[infoRecommends] = b.dependencies(i.Recommends)
	slots[infoLayer] = b.numberOrNull(i.Layer)
	slots[infoTags] = b.strings(i.Tags)
	return slots
}

func (b *builder) strings(list []string) value {
	slots := make([]value, 1, len(list)+1)
	for _, s := range list {
		if v := b.blob(s); v != null {
			slots = append(slots, v)
		}
	}
	return b.object(slots)
}

// check refuses what apk mkpkg refuses, and line ends and other control
// characters: apk's record of installed packages is a text of lines.
func (p *Package) check() error {
	switch name, rest := span(p.Name, nameChars); {
	case name == "" || rest != "" || strings.Contains("+-._", name[:1]):
		return fmt.Errorf("adb: bad package name %q", p.Name)
	case !ValidVersion(p.Version):
		return fmt.Errorf("adb: %q is no version apk takes; 1.2.3-r1 and 1.2.3_rc1-r1 are", p.Version)
	case p.Arch == "":
		return errors.New("adb: a package needs an architecture")
	}
	for _, s := range []string{p.Description, p.Arch, p.License, p.Origin, p.Maintainer, p.URL} {
		if hasControl(s) {
			return fmt.Errorf("adb: control character in %q", s)
		}
	}
	for _, s := range p.Tags {
		if tag, rest := span(s, nameChars+",:=/[]"); tag == "" || rest != "" {
			return fmt.Errorf("adb: bad tag %q", s)
		}
	}
	for _, s := range p.Triggers {
		if s == "" || hasControl(s) {
			return fmt.Errorf("adb: bad trigger %q", s)
		}
	}
	return nil
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f })
}

// dataHeaderSize precedes the contents in a data block: which directory and
// which file in it, both counted from 1.
const dataHeaderSize = 8

// data returns the data blocks: the files that have contents, in order.
func (t *tree) data() [][]byte {
	var list [][]byte
	for i, d := range t.dirs {
		for j, f := range d.files {
			if len(f.Content) == 0 {
				continue
			}
			p := make([]byte, 0, dataHeaderSize+len(f.Content))
			p = binary.LittleEndian.AppendUint32(p, uint32(i+1))
			p = binary.LittleEndian.AppendUint32(p, uint32(j+1))
			list = append(list, append(p, f.Content...))
		}
	}
	return list
}
