package sqlitetable

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// DB is an open database file. Its methods may be used by several goroutines,
// a Rows by one only.
type DB struct {
	file, walFile, shmFile *os.File // the latter two may be nil
	pager                  *pager
	tables                 []entry
	schemaErr              error // what ended the reading of the schema

	locked bool // no one can change what we read; otherwise it is checked
	before stamp
}

// Open opens an SQLite database for reading and locks it as a reader. It waits
// a moment for a writer and then returns ErrLocked.
//
// It returns ErrNotDatabase for another kind of file, an empty or an encrypted
// one, ErrHotJournal if a writer died and left its change half done, and
// ErrTruncated or ErrDamaged if not even the list of tables can be read.
func Open(path string) (*DB, error) {
	db, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("read SQLite database %s: %w", path, err)
	}
	return db, nil
}

func open(path string) (_ *DB, err error) {
	// SQLite keeps the companions beside the file, not beside a link to it.
	path, err = filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	db := &DB{}
	defer func() {
		if err != nil {
			_ = db.Close()
		}
	}()
	if db.file, err = openRegular(path); err != nil {
		return nil, err
	}
	if err := db.lockAndMap(path); err != nil {
		return nil, err
	}
	if err := db.pager.readHeader(); err != nil {
		return nil, err
	}
	db.schemaErr = db.readSchema()
	if db.schemaErr != nil && len(db.tables) == 0 {
		return nil, db.schemaErr
	}
	return db, nil
}

// lockAndMap takes the locks in SQLite's order, then looks what is there.
func (db *DB) lockAndMap(path string) error {
	header := make([]byte, headerSize)
	locked, err := lockShared(db.file)
	if err != nil {
		return err
	}
	n, err := db.file.ReadAt(header, 0)
	switch {
	case errors.Is(err, io.EOF) && n == 0:
		return &DataError{Kind: ErrNotDatabase, Detail: "the file is empty"}
	case errors.Is(err, io.EOF) && n < len(magic):
		return &DataError{Kind: ErrNotDatabase, Detail: fmt.Sprintf("it has %d bytes", n)}
	case err != nil && !errors.Is(err, io.EOF):
		return err
	}
	pageSize, err := pageSizeOf(header)
	if err != nil {
		return err
	}
	if err := db.checkJournal(path + "-journal"); err != nil {
		return err
	}
	if db.walFile, err = openOptional(path + "-wal"); err != nil {
		return err
	}
	if db.walFile != nil || header[19] == 2 {
		if db.shmFile, err = openOptional(path + "-shm"); err != nil {
			return err
		}
		shmLocked, err := lockLog(db.shmFile)
		if err != nil {
			return err
		}
		locked = locked && shmLocked
	}
	db.locked = locked
	if db.before, err = db.stamp(); err != nil {
		return err
	}
	db.pager = &pager{file: db.file, fileSize: db.before.size, pageSize: pageSize}
	if db.walFile != nil {
		db.pager.wal, err = readWAL(db.walFile, pageSize)
	}
	return err
}

// Close ends all walks and lets writers go on.
func (db *DB) Close() error {
	var err error
	for _, f := range []*os.File{db.shmFile, db.walFile, db.file} { // closing unlocks
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	return err
}

// journalMagic begins the header of a rollback journal (section 3).
var journalMagic = [8]byte{0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7}

// checkJournal refuses a database that is in the midst of a change. A journal
// whose writer is alive does not count: it has not touched the file yet and
// cannot while we hold our lock. Nor does one with an overwritten header or
// without records.
func (db *DB) checkJournal(path string) error {
	f, err := openOptional(path)
	if f == nil {
		return err
	}
	defer func() { _ = f.Close() }()
	var header [12]byte
	switch n, err := f.ReadAt(header[:], 0); {
	case n < len(header) && errors.Is(err, io.EOF):
		return nil
	case n < len(header):
		return fmt.Errorf("read rollback journal: %w", err)
	case [8]byte(header[:8]) != journalMagic || binary.BigEndian.Uint32(header[8:]) == 0:
		return nil
	case writerAlive(db.file):
		return nil
	}
	return &DataError{Kind: ErrHotJournal, Detail: filepath.Base(path) + " is left over"}
}

// stamp tells whether someone wrote, where locks are not to be had.
type stamp struct {
	size, walSize int64
	time, walTime time.Time
}

func (db *DB) stamp() (s stamp, err error) {
	info, err := db.file.Stat()
	if err != nil {
		return s, err
	}
	s.size, s.time = info.Size(), info.ModTime()
	if db.walFile != nil {
		if info, err = db.walFile.Stat(); err != nil {
			return s, err
		}
		s.walSize, s.walTime = info.Size(), info.ModTime()
	}
	return s, nil
}

// checkUnchanged is asked at the end of each walk.
func (db *DB) checkUnchanged() error {
	if db.locked {
		return nil
	}
	now, err := db.stamp()
	if err == nil && now != db.before {
		err = &DataError{Kind: ErrChanged}
	}
	return err
}

// openRegular refuses a pipe or device, which could block for ever.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &DataError{Kind: ErrNotDatabase, Detail: "it is no regular file"}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// openOptional returns nil if there is no such file.
func openOptional(path string) (*os.File, error) {
	f, err := openRegular(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return f, err
}
