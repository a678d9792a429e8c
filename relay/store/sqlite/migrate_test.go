package sqlite

import (
	"database/sql"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/store"
	"github.com/netpilot/netpilot/relay/store/storetest"
)

// A database from before goose, as the program of that time wrote it, keeps
// all it has, and that program refuses it from then on.
func TestMigrateUserVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "relay.db")
	script, err := os.ReadFile("testdata/user_version_1.sql")
	if err != nil {
		t.Fatal(err)
	}
	old, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := old.Exec(string(script)); err != nil {
		t.Fatal(err)
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		db := mustOpen(t, path)
		r, _, err := db.RouterBySecret(t.Context(), store.HashOf("secret"), time.Now())
		if err != nil || r.Name != "old" || r.ID != storetest.RouterID(1) {
			t.Errorf("the router: got %+v, %v", r, err)
		}
		if k, err := db.KeyByHash(t.Context(), store.HashOf("key"), time.Now()); err != nil || k.Name != "backend" || k.Scope != store.ScopeRead || k.Routers != nil {
			t.Errorf("the key: got %+v, %v", k, err)
		}
		var version int
		if err := db.read.QueryRow("PRAGMA user_version").Scan(&version); err != nil || version <= 1 {
			t.Errorf("got user_version %d, %v, want one that an older program refuses", version, err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Programs that start together on one new file all get their tables.
func TestMigrateTogether(t *testing.T) {
	path := filepath.Join(t.TempDir(), "relay.db")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			db, err := Open(t.Context(), path)
			if err != nil {
				t.Errorf("Open: %v", err)
				return
			}
			defer db.Close()
			if _, _, err := db.Routers(t.Context(), store.RouterQuery{}); err != nil {
				t.Errorf("Routers: %v", err)
			}
		})
	}
	wg.Wait()
}

// A step that fails for another reason says which one and leaves nothing half done.
func TestMigrateFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "relay.db")
	old, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := old.Exec("CREATE VIEW keys_name AS SELECT 1"); err != nil { // the name of an index
		t.Fatal(err)
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), path); err == nil || !strings.Contains(err.Error(), "0001") {
		t.Errorf("got %v, want an error that names the step", err)
	}
	old, err = sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	var tables int
	if err := old.QueryRow("SELECT count(*) FROM sqlite_schema WHERE name = 'routers'").Scan(&tables); err != nil || tables != 0 {
		t.Errorf("got %d tables of the failed step, %v", tables, err)
	}
}

// A history in the table of before keeps every bucket and its place.
func TestMigrateBuckets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "relay.db")
	raw, err := open(path, 1, url.Values{"_txlock": {"immediate"}})
	if err != nil {
		t.Fatal(err)
	}
	steps, err := fs.Sub(migrations, "migration")
	if err != nil {
		t.Fatal(err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, raw, steps, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(t.Context(), 23); err != nil {
		t.Fatal(err)
	}
	var old string
	if err := raw.QueryRow("SELECT sql FROM sqlite_schema WHERE name = 'buckets'").Scan(&old); err != nil || !strings.Contains(old, "WITHOUT ROWID") {
		t.Fatalf("the table of before: %s, %v", old, err)
	}
	const routers, buckets = 7, 300
	for r := range routers {
		if _, err := raw.Exec(`INSERT INTO routers (id, name, model, agent_version, secret_hash, revision, enrolled_at) VALUES (?, '', '', '', ?, ?, 1)`,
			storetest.RouterID(r), []byte{byte(r)}, r); err != nil {
			t.Fatal(err)
		}
		if _, err := raw.Exec("INSERT INTO replicas (number, router, cursor, tail) VALUES (?, ?, ?, ?)", r+1, storetest.RouterID(r), buckets, at(buckets).Unix()); err != nil {
			t.Fatal(err)
		}
		for n := range uint64(buckets) {
			b := storetest.Bucket(at(n), usage.FiveMinutes, byte(n%5), uint64(r)*1000+n)
			for k := range byte(n % 90) { // some in their cell, some spilled
				b.Devices = append(b.Devices, usage.DeviceSum{MAC: usage.MAC{4, k}, Counters: usage.Counters{RxBytes: 1 << 40, TxBytes: n}})
			}
			if _, err := raw.Exec("INSERT INTO buckets (router, start, length, data) VALUES (?, ?, 300, ?)", r+1, at(n).Unix(), packBucket(nil, &b)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := raw.Close(); err != nil {
		t.Fatal(err)
	}
	db := mustOpen(t, path)
	defer db.Close()
	if err := db.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	for r := range routers {
		n := uint64(0)
		if _, err := db.History(t.Context(), storetest.RouterID(r), store.HistoryQuery{Range: usage.Range{From: at(0), To: at(1 << 20)}}, func(s usage.Slot) error {
			if !s.Start.Equal(at(n)) || s.RxBytes != uint64(r)*1000+n {
				t.Fatalf("router %d: bucket %d is %+v", r, n, s)
			}
			n++
			return nil
		}); err != nil || n != buckets {
			t.Errorf("router %d: %d buckets, %v", r, n, err)
		}
		push := store.Push{Router: storetest.RouterID(r), At: time.Now(), After: buckets, Cursor: buckets + 1,
			Buckets: []usage.Bucket{storetest.Bucket(at(3), usage.FiveMinutes, 1, 77), storetest.Bucket(at(buckets), usage.FiveMinutes, 1, 78)}}
		if cursor, err := db.Push(t.Context(), &push); err != nil || cursor != buckets+1 {
			t.Errorf("router %d goes on: got %d, %v", r, cursor, err)
		}
	}
}
