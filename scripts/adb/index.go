package adb

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"
)

// Index is what packages.adb holds.
type Index struct {
	Description string
	NameSpec    string // where packages are, such as "${name}-${version}.apk"; "" is that
	Packages    []Info
}

// Entry is a package to be listed: its file, parsed, and the file's size in
// bytes.
type Entry struct {
	Package *Container
	Size    int64
}

// NewIndex lists packages as apk mkndx does, unsigned. An entry has the hash of
// the package's metadata, so packages may be signed before or after; Size is
// that of the file that is served.
func NewIndex(description string, packages []Entry) (*Container, error) {
	if hasControl(description) {
		return nil, fmt.Errorf("adb: control character in %q", description)
	}
	type item struct {
		info  Info
		value value
	}
	var items []item
	b := newBuilder()
	for _, e := range packages {
		p, err := e.Package.Package() // all of it: better here than on a router
		if err != nil {
			return nil, err
		}
		v, hash, err := b.entry(e)
		if err != nil {
			return nil, fmt.Errorf("adb: index %s: %w", p.Name, err)
		}
		p.Hash = hash
		items = append(items, item{p.Info, v})
	}
	slices.SortStableFunc(items, func(x, y item) int {
		return cmp.Or(cmp.Compare(x.info.Name, y.info.Name), CompareVersions(x.info.Version, y.info.Version),
			bytes.Compare(x.info.Hash, y.info.Hash))
	})
	list := make([]value, 1)
	for i, it := range items {
		if i > 0 && it.value == items[i-1].value {
			return nil, fmt.Errorf("adb: index: %s %s is there twice", it.info.Name, it.info.Version)
		}
		list = append(list, it.value)
	}
	root := make([]value, indexSlots)
	root[indexDescription] = b.blob(description)
	root[indexPackages] = b.object(list)
	block, err := b.finish(b.object(root))
	if err != nil {
		return nil, err
	}
	return &Container{Schema: SchemaIndex, ADB: block}, nil
}

// entry copies the description out of a package and adds size and hash.
func (b *builder) entry(e Entry) (value, []byte, error) {
	if e.Size <= 0 {
		return null, nil, fmt.Errorf("a file of %d bytes", e.Size)
	}
	d, v, err := openDB(e.Package.ADB)
	if err != nil {
		return null, nil, err
	}
	r := &reader{db: d}
	src := r.object(r.object(v, packageSlots)[packageInfo], infoSlots)
	if r.err != nil {
		return null, nil, r.err
	}
	slots := make([]value, infoSlots)
	for i, v := range src[1:] {
		slots[i+1] = b.copyFrom(d, v, 0)
	}
	sum := sha256.Sum256(e.Package.ADB)
	slots[infoFileSize] = b.number(uint64(e.Size))
	slots[infoHash] = b.blob(string(sum[:]))
	return b.object(slots), sum[:], b.err
}

// Index reads the list of packages. It trusts no one: call Verify first.
func (c *Container) Index() (*Index, error) {
	if c.Schema != SchemaIndex {
		return nil, fmt.Errorf("%w: schema %q where an index was asked for", ErrFormat, c.Schema)
	}
	d, v, err := openDB(c.ADB)
	if err != nil {
		return nil, err
	}
	r := &reader{db: d}
	root := r.object(v, indexSlots)
	x := &Index{Description: r.text(root[indexDescription]), NameSpec: r.text(root[indexNameSpec])}
	for _, item := range r.items(root[indexPackages]) {
		x.Packages = append(x.Packages, r.info(item))
		if r.err != nil {
			return nil, r.err
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	return x, nil
}
