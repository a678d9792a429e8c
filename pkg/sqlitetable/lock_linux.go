package sqlitetable

import (
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// The bytes SQLite locks, from os.h and wal.c. Those of the database file lie
// at 1 GiB whatever its size; those of the -shm file follow its header.
const (
	pendingByte  = 0x40000000
	reservedByte = pendingByte + 1
	sharedFirst  = pendingByte + 2
	sharedSize   = 510

	shmCheckpoint = 120 + 1     // held by who moves the log to the database
	shmReader     = 120 + 3 + 4 // the last reader's; held, the log is not begun anew
)

const (
	lockWait = 500 * time.Millisecond // a commit of a router's database is much shorter
	lockPoll = 5 * time.Millisecond
)

// lockShared keeps writers from changing the file until it is closed. locked is
// false where the system has no such locks.
//
// The locks belong to the open file (OFD), not to the process: they conflict
// with SQLite's and do not vanish when another descriptor is closed.
func lockShared(f *os.File) (locked bool, err error) {
	// A waiting writer holds the pending byte, so that readers leave it a turn.
	locked, err = lockRange(f, pendingByte, 1)
	if !locked {
		return false, err
	}
	locked, err = lockRange(f, sharedFirst, sharedSize)
	unlock := unix.Flock_t{Type: unix.F_UNLCK, Whence: io.SeekStart, Start: pendingByte, Len: 1}
	return locked, errors.Join(err, unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unlock))
}

// lockLog keeps checkpoints from moving pages of the log and writers from
// beginning it anew. Without a -shm file no one has the log open yet.
func lockLog(f *os.File) (locked bool, err error) {
	if f == nil {
		return false, nil
	}
	for _, at := range []int64{shmCheckpoint, shmReader} {
		if locked, err = lockRange(f, at, 1); !locked {
			return false, err
		}
	}
	return true, nil
}

// lockRange takes a read lock, waiting for lockWait at most.
func lockRange(f *os.File, start, length int64) (locked bool, err error) {
	deadline := time.Now().Add(lockWait)
	for {
		lock := unix.Flock_t{Type: unix.F_RDLCK, Whence: io.SeekStart, Start: start, Len: length}
		err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EACCES), errors.Is(err, unix.EINTR):
			if time.Now().After(deadline) {
				return false, &DataError{Kind: ErrLocked}
			}
			time.Sleep(lockPoll)
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.ENOLCK), errors.Is(err, unix.EOPNOTSUPP):
			return false, nil // Linux before 3.15, or a file system without locks
		default:
			return false, err
		}
	}
}

// writerAlive reports whether a writer has announced itself.
func writerAlive(f *os.File) bool {
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Start: reservedByte, Len: 1}
	err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lock)
	return err == nil && lock.Type != unix.F_UNLCK
}
