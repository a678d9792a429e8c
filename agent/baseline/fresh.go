package baseline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
)

// Fresh makes nlbwmon begin its accounting period anew, the hard way: it is
// made to save, stopped, its file moved aside, and started. nlbwmon has no
// command for that. Whatever fails, everything is put back.
type Fresh struct {
	Dir      string                                           // nlbwmon's database directory
	Snapshot string                                           // its live snapshot
	Client   *nlbwmon.Client                                  // its control socket
	Service  func(ctx context.Context, action string) error   // stops or starts it
	Now      func() time.Time                                 // names the file that is kept
	Poll     func(ctx context.Context, done func() bool) bool // asks until done, or gives up
}

// freshWithin bounds the whole: procd gives a process that it stops 5 s.
const freshWithin = 60 * time.Second

// Begin does it and tells where the old period's files are kept. It goes on
// when ctx ends: half of it would be worse than a late answer.
func (f *Fresh) Begin(ctx context.Context) (kept []string, period nlbwmon.Period, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), freshWithin)
	defer cancel()
	header, err := f.Client.Dump(ctx, 0, nil, func(*usage.Record) {})
	if err != nil {
		return nil, 0, usage.Errorf(usage.Unavailable, "a fresh period needs a running nlbwmon: %w", err)
	}
	if err := f.save(ctx, header); err != nil {
		return nil, 0, err
	}
	if err := f.Service(ctx, "stop"); err != nil {
		return nil, 0, errors.Join(usage.Errorf(usage.Unavailable, "nlbwmon could not be stopped, nothing was changed: %w", err), f.Service(ctx, "start"))
	}
	moved, err := f.swap(ctx, header)
	if err != nil {
		return nil, 0, f.putBack(ctx, moved, err)
	}
	for _, m := range moved {
		kept = append(kept, m.to)
	}
	return kept, header.Period, nil
}

// save makes nlbwmon write its file now, where there is room: without any,
// stock nlbwmon dies of it or deletes the file it had (FORMAT.md section 1).
func (f *Fresh) save(ctx context.Context, h nlbwmon.Header) error {
	var room unix.Statfs_t
	if err := unix.Statfs(f.Dir, &room); err != nil {
		return usage.Errorf(usage.Unavailable, "nlbwmon's directory %s: %w", f.Dir, err)
	}
	if have := uint64(room.Bavail) * uint64(room.Bsize); have < uint64(2*h.Size()+64<<10) {
		return usage.Errorf(usage.Unavailable, "only %s are free in %s, too little to save nlbwmon's table; nothing was changed", usage.Bytes(have), f.Dir)
	}
	reply, err := f.Client.Commit(ctx)
	if err == nil && !strings.HasPrefix(reply, "0 ") {
		err = errors.New(reply)
	}
	if err != nil {
		return usage.Errorf(usage.Unavailable, "nlbwmon did not save its table, nothing was changed: %w", err)
	}
	return nil
}

// move is one file moved aside.
type move struct{ from, to string }

// swap is what happens while nlbwmon is down, and its start.
func (f *Fresh) swap(ctx context.Context, h nlbwmon.Header) (moved []move, err error) {
	if !f.gone(ctx) {
		return nil, errors.New("nlbwmon goes on running after its service was stopped")
	}
	if _, err := os.Lstat(f.Snapshot); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("nlbwmon left %s behind, so it was killed before it could save", f.Snapshot)
	}
	rows, err := f.whole(h.Period)
	if err != nil {
		return nil, fmt.Errorf("what nlbwmon saved: %w", err)
	}
	if rows == 0 && h.Entries > 0 {
		return nil, fmt.Errorf("nlbwmon saved no rows of %d", h.Entries)
	}
	stamp := f.Now().UTC().Format("20060102T150405Z")
	for _, suffix := range [...]string{".db", ".db.gz"} {
		from := filepath.Join(f.Dir, fmt.Sprintf("%d%s", uint32(h.Period), suffix))
		m := move{from, from + ".before-" + stamp} // a name that nlbwmon does not look for
		if _, err := os.Lstat(from); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if _, err := os.Lstat(m.to); !errors.Is(err, fs.ErrNotExist) {
			return moved, fmt.Errorf("%s is there already", m.to)
		}
		if err := os.Rename(m.from, m.to); err != nil {
			return moved, err
		}
		moved = append(moved, m)
	}
	if err := f.Service(ctx, "start"); err != nil {
		return moved, fmt.Errorf("nlbwmon does not start: %w", err)
	}
	var now nlbwmon.Header
	if !f.Poll(ctx, func() bool {
		now, err = f.Client.Dump(ctx, 0, nil, func(*usage.Record) {})
		return err == nil
	}) {
		return moved, fmt.Errorf("nlbwmon does not answer: %w", err)
	}
	if h.Entries > 0 && now.Entries >= h.Entries {
		return moved, fmt.Errorf("nlbwmon started with %d rows, as many as before", now.Entries)
	}
	return moved, nil
}

// gone waits until nlbwmon has ended, which its service does not.
func (f *Fresh) gone(ctx context.Context) bool {
	return f.Poll(ctx, func() bool {
		_, err := f.Client.List(ctx)
		return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist)
	})
}

// whole counts the rows of the period's file, which must not be damaged.
func (f *Fresh) whole(p nlbwmon.Period) (rows int, err error) {
	file, err := nlbwmon.OpenPeriod(f.Dir, p, f.Client.Order)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	return countRows(file)
}

// putBack undoes what was done until why.
func (f *Fresh) putBack(ctx context.Context, moved []move, why error) error {
	errs := []error{usage.Errorf(usage.Unavailable, "no fresh period, nlbwmon's numbers are as they were: %w", why)}
	if len(moved) > 0 {
		_ = f.Service(ctx, "stop") // it may not run
		_ = f.gone(ctx)
		_ = os.Remove(f.Snapshot) // of the seconds in between, lost like what it saves now: it would win over the file
		for _, m := range moved {
			if err := os.Rename(m.to, m.from); err != nil {
				errs = append(errs, fmt.Errorf("put it back by hand: mv %s %s: %w", m.to, m.from, err))
			}
		}
	}
	if err := f.Service(ctx, "start"); err != nil {
		errs = append(errs, fmt.Errorf("start it by hand: service nlbwmon start: %w", err))
	}
	return errors.Join(errs...)
}

func countRows(file *nlbwmon.File) (rows int, err error) {
	var rec usage.Record
	for {
		switch err := file.Next(&rec); err {
		case nil:
			rows++
		case io.EOF:
			return rows, nil
		default:
			return rows, err
		}
	}
}
