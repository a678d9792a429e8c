package nlbwmon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netpilot/netpilot/pkg/usage"
)

// lockPoll is how often a busy lock is tried again. flock cannot wait with a
// time limit, and an exchange takes some tens of milliseconds.
const lockPoll = 10 * time.Millisecond

// Lock makes the caller the router's one reader of nlbwmon, for a program that
// reads it by other means than this Client. It waits as long as an exchange
// may take; without a LockPath there is nothing to wait for.
func (c *Client) Lock(ctx context.Context) (unlock func(), err error) {
	timeout := c.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	return c.lock(ctx, time.Now().Add(timeout))
}

// lock explains what keeps the lock from being taken.
func (c *Client) lock(ctx context.Context, deadline time.Time) (unlock func(), err error) {
	if c.LockPath == "" {
		return func() {}, nil
	}
	unlock, err = lock(ctx, c.LockPath, deadline)
	switch {
	case err == nil:
		return unlock, nil
	case ctx.Err() != nil:
		return nil, usage.Errorf(usage.Timeout, "waiting for the turn at nlbwmon: given up: %w", err)
	case errors.Is(err, ErrLocked):
		return nil, usage.Errorf(usage.Unavailable, "another program is reading nlbwmon (lock %s); try again: %w", c.LockPath, err)
	}
	return nil, usage.Errorf(usage.Unavailable, "cannot take turns at nlbwmon; check the directory of %s: %w", c.LockPath, err)
}

// lock takes an exclusive flock on path, which is created and stays. It
// returns ErrLocked if another one holds it until the deadline.
func lock(ctx context.Context, path string, deadline time.Time) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make room for the lock file: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock file: %w", err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	ticker := time.NewTicker(lockPoll)
	defer ticker.Stop()
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return func() { _ = f.Close() }, nil // closing unlocks
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR):
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		select {
		case <-ticker.C:
		case <-timer.C:
			return nil, ErrLocked
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
