package history

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/netpilot/netpilot/pkg/usage"
)

// FS is the little of a file system that the history needs, so that a test can
// count its bytes, fail it and cut its power. OS is the real one.
type FS interface {
	// Open opens a file for reading and, with write, for writing too; a file
	// that is missing is then made. Absence is fs.ErrNotExist.
	Open(name string, write bool) (File, error)
	// Names lists a directory's entries, sorted.
	Names(dir string) ([]string, error)
	MkdirAll(dir string) error
	Remove(name string) error
	Rename(from, to string) error
	// SyncDir makes what was made, renamed or removed in dir durable.
	SyncDir(dir string) error
	// Lock takes the file for this process alone until it is closed or the
	// process ends. A file taken by another one is ErrLocked.
	Lock(name string) (io.Closer, error)
}

// File is an open file. Offsets and sizes are in bytes.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Size() (int64, error)
	Truncate(size int64) error
	Sync() error
}

// ErrLocked is returned where another process uses the directory.
var ErrLocked = usage.Errorf(usage.Busy, "another netpilot-agent keeps its history there; try: service netpilot-agent status")

// OS is the router's own file system.
type OS struct{}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Open is os.OpenFile with mode 0600: what devices moved is private.
func (OS) Open(name string, write bool) (File, error) {
	flag := os.O_RDONLY
	if write {
		flag = os.O_RDWR | os.O_CREATE
	}
	f, err := os.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// Names is os.ReadDir without what the history has no use for.
func (OS) Names(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		if e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// MkdirAll is os.MkdirAll with mode 0700.
func (OS) MkdirAll(dir string) error { return os.MkdirAll(dir, 0o700) }

// Remove is os.Remove.
func (OS) Remove(name string) error { return os.Remove(name) }

// Rename is os.Rename.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// SyncDir is fsync of the directory. File systems that cannot, as some
// overlays, say EINVAL: they order their metadata themselves.
func (OS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}

// Lock is flock(2), which the kernel takes back from a process that died.
func (OS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, ErrLocked
	}
	return nil, &fs.PathError{Op: "flock", Path: name, Err: err}
}
