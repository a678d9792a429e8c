// Package faultfs is a file system in memory for the tests of agent/history:
// it knows what is durable and what only the page cache has, counts bytes,
// fails on request and has its power cut.
package faultfs

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/netpilot/netpilot/agent/history"
)

// ErrCut is what every operation gives once the power is off.
var ErrCut = errors.New("power is off")

// Op is one operation that a fault may hit.
type Op struct {
	Kind string // open, make, read, write, truncate, sync, close, remove, rename, syncdir, names, mkdir
	Name string
	N    int // bytes to write
}

// FS is the file system. Files below Volatile are gone after a power cut.
type FS struct {
	Volatile string

	mu      sync.Mutex
	fault   func(Op) (partial int, err error)
	cut     bool
	now     map[string]*inode
	durable map[string]*inode // entries that a SyncDir made sure of
	locks   map[string]bool
	written map[string]int64
}

type inode struct {
	data    []byte
	synced  []byte
	pending []change
}

// change is a write not yet synced, or with data nil a truncation.
type change struct {
	off  int64
	data []byte
}

// New is an empty file system.
func New(volatile string) *FS {
	return &FS{Volatile: volatile, now: map[string]*inode{}, durable: map[string]*inode{}, locks: map[string]bool{}, written: map[string]int64{}}
}

// Fault has f decide on each operation: an error makes it fail, after partial
// bytes if it is a write. nil ends that.
func (d *FS) Fault(f func(Op) (partial int, err error)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = f
}

// CutNow switches the power off: all that follows fails.
func (d *FS) CutNow() { d.cut = true }

// Written is the bytes written so far to files below dir.
func (d *FS) Written(dir string) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.written[dir]
}

// Size is the bytes of the files in dir whose name has a dot: segments.
func (d *FS) Size(dir string) (n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, i := range d.now {
		if filepath.Dir(name) == dir && strings.Contains(filepath.Base(name), ".") {
			n += int64(len(i.data))
		}
	}
	return n
}

// Files are the names in dir.
func (d *FS) Files(dir string) []string {
	names, _ := d.Names(dir)
	return names
}

// Bytes is a file's content, to be changed in place.
func (d *FS) Bytes(name string) []byte { return d.now[name].data }

// Set makes a file durable with the content.
func (d *FS) Set(name string, data []byte) {
	i := &inode{data: slices.Clone(data), synced: slices.Clone(data)}
	d.now[name], d.durable[name] = i, i
}

// Copy is an independent file system with the same content.
func (d *FS) Copy() *FS {
	c := New(d.Volatile)
	seen := map[*inode]*inode{}
	dup := func(m map[string]*inode) map[string]*inode {
		out := map[string]*inode{}
		for name, i := range m {
			if seen[i] == nil {
				seen[i] = &inode{data: slices.Clone(i.data), synced: slices.Clone(i.synced), pending: slices.Clone(i.pending)}
			}
			out[name] = seen[i]
		}
		return out
	}
	c.now, c.durable = dup(d.now), dup(d.durable)
	return c
}

// Kill ends the process: locks are free, files stay.
func (d *FS) Kill() {
	d.fault, d.cut, d.locks = nil, false, map[string]bool{}
}

const page = 64 // small, so that short files are torn too

// Reboot switches the power off and on: what was synced is there; of the rest
// each page and directory entry by chance, in no order.
func (d *FS) Reboot(r *rand.Rand) {
	d.Kill()
	now := map[string]*inode{}
	names := slices.Sorted(maps.Keys(d.now))
	for name := range d.durable {
		if _, ok := d.now[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		if strings.HasPrefix(name, d.Volatile) {
			continue
		}
		i := d.durable[name]
		if n := d.now[name]; n != i && r.IntN(2) == 0 {
			i = n
		}
		if i != nil {
			now[name] = i
		}
	}
	for _, name := range slices.Sorted(maps.Keys(now)) {
		i := now[name]
		data := slices.Clone(i.synced)
		for _, c := range i.pending {
			if c.data == nil {
				if r.IntN(2) == 0 {
					data = resize(data, c.off)
				}
				continue
			}
			for at := 0; at < len(c.data); at += page {
				if r.IntN(2) == 0 {
					part := c.data[at:min(at+page, len(c.data))]
					data = put(data, c.off+int64(at), part)
				}
			}
		}
		now[name] = &inode{data: data, synced: slices.Clone(data)}
	}
	d.now, d.durable = now, maps.Clone(now)
}

func resize(data []byte, size int64) []byte {
	if int64(len(data)) >= size {
		return data[:size]
	}
	return append(data, make([]byte, size-int64(len(data)))...)
}

func put(data []byte, off int64, part []byte) []byte {
	if end := off + int64(len(part)); int64(len(data)) < end {
		data = resize(data, end)
	}
	copy(data[off:], part)
	return data
}

func (d *FS) check(kind, name string, n int) (partial int, err error) {
	if d.cut {
		return 0, &fs.PathError{Op: kind, Path: name, Err: ErrCut}
	}
	if d.fault != nil {
		if partial, err = d.fault(Op{kind, name, n}); err != nil {
			return partial, &fs.PathError{Op: kind, Path: name, Err: err}
		}
	}
	return n, nil
}

// Open is history.FS.
func (d *FS) Open(name string, write bool) (history.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := d.now[name]
	kind := "open"
	if i == nil && write {
		kind = "make"
	}
	if _, err := d.check(kind, name, 0); err != nil {
		return nil, err
	}
	if i == nil {
		if !write {
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
		i = &inode{}
		d.now[name] = i
	}
	return &file{d, i, name}, nil
}

// Names is history.FS.
func (d *FS) Names(dir string) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.check("names", dir, 0); err != nil {
		return nil, err
	}
	var names []string
	for name := range d.now {
		if filepath.Dir(name) == dir {
			names = append(names, filepath.Base(name))
		}
	}
	slices.Sort(names)
	return names, nil
}

// MkdirAll is history.FS; every directory is there.
func (d *FS) MkdirAll(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, err := d.check("mkdir", dir, 0)
	return err
}

// Remove is history.FS.
func (d *FS) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.check("remove", name, 0); err != nil {
		return err
	}
	if d.now[name] == nil {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	delete(d.now, name)
	return nil
}

// Rename is history.FS.
func (d *FS) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.check("rename", from, 0); err != nil {
		return err
	}
	d.now[to] = d.now[from]
	delete(d.now, from)
	return nil
}

// SyncDir is history.FS.
func (d *FS) SyncDir(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.check("syncdir", dir, 0); err != nil {
		return err
	}
	maps.DeleteFunc(d.durable, func(name string, _ *inode) bool { return filepath.Dir(name) == dir })
	for name, i := range d.now {
		if filepath.Dir(name) == dir {
			d.durable[name] = i
		}
	}
	return nil
}

// Lock is history.FS.
func (d *FS) Lock(name string) (io.Closer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.locks[name] {
		return nil, history.ErrLocked
	}
	d.locks[name] = true
	return unlock{d, name}, nil
}

type unlock struct {
	d    *FS
	name string
}

func (u unlock) Close() error {
	u.d.mu.Lock()
	defer u.d.mu.Unlock()
	delete(u.d.locks, u.name)
	return nil
}

type file struct {
	d    *FS
	i    *inode
	name string
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if _, err := f.d.check("read", f.name, 0); err != nil {
		return 0, err
	}
	if off >= int64(len(f.i.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.i.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	n, err := f.d.check("write", f.name, len(p))
	n = min(n, len(p))
	f.i.data = put(f.i.data, off, p[:n])
	f.i.pending = append(f.i.pending, change{off, slices.Clone(p[:n])})
	f.d.written[filepath.Dir(f.name)] += int64(n)
	return n, err
}

func (f *file) Truncate(size int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if _, err := f.d.check("truncate", f.name, 0); err != nil {
		return err
	}
	f.i.data = resize(f.i.data, size)
	f.i.pending = append(f.i.pending, change{off: size})
	return nil
}

func (f *file) Sync() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if _, err := f.d.check("sync", f.name, 0); err != nil {
		return err
	}
	f.i.synced, f.i.pending = slices.Clone(f.i.data), nil
	return nil
}

func (f *file) Size() (int64, error) { return int64(len(f.i.data)), nil }

func (f *file) Close() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	_, err := f.d.check("close", f.name, 0)
	return err
}
