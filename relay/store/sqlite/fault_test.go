package sqlite

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/store"
	"github.com/netpilot/netpilot/relay/store/storetest"
)

// pusher is a router that pushes bucket after bucket.
type pusher struct {
	t      *testing.T
	db     *DB
	cursor uint64
}

func newPusher(t *testing.T, db *DB) *pusher {
	t.Helper()
	_, token := store.NewSecret(store.TokenPrefix)
	_, secret := store.NewSecret(store.RouterPrefix)
	now := time.Now()
	err := errors.Join(db.CreateToken(t.Context(), store.Token{CreatedAt: now, ExpiresAt: now.Add(time.Hour)}, token),
		db.Redeem(t.Context(), token, store.Router{ID: storetest.RouterID(1)}, secret, now))
	if err != nil {
		t.Fatal(err)
	}
	return &pusher{t: t, db: db}
}

func at(n uint64) time.Time {
	return time.Unix(1_795_000_200, 0).Add(time.Duration(n) * usage.FiveMinutes)
}

// push pushes n buckets, each with some devices.
func (p *pusher) push(n uint64) error {
	push := store.Push{Router: storetest.RouterID(1), At: time.Now(), After: p.cursor, Cursor: p.cursor + n}
	for i := range n {
		b := storetest.Bucket(at(p.cursor+i), usage.FiveMinutes, 1, p.cursor+i+1)
		for k := byte(2); k < 40; k++ {
			b.Devices = append(b.Devices, usage.DeviceSum{MAC: usage.MAC{2, 0, 0, 0, 0, k}, Counters: b.Devices[0].Counters})
		}
		push.Buckets = append(push.Buckets, b)
	}
	cursor, err := p.db.Push(p.t.Context(), &push)
	if err == nil {
		p.cursor = cursor
	}
	return err
}

// check finds every acknowledged bucket, once.
func (p *pusher) check() {
	p.t.Helper()
	n := uint64(0)
	mac := usage.MAC{2, 0, 0, 0, 0, 1}
	query := store.HistoryQuery{Range: usage.Range{From: at(0), To: at(1 << 20)}, MAC: &mac}
	info, err := p.db.History(p.t.Context(), storetest.RouterID(1), query, func(s usage.Slot) error {
		if n++; s.RxBytes != n || !s.Start.Equal(at(n-1)) {
			p.t.Errorf("slot %d is %+v", n, s)
		}
		return nil
	})
	if err != nil || n != p.cursor || info.Cursor != p.cursor {
		p.t.Errorf("%d buckets are kept up to cursor %d, %d were acknowledged: %v", n, info.Cursor, p.cursor, err)
	}
}

// TestDiskFull: a full disk is a clear error, what was acknowledged can be
// read meanwhile, and with room again it goes on.
func TestDiskFull(t *testing.T) {
	for name, test := range map[string]func(t *testing.T) (db *DB, fill, free func()){
		// SQLite answers as on a full disk when a file may not grow.
		"simulated": func(t *testing.T) (*DB, func(), func()) {
			db := mustOpen(t, filepath.Join(t.TempDir(), "relay.db"))
			limit := func(pages string) {
				if _, err := db.write.Exec("PRAGMA max_page_count = " + pages); err != nil {
					t.Fatal(err)
				}
			}
			return db, func() { limit("1") }, func() { limit("100000") } // 1: no more than there are
		},
		"real": func(t *testing.T) (*DB, func(), func()) {
			dir := t.TempDir()
			if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
				t.Skipf("a file system that is small wants root: %v", err)
			}
			t.Cleanup(func() {
				if err := unix.Unmount(dir, 0); err != nil {
					t.Error(err)
				}
			})
			ballast := filepath.Join(dir, "ballast")
			return mustOpen(t, filepath.Join(dir, "relay.db")), func() {
					err := os.WriteFile(ballast, bytes.Repeat([]byte("x"), 4<<20), 0o600)
					if !errors.Is(err, unix.ENOSPC) {
						t.Fatalf("the file system does not fill up: %v", err)
					}
				}, func() {
					if err := os.Remove(ballast); err != nil {
						t.Fatal(err)
					}
				}
		},
	} {
		t.Run(name, func(t *testing.T) {
			db, fill, free := test(t)
			defer func() {
				if err := db.Close(); err != nil {
					t.Error(err)
				}
			}()
			p := newPusher(t, db)
			if err := p.push(10); err != nil {
				t.Fatal(err)
			}
			fill()
			var err error
			for range 1000 { // into what room its files still have
				if err = p.push(10); err != nil {
					break
				}
			}
			if err == nil || !strings.Contains(err.Error(), "disk is full; make room") {
				t.Errorf("full: got %v, want the next step", err)
			}
			p.check()
			free()
			if err := p.push(10); err != nil {
				t.Errorf("with room again: %v", err)
			}
			p.check()
			if err := db.Check(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestLocked: another program that holds the database costs writing a clear
// error after a while, reading nothing, and it goes on by itself.
func TestLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "relay.db")
	db, other := mustOpen(t, path), mustOpen(t, path)
	defer db.Close()
	defer other.Close()
	p := newPusher(t, db)
	if err := p.push(3); err != nil {
		t.Fatal(err)
	}
	if _, err := db.write.Exec("PRAGMA busy_timeout = 20"); err != nil { // ms; else 5 s
		t.Fatal(err)
	}
	tx, err := other.write.Begin() // takes the lock at once
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := p.push(1); err == nil || !strings.Contains(err.Error(), "holds the relay's database locked; end it") {
			t.Errorf("got %v, want the next step", err)
		}
	}
	p.check()
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := p.push(2); err != nil {
		t.Errorf("after the lock: %v", err)
	}
	p.check()
}

// TestDamagedHistory: a bucket that cannot be read is told as damage, and
// other routers' histories are answered.
func TestDamagedHistory(t *testing.T) {
	db := mustOpen(t, filepath.Join(t.TempDir(), "relay.db"))
	defer db.Close()
	p := newPusher(t, db)
	if err := p.push(3); err != nil {
		t.Fatal(err)
	}
	for _, data := range [][]byte{nil, {9}, {1, 255}, bytes.Repeat([]byte{255}, 40)} {
		if _, err := db.write.Exec("UPDATE buckets SET data = ? WHERE start = ?", append([]byte{}, data...), at(1).Unix()); err != nil {
			t.Fatal(err)
		}
		_, err := db.History(t.Context(), storetest.RouterID(1), store.HistoryQuery{Range: usage.Range{From: at(0), To: at(9)}, By: store.Device},
			func(usage.Slot) error { return nil })
		if err == nil || !strings.Contains(err.Error(), "restore it from a backup") {
			t.Errorf("bucket % x: got %v, want the damage and the next step", data, err)
		}
	}
}

// TestRelayClockSteps: the relay's clock, set back and ahead, loses nothing.
func TestRelayClockSteps(t *testing.T) {
	db := mustOpen(t, filepath.Join(t.TempDir(), "relay.db"))
	defer db.Close()
	p := newPusher(t, db)
	var newest time.Time
	for i, step := range []time.Duration{0, -30 * usage.Day, 20 * 366 * usage.Day, time.Hour} {
		now := time.UnixMilli(1_795_000_000_000).Add(step)
		if now.After(newest) {
			newest = now
		}
		push := store.Push{Router: storetest.RouterID(1), At: now, After: p.cursor, Cursor: p.cursor + 1, AsOf: at(p.cursor + 1), Open: []usage.Bucket{},
			Buckets: []usage.Bucket{storetest.Bucket(at(p.cursor), usage.FiveMinutes, 1, p.cursor+1)}, Counting: fmt.Appendf(nil, `{"ok":true,"n":%d}`, i)}
		var err error
		if p.cursor, err = db.Push(t.Context(), &push); err != nil || p.cursor != push.Cursor {
			t.Fatalf("got %d, %v", p.cursor, err)
		}
		if err := db.Tidy(t.Context(), now); err != nil {
			t.Fatal(err)
		}
		p.check()
		held, err := db.Replica(t.Context(), storetest.RouterID(1))
		if err != nil || !held.PushedAt.Equal(newest) || string(held.Counting) != string(push.Counting) {
			t.Errorf("step %v: got %+v, %v", step, held, err)
		}
	}
}
